"""The prepare stage as a person runs it: sources, determinism, and one line for every mistake."""

from __future__ import annotations

import dataclasses
import errno
import itertools
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from pipeline import params, schema, tasks
from pipeline import prepare as stage
from pipeline.datasets import download, prepared
from pipeline.datasets.nmnist import NMNIST
from spyx_nir.errors import UserError, exit_status
from spyx_nir.files import alone

ROOT = Path(__file__).parents[1]
REAL = ROOT.parent / "shared" / "data"
needs_real = pytest.mark.skipif(not REAL.is_dir(), reason="no real recordings at ../shared/data")

SMALL = {
    "braille": {"classes": ("Space", "A", "Y"), "simulated_per_class": 8},
    "nmnist": {"classes": ("0", "7"), "simulated_per_class": 8, "validation": 0.05, "test": 0.25},
}


def small(name: str, **changes: Any) -> schema.Task:
    """A task of params.yaml with a handful of recordings."""
    task = params.load(name, ROOT / "params.yaml")
    data = dataclasses.replace(task.data, **{**SMALL[name], **changes})
    return dataclasses.replace(task, data=data)


def run(task: schema.Task, root: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and what was said to the user, as the command line does it."""
    capsys.readouterr()
    code = exit_status(lambda: stage.prepare(task, root))
    return code, capsys.readouterr().err


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A project folder per task with simulated, prepared recordings. Read only."""
    roots = {}
    for name in SMALL:
        roots[name] = tmp_path_factory.mktemp(name)
        stage.prepare(small(name), roots[name])
    return roots


def h5(root: Path, name: str) -> Path:
    return root / "data" / "prepared" / f"{name}.h5"


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [("braille", (24, 256, 12), (15, 3, 6)), ("nmnist", (16, 15, 2, 34, 34), (10, 2, 4))],
)
def test_simulated(
    simulated: dict[str, Path], name: str, shape: tuple[int, ...], sizes: tuple[int, ...]
) -> None:
    data = prepared.read(h5(simulated[name], name))
    assert data.shape == shape
    assert data.classes == SMALL[name]["classes"]
    assert data.source == "simulated"
    for part, size in zip(("train", "validation", "test"), sizes, strict=True):
        events, labels = data.subset(part)
        assert len(events) == size
        assert set(np.bincount(labels)) == {size // len(data.classes)}  # stratified
        assert events.any(axis=tuple(range(1, events.ndim))).all()
        counts = data.provenance["recordings"][part]
        assert counts == {label: size // len(data.classes) for label in data.classes}
    if name == "braille":
        assert data.subset("train")[0].max() == 1  # ON and OFF merged


def test_the_same_bytes_wherever_raw_lies(
    simulated: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, root in simulated.items():
        made = h5(root, name).read_bytes()
        elsewhere = tmp_path / "a longer path" / name
        assert run(small(name), elsewhere, capsys)[0] == 0
        assert h5(elsewhere, name).read_bytes() == made


@pytest.mark.parametrize("name", list(SMALL))
def test_the_same_recordings_from_a_folder(
    simulated: dict[str, Path], tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = simulated[name] / "data" / "raw" / name
    task = small(name, source="folder", path=str(raw))
    assert run(task, tmp_path, capsys)[0] == 0
    ours, theirs = (prepared.read(h5(root, name)) for root in (tmp_path, simulated[name]))
    assert ours.provenance["files"] == theirs.provenance["files"]
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(ours.subset(part)[0], theirs.subset(part)[0])


def test_raw_is_used_again_only_if_complete_and_of_the_same_parameters(
    simulated: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(simulated["braille"], tmp_path, dirs_exist_ok=True)
    raw = tmp_path / "data" / "raw" / "braille"
    made = raw / "taxels_40Hz.npz"
    os.utime(made, ns=(0, 0))  # a file that is made anew has another time

    def remade(**changes: Any) -> bool:
        assert run(small("braille", **changes), tmp_path, capsys)[0] == 0
        again = made.stat().st_mtime_ns != 0
        os.utime(made, ns=(0, 0))
        return again

    assert not remade()
    assert not remade(bins=100)  # what happens after raw does not matter
    assert remade(seed=8)
    assert not remade(seed=8)
    assert remade()
    (raw / stage.MARKER).unlink()
    assert remade()
    marker = json.loads((raw / stage.MARKER).read_text())
    (raw / stage.MARKER).write_text(json.dumps({**marker, "made_by": {}}))
    assert remade()
    content = bytearray(made.read_bytes())
    content[len(content) // 2] ^= 1  # as a disk may flip it
    made.write_bytes(content)
    os.utime(made, ns=(0, 0))
    assert remade()
    content[len(content) // 2] ^= 1
    assert made.read_bytes() == content


def test_other_classes_are_left_out_and_counted(
    simulated: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = simulated["braille"] / "data" / "raw" / "braille"
    task = small("braille", source="folder", path=str(raw), classes=("Y", "Space"))
    stage.prepare(task, tmp_path)
    assert "left out 8 recordings of 1 other classes" in capsys.readouterr().out
    data = prepared.read(h5(tmp_path, "braille"))
    assert data.provenance["left_out"] == {"A": 8}
    assert data.classes == ("Y", "Space")
    assert data.shape[0] == 16
    everything = prepared.read(h5(simulated["braille"], "braille"))
    for letter in data.classes:  # split as before, whichever others are there
        ours, before = (d.split[d.labels == d.classes.index(letter)] for d in (data, everything))
        np.testing.assert_array_equal(ours, before)


def test_a_file_that_is_not_read_is_named(
    simulated: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "both"
    shutil.copytree(simulated["braille"] / "data" / "raw" / "braille", raw)
    (raw / "data_braille_letters_th_1.pkl").write_bytes(b"never opened")
    stage.prepare(small("braille", source="folder", path=str(raw)), tmp_path)
    said = capsys.readouterr().out
    assert "reading taxels_40Hz.npz: 24 recordings" in said
    assert "not read, the one above comes first: data_braille_letters_th_1.pkl" in said


def test_the_channel_is_the_polarity_bit(tmp_path: Path) -> None:
    """N-MNIST's published words: the bit before the time is set where a pixel became brighter (ON)."""
    word = {False: bytes([30, 9, 0x00, 0x00, 0x10]), True: bytes([30, 9, 0x80, 0x00, 0x10])}
    for split, digit, number in itertools.product(("Train", "Test"), (0, 7), range(8)):
        file = tmp_path / "in" / split / str(digit) / f"{number:05}.bin"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(word[True] * 3 + word[False])
    task = small("nmnist", source="folder", path=str(tmp_path / "in"))
    stage.prepare(task, tmp_path)
    events, _ = prepared.read(tmp_path / "data" / "prepared" / "nmnist.h5").subset("test")
    assert tasks.channels(task) == ["events with p = 0 (OFF)", "events with p = 1 (ON)"]
    assert (events[:, 0, :, 9, 30] == [1, 3]).all()
    assert events.sum() == 4 * len(events)


def test_the_on_times_of_a_taxel_are_channel_1(tmp_path: Path) -> None:
    """The published pickle: on times, then off times, of each of 12 taxels."""
    taxels = [[[], []] for _ in range(12)]
    taxels[4] = [[0.001, 0.002], [0.003]]
    rows = [
        {"letter": letter, "events": taxels} for letter in ("Space", "A", "Y") for _ in range(8)
    ]
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "data_braille_letters_th_1.pkl").write_bytes(pickle.dumps(rows))
    task = small("braille", source="folder", path=str(tmp_path / "in"), merge_polarity=False)
    stage.prepare(task, tmp_path)
    events, _ = prepared.read(tmp_path / "data" / "prepared" / "braille.h5").subset("test")
    assert tasks.channels(task) == ["events with p = 0 (OFF)", "events with p = 1 (ON)"]
    assert (events[:, 0, :, 4] == [1, 2]).all()


def test_events_past_the_last_bin_are_counted(simulated: dict[str, Path], tmp_path: Path) -> None:
    raw = simulated["nmnist"] / "data" / "raw" / "nmnist"
    task = small("nmnist", source="folder", path=str(raw), bins=14)  # 294 of 315 ms
    stage.prepare(task, tmp_path)
    counts = prepared.read(h5(tmp_path, "nmnist")).provenance["events"]
    read = (NMNIST(raw, train=train) for train in (True, False))
    times = np.concatenate([split[i][0]["t"] for split in read for i in range(len(split))])
    assert counts == {"total": len(times), "past_the_last_bin": int((times >= 14 * 21_000).sum())}
    assert counts["past_the_last_bin"] > 0


class Run:
    """Unpickled by the plain loader, this would make a folder."""

    def __init__(self, path: Path):
        self.path = str(path)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.path,)


def truncate(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def first_bin(raw: Path) -> Path:
    return min(raw.glob("Train/*/*.bin"))


def replace_with_pickle(raw: Path) -> None:
    (raw / "taxels_40Hz.npz").unlink()
    (raw / "data_braille_letters_th_1.pkl").write_bytes(pickle.dumps([Run(raw / "executed")]))


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("braille", shutil.rmtree, "copy: no such folder"),
        ("braille", lambda raw: (raw / "taxels_40Hz.npz").unlink(), "holds neither taxels_40Hz"),
        ("braille", lambda raw: truncate(raw / "taxels_40Hz.npz", 500), "not a readable .npz file"),
        ("braille", replace_with_pickle, "refused, the pickle asks for "),
        ("nmnist", shutil.rmtree, "copy: no such folder"),
        ("nmnist", lambda raw: shutil.rmtree(raw / "Test"), "Test: no such folder; N-MNIST has"),
        ("nmnist", lambda raw: shutil.rmtree(raw / "Train" / "0"), "no recordings of class `0`"),
        ("nmnist", lambda raw: truncate(first_bin(raw), 0), "is empty"),
        ("nmnist", lambda raw: truncate(first_bin(raw), 12), "12 bytes are no whole number of"),
        (
            "nmnist",
            lambda raw: first_bin(raw).write_bytes(bytes([1, 2, 0, 0, 0, 40, 3, 0, 0, 0])),
            "event 1 is at x = 40, t = 0, y = 3, p = 0, outside the 34x34 sensor",
        ),
    ],
)
def test_bad_folders(
    simulated: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    damage: Callable[[Path], Any],
    message: str,
) -> None:
    raw = tmp_path / "copy"
    shutil.copytree(simulated[name] / "data" / "raw" / name, raw)
    damage(raw)
    code, said = run(small(name, source="folder", path=str(raw)), tmp_path, capsys)
    lines = [line for line in said.splitlines() if not line.startswith("binning")]
    assert code == 1
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert not h5(tmp_path, name).exists()
    assert not (raw / "executed").exists()
    assert not list((tmp_path / "data").rglob("*.h5"))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("braille", {"classes": ("A", "Ä")}, "unknown letter `Ä`; known are Space, A to Z"),
        ("nmnist", {"classes": ("1", "ten")}, "unknown digit `ten`; known are '0' to '9'"),
        (
            "nmnist",
            {"simulated_per_class": 501},
            "simulated_per_class must be at most 500, got 501",
        ),
    ],
)
def test_wrong_parameters(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    changes: dict[str, Any],
    message: str,
) -> None:
    code, said = run(small(name, **changes), tmp_path, capsys)
    assert code == 1
    assert message in said
    assert not list(tmp_path.rglob("*.*"))


def test_a_folder_that_does_not_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(small("nmnist", source="folder", path="nowhere"), tmp_path, capsys)
    place = tmp_path / "nowhere"
    assert (code, said) == (1, f"error: tasks.nmnist.data.path: {place}: no such folder\n")


def test_a_folder_that_dvc_watches_and_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make repro` says it first; the stage `check` where DVC is called (test_sweep.py)."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    for block in document["tasks"].values():
        Path(block["data"]["path"]).mkdir(parents=True)
    Path("params.yaml").write_text(yaml.safe_dump(document))
    assert exit_status(params.check_folders) == 0
    document["tasks"]["nmnist"]["data"]["path"] = "data/nowhere"
    Path("params.yaml").write_text(yaml.safe_dump(document))
    assert exit_status(params.check_folders) == 1
    assert capsys.readouterr().err == (
        "error: tasks.nmnist.data.path: data/nowhere: no such folder; DVC compares it whatever the "
        "`source`: make it, or name one that exists\n"
    )
    recipe = (ROOT / "Makefile").read_text().partition("\nrepro:")[2].partition("\n\n")[0]
    assert recipe.index("-m pipeline.start") < recipe.index("-m pipeline.repro")


def test_too_few_recordings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Half of 4 for the test, half of 4 for validation: none is left.
    task = small("braille", simulated_per_class=4, validation=0.49, test=0.5)
    code, said = run(task, tmp_path, capsys)
    assert code == 1
    assert "4 recordings of class `Space` are too few to split: 4 would be held back" in said


@pytest.mark.parametrize("name", ["braille", "nmnist"])
def test_without_a_network(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    nowhere = "http://127.0.0.1:9/nothing"  # the discard port: nobody listens
    monkeypatch.setattr(download, "ZENODO_RECORD", nowhere)
    monkeypatch.setattr("tonic.datasets.NMNIST.train_url", nowhere)
    code, said = run(small(name, source="download"), tmp_path, capsys)
    assert code == 2
    assert said.startswith(f"error: {nowhere}: cannot be downloaded: ")
    assert "`simulated`" in said
    assert "`folder`" in said
    assert said.count("\n") == 1
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    assert left == [Path(".cache") / f"prepare-{name}.lock"]
    assert [path.name for path in (tmp_path / "data" / "raw").iterdir()] == []


def test_a_second_download_at_once_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with alone(tmp_path, "prepare", "nmnist"):
        code, said = run(small("nmnist", source="download"), tmp_path, capsys)
    assert (code, said.count("\n")) == (1, 1)
    assert said.startswith("error: nmnist: the stage prepare is running here already (process ")
    assert [path.name for path in (tmp_path / "data" / "raw").iterdir()] == []


def interrupt(*args: Any, **kwargs: Any) -> None:
    raise KeyboardInterrupt


def full_disk(*args: Any, **kwargs: Any) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", "data")


@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        (interrupt, 130, "interrupted: nothing half-written"),
        (full_disk, 1, "error: data: No space left on device"),
    ],
)
@pytest.mark.parametrize("where", ["raw", "prepared"])
def test_stopped_half_way(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    how: Callable[..., None],
    code: int,
    message: str,
    where: str,
) -> None:
    calls = 0
    target = {
        "raw": "pipeline.datasets.simulate_nmnist.to_bytes",
        "prepared": "pipeline.datasets.binning.to_bins",
    }[where]
    module, _, function = target.rpartition(".")
    original = getattr(sys.modules.get(module) or __import__(module, fromlist=["x"]), function)

    def third_time(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return how() if calls == 3 else original(*args)

    monkeypatch.setattr(target, third_time)
    got, said = run(small("nmnist"), tmp_path, capsys)
    assert got == code
    assert message in said
    left = [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()]
    if where == "raw":
        assert left == []
    else:  # raw was complete and stays; nothing of the prepared file does
        assert all(path.parts[:2] == ("data", "raw") for path in left)
    monkeypatch.setattr(target, original)
    assert run(small("nmnist"), tmp_path, capsys)[0] == 0


def test_a_full_disk_at_the_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # HDF5 1.14 dies of a segmentation fault there (seen on a full tmpfs), so it must not be the
    # one that writes to the disk.
    monkeypatch.setattr(Path, "write_bytes", full_disk)
    code, said = run(small("braille"), tmp_path, capsys)
    assert code == 1
    assert "error: data: No space left on device" in said
    assert not list((tmp_path / "data" / "prepared").iterdir())


def test_ctrl_c_in_a_real_process(tmp_path: Path) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["nmnist"]["data"]["simulated_per_class"] = 500
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    # A job in the background of a shell inherits an ignored Ctrl-C; one at a terminal does not.
    at_a_terminal = (
        "import runpy, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        "sys.argv = ['prepare', 'nmnist']; runpy.run_module('pipeline.prepare', run_name='__main__')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", at_a_terminal],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    # 5000 recordings take far longer than this wait for the first of them.
    while not list(tmp_path.glob("data/raw/.nmnist-*/nmnist/*/*/*.bin")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted: nothing half-written was left" in said
    assert "Traceback" not in said
    assert [path for path in (tmp_path / "data").rglob("*") if path.is_file()] == []


def test_an_unknown_source_and_task(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["nmnist"]["data"]["source"] = "internet"
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(document))
    assert exit_status(lambda: stage.prepare(params.load("nmnist", path), tmp_path)) == 1
    assert (
        "tasks.nmnist.data.source must be one of simulated, folder, download, got 'internet'"
        in capsys.readouterr().err
    )
    assert exit_status(lambda: stage.prepare(params.load("mnist", path), tmp_path)) == 1
    assert "unknown task `mnist`" in capsys.readouterr().err


@pytest.mark.parametrize(("path", "told"), [("", "must name a folder"), (None, "None")])
def test_a_task_without_a_folder_for_recordings(
    path: str | None, told: str, tmp_path: Path
) -> None:
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    document["tasks"]["nmnist"]["data"]["path"] = path
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(document))
    with pytest.raises(UserError, match=rf"tasks\.nmnist\.data\.path.*{told}"):
        params.load("nmnist", tmp_path / "params.yaml")


def test_a_stage_imports_only_what_it_needs() -> None:
    code = (
        "import sys, pipeline.prepare; import pipeline.datasets.nmnist, pipeline.datasets.braille;"
        "bad = {'jax', 'flax', 'spyx', 'optax'} & set(sys.modules); assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_real
def test_real_braille(tmp_path: Path) -> None:
    task = params.load("braille", ROOT / "params.yaml")
    path = os.path.relpath(REAL / "Braille", tmp_path)
    data = dataclasses.replace(task.data, source="folder", path=path)
    stage.prepare(dataclasses.replace(task, data=data), tmp_path)
    made = prepared.read(h5(tmp_path, "braille"))
    assert made.shape == (280, 256, 12)  # 7 letters x 40 repetitions
    assert sum(made.provenance["left_out"].values()) == 800
    assert made.provenance["events"]["past_the_last_bin"] == 0


@needs_real
def test_real_nmnist(tmp_path: Path) -> None:
    # The Test folder is the test split; validation is taken from Train.
    task = params.load("nmnist", ROOT / "params.yaml")
    raw = tmp_path / "raw"
    for split in ("Train", "Test"):
        for digit in task.data.classes:
            (raw / split / digit).mkdir(parents=True)
            for file in sorted((REAL / "NMNIST" / split / digit).iterdir())[:3]:
                (raw / split / digit / file.name).symlink_to(file)
    data = dataclasses.replace(task.data, source="folder", path=str(raw), validation=0.05)
    stage.prepare(dataclasses.replace(task, data=data), tmp_path)
    made = prepared.read(h5(tmp_path, "nmnist"))
    assert made.shape == (60, 15, 2, 34, 34)
    assert np.bincount(made.split).tolist() == [20, 10, 30]
    # At most a few events are past 15 x 21 = 315 ms.
    assert (
        made.provenance["events"]["past_the_last_bin"] < 1e-4 * made.provenance["events"]["total"]
    )
