"""Nodes of every kind, each with the shape that arrives at it: the cases that several tests run."""

from __future__ import annotations

from collections.abc import Callable

import nir
import numpy as np

Shape = tuple[int, ...]
Examples = list[tuple[nir.NIRNode, Shape]]
SHAPES = ((3,), (2, 3, 4))
# The ranges from which the fields of neurons are drawn.
LEAK = {"tau": (1.5, 9.0), "r": (2.0, 6.0), "v_leak": (-0.1, 0.1)}
SPIKE = {"v_threshold": (0.5, 1.5), "v_reset": (-0.2, 0.2)}
CUBA = {"tau_syn": (1.5, 5.0), "tau_mem": (1.5, 9.0), "r": (2.0, 6.0), "v_leak": (-0.1, 0.1)}
CUBA["w_in"] = (0.5, 3.0)
FIELDS = {
    "CubaLI": CUBA,
    "CubaLIF": CUBA | SPIKE,
    "I": {"r": (0.5, 3.0)},
    "IF": {"r": (0.5, 1.5)} | SPIKE,
    "LI": LEAK | {"r": (0.5, 3.0)},
    "LIF": LEAK | SPIKE,
    "Threshold": {"threshold": (0.2, 0.8)},
}


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Random numbers of both signs, float32."""
    return rng.normal(size=shape).astype(np.float32)


def drawn(kind: str, rng: np.random.Generator, shape: Shape) -> nir.NIRNode:
    """A node whose fields are drawn from the ranges in `FIELDS`."""
    fields = {
        name: rng.uniform(low, high, shape).astype(np.float32)
        for name, (low, high) in FIELDS[kind].items()
    }
    return getattr(nir, kind)(**fields)


def conv1d(rng: np.random.Generator) -> Examples:
    weight, bias = normal(rng, 4, 2, 3), normal(rng, 4)
    return [
        (nir.Conv1d(7, weight, 2, 1, 1, 1, bias), (2, 7)),
        (nir.Conv1d(7, weight, 1, "same", 2, 1, bias), (2, 7)),
    ]


def conv2d(rng: np.random.Generator) -> Examples:
    weight, oblong, bias = normal(rng, 4, 2, 3, 3), normal(rng, 4, 1, 3, 5), normal(rng, 4)
    return [
        (nir.Conv2d((6, 7), weight, (2, 1), (1, 0), (1, 2), 1, bias), (2, 6, 7)),
        (nir.Conv2d((6, 7), weight, 1, "same", 1, 1, np.zeros(4, np.float32)), (2, 6, 7)),
        (nir.Conv2d((6, 7), oblong, 1, (1, 2), 1, 2, bias), (2, 6, 7)),
    ]


def pool(make: type, *numbers: tuple[int, int]) -> Examples:
    plain = make(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    return [(plain, (2, 4, 6)), (make(*map(np.array, numbers)), (2, 5, 6))]


def flatten(rng: np.random.Generator) -> Examples:
    sizes = {"input": np.array([2, 3, 4])}
    return [(nir.Flatten(sizes, start, -1), (2, 3, 4)) for start in (0, 1)]


def affine(rng: np.random.Generator) -> Examples:
    weight = normal(rng, 4, 3)
    per_index = nir.Affine(rng.normal(size=(2, 4, 3)), rng.normal(size=(2, 4)))
    return [(nir.Affine(weight, normal(rng, 4)), (3,)), (per_index, (2, 3))]


def delay(rng: np.random.Generator) -> Examples:
    pairs = zip(SHAPES, (4, 3), strict=True)
    return [(nir.Delay(rng.integers(0, n, size=s).astype(np.float32)), s) for s, n in pairs]


def subgraph(rng: np.random.Generator, bias: bool) -> tuple[nir.NIRNode, Shape]:
    """A recurrent layer."""
    cell, shape = examples("LIF", rng)[0]
    weight = normal(rng, 3, 3)
    back = nir.Affine(weight, normal(rng, 3)) if bias else nir.Linear(weight)
    ends = {"input": nir.Input(np.array(shape)), "output": nir.Output(np.array(shape))}
    edges = [("input", "lif"), ("lif", "output"), ("lif", "w_rec"), ("w_rec", "lif")]
    return nir.NIRGraph({**ends, "lif": cell, "w_rec": back}, edges, type_check=False), shape


OTHERS: dict[str, Callable[[np.random.Generator], Examples]] = {
    "Affine": affine,
    "AvgPool2d": lambda rng: pool(nir.AvgPool2d, (3, 3), (2, 1), (1, 1)),
    "Conv1d": conv1d,
    "Conv2d": conv2d,
    "Delay": delay,
    "Flatten": flatten,
    "Input": lambda rng: [],
    "Linear": lambda rng: [(nir.Linear(normal(rng, 4, 3)), (3,))],
    "NIRGraph": lambda rng: [subgraph(rng, bias) for bias in (False, True)],
    "Output": lambda rng: [(nir.Output(np.array([3])), (3,))],
    "Scale": lambda rng: [(nir.Scale(normal(rng, *shape)), shape) for shape in SHAPES],
    "SumPool2d": lambda rng: pool(nir.SumPool2d, (3, 2), (1, 2), (1, 0)),
}


def examples(kind: str, rng: np.random.Generator) -> Examples:
    """Examples of a kind of node, by the name of its class in `nir`."""
    if kind in FIELDS:
        return [(drawn(kind, rng, shape), shape) for shape in SHAPES]
    return OTHERS[kind](rng)
