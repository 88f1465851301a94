"""Commands that are interrupted, in copies of a tiny project: `python killing.py FOLDER STAGE`.

STAGE is the last one that has run in the project. FOLDER is empty, and everything goes there.

Reads a line of JSON for each trial, `{"command": ..., "how": ..., "moment": ...}`, and prints one for its
result. The process imports all modules once; every run of a command is a fork of it, so that a trial
takes as long as the command itself.

A moment is the number of a call that makes something durable or removes something: `mkdir`, `fsync`,
`replace`, `rename`, the exchange of two folders, `rmtree` and what is unlinked first in it, `unlink`,
`rmdir`, `chmod`; in the project's folder only. `how` says what happens right before that call:

    TERM, HUP, INT, KILL    the signal
    INT twice               the signal, and again before the next call: while it cleans up
    full                    the call fails with ENOSPC, if it is one that needs space
    disk                    (no moment) the file system has `moment` kB free
    limit                   (no moment) no file may be larger than `moment` kB
    memory                  (no moment) `moment` MB more than it had at the start
    read-only               (no moment) the file system cannot be written
    nothing                 it runs to its end; the result has the number of moments
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NOT_COMPARED = (".cache", "models/braille/timing.json")
TOO_LONG = 300  # seconds; the slowest command of the tiny project takes 20
OLD = b"what was there before"
CHIP = "loihi"
LOCK = """schema: '2.0'
stages:
  deploy@braille:
    cmd: python -m pipeline.deploy braille
    deps:
    - path: data/prepared/braille.h5
      md5: {}
""".format("b" * 32)

# What each command writes: old contents are put there before it is interrupted.
MODEL = Path("models", "braille")
WRITES = {
    "check": ["data/checked/braille.txt"],
    "prepare": ["data/prepared/braille.h5", "data/raw/braille/"],
    "train": [
        f"{MODEL}/{n}" for n in ("weights.safetensors", "train.json", "curves.csv", "confusion.csv")
    ],
    "export": [f"{MODEL}/model.nir", f"{MODEL}/nodes.json"],
    "parity": [f"{MODEL}/parity.json", f"{MODEL}/parity.png"],
    "deploy": [f"{MODEL}/deploy/generic/", "metrics/braille-generic.json"],
    "target": [f"{MODEL}/deploy/{CHIP}/", f"metrics/braille-{CHIP}.json"],
    "report": ["report/index.html"],
    "release": ["release/"],
    "conformance": ["conformance/"],
    "new-task": ["pipeline/tasks/letters.py"],
    "upgrade": ["upgraded.nir"],
    "adapt": ["adapted.nir"],
    "draw": ["drawn.svg"],
    "run": ["ran.npz"],
    "build": [f"built/{CHIP}/"],
}
KEPT = ("/old", "/checkpoint/epoch.safetensors")
REFUSE_OLD = ("new-task", "build")  # they write nothing over what is there
STAGES = ("check", "prepare", "train", "export", "parity", "deploy", "target")


def run(command: str) -> int:
    """The command as a process of its own would run it, in the current folder; its exit status."""
    from pipeline.conformance import build
    from spyx_nir.cli.main import main
    from spyx_nir.errors import exit_status

    every = build.cases
    build.cases = lambda: every()[:3]  # made in the command: it may run out of memory there
    if command in STAGES:
        return exit_status(lambda: stage(command))
    if command == "report":
        from pipeline.report import page, status

        nobody = [sys.executable, "-c", "print('{}')"]
        status.ask = lambda root: subprocess.Popen(nobody, stdout=-1, stderr=-1, text=True)
        return exit_status(lambda: page.write(Path("."), Path("report/index.html")))
    if command == "conformance":
        return exit_status(lambda: build.write(Path("conformance")))
    model = f"{MODEL}/model.nir"
    words = {
        "release": ["release", "1.2.3"],
        "new-task": ["new-task", "letters"],
        "upgrade": ["upgrade", model, "upgraded.nir"],
        "adapt": ["adapt", model, "adapted.nir", "--reader", "norse"],
        "draw": ["draw", model, "--output", "drawn.svg"],
        "run": ["run", model, "given.npy", "--output", "ran.npz"],
        "build": ["build", model, "--target", CHIP, "--output", "built"],
    }[command]
    return main(words)


def stage(name: str) -> None:
    from pipeline import check, deploy, export, params, parity, prepare, target, train

    task = params.load("braille")
    step: dict[str, Callable[[], None]] = {
        "check": lambda: check.check(task),
        "prepare": lambda: prepare.prepare(task),
        "train": lambda: train.train(task),
        "export": lambda: export.export(task),
        "parity": lambda: parity.parity(task),
        "deploy": lambda: deploy.deploy(task),
        "target": lambda: target.target(task, CHIP),
    }
    step[name]()


# ----------------------------------------------------------------------------------------- trials


class Moments:
    """Counts the calls of this process that make something durable below `root`; acts before one."""

    def __init__(self, root: Path, moment: int | None, act: Callable[[str, int], None]):
        self.root, self.moment, self.act = str(root), moment, act
        self.count, self.inside = 0, 0
        for module, name in CALLS:
            setattr(module, name, self.counted(name, getattr(module, name)))

    def counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*words: Any, **named: Any) -> Any:
            if (self.inside == 0 and self.here(words[0])) or (
                self.inside == 1 and name == "unlink"
            ):
                self.inside += self.inside  # of an rmtree only the first unlink
                self.count += 1
                if self.moment is not None:
                    self.act(name, self.count - self.moment)
            self.inside += name == "rmtree"
            try:
                return call(*words, **named)
            finally:
                if name == "rmtree":
                    self.inside = 0

        return counting

    def here(self, what: Any) -> bool:
        path = os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else os.fspath(what)
        path = os.path.abspath(path)
        return path.startswith(self.root) and not path.startswith(f"{self.root}/.cache/")


CALLS = [
    *((os, name) for name in ("replace", "rename", "fsync", "mkdir", "rmdir", "unlink", "chmod")),
    (shutil, "rmtree"),
]
NEED_SPACE = ("mkdir", "fsync", "rename", "replace", "exchange")


def acting(how: str) -> Callable[[str, int], None]:
    """What to do before a call, by its name and how many calls it comes after the moment."""
    first, _, twice = how.partition(" ")

    def act(name: str, after: int) -> None:
        if how == "full":
            if after == 0 and name in NEED_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif after == 0 or (after == 1 and twice):
            os.kill(os.getpid(), getattr(signal, f"SIG{first}"))

    return act


def child(work: Callable[[], int]) -> tuple[int, str]:
    """Fork, run `work` there; its exit status (negative: the signal that ended it) and what it said."""
    said, speak = os.pipe()
    os.set_blocking(said, False)
    number = os.fork()
    if number == 0:
        status = 99
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(speak, 2)
            sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
            for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                usual = signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL
                signal.signal(each, usual)
            signal.alarm(TOO_LONG)
            status = work()
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(BaseException):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)
    _, status = os.waitpid(number, 0)
    os.close(speak)
    try:
        text = os.read(said, 1 << 16).decode(errors="replace")
    except BlockingIOError:  # nothing, and a process of its own still has the other end
        text = ""
    os.close(said)
    return os.waitstatus_to_exitcode(status), text


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file below `root` with its bytes, every empty folder with None."""
    found: dict[str, bytes | None] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if not name.startswith(NOT_COMPARED):
            if path.is_file():
                found[name] = path.read_bytes()
            elif not any(path.iterdir()):
                found[name] = None
    return found


def put_old(root: Path, command: str) -> None:
    """What `command` writes, from an earlier time: files with other bytes, folders with one more."""
    for name in WRITES[command]:
        path = root / name
        if command in REFUSE_OLD:
            continue
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            (path / "old").write_bytes(OLD)
            if command == "release":
                (path / "SHA256SUMS").write_text(f"{'0' * 64}  old\n")
            (path / "complete.json").unlink(missing_ok=True)  # of data/raw: it is made anew
            if command == "conformance":
                (path / "index.json").write_text("{}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(OLD)


def halves(root: Path, command: str, whole: dict[str, bytes | None]) -> list[str]:
    """The outputs that are neither old nor new after an interruption."""
    found = tree(root)
    torn = []
    for name in WRITES[command]:
        if command in REFUSE_OLD:
            continue
        if name.endswith("/"):
            now = {path: content for path, content in found.items() if path.startswith(name)}
            new = {path: content for path, content in whole.items() if path.startswith(name)}
            if now != new and f"{name}old" not in now:
                torn.append(name)
        elif found.get(name) not in (OLD, whole[name]):
            torn.append(name)
    return torn


class Trials:
    """Trials in `place`: the tiny project, and for each command the tree that a whole run leaves."""

    def __init__(self, place: Path, last: str):
        self.place, self.base = place, place / "base"
        self.whole: dict[str, dict[str, bytes | None]] = {}
        self.base.mkdir()
        status, said = child(lambda: make(self.base, last))
        if status:
            raise SystemExit(f"the tiny project: {said}")

    def copy(self, command: str, where: Path) -> Path:
        shutil.copytree(self.base, where, symlinks=True)
        put_old(where, command)
        return where

    def reference(self, command: str) -> dict[str, bytes | None]:
        if command not in self.whole:
            shutil.rmtree(self.place / "whole", ignore_errors=True)
            root = self.copy(command, self.place / "whole")
            status, said = child(lambda: within(root, command))
            if status:
                raise SystemExit(f"{command}: exit status {status}: {said}")
            self.whole[command] = tree(root)
            shutil.rmtree(root)
        return self.whole[command]

    def trial(self, command: str, how: str, moment: int | None) -> dict[str, Any]:
        began = time.monotonic()
        whole = self.reference(command)
        root = self.place / "trial"
        root.mkdir()
        result: dict[str, Any] = {}
        if how in ("disk", "read-only"):
            file = self.place / "result"
            status, said = child(lambda: self.mounted(command, how, moment, root, file))
            if status:
                raise SystemExit(f"{command}, {how}: {said}")
            result = json.loads(file.read_text())
        else:
            self.copy(command, root / "project")
            result = self.interrupted(command, how, moment, root / "project", whole)
        shutil.rmtree(root)
        return {"seconds": round(time.monotonic() - began, 2), **result}

    def interrupted(
        self, command: str, how: str, moment: int | None, root: Path, whole: dict[str, Any]
    ) -> dict[str, Any]:
        """Run `command` in `root` under what `how` says, then again: what is left, what differs."""
        moments = self.place / "moments"

        def first() -> int:
            at_a_call = how not in ("disk", "limit", "memory", "read-only", "nothing")
            counting = Moments(root, moment if at_a_call else None, acting(how))
            limit(how, moment)
            try:
                return within(root, command)
            finally:
                if how == "nothing":
                    moments.write_text(str(counting.count))

        status, said = child(first)
        result = {
            "status": status,
            "said": said[-2000:],
            "torn": halves(root, command, whole),
            "moments": int(moments.read_text()) if how == "nothing" else None,
            # Neither the older output nor the checkpoint, with which training goes on, is in the way.
            "left": sum(not name.endswith(KEPT) for name in left(root, whole)),
        }
        if how == "read-only":
            mount("", root.parent, "", REMOUNT, "")
        if how == "disk":
            mount("", root.parent, "", REMOUNT, "size=200m")
        if status != 0:
            result["again"], result["said again"] = child(lambda: within(root, command))
        else:
            result["again"], result["said again"] = 0, ""
        found = tree(root)
        result["differs"] = sorted(
            n for n, content in whole.items() if found.get(n, b"") != content
        )
        result["leftovers"] = left(root, whole)
        return result

    def mounted(self, command: str, how: str, moment: int | None, root: Path, file: Path) -> int:
        """As `interrupted`, on a file system in memory with as much space as `moment` kB more."""
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(NEW_MOUNTS):
            raise OSError(ctypes.get_errno(), "unshare")
        mount("none", Path("/"), "", PRIVATE, "")
        mount("none", root, "tmpfs", 0, "size=200m")
        project = self.copy(command, root / "project")
        used = os.statvfs(root)
        size = (used.f_blocks - used.f_bfree) * used.f_frsize
        if how == "disk":
            mount("", root, "", REMOUNT, f"size={size + (moment or 0) * 1024}")
        else:
            mount("", root, "", REMOUNT | READ_ONLY, "")
        result = self.interrupted(command, how, moment, project, self.whole[command])
        file.write_text(json.dumps(result))
        return 0


# unshare(2) and mount(2)
NEW_MOUNTS, READ_ONLY, REMOUNT, PRIVATE = 0x20000, 1, 32, (1 << 18) | 16384


def mount(source: str, target: Path, kind: str, flags: int, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    words = (source.encode(), os.fsencode(target), kind.encode(), flags, options.encode())
    if libc.mount(*words):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def limit(how: str, amount: int | None) -> None:
    if how == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, ((amount or 0) * 1024, resource.RLIM_INFINITY))
    if how == "memory":
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        size = pages * resource.getpagesize() + (amount or 0) * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))


def left(root: Path, whole: dict[str, Any]) -> list[str]:
    """What is in `root` that a whole run does not leave."""
    found = (name for name in tree(root) if name not in whole)
    return sorted(name for name in found if not any(path.startswith(f"{name}/") for path in whole))


def within(root: Path, command: str) -> int:
    os.chdir(root)
    return run(command)


def make(root: Path, last: str) -> int:
    """The tiny project: simulated recordings, two epochs, the stages up to `last`."""
    import numpy as np
    import yaml

    document = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    block = document["tasks"]["braille"]
    block["data"] |= {
        "classes": ["A", "E"],
        "bins": 16,
        "bin_us": 80_000,
        "simulated_per_class": 20,
    }
    block["network"]["hidden"] = 8
    block["train"] |= {"epochs": 2, "max_time_shift": 1}
    block["deploy"]["vectors"] = 4
    block["targets"] = {CHIP: {"epochs": 1, "learning_rate": 1e-3}}
    (root / "params.yaml").write_text(yaml.safe_dump({"tasks": {"braille": block}}))
    (root / "dvc.lock").write_text(LOCK)
    (root / "pipeline" / "tasks").mkdir(parents=True)
    (root / "data" / "recordings" / "braille").mkdir(parents=True)
    np.save(root / "given.npy", np.ones((16, 1, 12), np.float32))
    os.chdir(root)
    for name in STAGES[: STAGES.index(last) + 1]:
        if status := run(name):
            return status
    shutil.copy(ROOT / "dvc.yaml", root)
    return 0


def main(folder: str, last: str) -> None:
    sys.path.insert(0, str(ROOT))
    place = Path(folder)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(place / "jax")
    from pipeline import environment, stage

    environment.settle()  # before NumPy
    stage.start_sooner()
    imports()
    os.chdir(place)
    trials = Trials(place, last)
    for line in sys.stdin:
        try:
            result = trials.trial(**json.loads(line))
        except (SystemExit, OSError) as error:
            result = {"failed": str(error)}
            shutil.rmtree(place / "trial", ignore_errors=True)
        print(json.dumps(result), flush=True)


def imports() -> None:
    """What the commands import, without a backend of JAX, which would not survive a fork."""
    import importlib

    from spyx_nir import files

    CALLS.append((files, "exchange"))
    for name in (
        *(f"pipeline.{stage}" for stage in STAGES),
        *("pipeline.report.page", "pipeline.conformance.build", "pipeline.commands.release"),
        *("pipeline.commands.new_task", "pipeline.training.trainer", "pipeline.training.qat"),
        *("pipeline.training.checkpoint", "pipeline.training.networks", "pipeline.datasets.checks"),
        *(
            "pipeline.evaluation.raster_plot",
            "pipeline.evaluation.backends",
            "pipeline.bundle.card",
        ),
        *("pipeline.bundle.events", "pipeline.training.distributed", "matplotlib.figure"),
        *("spyx_nir.bundle.build", "spyx_nir.hardware.evaluate", "safetensors.numpy", "optax"),
        *(f"spyx_nir.cli.{name}" for name in ("upgrade", "adapt", "draw", "run", "build")),
    ):
        importlib.import_module(name)


if __name__ == "__main__":
    main(*sys.argv[1:])
