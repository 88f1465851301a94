"""How a chip's network behaves in integers: rates, latency, robustness, quantisation by layer."""

from __future__ import annotations

from typing import Any

from pipeline.report import accuracy
from pipeline.report.chart import chart
from pipeline.report.part import Number, Part, Table, count, interval, measured, percent
from pipeline.report.sources import Source

KEYS = ("rates", "latency", "robustness", "quantisation")
NUMBERS = {"ptq": "PTQ", "integer": "shipped"}


def add(part: Part, id: str, what: str, metrics: dict[str, Any]) -> None:
    """Charts and tables of `KEYS` to `part`. id: ends their ids. what: task and target, in words."""
    latency, robustness = metrics["latency"], metrics["robustness"]
    rows = [
        {key: entry[key] for key in ("ms", "steps", "accuracy")}
        | {"low": entry["wilson95"][0], "high": entry["wilson95"][1]}
        for entry in latency["accuracy_over_time"]
    ]
    label = (
        f"Accuracy of {what} by the time of the recording, with Wilson's 95 % interval as a band"
    )
    part.charts.append(chart("over_time", f"over-time-{id}", label, rows))
    disturbed = [
        (_disturbance(row, metrics["rates"]["step_ms"]), row) for row in robustness["disturbances"]
    ]
    title = f"{what}, {robustness['n']} recordings, disturbed"
    part.charts.append(accuracy.picture(f"robustness-{id}", title, disturbed))
    part.tables.extend([
        _rates(metrics["rates"]),
        _latency(latency),
        _over_time(latency),
        _robustness(disturbed, robustness["n"]),
        _quantisation(metrics["quantisation"]),
    ])  # fmt: skip


def decision(source: Source) -> Part:
    """Accuracy by the time of a recording, all targets of a task together."""
    part = Part("decision", "Time to decision")
    found = {
        target.name: target.metrics["latency"]
        for target in source.targets
        if target.metrics and "latency" in target.metrics
    }
    if not found:
        part.missing.append(f"no target of {source.task} was measured: run make deploy-artifacts")
        return part
    part.text.append(
        "The class is the one with the most spikes so far. "
        "Lines of targets that share a network coincide."
    )
    rows = [
        {key: entry[key] for key in ("ms", "steps", "accuracy")}
        | {"target": name, "right": f"{entry['correct']} of {entry['n']}"}
        for name, latency in found.items()
        for entry in latency["accuracy_over_time"]
    ]
    label = f"Accuracy of {source.task} by the time of the recording, a line for each target"
    part.charts.append(chart("decision", f"decision-{source.task}", label, rows, wide=True))
    shown = [
        (
            name,
            *(_or_none(latency[key]) for key in ("median_ms", "p95_ms")),
            count(latency["undecided"]),
        )
        for name, latency in found.items()
    ]
    head = ("target", "ms for half of the recordings", "ms for 95 %", "without an output spike")
    part.tables.append(Table("When the decision stays", head, shown))
    return part


def _rates(rates: dict[str, Any]) -> Table:
    def row(name: str, rate: dict[str, Any], limit: Any) -> tuple[Any, ...]:
        return name, measured(rate["mean_per_s"]), measured(rate["peak_per_s"]), limit

    def place(layer: dict[str, Any]) -> str:
        core = "" if layer["core"] is None else f", core {layer['core']}"
        return f"synaptic operations into {layer['node']}{core}"

    rows = [
        row("input events", rates["events"], None),
        row("synaptic operations", rates["synops"], None),
    ]
    for layer in rates["layers"]:
        limit = layer["limit_per_s"]
        text = "no published limit" if limit is None else measured(limit)
        rows.append(row(place(layer), layer, text))
    head = ("what", "mean a second", "peak a second", "limit a second")
    return Table(f"Rates on the test set, peaks in steps of {rates['step_ms']:g} ms", head, rows)


def _latency(latency: dict[str, Any]) -> Table:
    rows: list[tuple[Any, ...]] = [
        (f"{text} decided by", *(_or_none(latency[f"{key}_{unit}"]) for unit in ("steps", "ms")))
        for key, text in (("median", "half of the recordings"), ("p95", "95 % of them"))
    ]
    rows.append(("a recording's steps", count(latency["recording_steps"]), None))
    rows.append(("recordings without an output spike", count(latency["undecided"]), None))
    return Table("Latency to the decision that stays", ("what", "steps", "ms"), rows)


def _or_none(value: float | None) -> Number | str:
    return "none is decided" if value is None else measured(value)


def _over_time(latency: dict[str, Any]) -> Table:
    rows = [
        (f"{entry['ms']:g} ms, {entry['steps']} steps", *interval(entry))
        for entry in latency["accuracy_over_time"]
    ]
    head = ("time of the recording", *accuracy.HEAD[1:])
    return Table("Accuracy over time", head, rows, folded=True)


def _disturbance(row: dict[str, Any], step_ms: float) -> str:
    level = row["level"]
    match row["kind"]:
        case "lost_events":
            return f"{100 * level:g} % of events lost"
        case "jitter_steps":
            return f"jitter of ±{level} step, {level * step_ms:g} ms"
        case "flipped_bits":
            return f"bits flipped, {level:g} each"
        case "hot_channels":
            return f"{level} hot channel{'s' if level > 1 else ''}"
    return "undisturbed"


def _robustness(disturbed: list[tuple[str, dict[str, Any]]], n: int) -> Table:
    rows = [
        (
            text,
            *interval(row),
            count(row["saturated"]) if "saturated" in row else None,
            count(row["flipped"]) if "flipped" in row else None,
        )
        for text, row in disturbed
    ]
    head = ("disturbance", *accuracy.HEAD[1:], "saturated states", "flipped bits")
    return Table(f"Robustness, on {n} recordings of the test set", head, rows, folded=True)


def _quantisation(layers: list[dict[str, Any]]) -> Table:
    rows = [
        (
            f"{layer['node']}, {NUMBERS[layer['numbers']]}",
            _decibel(layer["weight_snr_db"]),
            *(_share(layer[key]) for key in ("threshold_error", "threshold_error_max")),
            percent(layer["weights_at_bound"]),
            count(layer["saturated_states"]),
            *(_share(layer[key]) for key in ("equal_entries", "equal_counts")),
        )
        for layer in layers
    ]
    head = (
        "layer and numbers",
        "weights, signal to noise",
        "threshold error, mean",
        "largest",
        "weights at the bound",
        "saturated states",
        "steps with as many spikes as trained",
        "neurons with as many in a recording",
    )
    return Table("Quantisation by layer, against the trained network", head, rows)


def _decibel(value: float | None) -> Number | str:
    return "no error" if value is None else Number(value, f"{value:.1f} dB")


def _share(value: float | None) -> Number | None:
    return None if value is None else Number(value, f"{100 * value:.3g} %")
