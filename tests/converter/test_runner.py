"""A model of one structure is traced once per shape of data, however often it is imported."""

from __future__ import annotations

import nir
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx
from small_graphs import chain, full, graph, lif, linear

from spyx_nir import neurons
from spyx_nir.converter import from_nir, run

X = np.random.default_rng(0).random((4, 2, 3)).astype(np.float32)


class Counting(nnx.Module):
    """Hands on what it gets, and counts how often Python looks at it: once per trace."""

    seen = 0

    def __call__(self, x):
        type(self).seen += 1
        return x


def test_a_second_run_traces_nothing():
    Counting.seen = 0
    model = snn.Sequential(Counting(), snn.IF((3,)))
    first, _ = run(model, X)
    traced = Counting.seen
    second, _ = run(model, X)
    run(snn.Sequential(Counting(), snn.IF((3,))), X + 1)
    assert Counting.seen == traced > 0
    assert np.array_equal(first, second)
    run(model, X[:2])  # another number of steps is another shape
    assert Counting.seen > traced


def branching(weight):
    return graph(
        {
            "i": nir.Input(np.array([3])),
            "w": linear(value=weight),
            "l": lif(tau=2.0 + weight),
            "o": nir.Output(np.array([3])),
        },
        [("i", "w"), ("w", "l"), ("l", "o"), ("i", "o")],
    )


@pytest.mark.parametrize(
    "make", [branching, lambda weight: chain(linear(value=weight), lif(tau=2.0 + weight))]
)
def test_a_second_import_traces_nothing(make, monkeypatch):
    """Other weights and time constants, the same structure: the compiled program is used again."""
    seen = []
    original = neurons.LIF.__call__

    def counting(self, x, state):
        seen.append(1)
        return original(self, x, state)

    monkeypatch.setattr(neurons.LIF, "__call__", counting)
    _, first = from_nir(make(0.5), X)
    traced = len(seen)
    _, second = from_nir(make(1.0), X)
    from_nir(make(0.25), X, return_all_states=False)
    assert len(seen) == traced
    assert not np.array_equal(first, second)


def test_a_layer_made_with_lists_runs_too():
    """`padding=[(1, 1)]` cannot be a key of a cache; the result is the same."""
    conv = nnx.Conv(1, 1, (3,), padding=[(1, 1)], rngs=nnx.Rngs(0))
    same = nnx.Conv(1, 1, (3,), padding=((1, 1),), rngs=nnx.Rngs(0))
    x = X[..., None]
    np.testing.assert_allclose(
        run(snn.Sequential(conv), x)[0], run(snn.Sequential(same), x)[0], atol=1e-6
    )


def test_a_single_layer_runs_as_it_is():
    outputs, state = run(neurons.LIF((3,), 0.5), X)
    assert outputs.shape == (4, 2, 3)
    assert state.shape == (2, 3)
    outputs, _ = run(nnx.Linear(3, 2, kernel_init=lambda *_: full(1, (3, 2)), rngs=nnx.Rngs(0)), X)
    np.testing.assert_allclose(outputs[..., 0], X.sum(axis=-1), rtol=1e-6)
