"""Down-sampling of N-MNIST for a small network, against arrays that were worked out by hand."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from bench.silicon import small_nmnist


def test_cells_are_1_where_any_of_their_pixels_had_an_event() -> None:
    """34 pixels in 2 cells: 0 to 16 and 17 to 33."""
    events = np.zeros((1, 2, 2, 34, 34), np.uint8)
    events[0, 0, 0, 16, 16] = 3  # upper left
    events[0, 0, 0, 0, 0] = 200
    events[0, 0, 1, 16, 17] = 1  # upper right
    events[0, 1, 1, 33, 33] = 255  # lower right
    events[0, 1, 0, 17, 0] = 1  # lower left
    made = small_nmnist.downsampled(events, 2)
    # Order: polarity, row, column.
    assert made.tolist() == [[[1, 0, 0, 0, 0, 1, 0, 0], [0, 0, 1, 0, 0, 0, 0, 1]]]
    assert made.dtype == np.uint8


def test_uneven_cells() -> None:
    """34 pixels in 9 cells: y 9 // 34 is 0 for 0 to 3, 1 for 4 to 7, 6 for 23 to 26, 8 for 31 to 33."""
    cell = {0: 0, 3: 0, 4: 1, 7: 1, 8: 2, 22: 5, 23: 6, 26: 6, 27: 7, 30: 7, 31: 8, 33: 8}
    for pixel, expected in cell.items():
        events = np.zeros((1, 1, 2, 34, 34), np.uint8)
        events[0, 0, 1, pixel, 5] = 1
        made = small_nmnist.downsampled(events, 9).reshape(2, 9, 9)
        assert np.argwhere(made).tolist() == [[1, expected, 1]]


def test_full_resolution_only_merges_counts() -> None:
    events = np.arange(2 * 34 * 34, dtype=np.uint64).reshape(1, 1, 2, 34, 34) % 3
    made = small_nmnist.downsampled(events.astype(np.uint8), 34)
    assert made.sum() == 2 * 34 * 34 - 771  # every third, of 2312, is 0


@pytest.mark.parametrize("text", ["9", "9x", "0x32", "35x32", "9x0", "9x2000", "ax3", "-9x32"])
def test_a_network_that_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"1 to 34 cells.*got {text}"):
        small_nmnist._network(text)


def test_a_row() -> None:
    """13,536 instructions are half of 27,072."""
    right = {"correct": 9, "n": 10}
    found = {
        "size": 9, "hidden": 48, "seed": 1,
        "accuracy": {"float": right, "ptq": {"correct": 8, "n": 10}, "integer": right},
        "instructions_per_step": {"mean": 1000.4, "most": 13536.0},
        "flash": 9000, "ram": 292, "spike_entries": 1234, "state_entries": 2468, "differing": 0,
    }  # fmt: skip
    assert small_nmnist.line(found) == (
        "| 9 x 9 x 2 | 48 | 1 | 9, 8, 9 of 10 | 1,000, 13,536 | 0.50 | 9,000, 292 | 1,234, 2,468, 0 |"
    )
