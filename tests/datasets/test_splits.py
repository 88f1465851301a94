"""Splits are disjoint, stratified, seeded, and depend on nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import splits


@given(st.integers(0, 2**32 - 1), st.integers(10, 60), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_every_class_gets_the_asked_fractions(
    seed: int, per_class: int, validation: float, test: float
) -> None:
    labels = np.repeat([0, 3, 5], per_class)
    parts = splits.stratified(labels, (validation, test), seed)
    for label in (0, 3, 5):
        counts = np.bincount(parts[labels == label], minlength=3)
        assert counts.sum() == per_class  # each recording in exactly one part
        # Half a recording of rounding, or the one that every part gets.
        assert abs(counts[1] - per_class * validation) <= 0.5 or counts[1] == 1
        assert abs(counts[2] - per_class * test) <= 0.5 or counts[2] == 1


def test_a_fraction_of_0_gets_nothing() -> None:
    parts = splits.stratified(np.repeat([0, 1], 10), (0.0, 0.2), 1)
    assert np.bincount(parts).tolist() == [16, 0, 4]


def test_the_seed_decides() -> None:
    labels = np.repeat(np.arange(4), 50)
    once, again, other = (splits.stratified(labels, (0.2, 0.2), seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(once, again)
    assert (once != other).any()


def test_a_class_does_not_depend_on_the_others() -> None:
    alone = splits.stratified(np.zeros(30, int), (0.2,), 1)
    labels = np.tile([1, 0], 30)
    np.testing.assert_array_equal(splits.stratified(labels, (0.2,), 1)[labels == 0], alone)


def test_too_few_recordings_are_refused() -> None:
    with pytest.raises(ValueError, match="2 recordings of class 1 are too few to split"):
        splits.stratified(np.array([0, 0, 0, 1, 1]), (0.2, 0.2), 0)
    with pytest.raises(ValueError, match="1 recording of class `z` are too few to split: 2 would"):
        splits.stratified(np.array([0, 0, 0, 1]), (0.2, 0.2), 0, ("y", "z"))
