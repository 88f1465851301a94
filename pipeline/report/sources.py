"""What the stages left on disk, read once for all parts of the page."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import UserError


@dataclass(frozen=True)
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
class Source:
    """What there is of one task; None for what is not there. `shown` is its folder as one says it."""

    task: str
    folder: Path
    shown: str
    train: dict[str, Any] | None
    parity: dict[str, Any] | None
    curves: list[dict[str, float]] | None
    confusion: list[dict[str, str]] | None
    bundle: Bundle | None


def read(root: Path, task: str) -> Source:
    """All there is of `task` below the project folder `root`.

    Raises:
        UserError: a file is there and cannot be read; names it.
    """
    folder = root / "models" / task
    return Source(
        task=task,
        folder=folder,
        shown=f"models/{task}",
        train=document(folder / "train.json"),
        parity=document(folder / "parity.json"),
        curves=curves(folder / "curves.csv"),
        confusion=table(folder / "confusion.csv"),
        bundle=bundle(folder / "deploy"),
    )


def document(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if there is no such file.

    Raises:
        UserError: the file is something else.
    """
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise UserError(f"{path}: not readable as JSON: {error}; run make repro") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is needed, got {type(value).__name__}")
    return value


def table(path: Path) -> list[dict[str, str]] | None:
    """The rows of a CSV file with a header; None if there is no such file."""
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except FileNotFoundError:
        return None


def curves(path: Path) -> list[dict[str, float]] | None:
    """The training curves, a row per epoch; None if there is no such file.

    Raises:
        UserError: a cell is no number.
    """
    rows = table(path)
    if rows is None:
        return None
    try:
        return [{key: float(cell) for key, cell in row.items()} for row in rows]
    except (TypeError, ValueError):
        raise UserError(f"{path}: no table of numbers; run make repro") from None


def bundle(folder: Path) -> Bundle | None:
    """The bundle in `folder`; None if there is none.

    Raises:
        UserError: it is incomplete or broken.
    """
    manifest = document(folder / "manifest.json")
    if manifest is None:
        return None
    from pipeline.converter import file, reference

    path = folder / manifest["vectors"]["file"]
    try:
        with np.load(path, allow_pickle=False) as stored:
            vectors = {name: stored[name] for name in stored.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable: {error}; run make deploy-artifacts") from None
    plan = reference.make_plan(file.read_dict(folder / "model.nir"))
    return Bundle(folder, manifest, vectors, plan)
