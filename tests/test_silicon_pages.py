"""Tables of docs/deploy-*.md: what `make silicon` and the stages wrote, and nothing else."""

from __future__ import annotations

from typing import Any

import pytest

from bench.silicon import pages
from spyx_nir.errors import UserError


def found() -> dict[str, dict[str, Any]]:
    """Round numbers: 300 cycles at 12 MHz are 25 us, 200 to 5 ms."""
    right = {"correct": 9, "n": 10}
    accuracy = {"float": right, "ptq": {"correct": 8, "n": 10}, "integer": right}
    compared = {
        "recordings": 16,
        "steps": 256,
        "spike_entries": 1234,
        "state_entries": 2468,
        "differing": 0,
    }
    placed = {
        "cells": 1690,
        "flip_flops": 530,
        "block_rams": 15,
        "multipliers": 5,
        "f_max_hz": 31_460_000,
    }
    step = {"mean": 25e-6, "most": 5e-5}
    verilog = {
        "simulated": {**compared, "cycles_per_step": {"mean": 300.4, "most": 600}},
        "netlist": compared,
        "placed": {**placed, "cells": 1237},
        "on_board": {
            **placed,
            "board": "iCEBreaker",
            "clock_hz": 12_000_000,
            "seconds_per_step": step,
        },
    }
    core = {
        "core": "cortex-m4", "instructions_per_step": {"mean": 1800.0, "most": 27072 * 3.0},
        "instructions_per_synaptic_operation": 7.5, "flash": 4000, "ram": 400, **compared,
    }  # fmt: skip
    c = {"emulated": [core], "compiled": [{"core": "cortex-m0plus", "flash": 3000, "ram": 400}],
         "host_golden": compared, "host_spike_entries": 99_000}  # fmt: skip
    model = {"mean": 332.2, "most": 1373.0, "step_us": 5000}
    fit = {"utilisation": [{"resource": "block RAMs", "used": 16, "limit": 30}]}
    names = [
        *(f"{task}-{target}" for task, target in pages.DESIGNS),
        "braille-cortex-m",
        "nmnist-cortex-m",
    ]
    made: dict[str, dict[str, Any]] = {}
    for name in names:
        made[f"emulated/{name}"] = c if name.endswith("cortex-m") else verilog
        made[f"metrics/{name}"] = {"accuracy": accuracy, "real_time": model}
        made[f"fit/{name}"] = fit
    return made


def test_tables_have_the_numbers_of_the_files() -> None:
    rows = {row.split(" | ")[0].strip("| "): row for row in pages.designs(found()).splitlines()}
    assert rows["cells with a LUT"].startswith(
        "| cells with a LUT | 1,690 of 5,280 | 1,690 of 24,288 |"
    )
    assert "| 16, 15 of 30 |" in rows["block RAMs: counted by `fit`, placed"]
    assert "| 300, 600 |" in rows["cycles a step, simulated: mean, most"]
    assert "| 25 us, 50 us of 5 ms |" in rows["a step at the board's clock, simulated: mean, most"]
    assert "| 200, 100 |" in rows["times real time: mean, least"]
    assert "| 1,234, 2,468, 0 |" in rows["netlist: spikes, states compared, differing"]
    assert "| 1,237, 530 |" in pages.networks(found())
    # 256 steps of 25 us
    assert "| 1,690 | 15 | 6.4 ms | 9 of 10, simulated recordings |" in pages.generators(found())
    cores = pages.cores(found())
    assert (
        "| Braille | Cortex-M4 | 1,800, 81,216 | 7.5 | 4,000, 400 | 16: 1,234, 2,468 | 0 |" in cores
    )
    assert "| Cortex-M0+, not run |" in cores and "whole test set: 99,000, none" in cores
    # 150.4 us at 180 MHz are 27,072 cycles; 1,800 instructions take 10 us, 7.5 of them an operation
    boretti = pages.boretti(found())
    assert "27,072 cycles, 150.4 us | 81,216 instructions, 451 us; 3 times theirs |" in boretti
    assert "| not given | 240 |" in boretti and "1,800 instructions, 10 us" in boretti
    assert "| x | 9 of 10 | 8 | 9 |" in pages.answers(found(), [("x", "nmnist-cortex-m")])


def test_a_page_keeps_what_is_not_a_table() -> None:
    begin, end = pages.BEGIN.format("networks"), pages.END.format("networks")
    text = f"before\n\n{begin}old{end}\n\nafter\n"
    new = pages.written(text, {"networks": pages.networks}, found(), "page.md")
    assert new.startswith("before\n\n<!-- networks:") and new.endswith(
        "<!-- end of networks -->\n\nafter\n"
    )
    assert (
        "old" not in new and pages.written(new, {"networks": pages.networks}, found(), "p") == new
    )
    with pytest.raises(UserError, match=r"page\.md: the lines `<!-- networks: written by"):
        pages.written("before", {"networks": pages.networks}, found(), "page.md")


@pytest.mark.skipif(
    not (pages.ROOT / "metrics" / "emulated").is_dir(), reason="make silicon did not run here"
)
def test_pages_are_those_of_make_silicon(capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = pages.write(check=True)
    except UserError as error:
        pytest.skip(f"a part of make silicon did not run here: {error}")
    assert (status, capsys.readouterr().out) == (0, "")
