"""The thin subclass of tonic's data set, and the 40-bit files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import real_data
from tonic.io import read_mnist_file

from pipeline.datasets.nmnist import NMNIST, to_bytes
from pipeline.errors import UserError

EVENTS = np.array(
    [(0, 0, 0, 0), (33, 1, 1, 1), (2, 33, 65_536, 0), (5, 6, 314_999, 1), (1, 1, 2**23 - 1, 1)],
    np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]),
)


def fill(folder: Path, names: tuple[str, ...] = ("Train/3/00001.bin", "Test/7/00002.bin")) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(to_bytes(EVENTS))
    return folder


def test_words_are_the_published_40_bits() -> None:
    # x = 33, y = 1, p = 1, t = 0x012345: 8 + 8 + 1 + 23 bits (garrickorchard.com, N-MNIST).
    event = np.array([(33, 1, 0x012345, 1)], EVENTS.dtype)
    assert to_bytes(event) == bytes([33, 1, 0x80 | 0x01, 0x23, 0x45])


def test_tonic_reads_what_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(to_bytes(EVENTS))
    np.testing.assert_array_equal(read_mnist_file(path, dtype=EVENTS.dtype), EVENTS)


def test_a_folder_with_few_files_is_read_without_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_download(self: object) -> None:
        raise AssertionError("went to the network")

    monkeypatch.setattr("tonic.datasets.NMNIST.download", no_download)
    fill(tmp_path, ("Train/3/00001.bin", "Train/0/00009.bin", "Test/7/00002.bin"))
    train, test = NMNIST(tmp_path, train=True), NMNIST(tmp_path, train=False)
    assert [train[i][1] for i in range(len(train))] == [0, 3]
    events, target = test[0]
    np.testing.assert_array_equal(events, EVENTS)
    assert target == 7


def test_a_missing_or_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none: no such folder"):
        NMNIST(tmp_path / "none", train=True)
    with pytest.raises(UserError, match=r"Train: no such folder; N-MNIST has Train/ and Test/"):
        NMNIST(tmp_path, train=True)
    (tmp_path / "Test" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match=r"Test: holds no recordings"):
        NMNIST(tmp_path, train=False)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (0, r"00001\.bin: is empty"),
        (13, r"00001\.bin: 13 bytes are no whole number of 5-byte events: the file ends within"),
    ],
)
def test_a_truncated_recording(tmp_path: Path, size: int, message: str) -> None:
    fill(tmp_path)
    path = tmp_path / "Train" / "3" / "00001.bin"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=message):
        NMNIST(tmp_path, train=True)


@pytest.mark.parametrize("name", ["Train/00001.bin", "Train/x/00001.bin", "Train/1/2/00001.bin"])
def test_recordings_in_the_wrong_place(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"recordings lie in <digit>/<id>\.bin"):
        NMNIST(fill(tmp_path, (name,)), train=True)


@real_data.needs_nmnist
def test_real_recordings() -> None:
    dataset = NMNIST(real_data.NMNIST, train=False)
    assert len(dataset) == 150
    events, _ = dataset[0]
    assert events["x"].max() < 34
    assert events["y"].max() < 34
    assert set(np.unique(events["p"])) == {0, 1}
    # Three saccades of 105 ms (Orchard et al. 2015).
    assert 280_000 < events["t"].max() < 320_000
