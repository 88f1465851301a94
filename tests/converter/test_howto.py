"""The how-to of Spyx 1.0.0 on NIR, block by block, with one import changed.

Names that the how-to leaves undefined (`input_data`, `original_model`, the parameters) are supplied.
"""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx

import spyx_nir.converter as snir


@pytest.fixture(scope="module")
def feed_forward():
    """Export a feed-forward model: Linear, LIF, Linear, LI."""
    rngs = nnx.Rngs(0)
    model = snn.Sequential(
        nnx.Linear(128, 64, use_bias=False, rngs=rngs),
        snn.LIF((64,), beta=0.8, rngs=rngs),
        nnx.Linear(64, 20, use_bias=False, rngs=rngs),
        snn.LI((20,), rngs=rngs),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # everything in it can be expressed: nothing to warn of
        graph = snir.to_nir(
            model,
            input_shape={"input": (128,)},
            output_shape={"output": (20,)},
            dt=1.0,
        )
    return model, graph


def test_the_graph_is_one_of_nir_and_can_be_saved(feed_forward, tmp_path):
    _, nir_graph = feed_forward
    nir.write(tmp_path / "model.nir", nir_graph)
    assert isinstance(nir.read(tmp_path / "model.nir"), nir.NIRGraph)


def test_decays_become_time_constants(feed_forward):
    """tau = dt / (1 - beta), and the same dt in and out."""
    _, nir_graph = feed_forward
    np.testing.assert_allclose(nir_graph.nodes["lif_1"].tau, 1.0 / (1.0 - 0.8), rtol=1e-6)


def test_a_recurrent_model_becomes_a_subgraph_of_four_nodes():
    rngs = nnx.Rngs(0)
    model = snn.Sequential(
        nnx.Linear(8, 12, use_bias=False, rngs=rngs),
        snn.RLIF((12,), beta=0.85, rngs=rngs),
    )
    nir_graph = snir.to_nir(model, {"input": (8,)}, {"output": (12,)}, dt=1)
    (subgraph,) = [n for n in nir_graph.nodes.values() if isinstance(n, nir.NIRGraph)]
    assert len(subgraph.nodes) == 4
    # The recurrent weight and the decay come back exactly.
    (_, layer) = snir.load(nir_graph, 1).model.layers
    assert isinstance(layer, snn.RLIF)
    assert np.array_equal(layer.recurrent_w[...], model.layers[1].recurrent_w[...])
    assert (np.asarray(layer.beta[...]) == np.float32(0.85)).all()


def test_a_file_is_imported_run_and_reused(feed_forward, tmp_path):
    original_model, nir_graph = feed_forward
    nir.write(tmp_path / "model.nir", nir_graph)
    nir_graph = nir.read(tmp_path / "model.nir")
    input_data = jnp.asarray(np.random.default_rng(0).random((10, 5, 128)), jnp.float32)

    model, outputs = snir.from_nir(nir_graph, input_data, dt=1, rngs=nnx.Rngs(0))
    assert isinstance(model, snn.Sequential)
    assert outputs.shape == (10, 5, 20)

    model, (outputs, states) = snir.from_nir(nir_graph, input_data, dt=1, return_all_states=True)
    assert states[0] is None
    assert states[1].shape == (10, 5, 64)
    np.testing.assert_array_equal(states[3], outputs)  # an LI puts out its membrane

    again, final_state = snn.run(model, input_data)
    np.testing.assert_allclose(again, outputs, atol=1e-5)
    np.testing.assert_allclose(final_state[1], states[1][-1], atol=1e-5)
    expected, _ = snn.run(original_model, input_data)
    np.testing.assert_allclose(outputs, expected, atol=1e-5)


def test_parameters_come_back_in_order():
    init_params = {"linear": {"kernel": 0}, "lif": {"beta": 0}, "li": {"beta": 0}}
    trained_params = {"li": {"beta": 3}, "linear": {"kernel": 1}, "lif": {"beta": 2}}
    trained = snir.reorder_layers(init_params, trained_params)
    assert list(trained) == list(init_params)
    assert trained == trained_params


def test_the_round_trip_is_verified_as_the_how_to_does(feed_forward):
    original_model, nir_graph = feed_forward
    x = jnp.ones((10, 5, 128))  # (T, B, in)

    ref_out, _ = snn.run(original_model, x)
    _, imported_out = snir.from_nir(nir_graph, x, dt=1, rngs=nnx.Rngs(1))
    assert jnp.allclose(ref_out, imported_out, atol=1e-5)


def test_spiking_convolutions_make_the_round_trip():
    """The how-to's claim in words: a neuron after a conv, over the spatial feature map."""
    rngs = nnx.Rngs(0)
    numbers = np.random.default_rng(0)

    def init(_, shape, dtype):  # without compilation
        return jnp.asarray(numbers.normal(0, 0.3, shape), dtype)

    model = snn.Sequential(
        nnx.Conv(2, 3, (3, 3), kernel_init=init, rngs=rngs),
        snn.LIF((6, 5, 3), beta=0.7, threshold=0.3, rngs=rngs),
        snn.Flatten(),
        nnx.Linear(90, 4, kernel_init=init, rngs=rngs),
    )
    nir_graph = snir.to_nir(model, {"input": (2, 6, 5)}, {"output": (4,)}, dt=1.0)
    x = jnp.asarray(np.random.default_rng(1).random((5, 2, 6, 5, 2)), jnp.float32)
    expected, _ = snn.run(model, x)
    _, outputs = snir.from_nir(nir_graph, x, dt=1)
    assert jnp.allclose(expected, outputs, atol=1e-5)
    # Channels first is taken too where only that fits.
    _, same = snir.from_nir(nir_graph, jnp.moveaxis(x, -1, 2), dt=1)
    assert jnp.array_equal(outputs, same)
