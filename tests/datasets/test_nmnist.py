"""The thin subclass of tonic's data set, and the 40-bit files."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import real_data
from tonic.io import read_mnist_file

from pipeline import params
from pipeline.datasets.nmnist import NMNIST, to_bytes
from pipeline.tasks import nmnist
from spyx_nir.errors import UserError

ROOT = Path(__file__).parents[2]
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
    with pytest.raises(UserError, match=r"a recording is in <digit>/<id>\.bin"):
        NMNIST(fill(tmp_path, (name,)), train=True)


def test_names_in_other_cases_are_read_and_hidden_files_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, ("Train/3/00001.BIN", "Train/3/00002.bin", "Test/3/00003.Bin"))
    for name in ("3/._00002.bin", ".DS_Store", "3/notes.txt", ".git/1/00009.bin"):
        (tmp_path / "Train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "Train" / name).write_bytes(b"Mac OS X")
    train = NMNIST(tmp_path, train=True)
    assert [Path(file).name for file in train.data] == ["00001.BIN", "00002.bin"]
    assert train.targets == [3, 3]
    left = [file.relative_to(tmp_path / "Train").as_posix() for file in train.left_out]
    assert left == [".DS_Store", ".git/1/00009.bin", "3/._00002.bin", "3/notes.txt"]
    test = NMNIST(tmp_path, train=False)
    np.testing.assert_array_equal(test[0][0], EVENTS)
    nmnist.recordings(params.load("nmnist", ROOT / "params.yaml").data, tmp_path)
    said = capsys.readouterr().out
    assert "left out, no <digit>/<id>.bin: 4 (" in said
    assert said.count("left out") == 1


def test_folders_that_are_links_are_followed(tmp_path: Path) -> None:
    fill(tmp_path / "elsewhere", ("a/00001.bin", "a/00002.bin"))
    fill(tmp_path, ("Train/3/00003.bin",))
    (tmp_path / "Train" / "0").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "Test").symlink_to(tmp_path / "Train")
    for train in (True, False):
        assert NMNIST(tmp_path, train=train).targets == [0, 0, 3]
    (tmp_path / "Train" / "1").symlink_to(tmp_path / "elsewhere" / "a")
    with pytest.raises(UserError, match=r"Train/1: a link to .*/a, whose recordings are here alre"):
        NMNIST(tmp_path, train=True)


def test_links_and_pipes_that_cannot_be_read(tmp_path: Path) -> None:
    file = fill(tmp_path) / "Train" / "3" / "00000.bin"
    file.symlink_to("gone.bin")
    with pytest.raises(UserError, match=r"00000\.bin: a link to gone\.bin, which does not exist"):
        NMNIST(tmp_path, train=True)
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(UserError, match=r"00000\.bin: is no file"):
        NMNIST(tmp_path, train=True)
    file.unlink()
    file.symlink_to(file.name)
    with pytest.raises(UserError, match=r"00000\.bin: Too many levels of symbolic links"):
        NMNIST(tmp_path, train=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        # x, y, t and p: the clock goes on, so y = 240 is no mark of a wrap.
        ([(1, 2, 10, 0), (3, 240, 20, 0), (4, 5, 30, 0)], "event 1 has y = 240, outside the 34x34"),
        ([(1, 2, 10, 0), (3, 240, 20, 0)], "event 1 has y = 240"),
        ([(1, 2, 2**23 - 5, 0), (3, 4, 5, 0)], "event 1 is at 5 us, the one before at 8388603 us"),
    ],
)
def test_clocks_that_do_not_go_on(
    tmp_path: Path, words: list[tuple[int, ...]], message: str
) -> None:
    fill(tmp_path)
    file = tmp_path / "Train" / "3" / "00001.bin"
    file.write_bytes(to_bytes(np.array(words, EVENTS.dtype)))
    with pytest.raises(UserError, match=message):
        NMNIST(tmp_path, train=True)[0]


def test_a_marked_wrap_is_read_as_tonic_does(tmp_path: Path) -> None:
    # 13 bits wrap between the events: 8190 us, then 3 us behind the mark, which is 8195 us.
    fill(tmp_path)
    file = tmp_path / "Train" / "3" / "00001.bin"
    words = [(1, 2, 8190, 0), (0, 240, 0, 0), (3, 4, 3, 1)]
    file.write_bytes(to_bytes(np.array(words, EVENTS.dtype)))
    assert NMNIST(tmp_path, train=True)[0][0]["t"].tolist() == [8190, 8195]


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
