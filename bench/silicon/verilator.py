"""The bench of a bundle's Verilog, compiled by Verilator: some fifty times as fast as Icarus.

Verilator knows 0 and 1 alone. Where Verilog is unknown it takes random bits here, of one seed: at the
start every flip-flop and every word of memory, and what a model gives as `x`.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir.errors import UserError
from spyx_nir.hardware.families.integer import verify_rtl

PROGRAM = "verilator"
PACKAGES = {PROGRAM: "verilator", "g++": "g++", "make": "make"}
# Lint is Icarus' (-Wall). A bench has delays: --timing.
FLAGS = (
    "--binary", "--timing", "-O3", "--x-assign", "unique", "--x-initial", "unique",
    "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", "bench", "-CFLAGS", "-O1",
)  # fmt: skip
SEED = ("+verilator+rand+reset+2", "+verilator+seed+1")


def missing() -> list[str]:
    """The programs that are not installed."""
    return [name for name in PACKAGES if shutil.which(name) is None]


def build(
    rtl: Path, place: Path, files: Sequence[str] | None = None, flags: Sequence[str] = ()
) -> Path:
    """Compile the bench and the network, or `files` in its place; the program.

    Raises:
        UserError: the compiler refuses them.
    """
    names = [verify_rtl.BENCH, *(verify_rtl.sources(rtl) if files is None else files)]
    command = [PROGRAM, *FLAGS, *flags, "-Mdir", str(place.absolute()), *names]
    done = subprocess.run(command, cwd=rtl, capture_output=True, text=True)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "rror" in line]
        raise UserError(f"{PROGRAM}: {' '.join(lines)[:300] or f'exit code {done.returncode}'}")
    return place / "Vbench"


def simulate(
    rtl: Path, program: Path, x: np.ndarray, network: dict[str, Any], states: int | None = None
) -> dict[str, np.ndarray]:
    """As `verify_rtl.simulate`, by a program of `build`."""
    text = (rtl / verify_rtl.BENCH).read_text(encoding="utf-8")
    lines = [n for n, line in enumerate(text.splitlines(), 1) if "$finish" in line]
    ends = f"- {verify_rtl.BENCH}:{lines[-1]}: Verilog $finish"
    command = [str(program.absolute()), *SEED]
    return verify_rtl.exchange(rtl, command, x, network, states, ends)
