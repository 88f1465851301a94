"""FPGAs of the family `integer`: memories, cycles, what fits, and what a bundle gets."""

from __future__ import annotations

import dataclasses
import re
import shutil
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest
import random_networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spyx_nir.bundle import bringup as papers
from spyx_nir.bundle import integers
from spyx_nir.errors import UserError
from spyx_nir.hardware import constraints, profile, quantise, registry, simulate
from spyx_nir.hardware.facts import Entry
from spyx_nir.hardware.families.integer import fpga, protocol, verify_rtl
from spyx_nir.hardware.families.integer.counts import mean_spikes, of_graph, of_network
from spyx_nir.hardware.families.integer.fpga import Memory, blocks
from spyx_nir.hardware.families.integer.rtl_code import Plan, lanes_of, rtl_files
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.topology import analyse, planned

SMALL, LARGE = profile.load("ice40-up5k"), profile.load("ecp5-25k")
MANY = settings(
    max_examples=25, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="no Icarus: apt-get install iverilog"
)


def recurrent(inputs: int = 12, hidden: int = 38, classes: int = 7) -> dict[str, Any]:
    """A graph of the shapes of the Braille task."""
    random = np.random.default_rng(1)
    return graphs.recurrent(
        random.normal(size=(hidden, inputs)), random.normal(size=(hidden, hidden)),
        random.normal(size=(classes, hidden)), graphs.cuba(hidden, 0.5, 0.9),
        graphs.cuba(classes, 0.5, 0.8),
    )  # fmt: skip


# ----------------------------------------------------------------------------------------- memories


def test_blocks_by_hand() -> None:
    """ECP5, 64 bits: two of 512 x 36 side by side, 11 rows; 4 of 1024 x 18 in 6 rows are more."""
    ice, ecp = (chip["fpga.block_ram_shapes"] for chip in (SMALL, LARGE))
    assert blocks(Memory("", "", 1102, 16), ice) == 5  # 256 x 16
    assert blocks(Memory("", "", 1444, 8), ice) == 3  # 512 x 8
    assert blocks(Memory("", "", 2048, 2), ice) == 1
    assert blocks(Memory("", "", 23, 64), ice) == 4
    assert blocks(Memory("", "", 5140, 64), ecp) == 22
    assert blocks(Memory("", "", 16384, 1), ecp) == 1


def test_memories_of_the_braille_network_by_hand() -> None:
    """Two lanes: 19 words of 38 neurons, 4 of 7. Weights 12 * 19 + 38 * 19 + 38 * 4 = 1102 words."""
    network = quantise.quantise(recurrent(), SMALL)
    found = {m.what: (m.words, m.bits) for m in fpga.memories(of_network(network), SMALL)}
    assert found == {
        "weights": (1102, 16),
        "sums": (23, 64),
        "spikes": (23, 2),
        "membranes": (23, 48),
        "bytes that wait at the serial port": (512, 8),
        "counts of the classes": (28, 8),
    }
    report = constraints.check_constraints(recurrent(), SMALL)
    table = {row.resource: (row.used, row.limit) for row in report.table if row.limit}
    # 5 + 4 + 1 + 3 + 1 + 1; yosys 0.70 makes 15 of them, too
    assert table == {"block RAMs": (15, 30), "large RAMs": (0, 4), "multipliers": (4, 8)}
    assert report.fits


@MANY
@given(st.data())
def test_memories_are_those_of_the_verilog(data: Any) -> None:
    """Random networks: words of states and weights, as network.v has them."""
    network, _ = random_networks.network(data.draw)
    network = dataclasses.replace(network, profile=LARGE)
    text = Plan(network, lanes_of(network)).top()
    sizes = {name: int(n) for name, n in re.findall(r"localparam (\w+) = (\d+);", text)}
    found = {m.what: m.words for m in fpga.memories(of_network(network), LARGE)}
    assert found["weights"] == sizes["WEIGHT_WORDS"]
    assert found["sums"] == found["spikes"] == sizes["STATE_WORDS"]
    assert found.get("membranes", 0) == sizes["MEMBRANE_WORDS"]


def test_a_graph_and_its_integers_are_counted_alike() -> None:
    for graph in (recurrent(), graphs.paper_scnn(np.random.default_rng(5))):
        counted = of_graph(analyse(planned(graph).plan))
        assert counted == of_network(quantise.quantise(graph, LARGE))


def test_decays_of_each_neuron_take_memories_of_their_own() -> None:
    neuron = Population("n", (6,), np.asarray(9), np.arange(6) + 99, np.arange(6), output=True)
    link = Weight("input", "n", "w", np.ones((6, 2), int), (2,))
    network = IntegerNetwork(SMALL, {"input": (2,)}, (neuron,), (link,))
    found = [m for m in fpga.memories(of_network(network), SMALL) if m.what == "decays"]
    assert [(m.words, m.bits) for m in found] == [(3, 26), (3, 26)]
    assert {"rtl/decay_of_sums.hex", "rtl/decay_of_membranes.hex"} <= rtl_files(network).keys()


def test_what_does_not_fit_is_named_with_its_place() -> None:
    """N-MNIST's network: 5140 words of 64 bits, 21 * 4 blocks; 1122 of 256 bits, 5 * 16; 3 of spikes."""
    graph = graphs.paper_scnn(np.random.default_rng(5))
    assert constraints.check_constraints(graph, LARGE).fits
    found = constraints.check_constraints(graph, SMALL)
    (error,) = (f for f in found.findings if f.severity == "error")
    assert (error.code, error.layer, error.number, error.limit) == ("memory", "linear_9", 169, 30)
    assert error.reason.startswith(
        "weights: 5140 words of 64 bits, in 84 block RAMs; with all others"
    )
    # 800 + 2304 + 1152 + 128 * 256 + 256 * 10 weights in 19,792 words of 16 bits: two of 16,384; 8,970
    # sums of 32 bits: two. Spikes of 1 bit in 2,048 x 2: five; serial port and counts: two.
    assert error.reason.endswith(
        "the memories would fit, by an estimate: 4 of 4 large RAMs, 7 of 30 block RAMs"
    )
    assert "large RAM is not used" in error.reason and error.source == SMALL.source(
        "fpga.block_rams"
    )
    table = {row.resource: row.used for row in found.table if row.limit}
    assert table["block RAMs"] == 169 == 84 + 80 + 3 + 1 + 1


# ------------------------------------------------------------------------------------------- cycles


def maps() -> dict[str, Any]:
    """Two convolutions, a pool and a matrix; IF neurons."""
    random = np.random.default_rng(3)
    return graphs.chain(
        (2, 8, 8),
        ("conv_0", graphs.conv(random, (2, 8, 8), 4, 3, 2, 1)),
        ("if_1", graphs.if_((4, 4, 4), 1.5)),
        ("conv_2", graphs.conv(random, (4, 4, 4), 6, 3, 1, 1)),
        ("if_3", graphs.if_((6, 4, 4), 1.5)),
        ("pool_4", graphs.pool()),
        ("flatten", nir.Flatten({"input": np.array([6, 2, 2])}, 0, -1)),
        ("linear_5", nir.Linear(random.normal(size=(4, 24)).astype(np.float32))),
        ("if_6", graphs.if_(4, 1.0)),
        dt=1.0,
    )


@needs_icarus
@pytest.mark.parametrize("graph", [recurrent(), maps()], ids=["recurrent", "maps"])
def test_no_step_takes_more_cycles_than_are_counted(tmp_path: Path, graph: dict[str, Any]) -> None:
    """Icarus beside the count, step by step; all together at least half of it.

    Half: spikes are looked for while a link is busy, and the border of a map adds fewer rows.
    """
    network = quantise.quantise(graph, SMALL)
    (source,) = network.inputs
    x = (np.random.default_rng(4).random((12, 1, *network.inputs[source])) < 0.2).astype(int)
    for name, text in rtl_files(network).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    integers.write(tmp_path / integers.NAME, network, x)
    with np.load(tmp_path / integers.NAME) as arrays:
        about = protocol.network_of(dict(arrays))
    program = tmp_path / "program"
    verify_rtl.build(tmp_path / "rtl", program)
    found = verify_rtl.simulate(tmp_path / "rtl", program, x, about, states=0)["ticks"][:, 0]
    run = simulate.run(network, {source: x})
    counts, counted = of_network(network), []
    for t in range(len(x)):
        spikes = {name: int(a[t].sum()) for name, a in run.spikes.items()}
        before = {name: int(a[t - 1].sum()) if t else 0 for name, a in run.spikes.items()}
        # Spikes that close a cycle are sent in the step behind their own.
        sent = {name: max(spikes[name], before[name]) for name in spikes}
        counted.append(fpga.cycles(counts, {source: int(x[t].sum()), **sent}))
    assert all(run.spikes[name].sum() > 10 for name in run.spikes)
    assert (found <= counted).all() and found.sum() >= sum(counted) / 2


def test_the_time_of_a_step_follows_from_the_metrics() -> None:
    """Mean spikes from rates; the worst step has one of each neuron and each input."""
    network = quantise.quantise(recurrent(), SMALL)
    counts, bin_us = of_network(network), 5000
    hidden, output = (p.name for p in network.populations)
    metrics = {
        "rates": {"events": {"mean_per_s": 400.0}},
        "layers": [{"node": hidden, "spike_rate": 0.25}, {"node": output, "spike_rate": 1 / 7}],
    }
    spikes = mean_spikes(counts, metrics, bin_us / 1e6)
    assert spikes == pytest.approx({"input": 2.0, hidden: 9.5, output: 1.0})
    found = registry.family(SMALL).times(network, bin_us, metrics)
    assert (found["mark"], found["unit"]) == ("modelled", "cycles")
    assert found["mean"] == fpga.cycles(counts, spikes) < found["most"] == fpga.cycles(counts)
    (board,) = found["boards"]
    assert board["mean_us"] == pytest.approx(found["mean"] / 12)
    assert board["most_share"] == pytest.approx(found["most"] / 12 / bin_us)
    boards = registry.family(profile.load("cortex-m")).times(
        dataclasses.replace(network, profile=profile.load("cortex-m")), bin_us, metrics
    )
    assert boards["unit"] == "instructions" and {board["board"] for board in boards["boards"]} >= {
        "RP2040",
        "STM32F446RE",
    }


# ------------------------------------------------------------------------------------------ bundles


@pytest.mark.parametrize(
    ("chip", "own", "other"), [(SMALL, "icebreaker", "ulx3s"), (LARGE, "ulx3s", "icebreaker")]
)
def test_a_bundle_has_the_board_of_its_chip_alone(
    chip: profile.Profile, own: str, other: str
) -> None:
    network = quantise.quantise(recurrent(), chip)
    found = registry.family(chip).files(network, 5000)
    assert {"rtl/network.v", "rtl/weights.hex", "rtl/serial.v", f"rtl/top_{own}.v"} <= found.keys()
    assert {"bringup.py", "protocol.py"} <= found.keys()
    assert not [name for name in found if other in name or name.startswith("c/")]
    run = simulate.run(network, {"input": np.zeros((3, 1, 12), int)}, record=True)
    about = papers.Samples(np.zeros(1, int), ["a", "b"], ["a taxel"], 5000)
    text = papers.write(network, run, about)
    assert f"-top top_{own}" in text and other not in text and "no board was at hand" in text


def test_a_profile_of_neither_kind_and_of_both_is_refused(tmp_path: Path) -> None:
    text = (profile.FOLDER / "ice40-up5k.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"

    def refused(content: str) -> str:
        path.write_text(content)
        with pytest.raises(UserError) as caught:
            profile.load(str(path))
        return str(caught.value)

    start = text.index("fpga:")
    assert "a section is missing, one of: `boards`, `fpga`" in refused(text[:start])
    board = "boards:\n  list: {value: [], source: s}\n"
    assert "mine.yaml: fpga: unknown key" in refused(text + board)
    assert "`fpga.block_rams.value` must be a whole number of 1" in refused(
        text.replace("block_rams: {value: 30", "block_rams: {value: 0")
    )
    message = "`fpga.block_ram_shapes.value` must be a list, each [words, bits of a word]"
    assert message in refused(text.replace("[[256, 16]", "[[256]"))
    message = "`fpga.boards.value` must be a list of boards, each with name, clock, source"
    assert message in refused(text.replace("clock: 12000000, ", ""))


def test_a_smaller_fpga_of_ones_own_says_how_many_blocks_are_missing() -> None:
    facts = SMALL.facts | {"fpga.block_rams": Entry(14, "a test")}
    found = constraints.check_constraints(recurrent(), dataclasses.replace(SMALL, facts=facts))
    (error,) = (f for f in found.findings if f.severity == "error")
    assert "with all others 15 are needed, the target has 14" in error.reason
