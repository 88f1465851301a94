"""Binning against tonic's own frames, and its edges by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tonic

from pipeline.datasets.binning import to_bins

NMNIST = np.dtype([("x", int), ("y", int), ("t", int), ("p", int)])
BRAILLE = np.dtype([("t", int), ("x", int), ("p", int)])


def random_events(dtype: np.dtype, count: int, duration_us: int, width: int) -> np.ndarray:
    random = np.random.default_rng(3)
    events = np.zeros(count, dtype)
    events["t"] = np.sort(random.integers(0, duration_us, count))
    events["x"] = random.integers(0, width, count)
    events["p"] = random.integers(0, 2, count)
    if "y" in (dtype.names or ()):
        events["y"] = random.integers(0, width, count)
    return events


@pytest.mark.parametrize(("bins", "bin_us"), [(25, 12_600), (300, 1000), (3, 105_000)])
def test_images_equal_tonics_frames(bins: int, bin_us: int) -> None:
    events = random_events(NMNIST, 5000, bins * bin_us, 34)
    # tonic 1.7 as an independent implementation; its frames are (T, P, H, W), too.
    frames = tonic.transforms.ToFrame(
        (34, 34, 2), time_window=bin_us, start_time=0, end_time=bins * bin_us
    )(events)
    counts, late = to_bins(events, (34, 34, 2), bins, bin_us, merge_polarity=False)
    np.testing.assert_array_equal(counts, frames)
    assert counts.dtype == np.uint8
    assert late == 0


def test_merged_taxels_equal_or_of_tonics_frames() -> None:
    events = random_events(BRAILLE, 4000, 256 * 5000, 12)
    frames = tonic.transforms.ToFrame(
        (12, 1, 2), time_window=5000, start_time=0, end_time=256 * 5000
    )(events)
    counts, _ = to_bins(events, (12, 1, 2), 256, 5000, merge_polarity=True)
    assert counts.shape == (256, 12)
    np.testing.assert_array_equal(counts, frames.any(axis=1))


def test_edges_of_bins_and_events_past_the_last_one() -> None:
    events = np.array([(0, 1, 0), (99, 1, 1), (100, 1, 1), (199, 2, 0), (200, 0, 0)], BRAILLE)
    counts, late = to_bins(events, (3, 1, 2), 2, 100, merge_polarity=False)
    # (T, P, W): bin 0 is [0, 100) us, bin 1 is [100, 200) us, the event at 200 us is left out.
    np.testing.assert_array_equal(counts, [[[0, 1, 0], [0, 1, 0]], [[0, 0, 1], [0, 1, 0]]])
    assert late == 1


def test_counts_stop_at_255() -> None:
    events = np.zeros(300, NMNIST)
    counts, _ = to_bins(events, (34, 34, 2), 1, 1000, merge_polarity=False)
    assert counts[0, 0, 0, 0] == 255
    assert counts.sum() == 255


def test_no_events_at_all() -> None:
    counts, late = to_bins(np.empty(0, NMNIST), (34, 34, 2), 2, 1000, merge_polarity=False)
    assert counts.shape == (2, 2, 34, 34)
    assert not counts.any()
    assert late == 0
