"""`run` on samples with labels and on recordings of events."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from small_chain import chain

from spyx_nir import recordings
from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UsageError

ONE = np.ones(3, np.float32)


def classifier(**metadata: Any) -> nir.NIRGraph:
    """Three inputs to three classes of their own: an input above 1 spikes."""
    graph = chain(np.eye(3, dtype=np.float32), nir.IF(ONE, ONE, 0 * ONE))
    graph.metadata = {"contract_version": 1, "dt": 1.0, **metadata}
    return graph


@pytest.fixture
def path(tmp_path: Path) -> str:
    made = tmp_path / "a.nir"
    file.write(made, classifier(classes='["left", "up", "right"]', readout="spike_count"))
    return str(made)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["run", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


X = np.zeros((4, 5, 3), np.float32)  # (N, T, 3)
X[[0, 1, 2, 3], :, [0, 1, 2, 0]] = 2


@pytest.mark.parametrize("time_first", [False, True])
@pytest.mark.parametrize("y", [[0, 1, 2, 2], ["left", "up", "right", "right"]])
def test_samples_with_labels_are_judged(
    path: str, y: list[Any], time_first: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last one is seen as 0 and labelled 2."""
    data = str(tmp_path / "d.npz")
    np.savez(data, x=X.swapaxes(0, 1) if time_first else X, y=np.array(y))
    judged = run(capsys, path, data)["labels"]
    assert (judged["samples"], judged["correct"], judged["accuracy"]) == (4, 3, 0.75)
    assert judged["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert main(["run", path, data]) == 0
    printed = capsys.readouterr().out
    assert "accuracy 75.0 % (3 of 4)\n1 of label right as left\n" in printed


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": X, "y": np.array([0, 1, 2, 3])}, "label 3 is no class; 0 to 2 is allowed"),
        (
            {"x": X, "y": np.array(["left", "up", "right", "down"])},
            "label 'down' is no class; there",
        ),
        ({"x": X, "y": np.zeros(7, int)}, "`y` has 7 labels, but `x` is (4, 5, 3)"),
        ({"x": X, "y": np.zeros(4)}, "`y` is float64 (4,); (N,) whole numbers or names are needed"),
    ],
)
def test_labels_that_do_not_fit(
    arrays: dict[str, Any],
    words: str,
    path: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = str(tmp_path / "d.npz")
    np.savez(data, **arrays)
    assert main(["run", path, data]) == 1
    assert words in capsys.readouterr().err


def test_an_archive_of_nothing(path: str, tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "d.npz")
    assert main(["run", path, str(tmp_path / "d.npz")]) == 1
    assert "holds the arrays (none)" in capsys.readouterr().err


FIELDS = [("t", "<i8"), ("x", "<i2"), ("y", "<i2"), ("p", "<i1")]
# Two bins of 1000 us on 2 x 3 pixels: twice ON at (1, 0), OFF at (2, 1); then OFF at (0, 1); one is late.
EVENTS = np.array(
    [(0, 1, 0, 1), (999, 1, 0, 1), (10, 2, 1, 0), (1000, 0, 1, 0), (2500, 0, 0, 0)], FIELDS
)


def test_events_become_counts_by_polarity() -> None:
    made = recordings.bin_events(EVENTS, (2, 2, 3), 1000, 2)
    expected = np.zeros((2, 2, 2, 3), np.uint8)
    expected[0, 1, 0, 1], expected[0, 0, 1, 2], expected[1, 0, 1, 0] = 2, 1, 1
    np.testing.assert_array_equal(made, expected)
    merged = recordings.bin_events(EVENTS, (1, 2, 3), 1000, 2)
    np.testing.assert_array_equal(merged[:, 0], expected.any(axis=1))
    row = recordings.bin_events(EVENTS[["t", "x"]], (3,), 1000, 2)
    np.testing.assert_array_equal(row, [[0, 1, 1], [1, 0, 0]])


@pytest.mark.parametrize(
    ("shape", "fields", "words"),
    [
        ((2, 2, 2), "txyp", "event 2 is at t = 10, p = 0, y = 1, x = 2; the input is (2, 2, 2)"),
        ((2, 2, 3), "txy", "events without `p`; needed are t, p, y, x"),
    ],
)
def test_events_outside_the_input(shape: tuple[int, ...], fields: str, words: str) -> None:
    with pytest.raises(GraphError) as caught:
        recordings.bin_events(EVENTS[list(fields)], shape, 1000, 2)
    assert words in str(caught.value)


def nmnist(events: np.ndarray) -> bytes:
    """The 40 bits of each event: x, y, p, t (23 bits), as Orchard et al. 2015 write them."""
    words = [int(x) << 32 | int(y) << 24 | int(p) << 23 | int(t) for t, x, y, p in events]
    return b"".join(word.to_bytes(5, "big") for word in words)


def test_a_folder_of_recordings_is_labelled_by_its_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tmp_path / "a.nir"
    # Events of one step; a second input in the next step lifts the membrane above 1.
    file.write(made, classifier(input_bin_s=1e-3, n_steps=3))
    folder = tmp_path / "recordings"
    for label, x in (("0", 0), ("1", 1), ("2", 0)):
        (folder / label).mkdir(parents=True)
        events = np.array([(t, x, 0, 1) for t in (5, 1005, 2005)], FIELDS)
        (folder / label / "a.bin").write_bytes(nmnist(events))
    (folder / ".hidden").write_text("x")
    found = run(capsys, str(made), str(folder))
    assert found["outputs"]["output"] == {"shape": [3, 3, 3], "sum": 3}
    assert found["labels"]["confusion"] == [[1, 0, 0], [0, 1, 0], [1, 0, 0]]
    one = run(capsys, str(made), str(folder / "0" / "a.bin"), "--bin-us", "5000")
    assert one["outputs"]["output"] == {"shape": [3, 1, 3], "sum": 0}  # three events in one bin
    np.save(tmp_path / "e.npy", np.array([(5, 1), (1005, 1)], [("t", "u4"), ("x", "u1")]))
    array = run(capsys, str(made), str(tmp_path / "e.npy"))
    assert array["outputs"]["output"]["sum"] == 1
    (folder / "notes.txt").write_text("x")
    assert main(["run", str(made), str(folder)]) == 1
    assert "notes.txt is no recording of events" in capsys.readouterr().err


def test_events_need_a_bin_and_arrays_have_none(path: str, tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", EVENTS)
    np.save(tmp_path / "x.npy", X)
    for name, bin_us, words in (("e.npy", None, "need --bin-us"), ("x.npy", 5, "holds arrays")):
        with pytest.raises(UsageError, match=words):
            recordings.read(str(tmp_path / name), {"input": (3,)}, bin_us)
    (tmp_path / "bad.bin").write_bytes(b"1234")
    with pytest.raises(GraphError, match="4 bytes are no whole number of 5-byte events"):
        recordings.read(str(tmp_path / "bad.bin"), {"input": (3,)}, 5)


@pytest.mark.skipif(importlib.util.find_spec("faery") is None, reason="faery is not installed")
@pytest.mark.parametrize("suffix", ["es", "raw", "aedat4"])
def test_formats_of_cameras(suffix: str, tmp_path: Path) -> None:
    import faery

    ordered = np.sort(EVENTS, order="t")
    given = np.zeros(len(ordered), faery.EVENTS_DTYPE)
    for field, of in zip(("t", "x", "y", "on"), "txyp", strict=True):
        given[field] = ordered[of]
    given["t"] += 7_000_000  # a camera's clock
    path = tmp_path / f"a.{suffix}"
    faery.events_stream_from_array(given, dimensions=(3, 2)).to_file(str(path))
    found = recordings.read_events(path)
    for field in "txyp":
        assert found[field].tolist() == ordered[field].tolist()
    path.write_bytes(path.read_bytes()[:9])
    with pytest.raises(GraphError):
        recordings.read_events(path)


def test_a_format_without_its_reader_names_the_extra(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faery", None)
    (tmp_path / "a.es").write_bytes(b"Event Stream")
    code = main(["run", path, str(tmp_path / "a.es"), "--bin-us", "5"])
    assert (code, "spyx-nir[events]" in capsys.readouterr().err) == (2, True)
