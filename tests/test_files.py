"""What happens to files when several processes write them at once, or one is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import ROOT

from spyx_nir import files
from spyx_nir.errors import UserError

# Writes a folder of two files that must agree, again and again.
WRITER = """
import sys
from spyx_nir import files
for number in range(200):
    with files.atomic_folder(sys.argv[1]) as folder:
        for name in ("one", "two"):
            (folder / name).write_text(f"{sys.argv[2]} {number}")
"""
HOLDER = """
import time
from pathlib import Path
from spyx_nir import files
with files.alone(Path("."), "train", "letters"):
    print("held", flush=True)
    time.sleep(600)
"""


def python(program: str, *words: str, cwd: Path) -> subprocess.Popen[str]:
    program = f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n{program}"
    command = [sys.executable, "-c", program, *words]
    return subprocess.Popen(
        command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_folders_that_several_processes_write_are_one_of_theirs(tmp_path):
    writers = [python(WRITER, "made", name, cwd=tmp_path) for name in "abc"]
    assert [writer.communicate()[1] for writer in writers] == [""] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    texts = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    assert set(texts) == {"one", "two"} and texts["one"] == texts["two"]


# Begins to write a file or a folder and does not end.
HALF = """
import sys, time
from spyx_nir import files
with getattr(files, sys.argv[1])("made") as place:
    (place / "half" if sys.argv[1] == "atomic_folder" else place).write_text("half")
    print("begun", flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("kind", ["atomic", "atomic_folder"])
def test_what_a_killed_writer_left_is_swept_and_what_a_living_one_has_is_not(kind, tmp_path):
    writers = [python(HALF, kind, cwd=tmp_path) for _ in range(2)]
    for writer in writers:
        assert writer.stdout is not None and writer.stdout.readline() == "begun\n"
    foreign = [
        ".made-original",
        ".made-abcdefgh.part",
        ".other-abcdefgh.part",
        "made-abcdefgh.part",
    ]
    for name in foreign:
        (tmp_path / name).mkdir()
        (tmp_path / name / "theirs").touch()
    writers[0].kill()
    writers[0].communicate()
    assert len(list(tmp_path.rglob("half" if kind == "atomic_folder" else "made"))) >= 2
    files.sweep(tmp_path / "made")
    hidden = {path for path in tmp_path.iterdir() if path.name not in foreign}
    assert len(hidden) == 1  # the living one's
    with getattr(files, kind)(tmp_path / "made") as place:
        (place / "new" if kind == "atomic_folder" else place).write_text("new")
    assert hidden <= set(tmp_path.iterdir())
    writers[1].kill()
    writers[1].communicate()
    files.sweep(tmp_path / "made")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*foreign, "made"])
    assert all((tmp_path / name / "theirs").exists() for name in foreign)


def test_a_folder_is_there_at_every_moment_while_it_is_replaced(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "other").mkdir()
    if not files.exchange(tmp_path / "made", tmp_path / "other"):
        pytest.skip("this system does not swap two names in one step")
    writer = python(WRITER, "made", "a", cwd=tmp_path)
    looked = 0
    while writer.poll() is None:
        assert (tmp_path / "made").is_dir()
        looked += 1
    assert looked > 100 and writer.communicate()[1] == ""


def test_modes_are_those_that_the_umask_asks_for(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "text", "")
        with files.atomic_folder(tmp_path / "folder"):
            pass
    finally:
        os.umask(before)
    assert [(tmp_path / n).stat().st_mode & 0o777 for n in ("text", "folder")] == [0o640, 0o750]


@pytest.mark.parametrize("before", ["nothing", "folder", "file", "link", "dangling link"])
def test_a_folder_takes_the_place_of_whatever_was_there(before, tmp_path):
    target, elsewhere = tmp_path / "made", tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "theirs").touch()
    if before == "folder":
        target.mkdir()
        (target / "old").touch()
    if before == "file":
        target.touch()
    if "link" in before:
        target.symlink_to(elsewhere if before == "link" else tmp_path / "nowhere")
    with files.atomic_folder(target) as folder:
        (folder / "new").touch()
    assert not target.is_symlink()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "made"]
    assert (elsewhere / "theirs").exists()


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path):
    holder = python(HOLDER, cwd=tmp_path)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=rf"letters: the stage train .* \(process {holder.pid}\)"),
        files.alone(tmp_path, "train", "letters"),
    ):
        raise AssertionError
    with files.alone(tmp_path, "train", "digits"), files.alone(tmp_path, "prepare", "letters"):
        pass
    holder.kill()  # kill -9: the file stays
    holder.communicate()
    assert (tmp_path / ".cache" / "train-letters.lock").exists()
    with files.alone(tmp_path, "train", "letters"):
        pass


def test_a_file_system_without_locks_is_a_warning(tmp_path, monkeypatch, capsys):
    def flock(file, operation):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.alone(tmp_path, "train", "letters"):
        (tmp_path / "ran").touch()
    assert (tmp_path / "ran").exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: ") and "train-letters.lock: Function not implemented" in line
