"""What quantisation does to each layer: its weights, its threshold, its spikes.

A factor common to a population's weights and threshold changes no spike. Integers W, T are compared
with real values w, t (those of `rounding`: times the neuron's gain) by the factor that fits the weights
best, K = sum(W w) / sum(w w), of each neuron or of the layer as the chip has its scale:

    weight_snr_db      10 log10(sum(w w) / sum((W / K - w)^2)) of all weights into the population
    threshold_error    |T - K t| / (K t), the mean over neurons, and the largest
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from spyx_nir.hardware import simulate
from spyx_nir.hardware.grid import weight_range
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.rounding import dynamics, input_gain, per_row, rows
from spyx_nir.hardware.topology import PlannedGraph, Topology, analyse
from spyx_nir.meaning.plan import settled, step_dt


@dataclass(frozen=True)
class LayerError:
    """One population. None where there is nothing to compare: no error at all, no weight, no threshold.

    weight_snr_db: of its weights, dB. threshold_error, threshold_error_max: relative. at_bound: the
    share of its weights that have the chip's largest magnitude.
    """

    weight_snr_db: float | None
    threshold_error: float | None
    threshold_error_max: float | None
    at_bound: float


def layer_errors(graph: PlannedGraph, network: IntegerNetwork) -> dict[str, LayerError]:
    """Population -> how its integers differ from the numbers of `graph`, the float network.

    Args:
        graph: as it was quantised: after `constrain.variant`.

    Raises:
        GraphError: its numbers have no integers on the chip.
    """
    dt = step_dt(graph.plan, None)
    topology = analyse(settled(graph.plan, dt))
    return {p.name: _error(topology, dt, network, p) for p in network.populations}


def _error(topology: Topology, dt: float, network: IntegerNetwork, p: Population) -> LayerError:
    profile = network.profile
    node = topology.plan.nodes[p.name]
    gain, decay_syn, _ = dynamics(node, p.name, dt, profile)
    links = {topology.weights(link)[0]: link for link in topology.into(p.name)}
    pairs = []  # real values and integers, (rows, weights of a row)
    for weight in network.into(p):
        link = links[weight.node]
        real = rows(topology, link) * per_row(gain, link, topology, profile)
        pairs.append((real.reshape(len(real), -1), weight.values.reshape(len(real), -1)))
    real = np.concatenate([r for r, _ in pairs], axis=1) if pairs else np.zeros((1, 0))
    whole = np.concatenate([w for _, w in pairs], axis=1) if pairs else np.zeros((1, 0))
    scale = best_scale(real, whole, each_row=profile["weights.scale_per"] == "neuron")
    used = scale[:, 0] > 0
    signal = (real**2).sum()
    noise = ((whole / np.where(scale > 0, scale, 1) - real)[used] ** 2).sum()
    noise += (real[~used] ** 2).sum()
    low, high = weight_range(profile["weights.bits"], profile["weights.step"])
    bound = (whole >= high) | (whole <= max(low, -high))
    return LayerError(
        10 * math.log10(signal / noise) if signal > 0 and noise > 0 else None,
        *_threshold_error(node, p, scale[used, 0], used, input_gain(decay_syn, profile)),
        at_bound=float(bound.mean()) if whole.size else 0.0,
    )


def best_scale(real: np.ndarray, whole: np.ndarray, each_row: bool) -> np.ndarray:
    """K of the module's docstring, (rows, 1): of each row or of all; 0 where nothing fits."""
    axis = 1 if each_row else None
    square = (real**2).sum(axis=axis, keepdims=True)
    product = (real * whole).sum(axis=axis, keepdims=True)
    scale = np.where(square > 0, product / np.where(square > 0, square, 1), 0.0)
    return np.broadcast_to(np.maximum(scale, 0), (len(real), 1))


def _threshold_error(
    node: dict[str, np.ndarray],
    p: Population,
    scale: np.ndarray,
    used: np.ndarray,
    gain: np.ndarray,
) -> tuple[float | None, float | None]:
    """Mean and largest relative error of the thresholds of the rows that have a scale."""
    if p.membrane or not scale.size:
        return None, None

    def by_row(values: np.ndarray) -> np.ndarray:
        return np.broadcast_to(values, p.shape).reshape(len(used), -1)[used]

    real = by_row(np.asarray(node["v_threshold"], np.float64) * gain) * scale[:, None]
    error = np.abs(by_row(p.threshold) - real) / real
    return float(error.mean()), float(error.max())


@dataclass
class Agreement:
    """Adds up how far a network's spikes are those of a float network.

    Fields:
        layers: population -> `entries` (steps of neurons), `equal` (of these, as many spikes), `neurons`
            (in all recordings), `equal_counts` (of these, as many spikes in the whole recording).
    """

    network: IntegerNetwork
    layers: dict[str, Counter[str]] = field(default_factory=dict)

    def add(
        self,
        spikes: dict[str, np.ndarray],
        floats: dict[str, np.ndarray],
        float_delays: dict[str, int],
        steps: int,
    ) -> None:
        """Compare recordings, each population from its own delay on, over the steps of the input.

        Args:
            spikes, floats: population -> (T, B, *shape), of integers and of floats; a population whose
                membrane is read has no floats and is not compared. float_delays:
                population -> steps by which the floats come later. steps: of the input.
        """
        for name, delay in simulate.delays(self.network).items():
            if name not in floats:
                continue
            layer = self.layers.setdefault(name, Counter())
            ours = spikes[name][delay:][:steps].astype(np.int64)
            theirs = floats[name][float_delays[name] :][:steps].astype(np.int64)
            shared = min(len(ours), len(theirs))  # a float network may be delayed more
            ours, theirs = ours[:shared], theirs[:shared]
            same = ours.sum(axis=0) == theirs.sum(axis=0)
            layer["entries"] += ours.size
            layer["equal"] += int((ours == theirs).sum())
            layer["neurons"] += same.size
            layer["equal_counts"] += int(same.sum())
