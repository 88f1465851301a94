"""One step of Xylo's neurons; the rule is that of `families.xylo.simulator`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spyx_nir.hardware.family import Step
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.straight_through import constant, counters, fire, straight_through


def neuron_step(network: IntegerNetwork, population: Population, steepness: float) -> Step:
    """See `Training.neuron_step`."""
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    most = float(profile[f"neuron.{'output_' if population.output else ''}spikes_per_step"])
    threshold = constant(population.threshold)
    bias = None if population.bias is None else constant(population.bias)
    unit = constant(2.0**population.exponent)  # of the membrane

    def leak(x: jax.Array, dash: Any) -> jax.Array:
        if dash is None:
            return jnp.zeros_like(x)
        share = x * 2.0 ** -np.asarray(dash, np.float32)
        shifted = jnp.floor(share)
        return straight_through(jnp.where(shifted == 0, jnp.sign(x), shifted), share)

    def clip(x: jax.Array) -> jax.Array:
        return jnp.clip(x, -bound, bound - 1)

    def step(state: Any, drive: jax.Array) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        v, i = state
        total = clip(i + drive)
        saturated = (total != i + drive).sum()
        i = total - leak(total, population.decay_syn)
        change = -leak(v, population.decay_mem)
        free = jnp.where(change == bound, -bound, change) + i  # int16: -(-32768) is -32768
        saturates = free != clip(free)
        if bias is not None:
            free = clip(free) + bias
            saturates |= free != clip(free)
        u = v + clip(free)
        clipped = clip(u)
        saturates |= u != clipped
        x = clipped / threshold
        n = fire(jnp.clip(jnp.floor(x), 0, most), x, most, steepness)
        left = clipped - n * threshold
        if population.membrane:
            saturated += (saturates | (n > 0)).sum()
            return (left, i), left / unit, counters(saturated, n, clipped == threshold)
        saturated += saturates.sum()
        return (left, i), n, counters(saturated, n, clipped == threshold)

    return step, lambda shape: (jnp.zeros(shape), jnp.zeros(shape))
