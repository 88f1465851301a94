#!/usr/bin/env python3
"""Run a reader of NIR on every case of the conformance pack. NumPy and the standard library only.

    python run_conformance.py --reader mypackage.adapter

The reader is a module that can be imported here, with one function:

    def run_nir(path, inputs, dt):
        \"\"\"Run one file.

        path: of the .nir file. inputs: {name of an Input: (T, *shape) float32}, channels first, no
        batch axis. dt: the step, in the unit of the file's time constants.
        Returns {"output/<name of an Output>": (T, *shape)}. It may add "spikes/<node>" and
        "membrane/<node>" (before the reset), which are then compared, too; a node of a subgraph is
        <subgraph>.<node>. For a graph with one Output the array alone will do. None says that the
        file was read and that there is nothing to run.
        \"\"\"

An exception that it raises is a refusal. Results: pass, FAIL (other values), refused, read. The exit code
is 1 if a case fails (with --strict also if one is refused), 0 if none does, 2 if there is no such reader,
pack or case.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Reader = Callable[[str, dict[str, np.ndarray], float], Any]
RESULTS = ("pass", "fail", "refused", "read")
MOST_TEXT = 300


def load_reader(name: str) -> Reader:
    """The function `run_nir` of a module, or the one that NAME:FUNCTION names."""
    module, _, function = name.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    return getattr(importlib.import_module(module), function or "run_nir")


def run_case(folder: Path, reader: Reader, save: Path | None, seconds: int) -> dict[str, Any]:
    """One case: its result, and why."""
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    with np.load(folder / "data.npz", allow_pickle=False) as archive:
        data = dict(archive)
    row = {key: about[key] for key in ("name", "kinds", "tests", "needs_contract")}
    if why := about.get("no_file"):
        return {**row, "result": "refused", "why": why[:MOST_TEXT]}
    inputs = {key.removeprefix("input/"): x for key, x in data.items() if key.startswith("input/")}
    try:
        with limit(seconds), contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = as_arrays(reader(str(folder / "model.nir"), inputs, about["dt"]))
    except Exception as error:
        text = " ".join(str(error).split()) or "(no message)"
        return {**row, "result": "refused", "why": f"{type(error).__name__}: {text}"[:MOST_TEXT]}
    if found is None:
        return {**row, "result": "read", "why": "read without an error; there is nothing to run"}
    expected = {key: a for key, a in data.items() if not key.startswith("input/")}
    outputs = [key for key in expected if key.startswith("output/")]
    if "" in found:
        found = {(outputs[0] if len(outputs) == 1 else "the only array"): found[""]}
    if save is not None:
        np.savez(save / f"{about['name']}.npz", **found)  # type: ignore[arg-type]
    missing = [key for key in outputs if key not in found]
    why = [f"{key}: missing" for key in missing]
    for key, array in sorted(found.items()):
        tolerance = 0 if key.startswith("spikes/") else about["tolerance"]["values"]
        why += difference(key, array, expected.get(key), tolerance)
    return {**row, "result": "fail" if why else "pass", "why": "; ".join(why)[:MOST_TEXT]}


@contextlib.contextmanager
def limit(seconds: int) -> Iterator[None]:
    """Raise TimeoutError inside, where the system has alarms: some readers never return."""
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError(f"no answer within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def as_arrays(found: Any) -> dict[str, np.ndarray] | None:
    """What a reader returned as arrays by name; an array alone has the name ""."""
    if found is None:
        return None
    named = found if isinstance(found, Mapping) else {"": found}
    return {str(name): np.asarray(array) for name, array in named.items()}


def difference(
    key: str, found: np.ndarray, expected: np.ndarray | None, tolerance: float
) -> list[str]:
    """What is wrong with one array, in at most one line."""
    if expected is None:
        return [f"{key}: no such node in this case"]
    if found.shape != expected.shape:
        return [f"{key}: shape {found.shape}, expected is {expected.shape}"]
    off = ~(np.abs(found.astype(np.float64) - expected) <= tolerance)  # NaN is off, too
    if not off.any():
        return []
    first = tuple(int(i) for i in np.argwhere(off)[0])
    return [
        f"{key}: {int(off.sum())} of {off.size} differ, first at step {first[0]}, {first[1:]}: "
        f"{found[first]:.6g}, expected {expected[first]:.6g}"
    ]


def summary(rows: list[dict[str, Any]]) -> str:
    """A table: primitives by result."""
    kinds = sorted({kind for row in rows for kind in row["kinds"]})
    lines = [f"{'primitive':<12}" + "".join(f"{result:>9}" for result in RESULTS)]
    for kind in [*kinds, ""]:
        of_kind = [row for row in rows if not kind or kind in row["kinds"]]
        counts = [sum(row["result"] == result for row in of_kind) for result in RESULTS]
        lines.append(f"{kind or 'all cases':<12}" + "".join(f"{count:>9}" for count in counts))
    return "\n".join(lines)


def main(arguments: argparse.Namespace) -> int:
    """Run the chosen cases; returns the exit code."""
    try:
        index = json.loads((arguments.pack / "index.json").read_text(encoding="utf-8"))
    except OSError as error:
        return refuse(f"--pack {arguments.pack}: {error.strerror}; name the folder of the pack")
    if unknown := sorted(set(arguments.case or []) - set(index["cases"])):
        return refuse(f"--case {unknown[0]}: no such case in {arguments.pack}")
    try:
        reader = load_reader(arguments.reader)
    except (ImportError, AttributeError) as error:
        return refuse(f"--reader {arguments.reader}: {error}")
    if arguments.save is not None:
        arguments.save.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in arguments.case or index["cases"]:
        start = time.perf_counter()
        folder = arguments.pack / "cases" / name
        row = run_case(folder, reader, arguments.save, arguments.seconds)
        rows.append(row)
        shown = row["result"].upper() if row["result"] == "fail" else row["result"]
        print(f"{shown:<8} {name:<28} {row['why']}".rstrip(), flush=True)
        if arguments.verbose:
            print(f"         {time.perf_counter() - start:.1f} s: {row['tests']}")
    print(f"\n{summary(rows)}")
    if arguments.json is not None:
        report = {"pack_version": index["version"], "reader": arguments.reader, "cases": rows}
        arguments.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    bad = ("fail", "refused") if arguments.strict else ("fail",)
    return int(any(row["result"] in bad for row in rows))


def refuse(what: str) -> int:
    """Say why nothing was run."""
    print(f"error: {what}", file=sys.stderr)
    return 2


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    lines = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(description=lines[0])
    parser.add_argument("--reader", required=True, metavar="MODULE[:FUNCTION]", help="the adapter")
    here = Path(__file__).resolve().parent
    parser.add_argument("--pack", type=Path, default=here, metavar="FOLDER", help="default: here")
    parser.add_argument(
        "--case", action="append", metavar="NAME", help="only this one; may be repeated"
    )
    more = "a reader that takes longer refuses; not on Windows; default: %(default)s"
    parser.add_argument("--seconds", type=int, default=120, metavar="N", help=more)
    parser.add_argument("--strict", action="store_true", help="a refusal is a failure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to FILE")
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="keep the reader's arrays")
    parser.add_argument(
        "--verbose", action="store_true", help="say what each case tests, and its time"
    )
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(main(parse()))
