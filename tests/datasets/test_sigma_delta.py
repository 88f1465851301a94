"""Crossings that can be computed by hand, and times that were published."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.datasets import sigma_delta

PERIOD_US = 25_000  # 40 Hz


def triples(events: np.ndarray) -> list[tuple[int, int, int]]:
    return [(int(t), int(x), int(p)) for t, x, p in events]


def test_a_ramp_crosses_every_unit_at_equal_times() -> None:
    # 5 units up in one period: at 1/5, 2/5, ... of 25 000 us.
    events = sigma_delta.encode(np.array([[10], [15]]), PERIOD_US)
    assert triples(events) == [(5000 * k, 0, 1) for k in range(1, 6)]


def test_down_is_off_and_the_reference_needs_a_full_threshold_to_turn() -> None:
    # 0 -> 2.5 emits at 1 and 2; the way down from 2.5 first passes 2 - 1 = 1, then 0.
    events = sigma_delta.encode(np.array([[0.0], [2.5], [0.0]]), PERIOD_US)
    assert triples(events) == [
        (10_000, 0, 1),
        (20_000, 0, 1),
        (25_000 + 15_000, 0, 0),  # 1.5 of 2.5 down
        (25_000 + 25_000, 0, 0),
    ]


def test_published_event_times_are_reproduced() -> None:
    # First recording of data_braille_letters_th_10.pkl (letter A, taxel 6), threshold 10: a rise
    # of 47 within the sample period from 0.65 s, then one of 4, gave ON events at these times.
    published = [0.6553191489361703, 0.6606382978723405, 0.6659574468085108, 0.6712765957446809]
    published.append(0.6937500000000001)
    signal = np.full((29, 1), 100.0)
    signal[27:] = 147
    signal[28:] = 151
    events = sigma_delta.encode(signal, PERIOD_US, threshold=10)
    assert triples(events) == [(round(t * 1e6), 0, 1) for t in published]


def test_taxels_are_independent_and_events_are_in_order_of_time() -> None:
    events = sigma_delta.encode(np.array([[0, 3], [1, 1]]), PERIOD_US)
    assert triples(events) == [(12_500, 1, 0), (25_000, 0, 1), (25_000, 1, 0)]


@pytest.mark.parametrize("samples", [np.zeros((0, 12)), np.zeros((1, 12)), np.full((9, 12), 7)])
def test_a_constant_signal_is_silent(samples: np.ndarray) -> None:
    assert len(sigma_delta.encode(samples, PERIOD_US)) == 0


@given(st.lists(st.integers(0, 255), min_size=1, max_size=40))
def test_integers_at_threshold_1_are_recovered_by_counting(signal: list[int]) -> None:
    # Every unit of change is one event, so ON minus OFF up to a sample is its height.
    events = sigma_delta.encode(np.array(signal)[:, None], PERIOD_US)
    sign = 2 * events["p"] - 1
    for step, value in enumerate(signal):
        assert signal[0] + sign[events["t"] <= step * PERIOD_US].sum() == value


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`samples` must be \(T, taxels\), got shape \(3,\)"):
        sigma_delta.encode(np.zeros(3), PERIOD_US)
    with pytest.raises(ValueError, match="`threshold` must be above 0, got 0"):
        sigma_delta.encode(np.zeros((3, 1)), PERIOD_US, threshold=0)
