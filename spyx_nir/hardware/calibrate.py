"""Calibration: scales and thresholds of post-training quantisation, from recorded activity. NumPy only.

Scales. `rounding` gives the largest weight of a neuron, or of a layer, the chip's largest integer. Where
the sources of the largest weights hardly spike, a smaller weight may have it, and the others are rounded
on a finer grid: of `CLIPS` that share is taken whose rounded weights w' have the smallest

    sum over the weights of a (w - w')^2,    a: mean square of what arrives at the weight in a step

Thresholds. They are moved, sources first, while that brings the neurons' spike counts of a recording
nearer to those of the float network. This is data-based threshold balancing (Diehl et al. 2015, "Fast-
classifying, high-accuracy spiking deep networks through weight and threshold balancing"), with the float
network's own spikes in place of activations.

Labels are not used. What does not bring the spike counts of all populations nearer is dropped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.hardware import grid, simulate
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.quantise import quantise
from spyx_nir.hardware.rounding import dynamics, per_row, rows
from spyx_nir.hardware.topology import PlannedGraph, analyse
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan, settled

CLIPS = np.linspace(1, 0.5, 26)
FAR = 0.05  # of a population's spikes: fewer are left as they are
STEPS = (1.25, 1.06)  # factors by which thresholds move, the coarse ones first
MOST_MOVES = 8  # in a step: 1.25^8 = 6


@dataclass(frozen=True)
class Calibration:
    """A calibrated network, and what calibration did.

    recordings: that it saw. distance: mean difference of a neuron's spike count of a recording from the
    float network's, before and after. clips: population -> least share of its largest weight that got the
    largest integer. thresholds: population -> lowest and highest factor of its thresholds.
    """

    network: IntegerNetwork
    recordings: int
    distance: tuple[float, float]
    clips: dict[str, float]
    thresholds: dict[str, tuple[float, float]]


def calibrated(
    start: PlannedGraph, network: IntegerNetwork, floats: Plan, dt: float, events: np.ndarray
) -> Calibration:
    """A quantised network with scales and thresholds that follow from recordings.

    Args:
        start: the graph that was quantised. network: its integers. floats: the plan of the float network
            that they shall spike like; dt: its step.
        events: recordings (N, T, *shape), counts.

    Raises:
        GraphError: see `simulate.run`.
    """
    x = np.swapaxes(events, 0, 1)
    wanted = {
        name: spikes.sum(axis=0, dtype=np.int64)
        for name, spikes in reference.run(floats, x, dt).spikes.items()
    }
    (padded,) = simulate.padded(network, events).values()
    best, sent = network, _sent(network, padded)
    before = distance = _distance(sent, wanted)
    clips = best_clips(start, network, dt, sent)
    if clips:
        tried = quantise(start, network.profile, dt, clips=clips)
        seen = _sent(tried, padded)
        if (found := _distance(seen, wanted)) < distance:
            best, sent, distance = tried, seen, found
        else:
            clips = {}
    factors = _moved(best, sent, wanted)
    if factors:
        tried = with_thresholds(best, factors)
        if (found := _distance(_sent(tried, padded), wanted)) < distance:
            best, distance = tried, found
        else:
            factors = {}
    return Calibration(
        best,
        len(events),
        (before, distance),
        {name: float(clip.min()) for name, clip in clips.items()},
        {name: (float(f.min()), float(f.max())) for name, f in factors.items()},
    )


def _sent(network: IntegerNetwork, x: np.ndarray) -> dict[str, np.ndarray]:
    """What the input and every population sends, (T, N, *shape); x: padded."""
    (name,) = network.inputs
    return {name: x, **simulate.run(network, {name: x}).spikes}


def _apart(spikes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Spike counts of recordings minus those that are wanted, (N, *shape)."""
    return spikes.sum(axis=0, dtype=np.int64) - wanted


def _distance(sent: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> float:
    """The mean |count - wanted| over neurons and recordings; a population counts as much as another."""
    found = [np.abs(_apart(sent[name], counts)).mean() for name, counts in wanted.items()]
    return float(np.mean(found)) if found else 0.0


# ------------------------------------------------------------------------------------------ scales


def best_clips(
    start: PlannedGraph, network: IntegerNetwork, dt: float, sent: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Population -> share of its largest weight that gets the largest integer; none where all are 1.

    Args:
        start, network, dt: as of `calibrated`. sent: what the input and every population sends,
            (T, N, *shape).
    """
    topology = analyse(settled(start.plan, dt))
    profile = network.profile
    weights = {(w.source, w.target, w.node): w for w in network.weights}
    found = {}
    for population in network.populations:
        if population.membrane:
            continue
        gain, _, _ = dynamics(topology.plan.nodes[population.name], population.name, dt, profile)
        floats, activity = [], []
        for link in topology.into(population.name):
            weight = weights[link.source, link.target, topology.weights(link)[0]]
            values = rows(topology, link) * per_row(gain, link, topology, profile)
            floats.append(values.reshape(len(values), -1))
            activity.append(_activity(weight, sent[link.source], values.shape))
        clip = _clip(np.concatenate(floats, 1), np.concatenate(activity), profile)
        if (clip < 1).any():
            found[population.name] = clip
    return found


def _activity(weight: Weight, spikes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Mean square of what arrives at each column of a weight's rows, per step; spikes (T, N, *source)."""
    flat = spikes.reshape(-1, *spikes.shape[2:])
    total: Any = 0.0
    for start in range(0, len(flat), 1000):
        total = total + (weight.pooled(flat[start : start + 1000].astype(np.float64)) ** 2).sum(0)
    mean = total / len(flat)
    if len(shape) == 2:
        return np.asarray(mean).reshape(-1)
    channels = np.asarray(mean).mean(axis=(1, 2))
    # A group's kernels see its own channels; their mean stands for all groups.
    per_kernel = channels.reshape(weight.groups, shape[1]).mean(axis=0)
    return np.repeat(per_kernel, int(np.prod(shape[2:])))


def _clip(weights: np.ndarray, activity: np.ndarray, profile: Profile) -> np.ndarray:
    """The best of `CLIPS`, for each row or, where the chip has one scale for a layer, for all."""
    bits, step = profile["weights.bits"], profile["weights.step"]
    _, high = grid.weight_range(bits, step)
    per_row = profile["weights.scale_per"] == "neuron"
    largest = np.abs(weights).max(axis=1) if per_row else np.abs(weights).max(keepdims=True)[0]
    largest = np.where(largest > 0, largest, 1.0)
    errors = []
    for clip in CLIPS:
        scale = (high / (largest * clip)).reshape(-1, 1)
        rounded = grid.weights_on_grid(weights, scale, bits, step) / scale
        rows_errors = (activity * (weights - rounded) ** 2).sum(axis=1)
        errors.append(rows_errors if per_row else rows_errors.sum(keepdims=True))
    best = CLIPS[np.argmin(errors, axis=0)]
    return best if per_row else best.reshape(())


# -------------------------------------------------------------------------------------- thresholds


def with_thresholds(network: IntegerNetwork, factors: Mapping[str, Any]) -> IntegerNetwork:
    """The network with thresholds times factors, population -> () or its shape, within the chip's."""
    most = 2 ** network.profile["state.threshold_bits"] - 1
    return dataclasses.replace(
        network,
        populations=tuple(
            dataclasses.replace(
                p,
                threshold=np.clip(np.round(p.threshold * factors.get(p.name, 1.0)), 1, most).astype(
                    np.int64
                ),
            )
            for p in network.populations
        ),
    )


def _moved(
    network: IntegerNetwork, sent: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Factors of thresholds, population -> () or its shape; those are left out that stay 1.

    Each population is simulated by itself, on what its sources send with the factors found so far.
    """
    most = 2 ** network.profile["state.threshold_bits"] - 1
    sent, factors = dict(sent), {}
    for population in network.populations:
        name = population.name
        if population.membrane or name not in wanted or (population.threshold == most).all():
            continue
        found = _apart(sent[name], wanted[name])
        if np.abs(found).sum() <= FAR * wanted[name].sum():
            continue
        alone, x = _alone(network, population, sent)
        factor = np.ones(population.threshold.shape)
        seen = _summed(found, factor)
        for step in STEPS:
            factor, seen = _climbed(factor, seen, step, alone, x, wanted[name])
        if (factor != 1).any():
            factors[name] = factor
            sent[name] = simulate.run(with_thresholds(alone, {name: factor}), x).spikes[name]
    return factors


def _alone(
    network: IntegerNetwork, population: Population, sent: Mapping[str, np.ndarray]
) -> tuple[IntegerNetwork, dict[str, np.ndarray]]:
    """A population with its sources as inputs, and what they send.

    Where only spikes of neurons are delayed, they come a step earlier here: no matter for counts.
    """
    weights = tuple(network.into(population))
    sources = dict.fromkeys(w.source for w in weights if w.source != population.name)
    most = network.profile["neuron.input_spikes_per_step"]
    x = {name: sent[name] if most is None else np.minimum(sent[name], most) for name in sources}
    inputs = {name: array.shape[2:] for name, array in x.items()}
    return dataclasses.replace(
        network, inputs=inputs, populations=(population,), weights=weights
    ), x


def _summed(found: np.ndarray, factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spikes that are too many (too few: below 0), and mean |difference|, for each factor.

    found: counts minus those that are wanted, (N, *shape). factor: () or the shape.
    """
    if factor.ndim:
        return found.sum(axis=0), np.abs(found).mean(axis=0)
    return np.asarray(found.sum()), np.asarray(np.abs(found).mean())


def _climbed(
    factor: np.ndarray,
    seen: tuple[np.ndarray, np.ndarray],
    step: float,
    alone: IntegerNetwork,
    x: dict[str, np.ndarray],
    wanted: np.ndarray,
) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Factors times or divided by `step` as long as that brings their neurons' counts nearer.

    seen: `_summed` of the factors; that of the new ones is given, too.
    """
    (population,) = alone.populations
    excess, least = seen
    direction = np.where(excess > 0, step, 1 / step)
    going = least > 0
    for _ in range(MOST_MOVES):
        if not going.any():
            break
        tried = np.where(going, factor * direction, factor)
        run = simulate.run(with_thresholds(alone, {population.name: tried}), x)
        found, apart = _summed(_apart(run.spikes[population.name], wanted), tried)
        going = going & (apart < least)
        factor = np.where(going, tried, factor)
        excess, least = np.where(going, found, excess), np.where(going, apart, least)
    return factor, (excess, least)
