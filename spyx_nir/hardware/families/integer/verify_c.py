"""Compile this bundle's C and compare every spike and every state with integer_vectors.npz.

Needs Python 3.10 or newer, numpy and a C compiler (`CC`, cc, gcc or clang); nothing of the project that
made the bundle. The program is c/host.c: it takes events over standard input. Exit code 0: all as in
test_data_set_0/integer_vectors.npz, or there is no compiler, which is said. 1: something differs, and is
named. 2: numpy is missing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

try:
    import numpy as np
except ImportError as missing:
    print(f"error: verify_c.py needs numpy: {missing}", file=sys.stderr)
    sys.exit(2)

if TYPE_CHECKING or __package__:
    from spyx_nir.hardware.families.integer.protocol import (
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
        VECTORS,
        answers,
        commands,
        differences,
        network_of,
    )

FLAGS = ("-std=c99", "-O2")  # without warnings: those of a compiler to come say nothing here


def compiler() -> str | None:
    """The C compiler of this machine."""
    named = os.environ.get("CC")
    return named or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def build(sources: Path, program: Path, cc: str, flags: Sequence[str] = FLAGS) -> None:
    """Compile the C sources of a folder.

    Raises:
        RuntimeError: the compiler refuses them; with what it says.
    """
    names = [str(sources / name) for name in ("model.c", "weights.c", "serial.c", "host.c")]
    command = [*cc.split(), *flags, *names, "-o", str(program)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        raise RuntimeError(f"{cc}: {error.strerror}") from None
    if done.returncode != 0:
        raise RuntimeError(
            " ".join(done.stderr.split())[:300] or f"{cc}: exit code {done.returncode}"
        )


def check(folder: Path, cc: str, flags: Sequence[str] = FLAGS) -> list[str]:
    """What is wrong, one line each."""
    try:
        with open(folder / VECTORS, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = dict(archive)
        network, x = network_of(arrays), arrays["input"]
        most = network["chip"]["neuron.input_spikes_per_step"]
        with tempfile.TemporaryDirectory() as place:
            program = Path(place) / "host"
            build(folder / "c", program, cc, flags)
            done = subprocess.run([str(program)], input=commands(x, most), capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(
                f"exit code {done.returncode}: {done.stderr.decode(errors='replace')}"
            )
        found = answers(done.stdout, network, *x.shape[:2])
        axes = tuple(range(2, x.ndim))
        sent = np.minimum(x, most).sum(axis=axes, dtype=np.int64)
        lost = int((sent - found["events"]).sum())
    except Exception as error:  # a broken file must become a line, whatever breaks
        return [f"c: not to be run ({type(error).__name__}: {error})"]
    return [f"{lost} events were not taken"] * bool(lost) + differences(found, arrays)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compile the bundle's C and compare every state.")
    here = Path(__file__).absolute().parent
    parser.add_argument("folder", nargs="?", type=Path, default=here, help="the bundle")
    folder = parser.parse_args().folder
    if folder.is_absolute() and folder.is_relative_to(Path.cwd()):
        folder = folder.relative_to(Path.cwd())
    cc = compiler()
    if cc is None:
        print(
            f"not compiled: {folder}: no C compiler: install gcc (apt-get install gcc), or set CC"
        )
        return 0
    problems = check(folder, cc)
    for problem in problems:
        print(f"differs: {problem}", file=sys.stderr)
    if problems:
        print(f"FAIL: {folder}: {len(problems)} problem{'s' * (len(problems) > 1)}")
        return 1
    print(f"pass: {folder}: C, compiled by {cc}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
