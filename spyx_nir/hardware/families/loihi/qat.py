"""One step of Loihi's neurons in Lava's fixed point; the rule is that of `families.loihi.simulator`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from spyx_nir.hardware.family import Step
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.straight_through import constant, counters, fire, straight_through

UNITY = 4096.0  # Lava's decays are n / 4096


def neuron_step(network: IntegerNetwork, population: Population, steepness: float) -> Step:
    """See `Training.neuron_step`."""
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    scale = 2.0 ** profile["state.threshold_shift"]
    threshold = constant(population.threshold) * scale
    bias = None if population.bias is None else constant(population.bias)
    unit = constant(2.0**population.exponent) * scale  # of the membrane

    def decay(x: jax.Array, n: Any, without: float) -> jax.Array:
        share = jnp.float32(without if n is None else n)
        size = jnp.abs(x)
        high = jnp.floor(size / UNITY)
        low = size - high * UNITY  # 12 bits each: the products stay below 2^24
        left = high * share + jnp.floor(low * share / UNITY)
        return straight_through(jnp.sign(x) * left, x * share / UNITY)

    def step(state: Any, drive: jax.Array) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        v, u = state
        current = decay(u, population.decay_syn, 0) + drive * scale
        turned = jnp.where(current > bound, current - 2 * bound, current)
        u = jnp.where(turned <= -bound, current + 2 * bound, turned)
        free = decay(v, population.decay_mem, UNITY) + u
        free = free if bias is None else free + bias
        membrane = jnp.clip(free, 1 - bound, bound - 1)
        z = membrane > threshold
        n = fire(z.astype(jnp.float32), membrane / threshold, 1.0, steepness)
        saturated = ((u != current) | (free != membrane) | (z & population.membrane)).sum()
        # As in `neurons`: the reset itself carries no gradient.
        v = jnp.where(z, 0.0, membrane)
        if population.membrane:
            return (v, u), v / unit, counters(saturated, z, membrane == threshold)
        return (v, u), n, counters(saturated, n, membrane == threshold)

    return step, lambda shape: (jnp.zeros(shape), jnp.zeros(shape))
