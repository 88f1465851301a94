"""Time a step and cells on the page: modelled, emulated or simulated, and measured are never mixed."""

from __future__ import annotations

from typing import Any

from pipeline.report import chart, real_time
from pipeline.report.part import Number, Part, percent
from pipeline.report.sources import Target

STEP_US = 5000
MODELLED = {
    "mark": "modelled", "step_us": STEP_US, "unit": "cycles", "mean": 300.0, "most": 1200.0,
    "boards": [
        {
            "board": "small", "clock_hz": 12_000_000, "mean_us": 25.0, "most_us": 100.0,
            "mean_share": 0.005, "most_share": 0.02,
        },
    ],
}  # fmt: skip
SIMULATED = {"simulator": "a simulator", "cycles_per_step": {"mean": 240.0, "most": 600.0}}
PLACED = {
    "device": "d", "cells": 1500, "flip_flops": 700, "block_rams": 9, "multipliers": 4,
    "f_max_hz": 24e6,
}  # fmt: skip
FIT = {
    "findings": [{"code": "cells", "limit": 3000}, {"code": "memory", "limit": None}],
    "utilisation": [
        {"resource": "neurons", "used": 45, "limit": None},
        {"resource": "block RAMs", "used": 13, "limit": 30},
        {"resource": "multipliers", "used": 4, "limit": 8},
    ],
}
MEASURED = [{"what": "time of a step", "board": "small, rev. 2", "value": 31.5, "unit": "us"}]


def part(emulated: dict[str, Any] | None, entries: Any = (), **metrics: Any) -> Part:
    found = Part("p", "a part")
    target = Target("chip", {"real_time": MODELLED, **metrics}, FIT, None, None, emulated)
    real_time.add(found, "braille", target, entries)
    return found


def plain(rows: list[tuple[Any, ...]]) -> dict[Any, list[Any]]:
    values = [[c.value if isinstance(c, Number) else c for c in row] for row in rows]
    return {row[0]: row[1:] for row in values}


def test_each_kind_of_time_has_columns_of_its_own() -> None:
    """240 and 600 cycles at 12 MHz are 20 and 50 us, of 5 ms 0.4 and 1 %."""
    table, _ = part({"simulated": SIMULATED}, MEASURED).tables
    assert table.caption == "Time a step, beside a step of 5 ms"
    found = plain(table.rows)
    assert found["small, 12 MHz"] == [25, 100, 0.005, 0.02, 20, 50, 0.004, 0.01, None]
    assert found["small, rev. 2"] == [None] * 8 + ["31.5 us"]
    assert len(table.head) == 10


def test_what_no_program_ran_is_said_and_not_shown() -> None:
    found = part(None)
    (table,) = found.tables
    assert plain(table.rows)["small, 12 MHz"][4:] == [None] * 5
    assert found.missing == [
        "not emulated, simulated or synthesized here: metrics/emulated/braille-chip.json is not "
        "there: run make silicon"
    ]
    assert part({"simulated": SIMULATED}).missing == [
        "not placed and routed here: run make silicon"
    ]


def test_an_emulated_core_is_that_of_its_board_alone() -> None:
    emulated = {
        "emulated": [
            {"machine": "small", "instructions_per_step": {"mean": 120.0, "most": 240.0}},
            {"machine": "other", "instructions_per_step": {"mean": 1.0, "most": 1.0}},
        ]
    }
    table, _ = part(emulated).tables
    assert plain(table.rows)["small, 12 MHz"][4:6] == [10, 20]
    emulated["emulated"][0]["machine"] = "third"
    table, _ = part(emulated).tables
    assert plain(table.rows)["small, 12 MHz"][4:6] == [None, None]


def test_bars_of_cells_go_from_nothing_to_the_whole_device() -> None:
    found = part({"simulated": SIMULATED, "placed": PLACED})
    table = next(t for t in found.tables if t.caption == "After place and route")
    assert plain(table.rows) == {
        "cells": [1500, 3000, 0.5],
        "flip-flops": [700, None, None],
        "block RAMs": [9, 30, 0.3],
        "multipliers": [4, 8, 0.5],
        "highest clock, MHz": [24, None, None],
    }
    (drawn,) = found.charts
    shares = {bar["resource"]: bar["share"] for bar in drawn.spec["data"]["values"]}
    assert shares == {"cells": 0.5, "block RAMs": 0.3, "multipliers": 0.5}
    bars, _, limit = drawn.spec["layer"]
    assert bars["encoding"]["x"]["scale"]["domain"] == [0, 1]
    assert limit["mark"]["type"] == "rule" and limit["encoding"]["x"] == {"datum": 1}
    assert found.missing == []


def test_a_little_of_a_chip_is_a_short_bar_and_not_nothing() -> None:
    """45 of a million neurons are 0.0045 %; 1_500_000 weights are 150 %, half as much again."""
    used = [("neurons", 45, 1_000_000), ("weights", 1_500_000, 1_000_000), ("cores", 1, None)]
    (alone,) = chart.shares("id", "label", used[:1])
    (bar,) = alone.spec["data"]["values"]
    assert (bar["share"], bar["text"]) == (4.5e-5, "< 0.01 %")
    assert alone.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 1]
    (over,) = chart.shares("id", "label", used)
    assert [row["text"] for row in over.spec["data"]["values"]] == ["< 0.01 %", "150 %"]
    assert over.spec["layer"][0]["encoding"]["x"]["scale"]["domain"] == [0, 1.5]
    assert chart.shares("id", "label", used[2:]) == []


def test_what_is_near_an_end_is_not_written_as_the_end() -> None:
    shares = (0, 1e-9, 1e-4, 0.1234, 0.9999, 1 - 1e-9, 1)
    text = ["0 %", "< 0.01 %", "0.01 %", "12.34 %", "99.99 %", "> 99.99 %", "100 %"]
    assert [percent(share).text for share in shares] == text


def test_a_chip_without_modelled_time_has_no_table() -> None:
    found = Part("p", "a part")
    real_time.add(found, "braille", Target("chip", {"task": "braille"}, FIT, None, None), ())
    assert not found.tables and not found.missing
