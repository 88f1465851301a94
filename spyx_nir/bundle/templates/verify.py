"""Check this bundle: digests of all files, then the golden vectors, spike by spike.

A pass says that the files agree with each other. It does not say who made them: whoever changes the model
can change SHA256SUMS and this program, too. `spyx-nir verify` runs no program of the bundle.

Needs Python 3.10 or newer, numpy and h5py; nothing of the project that made the bundle. The model is
read from model.nir (HDF5) and run by the interpreter below, which follows NIR's equations in
float64. The folder measured/ is for files of your own and is not looked at. Exit code 0: everything is as
it was made. 1: something differs, and is named. 2: a package is missing.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import h5py
    import numpy as np
except ImportError as missing:
    print(f"error: verify.py needs numpy and h5py: {missing}", file=sys.stderr)
    sys.exit(2)

# <reference>
from spyx_nir.bundle.templates.shared import (
    FILE_BYTES,
    compared,
    difference,
    main,
    read,
    read_json,
    read_text,
)
from spyx_nir.meaning.reference import run

# </reference>

# ------------------------------------------------------------------------------------ the bundle

MODELS = ("model.nir", "model-nir-1.0.4.nir")
VECTORS = "test_data_set_0/vectors.npz"
MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
SIGNATURE = "model.sig"  # over all other files, by model-signing; it says who made the bundle
DVCS_CACHE = re.compile(r"/[0-9a-f]{2}/[0-9a-f]{30}$")
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
    if "edges" in result and "nodes" in result:  # else an entry of the metadata
        result["edges"] = [(a.decode("utf8"), b.decode("utf8")) for a, b in result["edges"]]
    return result


def read_graph(path: Path) -> dict[str, Any]:
    """The graph of a .nir file."""
    with h5py.File(path, "r") as file:
        return read_group(file["node"])


def regular_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """The files below `folder` by name, and a line for whatever is none; nothing is opened.

    `measured/`, `SHA256SUMS`, a signature and what `from verify import run` makes are left out. A link
    is a file where it leads into a cache of DVC, which may link the files that it checks out.
    """
    found: dict[str, Path] = {}
    problems = []
    for path in _entries(folder):
        name = path.relative_to(folder).as_posix()
        if name in (SUMS, SIGNATURE):
            continue
        if not name.isprintable():
            problems.append(f"{name}: a name with control characters")
        elif path.is_symlink() and not DVCS_CACHE.search(os.path.realpath(path)):
            problems.append(f"{name}: a link to {os.readlink(path)}; files are needed")
        elif not path.exists() or not stat.S_ISREG(path.stat().st_mode):
            problems.append(f"{name}: neither file nor folder")
        elif (size := path.stat().st_size) > FILE_BYTES:
            problems.append(f"{name}: {size} bytes; at most {FILE_BYTES} are read")
        else:
            found[name] = path
    return found, problems


def _entries(folder: Path, top: bool = True) -> Iterator[Path]:
    """All that is below a folder but folders; links are not followed."""
    for path in sorted(folder.iterdir()):
        if path.name == "__pycache__" or (top and path.name == MEASURED):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _entries(path, top=False)
        else:
            yield path


def sha256(path: Path) -> str:
    """The hexadecimal SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def wrong_digests(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Lines that say which files are missing, changed or not listed in SHA256SUMS; digests of the others.

    Raises:
        OSError, ValueError: SHA256SUMS cannot be read.
    """
    found, problems = regular_files(folder)
    refused = {problem.partition(":")[0] for problem in problems}
    if not stat.S_ISREG((folder / SUMS).stat().st_mode):
        raise ValueError("no regular file")
    listed: dict[str, str] = {}
    for number, line in enumerate(read_text(folder / SUMS).splitlines(), start=1):
        digest, _, name = line.partition("  ")
        if not name or not re.fullmatch("[0-9a-f]{64}", digest):
            problems.append(f"{SUMS}: line {number} is no digest and name")
        elif name in listed:
            problems.append(f"{SUMS}: line {number} lists {name} again")
        else:
            listed[name] = digest
    problems += [f"{name}: missing" for name in sorted(set(listed) - set(found) - refused)]
    problems += [f"{name}: not listed in {SUMS}" for name in sorted(set(found) - set(listed))]
    right = {}
    for name in sorted(set(found) & set(listed)):
        digest = sha256(found[name])
        if digest == listed[name]:
            right[name] = digest
        else:
            problems.append(f"{name}: SHA-256 is {digest}, {SUMS} says {listed[name]}")
    return problems, right


def facts_of(folder: Path) -> tuple[dict[str, Any], float]:
    """What manifest.json holds, and its `dt`.

    Raises:
        ValueError: there is none that can be read, or its `dt` is no number above 0.
    """
    try:
        facts = read_json(folder / MANIFEST)
    except OSError as error:
        raise ValueError(f"not readable ({error.strerror})") from None
    dt: Any = facts.get("dt")
    if type(dt) not in (int, float) or not dt > 0:
        raise ValueError(f"`dt` must be a number above 0, got {str(dt)[:40]!r}")
    return facts, float(dt)


def wrong_manifest(facts: dict[str, Any], right: dict[str, str], known: list[str]) -> list[str]:
    """Lines that say which files are not those that manifest.json was written for.

    right: the digests of the files that are as SHA256SUMS says. known: the lines on the other files.
    """
    entries = facts.get("files")
    if not isinstance(entries, dict) or not set(MODELS) <= set(entries):
        return [f"{MANIFEST}: `files` does not list {' and '.join(MODELS)}"]
    problems = []
    for name, entry in entries.items():
        digest = entry.get("sha256") if isinstance(entry, dict) else None
        if name not in right:
            if not any(line.startswith(f"{name}: ") for line in known):
                problems.append(f"{MANIFEST}: lists {name}, which is no file of the bundle")
        elif digest != right[name]:
            problems.append(f"{name}: SHA-256 is {right[name]}, {MANIFEST} says {digest}")
    return problems


def wrong_vectors(facts: dict[str, Any], vectors: dict[str, np.ndarray]) -> list[str]:
    """Lines that say where the golden vectors are not those of manifest.json, or show nothing."""
    if missing := {"input", "output"} - set(vectors):
        return [f"{VECTORS}: has no `{min(missing)}`"]
    problems = [
        f"{VECTORS}: `{key}` is {array.dtype} of shape {array.shape}; numbers (step, sample, neuron...) "
        "are needed"
        for key, array in vectors.items()
        if array.dtype.kind not in "biuf" or array.ndim < 3
    ]
    if problems:
        return problems
    about = facts.get("vectors")
    chosen = about.get("test_samples") if isinstance(about, dict) else None
    steps, samples = vectors["input"].shape[:2]
    if not isinstance(chosen, list) or len(chosen) != samples:
        problems.append(f"{VECTORS}: has {samples} samples, {MANIFEST} lists {_length(chosen)}")
    due: list[Any] = [facts.get(key) for key in ("n_steps", "silent_steps")]
    if [type(count) for count in due] != [int, int] or sum(due) != steps:
        problems.append(
            f"{VECTORS}: has {steps} steps, {MANIFEST} says {due[0]} and {due[1]} silent"
        )
    if not samples or not steps:
        problems.append(f"{VECTORS}: holds no sample, so nothing is compared")
    elif not any(array.any() for key, array in vectors.items() if key != "input"):
        problems.append(f"{VECTORS}: holds no spike, so nothing is shown: a silent network agrees")
    elif isinstance(about, dict):
        classes = vectors["output"].sum(axis=0, dtype=np.int64)
        if about.get("predicted") != classes.reshape(samples, -1).argmax(-1).tolist():
            problems.append(f"{MANIFEST}: `vectors.predicted` is not what {VECTORS} gives")
    return problems


def _length(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else "none"


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

    A file is read only where its digest is right: the HDF5 library (1.14) can loop for ever on texts in
    a damaged file.
    """
    try:
        problems, right = wrong_digests(folder)
    except (OSError, ValueError, RecursionError) as error:
        return [f"{SUMS}: not readable ({error})"]
    if unread := [name for name in (MANIFEST, VECTORS) if name not in right]:
        return [*problems, f"{unread[0]}: not read, because its digest is not the one in {SUMS}"]
    try:
        facts, dt = facts_of(folder)
    except ValueError as error:
        return [*problems, f"{MANIFEST}: {error}"]
    problems += wrong_manifest(facts, right, problems)
    try:
        vectors = read(folder / VECTORS)
        found = wrong_vectors(facts, vectors)
    except Exception as error:  # a broken file must become a line, whatever breaks
        return [*problems, f"{VECTORS}: not readable ({type(error).__name__}: {error})"]
    if found:
        return [*problems, *found]
    for name in MODELS:
        if name not in right:
            problems.append(f"{name}: not run, because its digest is not the one in {SUMS}")
            continue
        try:
            problems += wrong_spikes(folder, name, vectors, dt)
        except Exception as error:  # as above
            problems.append(f"{name}: not to be run ({type(error).__name__}: {error})")
    return problems


def passed(folder: Path) -> str:
    """What was seen where `check` finds nothing."""
    vectors = read(folder / VECTORS)
    samples = vectors.pop("input").shape[1]
    seen = compared(vectors.values(), "entries")
    return f"digests right, {samples} vectors reproduced by {' and '.join(MODELS)} ({seen})"


if __name__ == "__main__":
    about = "Check a bundle: its digests and its golden vectors. Needs numpy and h5py."
    sys.exit(main(check, passed, about))
