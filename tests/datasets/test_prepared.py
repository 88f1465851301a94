"""The prepared file: what is written is read, the same bytes twice, and damage is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.datasets import prepared
from spyx_nir.errors import UserError

N, SHAPE = 30, (7, 12)
EVENTS = np.random.default_rng(1).integers(0, 256, (N, *SHAPE)).astype(np.uint8)
LABELS = np.arange(N) % 3
SPLIT = np.repeat([0, 1, 2, 0], [12, 6, 6, 6]).astype(np.uint8)


def write(path: Path, events: Any = EVENTS) -> Path:
    prepared.write(
        path,
        iter(events),
        (N, *SHAPE),
        LABELS,
        SPLIT,
        {"classes": ["A", "B", "C"], "bins": 7, "bin_us": 5000, "source": "simulated"},
        {"seed": 3},
    )
    return path


def test_round_trip(tmp_path: Path) -> None:
    data = prepared.read(write(tmp_path / "a.h5"))
    assert data.shape == (N, *SHAPE)
    assert data.classes == ("A", "B", "C")
    assert (data.bins, data.bin_us, data.source) == (7, 5000, "simulated")
    assert data.provenance == {"seed": 3}
    for part, name in enumerate(("train", "validation", "test")):
        events, labels = data.subset(name)
        np.testing.assert_array_equal(events, EVENTS[part == SPLIT])
        np.testing.assert_array_equal(labels, LABELS[part == SPLIT])
        assert events.dtype == np.uint8
        assert labels.dtype == np.int64


def test_a_stream_reads_what_is_asked_for(tmp_path: Path) -> None:
    events, labels = prepared.read(write(tmp_path / "a.h5")).stream("train")
    expected = EVENTS[SPLIT == 0]
    assert (events.shape, events.ndim, events.dtype) == (expected.shape, 3, np.uint8)
    assert len(events) == len(labels) == len(expected)
    for index in (slice(2, 5), slice(15, 99), slice(0, 0), np.array([0, 1, 11, 12, 17])):
        np.testing.assert_array_equal(events[index], expected[index])


def test_a_stream_of_a_file_that_went_away_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    events, _ = prepared.read(path).stream("test")
    path.unlink()
    with pytest.raises(UserError, match=r"a\.h5: not a complete prepared file"):
        events[:]


def test_the_same_bytes_twice(tmp_path: Path) -> None:
    assert write(tmp_path / "a.h5").read_bytes() == write(tmp_path / "b.h5").read_bytes()


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write(tmp_path / "a.h5")
    before = path.read_bytes()

    def interrupted() -> Any:
        yield EVENTS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, interrupted())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no\.h5: no such file; run `dvc repro`"):
        prepared.read(tmp_path / "no.h5")


def test_an_unknown_split(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="unknown split `all`; allowed are train, validation, test"):
        prepared.read(write(tmp_path / "a.h5")).subset("all")


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_truncated_file(tmp_path: Path, size: int) -> None:
    path = write(tmp_path / "a.h5")
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"a\.h5: not a complete prepared file .*; delete it and"):
        prepared.read(path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.__delitem__("labels"),
        lambda file: file.attrs.__setitem__("format", 99),
        lambda file: file.attrs.__setitem__("bins", 8),
        lambda file: file.attrs.__setitem__("classes", json.dumps(["A"])),
        lambda file: file.attrs.__delitem__("provenance"),
    ],
)
def test_an_altered_file(tmp_path: Path, damage: Any) -> None:
    path = write(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(UserError, match="not a complete prepared file"):
        prepared.read(path)
