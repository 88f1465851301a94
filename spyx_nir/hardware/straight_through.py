"""Straight-through estimators and surrogate slopes: what the QAT steps of all chip families share.

Rounding counts as the identity backwards; the count of spikes has a surrogate slope.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from spyx_nir.hardware.grid import weight_range


@jax.custom_jvp
def straight_through(exact: jax.Array, smooth: jax.Array) -> jax.Array:
    """`exact`, with the gradient of `smooth`."""
    return exact


straight_through.defjvp(lambda primals, tangents: (primals[0], tangents[1]))


def fake_weights(weights: jax.Array, scale: Any, bits: int, step: int = 1) -> jax.Array:
    """`weights_on_grid` as float32; its gradient is that of `weights * scale`, 0 where clipped."""
    low, high = weight_range(bits, step)
    scaled = jnp.clip(weights * scale, low, high)
    return straight_through(jnp.clip(jnp.round(scaled / step) * step, low, high), scaled)


def fake_fraction(decay: jax.Array, bits: int) -> jax.Array:
    """`fraction_of` as float32; its gradient is that of `decay * 2^bits`."""
    return straight_through(jnp.round(decay * 2**bits), decay * 2**bits)


def slope_of(x: jax.Array, most: float, steepness: float) -> jax.Array:
    """The surrogate slope of a count of spikes at the membrane x, in thresholds.

    Between the first and the last threshold that counts, a count grows by 1 a threshold on average, so
    the slope is 1; outside it falls off as in Spyx's superspike, 1 / (1 + steepness * distance)^2. A
    neuron that spikes at most once a step has superspike itself.
    """
    distance = jnp.maximum(1 - x, 0) + jnp.maximum(x - most, 0)
    return 1 / (1 + steepness * distance) ** 2


def fire(count: jax.Array, x: jax.Array, most: float, steepness: float) -> jax.Array:
    """`count`, with the surrogate gradient of a membrane x in thresholds."""
    return straight_through(count, lax.stop_gradient(slope_of(x, most, steepness)) * x)


def counters(saturated: jax.Array, n: jax.Array, tie: jax.Array) -> dict[str, jax.Array]:
    """What a step counts: saturated entries, neurons with several spikes, membranes at the threshold."""
    return {"saturated": saturated, "multiple": (n > 1).sum(), "ties": tie.sum()}


def constant(value: np.ndarray | jax.Array) -> jax.Array:
    """A population's number, () or its shape, as float32, channels last."""
    if isinstance(value, jax.Array):
        return jnp.moveaxis(value, 0, -1) if value.ndim == 3 else value
    array = np.asarray(value, np.float32)
    return jnp.asarray(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)
