"""One step of the neurons in JAX; the rule is that of `families.integer.simulator`."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from spyx_nir.hardware.family import Step
from spyx_nir.hardware.network import IntegerNetwork, Population
from spyx_nir.hardware.straight_through import constant, counters, fire, straight_through

UNITY = 4096.0  # decays are n / 4096


def neuron_step(network: IntegerNetwork, population: Population, steepness: float) -> Step:
    """See `Training.neuron_step`."""
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    scale = 2.0 ** profile["state.threshold_shift"]
    threshold = constant(population.threshold) * scale
    share_syn, share_mem = (_share(n) for n in (population.decay_syn, population.decay_mem))

    def step(state: Any, drive: jax.Array) -> tuple[Any, jax.Array, dict[str, jax.Array]]:
        v, u = state
        free = drive * scale + (0.0 if share_syn is None else _decay(u, share_syn))
        current = free if share_syn is None else jnp.clip(free, -bound, bound - 1)
        whole = (v if share_mem is None else _decay(v, share_mem)) + current
        membrane = jnp.clip(whole, -bound, bound - 1)
        z = membrane > threshold
        n = fire(z.astype(jnp.float32), membrane / threshold, 1.0, steepness)
        saturated = ((free != current) | (whole != membrane)).sum()
        # As in `neurons`: the reset itself carries no gradient.
        left = 0.0 if population.reset == "v_reset" else membrane - threshold
        v = jnp.where(z, left, membrane)
        return (v, current), n, counters(saturated, n, membrane == threshold)

    return step, lambda shape: (jnp.zeros(shape), jnp.zeros(shape))


def _share(n: Any) -> jax.Array | None:
    """n of n / 4096, () or the population's shape, channels last; it may be an array of JAX."""
    if n is None:
        return None
    share = jnp.asarray(n, jnp.float32)
    return jnp.moveaxis(share, 0, -1) if share.ndim == 3 else share


def _decay(x: jax.Array, share: jax.Array) -> jax.Array:
    size = jnp.abs(x)
    high = jnp.floor(size / UNITY)
    low = size - high * UNITY  # 12 bits each: the products stay within 2^24
    left = high * share + jnp.floor(low * share / UNITY)
    return straight_through(jnp.sign(x) * left, x * share / UNITY)
