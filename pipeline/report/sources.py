"""What the stages left on disk, read once for all parts of the page.

A file that is there and cannot be read, or is not what a stage writes, is a UserError that names it.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema
from pipeline.report.part import absent
from spyx_nir import files
from spyx_nir.bundle.integers import NAME as INTEGERS
from spyx_nir.bundle.templates import shared
from spyx_nir.errors import UserError, one_line
from spyx_nir.hardware import profile

GENERIC = "generic"


class Record(dict[str, Any]):
    """A JSON object or a row of a table: a key that is not there is a mistake in the file `path`."""

    def __init__(self, content: Any, path: Path) -> None:
        super().__init__(content)
        self.path = path

    def __missing__(self, key: str) -> Any:
        raise UserError(f"{self.path}: `{key}` is missing; run make repro")


@dataclass(frozen=True, eq=False)
class Bundle:
    """A deploy bundle: its manifest, its golden vectors and the plan of its graph.

    vectors: `input`, `output` and the spikes of every neuron node, time-major (T, N, ...), channels
    first. plan: a `reference.Plan`.
    """

    folder: Path
    manifest: dict[str, Any]
    vectors: dict[str, np.ndarray]
    plan: Any

    @property
    def layers(self) -> list[str]:
        """The neuron nodes that have golden spikes, as they follow the edges."""
        names = [node["node"] for node in self.manifest["nodes"] if "neurons" in node]
        return [name for name in names if name in self.vectors]


@dataclass(frozen=True)
class Target:
    """What there is of a task on one chip; None for what is not there.

    integers: `integer_vectors.npz`, see `spyx_nir.bundle.integers`. emulated: what `make silicon` wrote.
    """

    name: str
    metrics: dict[str, Any] | None
    fit: dict[str, Any] | None
    bundle: Bundle | None
    integers: dict[str, np.ndarray] | None
    emulated: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Source:
    """What there is of one task; None for what is not there."""

    task: str
    folder: Path
    train: dict[str, Any] | None
    timing: dict[str, Any] | None
    parity: dict[str, Any] | None
    curves: list[Record] | None
    confusion: list[Record] | None
    bundle: Bundle | None
    targets: list[Target]

    def unmade(self, name: str) -> str:
        """The sentence for the file `name` of the task that is not there."""
        return absent(f"models/{self.task}/{name}", "make repro")

    def unbundled(self, name: str, target: str = GENERIC) -> str:
        """The same for a file of a bundle."""
        return absent(f"models/{self.task}/deploy/{target}/{name}", "make deploy-artifacts")


def read(root: Path, task: schema.Task) -> Source:
    """All there is of `task` below the project folder `root`."""
    folder = root / "models" / task.name
    found = bundles(folder / "deploy")
    chips = [profile.load(name).name for name in task.targets]  # a name, or a profile's path
    return Source(
        task=task.name,
        folder=folder,
        train=document(folder / "train.json"),
        timing=timing(folder),
        parity=document(folder / "parity.json"),
        curves=curves(folder / "curves.csv"),
        confusion=table(folder / "confusion.csv"),
        bundle=found.pop(GENERIC, None),
        targets=[
            target(root / "metrics" / f"{task.name}-{name}.json", name, found.get(name))
            for name in [*chips, *sorted(set(found) - set(chips))]
        ],
    )


def target(metrics: Path, name: str, found: Bundle | None) -> Target:
    """What there is of the chip `name`: a metrics file and a bundle."""
    measured = document(metrics)
    emulated = document(metrics.parent / "emulated" / metrics.name)
    if found is None:
        return Target(name, measured, None, None, None, emulated)
    path = (found.folder / found.manifest["vectors"]["file"]).with_name(INTEGERS)
    integers = arrays(path) if path.exists() else None
    fit = document(found.folder / "fit.json")
    return Target(name, measured, fit, found, integers, emulated)


def timing(folder: Path) -> dict[str, Any] | None:
    """How long the weights in `folder` were trained; None if nobody measured it for these weights."""
    measured, weights = document(folder / "timing.json"), folder / "weights.safetensors"
    if measured is None or not weights.is_file():
        return None
    return measured if measured["weights_sha256"] == files.sha256(weights) else None


def document(path: Path, kind: type = dict) -> Any:
    """A JSON document of `Record`s, or a list of them for `kind` list; None if there is no such file."""
    try:
        text = shared.read_text(path)
        value = json.loads(text, object_hook=lambda content: Record(content, path))
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}; run make repro") from None
    if not isinstance(value, kind):
        raise UserError(f"{path}: a JSON {kind.__name__} is needed, got {type(value).__name__}")
    return value


def table(path: Path) -> list[Record] | None:
    """The rows of a CSV file with a header; None if there is no such file."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return [
                # train.py puts an apostrophe before what a spreadsheet would run.
                Record({key: _cell(cell) for key, cell in row.items()}, path)
                for row in csv.DictReader(stream)
            ]
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not readable as CSV: {error}; run make repro") from None


def _cell(text: Any) -> Any:
    return text.removeprefix("'") if isinstance(text, str) else text


def curves(path: Path) -> list[Record] | None:
    """The training curves, a row per epoch; None if there is no such file."""
    rows = table(path)
    if rows is None:
        return None
    try:
        return [Record({key: float(cell) for key, cell in row.items()}, path) for row in rows]
    except (TypeError, ValueError):
        raise UserError(f"{path}: no table of numbers; run make repro") from None


def bundles(folder: Path) -> dict[str, Bundle]:
    """The bundles below `folder`, by the target that their manifest names; plain NIR is `generic`."""
    from spyx_nir.converter import file
    from spyx_nir.meaning.plan import make_plan

    found = {}
    for path in sorted(folder.glob("[!.]*/manifest.json")):
        manifest = document(path)
        name = manifest["target"]["name"] if "target" in manifest else GENERIC
        vectors = arrays(path.parent / manifest["vectors"]["file"])
        plan = make_plan(file.read_dict(path.parent / "model.nir"))
        found[name] = Bundle(path.parent, manifest, vectors, plan)
    return found


def arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file, which must be there."""
    try:
        return Record(shared.read(path), path)
    except Exception as error:  # a damaged archive raises errors of each of its layers
        raise UserError(
            f"{path}: not readable: {one_line(error)}; run make deploy-artifacts"
        ) from None
