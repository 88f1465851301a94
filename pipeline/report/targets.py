"""A task on one chip: what is lost on the way to integers, how the network fits, what it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import accuracy, behaviour, chart, cost, floor_plan, measured, real_time
from pipeline.report.part import PICTURES, Chart, Number, Part, Table, absent, count, percent
from pipeline.report.sources import Source, Target
from spyx_nir.cli.fit import PLACEMENT, placement

SHOWN = (
    "accuracy", "stream", "leak", "lost_points", "saturated", "layers", "event_by_event",
    "selection", "task", "target", "real_time", "network_of",
    *behaviour.KEYS,
)  # fmt: skip


def make(source: Source, target: Target, entries: Sequence[dict[str, Any]] = ()) -> Part:
    """Accuracy, quantisation loss, fit, placement and cost of `source` on `target`.

    entries: of `measured.read`, of any task and target.
    """
    name = target.name
    part = Part(f"target-{name}", f"On {name}", target=name, printed=PICTURES)
    if target.metrics is None:
        part.missing.append(absent(f"metrics/{source.task}-{name}.json", "make deploy-artifacts"))
    else:
        found = list(accuracy.on_chip(target.metrics).values())
        what = f"{source.task} on {name}"
        rest = {key: value for key, value in target.metrics.items() if key not in SHOWN}
        part.charts.append(accuracy.picture(f"accuracy-{source.task}-{name}", what, found))
        part.tables.extend([
            accuracy.table(what, found),
            *_stream(target.metrics),
            _lost(target.metrics),
            _layers(target.metrics),
            *_events(target.metrics),
            cost.table("Cost, counted and modelled", rest),
        ])  # fmt: skip
        absences = [key for key in behaviour.KEYS if key not in target.metrics]
        if absences:
            path = f"metrics/{source.task}-{name}.json"
            what_is = ", ".join(absences)
            part.missing.append(f"{path} has no {what_is}: run make deploy-artifacts")
        else:
            behaviour.add(part, f"{source.task}-{name}", what, target.metrics)
    here = [one for one in entries if (one["task"], one["target"]) == (source.task, name)]
    real_time.add(part, source.task, target, here)
    part.tables.extend(measured.table(here, target.metrics))
    if target.fit is None:
        part.missing.append(source.unbundled("fit.json", name))
    else:
        verdict = "✓ fits" if target.fit["fits"] else "✗ does not fit"
        part.text.append(f"{target.fit['chip']}: {verdict}.")
        part.blocks.extend(floor_plan.blocks(target))
        part.charts.extend(used(f"fit-{source.task}-{name}", target.fit))
        findings = _findings(target.fit)
        part.tables.extend([_utilisation(target.fit), *_placement(target.fit), findings])
    return part


def _lost(metrics: dict[str, Any]) -> Table:
    """Points of accuracy between the trained network and its integers."""
    lost, chosen = metrics["lost_points"], metrics["selection"]
    rows = [
        ("lost in integers", _points(lost["integer"])),
        ("lost by PTQ alone", _points(lost["ptq"])),
        ("saturated states", count(metrics["saturated"])),
        *(
            (f"right on the {chosen['on']} set, {when} QAT", count(chosen[key]))
            for key, when in (("start", "before"), ("best", "after"))
        ),
        (f"recordings of the {chosen['on']} set", count(chosen["n"])),
        ("epoch of QAT that is kept; 0: PTQ", count(chosen["epoch"])),
        *(("trained for", metrics[key]) for key in ("network_of",) if key in metrics),
    ]
    return Table("Quantisation", ("what", "how much"), rows)


def _stream(metrics: dict[str, Any]) -> list[Table]:
    """Accuracy in one stream without a reset; none in metrics of before it was measured."""
    if "stream" not in metrics:
        return []
    found = metrics["stream"]
    rows = [
        ("recordings in the stream", count(found["n"])),
        ("right without a reset between them", count(found["correct"])),
        ("right with one", count(found["with_reset"])),
        ("layers without leak or floor", ", ".join(found["without_leak"]) or "none"),
        *(
            (f"membrane that `{layer}` loses in a step, on the chip alone", percent(share))
            for layer, share in metrics.get("leak", {}).items()
        ),
    ]
    return [Table("In one stream, integers simulated", ("what", "how much"), rows)]


def _points(value: float) -> Number:
    return Number(value, f"{value:.2f} points")


def _layers(metrics: dict[str, Any]) -> Table:
    head = (
        "layer",
        "agrees with the same graph as floats",
        "spikes a neuron and step of the input",
        "the same as floats",
        "saturated",
        "multi-spike",
        "at the threshold",
    )
    rows = [
        (
            layer["node"],
            *(percent(layer[key]) for key in ("agreement", "spike_rate", "float_spike_rate")),
            *(count(layer[key]) for key in ("saturated", "multi_spike", "ties")),
        )
        for layer in metrics["layers"]
    ]
    return Table("Integer simulation of the test set, by layer", head, rows)


def _events(metrics: dict[str, Any]) -> list[Table]:
    """Per recording, of chips that take events one by one."""
    if "event_by_event" not in metrics:
        return []
    head = (
        "layer",
        "spikes",
        "synaptic operations",
        "the most of one recording",
        "above the threshold",
    )
    rows = [
        (
            layer["node"],
            *(count(round(layer[key])) for key in ("spikes", "synops", "most_synops", "held")),
        )
        for layer in metrics["event_by_event"]["layers"]
    ]
    return [Table("Event by event: a recording on average, by layer", head, rows)]


def _utilisation(fit: dict[str, Any]) -> Table:
    rows = [
        (
            row["resource"],
            count(row["used"]),
            count(row["limit"]) if row["limit"] is not None else "not known",
            percent(row["used"] / row["limit"]) if row["limit"] else None,
        )
        for row in fit["utilisation"]
    ]
    head = ("resource", "used", "limit", "share")
    return Table("What of the chip is used", head, rows, folded=True)


def used(id: str, fit: dict[str, Any]) -> list[Chart]:
    """Shares of what is limited: of the chip, and of the memories of its cores, if any is."""
    label = f"Share of each limit of {fit['target']} that the network uses; the line is the limit"
    # Cores and boards are in the floor plan.
    return chart.shares(id, label, (one for one in limited(fit) if ": " not in one[0]))


def limited(fit: Mapping[str, Any]) -> list[tuple[str, int, int | None]]:
    """(what, used, limit) of the chip, and of the memories of its cores."""
    found = [(row["resource"], row["used"], row["limit"]) for row in fit["utilisation"]]
    for row in fit["cores"]:
        for memory in ("kernel", "neuron"):
            what = f"core {row['core']}: {memory} memory"
            found.append((what, row[memory], row[f"{memory}_memory"]))
    return found


def _placement(fit: dict[str, Any]) -> list[Table]:
    """Which core takes which layer, where the chip has cores that differ."""
    if not fit["cores"]:
        return []
    rows = [(f"core {core}", *rest) for core, *rest in placement(fit["cores"])]
    return [Table("Placement on cores", PLACEMENT, rows, folded=True)]


def _findings(fit: dict[str, Any]) -> Table:
    rows = [
        (found["severity"], found["layer"] or "graph", found["reason"], found["fix"])
        for found in fit["findings"]
    ]
    head = ("severity", "layer", "what the chip does otherwise", "what would change it")
    return Table("Findings of the fit", head, rows, folded=True, words=True)
