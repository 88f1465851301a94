"""What a network costs, by the keys and definitions of NeuroBench (its harness, version 2.3.0).

Footprint              bytes of all numbers the network holds; states that it makes up as it runs are
                       not counted
ParameterCount         weights and biases; what a neuron is made of counts in the footprint alone
ConnectionSparsity     weights that are 0, of all, to 4 decimals; biases are no connections
ActivationSparsity     steps of spiking neurons without a spike, of all
ClassificationAccuracy right answers, of all
SynapticOperations     per sample, of Linear, Affine and Conv nodes; pooling is not counted:
    Effective_ACs      an input that is not 0 meets a weight that is not 0, in a step in which the
                       node's whole input is -1, 0 or 1
    Effective_MACs     the same in all other steps, such as behind a pooling that sums two spikes
    Dense              the same as if no input and no weight were 0; padding does not count
MembraneUpdates        per sample: how often a membrane after its reset is not what it was a step ago

What is odd in the harness, and is counted here as it does:
- It calls an input binary or not for a step of a whole batch. Here a batch is one sample, so that the
  numbers do not depend on how a test set is cut.
- A bias is no operation, though it is added in every step.
- A recurrent weight is asked for the spikes of the step before; in the first step, too, where its input
  is all 0, which is in Dense. Spikes of the last step are not sent back any more.
- The first step updates every membrane, whatever arrives. Later a neuron that holds still (an IF that
  nothing reaches, a membrane that has converged) is not updated; a spike and its reset in one step are
  one update or, from 0 to 0, none.

A sum of spikes or an input of counts is no binary input, so SynapticOperations has MACs there. Where
the multiplier is only a count, a chip may do that many ACs instead. NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

PER_SAMPLE = ("Effective_MACs", "Effective_ACs", "Dense", "MembraneUpdates", "outputs", "spikes")
Counts = dict[str, np.ndarray]  # the keys of PER_SAMPLE, each (N,) int64


def fan_out(node: Mapping[str, Any], shape: tuple[int, ...]) -> np.ndarray:
    """How many outputs each input element reaches through weights that are not 0, int64.

    Args:
        node: `weight`, (outputs, inputs) or (C_out, C_in/groups, *kernel), and `stride`, `padding` and
            `dilation` of a convolution, one number or one per axis; `padding` may be "same" or "valid".
        shape: of the input, channels first, without the batch axis; also that of the result.
    """
    joined = np.asarray(node["weight"]) != 0
    if joined.ndim == 2:
        return np.broadcast_to(joined.sum(axis=0), shape)
    inner, kernel = joined.shape[1], joined.shape[2:]
    groups = shape[0] // inner
    taps = joined.reshape(groups, -1, inner, *kernel).sum(axis=1).reshape(shape[0], *kernel)
    places = [_places(node, axis, kernel[axis], size) for axis, size in enumerate(shape[1:])]
    found = np.zeros(shape, np.int64)
    for tap in np.ndindex(*kernel):
        met = np.ix_(*(places[axis][k] for axis, k in enumerate(tap)))
        found[(slice(None), *met)] += taps[(slice(None), *tap)].reshape(-1, *[1] * len(kernel))
    return found


def _places(node: Mapping[str, Any], axis: int, kernel: int, size: int) -> list[np.ndarray]:
    """For each tap of a kernel, which of `size` places along an axis it meets; padding is no place."""

    def number(key: str) -> int:
        value = np.ravel(node.get(key, 1))
        return int(value[min(axis, value.size - 1)])

    stride, dilation, padding = number("stride"), number("dilation"), node["padding"]
    reach = dilation * (kernel - 1)
    if isinstance(padding, str):
        low, high = (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
    else:
        low = high = number("padding")
    outputs = (size + low + high - reach - 1) // stride + 1
    at = [tap * dilation - low + stride * np.arange(outputs) for tap in range(kernel)]
    return [places[(places >= 0) & (places < size)] for places in at]


def synapses(node: Mapping[str, Any], shape: tuple[int, ...]) -> int:
    """Connections of a weight node: pairs of an input and an output element that a weight joins.

    In a convolution every position counts, and what falls into the padding does not. See `fan_out`.
    """
    return int(fan_out({**node, "weight": np.ones_like(node["weight"])}, shape).sum())


class Meter:
    """Counts what a run does, step by step and sample by sample.

    counts: see `PER_SAMPLE`; `outputs` are steps of spiking neurons, `spikes` those with a spike.
    """

    def __init__(self, batch: int) -> None:
        self.counts: Counts = {key: np.zeros(batch, np.int64) for key in PER_SAMPLE}
        self._before: dict[str, np.ndarray] = {}

    def connection(self, fan: np.ndarray, dense: int, x: np.ndarray) -> None:
        """One step of a weight: its `fan_out`, its `synapses`, and what arrives (B, *shape)."""
        x = x.reshape(len(x), -1)
        # In float64, which holds these sums exactly and multiplies fast.
        met = ((x != 0).astype(np.float64) @ fan.ravel().astype(np.float64)).astype(np.int64)
        binary = ((x == 0) | (np.abs(x) == 1)).all(axis=1)
        self.counts["Effective_ACs"] += np.where(binary, met, 0)
        self.counts["Effective_MACs"] += np.where(binary, 0, met)
        self.counts["Dense"] += dense

    def neurons(self, name: str, y: np.ndarray, v: np.ndarray | None) -> None:
        """One step of spiking neurons: what they put out and, where they have one, the membrane after
        the reset, both (B, *shape)."""
        self.counts["spikes"] += np.count_nonzero(y.reshape(len(y), -1), axis=1)
        self.counts["outputs"] += y[0].size
        if v is None:
            return
        v = v.reshape(len(v), -1)
        before = self._before.get(name)
        moved = v.shape[1] if before is None else np.count_nonzero(v != before, axis=1)
        self.counts["MembraneUpdates"] += moved
        self._before[name] = v.copy()


Watch = Callable[[str, np.ndarray, np.ndarray, Mapping[str, Any]], None]


def watch(plan: Any, meter: Meter) -> Watch:
    """What `reference.run(plan, ..., watch=...)` calls at every node, so that `meter` counts the run."""
    from spyx_nir.meaning.equations import EQUATIONS

    fans = {
        path: (fan_out(node, plan.arrives[path]), synapses(node, plan.arrives[path]))
        for path, node in plan.nodes.items()
        if "weight" in node
    }
    spiking = {path for path, node in plan.nodes.items() if EQUATIONS[node["type"]].spikes}
    # The reference asks these when a spike is sent, the harness when it arrives, one step later.
    delayed = set(fans) - {
        source for found in plan.sources.values() for source, closes in found if not closes
    }
    kept: dict[str, np.ndarray] = {}

    def seen(path: str, x: np.ndarray, y: np.ndarray, state: Mapping[str, Any]) -> None:
        if path in fans:
            arrived = kept.get(path, np.zeros_like(x)) if path in delayed else x
            kept[path] = x
            meter.connection(*fans[path], arrived)
        if path in spiking:
            meter.neurons(path, y, state.get("v"))

    return seen


def of_graph(plan: Any) -> dict[str, Any]:
    """Footprint, ParameterCount and ConnectionSparsity of a graph; numbers are as wide as in the file."""
    arrays = [
        (key, np.asarray(value))
        for node in plan.nodes.values()
        for key, value in node.items()
        if np.asarray(value).dtype.kind == "f"
    ]
    return {
        "Footprint": sum(array.nbytes for _, array in arrays),
        "ParameterCount": sum(a.size for key, a in arrays if key in ("weight", "bias")),
        "ConnectionSparsity": sparsity(array for key, array in arrays if key == "weight"),
    }


def sparsity(weights: Iterable[np.ndarray]) -> float:
    """The share of weights that are 0, to 4 decimals; 0 where there are none."""
    found = [(w.size - np.count_nonzero(w), w.size) for w in weights]
    total = sum(size for _, size in found)
    return round(sum(zeros for zeros, _ in found) / total, 4) if total else 0.0


def report(static: Mapping[str, Any], parts: Iterable[Counts], accuracy: float) -> dict[str, Any]:
    """All keys of the module's docstring.

    Args:
        static: Footprint, ParameterCount, ConnectionSparsity. parts: counts of the samples, in any
            division. accuracy: share of right answers.
    """
    parts = list(parts)
    samples = sum(len(part["Dense"]) for part in parts)
    total = {key: sum(int(part[key].sum()) for part in parts) for key in PER_SAMPLE}
    outputs = total["outputs"]
    return {
        **static,
        "ActivationSparsity": (outputs - total["spikes"]) / outputs if outputs else 0.0,
        "ClassificationAccuracy": accuracy,
        "SynapticOperations": {
            key: total[key] / samples for key in ("Effective_MACs", "Effective_ACs", "Dense")
        },
        "MembraneUpdates": total["MembraneUpdates"] / samples,
    }
