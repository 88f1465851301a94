"""Models as tutorials write them: exported and equal to the model, or refused with the line."""

from __future__ import annotations

import linecache
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx.nn as snn
from agree import CLEAR, back, close, margin
from tutorial_models import EXPORTED, REFUSED

from spyx_nir.converter import to_nir
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

STEPS, BATCH = 7, 2
BATCH_FIRST = ("a core", "batch first", "taps of hidden spikes")


def ports(shapes, name):
    if isinstance(shapes, Mapping):
        return shapes
    several = isinstance(shapes[0], tuple)
    return {f"{name}{k}": shape for k, shape in enumerate(shapes)} if several else {name: shapes}


def clear_inputs(graph, inputs):
    """Inputs by name, (T, B, ...) channels first, at which float32 cannot decide a spike otherwise."""
    for seed in range(60):
        rng = np.random.default_rng(seed)
        x = {
            name: rng.uniform(-0.4, 1.3, (STEPS, BATCH, *shape)).astype(np.float32)
            for name, shape in inputs.items()
        }
        result = reference.run(graph, x, 1.0)
        if margin(graph, result) > CLEAR:
            return x, result
    raise AssertionError("every membrane came too near to its threshold")


def model_outputs(name, model, x):
    """What the model itself puts out: a list of (T, B, ...), channels last."""
    x = {key: jnp.asarray(back(array)) for key, array in x.items()}
    x = x if len(x) > 1 else next(iter(x.values()))
    if name in BATCH_FIRST:
        leaves = jax.tree.leaves(model(jnp.swapaxes(x, 0, 1)))
        return [np.swapaxes(leaf, 0, 1) for leaf in leaves]
    if name == "no neuron":
        return [np.stack([model(frame) for frame in x])]
    if name in ("time first, with the last state", "layer by layer", "under nnx.jit"):
        out = model(x)
        return [np.asarray(out[0] if isinstance(out, tuple) else out)]
    owner = model if hasattr(model, "initial_state") else model.core
    state, rows = owner.initial_state(BATCH), []
    for t in range(STEPS):
        out, state = model(jax.tree.map(lambda array, t=t: array[t], x), state)
        rows.append(jax.tree.leaves(out))
    return [np.stack(row) for row in zip(*rows, strict=True)]


@pytest.mark.parametrize("name", EXPORTED)
def test_a_model_of_a_tutorial_and_its_graph_give_the_same(name):
    """Spikes exactly. Without the check of `to_nir`, which might hide what it would refuse."""
    make, shapes, out = EXPORTED[name]
    model, inputs, outputs = make(), ports(shapes, "input"), ports(out, "output")
    graph = as_dict(to_nir(model, inputs, outputs, strict=True, check=False))
    x, result = clear_inputs(graph, inputs)
    found = model_outputs(name, model, x)
    assert len(found) == len(outputs)
    for key, seen in zip(outputs, found, strict=True):
        expected = back(result.outputs[key])
        close(seen, expected, key)
        assert expected.any(), f"{key}: a silent model proves nothing"


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_node_is_refused_with_its_line(name):
    make, shape, out, word, text = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        to_nir(make(), {"input": shape}, {"output": out}, strict=True)
    message = str(caught.value)
    assert word in message
    assert "\n" not in message
    place = re.search(r"(\S+tutorial_models\.py):(\d+)", message)
    assert place, message
    assert text in linecache.getline(place[1], int(place[2]))


@pytest.mark.parametrize("name", ["a residual sum", "a ResNet", "a core", "two inputs"])
def test_the_check_of_the_export_runs_such_models(name):
    make, shapes, out = EXPORTED[name]
    to_nir(make(), ports(shapes, "input"), ports(out, "output"), strict=True, check=True)


def test_the_graph_of_a_wrapped_sequential_is_that_of_the_sequential():
    from tutorial_models import CoreInside

    model = CoreInside()
    wrapped, plain = (
        as_dict(to_nir(m, {"input": (6,)}, {"output": (4,)}, check=False))
        for m in (model, model.core)
    )
    assert wrapped["edges"] == plain["edges"]
    for name, node in plain["nodes"].items():
        for field, value in node.items():
            np.testing.assert_array_equal(wrapped["nodes"][name][field], value)


def test_a_shared_layer_is_two_nodes_with_the_same_values_and_a_note():
    make, shapes, out = EXPORTED["a shared weight"]
    graph = to_nir(make(), {"input": shapes}, {"output": out}, check=False)
    first, second = graph.nodes["linear_0"], graph.nodes["linear_2"]
    np.testing.assert_array_equal(first.weight, second.weight)
    assert "at several places" in second.metadata["note"]


def test_a_batch_norm_leaves_no_node_but_a_note():
    make, shapes, out = EXPORTED["BatchNorm and Dropout"]
    graph = to_nir(make(), {"input": shapes}, {"output": out}, check=False)
    assert len(graph.nodes) == 5  # input, two matrices, one neuron, output
    assert "BatchNorm" in graph.nodes["linear_0"].metadata["note"]


def test_names_of_outputs_that_do_not_fit_are_refused():
    make, shapes, _ = EXPORTED["taps of hidden spikes"]
    with pytest.raises(GraphError, match=r"puts out 3 arrays, `output_shape` names 1"):
        to_nir(make(), {"input": shapes}, {"output": (4,)})


def test_a_traced_model_still_runs():
    """Nothing of the trace is left: the classes of the layers, and what JAX has compiled."""
    make, shapes, out = EXPORTED["under nnx.jit"]
    model, usual = make(), snn.LIF.__call__
    x = jnp.ones((4, 3, *shapes))
    before = model(x)
    to_nir(model, {"input": shapes}, {"output": out}, check=False)
    assert snn.LIF.__call__ is usual
    np.testing.assert_array_equal(model(x), before)
    again = make()
    to_nir(again, {"input": shapes}, {"output": out}, check=False)
    assert np.isfinite(again(x)).all()


def test_the_plan_has_every_edge_of_a_sum():
    make, shapes, out = EXPORTED["two currents"]
    graph = as_dict(to_nir(make(), {"input": shapes}, {"output": out}, check=False))
    plan = make_plan(graph)
    (last,) = (source for source, _ in plan.sources["output"])
    assert len(plan.sources[last]) == 2
