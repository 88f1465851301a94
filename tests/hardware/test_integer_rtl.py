"""The Verilog of the family `integer`: every spike and state that Icarus simulates, beside NumPy."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import random_networks
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bench.silicon import fpga, verilator
from spyx_nir.bundle import integers
from spyx_nir.errors import GraphError, UserError
from spyx_nir.hardware import profile, simulate
from spyx_nir.hardware.families import integer
from spyx_nir.hardware.families.integer import protocol, verify_rtl
from spyx_nir.hardware.families.integer.rtl_code import lanes_of, rtl_files
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

CHIP = profile.load("cortex-m")
HERE = Path(integer.__file__).parent
needs_icarus = pytest.mark.skipif(
    verify_rtl.not_installed(), reason="no Icarus Verilog: apt-get install iverilog"
)
# A network follows from one seed: there is nothing to shrink.
QUICK = settings(
    max_examples=6, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
)
MANY = settings(QUICK, max_examples=110)
MOST_EVENTS = 2000  # of a test: with more, counts are 2 at most, as every event takes cycles


def written(folder: Path, network: IntegerNetwork, x: np.ndarray, lanes: int | None = None) -> Path:
    """The Verilog of a network, the program that compares, and the integer vectors."""
    for name in ("rtl", "test_data_set_0"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name, text in rtl_files(network, lanes).items():
        (folder / name).write_text(text, encoding="utf-8")
    for name in ("verify_rtl.py", "protocol.py"):
        shutil.copy(HERE / name, folder)
    integers.write(folder / verify_rtl.VECTORS, network, x)
    return folder


def compared(folder: Path, x: np.ndarray) -> list[str]:
    """What differs in all steps of all recordings."""
    return verify_rtl.check(folder, *x.shape[:2])[0]


def neuron(threshold: int, **options: Any) -> IntegerNetwork:
    """One input of weight 127 to one neuron."""
    population = Population("n", (1,), np.asarray(threshold), output=True, **options)
    link = Weight("input", "n", "w", np.array([[127]]), (1,))
    return IntegerNetwork(CHIP, {"input": (1,)}, (population,), (link,))


def chain(rng: np.random.Generator, **options: Any) -> IntegerNetwork:
    """Two convolutions, one behind the other, and a matrix behind a pool; most neurons spike."""
    shapes = {"a": (5, 6, 6), "b": (6, 6, 6), "out": (3,)}
    links = (
        Weight("input", "a", "w_a", rng.integers(-20, 128, (5, 2, 3, 3)), (2, 6, 6), (), (1, 1), (1, 1)),
        Weight("a", "b", "w_b", rng.integers(-40, 60, (6, 5, 3, 3)), (5, 6, 6), (), (1, 1), (1, 1)),
        Weight("b", "out", "w_out", rng.integers(-60, 128, (3, 54)), (54,), (2,)),
    )  # fmt: skip
    populations = tuple(
        Population(name, shape, np.asarray(90), output=name == "out", **options)
        for name, shape in shapes.items()
    )
    return IntegerNetwork(CHIP, {"input": (2, 6, 6)}, populations, links)


# ------------------------------------------------------------------------------------- by hand


@needs_icarus
@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 16])
def test_all_lanes_give_the_same(lanes: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    network = chain(rng)
    x = (rng.random((4, 1, 2, 6, 6)) < 0.3).astype(np.int64)
    run = simulate.run(network, {"input": x})
    assert all(spikes.sum() > 2 for spikes in run.spikes.values())
    assert compared(written(tmp_path, network, x, lanes), x) == []


@needs_icarus
@pytest.mark.parametrize("reset", ["v_reset", "subtract"])
@pytest.mark.parametrize(
    "decays",
    [
        {},
        {"decay_mem": np.asarray(4096)},
        {"decay_syn": np.asarray(4095)},
        {"decay_syn": np.asarray(4095), "decay_mem": np.array([4095])},
    ],
    ids=["IF", "LIF", "no leak", "CubaLIF"],
)
def test_states_saturate_in_verilog_too(reset: str, decays: Any, tmp_path: Path) -> None:
    """127 * 255 << 6 is a quarter of 2^23, so that upwards the fifth step saturates; then downwards."""
    up = neuron(131071, reset=reset, **decays)
    (link,) = up.weights
    down = dataclasses.replace(up, weights=(dataclasses.replace(link, values=np.array([[-128]])),))
    x = np.full((7, 1, 1), 255)
    for name, network in (("up", up), ("down", down)):
        assert simulate.run(network, {"input": x}).saturated["n"] > 0 or name == "up"
        assert compared(written(tmp_path / name, network, x), x) == []


@needs_icarus
def test_a_cycle_of_two_populations_comes_one_step_later(tmp_path: Path) -> None:
    """The input reaches a at t = 0, and b; b reaches a at t = 1, and so on."""
    a, b = (Population(n, (1,), np.asarray(5), reset="v_reset", output=n == "b") for n in "ab")
    links = tuple(
        Weight(source, target, source + target, np.array([[6]]), (1,))
        for source, target in (("input", "a"), ("a", "b"), ("b", "a"))
    )
    network = IntegerNetwork(CHIP, {"input": (1,)}, (a, b), links)
    x = np.array([1, 0, 0]).reshape(3, 1, 1)
    assert simulate.run(network, {"input": x}).spikes["a"].ravel().tolist() == [1, 1, 1]
    assert compared(written(tmp_path, network, x), x) == []


@needs_icarus
def test_a_step_takes_few_cycles_beside_its_spikes(tmp_path: Path) -> None:
    """Without an event nothing is walked: the pass of one word, its scan, and what joins them."""
    network = neuron(131071)
    x = np.zeros((3, 1, 1), np.int64)
    folder = written(tmp_path, network, x)
    verify_rtl.build(folder / "rtl", tmp_path / "bench")
    with np.load(folder / verify_rtl.VECTORS, allow_pickle=False) as loaded:
        described = protocol.network_of(dict(loaded))
    quiet = verify_rtl.simulate(folder / "rtl", tmp_path / "bench", x, described)["ticks"]
    busy = verify_rtl.simulate(folder / "rtl", tmp_path / "bench", x + 1, described)["ticks"]
    assert (quiet == quiet[0]).all() and quiet[0, 0] < 25 and (busy > quiet).all()


@needs_icarus
def test_events_outside_and_beyond_the_most_are_dropped(tmp_path: Path) -> None:
    """3 events of a 2 x 2 map: the bench sends none outside; network.v drops one by itself."""
    shape = (1, 3, 3)
    population = Population("n", (1,), np.asarray(9), output=True)
    link = Weight("input", "n", "w", np.array([[5, 0, 0, 0, 0, 0, 0, 0, 7]]), (9,))
    network = IntegerNetwork(CHIP, {"input": shape}, (population,), (link,))
    x = np.zeros((1, 1, *shape), np.int64)
    x[0, 0, 0, 0, 0] = 2
    folder = written(tmp_path, network, x)
    assert compared(folder, x) == []
    for name in ("bench.v", "network.v"):
        text = (folder / "rtl" / name).read_text(encoding="utf-8")
        limit = next(line for line in text.splitlines() if "MOST_EVENTS =" in line)
        (folder / "rtl" / name).write_text(text.replace(limit, "    localparam MOST_EVENTS = 1;"))
    found = compared(folder, x)
    assert found[0] == "1 events were not taken" and found[1].startswith("membrane/n: 1 of 1 ")
    bench = folder / "rtl" / "bench.v"
    outside = bench.read_text(encoding="utf-8").replace(
        "if (channel < CHANNELS && y < HEIGHT && x < WIDTH) begin", "x = 3; begin"
    )
    bench.write_text(outside)
    assert compared(folder, x)[1].startswith("membrane/n: 1 of 1 ")


# ------------------------------------------------------------------------------ random networks


def compare_with_icarus(folder: Path, data: Any) -> None:
    network, x = random_networks.network(data.draw)
    lanes = data.draw(st.sampled_from([None, 1, 2, 4, 8, 16]))
    x = np.minimum(x, 255 if x.sum() < MOST_EVENTS else 2)
    assert compared(written(folder, network, x, lanes), x) == []


@needs_icarus
@QUICK
@given(st.data())
def test_verilog_has_the_spikes_and_states_of_numpy(tmp_path_factory: Any, data: Any) -> None:
    compare_with_icarus(tmp_path_factory.mktemp("rtl"), data)


@pytest.mark.full
@needs_icarus
@MANY
@given(st.data())
def test_many_networks_in_verilog(tmp_path_factory: Any, data: Any) -> None:
    compare_with_icarus(tmp_path_factory.mktemp("rtl"), data)


# ------------------------------------------------------------------------------------- what it says


@pytest.fixture
def small(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    network = chain(rng, decay_syn=np.asarray(2000), decay_mem=np.asarray(4000))
    return written(tmp_path, network, (rng.random((3, 2, 2, 6, 6)) < 0.2).astype(np.int64))


def verified(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(folder / "verify_rtl.py"), *options]
    return subprocess.run(command, capture_output=True, text=True)


@needs_icarus
def test_the_program_of_a_bundle_passes(small: Path) -> None:
    done = verified(small)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith(": Verilog, simulated by Icarus: 3 steps of 2 golden recordings\n")
    done = verified(small, "--steps", "2", "--recordings", "1")
    assert done.stdout.endswith(" 2 steps of 1 golden recordings\n")


@needs_icarus
def test_a_flipped_bit_a_swapped_layer_and_a_missing_file_are_found(small: Path) -> None:
    weights, top = small / "rtl" / "weights.hex", small / "rtl" / "network.v"
    text = weights.read_text(encoding="utf-8")
    rows = text.splitlines()
    at = next(n for n, row in enumerate(rows) if not row.startswith("//") and int(row, 16))
    rows[at] = f"{int(rows[at], 16) ^ 64:0{len(rows[at])}x}"
    weights.write_text("\n".join(rows) + "\n", encoding="utf-8")
    done = verified(small)
    assert done.returncode == 1 and "differs: current/a: " in done.stderr
    weights.write_text(text, encoding="utf-8")
    code = top.read_text(encoding="utf-8")
    swapped = code.replace("operation = FIRE; operand = 0;", "operation = FIRE; operand = 9;")
    swapped = swapped.replace("operation = FIRE; operand = 1;", "operation = FIRE; operand = 0;")
    top.write_text(swapped.replace("operand = 9;", "operand = 1;"), encoding="utf-8")
    done = verified(small)
    assert done.returncode == 1 and "differs: membrane/b: " in done.stderr
    top.write_text(code, encoding="utf-8")
    weights.write_text("\n".join(text.splitlines()[:-2]) + "\n", encoding="utf-8")
    done = verified(small)
    assert done.returncode == 1 and "differs: rtl: not to be run (RuntimeError: " in done.stderr
    weights.unlink()
    assert verified(small).returncode == 1


def test_without_icarus_that_is_said(small: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(sys, "argv", ["verify_rtl.py", str(small)])
    assert verify_rtl.main() == 0
    assert capsys.readouterr().out.endswith(
        "no Icarus Verilog: install it (apt-get install iverilog)\n"
    )


@pytest.mark.skipif(shutil.which("verilator") is None, reason="no Verilator")
def test_verilator_has_nothing_to_say(small: Path) -> None:
    """Widths apart: numbers without a width have 32 bits in Verilog."""
    rtl = small / "rtl"
    command = ["verilator", "--lint-only", "-Wall", "-Wno-WIDTH", "-Wno-UNUSED", "--top-module"]
    done = subprocess.run(
        [*command, "network", *verify_rtl.sources(rtl)], cwd=rtl, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs_icarus
@pytest.mark.skipif(bool(verilator.missing()), reason="no Verilator: see make silicon")
def test_make_silicon_counts_what_it_compares(small: Path) -> None:
    """2 recordings of 3 steps; 180 + 216 + 3 neurons have a current each. A weight off by 64 is found."""
    rtl = small / "rtl"
    with np.load(small / verify_rtl.VECTORS, allow_pickle=False) as loaded:
        arrays = dict(loaded)
    found = fpga.simulated(rtl, arrays, 1)
    neurons = 5 * 36 + 6 * 36 + 3
    assert (found["recordings"], found["spike_entries"]) == (2, 2 * 3 * neurons)
    assert found["state_entries"] == 2 * found["spike_entries"] and found["differing"] == 0
    assert (found["beside"]["recordings"], found["beside"]["spike_entries"]) == (1, 3 * neurons)
    steps = found["cycles_per_step"]
    assert (
        2 * neurons / 2 < steps["mean"] <= steps["most"]
    )  # two passes of 2 lanes, decay and fire: a floor
    weights = rtl / "weights.hex"
    rows = weights.read_text(encoding="utf-8").splitlines()
    rows[1] = f"{int(rows[1], 16) ^ 64:0{len(rows[1])}x}"
    weights.write_text("\n".join(rows) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="current/a: "):
        fpga.simulated(rtl, arrays, 16)


def test_time_is_cycles_by_the_clock(tmp_path: Path) -> None:
    """100 and 200 cycles at 10 MHz are 10 and 20 us: of a bin of 1 ms, 100 and 50 times real time."""
    (tmp_path / "events").mkdir()
    addresses = tmp_path / "events" / "address_map.json"
    addresses.write_text('{"time": {"bin_us": 1000}}', encoding="utf-8")
    found = fpga.modelled({"mean": 100, "most": 200}, {"f_max_hz": 10_000_000}, tmp_path, 5)
    assert found["seconds_per_step"] == {"mean": 1e-5, "most": 2e-5}
    assert found["seconds_per_recording"] == pytest.approx(5e-5)  # a product in float64
    assert found["times_real_time"] == pytest.approx({"mean": 100, "least": 50})


# ----------------------------------------------------------------------------------- what is refused


def replaced(network: IntegerNetwork, **options: Any) -> IntegerNetwork:
    """A network whose first weight or population is another one."""
    (weight, *weights), (population, *populations) = network.weights, network.populations
    names = {field.name for field in dataclasses.fields(Weight)}
    of_weight = {key: value for key, value in options.items() if key in names}
    of_population = {key: value for key, value in options.items() if key not in names}
    return dataclasses.replace(
        network,
        weights=(dataclasses.replace(weight, **of_weight), *weights),
        populations=(dataclasses.replace(population, **of_population), *populations),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dilation": (2, 1)}, r"weight `w`: dilation \(2, 1\); the generated Verilog has none"),
        ({"delay": np.array([[1]])}, "weight `w`: delays; the generated Verilog has none"),
        ({"bias": np.asarray(1)}, "`n`: a bias; the generated Verilog has none"),
        ({"membrane": True}, "`n`: a membrane that is read; the generated Verilog has none"),
        ({"output": False}, "one input and one output are needed"),
    ],
)
def test_what_is_not_there_is_refused(options: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        rtl_files(replaced(neuron(9), **options))


def test_four_axes_and_three_lanes_are_refused() -> None:
    network = neuron(9)
    odd = dataclasses.replace(network, inputs={"input": (1, 1, 1, 1)})
    with pytest.raises(GraphError, match=r"`input`: shape \(1, 1, 1, 1\); .* has 1 to 3 axes"):
        rtl_files(odd)
    with pytest.raises(GraphError, match="3 lanes; 1, 2, 4, 8 and 16 are possible"):
        rtl_files(network, 3)


def test_large_networks_have_more_lanes() -> None:
    one = neuron(9)
    many = Population("n", (1000,), np.asarray(9), output=True)
    link = Weight("input", "n", "w", np.ones((1000, 1), int), (1,))
    assert lanes_of(one) == 2
    assert lanes_of(dataclasses.replace(one, populations=(many,), weights=(link,))) == 8
