"""Xylo's hidden neurons, biases and membranes as outputs: what fits, and the integers by hand."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest
import xylo_bundles

from bench.vendors import compare, xylo_networks
from spyx_nir.bundle import integers
from spyx_nir.bundle.templates import verify_integers
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import (
    constraints,
    judge,
    profile,
    qat,
    quantise,
    simulate,
    threshold_balancing,
)
from spyx_nir.hardware.constrain import variant
from spyx_nir.hardware.families.xylo.simulator import hidden_ids, ordered
from spyx_nir.hardware.findings import Report
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight

XYLO, AUDIO_3, IMU = (profile.load(n) for n in ("xylo-audio-2", "xylo-audio-3", "xylo-imu"))
GOLDEN = Path(__file__).parent / "golden" / "xylo_forms.npz"


def layers(*sizes: int) -> dict[str, Any]:
    """A chain of matrices of ones and populations of CubaLIF."""
    nodes: list[tuple[str, Any]] = []
    for number, (before, size) in enumerate(itertools.pairwise(sizes)):
        nodes.append((f"w_{number}", nir.Linear(np.ones((size, before), np.float32))))
        nodes.append((f"n_{number}", graphs.cuba(size, 0.5, 0.75)))
    return graphs.chain((sizes[0],), *nodes)


def report(graph: dict[str, Any], chip: profile.Profile) -> Report:
    return constraints.check_constraints(graph, chip)


def errors(graph: dict[str, Any], chip: profile.Profile) -> list[tuple[str, str, Any, Any]]:
    found = report(graph, chip).findings
    return [(f.code, f.layer, f.number, f.limit) for f in found if f.severity == "error"]


# ----------------------------------------------------------------------- what the matrices hold


def test_an_input_that_leads_straight_to_an_output_is_refused() -> None:
    graph = xylo_bundles.residual()
    graph["nodes"]["straight"] = nir.Linear(np.ones((7, 12), np.float32)).to_dict()
    graph["edges"] += [("input", "straight"), ("straight", "out")]
    expected = [("wiring", "out", "input", "hidden neurons in between")]
    assert errors(graph, XYLO) == expected
    assert judge.judge(graph, XYLO).verdict == "refused"
    with pytest.raises(GraphError, match="`straight` leads from the input `input` straight to"):
        quantise.quantise(graph, XYLO)


def test_two_matrices_between_the_same_populations_are_refused() -> None:
    graph = xylo_bundles.residual()
    graph["nodes"]["twice"] = graph["nodes"]["b"]
    graph["edges"] += [("one", "twice"), ("twice", "two")]
    assert errors(graph, XYLO) == [("wiring", "two", 2, 1)]


@pytest.mark.parametrize(
    ("sizes", "chip", "expected"),
    [
        ((12, 128, 7), XYLO, []),
        ((4, 1000, 8), XYLO, []),
        ((2, 10, 64, 4), XYLO, []),
        ((2, 10, 65, 4), XYLO, [("fan-out", "n_0", 65, 64)]),
        # Weights to outputs do not count: 60 + 8 leave a neuron, 60 within the hidden ones.
        ((2, 8, 60, 8), XYLO, []),
        ((2, 10, 65, 4), AUDIO_3, []),
        # 500 * 64 = 32 000 weights between hidden neurons fill the memory, 501 * 64 do not fit.
        ((2, 500, 64, 4), XYLO, []),
        ((2, 501, 64, 4), XYLO, [("hidden-synapses", "w_1", 501 * 64, 32000)]),
        ((16, 128, 8), AUDIO_3, []),
        ((16, 128, 128, 8), AUDIO_3, []),
        ((16, 60, 60, 60, 60, 8), IMU, []),
        (
            (16, 200, 8),
            AUDIO_3,
            [("input-reach", "n_0", 200, 128), ("output-reach", "n_0", 200, 128)],
        ),
        ((8, 300, 4), IMU, [("input-reach", "n_0", 300, 128), ("output-reach", "n_0", 300, 128)]),
        ((8, 100, 130, 4), AUDIO_3, [("output-reach", "n_1", 130, 128)]),
    ],
)
def test_limits_between_hidden_neurons(
    sizes: tuple[int, ...], chip: profile.Profile, expected: list[Any]
) -> None:
    assert errors(layers(*sizes), chip) == expected


def test_neurons_that_are_fed_and_read_share_what_both_reach() -> None:
    """One layer of 100, all fed and read; 55 others behind it and 1 that is read: 156, of which inputs
    reach 128, outputs 128, both 128 + 128 - 156 = 100. With one more it is 99."""

    def branched(others: int) -> dict[str, Any]:
        graph = layers(4, 100, 2)
        nodes = {
            "to": nir.Linear(np.ones((others, 100), np.float32)),
            "more": graphs.cuba(others, 0.5, 0.5),
            "on": nir.Linear(np.ones((1, others), np.float32)),
            "last": graphs.cuba(1, 0.5, 0.5),
            "back": nir.Linear(np.ones((2, 1), np.float32)),
        }
        graph["nodes"] |= {name: node.to_dict() for name, node in nodes.items()}
        graph["edges"] += [*itertools.pairwise(["n_0", *nodes, "n_1"])]
        return graph

    assert errors(branched(55), AUDIO_3) == []
    assert errors(branched(56), AUDIO_3) == [("reach", "n_0", 100, 99)]
    (found,) = (f for f in report(branched(56), AUDIO_3).findings if f.code == "reach")
    assert "1 too many" in found.reason


def test_an_order_is_found_whenever_there_is_one() -> None:
    """Against trying every order of up to six neurons."""
    random = np.random.default_rng(2)
    solvable = 0
    for _ in range(150):
        count = int(random.integers(1, 7))
        fed, read = random.random((2, count)) < 0.5
        first, last = (int(n) for n in random.integers(1, count + 1, 2))

        good = [
            list(neurons)
            for neurons in itertools.permutations(range(count))
            if not (fed[[*neurons[first:]]].any() or read[[*neurons[: count - last]]].any())
        ]
        found = ordered(fed, read, first, last)
        assert (found is not None) == bool(good)
        if found is not None:
            solvable += 1
            assert found.tolist() in good
            if [*range(count)] in good:
                assert found.tolist() == [*range(count)]  # nothing moves without need
    assert 50 < solvable < 140


def test_where_hidden_neurons_go_follows_from_what_inputs_and_outputs_reach() -> None:
    """130 in front, of which the last 100 are fed, and 60 behind, of which the first 50 are read: as
    they come, inputs would miss two. The fed ones go to the front, the read ones to the back."""
    w_in, w_out = np.zeros((130, 1), np.int64), np.zeros((1, 60), np.int64)
    w_in[30:], w_out[:, :50] = 1, 1
    one = np.ones((), np.int64)
    populations = (
        Population("a", (130,), one, one, one),
        Population("b", (60,), one, one, one),
        Population("o", (1,), one, one, one, output=True),
    )
    weights = (
        Weight("i", "a", "w", w_in, (1,)),
        Weight("a", "b", "v", np.ones((60, 130), np.int64), (130,)),
        Weight("b", "o", "u", w_out, (60,)),
    )
    network = IntegerNetwork(AUDIO_3, {"i": (1,)}, populations, weights)
    ids = hidden_ids(network)
    assert sorted([*ids["a"], *ids["b"]]) == list(range(190))
    assert ids["a"][30:].tolist() == list(range(100)) and ids["b"][:50].tolist() == [
        *range(140, 190)
    ]
    on_audio_2 = hidden_ids(dataclasses.replace(network, profile=XYLO))
    assert on_audio_2["a"].tolist() == list(range(130))


# ------------------------------------------------------------------------ biases and membranes


def biased(bias: float, v_leak: float) -> dict[str, Any]:
    """One input, one hidden neuron with decays 0.5 and 0.75, one output."""
    hidden = graphs.cuba(1, 0.5, 0.75)
    hidden.v_leak = np.full(1, v_leak)
    return graphs.chain(
        (1,), ("w", nir.Affine(np.array([[0.5]]), np.array([bias]))), ("h", hidden),
        ("u", nir.Linear(np.array([[0.5]]))), ("o", graphs.cuba(1, 0.5, 0.75)),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bias", "v_leak", "expected"),
    [
        # K = 127 / 0.5, the chip's membrane is the decay 0.5 times K times NIR's: 127 of a threshold.
        (0.0, 0.5, 16),  # dt / tau_mem v_leak = 0.25 * 0.5: 15.875
        (0.125, 0.0, 32),  # settled, the current is 0.125 / (1 - 0.5): 0.25 * 127 = 31.75
        (0.125, 0.5, 48),  # 47.625
        (-0.125, 0.0, -32),
    ],
)
def test_a_bias_is_added_to_the_membrane(bias: float, v_leak: float, expected: int) -> None:
    graph = biased(bias, v_leak)
    network = quantise.quantise(graph, XYLO)
    hidden, out = network.populations
    assert hidden.threshold.tolist() == [127] and out.bias is None
    assert np.ravel(hidden.bias).tolist() == [expected]
    note = [f for f in report(graph, XYLO).findings if f.code == "bias"]
    assert [f.severity for f in note] == ["note"] * (bias != 0)
    made = quantise.on_grid(graph, network)
    assert not made["nodes"]["w"]["bias"].any()
    quantise.check_recovery(made, network)
    # The graph on the grid adds as much: expected * 2^-8 to a threshold of 127 * 2^-8.
    leak = made["nodes"]["h"]["v_leak"] * graphs.DT / made["nodes"]["h"]["tau_mem"]
    np.testing.assert_array_equal(leak, np.float32(expected / 256))
    assert judge.judge(made, XYLO).verdict == judge.judge(graph, XYLO).verdict == "fits"


def test_the_bias_is_added_beside_the_current() -> None:
    """v: 0 -> 40 -> 40 - 10 + 40 = 70; with the current's 50 and 25 besides, 90 -> 90 - 22 + 25 + 40."""
    two = np.asarray(2)
    neuron = Population("n", (1,), np.asarray(1000), np.asarray(1), two, bias=np.asarray(40))
    link = Weight("input", "n", "w", np.array([[100]]), (1,))
    network = IntegerNetwork(XYLO, {"input": (1,)}, (neuron,), (link,))
    for count, expected in ((0, [40, 70]), (1, [90, 133])):
        x = {"input": np.array([count, 0]).reshape(2, 1, 1)}
        assert simulate.run(network, x, record=True).membranes["n"].ravel().tolist() == expected


def test_a_bias_that_16_bits_do_not_hold_is_refused() -> None:
    """b / (1 - 0.5) * 0.5 K with K = 254: 200 is 50 800."""
    with pytest.raises(
        GraphError, match="a bias of 50800 in the unit of the membrane, at most 32767"
    ):
        quantise.quantise(biased(200.0, 0.0), XYLO)


def readout(node: Any) -> dict[str, Any]:
    w = np.array([[0.5, -0.25], [0.1, 0.1]])
    return graphs.chain(
        (2,), ("w", nir.Linear(np.eye(2))), ("h", graphs.cuba(2, 0.5, 0.5)), ("u", nir.Linear(w)),
        ("o", node),
    )  # fmt: skip


def li(decay: float) -> nir.LI:
    ones = np.ones(2, np.float32)
    return nir.LI(
        tau=graphs.DT / (1 - decay) * ones, r=ones / np.float32(1 - decay), v_leak=0 * ones
    )


def test_an_li_at_the_end_is_a_current_whose_membrane_is_read() -> None:
    """One scale for all outputs: K = 127 / 0.5. One input spike puts 127 into the current of the hidden
    neuron, 63 after its decay by 64 (63.5 is the threshold): it spikes once more a step later. An output
    keeps 0.75 of its current: 127 - 31 = 96, and its membrane is the current."""
    graph = readout(li(0.75))
    network = quantise.quantise(graph, XYLO)
    out = network.populations[-1]
    assert out.membrane and out.threshold.tolist() == 32767
    assert (out.decay_syn.item(), out.decay_mem.item()) == (2, 0)
    u = next(weight for weight in network.weights if weight.node == "u")
    assert u.values.tolist() == [[127, -64], [25, 25]]  # 63.5 to even, 25.4
    x = np.zeros((6, 1, 2), np.int64)
    x[0, 0, 0] = 4
    run = simulate.run(network, {"input": x})
    spikes, shown = run.spikes["h"][:, 0, 0].tolist(), run.shown(out)[:, 0, 0].tolist()
    current = 0
    for last, found in zip([0, *spikes], shown, strict=False):
        current += 127 * last
        current -= current >> 2 if current >> 2 else int(current > 0)
        assert found == current
    assert max(shown) > 200 and not run.spikes["o"].any()
    made = quantise.on_grid(graph, network)
    quantise.check_recovery(made, network)
    assert judge.judge(made, XYLO).fits
    # NIR's equation of the graph on the grid, on the same spikes, in units of 2^-8; each of a current's
    # decays rounds by less than one.
    node, v = made["nodes"]["o"], 0.0
    for last, found in zip([0, *spikes], shown, strict=False):
        weight = float(made["nodes"]["u"]["weight"][0, 0])
        v += graphs.DT / node["tau"][0] * (node["r"][0] * weight * last - v)
        assert abs(v * 2**8 - found) < len(shown)


def test_a_cubali_at_the_end_keeps_both_decays() -> None:
    ones = np.ones(2, np.float32)
    node = nir.CubaLI(
        tau_syn=2 * graphs.DT * ones, tau_mem=4 * graphs.DT * ones, r=4 * ones, v_leak=0 * ones,
        w_in=2 * ones,
    )  # fmt: skip
    network = quantise.quantise(readout(node), XYLO)
    out = network.populations[-1]
    assert out.membrane and (out.decay_syn.item(), out.decay_mem.item()) == (1, 2)
    quantise.check_recovery(quantise.on_grid(readout(node), network), network)


def test_an_li_elsewhere_is_refused() -> None:
    graph = graphs.chain(
        (2,), ("w", nir.Linear(np.eye(2))), ("li", li(0.5)), ("u", nir.Linear(np.eye(2))),
        ("o", graphs.cuba(2, 0.5, 0.5)),
    )  # fmt: skip
    assert ("wiring", "li", "LI", "an output") in errors(graph, XYLO)


def test_files_keep_biases_and_membranes(tmp_path: Path) -> None:
    graph = xylo_bundles.residual(membrane=True, biased=True)
    network = quantise.quantise(graph, XYLO)
    file.write(tmp_path / "grid.nir", file.build(quantise.on_grid(graph, network)))
    quantise.check_recovery(file.read_dict(tmp_path / "grid.nir"), network)
    x = np.random.default_rng(4).integers(0, 3, (20, 3, 12))
    run = integers.write(tmp_path / integers.NAME, network, x)
    with np.load(tmp_path / integers.NAME, allow_pickle=False) as loaded:
        again = verify_integers.network_of(dict(loaded))
    shown = simulate.run(dataclasses.replace(again, profile=XYLO), {"input": x}).shown(
        again.populations[-1]
    )
    assert again.populations[-1].membrane
    assert (shown == run.membranes["out"]).all() and np.abs(shown).max() > 100


# ----------------------------------------------------------------------------- XyloSim, and JAX


def forms() -> dict[str, dict[str, np.ndarray]]:
    with np.load(GOLDEN, allow_pickle=False) as loaded:
        return compare.nested({key: loaded[key] for key in loaded.files})


def test_every_form_of_network_spikes_as_in_xylosim() -> None:
    """Recorded by `bench.vendors.compare --record`; see golden/SOURCE.md."""
    found = forms()
    assert len(found) == 10
    seen = dict.fromkeys(("bias", "membrane", "saturated", "moved"), 0)
    for name, case in found.items():
        network = verify_integers.network_of(case)
        run = simulate.run(network, {"input": case["input"].astype(np.int64)}, record=True)
        kinds = {"spikes": run.spikes, "current": run.currents, "membrane": run.membranes}
        for key, expected in case.items():
            kind, _, population = key.partition("/")
            if kind in kinds:
                assert (kinds[kind][population] == expected).all(), (name, key)
        seen["bias"] += any(p.bias is not None for p in network.populations)
        seen["membrane"] += network.populations[-1].membrane
        seen["saturated"] += sum(run.saturated.values())
        ids = np.concatenate([*hidden_ids(network).values()])
        seen["moved"] += int((ids != np.arange(len(ids))).any())
    assert all(seen.values()), seen


def test_a_bias_of_one_more_would_be_seen() -> None:
    case = next(case for case in forms().values() if "bias/a" in case)
    network = verify_integers.network_of({**case, "bias/a": case["bias/a"] + 1})
    run = simulate.run(network, {"input": case["input"].astype(np.int64)})
    assert (run.spikes["a"] != case["spikes/a"]).any()


def test_training_runs_the_same_biases_and_membranes() -> None:
    """Random networks in which no current saturates, which JAX does not spike by spike, and no membrane
    meets its threshold exactly, where XLA's division by a constant may round to either side."""
    random = np.random.default_rng(6)
    seen = dict.fromkeys(("bias", "membrane"), 0)
    for number in range(45):
        network, x = xylo_networks.draw(number, random)
        run = simulate.run(network, {"input": x})
        if any(run.saturated.values()) or any(run.ties.values()):
            continue
        try:
            trace = qat.run(network, x)
        except GraphError as cycle:
            assert "feed each other" in str(cycle)
            continue
        for p in network.populations:
            assert (np.asarray(trace.spikes[p.name]) == run.shown(p)).all()
            seen["bias"] += p.bias is not None
            seen["membrane"] += p.membrane
    assert all(seen.values()), seen


def test_balancing_scales_a_bias_with_its_threshold() -> None:
    """A neuron that nothing but its bias drives: 30 a step and a threshold of 60 spike every other step
    or so; at a fifth of that rate the threshold is about five times as high."""
    neuron = Population(
        "n", (1,), np.asarray(60), np.asarray(1), np.asarray(15), bias=np.asarray(30)
    )
    out = Population(
        "o", (1,), np.asarray(32767), np.asarray(1), np.asarray(1), output=True, membrane=True
    )
    links = (
        Weight("input", "n", "w", np.zeros((1, 1), np.int64), (1,)),
        Weight("n", "o", "u", np.ones((1, 1), np.int64), (1,)),
    )
    network = IntegerNetwork(XYLO, {"input": (1,)}, (neuron, out), links)
    events = np.zeros((2, 60, 1), np.int64)
    raised = threshold_balancing.balanced(network, events, {"n": 0.1})
    threshold = raised.populations[0].threshold.item()
    rate = simulate.run(raised, simulate.padded(raised, events)).spikes["n"].mean()
    assert threshold > 60 and rate <= 1.5 * 0.1
    assert raised.populations[1].threshold.item() == 32767


def test_a_variant_keeps_biases() -> None:
    made = variant(biased(0.125, 0.5), XYLO)
    assert made["nodes"]["w"]["bias"].tolist() == [0.125]
    assert made["nodes"]["h"]["v_leak"].tolist() == [0.5]
