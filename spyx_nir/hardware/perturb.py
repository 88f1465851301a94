"""What goes wrong with inputs and memories, for tests of robustness: with a seeded generator each."""

from __future__ import annotations

import dataclasses

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Weight


def lose_events(
    events: np.ndarray, probability: float, generator: np.random.Generator
) -> np.ndarray:
    """Drop each event independently; `events`: counts of any shape."""
    return generator.binomial(events, 1 - probability).astype(events.dtype)


def jitter(events: np.ndarray, width: int, generator: np.random.Generator, most: int) -> np.ndarray:
    """Move each event by -width to width steps, all equally likely, but not out of the recording.

    Args:
        events: counts, (B, T, *shape). most: the largest count that the input can have.
    """
    place = np.nonzero(events)
    shifts = range(-width, width + 1)
    parts = generator.multinomial(events[place], [1 / len(shifts)] * len(shifts))
    moved = np.zeros(events.shape, np.int64)
    for shift, count in zip(shifts, parts.T, strict=True):
        step = np.clip(place[1] + shift, 0, events.shape[1] - 1)
        np.add.at(moved, (place[0], step, *place[2:]), count)
    return np.minimum(moved, most).astype(events.dtype)


def hot_channels(events: np.ndarray, number: int, generator: np.random.Generator) -> np.ndarray:
    """Let `number` input channels, the same in all recordings, have an event in every step.

    events: counts, (B, T, *shape); a channel is one element of `shape`.
    """
    hot = events.copy()
    flat = hot.reshape(*events.shape[:2], -1)
    chosen = generator.choice(flat.shape[2], number, replace=False)
    flat[..., chosen] = np.maximum(flat[..., chosen], 1)
    return hot


def flip_bits(
    network: IntegerNetwork, probability: float, generator: np.random.Generator
) -> tuple[IntegerNetwork, int]:
    """Flip each bit of the stored weights independently; the network, and how many bits flipped.

    A weight is stored in two's complement, in `weights.bits` less the lowest bits that `weights.step`
    leaves out: 8 on Xylo, Speck and Loihi.
    """
    profile = network.profile
    step = profile["weights.step"]
    bits = profile["weights.bits"] - (step.bit_length() - 1)
    weights, flipped = [], 0
    for weight in network.weights:
        mask = np.zeros(weight.values.shape, np.int64)
        for bit in range(bits):
            flips = generator.random(mask.shape) < probability
            flipped += int(flips.sum())
            mask |= flips.astype(np.int64) << bit
        weights.append(_stored_with(weight, mask, bits, step))
    return dataclasses.replace(network, weights=tuple(weights)), flipped


def _stored_with(weight: Weight, mask: np.ndarray, bits: int, step: int) -> Weight:
    """The weight with the bits of `mask` flipped; numbers that are not touched stay."""
    stored = (weight.values // step) & (2**bits - 1)
    stored ^= mask
    signed = np.where(stored >= 2 ** (bits - 1), stored - 2**bits, stored)
    return dataclasses.replace(weight, values=signed * step)
