"""Wilson's interval against the published examples."""

import pytest

from pipeline import metrics


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
    assert metrics.wilson(k, n) == pytest.approx((low, high), abs=5e-5)


def test_wilson_is_symmetric_and_stays_in_range():
    assert metrics.wilson(29, 29)[1] == 1.0
    low, high = metrics.wilson(3, 10)
    assert metrics.wilson(7, 10) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize(("k", "n"), [(0, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(k, n):
    with pytest.raises(ValueError, match=f"got {k} of {n}"):
        metrics.wilson(k, n)


def test_an_entry_carries_n_and_interval():
    entry = metrics.accuracy_entry(81, 263)
    assert (entry["correct"], entry["n"]) == (81, 263)
    assert entry["accuracy"] == pytest.approx(0.3080, abs=5e-5)
    assert entry["wilson95"] == pytest.approx([0.2553, 0.3662], abs=5e-5)
