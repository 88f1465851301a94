"""Every command, interrupted at every moment: the next run ends in the same bytes and leaves nothing.

`killing.py` says what a moment is and what the ways are. An output is the old or the new one meanwhile,
never a part of it; what a command says is a line, never a traceback.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from end_to_end import ROOT

sys.path.insert(0, str(Path(__file__).parent))
from killing import STAGES, WRITES

SIGNALS = ("KILL", "TERM", "HUP", "INT", "INT twice")
STATUS = {"KILL": -9, "TERM": 143, "HUP": 129, "INT": 130}
# Memory that an allocation in C++ lacks ends the process by a signal (XLA, OpenBLAS, HDF5). CPython 3.11
# waits without end for a thread whose start lacked memory: -14, SIGALRM of killing.py.
ABORTED = (-6, -11, -9, -14)
SLICE = [
    *(
        (command, "KILL", moment)
        for command in ("check", "upgrade")
        for moment in (1, 2, 3, 4, 5, 6)
    ),
    ("export", "KILL", 9),
    *(("upgrade", how, 4) for how in ("TERM", "HUP", "INT", "INT twice", "full")),
    *(("new-task", how, 14) for how in ("KILL", "TERM")),
    *(("upgrade", "disk", 8), ("upgrade", "limit", 1), ("upgrade", "read-only", None)),
    *(("check", "memory", 0), ("upgrade", "memory", 0)),
]


class Trials:
    """A process of killing.py, which knows the tiny project up to the stage `last`."""

    def __init__(self, folder: Path, last: str):
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killing.py")), str(folder), last],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, command: str, how: str, moment: int | None) -> dict[str, Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        print(
            json.dumps({"command": command, "how": how, "moment": moment}),
            file=self.process.stdin,
            flush=True,
        )
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        if "Operation not permitted" in found.get("failed", ""):
            pytest.skip("this system mounts no file systems for tests")
        assert "failed" not in found, found["failed"]
        return found

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Up to the export: seconds."""
    trials = Trials(tmp_path_factory.mktemp("few"), "export")
    yield trials
    trials.end()


@pytest.fixture(scope="module")
def all_stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    trials = Trials(tmp_path_factory.mktemp("all"), STAGES[-1])
    yield trials
    trials.end()


def wrong(how: str, found: dict[str, Any]) -> list[str]:
    """What a trial shows that must not be."""
    said = found["said"].splitlines()
    last = said[-1] if said else ""
    faults = [f"{key}: {found[key]}" for key in ("torn", "differs", "leftovers") if found[key]]
    if "Traceback" in found["said"] and found["status"] not in ABORTED:
        faults.append(f"a traceback: {found['said']}")
    if found["status"] == -14 and how != "memory":
        faults.append("it did not end")
    # `build` and `new-task` end with a refusal where the first run got as far as its last call.
    if found["again"] != 0 and "is there already" not in found["said again"]:
        faults.append(f"again: exit status {found['again']}: {found['said again']}")
    if how in STATUS and found["status"] not in (STATUS[how], 0):
        faults.append(f"exit status {found['status']}: {last}")
    if how in ("TERM", "HUP", "INT") and found["status"] != 0:
        if last != "interrupted: nothing half-written was left; run the command again":
            faults.append(f"said: {last}")
        if found["left"]:
            faults.append(f"{found['left']} files stay behind though it could clean up")
    if how in ("full", "disk", "limit", "read-only") and found["status"] != 0:
        if found["status"] != 1 or not re.match(r"error: .+: (No space|File too|Read-only)", last):
            faults.append(f"exit status {found['status']}: {last}")
        if found["left"] and how != "read-only":
            faults.append(f"{found['left']} files stay behind though it could clean up")
    return faults


@pytest.mark.parametrize(("command", "how", "moment"), SLICE)
def test_an_interrupted_command_is_run_again(
    command: str, how: str, moment: int | None, few: Trials
) -> None:
    assert wrong(how, few.run(command, how, moment)) == []


def test_an_interruption_does_interrupt(few: Trials) -> None:
    """The moments are moments of these commands, and a kill leaves what the next run removes."""
    count = few.run("upgrade", "nothing", None)["moments"]
    assert count == 6
    killed = few.run("upgrade", "KILL", 4)
    assert killed["status"] == -9 and killed["left"] > 0 and killed["leftovers"] == []
    assert few.run("upgrade", "KILL", count + 1)["status"] == 0
    assert few.run("upgrade", "full", 2)["status"] == 1


def moments(count: int, most: int) -> list[int]:
    """At most `most` of 1 ... count, evenly, the first and the last among them."""
    if count <= most:
        return list(range(1, count + 1))
    return sorted({1 + round(i * (count - 1) / (most - 1)) for i in range(most)})


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("command", WRITES)
def test_the_whole_table(command: str, all_stages: Trials) -> None:
    """Prints a row for each way (`pytest -s`)."""
    count = all_stages.run(command, "nothing", None)["moments"]
    plan = {
        "KILL": moments(count, 24),
        **dict.fromkeys(SIGNALS[1:], moments(count, 5)),
        "full": moments(count, 8),
        "disk": [8, 32, 100, 400],
        "limit": [8, 64, 400],
        "memory": [0, 100],
        "read-only": [None],
    }
    faults = []
    for how, points in plan.items():
        results = [(point, all_stages.run(command, how, point)) for point in points]
        bad = [(how, point, fault) for point, found in results for fault in wrong(how, found)]
        ended = sum(found["status"] != 0 for _, found in results)
        print(
            f"{command:12} {how:10} {len(results):3} trials, {ended:3} ended early, {len(bad)} wrong"
        )
        faults += bad
    assert faults == []
