"""Run a module and write how long it was in which part: `python -m bench.watched OUT MODULE ARGUMENTS`.

A thread looks at the stack of the main thread a hundred times a second and adds the time since its last
look to the first of `PARTS` that is in it. What runs in other processes is the part that waits for it.
"""

from __future__ import annotations

import itertools
import json
import runpy
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

LOOK_S = 0.01
# Part of a stage -> where it is seen: the end of a file's path, and a function there ("": any).
PARTS: dict[str, list[tuple[str, str]]] = {
    "imports": [("<frozen importlib._bootstrap>", "_find_and_load")],
    "compile": [
        ("jax/_src/compiler.py", ""),
        ("jax/_src/interpreters/mlir.py", ""),
        ("jax/_src/interpreters/partial_eval.py", ""),
        ("numba/core/dispatcher.py", "_compile_for_args"),
    ],
    "stream": [("hardware/evaluate.py", "in_a_stream"), ("evaluate_events.py", "in_a_stream")],
    "robustness": [("evaluation/chip_metrics.py", "robustness_metrics")],
    "reference": [("meaning/reference.py", "run")],
    "judging": [("training/trainer.py", "judge")],
    "training": [("training/trainer.py", "_epoch")],
    "simulation": [("hardware/simulate.py", "run"), ("evaluate_events.py", "")],
    "data": [("pipeline/datasets", ""), ("pipeline/prepare.py", "")],
    "writing": [("spyx_nir/files.py", ""), ("raster_plot.py", ""), ("bundle", "")],
}


def part_of(frame: FrameType | None) -> str:
    """The first of `PARTS` that a stack, from its innermost frame on, is in; else `other`."""
    seen = []
    while frame is not None:
        seen.append((frame.f_code.co_filename, frame.f_code.co_name))
        frame = frame.f_back
    for part, places in PARTS.items():
        for (end, function), (file, name) in itertools.product(places, seen):
            where = file if end.endswith((".py", ">")) else str(Path(file).parent)
            if where.endswith(end) and function in ("", name):
                return part
    return "other"


def look(thread: int, found: Counter[str], ended: threading.Event) -> None:
    """Add up the seconds that a thread spends in each part, until `ended`."""
    before = time.perf_counter()
    while not ended.wait(LOOK_S):
        now = time.perf_counter()
        found[part_of(sys._current_frames().get(thread))] += now - before
        before = now


def watched(out: str, module: str, *arguments: str) -> None:
    """Run a stage in this process and write the seconds of its parts to `out`."""
    found: Counter[str] = Counter()
    ended = threading.Event()
    threading.Thread(target=look, args=(threading.get_ident(), found, ended), daemon=True).start()
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        ended.set()
        Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    watched(*sys.argv[1:])
