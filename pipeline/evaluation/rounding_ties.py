"""Where float32 spikes part from a float64 reference, and whether rounding explains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NEVER = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Layer:
    """A spiking node of the file. threshold: scalar or the node's shape, channels first."""

    name: str
    threshold: np.ndarray
    spike_delay: int
    recurrent: bool


def spiking_layers(plan: Any, names: Sequence[str | None]) -> list[Layer]:
    """The spiking nodes of a `reference.Plan` in the order of the model's layers, `names`."""
    return [
        Layer(
            name=name,
            threshold=np.asarray(plan.nodes[name]["v_threshold"], np.float64),
            spike_delay=plan.nodes[name]["spike_delay"],
            recurrent=_comes_back(plan.edges, name),
        )
        for name in names
        if name is not None and "v_threshold" in plan.nodes.get(name, {})
    ]


def _comes_back(edges: list[tuple[str, str]], name: str) -> bool:
    """Whether a way along the edges leads from a node to itself."""
    reached: set[str] = set()
    border = {name}
    while border:
        border = {target for source, target in edges if source in border} - reached
        reached |= border
    return name in reached


@dataclass
class Ties:
    """Where spikes and the reference part. Distances are in units of the neuron's threshold."""

    starts: int = 0  # differences with no earlier cause in the same sample
    following: int = 0  # differences downstream of one
    unexplained: int = 0  # starts that are farther from threshold than float32 can explain
    largest_distance: float = 0.0

    def add(self, other: Ties) -> None:
        """Count another chunk's in."""
        self.starts += other.starts
        self.following += other.following
        self.unexplained += other.unexplained
        self.largest_distance = max(self.largest_distance, other.largest_distance)


def explain(
    layers: list[Layer],
    trained: Mapping[str, np.ndarray],
    reference: Mapping[str, np.ndarray],
    membranes: Mapping[str, np.ndarray],
    limit: float,
) -> Ties:
    """Which differences from the reference start by themselves, and how near to threshold they do.

    A neuron's first difference follows from another one if, in the same sample, a spike of an
    earlier layer already differs when the membrane crosses, or, in a recurrent layer, a spike of
    its own layer in an earlier step. All later differences of a neuron follow from its first.

    Args:
        layers: in the order of data flow.
        trained, reference: spikes (T, B, ...) per layer.
        membranes: the reference's, before the reset, (T, B, ...).
        limit: the largest distance, in thresholds, that counts as a tie.
    """
    ties = Ties()
    upstream: np.ndarray | None = None  # per sample, the first step with a difference so far
    for layer in layers:
        differs = trained[layer.name] != reference[layer.name]
        steps, batch = differs.shape[:2]
        if upstream is None:
            upstream = np.full(batch, NEVER)
        if not differs.any():
            continue
        flat = differs.reshape(steps, batch, -1)
        first = np.where(flat.any(axis=0), flat.argmax(axis=0), NEVER)  # (B, N)
        own = first.min(axis=1)
        crossing = np.where(first == NEVER, NEVER, first - layer.spike_delay)
        follows = upstream[:, None] <= crossing
        if layer.recurrent:
            follows |= own[:, None] < first
        sample, neuron = np.nonzero((first != NEVER) & ~follows)
        step = crossing[sample, neuron]
        u = membranes[layer.name].reshape(steps, batch, -1)[np.maximum(step, 0), sample, neuron]
        threshold = np.broadcast_to(layer.threshold, differs.shape[2:]).reshape(-1)[neuron]
        distance = np.where(step < 0, np.inf, np.abs(u - threshold) / np.abs(threshold))
        ties.starts += len(sample)
        ties.following += int(flat.sum()) - len(sample)
        ties.unexplained += int((distance > limit).sum())
        ties.largest_distance = max(ties.largest_distance, float(distance.max(initial=0.0)))
        upstream = np.minimum(upstream, own)
    return ties
