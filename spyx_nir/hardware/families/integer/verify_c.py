"""Compile this bundle's C and compare every spike and every state with integer_vectors.npz.

Needs Python 3.10 or newer, numpy and a C compiler (`CC`, cc, gcc or clang); nothing of the project that
made the bundle. The program is c/host.c: it takes events over standard input. Exit code 0: all as in
test_data_set_0/integer_vectors.npz, or there is no compiler, which is said. 1: something differs, and is
named. 2: numpy is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ImportError as missing:
    print(f"error: verify_c.py needs numpy: {missing}", file=sys.stderr)
    sys.exit(2)

VECTORS = Path("test_data_set_0") / "integer_vectors.npz"
FLAGS = ("-std=c99", "-O2")  # without warnings: those of a compiler to come say nothing here
WORD = 32


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


def commands(x: np.ndarray, most: int, states: int | None = None) -> bytes:
    """Recordings (T, N, *shape) of counts as c/serial.h has them: R, for each step E ... S V, then C.

    most: counts above it are taken as that. states: of how many recordings states are read; None: all.
    """
    found = []
    for n in range(x.shape[1]):
        end = b"SV" if states is None or n < states else b"S"
        found.append(b"R")
        for counts in x[:, n]:
            where = np.nonzero(counts)
            times = np.minimum(counts[where], most).astype(np.int64)
            places = np.zeros((len(times), 3), "<u2")
            # (channels,), (channels, width) or (channels, height, width)
            axes = {1: (0,), 2: (0, 2), 3: (0, 1, 2)}[counts.ndim]
            for axis, index in zip(axes, where, strict=True):
                places[:, axis] = index
            events = np.empty(len(times), np.dtype([("command", "S1"), ("place", "<u2", 3)]))
            events["command"], events["place"] = b"E", places
            found += [np.repeat(events, times).tobytes(), end]
        found.append(b"C")
    return b"".join(found)


def layouts(network: dict[str, Any], steps: int) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """What comes back of a recording with states, and of one without."""
    sizes = {n["name"]: int(np.prod(n["shape"])) for n in network["neurons"]}
    words = sum(-(-size // WORD) for size in sizes.values())
    step: list[Any] = [("S", "S1"), ("events", "<u4"), ("ticks", "<u4"), ("spikes", "<u4", words)]
    currents = sum(sizes[name] for name in network["currents"])
    states = [("V", "S1"), ("current", "<i4", currents), ("membrane", "<i4", sum(sizes.values()))]
    whole, without = (
        np.dtype([("R", "S1"), ("step", np.dtype(fields), steps), ("C", "S1"), ("class", "<u4")])
        for fields in (step + states, step)
    )
    return whole, without


def answers(
    data: bytes, network: dict[str, Any], steps: int, samples: int, states: int | None = None
) -> dict[str, np.ndarray]:
    """What came back, by the keys of integer_vectors.npz; besides `events`, `ticks` (T, N), `class` (N,).

    States are those of the first `states` recordings. network: as `network_of` gives it.

    Raises:
        RuntimeError: too much or too little came back, or something else.
    """
    states = samples if states is None else states
    whole, without = layouts(network, steps)
    due = states * whole.itemsize + (samples - states) * without.itemsize
    if len(data) != due:
        raise RuntimeError(f"{len(data)} bytes came back, {due} are due")
    first = np.frombuffer(data[: states * whole.itemsize], whole)
    rest = np.frombuffer(data[states * whole.itemsize :], without)
    marks = [(part[key], key) for part in (first, rest) for key in "RC"]
    marks += [(part["step"]["S"], "S") for part in (first, rest)] + [(first["step"]["V"], "V")]
    if any((said != key.encode()).any() for said, key in marks):
        raise RuntimeError("the answers are not in step with the commands: a byte was lost")
    found = {
        key: np.concatenate([first["step"][key], rest["step"][key]]).swapaxes(0, 1)
        for key in ("events", "ticks", "spikes")
    }
    bits = np.unpackbits(found.pop("spikes").copy().view(np.uint8), axis=-1, bitorder="little")
    flat = {kind: first["step"][kind].swapaxes(0, 1) for kind in ("current", "membrane")}
    flat["spikes"] = bits
    at = dict.fromkeys(flat, 0)
    for n in network["neurons"]:
        name, shape, size = n["name"], tuple(n["shape"]), int(np.prod(n["shape"]))
        for kind, array in flat.items():
            if kind == "current" and name not in network["currents"]:
                continue
            part = array[..., at[kind] : at[kind] + size]
            at[kind] += -(-size // WORD) * WORD if kind == "spikes" else size
            last = part.reshape(*part.shape[:2], *shape[1:], shape[0])  # channels last
            found[f"{kind}/{name}"] = np.moveaxis(last, -1, 2)
    return found | {"class": np.concatenate([first["class"], rest["class"]])}


def differences(found: dict[str, np.ndarray], arrays: dict[str, np.ndarray]) -> list[str]:
    """A line for every population whose spikes or states are not those of `arrays`.

    States are compared for as many recordings as were read.
    """
    problems = []
    for key in sorted(
        k for k in arrays if k.partition("/")[0] in ("spikes", "current", "membrane")
    ):
        differs = found[key] != arrays[key][:, : found[key].shape[1]]
        if differs.any():
            first = tuple(int(i) for i in np.argwhere(differs)[0])
            problems.append(
                f"{key}: {int(differs.sum())} of {differs.size} entries differ, the first at (step, "
                f"sample, neuron...) = {first}"
            )
    return problems


def network_of(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """The `network` of integer_vectors.npz, with `currents`."""
    network: dict[str, Any] = json.loads(str(arrays["network"]))
    names = [n["name"] for n in network["neurons"]]
    return {**network, "currents": [name for name in names if f"decay_syn/{name}" in arrays]}


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
