"""One step of DynapCNN's neurons; the rule is that of `spyx_nir.hardware.speck`."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp

from spyx_nir.hardware.network import Network, Population
from spyx_nir.hardware.qat.straight_through import constant, fire, told


def cell(network: Network, population: Population, steepness: float) -> tuple[Callable, Callable]:
    """`step(state, drive) -> state, spikes, counts` and `start(shape) -> state`.

    drive, spikes and every array of the state are (B, *shape), the population's shape with channels
    last, float32 that hold integers; counts as `step.told` names them; shape is (B, *shape).
    """
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    floored = profile["state.floor"] == "threshold"
    threshold = constant(population.threshold)

    def step(v, drive):
        u = v + drive
        x = u / threshold
        n = fire(jnp.maximum(jnp.floor(x), 0), x, jnp.inf, steepness)
        left = u - n * threshold if population.reset == "subtract" else jnp.where(n > 0, 0.0, u)
        v = jnp.maximum(left, -threshold) if floored else left
        met = ((u < -bound) | (u > bound - 1)).sum()
        return v, n, told(met, n, u == threshold)

    return step, jnp.zeros
