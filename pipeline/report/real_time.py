"""Time a step on a board and cells of an FPGA: modelled, run by a program, measured.

Modelled figures are those of the target's metrics (`real_time`). What an emulator, a simulator or a place
and route program gave is in metrics/emulated/<task>-<target>.json, which `make silicon` writes. Each kind
has columns of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.report import chart
from pipeline.report.part import (
    Number,
    Part,
    Table,
    absent,
    count,
    measured,
    percent,
    small,
)
from pipeline.report.provenance import leaves
from pipeline.report.sources import Target

WHAT = "time of a step"  # of metrics/measured.json
# What is placed: key of the file -> words; as in the utilisation of fit.json.
PLACED = {
    "cells": "cells", "flip_flops": "flip-flops", "block_rams": "block RAMs",
    "large_rams": "large RAMs", "multipliers": "multipliers",
}  # fmt: skip


def add(part: Part, task: str, target: Target, entries: Sequence[Mapping[str, Any]]) -> None:
    """Tables and charts of a target whose metrics have `real_time`; nothing for another one.

    Args:
        entries: of metrics/measured.json, of this task and target.
    """
    if target.metrics is None or "real_time" not in target.metrics:
        return
    found = target.emulated
    part.tables.append(times(target.metrics["real_time"], found or {}, entries))
    if found is None:
        missing = absent(f"metrics/emulated/{task}-{target.name}.json", "make silicon")
        part.missing.append(f"not emulated, simulated or synthesized here: {missing}")
        return
    if "placed" in found:
        rows = placed(found["placed"], limits(target.fit))
        part.tables.append(_placed(rows, found["placed"]))
        label = f"Share of {target.name} that is used after place and route; the line is the limit"
        part.charts.extend(chart.shares(f"placed-{task}-{target.name}", label, rows))
    elif "simulated" in found:
        part.missing.append("not placed and routed here: run make silicon")
    everything = [(key, measured(value)) for key, value in leaves(found)]
    caption = "All that make silicon wrote; nothing of it ran on a board"
    part.tables.append(Table(caption, ("what", "value"), everything, folded=True))


def times(
    modelled: Mapping[str, Any], found: Mapping[str, Any], entries: Sequence[Mapping[str, Any]]
) -> Table:
    """A row for each board."""
    unit, step_us = modelled["unit"], modelled["step_us"]
    rows = []
    for board in modelled["boards"]:
        run = _run(found, board["board"])
        times_us = [None if n is None else 1e6 * n / board["clock_hz"] for n in run]
        rows.append(
            (
                f"{board['board']}, {board['clock_hz'] / 1e6:g} MHz",
                *(_us(board[key]) for key in ("mean_us", "most_us")),
                *(percent(board[key]) for key in ("mean_share", "most_share")),
                *map(_us, times_us),
                *(None if time is None else percent(time / step_us) for time in times_us),
                None,
            )
        )
    rows += [
        (one["board"], *[None] * 8, f"{one['value']:.4g} {one['unit']}")
        for one in entries
        if one["what"] == WHAT
    ]
    head = (
        f"board, at one of the {unit} a clock" if unit == "instructions" else "board",
        "modelled: mean",
        "every neuron spikes",
        "mean, of the step",
        "every neuron spikes, of the step",
        "emulated or simulated: mean",
        "busiest step",
        "mean, of the step",
        "busiest step, of the step",
        "measured",
    )
    return Table(f"Time a step, beside a step of {step_us / 1000:g} ms", head, rows)


def _run(found: Mapping[str, Any], board: str) -> tuple[float | None, float | None]:
    """Instructions or cycles of a step, mean and most, of an emulated board or of simulated Verilog."""
    if "simulated" in found:
        steps = found["simulated"]["cycles_per_step"]
        return steps["mean"], steps["most"]
    for core in found.get("emulated", []):
        if core["machine"] == board:
            steps = core["instructions_per_step"]
            return steps["mean"], steps["most"]
    return None, None


def _us(value: float | None) -> Number | None:
    return None if value is None else Number(value, f"{value:.3g} us")


def limits(fit: Mapping[str, Any] | None) -> dict[str, int]:
    """What the FPGA has, by the words of `PLACED`."""
    if fit is None:
        return {}
    cells = [one["limit"] for one in fit["findings"] if one["code"] == "cells"]
    has = {row["resource"]: row["limit"] for row in fit["utilisation"] if row["limit"]}
    return has | {"cells": cells[0]} if cells else has


def placed(found: Mapping[str, Any], has: Mapping[str, int]) -> list[tuple[str, int, int | None]]:
    """(what, used, limit) after place and route."""
    return [(word, found[key], has.get(word)) for key, word in PLACED.items() if key in found]


def _placed(rows: list[tuple[str, int, int | None]], found: Mapping[str, Any]) -> Table:
    shown: list[tuple[Any, ...]] = [
        (
            what,
            count(used),
            count(limit) if limit else None,
            percent(used / limit) if limit else None,
        )
        for what, used, limit in rows
    ]
    if "f_max_hz" in found:
        mhz = found["f_max_hz"] / 1e6
        shown.append(("highest clock, MHz", small(mhz), None, None))
    head = ("resource", "used", "of", "share")
    return Table("After place and route", head, shown)
