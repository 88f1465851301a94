"""Wilson's interval against the published examples, and accuracies over several seeds."""

import math

import numpy as np
import pytest

from spyx_nir import confidence


# Newcombe 1998, Statistics in Medicine 17:857-872, table I, method 3.
@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_intervals(k, n, low, high):
    # Published to four digits.
    assert confidence.wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_stays_in_range():
    assert confidence.wilson(29, 29)[1] == 1.0
    low, high = confidence.wilson(3, 10)
    assert confidence.wilson(7, 10) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match=f"got {k} of {n}"):
        confidence.wilson(k, n)
    with pytest.raises(ValueError, match=f"got {k} of {n}"):
        confidence.accuracy_entry(k, n)


def test_an_entry_carries_n_and_interval():
    entry = confidence.accuracy_entry(81, 263)
    assert (entry["correct"], entry["n"]) == (81, 263)
    assert entry["accuracy"] == pytest.approx(0.3080, abs=5e-5)
    assert entry["wilson95"] == pytest.approx([0.2553, 0.3662], abs=5e-5)


def test_an_entry_of_classes_counts_the_equal_ones():
    found = confidence.accuracy_of([2, 0, 1, 1], np.array([2, 1, 1, 1]))
    assert found == confidence.accuracy_entry(3, 4)


def test_seeds_on_one_test_set_count_its_recordings_once():
    """Newcombe's 81 of 263, three times: three seeds that agree are no 789 recordings."""
    found = confidence.over_seeds([81, 81, 81], 263)
    assert found["n"] == 263
    assert found["wilson95"] == pytest.approx([0.2553, 0.3662], abs=5e-5)
    assert found["deviation"] == 0.0


def test_seeds_are_told_by_mean_and_spread():
    found = confidence.over_seeds([67, 65, 68], 70)
    assert found["accuracy"] == pytest.approx(200 / 210)
    assert found["spread"] == pytest.approx([65 / 70, 68 / 70])
    # 67, 65, 68 lie 1/3, -5/3 and 4/3 from their mean: squares add up to 42/9.
    assert found["deviation"] == pytest.approx(math.sqrt(42 / 9 / 2) / 70)
    assert confidence.over_seeds([3], 4)["deviation"] == 0.0


def test_the_interval_of_seeds_holds_the_true_mean_where_pooled_ones_do_not():
    """Recordings that are right or wrong for all seeds alike, drawn 2000 times."""
    random, p, n = np.random.default_rng(1), 0.9, 70
    counts = random.binomial(n, p, 2000).tolist()
    ours = [confidence.over_seeds([k, k, k], n)["wilson95"] for k in counts]
    pooled = [confidence.wilson(3 * k, 3 * n) for k in counts]

    def held(intervals) -> float:
        return float(np.mean([low <= p <= high for low, high in intervals]))

    assert held(ours) > 0.93
    assert held(pooled) < 0.8


@pytest.mark.parametrize(("correct", "n"), [([], 5), ([1, 6], 5)])
def test_impossible_seeds_are_refused(correct, n):
    with pytest.raises(ValueError):
        confidence.over_seeds(correct, n)
