"""The stages as DVC knows them: what feeds what, and what is out of date."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spyx_nir.errors import UserError


@dataclass(frozen=True)
class Stage:
    """state: `done`, `stale` or `unknown`; feeds: stages behind it.

    why: what DVC says is changed, and which stages that feed it are out of date.
    depth: how many stages must run before it, one after the other.
    """

    name: str
    state: str
    why: list[str]
    feeds: list[str]
    depth: int

    @property
    def task(self) -> str:
        """`nmnist` for `train@nmnist` and for `target@nmnist-loihi`: no task's name has a hyphen."""
        return self.name.partition("@")[2].partition("-")[0]

    @property
    def title(self) -> str:
        """The name without the task's: `train`, or `target loihi` for `target@nmnist-loihi`."""
        stage, _, rest = self.name.partition("@")
        return f"{stage} {rest.partition('-')[2]}".strip()


def ask(root: Path) -> subprocess.Popen[str]:
    """Start `dvc status`; it takes seconds, so the page is made meanwhile."""
    return subprocess.Popen(
        [sys.executable, "-m", "dvc", "status", "--json"],
        cwd=root,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer(asked: subprocess.Popen[str]) -> tuple[dict[str, Any] | None, str]:
    """What is out of date by stage, or None and the reason why DVC cannot say."""
    out, err = asked.communicate()
    try:
        return dict(json.loads(out)), ""
    except ValueError:
        return None, " ".join((err.strip() or "dvc status says nothing").splitlines()[-1:])


def stages(root: Path, changed: Mapping[str, Any] | None) -> list[Stage]:
    """All stages of `dvc.lock` and of `changed`, in an order in which they can run.

    DVC compares a stage with the files that are there. A stage behind one that is out of date is out of
    date too, though its files are still those that it was run with.

    Raises:
        UserError: `dvc.lock` is not what DVC writes.
    """
    path = root / "dvc.lock"
    try:
        locked = yaml.safe_load(path.read_text(encoding="utf-8"))["stages"] or {}
        uses, makes = (
            {name: [one["path"] for one in stage.get(key, [])] for name, stage in locked.items()}
            for key in ("deps", "outs")
        )
    except FileNotFoundError:
        locked, uses, makes = {}, {}, {}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{path}: not a lock file of DVC; run make repro") from None
    names = [*locked, *(name for name in changed or {} if name not in locked)]
    feeds: dict[str, list[str]] = {name: [] for name in names}
    for name, other in itertools.permutations(names, 2):
        if _meet(makes.get(name, []), uses.get(other, [])):
            feeds[name].append(other)
    found: list[Stage] = []
    for depth, _, name in sorted((_depth(n, feeds), at, n) for at, n in enumerate(names)):
        before = [one.name for one in found if name in one.feeds and one.state == "stale"]
        why = [*_reasons((changed or {}).get(name, [])), *map("{} is out of date".format, before)]
        state = "unknown" if changed is None else "stale" if name in changed or before else "done"
        found.append(Stage(name, state, why, feeds[name], depth))
    return found


def lines(found: list[Stage], tasks: list[str]) -> list[tuple[str, list[list[Stage]]]]:
    """The stages of each task in columns: a stage is right of all that feed it."""
    made = []
    for task in tasks:
        own = [stage for stage in found if stage.task == task]
        depths = sorted({stage.depth for stage in own})
        made.append((task, [[stage for stage in own if stage.depth == n] for n in depths]))
    return [(task, columns) for task, columns in made if columns]


def banner(drawn: list[tuple[str, list[list[Stage]]]]) -> str:
    """The sentence about what is out of date, "" where nothing is. drawn: see `lines`."""
    stale = [
        (task, [stage.title for column in columns for stage in column if stage.state == "stale"])
        for task, columns in drawn
    ]
    parts = [f"{task}: {', '.join(titles)}" for task, titles in stale if titles]
    if not parts:
        return ""
    return (
        f"Out of date: {'; '.join(parts)}. What this page shows of them is of an earlier run: "
        "run make repro"
    )


def _meet(made: list[str], used: list[str]) -> bool:
    return any(a == b or a.startswith(f"{b}/") or b.startswith(f"{a}/") for a in made for b in used)


def _depth(name: str, feeds: Mapping[str, list[str]]) -> int:
    """How many stages must run before `name`, one after the other; the lock has no cycles."""
    before = [other for other, fed in feeds.items() if name in fed]
    return 1 + max((_depth(other, feeds) for other in before), default=-1)


def _reasons(entries: list[Any]):
    for entry in entries:
        if not isinstance(entry, dict):
            yield str(entry)
            continue
        for what, details in entry.items():
            named = details.items() if isinstance(details, dict) else [("", details)]
            for name, how in named:
                yield f"{what}: {name} {how if isinstance(how, str) else 'modified'}".strip()
