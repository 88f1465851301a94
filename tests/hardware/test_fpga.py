"""FPGAs of the family `integer`: memories, cycles, what fits, and what a bundle gets."""

from __future__ import annotations

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import graphs
import numpy as np
import pytest
import random_networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spyx_nir.bundle import bringup as papers
from spyx_nir.errors import UserError
from spyx_nir.hardware import constraints, profile, quantise, registry, simulate
from spyx_nir.hardware.facts import Entry
from spyx_nir.hardware.families.integer import fpga, protocol
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
        "counts of the classes": (7, 32),
    }
    report = constraints.check_constraints(recurrent(), SMALL)
    table = {row.resource: (row.used, row.limit) for row in report.table if row.limit}
    # 5 + 4 + 1 + 3 + 1 + 2; yosys 0.70 makes 16 of them, too
    assert table == {"block RAMs": (16, 30), "large RAMs": (0, 4), "multipliers": (4, 8)}
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
    assert (error.code, error.layer, error.number, error.limit) == ("memory", "linear_9", 170, 30)
    assert error.reason.startswith(
        "weights: 5140 words of 64 bits, in 84 block RAMs; with all others"
    )
    assert "large RAM is not used" in error.reason and error.source == SMALL.source(
        "fpga.block_rams"
    )
    table = {row.resource: row.used for row in found.table if row.limit}
    assert table["block RAMs"] == 170 == 84 + 80 + 3 + 1 + 2


# ------------------------------------------------------------------------------------------- cycles


def ticks(folder: Path, network: IntegerNetwork, x: np.ndarray) -> np.ndarray:
    """Clock cycles (T, N) in which the Verilog works, as Icarus simulates it."""
    plan = Plan(network, lanes_of(network))
    for name, text in rtl_files(network).items():
        (folder / Path(name).name).write_text(text, encoding="utf-8")
    sizes = [f"-D{name}={value}" for name, value in plan.sizes().items()]
    sources = sorted(path.name for path in folder.glob("*.v") if not path.name.startswith("top_"))
    names = [name for name in sources if name not in ("serial.v", "uart.v")]
    command = ["iverilog", "-g2005", "-o", "sim", *sizes, *names]
    subprocess.run(command, cwd=folder, check=True)
    (folder / "commands").write_bytes(protocol.commands(x, 255, states=0))
    run = ["vvp", "sim", "+commands=commands", "+answers=answers"]
    subprocess.run(run, cwd=folder, check=True, capture_output=True)
    about = {
        "neurons": [{"name": p.name, "shape": p.shape} for p in network.populations],
        "currents": [p.name for p in network.populations if p.decay_syn is not None],
    }
    answers = (folder / "answers").read_bytes()
    return protocol.answers(answers, about, *x.shape[:2], states=0)["ticks"]


@needs_icarus
@settings(MANY, max_examples=8)
@given(st.data())
def test_cycles_are_at_most_those_that_are_counted(tmp_path_factory: Any, data: Any) -> None:
    """Random networks in Icarus: no step takes more; all together, at least half of what is counted.

    Half: where few neurons spike, they are looked for while a link is busy, which is counted twice.
    """
    network, x = random_networks.network(data.draw)
    x = np.minimum(x, 255)
    found = ticks(tmp_path_factory.mktemp("rtl"), network, x)
    run = simulate.run(network, {"input": x})
    counts = of_network(network)
    sent = {"input": x, **run.spikes}
    totals = {name: a.reshape(*a.shape[:2], -1).sum(axis=2) for name, a in sent.items()}
    # A spike that closes a cycle is sent in the step behind its own.
    before = {name: np.concatenate([0 * a[:1], a[:-1]]) for name, a in totals.items()}
    counted = np.zeros(found.shape)
    for t, n in np.ndindex(found.shape):
        spikes = {name: int(a[t, n]) for name, a in totals.items()}
        closing = {name: max(int(before[name][t, n]), spikes[name]) for name in spikes}
        counted[t, n] = fpga.cycles(counts, closing if _recurrent(network) else spikes)
    print(np.stack([found, counted], -1)[:, 0].tolist(), [(w.source, w.target, w.values.shape, w.stride, w.padding, w.pools, w.groups) for w in network.weights], [(p.name, p.shape, p.reset) for p in network.populations], totals)
    assert (found <= counted).all()
    assert found.sum() >= counted.sum() / 2


def _recurrent(network: IntegerNetwork) -> bool:
    return any(weight.source == weight.target for weight in network.weights)


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
    assert boards["unit"] == "instructions" and len(boards["boards"]) == 6


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
    facts = SMALL.facts | {"fpga.block_rams": Entry(15, "a test")}
    found = constraints.check_constraints(recurrent(), dataclasses.replace(SMALL, facts=facts))
    (error,) = (f for f in found.findings if f.severity == "error")
    assert "with all others 16 are needed, the target has 15" in error.reason
