"""What `make repro` says and repairs before DVC starts: another at work, or what a killed one left."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from end_to_end import ROOT

from pipeline.start import running

PROGRAMS = Path(sys.executable).parent
# Says that it runs, and ends when the test lets it.
STAGE = "echo ran >> log; while [ ! -e go ]; do sleep 0.05; done; echo made > made"
BUSY, LOCK = Path(".dvc", "tmp", "rwlock"), Path("dvc.lock")
LONG_S = 120.0  # a wait of a machine that does much else


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A checkout with one stage, which waits for the file `go`."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / "pipeline").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "pipeline/pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    (tmp_path / "dvc.yaml").write_text(f"stages:\n  one:\n    cmd: {STAGE}\n    outs: [made]\n")
    (tmp_path / "params.yaml").write_text("tasks: {}\n")
    (tmp_path / "ready").touch()
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    return tmp_path


def start(folder: Path, *command: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DVC_NO_ANALYTICS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


MAKE = ("make", "-s", f"BIN={PROGRAMS}", "READY=ready", "repro")
DVC = (str(PROGRAMS / "dvc"), "repro", "-q")
CHECK = (sys.executable, "-m", "pipeline.start")


def said(folder: Path, *command: str) -> tuple[int, list[str]]:
    """Exit status and lines of a whole run; make's own line about the status is left out."""
    process = start(folder, *command)
    _, err = process.communicate(timeout=LONG_S)
    return process.returncode, [line for line in err.splitlines() if not line.startswith("make")]


@contextlib.contextmanager
def at_work(folder: Path, *command: str) -> Iterator[subprocess.Popen[str]]:
    """A run whose stage has begun; at the end it may finish, and must."""
    process = start(folder, *command)
    deadline = time.monotonic() + LONG_S
    while not (folder / "log").exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    (folder / "go").touch()
    process.communicate(timeout=LONG_S)
    assert process.returncode == 0
    assert (folder / "log").read_text() == "ran\n"


def test_of_two_make_repro_one_is_refused_in_a_line(project: Path) -> None:
    with at_work(project, *MAKE) as first:
        status, lines = said(project, *MAKE)
        assert status != 0
        (number,) = (project / ".cache" / "make.lock").read_text().split()
        assert lines == [
            f"error: the stages run in this folder already (process {number}); wait until it is "
            "through, or end it"
        ]
        assert first.poll() is None
        assert running(project) == f"the stages run (process {number})"
    assert running(project) == ""


def test_beside_a_dvc_of_ones_own_it_is_refused_in_a_line(project: Path) -> None:
    with at_work(project, *DVC) as first:
        status, lines = said(project, *MAKE)
        assert status != 0
        assert len(lines) == 1
        assert f"runs in this folder already (process {first.pid}); wait until" in lines[0]
        report = said(project, sys.executable, "-m", "pipeline.report")[1]
        assert report[0].startswith("note: `") and "repro -q` runs (process" in report[0]


def test_a_killed_make_repro_blocks_nothing(project: Path) -> None:
    process = start(project, *CHECK, *DVC)
    deadline = time.monotonic() + LONG_S
    while not (project / "log").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert json.loads((project / BUSY).read_text())["write"]  # nobody has cleared it
    (project / "go").touch()  # for its stage, which goes on
    process.communicate(timeout=LONG_S)
    assert said(project, *CHECK) == (0, [])
    assert not (project / BUSY).exists()


@pytest.mark.parametrize("text", ["", '{"read": {"/x": [{"pid": 1'])
def test_a_truncated_list_of_dvc_is_removed_with_a_line(text: str, project: Path) -> None:
    (project / "go").touch()
    (project / BUSY).write_text(text)
    status, lines = said(project, *MAKE)
    assert status == 0
    assert lines == [
        f"warning: {BUSY}: truncated, as a DVC that was interrupted leaves it: removed"
    ]
    assert (project / "made").exists()


def test_a_number_that_another_program_has_by_now_blocks_nothing(project: Path) -> None:
    """This process has it: DVC alone would wait for its end."""
    (project / "go").touch()
    entry = {"pid": os.getpid(), "cmd": "dvc repro"}
    (project / BUSY).write_text(json.dumps({"read": {}, "write": {str(project / "made"): entry}}))
    assert said(project, *DVC)[0] != 0
    assert said(project, *MAKE) == (0, [])
    assert (project / "made").exists()


@pytest.mark.parametrize("kept", [0, 40])
def test_a_truncated_lock_file_is_taken_from_its_copy(kept: int, project: Path) -> None:
    (project / "go").touch()
    assert said(project, *MAKE) == (0, [])
    assert said(project, *MAKE) == (0, [])  # copies the lock that the first has written
    whole = (project / LOCK).read_bytes()
    (project / LOCK).write_bytes(whole[:kept])
    status, lines = said(project, *MAKE)
    assert status == 0
    assert lines == [
        f"warning: {LOCK}: truncated, as a DVC that was interrupted leaves it: taken from "
        ".cache/dvc.lock"
    ]
    assert (project / LOCK).read_bytes() == whole
    assert (project / "log").read_text() == "ran\n"  # and nothing is made anew


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "truncated, as a DVC that was interrupted leaves it"),
        ("schema: '2.0'\nstages:\n  one:\n    deps:\n", "truncated, as a DVC"),
        ("<<<<<<< HEAD\nschema: '2.0'\n=======\n>>>>>>> other\n", "holds the marks of a merge"),
    ],
)
def test_without_a_copy_the_remedy_is_said(text: str, why: str, project: Path) -> None:
    (project / LOCK).write_text(text)
    status, (line,) = said(project, *CHECK)
    assert status == 1
    assert line.startswith(f"error: {LOCK}: {why}") and "`git checkout dvc.lock`" in line
    assert (project / LOCK).read_text() == text
