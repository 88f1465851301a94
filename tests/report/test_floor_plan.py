"""Floor plans by hand: what is idle, what is beyond a limit, and bars that end where the numbers do."""

from __future__ import annotations

from typing import Any

from pipeline.report import floor_plan
from pipeline.report.part import Number
from pipeline.report.sources import Target
from spyx_nir.hardware import profile


def target(name: str, metrics: Any = None, **fit: Any) -> Target:
    given = {"utilisation": [], "cores": [], "findings": [], "fits": True, "verdict": "fits"}
    return Target(name, metrics, given | fit, None, None)


def plan(of: Target) -> dict[str, Any]:
    (block,) = floor_plan.blocks(of)
    return block.content


def core(number: int, layer: str, kernel: int, could: list[int]) -> dict[str, Any]:
    sizes = profile.load("speck-2f")
    return {
        "core": number, "layer": layer, "could_go_on": could, "kernel": kernel, "neuron": 16384,
        "kernel_memory": sizes["cores.kernel_memory"][number],
        "neuron_memory": sizes["cores.neuron_memory"][number],
    }  # fmt: skip


def test_a_core_has_its_fill_its_rivals_and_the_others_are_idle() -> None:
    cores = [core(3, "a", 8192, [3, 4]), core(4, "b", 32768, [4])]
    tiles = plan(target("speck-2f", cores=cores))["tiles"]
    assert [tile["what"] for tile in tiles] == [*["idle"] * 3, "a", "b", *["idle"] * 4]
    kernel, neuron = tiles[3]["bars"]
    assert (kernel["share"].value, kernel["text"]) == (0.25, "8\u202f192 of 32\u202f768")
    assert (neuron["share"].value, neuron["parts"]) == (0.5, [("neuron memory", 50.0)])
    # `a` would fit on core 4, which `b` has; `b` on no other.
    assert tiles[4]["note"] == "would fit too: a" and tiles[3]["note"] == ""
    assert tiles[8]["bars"][0]["share"].value == 0
    assert plan(target("speck-2f", cores=cores))["caption"].startswith("9 cores, 7 idle.")
    # A chip without a profile in the package: the cores that are known.
    assert len(plan(target("my-chip", cores=cores))["tiles"]) == 5


def test_a_bar_beyond_its_limit_reaches_farther_than_the_line() -> None:
    """Both full bars, one of exactly all and one of 2.5 times: the line is where the limit is."""
    full, over = (floor_plan.bar("x", used, 4, "") for used in (4, 10))
    assert (full["over"], full["limit"], full["parts"]) == (False, 100.0, [("x", 100.0)])
    assert (over["over"], over["limit"], over["parts"]) == (True, 40.0, [("x", 100.0)])
    assert over["share"] == Number(2.5, "250 %")


def test_needed_cores_and_block_rams_are_counted_in_squares() -> None:
    note = {"severity": "note", "layer": ""}
    needed = note | {"code": "placement", "number": 3, "limit": 5,
                     "reason": "at least 3 of 5 cores: `a` 2, `b.w` 1"}  # fmt: skip
    found = plan(target("loihi", findings=[needed]))
    assert [letter for letter, _ in found["squares"]] == ["A", "A", "B"] and found["free"] == 2
    assert [row[2:] for row in found["legend"]] == [("a", "2 cores"), ("b.w", "1 core")]
    memories = [
        note | {"code": "memory", "layer": "w", "number": 3, "limit": None,
                "reason": "weights: 9 words of 16 bits, in 3 block RAMs"},
        note | {"code": "memory", "number": 2, "limit": None,
                "reason": "counts of the classes: 7 words of 32 bits, in 2 block RAMs"},
    ]  # fmt: skip
    rams = {"resource": "block RAMs", "used": 5, "limit": 4}
    found = plan(target("ice40", findings=memories, utilisation=[rams]))
    assert len(found["squares"]) == 4 and found["free"] == 0 and len(found["beyond"]) == 1
    assert found["legend"][0][2] == "w weights: 9 words of 16 bits"
    # A refusal is no note of what is placed.
    refused = [needed | {"severity": "error"}]
    assert floor_plan.blocks(target("loihi", findings=refused)) == []


def test_a_board_has_its_memory_and_its_time_against_the_bin() -> None:
    rows = [
        {"resource": "Pico: flash", "used": 50, "limit": 100},
        {"resource": "Pico: RAM", "used": 10, "limit": 40},
        {"resource": "neurons", "used": 3, "limit": None},
    ]
    times = {"board": "Pico", "mean_us": 500.0, "most_us": 3000.0}
    metrics = {"real_time": {"boards": [times], "step_us": 1000}}
    (tile,) = plan(target("cortex-m", metrics, utilisation=rows))["tiles"]
    shares = {bar["what"]: bar["share"].value for bar in tile["bars"]}
    assert shares == {
        "flash": 0.5,
        "RAM": 0.25,
        "step, mean": 0.5,
        "step, every neuron spikes": 3.0,
    }
    assert tile["what"] == "beyond its limit: step, every neuron spikes"
    assert floor_plan._flash(rows[0], 30) == [("weights", 0.3), ("code and tables", 0.2)]
    assert floor_plan._flash(rows[0], 60) is None  # more weights than flash: another file's
    assert floor_plan.blocks(target("loihi")) == []
