"""Loihi: biases, delays, groups, membranes as output, cores, streams; expected values by hand."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import fake_lava
import graphs
import nir
import numpy as np
import pytest

from bench.vendors import lava_networks
from bench.vendors.cases import nested
from spyx_nir.bundle import bringup, integers
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.errors import GraphError
from spyx_nir.hardware import costs, evaluate, judge, profile, qat, quantise, simulate
from spyx_nir.hardware.families.loihi.bringup import PROGRAM
from spyx_nir.hardware.families.loihi.cores import synapse_bits
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.topology import analyse
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import step_conv
from spyx_nir.meaning.plan import make_plan

LOIHI = profile.load("loihi")
DT = graphs.DT
GOLDEN = Path(__file__).parent / "golden" / "lava_forms.npz"


def if_(count: Any, threshold: float = 1.0) -> nir.IF:
    return graphs.if_(count, threshold, "v_reset", dt=DT)


def lif(count: int, decay: float, v_leak: float = 0.0) -> nir.LIF:
    ones = np.ones(count, np.float32)
    tau = np.float32(DT / (1 - decay)) * ones
    return nir.LIF(
        tau=tau, r=tau / np.float32(DT), v_leak=v_leak * ones, v_threshold=ones, v_reset=0 * ones,
        metadata={"reset": "v_reset", "spike_delay": 0},
    )  # fmt: skip


def spikes(network: IntegerNetwork, x: np.ndarray) -> np.ndarray:
    (output,) = (p for p in network.populations if p.output)
    return simulate.run(network, {next(iter(network.inputs)): x}).spikes[output.name]


def round_trip(graph: dict[str, Any]) -> IntegerNetwork:
    network = quantise.quantise(graph, LOIHI)
    written = quantise.on_grid(graph, network)
    quantise.check_recovery(written, network)
    assert judge.judge(written, LOIHI).fits
    return network


# ------------------------------------------------------------------------------------------ biases


def test_a_bias_alone_makes_neurons_spike() -> None:
    """0.3 a step: above 1 in the fourth step, then again after four more."""
    graph = graphs.chain((1,), ("w", nir.Affine(np.ones((1, 1)), np.full(1, 0.3))), ("n", if_(1)))
    network = round_trip(graph)
    found = spikes(network, np.zeros((12, 1, 1), int))
    assert np.flatnonzero(found).tolist() == [3, 7, 11]
    floats = reference.run(make_plan(quantise.on_grid(graph, network)), np.zeros((12, 1, 1)))
    assert (floats.output == found).all()


def test_a_bias_is_mantissa_and_exponent_in_the_unit_of_the_membrane() -> None:
    """The largest weight 1 becomes 254, a unit of weight 64 of the membrane; 13 bits, exponents to 7."""
    for bias, expected in ((0.25, 4064), (1.0, 16256), (-0.25, -4064), (2.0, 32512)):
        graph = graphs.chain(
            (1,), ("w", nir.Affine(np.ones((1, 1)), np.full(1, bias))), ("n", if_(1, 10.0))
        )
        (population,) = round_trip(graph).populations
        assert population.bias == expected
    graph = graphs.chain((1,), ("w", nir.Affine(np.ones((1, 1)), np.full(1, 40.0))), ("n", if_(1)))
    with pytest.raises(
        GraphError, match="a bias of 650240 in the unit of the membrane, at most 524160"
    ):
        quantise.quantise(graph, LOIHI)


def test_a_bias_before_a_current_is_what_the_current_settles_at() -> None:
    """i = 0.5 i + 0.25 settles at 0.5; v_leak holds it in the graph on the grid."""
    cuba = graphs.cuba(1, 0.5, 0.75, 100.0, "v_reset")
    affine = nir.Affine(np.ones((1, 1)), np.full(1, 0.25))
    graph = graphs.chain((1,), ("w", affine), ("n", cuba))
    network = round_trip(graph)
    (population,) = network.populations
    scale = population.threshold / 100.0 * 64
    assert abs(population.bias - 0.5 * scale) <= 0.5
    run = simulate.run(network, {"input": np.zeros((60, 1, 1), int)}, record=True)
    # v = 0.75 v + bias settles at 4 * bias, up to rounding toward 0 in every step.
    assert abs(run.membranes["n"][-1, 0, 0] - 4 * population.bias) <= 4
    written = quantise.on_grid(graph, network)
    assert not written["nodes"]["w"]["bias"].any() and written["nodes"]["n"]["v_leak"].any()
    notes = [f for f in judge.judge(graph, LOIHI).findings if f.code == "bias"]
    assert len(notes) == 2 and {f.severity for f in notes} == {"note"}


def test_a_leak_to_another_potential_is_a_bias() -> None:
    """v = 0.75 v + 0.25 v_leak settles at v_leak = 0.5, below the threshold: no spike."""
    graph = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", lif(2, 0.75, 0.5)))
    network = round_trip(graph)
    run = simulate.run(network, {"input": np.zeros((60, 1, 2), int)}, record=True)
    scale = 64 * int(network.populations[0].threshold)
    assert np.abs(run.membranes["n"][-1] / scale - 0.5).max() < 0.001
    start = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", lif(2, 0.75, 0.5)))
    start["nodes"]["n"]["metadata"]["v_init"] = "v_leak"
    assert "v_leak" in {f.code for f in judge.judge(start, LOIHI).findings}


def test_a_convolutions_bias_is_that_of_its_channel() -> None:
    conv = graphs.conv(np.random.default_rng(0), (2, 4, 4), 3)
    conv.bias = np.array([0.25, 0, -0.5], np.float32)
    (population,) = round_trip(
        graphs.chain((2, 4, 4), ("c", conv), ("n", if_((3, 4, 4))))
    ).populations
    per_channel = population.bias.reshape(3, -1)
    assert (per_channel == per_channel[:, :1]).all()
    assert per_channel[0, 0] > 0 and per_channel[1, 0] == 0
    assert abs(per_channel[2, 0] + 2 * per_channel[0, 0]) <= 2


# ------------------------------------------------------------------------------------------ delays


@pytest.mark.parametrize("in_front", [True, False])
def test_a_delay_adds_to_the_step_of_a_weight(in_front: bool) -> None:
    """Input in step 1 arrives in step 2 + delay."""
    steps = np.array([0, 2, 5])
    delay = ("d", nir.Delay((steps * DT).astype(np.float32)))
    linear = ("w", nir.Linear(np.eye(3) * 2))
    order = (delay, linear) if in_front else (linear, delay)
    network = round_trip(graphs.chain((3,), *order, ("n", if_(3))))
    x = np.zeros((10, 1, 3), int)
    x[1] = 1
    found = spikes(network, x)[:, 0]
    assert np.argwhere(found).tolist() == [[2, 0], [4, 1], [7, 2]]
    trained = np.asarray(qat.run(network, x).spikes["n"])[:, 0]
    assert (trained == found).all()


def test_delays_that_dense_connections_do_not_have_are_refused() -> None:
    long = nir.Delay(np.full(2, 64 * DT, np.float32))
    graph = graphs.chain((2,), ("d", long), ("w", nir.Linear(np.eye(2))), ("n", if_(2)))
    with pytest.raises(GraphError, match="a delay of 64 steps; train with 63 steps at most"):
        quantise.quantise(graph, LOIHI)
    ones = nir.Delay(np.full((2, 4, 4), DT, np.float32))
    conv = graphs.conv(np.random.default_rng(0), (2, 4, 4), 2)
    graph = graphs.chain((2, 4, 4), ("d", ones), ("c", conv), ("n", if_((2, 4, 4))))
    for dt in (None, DT):
        found = judge.judge(graph, LOIHI, dt)
        assert not found.fits and {f.code for f in found.findings if f.severity == "error"} == {
            "wiring"
        }


# ------------------------------------------------------------------------------------ convolutions


@pytest.mark.parametrize(
    ("groups", "dilation", "stride", "padding"),
    [(2, (1, 1), (1, 1), (1, 1)), (1, (2, 1), (1, 2), (0, 1)), (4, (1, 3), (2, 1), (2, 0))],
)
def test_groups_and_dilation_are_nirs(
    groups: int, dilation: Any, stride: Any, padding: Any
) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-9, 9, (8, 4 // groups, 3, 2))
    weight = Weight(
        "a", "b", "w", values, (4, 9, 8), stride=stride, padding=padding, dilation=dilation,
        groups=groups,
    )  # fmt: skip
    x = rng.integers(0, 3, (2, 4, 9, 8))
    node = {"weight": values, "stride": stride, "padding": padding, "dilation": dilation}
    expected, _ = step_conv({**node, "groups": groups}, x, {}, 1.0)
    assert (weight.currents(x) == expected).all()
    moved = np.moveaxis(x, 1, -1)[None].astype(np.float32)
    in_jax = np.asarray(qat.currents(weight, values.astype(np.float32), moved))[0]
    assert (np.moveaxis(in_jax, -1, 1) == expected).all()


def test_the_check_and_quantisation_refuse_the_same_convolutions_and_poolings() -> None:
    """Also where no step is known, and on a chip without groups."""
    rng = np.random.default_rng(2)
    odd, even = (graphs.conv(rng, (2, 8, 8), 2, kernel) for kernel in (3, 4))
    odd.padding = even.padding = "same"
    grouped = graphs.conv(rng, (1, 8, 8), 2)
    grouped.groups, grouped.input_shape = 2, (8, 8)
    neurons = ("n", if_((2, 8, 8)))
    fits = [(odd, True), (even, False), (grouped, True)]
    for conv, expected in fits:
        graph = graphs.chain((2, 8, 8), ("c", conv), neurons)
        assert judge.judge(graph, LOIHI).fits == expected
        assert judge.judge(graph, LOIHI, None).fits == expected
        if expected:
            quantise.quantise(graph, LOIHI)
        else:
            with pytest.raises(GraphError, match="more on one side than on the other"):
                quantise.quantise(graph, LOIHI)
    pool = nir.SumPool2d(np.array([3, 3]), np.array([2, 2]), np.array([0, 0]))
    last = graphs.conv(rng, (2, 3, 3), 2)
    graph = graphs.chain((2, 8, 8), ("p", pool), ("c", last), ("n", if_((2, 3, 3))))
    assert not judge.judge(graph, LOIHI).fits
    with pytest.raises(GraphError, match="stride as large as the window"):
        quantise.quantise(graph, LOIHI)


def test_costs_count_groups_dilation_and_biases() -> None:
    """One spike in the middle of 5 x 5: 2 x 2 taps, dilated by 2, of 3 filters that see its group."""
    weight = Weight(
        "input", "n", "w", np.full((6, 1, 2, 2), 2), (2, 5, 5), groups=2, dilation=(2, 2)
    )
    population = Population(
        "n",
        (6, 3, 3),
        np.asarray(100),
        reset="v_reset",
        output=True,
        bias=np.arange(54).reshape(6, 3, 3),
    )
    network = IntegerNetwork(LOIHI, {"input": (2, 5, 5)}, (population,), (weight,))
    x = np.zeros((2, 1, 2, 5, 5), int)
    x[0, 0, 1, 2, 2] = 1
    run = simulate.run(network, {"input": x}, record=True)
    found = costs.report(network, [costs.counts(network, {"input": x}, run, 1)], 1.0)
    assert found["SynapticOperations"]["Effective_ACs"] == 4 * 3
    assert found["SynapticOperations"]["Dense"] == 6 * 9 * 4
    assert found["ParameterCount"] == 24 + 54
    # 8 bits for a weight, 17 for a threshold, 13 for a bias.
    assert found["Footprint"] == 24 + 4 + 54 * 2


# --------------------------------------------------------------------------------------- read-outs


def test_the_membrane_of_an_integrator_is_the_output() -> None:
    """Weights 1 and -1, three spikes of the first input, one of the second."""
    ones = np.ones(2)
    graph = graphs.chain(
        (2,), ("w", nir.Linear(np.array([[1.0, -1.0], [-1.0, 1.0]]))), ("n", nir.I(r=ones / DT))
    )
    network = round_trip(graph)
    (population,) = network.populations
    assert population.membrane and population.threshold == 131071
    x = np.zeros((6, 1, 2), int)
    x[:3, 0, 0] = x[1, 0, 1] = 1
    run = simulate.run(network, {"input": x})
    unit = 254 * 64
    assert (run.shown(population)[:, 0, 0] == unit * np.array([0, 1, 1, 2, 2, 2])).all()
    assert (run.shown(population)[:, 0, 1] == -run.shown(population)[:, 0, 0]).all()
    assert evaluate.classes(run.shown(population)) == [0]
    in_jax = np.asarray(qat.run(network, x).spikes["n"])[:, 0, 0]
    assert (in_jax == np.array([0, 1, 1, 2, 2, 2]) * 254 / 2**8).all()  # the exponent is 8
    inner = graphs.chain(
        (2,), ("w", nir.Linear(np.eye(2))), ("n", nir.I(r=ones / DT)), ("v", nir.Linear(np.eye(2))),
        ("m", if_(2)),
    )  # fmt: skip
    assert "has no spikes" in " ".join(f.reason for f in judge.judge(inner, LOIHI).findings)


def test_an_output_that_never_fires_keeps_its_weights() -> None:
    graph = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", if_(2, 1e9)))
    network = quantise.quantise(graph, LOIHI)
    assert (
        network.populations[0].threshold == 131071
        and (network.weights[0].values == 254 * np.eye(2)).all()
    )
    run = simulate.run(network, {"input": np.ones((20, 1, 2), int)}, record=True)
    assert run.membranes["n"][-1].tolist() == [[19 * 254 * 64] * 2] and not run.spikes["n"].any()


# ------------------------------------------------------------------------------------------- cores


def test_synapses_fill_cores() -> None:
    """A core holds 2^20 bits by Loihi 1's number: 131,072 weights of 8 bits."""
    rng = np.random.default_rng(3)

    def fit(rows: int, columns: int) -> Any:
        weight = np.ones((rows, columns), np.float32)
        return judge.judge(
            graphs.chain((columns,), ("w", nir.Linear(weight)), ("n", if_(rows))), LOIHI
        )

    small = fit(128, 1024)
    assert "at least 1 of 128 cores: `n` 1" in [f.reason for f in small.findings]
    more = fit(128, 1025)
    assert "at least 2 of 128 cores: `n` 2" in [f.reason for f in more.findings]
    large = fit(4096, 4097)  # 16.8 million weights: 128.03 cores
    (first,) = (f for f in large.findings if f.severity == "error")
    assert first.code == "placement" and first.number == 129 and "Loihi 1" in first.source
    axons = [f for f in large.findings if f.code == "axons"]
    assert (
        axons[0].severity == "warning" and "4097 sources are more than the 4096" in axons[0].reason
    )
    conv = graphs.conv(rng, (2, 8, 8), 4)
    plan = make_plan(graphs.chain((2, 8, 8), ("c", conv), ("n", if_((4, 8, 8)))))
    assert synapse_bits(analyse(plan), "n", LOIHI) == 4 * 2 * 9 * 8


# -------------------------------------------------------------------------- streams without a reset


def test_without_leak_a_stream_carries_membranes_on() -> None:
    """Weight 0.6 of the threshold: a spike needs two inputs, of whichever recordings they are."""
    weight = np.array([[0.6, 0.0], [0.0, 0.6]])
    leakless = round_trip(graphs.chain((2,), ("w", nir.Linear(weight)), ("n", if_(2))))
    assert leakless.leakless() == ["n"]
    events = np.zeros((3, 3, 2), int)
    events[0, 0, 1] = 1  # leaves 0.6 in the second neuron
    events[1, :2, 0] = events[1, 0, 1] = 1  # both spike in a stream, and the first class is taken
    events[2, 0, 1] = 1
    assert evaluate.in_a_stream(leakless, events[:1]) == [0]
    x = np.concatenate([np.zeros((1, 2), int), *events])
    found = spikes(
        leakless,
        np.concatenate([*(np.vstack([e, np.zeros((1, 2), int)]) for e in events)])[:, None],
    )
    assert found[:, 0, 1].tolist() == [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
    assert len(x) == 10
    warned = judge.judge(graphs.chain((2,), ("w", nir.Linear(weight)), ("n", if_(2))), LOIHI)
    assert [f.severity for f in warned.findings if f.code == "no-leak"] == ["warning"]
    leaky = graphs.chain((2,), ("w", nir.Linear(weight)), ("n", lif(2, 0.5)))
    assert round_trip(leaky).leakless() == []
    assert not [f for f in judge.judge(leaky, LOIHI).findings if f.code == "no-leak"]


def test_a_stream_of_one_is_a_recording_and_states_go_on() -> None:
    network, _ = lava_networks.draw(0, np.random.default_rng(5))
    events = np.random.default_rng(6).integers(0, 2, (4, 9, *network.inputs["input"]))
    alone = evaluate.assess(network, None, events[:1]).predicted
    assert evaluate.in_a_stream(network, events[:1]) == alone
    assert len(evaluate.in_a_stream(network, events)) == 4


# ------------------------------------------------------------------------------ Lava and its bundle


def stored(number: int, tmp_path: Path) -> tuple[IntegerNetwork, dict[str, np.ndarray]]:
    network, x = lava_networks.draw(number, np.random.default_rng(number))
    integers.write(tmp_path / integers.NAME, network, x)
    with np.load(tmp_path / integers.NAME, allow_pickle=False) as loaded:
        return network, dict(loaded)


@pytest.mark.parametrize(
    "number", [0, 3, *(pytest.param(n, marks=pytest.mark.full) for n in (1, 2, 4, 5))]
)
def test_random_networks_come_back_from_their_file_and_train_as_they_run(
    number: int, tmp_path: Path
) -> None:
    network, arrays = stored(number, tmp_path)
    again = verify_integers.network_of(arrays)
    x = arrays["input"].astype(np.int64)
    run = simulate.run(network, {"input": x})
    trace = qat.run(network, x)
    for population in network.populations:
        name = population.name
        assert (run.spikes[name] == arrays[f"spikes/{name}"]).all()
        assert (np.asarray(trace.spikes[name]) == run.spikes[name]).all()
    for one, other in zip(network.weights, again.weights, strict=True):
        assert (one.dilation, one.groups, one.longest_delay) == (
            other.dilation, other.groups, other.longest_delay,
        )  # fmt: skip


def test_what_lava_did_with_networks_of_every_form(tmp_path: Path) -> None:
    """Recorded from lava-nc 0.10.0, see golden/SOURCE.md."""
    with np.load(GOLDEN, allow_pickle=False) as loaded:
        cases = nested({key: loaded[key] for key in loaded.files})
    assert len(cases) == 8
    total = 0
    for name, case in cases.items():
        network = verify_integers.network_of(case)
        run = simulate.run(network, {"input": case["input"].astype(np.int64)}, record=True)
        kinds = {"spikes": run.spikes, "membrane": run.membranes, "current": run.currents}
        for key, values in case.items():
            kind, _, population = key.partition("/")
            if kind in kinds:
                assert (kinds[kind][population] == values).all(), f"{name}/{key}"
                total += int(values.size)
    assert total > 10_000


def on_lava(monkeypatch: pytest.MonkeyPatch, called: list[str] | None = None) -> Any:
    """The program of a bundle, with the stand-in for Lava."""
    fake_lava.install(monkeypatch, called)
    spec = importlib.util.spec_from_file_location("on_lava", PROGRAM)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "on_lava", module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("number", range(8))
def test_the_bundles_program_wires_every_form(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Odd maps behind a pooling, skips, groups, delays: no entry differs."""
    _, arrays = stored(number, tmp_path)
    found = on_lava(monkeypatch).run(arrays)
    assert {key.partition("/")[0] for key in found} >= {"spikes", "membrane", "threshold"}
    for key, values in found.items():
        assert (np.squeeze(values) == np.squeeze(arrays[key])).all(), key


@pytest.mark.parametrize(("size", "pool", "kernel"), [(9, 2, 3), (9, 4, 2), (7, 3, 3)])
def test_rows_that_a_pooling_leaves_out_stay_out(
    size: int, pool: int, kernel: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(8)
    pooled = size // pool
    out = pooled + 2 - kernel + 1
    first = graphs.conv(rng, (2, size, size), 2, 1, 1, 0)
    first.weight = np.abs(first.weight)
    network = quantise.quantise(
        graphs.chain(
            (2, size, size),
            ("c", first), ("n", if_((2, size, size))),
            ("p", graphs.pool(pool)),
            ("d", graphs.conv(rng, (2, pooled, pooled), 3, kernel)), ("m", if_((3, out, out))),
        ),
        LOIHI,
    )  # fmt: skip
    x = rng.integers(0, 2, (10, 2, 2, size, size))
    run = integers.write(tmp_path / "v.npz", network, x)
    assert run.spikes["m"].any()
    with np.load(tmp_path / "v.npz", allow_pickle=False) as loaded:
        arrays = dict(loaded)
    found = on_lava(monkeypatch).run(arrays)
    for name in "nm":
        assert (found[f"spikes/{name}"] == run.spikes[name]).all()


def test_neurons_that_reset_themselves_are_as_neurons_reset_from_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LIFReset in the first step of each sample; IF, and as many silent steps as there are weights."""
    weights = np.random.default_rng(9).normal(0.3, 1, (2, 5, 5))
    graph = graphs.chain(
        (5,), ("w", nir.Linear(weights[0])), ("n", if_(5)), ("v", nir.Linear(weights[1])),
        ("m", if_(5)),
    )  # fmt: skip
    network = quantise.quantise(graph, LOIHI)
    events = np.random.default_rng(10).integers(0, 2, (4, 20, 5))
    (x,) = simulate.padded(network, events).values()
    integers.write(tmp_path / "v.npz", network, x)
    with np.load(tmp_path / "v.npz", allow_pickle=False) as loaded:
        arrays = dict(loaded)
    program = on_lava(monkeypatch)
    for reset, same in (("LIFReset", True), ("states", True), (None, False)):
        found = program.run(arrays, reset)
        assert (found["spikes/m"] == arrays["spikes/m"]).all() == same, reset
    stream = np.swapaxes(x, 0, 1).reshape(-1, 1, 5)
    expected = spikes(network, stream).reshape(4, -1, 5).swapaxes(0, 1)
    assert (found["spikes/m"] == expected).all()  # without a reset


def bundle(network: IntegerNetwork, x: np.ndarray, folder: Path) -> str:
    """The files that BRINGUP.md's lines need, and its text."""
    (folder / "test_data_set_0").mkdir(parents=True)
    run = integers.write(folder / "test_data_set_0" / integers.NAME, network, x)
    classes = next(p.shape[0] for p in network.populations if p.output)
    samples = bringup.Samples(
        np.zeros(x.shape[1], int), [str(n) for n in range(classes)], ["x"], 1000
    )
    return bringup.write(network, run, samples)


@pytest.mark.parametrize("chip", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
def test_the_lines_of_bringup_run(
    number: int,
    chip: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    network, x = lava_networks.draw(number, np.random.default_rng(number))
    folder = tmp_path / "bundle"
    text = bundle(network, x, folder)
    called: list[str] = []
    on_lava(monkeypatch, called)
    monkeypatch.chdir(folder)
    before = sorted(path.name for path in folder.rglob("*"))
    lines = [line[4:] for line in text.splitlines() if line.startswith("    ") or not line]
    code = "\n".join(lines).replace("chip = False", f"chip = {chip}")
    exec(compile(code, "BRINGUP.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    compared = [line for line in printed if line.endswith(" differ")]
    assert len(compared) >= len(network.populations)
    (output,) = (p for p in network.populations if p.output)
    with np.load("measured/loihi_answers.npz") as saved:
        counts = saved[f"spikes/{output.name}"].sum(axis=0)
    if not chip:  # on the chip neurons reset themselves, and what is on its way arrives
        assert all(": 0 of " in line for line in compared)
        assert f"classes: {counts.argmax(-1).tolist()}" in printed
        with np.load("test_data_set_0/integer_vectors.npz") as v:
            assert (counts == v[f"spikes/{output.name}"].sum(axis=0)).all()
    assert called == (["N3B3"] if chip else [])
    assert {type(config).__name__ for config in fake_lava.CONFIGS} == (
        {"Loihi2HwCfg"} if chip else {"Loihi2SimCfg"}
    )
    # Nothing is left in the bundle but in the folder that verify.py does not look at.
    added = ["measured", "loihi_answers.npz"]
    assert sorted(path.name for path in folder.rglob("*")) == sorted([*before, *added])


def test_bringup_says_where_a_reset_is_needed_and_what_differs_on_the_chip(tmp_path: Path) -> None:
    graph = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", if_(2)))
    text = bundle(quantise.quantise(graph, LOIHI), np.ones((5, 2, 2), int), tmp_path / "a")
    assert "**Reset between recordings.** `n` has no leak" in text
    assert "they are 128" in text and "lava#322" in text
    leaky = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", lif(2, 0.5)))
    text = bundle(quantise.quantise(leaky, LOIHI), np.ones((5, 2, 2), int), tmp_path / "b")
    assert "**Reset between recordings.**" not in text


def test_shipped_files_stay_as_they_are_without_anything_new(tmp_path: Path) -> None:
    """Without biases, groups, dilation, delays the file says nothing of them, and no bias of the chip."""
    population = Population("n", (1,), np.asarray(100), reset="v_reset", output=True)
    weight = Weight("input", "n", "w", np.full((1, 1), 2), (1,))
    network = IntegerNetwork(LOIHI, {"input": (1,)}, (population,), (weight,))
    integers.write(tmp_path / "v.npz", network, np.ones((3, 1, 1), int))
    with np.load(tmp_path / "v.npz") as stored_:
        content = json.loads(str(stored_["network"]))
        assert not [key for key in stored_ if key.startswith(("bias", "delay"))]
    assert content["chip"]["neuron.bias"] is False
    assert set(content["weights"][0]) == {
        "source", "target", "node", "shape", "pools", "stride", "padding",
    }  # fmt: skip
    assert set(content["neurons"][0]) == {"name", "shape", "reset", "output"}
