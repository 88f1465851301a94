"""What arrives at neurons in JAX: weights on the spikes of all steps at once, as `qat` needs it.

Arrays are time-major, spatial ones with channels last, (T, B, H, W, C): XLA convolves those fastest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spyx_nir.deterministic import convolution
from spyx_nir.deterministic.matmul import matmul
from spyx_nir.hardware.network import Weight


def currents(weight: Weight, values: jax.Array, spikes: jax.Array) -> jax.Array:
    """What arrives at the target in every step: (T, B, *source shape) to (T, B, *target shape)."""
    if weight.delay is not None:
        total: Any = 0.0
        for steps in np.unique(weight.delay):
            silent = jnp.zeros((min(int(steps), len(spikes)), *spikes.shape[1:]), spikes.dtype)
            delayed = jnp.concatenate([silent, spikes[: len(spikes) - len(silent)]])
            some = jnp.where(weight.delay == steps, values, 0.0)
            total = total + currents(replace(weight, delay=None), some, delayed)
        return jnp.asarray(total)
    steps, batch = spikes.shape[:2]
    x = spikes.reshape(steps * batch, *spikes.shape[2:])
    for size in weight.pools:
        n, h, w, c = x.shape
        x = x[:, : h // size * size, : w // size * size]
        x = x.reshape(n, h // size, size, w // size, size, c).sum(axis=(2, 4))
    if values.ndim == 2:
        flat = jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x  # NIR flattens (C, H, W)
        out = matmul(flat.reshape(len(x), -1), values.T)
    else:
        padding = tuple((p, p) for p in weight.padding)
        kernel = _kernel(weight, values).transpose(2, 3, 1, 0)
        out = convolution.convolve(weight.stride, padding, x, kernel)
    return out.reshape(steps, batch, *out.shape[1:])


def _kernel(weight: Weight, values: jax.Array) -> jax.Array:
    """See `Weight.kernel`."""
    if weight.groups == 1 and weight.dilation == (1, 1):
        return values
    # Where each weight is in the dense kernel; the rest stays 0, and has no gradient.
    numbers = np.arange(1, values.size + 1).reshape(values.shape)
    places = weight.kernel(numbers)
    return jnp.where(places > 0, values.reshape(-1)[places - 1], 0.0)


def last(x: jax.Array) -> jax.Array:
    """(T, B, C, H, W) with channels last; other ranks as they are."""
    return jnp.moveaxis(x, 2, -1) if x.ndim == 5 else x


def first(x: jax.Array) -> jax.Array:
    """(T, B, H, W, C) with channels first; other ranks as they are."""
    return jnp.moveaxis(x, -1, 2) if x.ndim == 5 else x
