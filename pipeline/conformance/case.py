"""One case of the conformance pack, and the small vocabulary that the cases are written in."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Shape = tuple[int, ...]
NodeDict = dict[str, Any]
GraphDict = dict[str, Any]

DT = 1e-4  # seconds; the step of the NIR paper's networks, and the only one that snnTorch reads
STEPS = 12

# What a node computes in a step, x being the sum of what arrives: NIR's primitives, forward Euler.
EQUATIONS = {
    "Affine": "y = weight @ x + bias",
    "AvgPool2d": "y = mean of x over each window; padding counts as zeros",
    "Conv1d": "y = cross-correlation of x and weight, plus bias; padding is zeros",
    "Conv2d": "y = cross-correlation of x and weight, plus bias; padding is zeros",
    "CubaLI": (
        "i += dt/tau_syn * (-i + w_in*x); v += dt/tau_mem * (v_leak - v + r*i) with the new i; y = v"
    ),
    "CubaLIF": (
        "i += dt/tau_syn * (-i + w_in*x); v += dt/tau_mem * (v_leak - v + r*i) with the new i; "
        "y = 1 where v > v_threshold, and there v = v_reset"
    ),
    "Delay": "y(t) = x(t - delay), 0 before the first step",
    "Flatten": "axes start_dim to end_dim, which do not count a batch axis, become one, in C order",
    "I": "v += dt * r * x; y = v",
    "IF": "v += dt * r * x; y = 1 where v > v_threshold, and there v = v_reset",
    "Input": "y = x",
    "LI": "v += dt/tau * (v_leak - v + r*x); y = v",
    "LIF": ("v += dt/tau * (v_leak - v + r*x); y = 1 where v > v_threshold, and there v = v_reset"),
    "Linear": "y = weight @ x",
    "NIRGraph": "what its nodes compute",
    "Output": "y = x",
    "Scale": "y = scale * x, element by element",
    "SumPool2d": "y = sum of x over each window; padding counts as zeros",
    "Threshold": "y = 1 where x > threshold, else 0",
}


@dataclass(frozen=True)
class Case:
    """A file with what it is to give.

    Attributes:
        name: lower case, with hyphens; names the folder.
        kinds: the NIR primitives that it tests.
        tests: what it tests, one sentence.
        graph: the dictionary of a `nir.NIRGraph`.
        dt: the step, in the unit of the graph's time constants.
        inputs: shape of each Input, without time.
        graded: inputs are multiples of 1/8 from -1/2 to 3/2; else they are spikes, 0 and 1.
        scale: what inputs are multiplied with.
        needs_contract: the file's metadata changes what it means (docs/contract.md).
        delayed: the edges, by node path, that carry the previous step's output.
        exact: every value is a small multiple of a power of two, so that a membrane may equal its
            threshold without any rounding.
        values: the inputs themselves, (T, *shape) by name, where they are not drawn.
        others: graphs whose outputs differ on the inputs: each leaves out one thing that is tested.
    """

    name: str
    kinds: tuple[str, ...]
    tests: str
    graph: GraphDict
    inputs: Mapping[str, Shape]
    dt: float = DT
    graded: bool = True
    scale: float = 1.0
    needs_contract: bool = False
    delayed: tuple[tuple[str, str], ...] = ()
    exact: bool = False
    values: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    others: tuple[GraphDict, ...] = ()


def draw(case: Case, seed: int) -> dict[str, np.ndarray]:
    """The inputs of a case, (T, *shape) float32 by name; `case.values` where it has some.

    The numbers are those of a linear congruential generator (Knuth, MMIX), which no version of NumPy
    can change.
    """
    if case.values:
        return {name: np.asarray(values, np.float32) for name, values in case.values.items()}
    numbers = _congruential(seed)
    return {
        name: _values(case, numbers, (STEPS, *case.inputs[name])) for name in sorted(case.inputs)
    }


def _values(case: Case, numbers: Iterator[int], shape: Shape) -> np.ndarray:
    count = int(np.prod(shape))
    drawn = np.array(list(itertools.islice(numbers, count)), np.float64).reshape(shape)
    values = (drawn % 17 - 4) / 8 if case.graded else (drawn % 5 < 2) * 1.0
    return (values * case.scale).astype(np.float32)


def _congruential(seed: int) -> Iterator[int]:
    """Whole numbers from 0 to 2^31 - 1."""
    state = seed
    while True:
        state = (6364136223846793005 * state + 1442695040888963407) % 2**64
        yield state >> 33


def weights(*shape: int, seed: int = 1, scale: float = 1.0) -> np.ndarray:
    """A float32 array of multiples of 1/8 from -1 to 5/4, times `scale`."""
    count = int(np.prod(shape))
    drawn = np.array(list(itertools.islice(_congruential(seed), count)), np.float64)
    return ((drawn % 19 - 8) / 8 * scale).reshape(shape).astype(np.float32)


def floats(*values: float) -> np.ndarray:
    """The numbers as float32."""
    return np.array(values, np.float32)


def port(kind: str, *shape: int) -> NodeDict:
    """An Input or Output of `shape`."""
    return {"type": kind, "shape": np.array(shape)}


def graph(nodes: Mapping[str, NodeDict], edges: Sequence[tuple[str, str]]) -> GraphDict:
    """A graph or subgraph without metadata."""
    return {"type": "NIRGraph", "nodes": dict(nodes), "edges": list(edges), "metadata": {}}


def chain(shape: Shape, out: Shape, **nodes: NodeDict) -> GraphDict:
    """input -> the given nodes, in order -> output."""
    every = {"input": port("Input", *shape), **nodes, "output": port("Output", *out)}
    return graph(every, list(itertools.pairwise(every)))


def linear(*shape: int, seed: int = 1, scale: float = 1.0) -> NodeDict:
    """A Linear whose weight is (out, in)."""
    return {"type": "Linear", "weight": weights(*shape, seed=seed, scale=scale)}


def neuron(kind: str, shape: Shape = (3,), dt: float = DT, **changes: Any) -> NodeDict:
    """A neuron or integrator of decay 7/8 (currents 3/4) and gain 1: an input of 1 adds 1.

    Args:
        kind: IF, LIF, LI, I, CubaLIF or CubaLI.
        changes: fields that differ, single numbers or arrays of `shape`; `metadata` as it is.
    """
    tau, tau_syn = np.float32(8 * dt), np.float32(4 * dt)
    fields: dict[str, Any] = {"r": 1 / dt if kind in ("IF", "I") else 8.0}
    if kind.startswith("Cuba"):
        fields |= {"tau_mem": tau, "tau_syn": tau_syn, "w_in": 4.0, "v_leak": 0.0}
    elif kind.startswith("LI"):
        fields |= {"tau": tau, "v_leak": 0.0}
    if kind.endswith("IF"):
        # Multiples of 1/8 without a leak never meet 17/16.
        fields |= {"v_threshold": 1.0625 if kind == "IF" else 1.0, "v_reset": 0.0}
    metadata = changes.pop("metadata", {})
    fields |= changes
    arrays = {
        name: np.broadcast_to(np.asarray(value, np.float32), shape).copy()
        for name, value in fields.items()
    }
    return {"type": kind, **arrays, "metadata": metadata}


def by_channel(values: Sequence[float], shape: Shape) -> np.ndarray:
    """One value for each channel, (C, H, W)."""
    return np.broadcast_to(np.asarray(values, np.float32).reshape(-1, 1, 1), shape).copy()
