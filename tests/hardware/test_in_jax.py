"""The integer rules in JAX: the vendors' spikes, the NumPy rules' counts, and gradients."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import graphs
import jax
import jax.numpy as jnp
import nir
import numpy as np
import pytest

from bench.vendors import compare
from spyx_nir.errors import GraphError
from spyx_nir.hardware import profile, qat, quantise, simulate, straight_through
from spyx_nir.hardware.network import IntegerNetwork, Population, Run, Weight

GOLDEN = Path(__file__).parent / "golden"
COUNTS = ("saturated", "multiple", "ties")


def agree(network: IntegerNetwork, x: np.ndarray) -> Run:
    """Run by both; every spike and every count must be the same."""
    (name,) = network.inputs
    run = simulate.run(network, {name: x})
    trace = qat.run(network, x)
    for population in run.spikes:
        assert (np.asarray(trace.spikes[population]) == run.spikes[population]).all(), population
    for what in COUNTS:
        found = {path: int(count) for path, count in getattr(trace, what).items()}
        assert found == getattr(run, what), what
    return run


@pytest.mark.parametrize("vendor", list(compare.PROGRAMS))
def test_spikes_are_the_vendors(vendor: str) -> None:
    """All recorded cases but those where Xylo's currents saturate spike by spike, which JAX does not."""
    with np.load(GOLDEN / f"{vendor}.npz", allow_pickle=False) as loaded:
        cases = compare.nested({key: loaded[key] for key in loaded.files})
    seen = 0
    for case in cases.values():
        if vendor == "xylosim" and any(compare.ours(vendor, case).saturated.values()):
            continue
        network = compare.network_of(vendor, case)
        trace = qat.run(network, np.swapaxes(case["input"], 0, 1))
        for population in ("hidden", "out"):
            mine = np.swapaxes(np.asarray(trace.spikes[population]), 0, 1)
            assert (mine == case[population]).all()
        seen += 1
    assert seen == {"xylosim": 4, "lava": 9}[vendor]


@pytest.mark.parametrize(("target", "reset"), [("speck-2f", "subtract"), ("loihi", "v_reset")])
def test_convolutions_pooling_and_counts_are_those_of_numpy(target: str, reset: str) -> None:
    random = np.random.default_rng(3)
    graph = graphs.chain(
        (2, 12, 12),
        ("conv_0", graphs.conv(random, (2, 12, 12), 4, 3, 2, 1)),
        ("if_1", graphs.if_((4, 6, 6), 2.0, reset)),
        ("pool_2", graphs.pool()),
        ("conv_3", graphs.conv(random, (4, 3, 3), 5)),
        ("if_4", graphs.if_((5, 3, 3), 1.5, reset)),
        ("flatten", nir.Flatten({"input": np.array([5, 3, 3])}, 0, -1)),
        ("linear_5", nir.Linear(random.normal(size=(4, 45)).astype(np.float32))),
        ("if_6", graphs.if_(4, 1.0, reset)),
        dt=1.0,
    )
    network = quantise.quantise(graph, profile.load(target))
    x = random.integers(0, 3, (12, 3, 2, 12, 12)) * (random.random((12, 3, 2, 12, 12)) < 0.3)
    run = agree(network, x)
    assert all(spikes.sum() > 5 for spikes in run.spikes.values())
    assert any(run.multiple.values()) == (target == "speck-2f")


def test_large_states_are_exact_on_loihi() -> None:
    """Currents near 2^23 times decays of 12 bits need 35 bits: more than float32 or int32 have."""
    chip = profile.load("loihi")
    neuron = Population(
        "n", (1,), np.asarray(131071), np.asarray(4001), np.asarray(3999), "v_reset", True
    )
    link = Weight("input", "n", "w", np.array([[254, -130]]), (2,))
    x = np.random.default_rng(0).integers(0, 200, (200, 4, 2))
    run = agree(IntegerNetwork(chip, {"input": (2,)}, (neuron,), (link,)), x)
    assert run.spikes["n"].sum() > 20


def test_the_slope_of_a_count() -> None:
    """1 between the first and the last threshold; beside them superspike, 1 / (1 + 4 d)^2."""
    x = jnp.asarray([0.75, 1.0, 2.7, 3.0, 3.25])
    assert straight_through.slope_of(x, 3, 4.0).tolist() == [1 / 4, 1, 1, 1, 1 / 4]
    once = straight_through.slope_of(jnp.asarray([0.75, 1.25]), 1, 4.0)
    assert once.tolist() == [1 / 4, 1 / 4]


def test_gradients_reach_the_weights_through_every_rule() -> None:
    """One neuron, one step, threshold 10, weight 8 of an input of 1: x = 0.8 (half of it on Xylo, whose
    current decays first), so the slope is (1 + 5 (1 - x))^-2, and of the weight x / 8 times that."""
    for target, share in (("xylo-audio-2", 0.5), ("speck-2f", 1.0)):
        decays: dict[str, Any] = {}
        if target == "xylo-audio-2":
            decays = {"decay_syn": np.asarray(1), "decay_mem": np.asarray(1)}
        neuron = Population("n", (1,), np.asarray(10), **decays, output=True)
        link = Weight("input", "n", "w", np.array([[8]]), (1,))
        network = IntegerNetwork(profile.load(target), {"input": (1,)}, (neuron,), (link,))

        def count(
            value: jax.Array, network: IntegerNetwork = network, link: Weight = link
        ) -> jax.Array:
            moved = dataclasses.replace(network, weights=(dataclasses.replace(link, values=value),))
            return qat.run(moved, jnp.ones((1, 1, 1)), 5.0).spikes["n"].sum()

        slope = jax.grad(count)(jnp.asarray([[8.0]])).item()
        distance = 1 - 0.8 * share
        # float32 division and squares
        assert slope == pytest.approx(share / 10 / (1 + 5 * distance) ** 2, rel=1e-6)


def test_gradients_reach_the_decays_on_loihi() -> None:
    """One input spike, seen one step late, of weight 100: the membrane is 100 (m + s) after another
    step, for decays m of the membrane and s of the current. Both are 0.5, so with a threshold of 125 that
    is x = 0.8 thresholds, and a step earlier as well: the slope there is (1 + 5 * 0.2)^-2 = 1/4, and of x
    by either n of n / 4096, 0.8 / 4096."""
    link = Weight("input", "n", "w", np.array([[100]]), (1,))

    def count(decays: dict[str, jax.Array]) -> jax.Array:
        neuron = Population("n", (1,), np.asarray(125), reset="v_reset", output=True)
        moved = dataclasses.replace(neuron, **decays)
        network = IntegerNetwork(profile.load("loihi"), {"input": (1,)}, (moved,), (link,))
        x = jnp.zeros((3, 1, 1)).at[0].set(1.0)
        return qat.run(network, x, 5.0).spikes["n"].sum()

    half = {name: jnp.asarray(2048.0) for name in ("decay_syn", "decay_mem")}
    for slope in jax.grad(count)(half).values():
        # float32 division and squares
        assert slope.item() == pytest.approx(0.25 * 0.8 / 4096, rel=1e-6)


def test_a_cycle_of_populations_is_refused() -> None:
    chip = profile.load("loihi")
    a, b = (Population(n, (1,), np.asarray(9), output=n == "b") for n in "ab")
    links = tuple(Weight(s, t, f"{s}{t}", np.array([[2]]), (1,)) for s, t in ("ia", "ab", "ba"))
    with pytest.raises(GraphError, match="`a` and `b` feed each other; a cycle"):
        qat.run(IntegerNetwork(chip, {"i": (1,)}, (a, b), links), jnp.ones((2, 1, 1)))
