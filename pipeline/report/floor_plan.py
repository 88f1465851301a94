"""Where a network is on a chip: cores, block RAMs of an FPGA, memory and time of a microcontroller.

From the bundle's fit.json and the metrics; nothing is placed here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pipeline.report.part import Block, count, percent
from pipeline.report.sources import Target
from spyx_nir.errors import UserError
from spyx_nir.hardware import profile

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
MEMORIES = ("kernel", "neuron")


def blocks(target: Target) -> list[Block]:
    """The floor plan of a target that has one."""
    if target.fit is None:
        return []
    content = (
        _cores(target)
        if target.fit["cores"]
        else _needed(target) or _rams(target) or _boards(target)
    )
    return [Block("plan", {"name": target.name, **content})] if content else []


def bar(
    what: str, used: float, limit: float, text: str, parts: list[Any] | None = None
) -> dict[str, Any]:
    """A bar from nothing to the limit, or to more if that is used.

    parts: (what, share of the limit) that it consists of, in their order.
    """
    share = used / limit
    shown = [(what, share)] if parts is None else parts
    room = max(1.0, share)
    return {
        "what": what,
        "share": percent(share),
        "text": text,
        "over": share > 1,
        "limit": round(100 / room, 2),
        "parts": [(name, round(100 * part / room, 2)) for name, part in shown],
    }


def _cores(target: Target) -> dict[str, Any]:
    """A tile for each core of the chip, with its fill; what is idle; what else would fit there."""
    assert target.fit
    rows = {row["core"]: row for row in target.fit["cores"]}
    memory = _memories(target.name)
    number = len(memory["kernel"]) if memory else 1 + max(rows)
    tiles = []
    for core in range(number):
        row = rows.get(core)
        others = [
            other["layer"]
            for other in rows.values()
            if core in other["could_go_on"] and other["core"] != core
        ]
        room = row or {f"{what}_memory": sizes[core] for what, sizes in memory.items()}
        bars = [
            bar(
                f"{what} memory",
                row[what] if row else 0,
                room[f"{what}_memory"],
                f"{count(row[what] if row else 0).text} of {count(room[f'{what}_memory']).text}",
            )
            for what in MEMORIES
            if f"{what}_memory" in room
        ]
        tiles.append(
            {
                "title": f"core {core}",
                "what": row["layer"] if row else "idle",
                "idle": row is None,
                "bars": bars,
                "note": f"would fit too: {', '.join(others)}" if others else "",
            }
        )
    idle = sum(1 for tile in tiles if tile["idle"])
    caption = (
        f"{number} cores, {idle} idle. A layer has a core of its own; bars are the words of its kernel "
        "and neuron memory that it fills."
    )
    return {"tiles": tiles, "caption": caption}


def _memories(name: str) -> dict[str, list[int]]:
    """Words of each core's memories; {} of a chip whose profile is not in the package."""
    try:
        found = profile.load(name)
        return {what: found[f"cores.{what}_memory"] for what in MEMORIES}
    except (UserError, KeyError):
        return {}


def _needed(target: Target) -> dict[str, Any]:
    """How many of the cores are needed at least; the chip's compiler chooses which."""
    assert target.fit
    for found in target.fit["findings"]:
        if found["code"] == "placement" and found["limit"] and found["severity"] == "note":
            parts = re.findall(r"`([^`]+)` (\d+)", found["reason"])
            groups = [(layer, int(number)) for layer, number in parts]
            caption = (
                f"At least {count(found['number']).text} of {count(found['limit']).text} cores are "
                "needed; the chip's compiler chooses which."
            )
            return _squares(groups, found["limit"], "core", caption)
    return {}


def _rams(target: Target) -> dict[str, Any]:
    """Which memory takes how many of an FPGA's block RAMs."""
    assert target.fit
    limits = {row["resource"]: row["limit"] for row in target.fit["utilisation"]}
    groups = [
        (
            " ".join(filter(None, [found["layer"], found["reason"].partition(", in ")[0]])),
            found["number"],
        )
        for found in target.fit["findings"]
        if found["code"] == "memory" and found["severity"] == "note"
    ]
    limit = limits.get("block RAMs")
    if not groups or not limit:
        return {}
    used = sum(number for _, number in groups)
    caption = (
        f"{count(used).text} of {count(limit).text} block RAMs; place and route chooses which."
    )
    return _squares(groups, limit, "block RAM", caption)


def _squares(groups: list[tuple[str, int]], limit: int, unit: str, caption: str) -> dict[str, Any]:
    """limit: squares in all; those beyond it are of a network that does not fit."""
    letters = [LETTERS[place % len(LETTERS)] for place in range(len(groups))]
    squares = [
        (letter, 1 + place % 6)
        for place, (letter, (_, number)) in enumerate(zip(letters, groups, strict=True))
        for _ in range(number)
    ]
    legend = [
        (letter, 1 + place % 6, name, f"{count(number).text} {unit}{'s' * (number != 1)}")
        for place, (letter, (name, number)) in enumerate(zip(letters, groups, strict=True))
    ]
    return {
        "squares": squares[:limit],
        "free": max(0, limit - len(squares)),
        "beyond": squares[limit:],
        "legend": legend,
        "caption": caption,
    }


def _boards(target: Target) -> dict[str, Any]:
    """Flash, RAM and time of a step against the bin, for each board of a microcontroller."""
    assert target.fit
    weights = target.bundle.manifest["parameters_stored"] if target.bundle else None
    uses: dict[str, dict[str, Mapping[str, Any]]] = {}
    for row in target.fit["utilisation"]:
        board, separator, what = row["resource"].partition(": ")
        if separator:
            uses.setdefault(board, {})[what] = row
    times = {}
    if target.metrics and "real_time" in target.metrics:
        modelled = target.metrics["real_time"]
        times = {board["board"]: (board, modelled["step_us"]) for board in modelled["boards"]}
    tiles = []
    for board, rows in uses.items():
        bars = [
            bar(
                what,
                row["used"],
                row["limit"],
                f"{count(row['used']).text} of {count(row['limit']).text} bytes",
                _flash(row, weights) if what == "flash" else None,
            )
            for what, row in rows.items()
        ]
        if board in times:
            bars += _times(*times[board])
        over = [one["what"] for one in bars if one["over"]]
        what = f"beyond its limit: {'; '.join(over)}" if over else ""
        tiles.append({"title": board, "what": what, "idle": False, "bars": bars, "note": ""})
    if not tiles:
        return {}
    split = ""
    if weights is not None:
        row = next(rows["flash"] for rows in uses.values() if "flash" in rows)
        split = (
            f" Of the flash, {count(weights).text} bytes are weights and "
            f"{count(row['used'] - weights).text} code and tables, by estimate."
        )
    caption = (
        f"Memory and modelled time of a step on each board, at one instruction a clock, against the "
        f"board and the bin.{split} mps2 boards are those of an emulator."
    )
    return {"tiles": tiles, "caption": caption}


def _flash(row: Mapping[str, Any], weights: int | None) -> list[tuple[str, float]] | None:
    """Weights, one byte each, and the rest."""
    if weights is None or weights > row["used"]:
        return None
    return [
        ("weights", weights / row["limit"]),
        ("code and tables", (row["used"] - weights) / row["limit"]),
    ]


def _times(board: Mapping[str, Any], step_us: float) -> list[dict[str, Any]]:
    return [
        bar(what, board[key], step_us, f"{board[key] / 1000:.3g} of {step_us / 1000:g} ms")
        for what, key in (("step, mean", "mean_us"), ("step, every neuron spikes", "most_us"))
    ]
