"""A chip's variant of a graph, where quantisation-aware training starts, and what it leads to."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import graphs
import nir
import numpy as np
import pytest
from end_to_end import tiny_task

from pipeline.schema import Target
from pipeline.training.qat import QatForward, task_for
from pipeline.training.trainer import Split, Trainer
from spyx_nir import neurobench
from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UserError
from spyx_nir.hardware import constraints, evaluate, profile, quantise, simulate
from spyx_nir.hardware.constrain import added_leak, variant, with_leak
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.threshold_balancing import balanced
from spyx_nir.hardware.topology import planned
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

XYLO, LOIHI, SPECK = (profile.load(name) for name in ("xylo-audio-2", "loihi", "speck-2f"))


def braille(hidden: int = 8, **options: Any) -> dict[str, Any]:
    random = np.random.default_rng(1)
    return graphs.recurrent(
        random.normal(size=(hidden, 12)) * 0.8,
        random.normal(size=(hidden, hidden)) * 0.3,
        random.normal(size=(7, hidden)) * 0.8,
        graphs.cuba(hidden, 0.55, 0.9, reset="v_reset", **options),
        graphs.cuba(7, 0.5, 0.55, reset="v_reset"),
    )


# --------------------------------------------------------------------------------- the variant


def test_the_variant_has_the_chips_reset_and_decays() -> None:
    """0.55 -> 1 - 2^-1 (tau 2.2 dt, log2 1.15), 0.9 -> 1 - 2^-3 (tau 10 dt, log2 3.3); gain stays 1."""
    nodes = dict(file.nodes(variant(braille(), XYLO)))
    hidden = nodes["hidden.lif"]
    assert hidden["metadata"]["reset"] == "subtract"
    for name, tau in (("tau_syn", 2), ("tau_mem", 8)):
        # float32 time constants
        np.testing.assert_allclose(hidden[name], tau * graphs.DT, rtol=1e-6)
    np.testing.assert_allclose(hidden["r"], 8, rtol=1e-6)
    np.testing.assert_allclose(hidden["w_in"], 2, rtol=1e-6)
    lava = dict(file.nodes(variant(braille(), LOIHI)))["hidden.lif"]
    assert lava["metadata"]["reset"] == "v_reset"
    np.testing.assert_allclose(1 - graphs.DT / lava["tau_mem"], 3686 / 4096, rtol=1e-6)


@pytest.mark.parametrize(("leak", "kept"), [(0.25, 3072), (0.1, 3686)])
def test_if_neurons_with_a_leak_keep_their_input_and_lose_a_share(leak: float, kept: int) -> None:
    """(1 - leak) * 4096 to the nearest, and v = kept / 4096 * v + x: 0.6 and then 0.6 * kept / 4096."""
    graph = graphs.chain((1,), ("w", nir.Linear(np.array([[0.6]]))), ("n", graphs.if_(1)), dt=1.0)
    made = variant(with_leak(graph, LOIHI, leak), LOIHI)
    assert graph["nodes"]["n"]["type"] == "IF"
    network = quantise.quantise(made, LOIHI)
    assert network.populations[0].decay_mem == kept and network.leakless() == []
    content = quantise.on_grid(made, network)
    share = kept / 4096
    node = content["nodes"]["n"]
    # float32 time constants
    np.testing.assert_allclose([node["tau"], node["r"]], 1 / (1 - share), rtol=1e-6)
    found = added_leak(planned(graph).plan, planned(content).plan, 1.0)
    assert found == {"n": pytest.approx(1 - share, rel=1e-6)}
    assert (quantise.recover(content, LOIHI).populations[0].decay_mem == kept).all()
    x = np.zeros((8, 1, 1), int)
    x[0] = 1
    run = simulate.run(network, {"input": x}, record=True)
    # Weight and threshold fill 8 bits, the membrane has 6 more; truncated in each step.
    weight, left = int(network.weights[0].values[0, 0]) << 6, []
    for _ in range(7):
        left.append(weight if not left else left[-1] * kept >> 12)
    assert run.membranes["n"][1:, 0, 0].tolist() == left  # a weight delays by a step


@pytest.mark.parametrize(
    ("chip", "leak", "neurons", "message"),
    [
        (SPECK, 0.25, graphs.if_(1), "`leak` is 0.25, and speck-2f has no LIF neurons, which leak"),
        (XYLO, 0.25, graphs.if_(1), "`leak` is 0.25, and xylo-audio-2 has no LIF neurons"),
        (LOIHI, 1e-5, graphs.if_(1), "`leak` is 1e-05, which loihi rounds to 0"),
        (LOIHI, 0.25, graphs.cuba(1, 0.5, 0.5), "`leak` is 0.25, and the graph has no IF neurons"),
    ],
)
def test_a_leak_that_nothing_can_have_is_refused(chip, leak, neurons, message) -> None:
    graph = graphs.chain((1,), ("w", nir.Linear(np.eye(1))), ("n", neurons))
    with pytest.raises(GraphError, match=message):
        with_leak(graph, chip, leak)


def test_decays_of_single_neurons_become_one_where_the_chip_has_one() -> None:
    """Logits of 0.2 and 0.8 are -1.386 and 1.386: their mean is that of 0.5."""
    graph = graphs.chain(
        (2,),
        ("w", nir.Linear(np.eye(2))),
        ("n", graphs.cuba(2, 0.5, np.array([0.2, 0.8]), reset="v_reset")),
    )
    node = dict(file.nodes(variant(graph, LOIHI)))["n"]
    np.testing.assert_allclose(node["tau_mem"], 2 * graphs.DT, rtol=1e-6)
    np.testing.assert_allclose(node["r"], 2, rtol=1e-6)
    assert quantise.quantise(variant(graph, LOIHI), LOIHI).populations[0].decay_mem == 2048


@pytest.mark.parametrize("infinite", [False, True])
def test_a_membrane_that_keeps_all_it_has_does_so_on_loihi(infinite: bool) -> None:
    """Lava's voltage decay dv = 0 stands for n = 4096, and in a graph for a decay of 1."""
    node = graphs.cuba(2, 0.5, 0.5, reset="v_reset")
    node.tau_mem[:] = np.inf if infinite else graphs.DT * 2.0**60
    node.r[:] = np.inf if infinite else 2.0**60
    graph = graphs.chain((2,), ("w", nir.Linear(np.eye(2))), ("n", node))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        moved = variant(graph, LOIHI)
        network = quantise.quantise(moved, LOIHI)
        assert network.populations[0].decay_mem == 4096
        assert not [
            f for f in constraints.check_constraints(graph, LOIHI).findings if f.code == "decay"
        ]
    held = dict(file.nodes(quantise.on_grid(moved, network)))["n"]
    assert (np.float64(graphs.DT) / held["tau_mem"] < 2.0**-54).all()
    assert np.isfinite(held["r"]).all()


def test_short_decays_keep_something_on_xylo() -> None:
    """0.1 is nearest to a shift of 0, which would leave nothing; the least is 0.5."""
    graph = graphs.recurrent(
        np.eye(2), np.eye(2), np.eye(2), graphs.cuba(2, 0.1, 0.1), graphs.cuba(2, 0.5, 0.5)
    )
    (population, _) = quantise.quantise(variant(graph, XYLO), XYLO).populations
    assert (population.decay_syn, population.decay_mem) == (1, 1)


def test_a_bias_that_the_chip_cannot_have_is_refused_and_does_not_vanish() -> None:
    layer = nir.Affine(np.eye(2), np.ones(2))
    graph = graphs.chain((2,), ("w", layer), ("n", graphs.if_(2, reset="v_reset")), dt=1.0)
    for chip in (SPECK, LOIHI):
        assert dict(file.nodes(variant(graph, chip)))["w"]["bias"].all()
    with pytest.raises(GraphError, match="`w`: 2 biases are not 0"):
        quantise.quantise(variant(graph, SPECK), SPECK)
    assert quantise.quantise(variant(graph, LOIHI), LOIHI).populations[0].bias.all()
    assert graph["nodes"]["n"]["metadata"]["reset"] == "v_reset"


# ------------------------------------------------------------------------- delays and agreement


def test_delays_of_a_chain_by_rule() -> None:
    """Two weights on the way: none on Speck, two on Loihi, one on Xylo (from hidden to output)."""
    links = tuple(Weight(s, t, s + t, np.array([[2]]), (1,)) for s, t in ("ih", "ho"))
    populations = tuple(Population(n, (1,), np.asarray(9), output=n == "o") for n in "ho")
    found = {
        chip.name: simulate.delays(IntegerNetwork(chip, {"i": (1,)}, populations, links))
        for chip in (SPECK, LOIHI, XYLO)
    }
    assert found == {
        "speck-2f": {"h": 0, "o": 0}, "loihi": {"h": 1, "o": 2}, "xylo-audio-2": {"h": 0, "o": 1},
    }  # fmt: skip
    network = IntegerNetwork(LOIHI, {"i": (1,)}, populations, links)
    assert simulate.padded(network, np.ones((3, 5, 1)))["i"].shape == (7, 3, 1)


def test_if_networks_on_loihi_agree_in_every_step_with_the_floats() -> None:
    """Nothing decays and nothing is rounded: agreement is exactly 1, in spite of the delays."""
    random = np.random.default_rng(2)
    graph = graphs.chain(
        (2, 8, 8),
        ("conv", graphs.conv(random, (2, 8, 8), 3)),
        ("hidden", graphs.if_((3, 8, 8), 2.0, "v_reset")),
        ("flatten", nir.Flatten({"input": np.array([3, 8, 8])}, 0, -1)),
        ("linear", nir.Linear(random.normal(size=(4, 192)).astype(np.float32))),
        ("out", graphs.if_(4, 2.0, "v_reset")),
        dt=1.0,
    )
    network = quantise.quantise(graph, LOIHI)
    plan = make_plan(quantise.on_grid(graph, network))
    events = (random.random((60, 9, 2, 8, 8)) < 0.2).astype(np.uint8)
    found = evaluate.assess(network, plan, events)
    assert found.predicted == found.as_floats
    for population in network.populations:
        layer = found.layers[population.name]
        # As many steps as the input has, whatever the delay: the rates of both are those of one number.
        assert layer["agreeing"] == layer["entries"] == 60 * 9 * np.prod(population.shape)
        assert layer["spikes"] == layer["float_spikes"] > 50
    # What the same graph costs without the chip and its silent steps, by the float interpreter.
    meter = neurobench.Meter(60)
    reference.run(plan, np.swapaxes(events, 0, 1), watch=neurobench.watch(plan, meter))
    for key, value in meter.counts.items():
        together = np.concatenate([part[key] for part in found.counts])
        assert (together == value).all(), key


# ------------------------------------------------------------------------------------- training


def same_numbers(a: IntegerNetwork, b: IntegerNetwork) -> None:
    for v, w in zip(a.weights, b.weights, strict=True):
        assert (v.values == w.values).all()
    for p, q in zip(a.populations, b.populations, strict=True):
        for key in ("threshold", "decay_syn", "decay_mem"):
            assert (getattr(p, key) == getattr(q, key)).all()


def small(name: str, **train: Any) -> Any:
    task = tiny_task(name, "v_reset")
    return dataclasses.replace(task, train=dataclasses.replace(task.train, **train))


def test_a_network_that_runs_away_is_calmed() -> None:
    """Weights of 1 among all hidden neurons: every spike makes more of them."""
    hidden = 6
    graph = graphs.recurrent(
        np.ones((hidden, 2)), np.ones((hidden, hidden)), np.ones((1, hidden)) * 0.3,
        graphs.cuba(hidden, 0.5, 0.75), graphs.cuba(1, 0.5, 0.5),
    )  # fmt: skip
    network = quantise.quantise(graph, XYLO)
    events = (np.random.default_rng(0).random((4, 40, 2)) < 0.2).astype(np.uint8)

    def rate(network: IntegerNetwork) -> float:
        return simulate.run(network, simulate.padded(network, events)).spikes["hidden.lif"].mean()

    assert rate(network) > 10
    calm = balanced(network, events, {"hidden.lif": 0.2, "out": 1.0})
    assert rate(calm) <= 0.3
    assert calm.populations[1].threshold.tolist() == network.populations[1].threshold.tolist()
    for a, b in zip(calm.weights, network.weights, strict=True):
        assert (a.values == b.values).all()


def qat(
    network: IntegerNetwork, task: Any, target: Target, samples: int
) -> tuple[QatForward, Trainer]:
    """Quantisation-aware training for one target of a task."""
    task = dataclasses.replace(task, targets={target.name: target})
    forward = QatForward(network, task, target.name)
    return forward, Trainer(forward, task_for(task, target.name), samples)


@pytest.mark.parametrize("chip", [XYLO, pytest.param(LOIHI, marks=pytest.mark.full)])
def test_training_on_the_grid_learns_and_stays_on_it(chip: profile.Profile) -> None:
    """Two letters, each on taxels of its own: the chip's rule must tell them apart."""
    random = np.random.default_rng(0)
    labels = np.arange(60) % 2
    events = np.zeros((60, 16, 12), np.uint8)
    for n, label in enumerate(labels):
        events[n, :, 6 * label : 6 * label + 6] = random.random((16, 6)) < 0.4
    task = small("braille", batch_size=12, max_time_shift=0, event_drop_rate=0.0, learn_decays=True)
    start = variant(braille(), chip)
    network = quantise.quantise(start, chip)
    train, validation = Split(events[:48], labels[:48]), Split(events[48:], labels[48:])
    correct: list[int] = []

    def trained() -> IntegerNetwork:
        forward, training = qat(network, task, Target(chip.name, 8, 0.02), 48)
        progress = training.start()
        for _ in training.epochs(progress, train, validation, lambda: None):
            correct.append(progress.correct)
        return forward.quantised(progress.best)

    found = trained()
    assert max(correct) == 12
    found.check()
    quantise.check_recovery(quantise.on_grid(start, found), found)
    assert any(
        (a.values != b.values).any() for a, b in zip(network.weights, found.weights, strict=True)
    )
    for a, b in zip(network.populations, found.populations, strict=True):
        assert (a.decay_mem != b.decay_mem) == (chip is LOIHI)
    same_numbers(found, trained())  # the same bytes twice


def test_the_start_is_what_was_rounded_and_large_weights_are_clipped() -> None:
    network = quantise.quantise(variant(braille(), LOIHI), LOIHI)
    tuning = QatForward(network, small("braille"), "loihi")
    floats = tuning.initial()
    same_numbers(tuning.quantised(floats), network)
    assert not any(floats["decays"].values())
    floats["weights"] = [1e6 * x for x in floats["weights"]]
    for value in tuning.quantised(floats).weights:
        assert set(np.unique(value.values)) <= {-256, 0, 254}


def test_layers_for_dynapcnn_reach_a_bound_of_their_bits() -> None:
    """Or sinabs, which stretches a layer to one, would round all weights anew."""
    graph = graphs.paper_scnn(np.random.default_rng(1))
    network = quantise.quantise(variant(graph, SPECK), SPECK)
    tuning = QatForward(network, small("nmnist"), "speck-2f")
    floats = tuning.initial()
    for a, b in zip(tuning.quantised(floats).weights, network.weights, strict=True):
        assert (a.values == b.values).all()
    floats["weights"] = [0.9 * x for x in floats["weights"]]
    for weight in tuning.quantised(floats).weights:
        assert weight.values.min() == -128 or weight.values.max() == 127


def test_decays_are_trained_where_the_grid_is_fine() -> None:
    """Loihi's decays go to logits and back unchanged; Xylo's shifts stay where they are."""
    task = small("braille", learn_decays=True)
    network = quantise.quantise(variant(braille(), LOIHI), LOIHI)
    tuning = QatForward(network, task, "loihi")
    floats = tuning.initial()
    assert {name: set(found) for name, found in floats["decays"].items()} == {
        "hidden.lif": {"decay_syn", "decay_mem"}, "out": {"decay_syn", "decay_mem"},
    }  # fmt: skip
    same_numbers(tuning.quantised(floats), network)
    # Logits of 0 and -1.0986 are decays of 1/2 and 1/4.
    floats["decays"]["out"] = {"decay_syn": np.float32(0), "decay_mem": np.float32(-1.0986123)}
    moved = tuning.quantised(floats).populations[1]
    assert (moved.decay_syn, moved.decay_mem) == (2048, 1024)
    xylo = quantise.quantise(variant(braille(), XYLO), XYLO)
    floats = QatForward(xylo, task, "xylo-audio-2").initial()
    assert not any(floats["decays"].values())


def test_the_rate_warms_up_from_zero() -> None:
    """Two epochs of one step; the first half of the steps warms up, so the first has rate zero."""
    network = quantise.quantise(variant(braille(), LOIHI), LOIHI)
    events = np.random.default_rng(0).random((12, 16, 12)) < 0.3
    split = Split(events.astype(np.uint8), np.arange(12) % 7)
    _, training = qat(network, small("braille", warm_up=0.5), Target("loihi", 2, 1e-2), 12)
    progress = training.start()
    seen = [progress.average["weights"]]
    for _ in training.epochs(progress, split, split, lambda: None):
        seen.append(progress.average["weights"])
    start, first, second = seen
    assert all((a == b).all() for a, b in zip(start, first, strict=True))
    assert any((a != b).any() for a, b in zip(first, second, strict=True))


def test_a_loss_that_is_no_number_names_the_rate() -> None:
    network = quantise.quantise(variant(braille(), LOIHI), LOIHI)
    _, training = qat(network, small("braille"), Target("loihi", 1, 1e30), 12)
    split = Split(np.ones((24, 16, 12), np.uint8), np.arange(24) % 7)
    training._step = lambda floats, average, state, *_: (floats, average, state, np.nan, 0)
    with pytest.raises(
        UserError, match=r"tasks\.braille\.targets\.loihi\.learning_rate \(1e\+30\)"
    ):
        list(training.epochs(training.start(), split, split, lambda: None))


# ------------------------------------------------------------------------------------- refusals


def test_an_overflow_that_nobody_describes_is_refused_with_its_place() -> None:
    population = Population("n", (1,), np.asarray(32767), output=True)
    link = Weight("input", "n", "w", np.array([[127]]), (1,))
    network = IntegerNetwork(SPECK, {"input": (1,)}, (population,), (link,))
    run = simulate.run(network, {"input": np.full((2, 1, 1), 250)})
    with pytest.raises(GraphError, match="`n`: 1 membranes beyond the 16 bits of speck-2f"):
        simulate.refuse_overflow(network, run.saturated)
    simulate.refuse_overflow(dataclasses.replace(network, profile=XYLO), run.saturated)


def test_a_graph_that_does_not_give_the_integers_back_is_refused() -> None:
    start = variant(braille(), LOIHI)
    network = quantise.quantise(start, LOIHI)
    content = quantise.on_grid(start, network)
    nodes = dict(file.nodes(content))
    nodes["w_out"]["weight"][1, 2] += 2 * 2.0 ** -int(network.populations[1].exponent)
    with pytest.raises(GraphError, match="weight `w_out` does not come back"):
        quantise.check_recovery(content, network)
    nodes["w_out"]["weight"][1, 2] += 1e-4
    with pytest.raises(GraphError, match=r"`w_out`: weight .* at \(1, 2\) is not on the grid"):
        quantise.check_recovery(content, network)


def test_targets_without_an_integer_rule_are_refused() -> None:
    network = quantise.quantise(variant(braille(), LOIHI), LOIHI)
    other = dataclasses.replace(network, profile=profile.load("spinnaker2"))
    with pytest.raises(GraphError, match="target spinnaker2 has no integer semantics"):
        simulate.run(other, {})
