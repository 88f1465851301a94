"""How training went: loss and accuracy by epoch, and which classes are taken for which."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Number, Part, Table, count, percent, small
from pipeline.report.sources import Source

MEASURES = ("loss", "accuracy")


def make(source: Source) -> Part:
    """Training curves and, if measured for these weights, the seconds they took."""
    if not source.curves:
        return Part("training", "Training", missing=[source.unmade("curves.csv")])
    part = Part("training", "Training")
    sets = [name for name in ("train", "validation") if f"{name}_loss" in source.curves[0]]
    if source.train:
        rule = "the last one, for there is no validation set"
        if "validation" in sets:
            rule = "the one with the lowest loss on the validation set"
        part.text.append(
            f"Stored are the weights of epoch {source.train['best_epoch']} of "
            f"{source.train['epochs']}, {rule}."
        )
    else:
        part.missing.append(source.unmade("train.json"))
    if source.timing:
        part.text.append(
            f"Training took {source.timing['seconds']:.0f} s on the machine that ran it, "
            f"{source.timing['samples_per_s']:.0f} samples a second."
        )
    head = ("epoch", *(f"{name}: {what}" for what in MEASURES for name in sets))
    rows = [
        (
            f"{row['epoch']:.0f}",
            *(small(row[f"{name}_loss"]) for name in sets),
            *(percent(row[f"{name}_accuracy"]) for name in sets),
        )
        for row in source.curves
    ]
    part.charts.extend(_curves(source, what, sets) for what in MEASURES)
    part.tables.append(Table("All epochs", head, rows, folded=True))
    return part


def _curves(source: Source, what: str, sets: list[str]) -> Chart:
    rows = [
        {"epoch": row["epoch"], "set": name, "value": row[f"{name}_{what}"]}
        for row in source.curves or []
        for name in sets
    ]
    label = f"{what.capitalize()} of {source.task} by epoch, {' and '.join(sets)} set"
    return chart("curve", f"curve-{what}-{source.task}", label, rows, what=what)


def confusion(source: Source) -> Part:
    """The confusion matrix of the test set as a picture and as numbers."""
    id, title = "confusion", "Confusion"
    if source.confusion is None:
        return Part(id, title, missing=[source.unmade("confusion.csv")])
    pairs = Counter((row["actual"], row["predicted"]) for row in source.confusion)
    names = source.bundle.manifest["classes"] if source.bundle else sorted({a for a, _ in pairs})
    of_class = Counter(row["actual"] for row in source.confusion)
    most = max((n for (a, p), n in pairs.items() if a != p), default=0)
    rows = [
        {
            "actual": a,
            "predicted": p,
            "samples": pairs[a, p],
            "share": pairs[a, p] / max(of_class[a], 1),
        }
        for a in names
        for p in names
    ]
    for row in rows:
        row["shade"] = _shade(row, most)
    label = (
        f"Confusion of {source.task} on the test set: rows are actual, columns predicted classes"
    )
    label += f"; red are errors, {most} where darkest" if most else "; no errors"
    picture = chart("confusion", f"confusion-{source.task}", label, rows, height=28 * len(names))
    return Part(id, title, charts=[picture], tables=[_matrix(names, pairs, of_class)])


def _shade(row: dict[str, Any], most: int) -> float:
    """How dark a cell is, 0 to 1: the share of the class where it is right, errors up to `most`.

    A single error is well apart from none.
    """
    if row["actual"] == row["predicted"]:
        return float(row["share"])
    return 0.2 + 0.8 * row["samples"] / most if row["samples"] else 0.0


def _matrix(names: list[str], pairs: Counter, of_class: Counter) -> Table:
    def right(name: str) -> Number | None:
        return percent(pairs[name, name] / of_class[name]) if of_class[name] else None

    return Table(
        "Test samples by actual (row) and predicted class (column)",
        ("actual", *names, "right"),
        [(a, *(count(pairs[a, p]) for p in names), right(a)) for a in names],
        folded=True,
    )
