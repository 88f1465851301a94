"""What happens to files when several processes write them at once, or one is killed."""

from __future__ import annotations

import errno
import fcntl
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
