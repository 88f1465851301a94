"""How time and memory grow with the size of a file, of a recording and of a batch: `make bench`.

A point is one thing done once, in a process of its own: processor seconds, without imports, and by how
much the peak memory rose. Over the points of a curve a power of the size is fitted, seconds = a * size^p,
by least squares on logarithms, over the largest three sizes: at small ones what is the same for every
size hides the growth. 1 is growth in proportion. What takes less than `LEAST_S` at the largest size has
no exponent.

Curves: megabytes of weights, neurons of a population, nodes of a chain; steps and batch of a run by the
reference, of one by JAX (compiled before), of one step of training and one of inference.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir.errors import exit_status
from spyx_nir.files import write_json

ROOT = Path(__file__).parent.parent
LEAST_S = 0.05
MOST = 1.1  # the exponent that is meant
TARGET = "xylo-audio-2"
FILES = {
    "weights_mb": (1, 5, 50, 500),
    "neurons": (1_000, 10_000, 100_000, 1_000_000),
    "nodes": (10, 100, 1_000, 10_000),
}
DATA = {"steps": (64, 128, 256, 512, 1024, 10_000), "batch": (8, 32, 128, 512)}
ON_FILES = ("write", "inspect", "lint", "fit", "load", "run", "to_nir")
ON_DATA = ("run", "run_jax")
TRAINING = {"steps": (64, 128, 256, 512, 1024), "batch": (8, 32, 128, 512)}
TRAINED = {"steps": 256, "batch": 64}  # Braille's, where the other one is varied


# ------------------------------------------------------------------------------------------- graphs


def graph_of(axis: str, size: int) -> Any:
    """A graph of this size along an axis, as nir has it; random weights do not compress."""
    import nir

    rng = np.random.default_rng(0)

    def lif(n: int) -> nir.LIF:
        one = np.ones(n, np.float32)
        return nir.LIF(
            tau=10 * one,
            r=10 * one,
            v_leak=0 * one,
            v_threshold=one,
            v_reset=0 * one,
            metadata={"reset": "v_reset"},
        )

    def linear(n: int) -> nir.Linear:
        return nir.Linear(rng.normal(0, 1 / math.sqrt(n), (n, n)).astype(np.float32))

    if axis == "nodes":
        width = 4
        middle = [linear(width) if number % 2 == 0 else lif(width) for number in range(size)]
    else:
        width = math.isqrt(size * 10**6 // 4) if axis == "weights_mb" else size
        middle = [linear(width), lif(width)] if axis == "weights_mb" else [lif(width)]
    nodes = {f"n{number:06d}": node for number, node in enumerate(middle)}
    path = ["in", *nodes, "out"]
    ends = {"in": nir.Input(np.array([width])), "out": nir.Output(np.array([width]))}
    metadata = {"dt": 1.0, "contract_version": 2, "time_unit": "step"}
    edges = list(itertools.pairwise(path))
    return nir.NIRGraph({**nodes, **ends}, edges, metadata, type_check=False)


def small_network() -> Any:
    """Two layers of 64, for the curves over data."""
    return graph_of("nodes", 4)


# ------------------------------------------------------------------------------- what is done once


def prepared(what: str, axis: str, size: int, path: Path) -> Callable[[], object]:
    """What is to be timed; everything that comes before it is done."""
    from spyx_nir.converter import file

    if what == "write":
        made = graph_of(axis, size)
        return lambda: file.write(path, made)
    if what == "inspect":
        from spyx_nir.cli.inspect import inspect

        return lambda: inspect(path)
    if what == "lint":
        from spyx_nir.converter.lint import lint

        return lambda: lint(path)
    if what == "fit":
        from spyx_nir.hardware import chip_check, profile

        chip = profile.load(TARGET)
        return lambda: chip_check.check(path, chip)
    if what == "run":
        from spyx_nir.meaning import reference

        steps, batch = size_of_data(axis, size)
        shape = file.read_dict(path)["nodes"]["in"]["shape"]
        x = np.random.default_rng(0).random((steps, batch, *shape), np.float32)
        return lambda: reference.run(file.read_dict(path), x)
    from spyx_nir import converter

    loaded = converter.load(file.read(path))  # JAX and Spyx are imported by it
    if what == "load":
        return lambda: converter.load(file.read(path))
    (shape,) = (loaded.plan.shapes[name] for name in loaded.plan.inputs)
    if what == "to_nir":
        return lambda: converter.to_nir(
            loaded.model, {"in": shape}, {"out": shape}, 1.0, check=False
        )
    steps, batch = size_of_data(axis, size)
    x = np.random.default_rng(0).random((steps, batch, *shape), np.float32)

    def run() -> object:
        outputs, _ = converter.run(loaded.model, x)
        return np.asarray(outputs)

    run()
    return run


def size_of_data(axis: str, size: int) -> tuple[int, int]:
    """(T, B) of a point."""
    return {"steps": (size, 8), "batch": (256, size)}.get(axis, (4, 1))


def one(what: str, axis: str, size: int, path: Path) -> dict[str, float]:
    """Processor seconds of one thing, and by how much the peak memory rose."""
    work = prepared(what, axis, size, path)
    # Linux: makes the peak what is in memory now. `ru_maxrss` may be the peak of the parent process.
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    start = time.process_time()
    work()
    seconds = time.process_time() - start
    return {"seconds": seconds, "bytes": peak() - before}


def peak() -> int:
    """The peak memory of this process in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM:"))
    return 1024 * int(line.split()[1])


# -------------------------------------------------------------------------------------------- curves


def exponent(sizes: Sequence[float], costs: Sequence[float], least: float) -> float | None:
    """p of cost = a * size^p over the largest three sizes; None where the largest costs less."""
    x, y = (np.asarray(values[-3:], float) for values in (sizes, costs))
    if len(x) < 2 or costs[-1] < least or (y <= 0).any():
        return None
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def in_a_process(what: str, axis: str, size: int, path: Path) -> dict[str, float]:
    """A point.

    Raises:
        RuntimeError: the process failed.
    """
    line = [sys.executable, "-m", "bench.growth", "--one", what, axis, str(size), str(path)]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise RuntimeError(f"{what}, {axis} = {size}: {done.stderr[-400:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def of_files(axis: str, sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """What is done with files of growing size."""
    points: dict[str, dict[int, dict[str, float]]] = {what: {} for what in ON_FILES}
    for size in sizes:
        path = folder / f"{axis}-{size}.nir"
        for what in ON_FILES:
            points[what][size] = in_a_process(what, axis, size, path)
        path.unlink()
    return {what: curve(axis, what, found) for what, found in points.items()}


def of_data(axis: str, sizes: Sequence[int], folder: Path) -> dict[str, Any]:
    """What is done with recordings of growing length or number."""
    path = folder / "small.nir"
    in_a_process("write", "nodes", 4, path)
    return {
        what: curve(axis, what, {n: in_a_process(what, axis, n, path) for n in sizes})
        for what in ON_DATA
    }


def of_training(axis: str, sizes: Sequence[int]) -> dict[str, Any]:
    """One step of training, and one of inference, of Braille's network: the median of ten."""
    from bench.train import Contender

    found: dict[str, dict[int, dict[str, float]]] = {"train": {}, "infer": {}}
    for size in sizes:
        steps, batch = ({**TRAINED, axis: size}[name] for name in ("steps", "batch"))
        contender = Contender("ours", "braille", steps, batch)
        for what, points in found.items():
            _, *rows = [contender.ask(what) for _ in range(11)]
            points[size] = {"seconds": float(np.median([row[1] for row in rows])), "bytes": 0.0}
        (memory,) = contender.ask("memory")
        for points in found.values():
            points[size]["bytes"] = memory
        contender.close()
    return {what: curve(axis, what, points) for what, points in found.items()}


def curve(axis: str, what: str, points: dict[int, dict[str, float]]) -> dict[str, Any]:
    """Sizes, costs and the fitted exponents; printed as a row."""
    sizes = sorted(points)
    seconds, peak = ([points[size][key] for size in sizes] for key in ("seconds", "bytes"))
    found = {
        "sizes": sizes,
        "seconds": seconds,
        "bytes": peak,
        "exponent_seconds": exponent(sizes, seconds, LEAST_S),
        "exponent_bytes": exponent(sizes, peak, 2**24),
    }
    shown = [
        "-" if p is None else f"{p:.2f}"
        for p in (found[f"exponent_{k}"] for k in ("seconds", "bytes"))
    ]
    over = (
        " ABOVE" if max(found["exponent_seconds"] or 0, found["exponent_bytes"] or 0) > MOST else ""
    )
    cells = "".join(f"{1e3 * s:>10.1f}{b / 1e6:>8.0f}" for s, b in zip(seconds, peak, strict=True))
    print(f"{axis:11}{what:9}{shown[0]:>6}{shown[1]:>6}{cells}{over}", flush=True)
    return found


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.growth",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    axes = [*FILES, *DATA]
    parser.add_argument("--axes", nargs="+", choices=axes, default=axes)
    parser.add_argument("--most", type=int, help="leave out larger sizes of files")
    parser.add_argument("--no-training", action="store_true", help="leave out steps of training")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    parser.add_argument(
        "--one", nargs=4, metavar=("WHAT", "AXIS", "SIZE", "FILE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.one:
        what, axis, size, path = arguments.one
        print(json.dumps(one(what, axis, int(size), Path(path))))
        return 0
    from bench.convert import machine

    found: dict[str, Any] = {"machine": machine(), "curves": {}}
    print(", ".join(f"{k} {v}" for k, v in found["machine"].items() if k != "versions"))
    print("exponents of seconds and of bytes; then ms and MB at each size")
    with tempfile.TemporaryDirectory() as folder:
        for axis in arguments.axes:
            most = arguments.most or 10**9
            if axis in FILES:
                sizes = [size for size in FILES[axis] if size <= most]
                made = of_files(axis, sizes, Path(folder))
            else:
                made = of_data(axis, DATA[axis], Path(folder))
                if not arguments.no_training:
                    made |= of_training(axis, TRAINING[axis])
            found["curves"][axis] = made
    found["machine"]["load_after"] = [round(load, 2) for load in os.getloadavg()]
    if arguments.json:
        write_json(arguments.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
