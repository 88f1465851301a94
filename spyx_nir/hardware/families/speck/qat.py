"""DynapCNN in training: a step of its neurons, and gradients along a run event by event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from spyx_nir.hardware.currents import currents, first, last
from spyx_nir.hardware.family import Step
from spyx_nir.hardware.grid import weight_range
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.straight_through import (
    constant,
    counters,
    fire,
    slope_of,
    straight_through,
)


def neuron_step(network: IntegerNetwork, population: Population, steepness: float) -> Step:
    """See `Training.neuron_step`."""
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    floored = profile["state.floor"] == "threshold"
    threshold = constant(population.threshold)

    def step(v: jax.Array, drive: jax.Array) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        u = v + drive
        x = u / threshold
        n = fire(jnp.maximum(jnp.floor(x), 0), x, jnp.inf, steepness)
        left = u - n * threshold if population.reset == "subtract" else jnp.where(n > 0, 0.0, u)
        v = jnp.maximum(left, -threshold) if floored else left
        saturated = ((u < -bound) | (u > bound - 1)).sum()
        return v, n, counters(saturated, n, u == threshold)

    return step, jnp.zeros


def reach_a_bound(weights: jax.Array, bits: int, step: int = 1) -> jax.Array:
    """Integers of a layer with the one that is nearest to a bound of its bits on that bound.

    Several are taken where they are as near; a layer of zeros stays as it is. sinabs stretches a layer
    until one weight meets a bound (3.1.3, dynapcnn/discretize.py), and rounds all of them anew where
    none does. The gradient is that of `weights`.
    """
    low, high = weight_range(bits, step)
    share = jnp.maximum(weights / low, weights / high)
    bound = jnp.where(weights > 0, float(high), float(low))
    nearest = (share == share.max()) & (share > 0)
    return straight_through(jnp.where(nearest, bound, weights), weights)


def run_along(
    network: IntegerNetwork, seen: Mapping[str, Any], steepness: float
) -> dict[str, jax.Array]:
    """Spikes of every population that an event-driven run gave, with gradients: (T, B, *shape).

    Forwards nothing is computed: counts of spikes and membranes are those that `event_kernel` gave,
    counted in steps. Backwards the network is the one in steps: u = v + W s, and the count n of a step
    has the slope 1 / threshold where the neuron spiked, otherwise a surrogate slope of u; the membrane
    keeps u - n threshold, but where it ended at its floor.

    Args:
        network: its weights may be arrays of JAX, float32 that hold integers.
        seen: `input` (B, T, *shape) counts of events; population -> `spikes/<population>`,
            counts of a step, and `membrane/<population>`, at its end; both (B, T, *shape).
        steepness: of the surrogate slope.
    """

    def in_steps(key: str) -> jax.Array:
        return last(jnp.swapaxes(jnp.asarray(seen[key], jnp.float32), 0, 1))

    (name,) = network.inputs
    known = {name: in_steps("input")}
    for population in network.populations:
        drive: Any = 0.0
        for weight in network.into(population):
            values = jnp.asarray(weight.values, jnp.float32)
            drive = drive + currents(weight, values, known[weight.source])
        threshold = constant(population.threshold)

        def step(v: jax.Array, now: Any, threshold: Any = threshold) -> tuple[jax.Array, jax.Array]:
            arriving, count, membrane = now
            u = v + arriving
            x = u / threshold
            slope = jnp.where(count > 0, 1.0, slope_of(x, jnp.inf, steepness))
            n = straight_through(count, lax.stop_gradient(slope) * x)
            kept = jnp.where(membrane > -threshold, u - n * threshold, 0.0)
            return straight_through(membrane, kept), n

        there = in_steps(f"spikes/{population.name}"), in_steps(f"membrane/{population.name}")
        known[population.name] = lax.scan(step, jnp.zeros_like(drive[0]), (drive, *there))[1]
    return {key: first(spikes) for key, spikes in known.items() if key != name}
