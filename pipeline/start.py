"""What comes before DVC: `python -m pipeline.start .venv/bin/dvc repro`.

It looks at the folders of the tasks, repairs what an interrupted DVC has left, and then becomes the
command, which no other process starts this way in the same folder until it ends, however it ends.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import params
from spyx_nir import files
from spyx_nir.errors import UserError, exit_status

LOCK, COPY = Path("dvc.lock"), Path(".cache", "dvc.lock")
BUSY = Path(".dvc", "tmp", "rwlock")  # DVC's list of who reads and writes what
HELD = Path(".cache", "make.lock")


def start(command: list[str], root: Path = Path(".")) -> None:
    """Check and repair the folder `root`, then become `command`; without one only check and repair.

    Raises:
        UserError: the folder of a task is missing, another process works on the stages here, or
            dvc.lock is broken and there is no copy of it.
    """
    params.check_folders(root / "params.yaml")
    with files.locked(root / HELD, "the stages run in this folder already") as held:
        refuse_dvc(root)
        repair_lock(root)
        if command:
            sys.stdout.flush()
            os.set_inheritable(held.fileno(), True)
            os.execvp(command[0], command)


def running(root: Path) -> str:
    """Which process works on the stages of `root`; "" if none does."""
    if number := files.holder(root / HELD):
        return f"the stages run (process {number})"
    return "".join(f"`{words}` runs (process {number})" for number, words in dvcs(root)[:1])


def refuse_dvc(root: Path) -> None:
    """Refuse a folder in which a DVC works; remove the list of what one that was killed worked on.

    DVC waits for the number of a process, which another program may have by now, and it cannot read a
    list that is truncated.

    Raises:
        UserError: a DVC works in `root`.
    """
    if not (root / BUSY).exists():
        return
    with files.locked(root / f"{BUSY}.lock", "DVC starts in this folder"):  # DVC's own
        for number, words in dvcs(root):
            raise UserError(
                f"`{words}` runs in this folder already (process {number}); wait until it is "
                "through, or end it"
            )
        if _busy(root) is None:
            _say(f"{BUSY}: truncated, as a DVC that was interrupted leaves it: removed")
        (root / BUSY).unlink()


def dvcs(root: Path) -> list[tuple[int, str]]:
    """Number and command line of each living DVC that works in the folder `root`."""
    import psutil

    found = []
    for number, words in (_busy(root) or {}).items():
        try:
            process = psutil.Process(number)
            if "dvc" in " ".join(process.cmdline()) and Path(process.cwd()).samefile(root):
                found.append((number, words))
        except psutil.AccessDenied:  # of another user
            found.append((number, words))
        except (psutil.NoSuchProcess, OSError):
            continue
    return found


def _busy(root: Path) -> dict[int, str] | None:
    """Number and command line of each process in DVC's list; None if it is truncated."""
    try:
        content = json.loads((root / BUSY).read_text(encoding="utf-8"))
        entries = [
            *content.get("write", {}).values(),
            *(one for all_ in content.get("read", {}).values() for one in all_),
        ]
        return {int(entry["pid"]): str(entry["cmd"]) for entry in entries}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def repair_lock(root: Path) -> None:
    """Keep a copy of dvc.lock; put it back where a DVC was interrupted while it wrote the file.

    Raises:
        UserError: the file is broken and there is no copy, or it has the marks of a merge.
    """
    place, copy = root / LOCK, root / COPY
    if not place.exists():
        return
    if _is_lock(place):
        with files.atomic(copy) as temporary:
            shutil.copyfile(place, temporary)
        return
    remedy = "`git checkout dvc.lock`, then the same command: what differs from it is made anew"
    if b"<<<<<<<" in place.read_bytes():
        raise UserError(f"{place}: holds the marks of a merge; {remedy}")
    if not (copy.exists() and _is_lock(copy)):
        raise UserError(f"{place}: truncated, as a DVC that was interrupted leaves it; {remedy}")
    with files.atomic(place) as temporary:
        shutil.copyfile(copy, temporary)
    _say(f"{place}: truncated, as a DVC that was interrupted leaves it: taken from {copy}")


def _is_lock(path: Path) -> bool:
    """Whether it is one from its first line to its last, as far as can be seen."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = path.read_text(encoding="utf-8")
        stages = yaml.load(text, loader)["stages"]
        return text.endswith("\n") and all("cmd" in stage for stage in stages.values())
    except (OSError, yaml.YAMLError, KeyError, TypeError, AttributeError, ValueError):
        return False


def _say(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: start(sys.argv[1:])))
