"""How long conversion takes, beside `spyx.nir` and the peers: `make bench-convert`.

Both networks, untrained. `spyx.nir` knows stock Spyx layers only, so it gets each network with
`reset: subtract`; ours is measured on the same one and on the default with exact neurons. A round
measures every step of every contender once, in turn, beginning with another one each time; JAX's caches
are emptied before each contender, so "export" and "first" contain what a fresh process compiles. The
first round only warms up.

    export     model -> graph (ours without the run that compares the two, `check=False`)
    write      graph -> file (ours sorts, so that equal graphs are equal bytes)
    read       file -> graph (ours refuses hostile files, `nir.read` checks types)
    first      first from_nir(graph, x): builds, compiles, runs
    second     second from_nir of the same
    again      the model that came back, run again: converter.run, spyx.nn.run
    build      graph -> model alone, once everything is compiled

Peers import the file that we write of the default network (`make peers-setup` builds their environment;
each runs in a process of its own, see `convert_peer.py`): read is `nir.read`, build their import, first
and second run all steps. Whether they mean the same by it is another question; what they refuse is
quoted."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import io
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import nir
import numpy as np
import spyx.nir as snir
import spyx.nn as snn
from flax import nnx

from pipeline import params, schema
from pipeline.interop.importers import python
from pipeline.training import networks
from spyx_nir import converter
from spyx_nir.errors import exit_status
from spyx_nir.files import write_json

PEERS = ("norse", "snntorch", "spikingjelly", "sinabs")
STEPS = ("export", "write", "read", "first", "second", "again", "build")
FAILS = float("nan")
ROOT = Path(__file__).parent.parent


@dataclasses.dataclass
class Contender:
    """A converter and the network it is given."""

    name: str
    task: schema.Task
    ours: bool

    def __post_init__(self) -> None:
        self.model = networks.build(self.task)
        self.ports = (
            {"input": networks.input_shape(self.task)},
            {"output": networks.output_shape(self.task)},
        )

    def measure(self, x: Any, folder: Path) -> dict[str, float]:
        """Seconds of each step, once, with cold caches."""
        jax.clear_caches()
        gc.collect()
        taken: dict[str, float] = {}

        def timed(step: str, call: Callable[[], Any]) -> Any:
            start = time.perf_counter()
            with contextlib.redirect_stdout(io.StringIO()):  # spyx.nir prints
                result = jax.block_until_ready(call())
            taken[step] = time.perf_counter() - start
            return result

        dt, path, model = self.task.export.dt, folder / "bench.nir", self.model
        if self.ours:
            options: dict[str, Any] = {"strict": True, "check": False}
            graph = timed("export", lambda: converter.to_nir(model, *self.ports, dt, **options))
            timed("write", lambda: converter.file.write(path, graph))
            read = timed("read", lambda: converter.file.read(path))
            built, _ = timed("first", lambda: converter.from_nir(read, x, dt))
            timed("second", lambda: converter.from_nir(read, x, dt)[1])
            timed("again", lambda: converter.run(built, x)[0])
            timed("build", lambda: converter.load(read, dt) and None)
        else:
            graph = timed("export", lambda: snir.to_nir(model, *self.ports, dt))
            try:
                timed("write", lambda: nir.write(path, graph))
                read = timed("read", lambda: nir.read(path))
            except TypeError:
                # nir 1.0.8 cannot write the bias None that spyx.nir puts into a Conv2d.
                taken |= {"write": FAILS, "read": FAILS}
                read = graph
            built, _ = timed("first", lambda: snir.from_nir(read, x, dt, rngs=nnx.Rngs(0)))
            timed("second", lambda: snir.from_nir(read, x, dt, rngs=nnx.Rngs(0))[1])
            timed("again", lambda: snn.run(built, x)[0])
            timed("build", lambda: snir._build_model(read, dt, nnx.Rngs(0)) and None)
        return taken


class Peer:
    """Another framework, in a process that is asked once a round; `error` says what it refused."""

    def __init__(self, name: str) -> None:
        self.name, self.error = name, ""
        self.process = subprocess.Popen(
            [str(python()), str(ROOT / "bench" / "convert_peer.py"), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._answer()  # it has started

    def give(self, path: Path, data: Path, dt: float) -> None:
        """The file and the input (T, B, ...) of the next rounds."""
        self.request, self.error = {"path": str(path), "input": str(data), "dt": dt}, ""

    def measure(self, x: Any, folder: Path) -> dict[str, float]:
        """Seconds of the steps that it did."""
        assert self.process.stdin is not None
        print(json.dumps(self.request), file=self.process.stdin, flush=True)
        answer = self._answer()
        self.error = answer.pop("error", "")
        return {step: answer.get(step, FAILS) for step in STEPS}

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"error": "its process ended"}


def start_peers() -> list[Peer]:
    """Every peer, or none where their environment was not built."""
    if python().exists():
        return [Peer(name) for name in PEERS]
    print(f"no peers: there is no {python()}; `make peers-setup` builds it")
    return []


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    cpu = platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next(
            (ln.partition(":")[2].strip() for ln in lines if ln.startswith("model name")), cpu
        )
    names = ("jax", "flax", "spyx", "nir", "h5py", "numpy")
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": platform.platform(),
        "python": platform.python_version(),
        "device": str(jax.devices()[0]),
        "versions": {name: version(name) for name in names},
    }


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.convert",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=5, help="counted; default: %(default)s")
    parser.add_argument("--batch", type=int, default=1, help="samples; default: %(default)s")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    arguments = parser.parse_args()
    before = machine()
    print(", ".join(f"{key} {value}" for key, value in before.items() if key != "versions"))
    print(", ".join(f"{key} {value}" for key, value in before["versions"].items()))
    measured: dict[str, Any] = {"machine": before, "batch": arguments.batch, "seconds": {}}
    peers = start_peers()
    measured["refused"] = {}
    for task in ("braille", "nmnist"):
        default = params.load(task, ROOT / "params.yaml")
        stock = dataclasses.replace(
            default, network=dataclasses.replace(default.network, reset="subtract")
        )
        contenders = [
            Contender("ours, exact neurons", default, True),
            Contender("ours, stock layers", stock, True),
            Contender("spyx.nir, stock layers", stock, False),
        ]
        shape = (arguments.batch, default.data.bins, *networks.input_shape(default))
        events = (np.random.default_rng(0).random(shape) < 0.05).astype(np.uint8)
        x = networks.to_model_layout(events)
        print(f"\n{task}: {default.data.bins} steps of {arguments.batch} sample(s), milliseconds")
        with tempfile.TemporaryDirectory() as folder:
            path, data = Path(folder) / "peers.nir", Path(folder) / "peers.npy"
            graph = converter.to_nir(contenders[0].model, *contenders[0].ports, default.export.dt)
            converter.file.write(path, graph)
            np.save(data, events.swapaxes(0, 1))
            for peer in peers:
                peer.give(path, data, default.export.dt)
            measured["seconds"][task] = figures([*contenders, *peers], x, arguments.rounds)
        measured["refused"][task] = {peer.name: peer.error for peer in peers if peer.error}
        for name, error in measured["refused"][task].items():
            print(f"{name} refuses the file: {error[:200]}")
    for peer in peers:
        peer.process.terminate()
    measured["machine"]["load_after"] = [round(load, 2) for load in os.getloadavg()]
    if arguments.json:
        write_json(arguments.json, measured)
    return 0


def _known(seconds: float) -> float | None:
    return None if math.isnan(seconds) else seconds


def figures(contenders: list[Any], x: Any, rounds: int) -> dict[str, Any]:
    """Every figure of every contender; prints the table: median (least .. most)."""
    taken: dict[str, list[dict[str, float]]] = {c.name: [] for c in contenders}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(rounds + 1):
            turn = number % len(contenders)
            for contender in contenders[turn:] + contenders[:turn]:
                found = contender.measure(x, Path(folder))
                if number:
                    taken[contender.name].append(found)
    print("".join([f"{'':24}", *(f"{step:>25}" for step in STEPS)]))
    made: dict[str, Any] = {}
    for name, rows in taken.items():
        made[name] = {step: [_known(row[step]) for row in rows] for step in STEPS}
        cells = []
        for step in STEPS:
            each = [1e3 * row[step] for row in rows]
            cell = f"{statistics.median(each):.1f} ({min(each):.1f}..{max(each):.1f})"
            cells.append("-" if math.isnan(sum(each)) else cell)
        print("".join([f"{name:24}", *(f"{cell:>25}" for cell in cells)]))
    theirs = statistics.median(made["spyx.nir, stock layers"]["second"])
    for name in (c.name for c in contenders if isinstance(c, Contender) and c.ours):
        ratio = theirs / statistics.median(made[name]["again"])
        print(f"{name}: the second run is {ratio:.0f} times faster than spyx.nir.from_nir's")
    return made


if __name__ == "__main__":
    sys.exit(exit_status(main))
