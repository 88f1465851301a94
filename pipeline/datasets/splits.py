"""Train, validation and test: disjoint, stratified, seeded."""

from __future__ import annotations

import numpy as np

NAMES = ("train", "validation", "test")


def stratified(labels: np.ndarray, fractions: tuple[float, ...], seed: int) -> np.ndarray:
    """A part for every label: 0 for what is left, 1, 2, ... for the given fractions.

    Within each class the recordings are shuffled by a generator of (seed, class) and dealt out:
    every part gets its fraction, rounded, and at least one recording, or none for a fraction of 0.

    Args:
        labels: (N,) class indices.
        fractions: of part 1, part 2, ...
        seed: of the shuffle.

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
            raise ValueError(f"{len(members)} recordings of class {label} are too few to split")
        start = 0
        for part, count in enumerate(counts, start=1):
            parts[members[start : start + count]] = part
            start += count
    return parts
