"""How often the class is right, on which data and in which arithmetic, with Wilson's interval."""

from __future__ import annotations

from pipeline.report.chart import chart, nominal, quantitative
from pipeline.report.part import Part, Table, absent, interval
from pipeline.report.sources import Source

RUNS = {
    "trained": "trained model, float32",
    "reimported": "re-imported file, float32",
    "reference": "reference, float64",
}
HEAD = ("run", "accuracy", "right", "95 % from", "to")


def make(source: Source) -> Part:
    """A table and a chart of every accuracy that a stage measured."""
    found: list[tuple[str, dict]] = []
    missing = []
    if source.train:
        sets = source.train["accuracy"]
        found += [(f"{name} set, best epoch", sets[name]) for name in ("train", "validation")]
    else:
        missing.append(absent(f"{source.shown}/train.json", "make repro"))
    if source.parity:
        measured = source.parity["accuracy"]
        found += [(f"test set: {text}", measured[run]) for run, text in RUNS.items()]
    else:
        missing.append(absent(f"{source.shown}/parity.json", "make repro"))
    if not found:
        return Part("accuracy", "Accuracy", missing=missing)
    table = Table(
        f"Accuracy of {source.task}, with Wilson's 95 % interval",
        HEAD,
        [(run, *interval(entry)) for run, entry in found],
    )
    return Part(
        "accuracy", "Accuracy", charts=[_chart(source.task, found)], tables=[table], missing=missing
    )


def _chart(task: str, found: list[tuple[str, dict]]):
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
    x = {"axis": {"format": ".0%", "tickCount": 5}, "scale": {"zero": False, "nice": True}}
    y = nominal("run", None, axis={"labelLimit": 170})
    tooltip = [
        nominal("run", "run"),
        quantitative("accuracy", "accuracy", format=".2%"),
        nominal("right", "right"),
        quantitative("low", "95 % from", format=".2%"),
        quantitative("high", "to", format=".2%"),
    ]
    interval_of = {
        "mark": {"type": "rule", "strokeWidth": 2},
        "encoding": {
            "y": y,
            "x": quantitative("low", "accuracy", **x),
            "x2": {"field": "high"},
            "tooltip": tooltip,
        },
    }
    value = {
        "mark": {"type": "point", "size": 90, "opacity": 1},
        "encoding": {"y": y, "x": quantitative("accuracy", "accuracy", **x), "tooltip": tooltip},
    }
    label = f"Accuracy of {task} by run: points, with Wilson's 95 % interval as a line"
    return chart(
        f"accuracy-{task}", label, rows, {"layer": [interval_of, value]}, 30 * len(rows) + 10
    )
