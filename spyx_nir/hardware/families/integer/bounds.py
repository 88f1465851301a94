"""Interval analysis: how large a state can become, from weights, decays and counts of spikes alone.

An interval contains 0, which a neuron starts with. What arrives in a step is at most the sum of the
positive weights, each times the most spikes of its source, and at least that of the negative ones. A
state that decays by k = n / 4096 and takes at most a in a step stays below a / (1 - k), as rounding goes
toward zero. What the profile's bits do not hold saturates; `Bound` says whether that can happen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Population

UNITY = 4096


@dataclass(frozen=True)
class Bound:
    """Of one state of a population, before it saturates.

    low, high: the least and the largest value of any neuron; infinite where nothing bounds it.
    saturates: whether that is beyond the bits of the state.
    """

    population: str
    state: str
    low: float
    high: float
    saturates: bool

    def __str__(self) -> str:
        low, high = (f"{n:.0f}" if math.isfinite(n) else "unbounded" for n in (self.low, self.high))
        word = "may saturate" if self.saturates else "never saturates"
        return f"`{self.population}`: {self.state} {low} to {high}, {word}"


def bounds(network: IntegerNetwork) -> list[Bound]:
    """Bounds of the currents and membranes of every population."""
    found = []
    for population in network.populations:
        low, high = arriving(network, population)
        if population.decay_syn is not None:
            low, high = (_summed(a, population.decay_syn) for a in (low, high))
            found.append(_bound(network, population, "current", low, high))
            most = 2.0 ** (network.profile["state.bits"] - 1)
            low, high = (np.clip(a, -most, most - 1) for a in (low, high))
        found.append(
            _bound(network, population, "membrane", *_membrane(network, population, low, high))
        )
    return found


def arriving(network: IntegerNetwork, population: Population) -> tuple[np.ndarray, np.ndarray]:
    """The least and the most that arrives at each neuron in a step, in units of the state."""
    most = network.profile["neuron.input_spikes_per_step"]
    low = high = np.zeros(population.shape)
    for weight in network.into(population):
        shape = network.inputs.get(weight.source)
        count = 1 if shape is None else most
        shape = shape or next(p.shape for p in network.populations if p.name == weight.source)
        spikes = np.full((1, *shape), count)
        for_sign = (np.minimum(weight.values, 0), np.maximum(weight.values, 0))
        least, largest = (weight.currents(spikes, w).reshape(population.shape) for w in for_sign)
        low, high = low + least, high + largest
    unit = 2 ** network.profile["state.threshold_shift"]
    return low * unit, high * unit


def _summed(a: np.ndarray, n: np.ndarray | None) -> np.ndarray:
    """The limit of x = x * n / 4096 + a."""
    lost = np.zeros(a.shape) if n is None else np.broadcast_to(1 - n / UNITY, a.shape)
    endless = np.where(a > 0, np.inf, np.where(a < 0, -np.inf, 0.0))
    return np.where(lost > 0, a / np.where(lost > 0, lost, 1), endless)


def _membrane(
    network: IntegerNetwork, population: Population, low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds before the reset; behind it at most the threshold is left, or what subtraction leaves."""
    unit = 2 ** network.profile["state.threshold_shift"]
    threshold = np.broadcast_to(population.threshold * unit, population.shape)
    n = population.decay_mem
    kept = 1.0 if n is None else np.broadcast_to(n / UNITY, population.shape)
    most = threshold * kept + high
    if population.reset != "v_reset":
        most = np.maximum(most, _summed(high - threshold * kept, n))
    return _summed(low, n), most


def _bound(
    network: IntegerNetwork, population: Population, state: str, low: np.ndarray, high: np.ndarray
) -> Bound:
    most = 2 ** (network.profile["state.bits"] - 1)
    least, largest = float(np.min(low, initial=0)), float(np.max(high, initial=0))
    return Bound(population.name, state, least, largest, least < -most or largest >= most)
