"""Braille letters under a simulated fingertip, as samples in the format of the real recordings.

The finger slides at constant speed over one six-dot cell. A dot presses on the taxels around it
and lifts the skin from the plate a little further away, as the real recordings show (the loaded
taxel rises from 160 to 190 while a neighbour falls from 30 to 0 and back). Every recording has
its own start, lateral offset, speed, pressure and sensor noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.datasets import braille

SAMPLE_RATE_HZ = 40.0
SPEED_MM_S = 20.0
# 1.275 s, as the public release: the event windows there span 51 sample periods.
SAMPLES = 52

# The six-dot cell: dots 1 2 3 go down the left column, 4 5 6 down the right one; their pitch is
# 2.5 mm (ISO 17049).
PITCH_MM = 2.5
DOTS = {
    "Space": (), "A": (1,), "B": (1, 2), "C": (1, 4), "D": (1, 4, 5), "E": (1, 5),
    "F": (1, 2, 4), "G": (1, 2, 4, 5), "H": (1, 2, 5), "I": (2, 4), "J": (2, 4, 5),
    "K": (1, 3), "L": (1, 2, 3), "M": (1, 3, 4), "N": (1, 3, 4, 5), "O": (1, 3, 5),
    "P": (1, 2, 3, 4), "Q": (1, 2, 3, 4, 5), "R": (1, 2, 3, 5), "S": (2, 3, 4),
    "T": (2, 3, 4, 5), "U": (1, 3, 6), "V": (1, 2, 3, 6), "W": (2, 4, 5, 6),
    "X": (1, 3, 4, 6), "Y": (1, 3, 4, 5, 6), "Z": (1, 3, 5, 6),
}  # fmt: skip

# Taxels of the fingertip, (along the slide, across it) in mm from its lowest point: a staggered
# grid with about 3 mm between neighbours, like the twelve pads of the iCub's fingertip.
TAXELS_MM = np.array([
    (-4.5, -1.5), (-4.5, 1.5), (-4.5, 4.5), (-1.5, -3.0), (-1.5, 0.0), (-1.5, 3.0),
    (1.5, -1.5), (1.5, 1.5), (1.5, 4.5), (4.5, -3.0), (4.5, 0.0), (4.5, 3.0),
])  # fmt: skip

# Resting pressure of a ball on a plate: full at its lowest point, none beyond the contact's edge,
# where a dot must first bridge the gap.
REST = 165.0
CONTACT_RADIUS_MM = 4.0
# A dot presses within PRESS_MM (compliance of the skin) and lifts within LIFT_MM.
PRESS, PRESS_MM = 55.0, 1.4
LIFT, LIFT_MM = 20.0, 3.0
# Spread between recordings (standard deviations).
START_MM, LATERAL_MM, SPEED, PRESSURE, GAIN, NOISE = 0.6, 0.3, 0.03, 0.06, 0.12, 0.6


def simulate(letter: str, count: int, seed: int) -> np.ndarray:
    """Record one letter `count` times.

    Each recording has its own generator of (seed, letter, repetition), so that it does not
    depend on which others are made.

    Returns:
        (count, SAMPLES, 12) uint8, 255 = no contact.
    """
    order = braille.Braille.classes.index(letter)
    generators = [np.random.default_rng([seed, order, repetition]) for repetition in range(count)]
    return np.stack([_record(letter, generator) for generator in generators])


def write(folder: str | Path, letters: tuple[str, ...], per_letter: int, seed: int) -> None:
    """Fill `folder` with simulated recordings in the format of `taxels_40Hz.npz`."""
    taxels = np.concatenate([simulate(letter, per_letter, seed) for letter in letters])
    braille.save_samples(
        Path(folder) / braille.NPZ,
        taxels,
        np.full(len(taxels), SAMPLES),
        np.repeat(np.array(letters, dtype="U5"), per_letter),
        np.tile(np.arange(per_letter), len(letters)),
        SAMPLE_RATE_HZ,
    )


def _record(letter: str, generator: np.random.Generator) -> np.ndarray:
    start, lateral, speed, pressure, gain = generator.normal(
        (0, 0, SPEED_MM_S, 1, 1), (START_MM, LATERAL_MM, SPEED_MM_S * SPEED, PRESSURE, GAIN)
    )
    time = np.arange(SAMPLES) / SAMPLE_RATE_HZ
    # The finger's lowest point passes the middle of the cell in the middle of the recording.
    along = start + speed * (time - time[-1] / 2)
    finger = np.stack([along, np.full(SAMPLES, lateral)], axis=-1)
    taxels = finger[:, None, :] + TAXELS_MM  # (T, 12, 2)
    radius = np.hypot(*TAXELS_MM.T)
    rest = REST * pressure * (1 - (radius / CONTACT_RADIUS_MM) ** 2)
    contact = np.tile(rest, (SAMPLES, 1))
    for dot in DOTS[letter]:
        column, row = divmod(dot - 1, 3)
        centre = ((column - 0.5) * PITCH_MM, (1 - row) * PITCH_MM)
        square = ((taxels - centre) ** 2).sum(axis=-1)
        contact += gain * PRESS * np.exp(-square / (2 * PRESS_MM**2))
        contact -= gain * LIFT * np.exp(-square / (2 * LIFT_MM**2))
    noise = generator.normal(0, NOISE, contact.shape)
    touching = contact > 0
    values = np.clip(np.rint(contact + noise * touching), 0, braille.NO_CONTACT)
    return (braille.NO_CONTACT - values * touching).astype(np.uint8)
