"""What `spyx.nir` 1.0.0 gets wrong, each as the number that it gets wrong, asked of ours.

Its round trips pass because both sides share the error; so the other side here is NIR's equation.
"""

from __future__ import annotations

import jax.numpy as jnp
import nir
import numpy as np
import plain
import pytest
import spyx.nn as snn
from agree import by_steps
from flax import nnx
from small_graphs import chain, full, graph, li, lif

from spyx_nir import neurons
from spyx_nir.converter import from_nir, to_nir
from spyx_nir.converter.layout import flatten_order
from spyx_nir.meaning import reference

RNGS = nnx.Rngs(0)
FLAT = {"input": (3,)}, {"output": (3,)}


def test_a_leak_does_not_cost_the_gain():
    """spyx.nir writes r = beta: the input of a LIF with beta 0.9 then counts a tenth (0.09)."""
    node = to_nir(snn.LIF((3,), 0.9, rngs=RNGS), *FLAT).nodes["lif_0"]
    np.testing.assert_allclose(node.r / node.tau, 1.0, rtol=1e-6)
    cuba = to_nir(snn.CuBaLIF((3,), 0.5, 0.9, rngs=RNGS), *FLAT).nodes["cubalif_0"]
    np.testing.assert_allclose(cuba.w_in / cuba.tau_syn, 1.0, rtol=1e-6)
    np.testing.assert_allclose(cuba.r / cuba.tau_mem, 1.0, rtol=1e-6)


def test_a_reader_of_the_equations_sees_the_spikes_of_spyx():
    """A random network of Braille's size fires 9473 hidden spikes in Spyx and none in a reader of
    the file that spyx.nir writes. Here: as many, and the same ones."""
    rng = np.random.default_rng(0)
    layer = snn.RCuBaLIF((3,), 0.6, 0.9, rngs=RNGS)
    layer.recurrent_w[...] = jnp.asarray(rng.normal(0, 0.1, (3, 3)), jnp.float32)
    x = rng.uniform(-0.2, 0.6, (60, 2, 3)).astype(np.float32)
    ours = to_nir(layer, *FLAT)
    original = by_steps(snn.Sequential(layer), x)
    assert original.sum() > 100
    assert np.array_equal(reference.run(ours.to_dict(), x, 1.0).output, original)


def test_the_input_reaches_the_neuron_not_the_recurrent_weight():
    subgraph = to_nir(snn.RIF((3,), rngs=RNGS), *FLAT).nodes["rif_0"]
    assert ("input", "lif") in subgraph.edges
    assert ("input", "w_rec") not in subgraph.edges


def legacy():
    """The wiring that spyx.nir and older files have: input -> w_rec."""
    eye = nir.Linear(np.zeros((3, 3), np.float32))
    inner = graph(
        {
            "input": nir.Input(np.array([3])),
            "lif": lif(),
            "w_rec": eye,
            "output": nir.Output(np.array([3])),
        },
        [("input", "w_rec"), ("w_rec", "lif"), ("lif", "w_rec"), ("lif", "output")],
    )
    return chain(inner)


def test_the_old_wiring_is_read_as_meant_with_a_warning():
    x = np.full((4, 1, 3), 1.5, np.float32)
    with pytest.warns(UserWarning, match="subgraph `n0` has the legacy wiring input -> w_rec"):
        result = reference.run(legacy().to_dict(), x, 1.0)
    assert result.output.all()  # through a weight of zero nothing would arrive
    with pytest.warns(UserWarning, match="read as input -> lif"):
        _, outputs = from_nir(legacy(), x)
    assert np.array_equal(outputs, result.output)


def test_the_bias_of_the_recurrent_weight_survives_and_acts_at_once():
    """spyx.nir drops it; Norse and SpikingJelly let it act from the second step on."""
    bias = np.array([2.0, 0.0, -2.0], np.float32)
    cell = neurons.LIF((3,), 0.5)
    layer = neurons.Recurrent(cell, bias=True, rngs=RNGS)
    layer.recurrent_b[...] = jnp.asarray(bias)
    layer.recurrent_w[...] = jnp.zeros((3, 3))
    written = to_nir(layer, *FLAT)
    assert np.array_equal(written.nodes["recurrent_0"].nodes["w_rec"].bias, bias)
    x = np.zeros((1, 1, 3), np.float32)
    for outputs in (reference.run(written.to_dict(), x, 1.0).output, from_nir(written, x)[1]):
        assert np.array_equal(np.ravel(outputs), [1, 0, 0])


def test_a_weight_behind_a_flatten_is_permuted():
    """Each of the 24 pixels has its own output: a wrong order moves them."""
    shape = (2, 3, 4)  # channels first
    layer = nnx.Linear(24, 24, use_bias=False, kernel_init=lambda *_: jnp.eye(24), rngs=RNGS)
    written = to_nir(snn.Sequential(snn.Flatten(), layer), {"input": shape}, {"output": (24,)})
    first = np.arange(24.0, dtype=np.float32).reshape(1, 1, *shape)
    seen = np.moveaxis(first, 2, -1).reshape(1, 1, 24)  # what Spyx's Linear hands on
    assert np.array_equal(reference.run(written.to_dict(), first, 1.0).output, seen)
    assert np.array_equal(from_nir(written, np.moveaxis(first, 2, -1))[1], seen)
    weight = written.nodes["linear_1"].weight
    assert np.array_equal(weight.argmax(axis=1), np.argsort(flatten_order(shape)))


def test_what_the_file_says_counts_on_import():
    """spyx.nir ignores r, v_leak, v_reset and w_in, and takes the spike of the step before."""
    x = np.random.default_rng(0).uniform(0, 1, (12, 2, 3)).astype(np.float32)
    fields = {"tau": 3.0, "r": 2.0, "v_leak": 0.3, "v_threshold": 0.7, "v_reset": -0.4}
    expected, nearest = plain.neuron("LIF", fields, x.astype(np.float64), 1.0)
    assert nearest > 1e-4
    _, outputs = from_nir(chain(lif(**fields)), x)
    assert np.array_equal(outputs, expected)
    assert expected.any()


@pytest.mark.parametrize("option", ["stride", "dilation", "groups"])
def test_options_of_a_convolution_count_on_import(option):
    """spyx.nir assumes the defaults of dilation and groups."""
    rng = np.random.default_rng(0)
    options = {"stride": 1, "dilation": 1, "groups": 1} | {option: 2}
    weight = rng.normal(size=(4, 4 // options["groups"], 2, 2)).astype(np.float32)
    bias = rng.normal(size=4).astype(np.float32)
    node = nir.Conv2d(
        None, weight, options["stride"], 0, options["dilation"], options["groups"], bias
    )
    x = rng.normal(size=(1, 2, 4, 5, 6)).astype(np.float32)
    expected = plain.convolve(
        weight,
        x,
        [options["stride"]] * 2,
        [(0, 0)] * 2,
        [options["dilation"]] * 2,
        options["groups"],
        bias,
    )
    whole = chain(node, shape=(4, 5, 6), out=expected.shape[2:])
    _, outputs = from_nir(whole, np.moveaxis(x, 2, -1))
    np.testing.assert_allclose(np.moveaxis(outputs, -1, 2), expected, rtol=1e-5, atol=1e-5)


def test_an_li_is_an_li():
    """spyx.nir prints a warning on export and goes on without it, and refuses it on import."""
    written = to_nir(snn.LI((3,), 0.5, rngs=RNGS), *FLAT)
    assert isinstance(written.nodes["li_0"], nir.LI)
    model, outputs = from_nir(chain(li(tau=2.0, r=2.0)), np.ones((2, 1, 3)))
    assert isinstance(model.layers[0], snn.LI)
    np.testing.assert_allclose(outputs[:, 0, 0], [1.0, 1.5])


def test_names_and_the_order_of_edges_are_free():
    """spyx.nir starts at a node called `input` and follows the first edge it finds."""
    nodes = {
        "zz": nir.Input(np.array([3])),
        "a.b": nir.Scale(full(2.0)),
        "": nir.Output(np.array([3])),
    }
    nodes["Ausgang"] = nodes.pop("")
    whole = graph(nodes, [("a.b", "Ausgang"), ("zz", "a.b")])
    x = np.ones((2, 1, 3), np.float32)
    assert np.array_equal(from_nir(whole, x)[1], 2 * x)


def test_a_branch_is_not_dropped():
    """spyx.nir follows one edge out of each node: the sum of two ways is lost without a word."""
    whole = graph(
        {
            "input": nir.Input(np.array([3])),
            "two": nir.Scale(full(2.0)),
            "three": nir.Scale(full(3.0)),
            "output": nir.Output(np.array([3])),
        },
        [("input", "two"), ("input", "three"), ("two", "output"), ("three", "output")],
    )
    x = np.ones((2, 1, 3), np.float32)
    assert np.array_equal(from_nir(whole, x)[1], 5 * x)
