"""What a step of every chip needs: counts with a surrogate slope, roundings that pass the gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


@jax.custom_jvp
def through(exact: jax.Array, smooth: jax.Array) -> jax.Array:
    """`exact`, with the gradient of `smooth`."""
    return exact


through.defjvp(lambda primals, tangents: (primals[0], tangents[1]))


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
    return through(count, lax.stop_gradient(slope_of(x, most, steepness)) * x)


def told(met: jax.Array, n: jax.Array, tie: jax.Array) -> dict[str, jax.Array]:
    """What a step counts: entries at a bound, of several spikes, at the threshold."""
    return {"saturated": met, "multiple": (n > 1).sum(), "ties": tie.sum()}


def constant(value: np.ndarray) -> jax.Array:
    """A population's number, () or its shape, as float32, channels last."""
    array = np.asarray(value, np.float32)
    return jnp.asarray(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)
