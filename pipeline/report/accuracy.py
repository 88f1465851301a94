"""How often the class is right, on which data and in which arithmetic, with Wilson's interval."""

from __future__ import annotations

from pipeline.report.chart import chart
from pipeline.report.part import Chart, Part, Table, interval
from pipeline.report.sources import Source

RUNS = {
    "trained": "test: trained, float32",
    "reimported": "test: re-imported, float32",
    "reference": "test: reference, float64",
}
HEAD = ("run", "accuracy", "right", "95 % from", "to")


def make(source: Source) -> Part:
    """A table and a chart of every accuracy that a stage measured."""
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
    if found:
        part.charts.append(picture(f"accuracy-{source.task}", source.task, found))
        part.tables.append(table(source.task, found))
    return part


def table(what: str, found: list[tuple[str, dict]]) -> Table:
    """Accuracies by run as a table; see `metrics.accuracy_entry`."""
    rows = [(run, *interval(entry)) for run, entry in found]
    return Table(f"Accuracy of {what}, with Wilson's 95 % interval", HEAD, rows)


def picture(id: str, what: str, found: list[tuple[str, dict]]) -> Chart:
    """The same as a chart."""
    rows = [
        {
            "run": run,
            "accuracy": entry["accuracy"],
            "low": entry["wilson95"][0],
            "high": entry["wilson95"][1],
            "right": f"{entry['correct']} of {entry['n']}",
        }
        for run, entry in found
    ]
    label = f"Accuracy of {what} by run: points, with Wilson's 95 % interval as a line"
    return chart("accuracy", id, label, rows, height=30 * len(rows) + 10)
