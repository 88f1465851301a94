"""Damaged bundles and releases for `bench.fuzz` and `bench.guided`.

A case is a small good bundle, or a release of one, of which one file is changed: its bytes, a value
of its JSON, an array of its `.npz`, the graph of its `.nir`, the inside of its archive. In three of four
cases SHA256SUMS says the new digest, in two of them manifest.json or provenance.json, too, so that the
readers behind the digests are reached. `verify` and `summary` must end with a verdict in lines.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import resource
import shutil
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np

from bench import fuzz

MANIFEST, SUMS, PROVENANCE = "manifest.json", "SHA256SUMS", "provenance.json"
CHIPS = ("loihi", "cortex-m")
NAME = "small-1.0.0"  # of the bundle in the release
GROWTH = 2**30  # bytes that a case of some kilobytes may take
VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1,
    2,
    10**9,
    10**12,
    2**63,
    1e308,
    1e-300,
    0.5,
    "",
    "x" * 99,
]
VALUES += [
    "a\nb",
    "../x",
    "input",
    "n",
    "loihi",
    [],
    {},
    [0],
    [[1, 2], [3]],
    {"n": 1},
    "\x1b[2J\u202e",
]
Files = dict[str, bytes]


# ------------------------------------------------------------------------------------------- seeds


def seeds(place: Path) -> list[Files]:
    """Good bundles by file name, two chips' and one for no chip, and a release; made in `place`."""
    from pipeline.commands.release import pack
    from spyx_nir.bundle.releases import BUILD_TYPE

    graph, x, labels = _network()
    nir.write(place / "small.nir", graph)
    np.savez(place / "data.npz", x=x, y=labels)
    words = ["build", str(place / "small.nir"), "--calibrate", str(place / "data.npz")]
    words += [word for chip in CHIPS for word in ("--target", chip)]
    with contextlib.redirect_stdout(io.StringIO()):
        _main(*words, "-o", str(place / "out"))
    _generic(place / "out" / "generic", graph, x[:, :2], labels[:2])
    made = [files_of(place / "out" / name) for name in (*CHIPS, "generic")]
    archive = {f"{NAME}.tar.gz": pack(place / "out" / "generic", NAME)}
    subjects = [{"name": f"{NAME}.tar.gz", "digest": {"sha256": ""}}]
    definition = {"buildDefinition": {"buildType": BUILD_TYPE}}
    archive[PROVENANCE] = json.dumps({"subject": subjects, "predicate": definition}).encode()
    return [*made, summed(archive, own=True)]


def _network() -> tuple[nir.NIRGraph, np.ndarray, np.ndarray]:
    """A graph with a contract, 2 inputs to 2 neurons that spike for every event; counts, labels."""
    ones, labels = np.ones(2), np.arange(20) % 2
    neurons = nir.LIF(
        tau=2 * ones, r=2 * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones,
        metadata={"reset": "v_reset", "spike_delay": 0},
    )  # fmt: skip
    nodes = {"input": nir.Input(np.array([2])), "w": nir.Linear(1.5 * np.eye(2)), "n": neurons}
    nodes["output"] = nir.Output(np.array([2]))
    x = np.zeros((12, 20, 2), np.uint8)
    x[::3, np.arange(20), labels] = 1
    edges = [("input", "w"), ("w", "n"), ("n", "output")]
    metadata = {"dt": 1.0, "contract_version": 1, "time_unit": "step"}
    return nir.NIRGraph(nodes, edges, metadata=metadata), x, labels


def _generic(place: Path, graph: nir.NIRGraph, x: np.ndarray, labels: np.ndarray) -> None:
    """A bundle for no chip."""
    from spyx_nir.bundle import card, events, folder
    from spyx_nir.bundle.manifest import About
    from spyx_nir.converter import file
    from spyx_nir.hardware.topology import planned
    from spyx_nir.meaning import reference

    place.mkdir()
    file.write(place / "model.nir", graph)
    plan = planned(file.read_dict(place / "model.nir")).plan
    result = reference.run(plan, x, 1.0)
    encoding = events.Encoding((2, 1, 1), (2,), ["any"], len(x), 1000)
    addresses = events.address_map(encoding, {"n": (2,)}, {}, ["0", "1"])
    recordings = [events.of_frames(x[:, n], encoding) for n in range(x.shape[1])]
    events.write(place / events.FOLDER, recordings, addresses)
    (output,) = result.outputs.values()
    spikes = {name: found.astype(np.uint8) for name, found in result.spikes.items()}
    golden = folder.Golden(np.arange(2), labels, x, output.astype(np.uint8), spikes)
    entry = {"accuracy": 1.0, "correct": 20, "n": 20, "wilson95": [0.8388748419471806, 1.0]}
    cost = {
        "Footprint": 16,
        "ParameterCount": 4,
        "ClassificationAccuracy": 1.0,
        "MembraneUpdates": 2.0,
    }
    more = {
        "name": "small",
        "metrics": {
            "neurobench": {**cost, "SynapticOperations": {"Dense": 48.0}},
            "test_accuracy": {"trained": entry, "reimported": entry},
            "test_samples": 20,
        },
    }
    about = About(
        1.0, "step", 1000, len(x), ["0", "1"], ["any"], "counts", ("spyx-nir", "nir", "numpy"), more
    )
    folder.complete(place, graph, plan, about, golden, card.common)


def files_of(folder: Path) -> Files:
    """The files below a folder."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def summed(files: Files, own: bool) -> Files:
    """With right digests in SHA256SUMS; `own`: and in manifest.json or provenance.json."""
    files = {name: content for name, content in files.items() if name != SUMS}
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    if own:
        with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
            name = MANIFEST if MANIFEST in files else PROVENANCE
            content = json.loads(files[name])
            for at, entry in content["files"].items() if name == MANIFEST else ():
                entry["sha256"] = digests[at]
            for entry in content["subject"] if name == PROVENANCE else ():
                entry["digest"]["sha256"] = digests[entry["name"]]
            files[name] = json.dumps(content).encode()
            digests[name] = hashlib.sha256(files[name]).hexdigest()
    lines = [f"{digest}  {name}\n" for name, digest in sorted(digests.items())]
    return {**files, SUMS: "".join(lines).encode()}


# ------------------------------------------------------------------------------------------ damage


def damage_json(rng: Any, content: Any) -> Any:
    """One to four values of a JSON value changed, removed or taken from elsewhere in it."""
    for _ in range(rng.geometric(0.7)):
        places = list(_places(content))
        if not places:
            return VALUES[int(rng.integers(len(VALUES)))]
        parent, key = places[int(rng.integers(len(places)))]
        what, old = rng.integers(8), parent[key]
        if what == 0:
            del parent[key]
        elif what == 1:
            other, name = places[int(rng.integers(len(places)))]
            parent[key] = json.loads(json.dumps(other[name])) if name in _keys(other) else None
        elif what == 2 and isinstance(old, list):
            old *= int(rng.integers(4))
        elif what == 3 and type(old) in (int, float):
            parent[key] = old * int(rng.choice([-1, 2, 1000, 10**6, 10**9]))
        else:
            parent[key] = json.loads(json.dumps(VALUES[int(rng.integers(len(VALUES)))]))
    return content


def _keys(value: Any) -> list[Any]:
    return list(value) if isinstance(value, dict) else list(range(len(value)))


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every entry of the objects and lists in a JSON value: what holds it, and its key."""
    if not isinstance(value, dict | list):
        return []
    return [at for key in _keys(value) for at in ((value, key), *_places(value[key]))]


def damage_arrays(rng: Any, raw: bytes) -> bytes:
    """An array of an `.npz` file changed, removed or named otherwise."""
    with np.load(io.BytesIO(raw)) as stored:
        arrays = dict(stored)
    name = sorted(arrays)[int(rng.integers(len(arrays)))]
    what, old = rng.integers(8), arrays[name]
    if what == 0:
        del arrays[name]
    elif what == 1:
        arrays[f"{name}2"] = arrays.pop(name)
    elif what == 2:
        arrays[name] = arrays[sorted(arrays)[int(rng.integers(len(arrays)))]]
    elif old.dtype.kind == "U" and what < 7:
        arrays[name] = np.array(json.dumps(damage_json(rng, json.loads(str(old)))))
    elif old.dtype.names and what < 7 and len(old):
        field = old.dtype.names[int(rng.integers(len(old.dtype.names)))]
        old[field][int(rng.integers(len(old)))] = int(rng.choice([-1, 0, 1, 2, 99, 2**15 - 1]))
    elif old.dtype.kind in "biu" and what < 5 and old.size:
        changed = old.astype(np.int64)
        number = int(rng.choice([-1, 0, 1, 2, 255, 2**31, 2**62, -(2**63)]))
        changed.reshape(-1)[int(rng.integers(old.size))] = number
        arrays[name] = changed
    else:
        arrays[name] = np.asarray(fuzz.value_for(rng, old))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, array, allow_pickle=False)
    return stream.getvalue()


def damage_model(rng: Any, raw: bytes, place: Path) -> bytes:
    """The graph of a `.nir` file changed; `place`: a file to be overwritten."""
    from spyx_nir.bundle.templates.verify import read_graph

    place.write_bytes(raw)
    graph = read_graph(place)
    try:
        fuzz.write(place, fuzz.damage_graph(rng, graph))
    except (ValueError, TypeError, OSError):
        return b""  # HDF5 itself cannot hold it
    return place.read_bytes()


def damage_file(rng: Any, name: str, raw: bytes, place: Path) -> bytes:
    """Another content for the file `name`, by its kind or, in one of five cases, byte by byte."""
    kinds: dict[str, Callable[[], bytes]] = {
        ".json": lambda: json.dumps(damage_json(rng, json.loads(raw))).encode(),
        ".npz": lambda: damage_arrays(rng, raw),
        ".nir": lambda: damage_model(rng, raw, place),
        ".gz": lambda: gzip.compress(
            bytes(fuzz.damage_bytes(rng, bytearray(gzip.decompress(raw)))), mtime=0
        ),
    }
    kind = kinds.get(Path(name).suffix)
    if kind is None or rng.integers(5) == 0:
        return bytes(fuzz.damage_bytes(rng, bytearray(raw)))
    return kind()


class Bundles:
    """Makes the folder of a case and gives it to `verify` and `summary`."""

    def __init__(self, place: Path):
        (place / "seeds").mkdir(parents=True)
        self.good = seeds(place / "seeds")
        self.folder, self.scratch = place / "bundle", place / "scratch.nir"

    def make(self, rng: Any) -> bool:
        """Write the folder of a case; whether its digests must give the change away."""
        files = dict(self.good[int(rng.integers(len(self.good)))])
        names = sorted(files)
        if rng.integers(8):  # what is read for more than its digest
            suffixes = (".json", ".npz", ".nir", ".gz")
            names = [name for name in names if name.endswith(suffixes)]
        name = names[int(rng.integers(len(names)))]
        before = files[name]
        files[name] = damage_file(rng, name, before, self.scratch)
        changed = files[name] != before and name != SUMS
        if mended := rng.integers(4):
            files = summed(files, own=mended > 1)
        self.write(files)
        return changed and not mended

    def write(self, files: Files) -> None:
        """The files as the folder of a case."""
        shutil.rmtree(self.folder, ignore_errors=True)
        for name, content in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(content)

    def check(self, changed: bool = False) -> list[str]:
        """What `verify` and `summary` end in; changed: a digest is wrong.

        Raises:
            AssertionError, or whatever was not meant to escape: a finding.
        """
        before = _peak()
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            code = _main("verify", str(self.folder))
            shown = _main("summary", str(self.folder))
        assert not (changed and code == 0), "a file with a wrong digest passes"
        assert (grown := _peak() - before) < GROWTH, f"{grown} bytes more"
        return [f"verify {code}", f"summary {shown}"]

    def run(self, raw: bytes) -> list[str]:
        """What the case of `bench.guided` with these bytes ends in."""
        from bench.guided import Decisions

        return self.check(self.make(Decisions(raw)))

    def run_one(self, raw: bytes) -> None:
        """As libFuzzer wants it."""
        self.run(raw)


def _main(*arguments: str) -> int:
    """A command in this process: its exit code.

    Raises:
        AssertionError: what it says is no verdict.
    """
    from spyx_nir.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(arguments)
    said = err.getvalue().splitlines()
    assert code in (0, 1), (arguments, code)
    assert len(said) <= 200, (arguments, said[:20])
    assert all(line.startswith(("error: ", "warning: ", "differs: ")) for line in said), said
    assert sum(line.startswith("error: ") for line in said) <= 1, said
    assert all(len(line) < 3000 and line.isprintable() for line in said), said
    assert not any("MemoryError" in line for line in said), said  # it asked for gigabytes
    wrong = [line for line in said if not line.startswith("warning: ")]
    assert bool(wrong) == bool(code), (arguments, code, said)
    return code


def _peak() -> int:
    """The most memory that this process has had so far, in bytes (Linux counts KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
