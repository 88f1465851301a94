"""What the stages made here that differs from the committed lock: `python -m pipeline.lock_diff`.

The last step of `make deploy-artifacts`. A stage counts if it and all stages before it had the committed
code, parameters and recordings, and it made other bytes: then this machine rounds in another way than the
one that wrote the lock, and the accuracies of both are printed. It always exits with 0: bundles that
differ are right for the weights that were trained here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from spyx_nir.errors import Parser, UserError, exit_status

LOCK = "dvc.lock"


def main(root: Path = Path(".")) -> int:
    """Print the comparison; returns the exit code."""
    Parser(prog="python -m pipeline.lock_diff", description=__doc__).parse_args()
    return exit_status(lambda: print("\n".join(report(root))))


def report(root: Path) -> list[str]:
    """The lines to print for the project in `root`.

    Raises:
        UserError: dvc.lock is missing or is no lock file.
    """
    try:
        here = _stages((root / LOCK).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{root / LOCK}: {error.strerror}; run make repro") from None
    committed = _committed(root, LOCK)
    if committed is None:
        return [f"{LOCK}: not compared, because no commit is known here"]
    before = _stages(committed)
    other = {name: found for name in before if (found := differing(before, here, name))}
    same = [n for n in before if _inputs(before, n) == _inputs(here, n) and n not in other]
    if not other:
        rest = f"; {len(before) - len(same)} have other code, parameters or recordings"
        return [
            f"{LOCK}: {len(same)} of {len(before)} stages have the committed inputs and made the "
            f"committed bytes{rest * (len(same) < len(before))}"
        ]
    lines = [
        f"{LOCK}: {len(other)} of {len(other) + len(same)} stages with the committed code, parameters "
        "and recordings made other bytes than the lock has: this machine rounds differently"
    ]
    lines += [f"  {name}: {', '.join(paths)}" for name, paths in other.items()]
    metrics = sorted({p for paths in other.values() for p in paths if p.endswith(".json")})
    for path in metrics:
        lines += [f"  {path}: {line}" for line in _accuracies(_committed(root, path), root / path)]
    return [*lines, "  the bundles are verified and right for the weights that were trained here"]


def differing(before: Mapping[str, Any], here: Mapping[str, Any], name: str) -> list[str]:
    """The outputs of stage `name` that differ although no input of it or of a stage before it does."""
    if name not in here or _inputs(before, name) != _inputs(here, name):
        return []
    old, new = (
        {o["path"]: o.get("md5") for o in lock[name].get("outs", [])} for lock in (before, here)
    )
    return [path for path in old if old[path] != new.get(path)]


def _inputs(stages: Mapping[str, Any], name: str) -> Any:
    """Command, parameters and what no stage made, of a stage and of all before it."""
    if name not in stages:
        return None
    stage = stages[name]
    makers = {out["path"]: other for other in stages for out in stages[other].get("outs", [])}
    read = {dep["path"]: dep.get("md5") for dep in stage.get("deps", [])}
    before = {makers[path]: _inputs(stages, makers[path]) for path in read if path in makers}
    given = {path: digest for path, digest in read.items() if path not in makers}
    return stage.get("cmd"), stage.get("params"), given, before


def _accuracies(before: str | None, path: Path) -> Iterator[str]:
    """How each accuracy of a metrics file changed; `before` is the committed text."""
    if before is None or not path.is_file():
        return
    old, new = (_entries(json.loads(text)) for text in (before, path.read_text(encoding="utf-8")))
    for which in old:
        if which in new:
            counts = [f"{found['correct']} of {found['n']}" for found in (new[which], old[which])]
            points = 100 * (new[which]["accuracy"] - old[which]["accuracy"])
            yield f"accuracy {which} {counts[0]} here, {counts[1]} committed ({points:+.1f} points)"


def _entries(metrics: dict[str, Any]) -> dict[str, Any]:
    """The accuracies of a metrics file by name; a file with a single one has that of the test set."""
    found = metrics.get("accuracy")
    if not isinstance(found, dict):  # metrics/summary repeats a number of another file
        return {}
    return {"test": found} if "correct" in found else found


def _committed(root: Path, path: str) -> str | None:
    """The text of a file in the last commit; None without git, a commit or the file."""
    try:
        done = subprocess.run(
            ("git", "-C", str(root), "show", f"HEAD:./{path}"), capture_output=True, text=True
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _stages(text: str) -> dict[str, Any]:
    try:
        return dict(yaml.safe_load(text)["stages"])
    except (yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UserError(f"{LOCK}: not a lock file of DVC; run make repro") from None


if __name__ == "__main__":
    sys.exit(main())
