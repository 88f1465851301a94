"""Train, validation and test: disjoint, stratified, seeded."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

NAMES = ("train", "validation", "test")


def stratified(
    labels: np.ndarray, fractions: tuple[float, ...], seed: int, names: Sequence[str] = ()
) -> np.ndarray:
    """A part for every label: 0 for what is left, 1, 2, ... for the given fractions.

    Within each class the recordings are shuffled by a generator of (seed, class) and dealt out:
    every part gets its fraction, rounded, and at least one recording, or none for a fraction of 0.

    Args:
        labels: (N,) class indices. names: of the classes, for the message; else their indices.

    Returns:
        (N,) uint8.

    Raises:
        ValueError: a class has too few recordings for every part to get one.
    """
    parts = np.zeros(len(labels), np.uint8)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        np.random.default_rng([seed, int(label)]).shuffle(members)
        counts = [max(f > 0, int(len(members) * f + 0.5)) for f in fractions]
        if sum(counts) >= len(members):
            name = f"`{names[label]}`" if names else label
            raise ValueError(
                f"{len(members)} recording{'s' * (len(members) > 1)} of class {name} are too few to "
                f"split: {sum(counts)} would be held back, and at least one has to be left for training"
            )
        start = 0
        for part, count in enumerate(counts, start=1):
            parts[members[start : start + count]] = part
            start += count
    return parts
