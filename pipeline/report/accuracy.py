"""How often the class is right, on which data and in which arithmetic, with Wilson's interval."""

from __future__ import annotations

from typing import Any

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Part, Table, interval, percent
from pipeline.report.sources import Source

RUNS = {
    "trained": "test: trained, float32",
    "reimported": "test: re-imported, float32",
    "reference": "test: reference, float64",
}
CHIP_RUNS = {
    "float": "trained, float32",
    "ptq": "PTQ",
    "integer": "integers",
    "dequantised": "dequantised, by NIR's rule",
}
# Of chips that take events.
EVENT_RUNS = {
    "integer": "integers, event by event",
    "integer_in_steps": "integers, in steps",
    "float": "trained, float32",
    "ptq": "PTQ, in steps",
    "dequantised": "dequantised, by NIR's rule",
}
HEAD = ("run", "accuracy", "right", "95 % from", "to")


def make(source: Source) -> Part:
    """A table of every accuracy that the stages before the targets measured; a chart with all targets."""
    found: list[tuple[str, dict]] = []
    part = Part("accuracy", "Accuracy")
    if source.train:
        sets = source.train["accuracy"]
        kept = [name for name in ("train", "validation") if name in sets]
        found += [(f"{name}: stored epoch", sets[name]) for name in kept]
    else:
        part.missing.append(source.unmade("train.json"))
    if source.parity:
        measured = source.parity["accuracy"]
        found += [(text, measured[run]) for run, text in RUNS.items()]
    else:
        part.missing.append(source.unmade("parity.json"))
    chips = [
        (f"{target.name}: {text}", entry, target.name)
        for target in source.targets
        if target.metrics
        for text, entry in map(on_chip(target.metrics).__getitem__, ("ptq", "integer"))
    ]
    if found or chips:
        rows = [*((run, entry, "") for run, entry in found), *chips]
        part.charts.append(_picture(f"accuracy-{source.task}", source.task, rows, wide=True))
    if found:
        part.tables.append(table(source.task, found))
    return part


def on_chip(metrics: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    """The accuracies of a target's metrics: run -> what it is, in words, and its entry."""
    runs = EVENT_RUNS if "event_by_event" in metrics else CHIP_RUNS
    return {run: (text, metrics["accuracy"][run]) for run, text in runs.items()}


def table(what: str, found: list[tuple[str, dict]]) -> Table:
    """Accuracies by run as a table; see `metrics.accuracy_entry`."""
    rows = [(run, *interval(entry)) for run, entry in found]
    return Table(f"Accuracy of {what}, with Wilson's 95 % interval", HEAD, rows, folded=True)


def picture(id: str, what: str, found: list[tuple[str, dict]]) -> Chart:
    """The same as a chart, from 0 to 100 % as all charts of accuracies are."""
    return _picture(id, what, [(run, entry, "") for run, entry in found])


def _picture(id: str, what: str, found: list[tuple[str, dict, str]], wide: bool = False) -> Chart:
    """found: run, entry, and the chip by whose name it can be chosen, or ""."""
    rows = [
        {
            "run": run,
            "target": target,
            "accuracy": entry["accuracy"],
            "text": percent(entry["accuracy"]).text,
            "low": entry["wilson95"][0],
            "high": entry["wilson95"][1],
            "right": interval(entry)[1],
        }
        for run, entry, target in found
    ]
    label = f"Accuracy of {what} by run: points, with Wilson's 95 % interval as a line"
    return chart("accuracy", id, label, rows, wide=wide, height=30 * len(rows) + 10)
