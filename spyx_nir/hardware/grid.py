"""Rounding to a chip's grid: weights, decays, thresholds.

`straight_through` has the same in JAX, with gradients. All functions work element by element on arrays
of any shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np


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
    """The integer that encodes the decay of a state, "syn" or "mem"; `kind` is shift or fraction.

    Lava: du is 0 to 4095 and encodes n = 4095 - du, dv encodes n = 4096 - dv.
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
