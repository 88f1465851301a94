"""Where the time of a fresh clone goes: every stage of dvc.yaml, one after the other.

Wall and processor seconds and peak memory of each stage (at least that of this program, some 250 MB), in
an empty project folder or, with --built, in a copy of one that was built, so that single stages can be
repeated. With --parts also what each stage was doing (`bench.watched`). On a busy machine processor
seconds say more than the wall.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from bench.convert import machine
from pipeline import environment
from spyx_nir.errors import UsageError, exit_status
from spyx_nir.files import write_json

ROOT = Path(__file__).parent.parent


def commands() -> dict[str, list[str]]:
    """Stage -> `pipeline.<stage>` and its arguments, in the order in which DVC runs them."""
    tasks = yaml.safe_load((ROOT / "params.yaml").read_text())["tasks"]
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    found = {}
    for name, stage in stages.items():
        if isinstance(stage["foreach"], str):
            found |= {f"{name}@{task}": [f"pipeline.{name}", task] for task in tasks}
        else:
            found |= {
                f"{name}@{key}": [f"pipeline.{name}", item["task"], item["chip"]]
                for key, item in stage["foreach"].items()
            }
    return found


def run(command: list[str], folder: Path, parts: bool) -> dict[str, Any]:
    """One stage in a process of its own: seconds, processor seconds, peak memory, and its parts.

    Raises:
        RuntimeError: the stage failed.
    """
    out = folder / ".parts.json"
    program = ["-m", "bench.watched", str(out)] if parts else ["-m"]
    # As the stages set it themselves: then none starts itself again, which would end the watching.
    variables = environment.settled(os.environ)[0] | {"PYTHONPATH": str(ROOT)}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, *program, *command],
        cwd=folder,
        env=variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        said = child.stderr.read().decode() if child.stderr else ""
        raise RuntimeError(f"{' '.join(command)}: status {child.returncode}: {said}")
    return {
        "seconds": time.perf_counter() - began,
        "processor_s": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
        **({"parts": json.loads(out.read_text())} if parts else {}),
    }


def copied(built: Path | None, folder: Path) -> None:
    """A project folder to run in: parameters and lock, and what was built, without compiled programs."""
    for name in ("params.yaml", "requirements.lock"):
        shutil.copy(ROOT / name, folder / name)
    if built:
        for name in ("data", "models", "metrics"):
            shutil.copytree(built / name, folder / name)
    else:
        (folder / "data").mkdir()
        (folder / "data" / "recordings").symlink_to(ROOT / "data" / "recordings")


def table(taken: dict[str, list[dict[str, Any]]]) -> None:
    """A line for each stage, medians of its runs."""
    print(f"{'stage':32}{'wall, s':>9}{'cpu, s':>9}{'MB':>7}")
    total: Counter[str] = Counter()
    for name, runs in taken.items():
        middle = {
            key: statistics.median(run[key] for run in runs)
            for key in ("seconds", "processor_s", "peak_bytes")
        }
        total.update({key: middle[key] for key in ("seconds", "processor_s")})
        parts: Counter[str] = Counter()
        for run_ in runs:
            parts.update(run_.get("parts", {}))
        said = ", ".join(f"{p} {s / len(runs):.1f}" for p, s in parts.most_common() if s >= 0.05)
        print(
            f"{name:32}{middle['seconds']:9.1f}{middle['processor_s']:9.1f}"
            f"{middle['peak_bytes'] / 1e6:7.0f}  {said}"
        )
    print(f"{'all':32}{total['seconds']:9.1f}{total['processor_s']:9.1f}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.stages",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help="such as 'target@*'; default: all"
    )
    parser.add_argument(
        "--built", type=Path, metavar="FOLDER", help="a project folder to start from"
    )
    parser.add_argument("--parts", action="store_true", help="also what each stage was doing")
    parser.add_argument("--runs", type=int, default=1, help="of all stages; default: %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    given = parser.parse_args()
    every = commands()
    chosen = [
        name for name in every if any(fnmatch.fnmatch(name, one) for one in given.stages or ["*"])
    ]
    if not chosen:
        raise UsageError(f"no such stage; there are: {', '.join(every)}")
    taken: dict[str, list[dict[str, Any]]] = {name: [] for name in chosen}
    for _ in range(given.runs):
        with tempfile.TemporaryDirectory() as folder:
            copied(given.built, Path(folder))
            for name in chosen:
                taken[name].append(run(every[name], Path(folder), given.parts))
                print(f"{name}: {taken[name][-1]['seconds']:.1f} s", file=sys.stderr, flush=True)
    about = machine()
    print(", ".join(f"{k} {v}" for k, v in about.items() if k != "versions"))
    table(taken)
    if given.json:
        write_json(given.json, {"machine": about, "stages": taken})
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
