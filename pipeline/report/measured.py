"""metrics/measured.json: figures that somebody measured on a board, and their table on the page.

A list of objects with the keys of `KEYS`; docs/power.md has the protocol. Nothing of this project writes
the file, and no figure of a model is in it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.report.part import Number, Table, count, small
from spyx_nir.bundle.templates import shared
from spyx_nir.errors import UserError

FILE = Path("metrics") / "measured.json"
# What is measured -> its units, and how many base units (W, J, s) one is.
UNITS = {
    "power": {"W": 1.0, "mW": 1e-3, "uW": 1e-6},
    "energy of a recording": {"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "nJ": 1e-9},
    "latency of a recording": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
    "time of a step": {"s": 1.0, "ms": 1e-3, "us": 1e-6},
}
IDLE = ("power", "energy of a recording")  # what has an idle part


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e12


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _date(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.date.fromisoformat(value))
    except ValueError:
        return False


# Key -> whether a value is allowed, what is, and whether an entry needs it.
KEYS: dict[str, tuple[Callable[[Any], bool], str, bool]] = {
    "task": (_text, "a task of params.yaml", True),
    "target": (_text, "a target of the task", True),
    "board": (_text, "text: board and chip, with their revision", True),
    "what": (lambda value: value in UNITS, f"one of: {', '.join(UNITS)}", True),
    "unit": (_text, "a unit of `what`", True),
    "value": (_number, "a number, 0 or more: the mean of all repetitions", True),
    "idle": (lambda value: value is None or _number(value), "a number in `unit`, or null", True),
    "spread": (_number, "a number in `unit`: standard deviation of the repetitions", False),
    "duration": (lambda v: _number(v) and v > 0, "seconds of one repetition, above 0", True),
    "repetitions": (_whole, "a whole number, 1 or more", True),
    "recordings": (_whole, "how many recordings were sent in `duration`", False),
    "instrument": (_text, "text: what measured, at which rails and rate", True),
    "date": (_date, "a day such as 2026-11-29", True),
    "by": (_text, "text: who measured", False),
    "source": (_text, "text: the file with the samples, or the publication", True),
}


def read(path: Path) -> list[dict[str, Any]]:
    """The entries of a file; none if there is no such file.

    Raises:
        UserError: it is no such list; names entry, key, value and what is allowed.
    """
    try:
        content = json.loads(shared.read_text(path))
    except FileNotFoundError:
        return []
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(content, list):
        raise UserError(f"{path}: a list of objects is needed, got {type(content).__name__}")
    for number, entry in enumerate(content):
        if why := _fault(entry):
            raise UserError(f"{path}: entry {number}: {why}; docs/power.md has an example")
    return content


def _fault(entry: Any) -> str:
    """What is wrong with an entry, or nothing."""
    if not isinstance(entry, dict):
        return f"an object is needed, got {type(entry).__name__}"
    if unknown := [key for key in entry if key not in KEYS]:
        return f"`{unknown[0]}` is no key; there are: {', '.join(KEYS)}"
    for key, (allowed, what, needed) in KEYS.items():
        if key not in entry:
            if needed:
                return f"`{key}` is missing ({what})"
        elif not allowed(entry[key]):
            return f"`{key}` must be {what}, got {json.dumps(entry[key])}"
    units = UNITS[entry["what"]]
    if entry["unit"] not in units:
        return f"`unit` of {entry['what']} must be one of {', '.join(units)}, got {entry['unit']!r}"
    if (entry["idle"] is not None) != (entry["what"] in IDLE):
        part = "a number in `unit`" if entry["what"] in IDLE else "null"
        return f"`idle` of {entry['what']} must be {part}, got {json.dumps(entry['idle'])}"
    return ""


def check_names(path: Path, entries: Sequence[Mapping[str, Any]], known: Mapping[str, Any]) -> None:
    """Refuse entries of what is not on the page.

    Args:
        known: task -> its targets.

    Raises:
        UserError: names the entry and what there is.
    """
    for number, entry in enumerate(entries):
        task, target = entry["task"], entry["target"]
        for key, name, names in (("task", task, known), ("target", target, known.get(task, ()))):
            if name not in names:
                raise UserError(
                    f"{path}: entry {number}: `{key}` {name!r} is not known; there are: "
                    f"{', '.join(names) or 'none'}"
                )


def table(entries: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any] | None) -> list[Table]:
    """Modelled and measured figures of a network on a chip, in columns of their own; none where none is.

    Args:
        entries: of this task and target. metrics: of the target; its `energy` is modelled.
    """
    head = (
        "what",
        "modelled",
        "measured",
        "measured, idle",
        "measured, without idle",
        "standard deviation",
        "seconds",
        "repetitions",
        "board and instrument",
        "date and source",
    )
    rows: list[tuple[Any, ...]] = []
    energy = (metrics or {}).get("energy", {})
    if "pj_per_sample" in energy:
        what = "energy of the synaptic operations of a recording"
        uj = energy["pj_per_sample"] / 1e6
        modelled = Number(uj, f"{uj:.3g} uJ")
        rows.append((what, modelled, *[None] * 7, energy.get("source")))
    for entry in entries:
        rows.append(_row(entry))
        if entry["what"] == "power" and "recordings" in entry:
            rows.append(_energy(entry))
    return (
        [Table("Power and energy: modelled, and measured on a board", head, rows)] if rows else []
    )


def _row(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    def shown(value: float | None) -> Number | None:
        return None if value is None else Number(value, f"{value:.4g} {entry['unit']}")

    idle = entry["idle"]
    return (
        entry["what"],
        None,
        shown(entry["value"]),
        shown(idle),
        None if idle is None else shown(entry["value"] - idle),
        shown(entry.get("spread")),
        small(entry["duration"]),
        count(entry["repetitions"]),
        f"{entry['board']}; {entry['instrument']}",
        "; ".join(filter(None, [entry["date"], entry.get("by"), entry["source"]])),
    )


def _energy(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a measured power gives for a recording: power times duration over recordings."""
    each = UNITS["power"][entry["unit"]] * entry["duration"] / entry["recordings"] * 1e6
    parts = (entry["value"], entry["idle"], entry["value"] - entry["idle"])
    shown = [Number(part * each, f"{part * each:.4g} uJ") for part in parts]
    what = "energy of a recording: this power * seconds / recordings"
    return (what, None, *shown, *[None] * 5)
