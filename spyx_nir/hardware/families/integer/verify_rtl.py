"""Simulate this bundle's Verilog and compare spikes and states with integer_vectors.npz.

Needs Python 3.10 or newer, numpy and Icarus Verilog (iverilog, vvp); nothing of the project that made the
bundle. rtl/bench.v sends the events and reads every state back. Exit code 0: all as in
test_data_set_0/integer_vectors.npz, or there is no Icarus Verilog, which is said. 1: something differs,
and is named. 2: numpy is missing.
"""

from __future__ import annotations

import argparse
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

try:
    import numpy as np
except ImportError as missing:
    print(f"error: verify_rtl.py needs numpy: {missing}", file=sys.stderr)
    sys.exit(2)

if TYPE_CHECKING or __package__:
    from spyx_nir.hardware.families.integer.protocol import (
        KINDS,
        VECTORS,
        answers,
        commands,
        differences,
        network_of,
    )
else:  # in a bundle, beside this file; whose folder stays as it is
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from protocol import (
        KINDS,
        VECTORS,
        answers,
        commands,
        differences,
        network_of,
    )

COMPILER, SIMULATOR = "iverilog", "vvp"
FLAGS = ("-g2005", "-Wall")
BENCH = "bench.v"
# Modules that the bench does not have: the serial port and the boards.
OTHERS = ("uart.v", "serial.v", "classes.v", "top_*.v")
QUICK = 18_000  # neurons times steps: what is simulated unless something else is asked for


def not_installed() -> bool:
    """Whether Icarus Verilog is not installed."""
    return shutil.which(COMPILER) is None or shutil.which(SIMULATOR) is None


def sources(rtl: Path) -> list[str]:
    """The Verilog of `network` in a folder, without the bench."""
    others = {path for pattern in (BENCH, *OTHERS) for path in rtl.glob(pattern)}
    return sorted(path.name for path in rtl.glob("*.v") if path not in others)


def build(
    rtl: Path,
    program: Path,
    files: Sequence[str] | None = None,
    flags: Sequence[str] = FLAGS,
) -> None:
    """Compile the bench and the network, or `files` in its place, which rtl has or which are absolute.

    Raises:
        RuntimeError: the compiler refuses them or warns; with what it says.
    """
    names = [BENCH, *(sources(rtl) if files is None else files)]
    done = _run([COMPILER, *flags, "-s", "bench", "-o", str(program.absolute()), *names], rtl)
    if done:
        raise RuntimeError(" ".join(done.split())[:300])


def simulate(
    rtl: Path, program: Path, x: np.ndarray, network: dict[str, Any], states: int | None = None
) -> dict[str, np.ndarray]:
    """What the network answers to recordings (T, N, *shape), as `protocol.answers` gives it.

    Args:
        rtl: the folder of the hex files. program: as `build` made it. network: as `network_of` gives it.
        states: of how many recordings states are read; None: all.

    `ticks` are clock cycles in which the network worked.

    Raises:
        RuntimeError: the simulator fails or says something, or too little comes back.
    """
    return exchange(rtl, [SIMULATOR, "-n", str(program.absolute())], x, network, states)


def exchange(
    rtl: Path,
    command: Sequence[str],
    x: np.ndarray,
    network: dict[str, Any],
    states: int | None = None,
    ends_in: str = "",
) -> dict[str, np.ndarray]:
    """As `simulate`, by a command that runs the bench.

    ends_in: what it says at the end when all is well.
    """
    most = network["chip"]["neuron.input_spikes_per_step"]
    with tempfile.TemporaryDirectory() as folder:
        sent, came = Path(folder) / "commands", Path(folder) / "answers"
        sent.write_bytes(commands(x, most, states))
        said = _run([*command, f"+commands={sent}", f"+answers={came}"], rtl).strip()
        if said := said.removesuffix(ends_in):
            raise RuntimeError(" ".join(said.split())[:300])
        steps, samples = x.shape[:2]
        return answers(came.read_bytes(), network, steps, samples, states)


def part(
    arrays: dict[str, np.ndarray], steps: int | None, recordings: int | None
) -> dict[str, np.ndarray]:
    """The first steps of the first recordings of what integer_vectors.npz has; None: all."""
    kinds = ("input", *KINDS)
    return {
        key: array[:steps, :recordings] if key.partition("/")[0] in kinds else array
        for key, array in arrays.items()
    }


def amount(arrays: dict[str, np.ndarray], most: int = QUICK) -> tuple[int, int]:
    """(steps, recordings) that are `most` neurons times steps together, one step at least."""
    neurons = sum(math.prod(n["shape"]) for n in network_of(arrays)["neurons"])
    steps, recordings = arrays["input"].shape[:2]
    steps = min(steps, max(1, most // neurons))
    return steps, min(recordings, max(1, most // (neurons * steps)))


def lost(x: np.ndarray, found: dict[str, np.ndarray], network: dict[str, Any]) -> int:
    """How many events were not taken."""
    most = network["chip"]["neuron.input_spikes_per_step"]
    sent = np.minimum(x, most).sum(axis=tuple(range(2, x.ndim)), dtype=np.int64)
    return int((sent - found["events"]).sum())


def check(
    folder: Path, steps: int | None = None, recordings: int | None = None
) -> tuple[list[str], str]:
    """What is wrong, one line each; and what was simulated.

    steps, recordings: how many of the golden ones; where both are None, as many as `amount` gives.
    """
    try:
        with open(folder / VECTORS, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = dict(archive)
        if steps is None and recordings is None:
            steps, recordings = amount(arrays)
        arrays = part(arrays, steps, recordings)
        network, x = network_of(arrays), arrays["input"]
        with tempfile.TemporaryDirectory() as place:
            program = Path(place) / "bench"
            build(folder / "rtl", program)
            found = simulate(folder / "rtl", program, x, network)
        events = lost(x, found, network)
    except Exception as error:  # a broken file must become a line, whatever breaks
        return [f"rtl: not to be run ({type(error).__name__}: {error})"], "nothing"
    problems = [f"{events} events were not taken"] * bool(events) + differences(found, arrays)
    return problems, f"{x.shape[0]} steps of {x.shape[1]} golden recordings"


def _run(command: list[str], folder: Path) -> str:
    """What a program says.

    Raises:
        RuntimeError: it fails, or is not there.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{command[0]}: {error.strerror}") from None
    said = done.stdout + done.stderr
    if done.returncode != 0:
        raise RuntimeError(
            " ".join(said.split())[:300] or f"{command[0]}: exit code {done.returncode}"
        )
    return said


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Simulate the bundle's Verilog and compare every state."
    )
    here = Path(__file__).absolute().parent
    parser.add_argument("folder", nargs="?", type=Path, default=here, help="the bundle")
    about = "how many golden recordings; without --recordings and --steps a few seconds' worth"
    parser.add_argument("--recordings", type=_positive, metavar="N", help=about)
    parser.add_argument("--steps", type=_positive, metavar="N", help="how many of their steps")
    arguments = parser.parse_args()
    folder = arguments.folder
    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    if not_installed():
        print(f"not simulated: {folder}: no Icarus Verilog: install it (apt-get install iverilog)")
        return 0
    problems, seen = check(folder, arguments.steps, arguments.recordings)
    for problem in problems:
        print(f"differs: {problem}", file=sys.stderr)
    if problems:
        print(f"FAIL: {folder}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        return 1
    print(f"pass: {folder}: Verilog, simulated by Icarus: {seen}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
