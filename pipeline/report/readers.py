"""How other frameworks read the same files: the matrix that `make peers` measures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.interop import matrix
from pipeline.report import sources
from pipeline.report.part import NOTHING, Part, Table, absent, count, interval, percent

MARKS = {"faithful": "✓ ", "wrong": "✗ "}  # the other verdicts are neither right nor wrong


def make(root: Path, found: list[sources.Source]) -> Part:
    """A table of verdicts, readers by bundles, and one with the reasons for every bundle.

    Of a bundle whose file is another than the one that was read, nothing is shown.

    Raises:
        UserError: the matrix cannot be read.
    """
    id, title = "readers", "Readers"
    measured = sources.document(root / matrix.REPORT, list)
    if measured is None:
        return Part(id, title, missing=[absent(matrix.REPORT, "make peers")])
    read = {entry["bundle"]: entry["model_nir_sha256"] for entry in measured}
    now = {
        bundle.folder.relative_to(root).as_posix(): bundle.manifest["files"]["model.nir"]["sha256"]
        for source in found
        for bundle in [source.bundle, *(target.bundle for target in source.targets)]
        if bundle
    }
    same = [entry for entry in measured if now.get(entry["bundle"]) == entry["model_nir_sha256"]]
    return Part(
        id,
        title,
        printed=NOTHING,
        text=[
            "faithful: every spike is the reference's, but for ties that rounding decides; explained: "
            "other spikes than the reference's, and a rule that the reader is known for gives them; "
            "wrong: neither; refused: an error; read: accepted, and nothing was run. Accuracy and "
            "differing spikes are those of the reader, of the same samples for all readers of a bundle."
        ],
        tables=[_verdicts(same), *(_reasons(entry) for entry in same)] if same else [],
        missing=[
            *(
                f"{name} is no longer the file that was read, so none of it is shown: run make peers"
                for name, digest in read.items()
                if now.get(name) != digest
            ),
            *(f"no reader was given {name}: run make peers" for name in now if name not in read),
        ],
    )


def _name(row: dict[str, Any]) -> str:
    """The reader, and by which export profile the file was rewritten for it, if it was."""
    profile = "" if row["file"] == matrix.AS_SHIPPED else f", profile {row['file']}"
    return row["title"] + profile


def _verdicts(measured: list[dict[str, Any]]) -> Table:
    # A reader's files beside each other, though not every bundle has all of them.
    found = [row for entry in measured for row in entry["rows"]]
    titles = list(dict.fromkeys(row["title"] for row in found))
    found.sort(key=lambda row: (titles.index(row["title"]), row["file"] != matrix.AS_SHIPPED))
    names = dict.fromkeys(map(_name, found))
    verdicts = [{_name(row): _verdict(row) for row in entry["rows"]} for entry in measured]
    rows = [(name, *(column.get(name) for column in verdicts)) for name in names]
    head = ("reader and file", *map(_column, measured))
    return Table("Verdicts on every bundle", head, rows, words=True)


def _column(entry: dict[str, Any]) -> str:
    """The task and target of models/TASK/deploy/TARGET, and how many recordings the readers got."""
    return f"{' '.join(Path(entry['bundle']).parts[1::2])}, {count(entry['samples']).text} samples"


def _verdict(row: dict[str, Any]) -> str:
    """A verdict with what the reader's spikes gave, where it gave any; a tick for faithful alone."""
    verdict = row["verdict"]
    text = f"{MARKS.get(verdict, '')}{verdict}"
    if hit := row.get("accuracy"):
        differing = count(row["differing_spikes"]).text
        right = percent(hit["accuracy"]).text.replace(" ", "\u00a0")  # no line ends within
        return f"{text}: {right}, {differing} differing spikes"
    return f"{text}, nothing was run" if verdict == "read" else text


def _reasons(entry: dict[str, Any]) -> Table:
    head = ("reader and file", "verdict", "accuracy", "right", "differing spikes", "of", "why")
    rows = []
    for row in entry["rows"]:
        counted: tuple[Any, ...] = (None, None, None, None)
        if hit := row.get("accuracy"):
            counted = *interval(hit)[:2], count(row["differing_spikes"]), count(row["entries"])
        rows.append((_name(row), row["verdict"], *counted, "; ".join(matrix.reasons(row))))
    read = f"{entry['samples']} of {count(entry['test_samples']).text} test samples"
    return Table(f"Readers of {entry['bundle']}, {read}", head, rows, folded=True, words=True)
