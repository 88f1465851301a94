"""From a trained graph to integers, to a file, and back."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import graphs
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import constraints, grid, profile, quantise, simulate, straight_through
from spyx_nir.hardware.families.speck.qat import reach_a_bound
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

RNG = np.random.default_rng(11)
XYLO, LOIHI, SPECK = (profile.load(name) for name in ("xylo-audio-2", "loihi", "speck-2f"))


def braille(reset: str, hidden: int = 12, **options: Any) -> dict[str, Any]:
    return graphs.recurrent(
        RNG.normal(size=(hidden, 5)) * 0.6,
        RNG.normal(size=(hidden, hidden)) * 0.2,
        RNG.normal(size=(3, hidden)) * 0.6,
        graphs.cuba(hidden, 0.55, 0.9, reset=reset, **options),
        graphs.cuba(3, 0.5, 0.55, reset=reset),
    )


def small_scnn(reset: str) -> dict[str, Any]:
    """Two convolutions, pooling, a dense layer, all IF; dt 1 step."""
    return graphs.chain(
        (2, 12, 12),
        ("conv_0", graphs.conv(RNG, (2, 12, 12), 4, 3, 2, 1)),
        ("if_1", graphs.if_((4, 6, 6), 2.0, reset)),
        ("pool_2", graphs.pool()),
        ("conv_3", graphs.conv(RNG, (4, 3, 3), 5)),
        ("if_4", graphs.if_((5, 3, 3), 1.5, reset)),
        ("flatten", nir.Flatten({"input": np.array([5, 3, 3])}, 0, -1)),
        ("linear_5", nir.Linear(RNG.normal(size=(4, 45)).astype(np.float32))),
        ("if_6", graphs.if_(4, 1.0, reset)),
        dt=1.0,
    )


def through_a_file(graph: dict[str, Any], tmp_path: Path, version: str = "1.0.8") -> dict[str, Any]:
    file.write(tmp_path / "grid.nir", file.build(graph), version)
    return file.read_dict(tmp_path / "grid.nir")


def same(a: IntegerNetwork, b: IntegerNetwork) -> bool:
    def equal(x: Any, y: Any) -> bool:
        if x is None or y is None:
            return x is y
        return np.shape(x) == np.shape(y) and bool(np.all(np.asarray(x) == np.asarray(y)))

    fields = ("name", "shape", "threshold", "decay_syn", "decay_mem", "reset", "output", "exponent")
    return (
        a.inputs == b.inputs
        and all(
            equal(getattr(p, f), getattr(q, f))
            if f not in ("name", "reset")
            else getattr(p, f) == getattr(q, f)
            for p, q in zip(a.populations, b.populations, strict=True)
            for f in fields
        )
        and all(
            equal(v.values, w.values)
            and (v.source, v.target, v.node, v.shape, v.pools, v.stride, v.padding)
            == (w.source, w.target, w.node, w.shape, w.pools, w.stride, w.padding)
            for v, w in zip(a.weights, b.weights, strict=True)
        )
    )


CASES = {
    "xylo": (lambda: braille("subtract"), XYLO),
    "loihi": (lambda: braille("v_reset"), LOIHI),
    "loihi-conv": (lambda: small_scnn("v_reset"), LOIHI),
    "speck": (lambda: small_scnn("subtract"), SPECK),
}


# ------------------------------------------------------------------------------- rounding by hand


def test_weights_and_thresholds_of_a_layer_by_hand() -> None:
    """Loihi, largest weight 0.5: K = 254 / 0.5 = 508. 0.3 K = 152.4 -> 152, -0.1 K = -50.8 -> -50
    (to the nearest even number: -50.8 / 2 = -25.4 -> -25); threshold 1 K = 508; 2^-9 = 1/512."""
    weight = np.array([[0.5, 0.3, -0.1]])
    graph = graphs.chain(
        (3,), ("w", nir.Linear(weight)), ("n", graphs.cuba(1, 0.5, 0.75, reset="v_reset"))
    )
    network = quantise.quantise(graph, LOIHI)
    assert network.weights[0].values.tolist() == [[254, 152, -50]]
    (population,) = network.populations
    assert (population.threshold.item(), population.exponent.item()) == (508, 9)
    assert (population.decay_syn.item(), population.decay_mem.item()) == (2048, 3072)
    made = quantise.on_grid(graph, network)["nodes"]
    assert made["w"]["weight"].tolist() == [[254 / 512, 152 / 512, -50 / 512]]
    assert made["n"]["v_threshold"].tolist() == [508 / 512]


def test_xylo_has_a_scale_for_each_neuron_and_decays_after_adding() -> None:
    """Row 0: K = 127 / 0.5 = 254, row 1: 127 / 0.2 = 635. Decay 0.5: the threshold is half of K."""
    w = np.array([[0.5, -0.25], [0.2, 0.1]])
    graph = graphs.recurrent(
        w, np.zeros((2, 2)), np.eye(2), graphs.cuba(2, 0.5, 0.75), graphs.cuba(2, 0.75, 0.5)
    )
    network = quantise.quantise(graph, XYLO)
    w_in = next(weight for weight in network.weights if weight.node == "w_in")
    assert w_in.values.tolist() == [[127, -64], [127, 64]]  # 63.5 rounds to even
    hidden, out = network.populations
    assert hidden.threshold.tolist() == [127, 318]  # 317.5 rounds to even
    assert hidden.exponent.tolist() == [8, 9]
    assert (hidden.decay_syn.item(), hidden.decay_mem.item()) == (1, 2)
    assert out.threshold.tolist() == [95, 95]  # 0.75 * 127 = 95.25
    made = quantise.on_grid(graph, network)["nodes"]
    lif = made["hidden"]["nodes"]["lif"]
    np.testing.assert_array_equal(lif["w_in"], np.float32(1.0))  # a tau_syn / dt = 0.5 * 2
    np.testing.assert_array_equal(lif["tau_syn"], np.float32(2 * graphs.DT))
    assert lif["metadata"]["spike_delay"] == 1
    assert made["out"]["metadata"]["spike_delay"] == 0


def test_a_gain_goes_into_the_weights() -> None:
    """r = 3/dt instead of 1/dt is a weight of 3 times the size."""
    plain, louder = (
        graphs.chain((2,), ("w", nir.Linear(w)), ("n", graphs.if_(1, reset="v_reset", dt=dt)), dt=1.0)
        for w, dt in ((np.array([[0.75, -0.3]]), 1.0), (np.array([[0.25, -0.1]]), 1 / 3))
    )  # fmt: skip
    assert same(quantise.quantise(plain, LOIHI), quantise.quantise(louder, LOIHI))


def test_grids() -> None:
    assert grid.weight_range(8) == (-128, 127)
    assert grid.weight_range(9, 2) == (-256, 254)
    assert grid.weights_on_grid([3.0, -200.0, 0.4], 1.0, 8).tolist() == [3, -128, 0]
    # tau/dt = 1/(1 - d): 2, 10, 1.05 -> log2 1, 3.32, 0.07
    assert grid.shift_of([0.5, 0.9, 0.05], 4).tolist() == [1, 3, 0]
    assert grid.decay_on_grid([0.9], "shift", 4).tolist() == [0.875]
    assert grid.fraction_of([0.55, 1.0], 12).tolist() == [2253, 4096]


def test_rounding_in_training_is_rounding_in_quantisation_and_lets_gradients_pass() -> None:
    weights = jnp.asarray([0.3, -0.7, 9.0, -9.0])
    rounded = straight_through.fake_weights(weights, 100.0, 8)
    assert rounded.tolist() == [30, -70, 127, -128]
    assert grid.weights_on_grid(weights, 100.0, 8).tolist() == [30, -70, 127, -128]
    slope = jax.grad(lambda w: straight_through.fake_weights(w, 100.0, 8).sum())(weights)
    assert slope.tolist() == [100, 100, 0, 0]  # nothing passes where it is clipped


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([-127.0, 3, 73], [-128, 3, 73]),
        ([-100, 101, 0], [-100, 127, 0]),
        ([5, 127, -127], [5, 127, -127]),
        ([-128, 126, 1], [-128, 126, 1]),
        ([0, 0, 0], [0, 0, 0]),
    ],
)
def test_a_layer_that_sinabs_would_stretch_reaches_a_bound(
    weights: list[float], expected: list[float]
) -> None:
    given = jnp.asarray(weights, jnp.float32)
    assert reach_a_bound(given, 8).tolist() == expected
    slope = jax.grad(lambda w: reach_a_bound(w, 8).sum())(given)
    assert slope.tolist() == [1, 1, 1]


def test_fake_fractions_are_the_grids_and_their_slope_is_that_of_what_they_round() -> None:
    decays = jnp.asarray([0.25, 0.5001], jnp.float32)
    assert straight_through.fake_fraction(decays, 12).tolist() == [1024, 2048]
    slope = jax.grad(lambda x: straight_through.fake_fraction(x, 12).sum())(decays)
    assert slope.tolist() == [4096, 4096]


# ----------------------------------------------------------------------------------- to and fro


@pytest.mark.parametrize("name", CASES)
def test_the_integers_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    make, chip = CASES[name]
    graph = make()
    network = quantise.quantise(graph, chip)
    written = through_a_file(quantise.on_grid(graph, network), tmp_path)
    assert same(quantise.recover(written, chip), network)
    for path, node in file.nodes(written):  # float32 holds every number
        for key in ("weight", "v_threshold"):
            assert key not in node or node[key].dtype == np.float32, path


@pytest.mark.parametrize("name", CASES)
def test_quantising_what_is_on_the_grid_changes_nothing(name: str, tmp_path: Path) -> None:
    """Up to the factor of a neuron whose largest weight is not the chip's largest."""
    make, chip = CASES[name]
    graph = make()
    first = quantise.quantise(graph, chip)
    on = through_a_file(quantise.on_grid(graph, first), tmp_path)
    again = quantise.quantise(on, chip)
    for a, b in zip(first.weights, again.weights, strict=True):
        assert (a.values == b.values).all()


def test_the_older_file_version_holds_the_grid_too(tmp_path: Path) -> None:
    graph = braille("subtract")
    network = quantise.quantise(graph, XYLO)
    written = through_a_file(quantise.on_grid(graph, network), tmp_path, "1.0.4")
    assert same(quantise.recover(written, XYLO), network)


def test_if_networks_on_loihi_are_the_same_as_floats_and_as_integers(tmp_path: Path) -> None:
    """Nothing decays, so nothing is rounded: every spike agrees, each layer one step later."""
    graph = small_scnn("v_reset")
    network = quantise.quantise(graph, LOIHI)
    written = through_a_file(quantise.on_grid(graph, network), tmp_path)
    x = RNG.integers(0, 3, (20, 4, 2, 12, 12)) * (RNG.random((20, 4, 2, 12, 12)) < 0.2)
    floats = reference.run(make_plan(written), x)
    longer = np.concatenate([x, np.zeros((3, *x.shape[1:]), int)])
    integers = simulate.run(network, {"input": longer})
    for late, name in enumerate(("if_1", "if_4", "if_6"), 1):
        assert floats.spikes[name].sum() > 20
        assert (integers.spikes[name][late : late + 20] == floats.spikes[name]).all()
    assert set(integers.saturated.values()) == {0}


def test_speck_and_floats_agree_where_the_rules_are_one(tmp_path: Path) -> None:
    """A neuron that never stood at its threshold or its floor and never spiked twice in a step."""
    layer = graphs.conv(RNG, (2, 12, 12), 4)
    graph = graphs.chain((2, 12, 12), ("conv", layer), ("if", graphs.if_((4, 12, 12), 8.0)), dt=1.0)
    network = quantise.quantise(graph, SPECK)
    written = through_a_file(quantise.on_grid(graph, network), tmp_path)
    x = (RNG.random((30, 8, 2, 12, 12)) < 0.2).astype(int)
    floats = reference.run(make_plan(written), x).spikes["if"]
    run = simulate.run(network, {"input": x}, record=True)
    counts, membranes = run.spikes["if"], run.membranes["if"]
    tie = (counts == 1) & (membranes == 0)
    apart = (counts > 1) | tie | (membranes == -network.populations[0].threshold)
    same_rule = ~apart.any(axis=0)
    assert same_rule.mean() > 0.3
    assert floats[:, same_rule].sum() > 500
    assert (counts[:, same_rule] == floats[:, same_rule]).all()


def finer(chip: profile.Profile, bits: int) -> profile.Profile:
    """The same chip with `bits` more bits in weights, thresholds and states."""
    facts = dict(chip.facts)
    for key in ("weights.bits", "state.bits", "state.threshold_bits"):
        facts[key] = dataclasses.replace(facts[key], value=facts[key].value + bits)
    return dataclasses.replace(chip, facts=facts)


def test_floats_are_what_finer_and_finer_integers_come_to(tmp_path: Path) -> None:
    """With decays states are rounded in every step. A wrong scale, gain, delay or decay would stay."""
    for reset, chip in (("subtract", finer(XYLO, 12)), ("v_reset", finer(LOIHI, 6))):
        graph = graphs.recurrent(
            RNG.uniform(0.05, 0.3, (12, 5)),
            np.zeros((12, 12)),
            RNG.uniform(0.05, 0.3, (3, 12)),
            graphs.cuba(12, 0.55, 0.9, reset=reset),
            graphs.cuba(3, 0.5, 0.55, reset=reset),
        )
        network = quantise.quantise(graph, chip)
        written = through_a_file(quantise.on_grid(graph, network), tmp_path)
        x = (RNG.random((60, 8, 5)) < 0.15).astype(int)
        floats = reference.run(make_plan(written), x).fired["hidden.lif"]
        late = 1 if chip.name == "loihi" else 0
        longer = np.concatenate([x, np.zeros((1, *x.shape[1:]), int)])
        integers = simulate.run(network, {"input": longer}).spikes["hidden.lif"][late : late + 60]
        assert floats.sum() > 300
        # What is left: several spikes in a step, and ties within 2^-18 of the threshold.
        assert (floats != np.minimum(integers, 1)).mean() < 0.002, chip.name


# --------------------------------------------------------------------------------------- refusals


def _graph(change: Any) -> dict[str, Any]:
    graph = braille("subtract")
    network = quantise.quantise(graph, XYLO)
    on = quantise.on_grid(graph, network)
    change(on)
    return on


def _told(**changes: Any) -> Any:
    def change(graph: dict[str, Any]) -> None:
        told = json.loads(graph["metadata"]["grid"])
        graph["metadata"]["grid"] = json.dumps({**told, **changes})

    return change


def _weight(graph: dict[str, Any]) -> None:
    graph["nodes"]["w_in"]["weight"][1, 2] += np.float32(2.0**-20)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda graph: graph["metadata"].pop("grid"), "the graph is not on a chip's grid"),
        (lambda graph: graph["metadata"].update(grid="{"), "the contract's `grid` is '{'"),
        (_told(target="loihi"), "on the grid of loihi, not of xylo-audio-2"),
        (_told(version=2), "the contract's `grid` is"),
        (_told(exponents={}), "`hidden.lif`: `grid` has no exponents"),
        (_weight, r"`w_in`: weight .* at \(1, 2\) is not on the grid"),
        (
            lambda graph: graph["nodes"]["out"].update(w_in=graph["nodes"]["out"]["w_in"] * 1.5),
            "`out`: the gain .* of its input is not on the grid",
        ),
    ],
)
def test_what_is_not_on_the_grid_is_refused(change: Any, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        quantise.recover(_graph(change), XYLO)


def test_what_cannot_be_quantised_is_refused() -> None:
    with pytest.raises(GraphError, match="target generic has no integer semantics"):
        quantise.quantise(braille("subtract"), profile.load("generic"))
    with pytest.raises(GraphError, match="resets by v_reset, the target by subtract"):
        quantise.quantise(braille("v_reset"), XYLO)
    graph = braille("subtract")
    graph["nodes"]["w_out"]["weight"] = graph["nodes"]["w_out"]["weight"] * 1e4
    with pytest.raises(GraphError, match="which xylo-audio-2 rounds to 0"):
        quantise.quantise(graph, XYLO)
    graph = braille("subtract")
    graph["nodes"]["out"] = graphs.cuba(3, 0.2, 0.5).to_dict()
    with pytest.raises(GraphError, match=r"the decay 0.2 of its current becomes 0 on the grid"):
        quantise.quantise(graph, XYLO)


def two_inputs_of_a_layer(small: float) -> dict[str, Any]:
    """Xylo's scale follows the largest weight of a neuron, Loihi's that of a layer: 1 here, which
    becomes 127 (254). `small`, in the recurrent weights, becomes 127 (or 254) times itself."""
    eye = np.eye(2)
    hidden, out = graphs.cuba(2, 0.5, 0.5, reset="subtract"), graphs.cuba(2, 0.5, 0.5)
    return graphs.recurrent(eye, small * eye, eye, hidden, out)


def test_a_matrix_that_becomes_all_zero_is_refused_by_quantise_and_by_fit() -> None:
    # 0.5 / 127 = 0.003937: 0.00393 rounds to 0, 0.00394 to 1.
    kept = quantise.quantise(two_inputs_of_a_layer(0.00394), XYLO)
    assert [w.values.tolist() for w in kept.weights if w.node == "hidden.w_rec"] == [
        [[1, 0], [0, 1]]
    ]
    assert constraints.check_constraints(two_inputs_of_a_layer(0.00394), XYLO).fits
    lost = two_inputs_of_a_layer(0.00393)
    said = (
        r"`hidden\.w_rec`: all of its weights, 0\.00393 at most, become 0 on the grid of xylo-audio"
    )
    with pytest.raises(GraphError, match=said):
        quantise.quantise(lost, XYLO)
    found = [f for f in constraints.check_constraints(lost, XYLO).findings if f.severity == "error"]
    assert [(f.code, f.layer, f.number) for f in found] == [("integers", "hidden.w_rec", "0.00393")]


def test_training_that_leaves_nothing_of_a_matrix_is_refused() -> None:
    graph = two_inputs_of_a_layer(0.25)
    network = quantise.quantise(graph, XYLO)
    weights = tuple(
        dataclasses.replace(w, values=w.values * (w.node != "hidden.w_rec"))
        for w in network.weights
    )
    with pytest.raises(
        GraphError, match=r"`hidden\.w_rec`: all of its weights, 0\.25 at most, become"
    ):
        quantise.on_grid(graph, dataclasses.replace(network, weights=weights))


def test_a_matrix_that_was_all_zero_before_is_a_warning() -> None:
    graph = two_inputs_of_a_layer(0.0)
    found = [f for f in constraints.check_constraints(graph, XYLO).findings if f.code == "zeros"]
    assert [(f.severity, f.layer) for f in found] == [("warning", "hidden.w_rec")]
    assert not quantise.quantise(graph, XYLO).weights[1].values.any()


@pytest.mark.parametrize("tau", [1.41, 1.42])
def test_fit_and_quantise_agree_on_a_decay_that_becomes_0(tau: float) -> None:
    # The shift is round(log2(tau / dt)): 0 below 2^0.5 = 1.41421, 1 above.
    graph = braille("subtract")
    graph["nodes"]["out"] = graphs.cuba(3, 1 - 1 / tau, 0.5).to_dict()
    found = [
        f for f in constraints.check_constraints(graph, XYLO).findings if f.severity == "error"
    ]
    if tau == 1.41:
        assert [(f.code, f.layer) for f in found] == [("decay", "out")]
        with pytest.raises(
            GraphError, match=r"`out`: the decay 0.29.* of its current becomes 0 on"
        ):
            quantise.quantise(graph, XYLO)
    else:
        assert found == []
        assert quantise.quantise(graph, XYLO).populations[-1].decay_syn.item() == 1


def test_what_quantise_refuses_fit_refuses_in_the_same_words() -> None:
    graph = braille("subtract")
    graph["nodes"]["w_out"]["weight"] = graph["nodes"]["w_out"]["weight"] * 1e4
    (found,) = (
        f for f in constraints.check_constraints(graph, XYLO).findings if f.severity == "error"
    )
    with pytest.raises(GraphError) as refused:
        quantise.quantise(graph, XYLO)
    assert str(refused.value) == f"`{found.layer}`: {found.reason}; {found.fix}"


def test_the_decays_that_fit_names_are_those_of_the_integers() -> None:
    # Loihi's du and dv are 0 to 4095 and stand for n = 4095 - du, n = 4096 - dv: 1 - 1e-5 becomes
    # 4095/4096 of a current and 1 of a membrane, and 1e-5 becomes 0 of a current, 1/4096 of a membrane.
    for alpha, beta, wanted in ((1 - 1e-5, 1 - 1e-5, (4095, 4096)), (1e-5, 1e-5, (0, 1))):
        graph = graphs.chain(
            (2,), ("w", nir.Linear(np.eye(2))), ("n", graphs.cuba(2, alpha, beta, reset="v_reset"))
        )
        (population,) = quantise.quantise(graph, LOIHI).populations
        assert (population.decay_syn.item(), population.decay_mem.item()) == wanted
        notes = [
            f.limit
            for f in constraints.check_constraints(graph, LOIHI).findings
            if f.code == "decay"
        ]
        assert notes == [f"{n / 4096:.6g}" for n in wanted]


def test_layers_run_in_their_order_also_where_spikes_are_late() -> None:
    """Stock Spyx layers have `spike_delay` 1, which a chip does not: the integers are the same."""
    graph = small_scnn("subtract")
    prompt = quantise.quantise(graph, SPECK)
    for name in ("if_1", "if_4", "if_6"):
        graph["nodes"][name]["metadata"]["spike_delay"] = 1
    late = quantise.quantise(graph, SPECK)
    assert [p.name for p in late.populations] == ["if_1", "if_4", "if_6"]
    assert same(prompt, late)


def test_the_network_of_the_paper_in_integers() -> None:
    graph = graphs.paper_scnn(RNG)
    network = quantise.quantise(graph, SPECK)
    run = simulate.run(network, {"input": RNG.integers(0, 2, (4, 2, 2, 34, 34))})
    assert run.spikes["if_12"].shape == (4, 2, 10)
