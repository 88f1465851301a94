"""One step of DynapCNN's neurons; the rule is that of `families.speck.simulator`."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from spyx_nir.hardware.family import Step
from spyx_nir.hardware.grid import weight_range
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.straight_through import constant, counters, fire, straight_through


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
