"""How long training and inference take, beside `spyx.nn.run` and the torch frameworks: `make bench`.

One step of training (forward, backward, optimiser) and one of inference for the two networks of the
NIR paper: Braille, T = 256 steps and a batch of B = 64, and the spiking CNN of N-MNIST, T = 25 and
B = 32. Every contender lives in a process of its own, so that each runs with its own threads. A round
asks every contender in turn, in an order of its own (dealt by a seed), for eleven steps, of which the
first, which finds the processor's caches taken and others' threads still waiting, does not count; the
first two rounds only warm up. All of that several times over (--starts), with new processes: where the C
library puts a process's memory, and when it hands it back, decides for a whole run whether torch's
convolutions take 50 or 80 ms. What counts is the ratio: the table ends in how many times longer than ours
each one takes.

The torch frameworks take part where `make peers-setup` has made their environment. Their networks have
the same layers and shapes, with each framework's own neuron; Norse's has its own recurrent LIF.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.convert import machine
from pipeline.interop.importers import python
from spyx_nir.errors import exit_status
from spyx_nir.files import write_json

ROOT = Path(__file__).parent.parent
SHAPES = {"braille": (256, 64), "nmnist": (25, 32)}
TORCH = {
    "braille": ("torch", "snntorch", "norse"),
    "nmnist": ("torch", "snntorch", "spikingjelly", "sinabs"),
}
IN_A_ROW = 10  # steps that count, after one that does not
OVER_T, OVER_B = (64, 128, 256, 512, 1024), (8, 32, 128, 512)


class Contender:
    """A process that does one step when it is asked to."""

    def __init__(self, who: str, task: str, steps: int, batch: int):
        self.who = who
        ours = who in ("ours", "spyx.nn.run")
        torch_side = str(ROOT / "bench" / "peers" / "torch_side.py")
        program = [sys.executable, "-m", "bench.jax_side"] if ours else [str(python()), torch_side]
        self.process = subprocess.Popen(
            [*program, who, task, str(steps), str(batch)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=ROOT,
        )
        self.facts = json.loads(self._answer())

    def ask(self, what: str) -> list[float]:
        """Seconds of one step by the clock and of processor, or bytes."""
        assert self.process.stdin
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return [float(number) for number in self._answer().split()]

    def close(self) -> None:
        """End the process."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.who} ended with status {self.process.wait()}")
        return line


def compare(
    names: list[str], task: str, steps: int, batch: int, rounds: int, starts: int
) -> dict[str, Any]:
    """Every contender's figures: a step's mean seconds per round, peak memory, what it says of itself.

    `starts`: how often every process is started; `rounds`: counted, of each start.
    """
    kinds = ("train", "train_processor", "infer", "infer_processor")
    figures: dict[str, dict[str, Any]] = {
        who: {**{kind: [] for kind in kinds}, "peak_bytes": 0} for who in names
    }
    order = random.Random(0)
    for _ in range(starts):
        contenders = [Contender(who, task, steps, batch) for who in names]
        for number in range(rounds + 2):
            for contender in order.sample(contenders, len(contenders)):
                for what in ("train", "infer"):
                    _, *row = [contender.ask(what) for _ in range(1 + IN_A_ROW)]
                    means = [statistics.fmean(column) for column in zip(*row, strict=True)]
                    if number >= 2:
                        for key, mean in zip((what, f"{what}_processor"), means, strict=True):
                            figures[contender.who][key].append(mean)
        for contender in contenders:
            mine = figures[contender.who]
            (memory,) = contender.ask("memory")
            mine |= {**contender.facts, "peak_bytes": max(memory, mine["peak_bytes"])}
            contender.close()
    return figures


def table(figures: dict[str, Any]) -> None:
    """Median (least .. most) in milliseconds, and the ratio to ours; on a busy machine the processor's
    time says more than the clock, but counts what a framework's threads spend waiting."""
    heads = ("training step, ms", "its processor time", "inference step, ms")
    print(f"{'':12}" + "".join(f"{head:>30}{'':8}" for head in heads) + f"{'peak':>9}")
    for who, told in figures.items():
        line = f"{who:12}"
        for what in ("train", "train_processor", "infer"):
            each = [1e3 * second for second in told[what]]
            ratio = statistics.median(
                a / b for a, b in zip(told[what], figures["ours"][what], strict=True)
            )
            cell = f"{statistics.median(each):.1f} ({min(each):.1f}..{max(each):.1f})"
            line += f"{cell:>30}{ratio:>7.2f}x"
        print(f"{line}{told['peak_bytes'] / 1e6:>6.0f} MB", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--rounds", type=int, default=5, help="counted, of each start; default: %(default)s"
    )
    parser.add_argument(
        "--starts", type=int, default=3, help="of every process; default: %(default)s"
    )
    parser.add_argument("--tasks", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--curves", action="store_true", help="also over T and over the batch")
    parser.add_argument("--json", metavar="FILE", help="also write every figure there")
    arguments = parser.parse_args()
    told: dict[str, Any] = {"machine": machine(), "steps": {}, "curves": {}}
    print(", ".join(f"{k} {v}" for k, v in told["machine"].items() if k != "versions"))
    if not python().exists():
        print("no torch peers: `make peers-setup` makes their environment")
    for task in arguments.tasks:
        steps, batch = SHAPES[task]
        names = ["ours", "spyx.nn.run", *(TORCH[task] if python().exists() else ())]
        print(f"\n{task}: T = {steps}, B = {batch}", flush=True)
        often = (arguments.rounds, arguments.starts)
        told["steps"][task] = compare(names, task, steps, batch, *often)
        table(told["steps"][task])
        if arguments.curves:
            points = {*((t, batch) for t in OVER_T), *((steps, b) for b in OVER_B)}
            for t, b in sorted(points):
                print(f"\n{task}: T = {t}, B = {b}", flush=True)
                figures = compare(["ours", "spyx.nn.run"], task, t, b, *often)
                told["curves"][f"{task} T={t} B={b}"] = figures
                table(figures)
    told["machine"]["load_after"] = [round(load, 2) for load in os.getloadavg()]
    if arguments.json:
        write_json(arguments.json, told)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
