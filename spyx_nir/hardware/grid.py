"""Rounding to a chip's grid: weights, decays, thresholds.

The NumPy functions say what the grid is; `fake_weights` and `fake_fraction` are the same in JAX with
straight-through gradients (the rounding counts as the identity), for training on the grid, as is
`up_to_a_bound`.

All functions work element by element on arrays of any shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import jax


def weight_range(bits: int, step: int = 1) -> tuple[int, int]:
    """The smallest and the largest weight: two's complement of `bits`, multiples of `step`."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return low, high // step * step


def weights_on_grid(weights: Any, scale: Any, bits: int, step: int = 1) -> np.ndarray:
    """Integer weights: `weights * scale` rounded to the nearest multiple of `step`, clipped; int64."""
    low, high = weight_range(bits, step)
    rounded = np.round(np.asarray(weights, np.float64) * scale / step) * step
    return np.clip(rounded, low, high).astype(np.int64)


def shift_of(decay: Any, bits: int) -> np.ndarray:
    """The shift k whose decay 1 - 2^-k a chip takes: k = round(log2(tau/dt)), tau/dt = 1/(1 - decay).

    Source: rockpool 3.1.0 xylo_graph_modules.py and quantize_methods.py. k is at least 0 and fits
    into `bits`.
    """
    with np.errstate(divide="ignore"):
        shift = np.round(-np.log2(1 - np.asarray(decay, np.float64)))
    return np.clip(shift, 0, 2**bits - 1).astype(np.int64)


def fraction_of(decay: Any, bits: int) -> np.ndarray:
    """The n whose decay n / 2^bits is nearest; 0 to 2^bits."""
    n = np.round(np.asarray(decay, np.float64) * 2**bits)
    return np.clip(n, 0, 2**bits).astype(np.int64)


def integer_of(decay: Any, kind: str, bits: int, state: str) -> np.ndarray:
    """The integer that stands for the decay of a state, "syn" or "mem"; `kind` is shift or fraction.

    Lava: du is 0 to 4095 and stands for n = 4095 - du, dv for n = 4096 - dv.
    """
    if kind == "shift":
        return shift_of(decay, bits)
    least = int(state == "mem")
    return np.clip(fraction_of(decay, bits), least, 2**bits - 1 + least)


def decay_on_grid(decay: Any, kind: str, bits: int, state: str = "syn") -> np.ndarray:
    """The decay per step that the chip has for `decay`; `kind` is the profile's `neuron.decay`."""
    if kind == "shift":
        return np.asarray(1 - 2.0 ** -integer_of(decay, kind, bits, state).astype(np.float64))
    if kind == "fraction":
        return np.asarray(integer_of(decay, kind, bits, state) / 2.0**bits)
    return np.asarray(decay, np.float64)


def fake_weights(weights: jax.Array, scale: Any, bits: int, step: int = 1) -> jax.Array:
    """`weights_on_grid` as float32; its gradient is that of `weights * scale`, 0 where clipped."""
    import jax.numpy as jnp

    from spyx_nir.hardware.qat.straight_through import through

    low, high = weight_range(bits, step)
    scaled = jnp.clip(weights * scale, low, high)
    return through(jnp.clip(jnp.round(scaled / step) * step, low, high), scaled)


def up_to_a_bound(weights: jax.Array, bits: int, step: int = 1) -> jax.Array:
    """Integers of a layer with the one that is nearest to a bound of its bits on that bound.

    Several are taken where they are as near; a layer of zeros stays as it is. sinabs stretches a layer
    until one weight meets a bound (3.1.3, dynapcnn/discretize.py), and rounds all of them anew where
    none does. The gradient is that of `weights`.
    """
    import jax.numpy as jnp

    from spyx_nir.hardware.qat.straight_through import through

    low, high = weight_range(bits, step)
    share = jnp.maximum(weights / low, weights / high)
    bound = jnp.where(weights > 0, float(high), float(low))
    nearest = (share == share.max()) & (share > 0)
    return through(jnp.where(nearest, bound, weights), weights)


def fake_fraction(decay: jax.Array, bits: int) -> jax.Array:
    """`fraction_of` as float32; its gradient is that of `decay * 2^bits`."""
    import jax.numpy as jnp

    from spyx_nir.hardware.qat.straight_through import through

    return through(jnp.round(decay * 2**bits), decay * 2**bits)
