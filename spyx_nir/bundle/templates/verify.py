"""Check this bundle: digests of all files, then the golden vectors, spike by spike.

Needs Python 3.10 or newer, numpy and h5py; nothing of the project that made the bundle. The model is
read from model.nir (HDF5) and run by the interpreter below, which follows NIR's equations in
float64. The folder measured/ is for files of your own and is not looked at. Exit code 0: everything is as
it was made. 1: something differs, and is named. 2: a package is missing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"error: verify.py needs numpy and h5py: {missing}", file=sys.stderr)
    sys.exit(2)

# <reference>
from spyx_nir.bundle.templates.shared import difference, main, read
from spyx_nir.meaning.reference import run

# </reference>

# ------------------------------------------------------------------------------------ the bundle

MODELS = ("model.nir", "model-nir-1.0.4.nir")
VECTORS = "test_data_set_0/vectors.npz"
MEASURED = "measured"  # the folder for what somebody measures with this bundle


def read_group(group: h5py.Group) -> dict[str, Any]:
    """An HDF5 group as a dictionary: the form of `nir.NIRGraph.to_dict()`.

    Links that lead out of the file are refused.
    """
    result: dict[str, Any] = {}
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{group.name}/{name} is a link, not data")
        item = group[name]
        if isinstance(item, h5py.Group):
            result[name] = read_group(item)
        else:
            value = item[()]
            result[name] = value.decode("utf8") if isinstance(value, bytes) else value
    if "edges" in result:
        result["edges"] = [(a.decode("utf8"), b.decode("utf8")) for a, b in result["edges"]]
    return result


def read_graph(path: Path) -> dict[str, Any]:
    """The graph of a .nir file."""
    with h5py.File(path, "r") as file:
        return read_group(file["node"])


def wrong_digests(folder: Path) -> tuple[list[str], set[str]]:
    """Lines that say which files are missing, changed or not listed in SHA256SUMS; those as listed."""
    lines = (folder / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
        and path.parent.name != "__pycache__"  # made by `from verify import run`
        and path.relative_to(folder).parts[0] != MEASURED
    }
    problems = [
        f"SHA256SUMS: line {number} is no digest and name"
        for number, line in enumerate(lines, start=1)
        if not line.partition("  ")[2]
    ]
    problems += [f"{name}: missing" for name in sorted(set(listed) - found - {""})]
    for name in sorted(found - set(listed) - {"SHA256SUMS"}):
        problems.append(f"{name}: not listed in SHA256SUMS")
    right = set()
    for name in sorted(found & set(listed)):
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        if digest == listed[name]:
            right.add(name)
        else:
            problems.append(f"{name}: SHA-256 is {digest}, SHA256SUMS says {listed[name]}")
    return problems, right


def wrong_spikes(folder: Path, name: str, vectors: dict[str, np.ndarray], dt: float) -> list[str]:
    """Lines that say where the file `name`, run on the vectors, differs from them.

    vectors: input, output and the spikes of every neuron node, (T, N, ...).
    """
    result = run(read_graph(folder / name), vectors["input"], dt)
    (output,) = result.outputs.values()
    problems = []
    for key in sorted(set(result.spikes) - set(vectors)):
        problems.append(f"{name}: node {key} spikes, but {VECTORS} has no such key")
    for key, expected in vectors.items():
        if key == "input":
            continue
        if key != "output" and key not in result.spikes:
            problems.append(f"{name}: {VECTORS} has {key}, which is no spiking node")
            continue
        got = output if key == "output" else result.spikes[key]
        if got.shape != expected.shape:
            problems.append(f"{name}: {key} has shape {got.shape}, expected {expected.shape}")
        elif (got != expected).any():
            problems.append(f"{name}: {difference(got != expected, f' of {key}')}")
    return problems


def check(folder: Path) -> list[str]:
    """Every problem with the bundle in `folder`, one line each.

    A model is run only where its digest is right: the HDF5 library (1.14) can loop for ever on texts in
    a damaged file.
    """
    try:
        problems, right = wrong_digests(folder)
    except (OSError, UnicodeDecodeError) as error:
        problems, right = [f"SHA256SUMS: not readable ({error})"], set()
    try:
        dt = float(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["dt"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        return [*problems, f"manifest.json: no dt to be read ({type(error).__name__}: {error})"]
    try:
        vectors = read(folder / VECTORS)
    except Exception as error:  # a broken file must become a line, whatever breaks
        return [*problems, f"{VECTORS}: not readable ({type(error).__name__}: {error})"]
    for name in MODELS:
        if name not in right:
            problems.append(f"{name}: not run, because its digest is not the one in SHA256SUMS")
            continue
        try:
            problems += wrong_spikes(folder, name, vectors, dt)
        except Exception as error:  # as above
            problems.append(f"{name}: not to be run ({type(error).__name__}: {error})")
    return problems


def passed(folder: Path) -> str:
    """What was seen where `check` finds nothing."""
    samples = read(folder / VECTORS)["input"].shape[1]
    return f"digests right, {samples} vectors reproduced by {' and '.join(MODELS)}"


if __name__ == "__main__":
    about = "Check a bundle: its digests and its golden vectors. Needs numpy and h5py."
    sys.exit(main(check, passed, about))
