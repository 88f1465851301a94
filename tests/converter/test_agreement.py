"""The net under the export: model and graph run on random inputs before the graph is handed out."""

from __future__ import annotations

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nn as snn
from end_to_end import tiny_task
from flax import nnx
from small_graphs import chain, graph, lif

from pipeline.training import networks
from spyx_nir import neurons
from spyx_nir.converter import agreement, load, to_nir
from spyx_nir.converter.graph import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

RNGS = nnx.Rngs(0)
PORTS = {"input": (6,)}, {"output": (8,)}


def recurrent_lif(shape, beta, *, rngs):
    return neurons.Recurrent(neurons.LIF(shape, beta), rngs=rngs)


def model():
    kernel = jnp.asarray(np.random.default_rng(0).normal(size=(6, 8)), jnp.float32)
    return snn.Sequential(
        nnx.Linear(6, 8, kernel_init=lambda *_: kernel, rngs=RNGS), snn.LIF((8,), 0.8, rngs=RNGS)
    )


def test_a_class_that_was_patched_is_found_out_and_named(monkeypatch):
    """Nothing in the model says so: `spyx.nn.LIF` itself does something else from now on."""
    usual = snn.LIF.__call__
    monkeypatch.setattr(snn.LIF, "__call__", lambda self, x, state: usual(self, 2 * x, state))
    with pytest.raises(GraphError, match=r"^layer 1 \(LIF\) does something else .* by spyx.nn.run"):
        to_nir(model(), *PORTS, strict=True)
    to_nir(model(), *PORTS, strict=True, check=False)


def test_a_container_that_was_patched_is_found_out(monkeypatch):
    usual = snn.Sequential.initial_state
    monkeypatch.setattr(
        snn.Sequential,
        "initial_state",
        lambda self, n: [None if s is None else s + 0.9 for s in usual(self, n)],
    )
    with pytest.raises(GraphError, match="does something else than the graph"):
        to_nir(model(), *PORTS, strict=True)


def test_a_weight_written_wrongly_is_found_out(monkeypatch):
    """The second error of a pair: the model is right, the exporter is not."""
    from spyx_nir.converter.nodes import li

    monkeypatch.setattr(li, "membrane", lambda beta, gain, dt: (1.001 / (1 - beta), 1 / (1 - beta)))
    with pytest.raises(GraphError, match=r"layer 0 \(LI\) does something else"):
        to_nir(snn.LI((8,), 0.8, rngs=RNGS), {"input": (8,)}, {"output": (8,)})


def reset_skipped(self, x, v):
    return self.spike(v - self.threshold), self.beta[...] * v + x


def test_a_large_layer_is_compared_neuron_by_neuron(monkeypatch):
    """Of 20,000 membranes one is always near its threshold: the others still have to agree."""
    image = snn.Sequential(
        nnx.Conv(2, 16, (3, 3), rngs=RNGS),
        snn.LIF((32, 32, 16), 0.8, rngs=RNGS),
        snn.Flatten(),
        nnx.Linear(16384, 8, rngs=RNGS),
        snn.LI((8,), rngs=RNGS),
    )
    ports = {"input": (2, 32, 32)}, {"output": (8,)}
    to_nir(image, *ports, strict=True)
    monkeypatch.setattr(snn.LIF, "__call__", reset_skipped)
    with pytest.raises(GraphError, match=r"^layer 1 \(LIF\) does something else"):
        to_nir(image, *ports, strict=True)


def test_sums_that_cancel_are_no_difference():
    """float32 knows a sum to some 1e-7 of its terms, however little is left of it."""
    ports = {"input": (4000,)}, {"output": (1,)}
    model = snn.Sequential(nnx.Linear(4000, 1, rngs=RNGS), snn.LI((1,), rngs=RNGS))
    plan = make_plan(as_dict(to_nir(model, *ports, check=False)))
    first = np.asarray(agreement.inputs(plan)[0]["input"][0], np.float64)
    weight = np.random.default_rng(0).normal(size=(4000, 1))
    weight -= np.linalg.pinv(first) @ (first @ weight)  # the sums of the first step are 0
    model.layers[0].kernel[...] = jnp.asarray(weight, jnp.float32)
    to_nir(model, *ports, strict=True)


def test_a_model_that_does_not_run_is_refused():
    layer = nnx.Linear(6, 8, rngs=RNGS)
    layer.bias = nnx.data(None)  # nnx.Linear asserts that it is there, `use_bias` says so
    with pytest.raises(GraphError, match=r"does not run by spyx.nn.run .*\('batch', 6\)"):
        to_nir(snn.Sequential(layer, snn.LIF((8,), 0.8, rngs=RNGS)), *PORTS, strict=True)


def test_the_stages_compare_what_they_export(monkeypatch):
    """`export`, and `train` before it begins, write a task's network through one function."""
    task = tiny_task("braille", "v_reset")
    network = networks.build(task)
    usual = neurons.SpikingIntegrator.emit
    monkeypatch.setattr(neurons.SpikingIntegrator, "emit", lambda self, u: usual(self, u - 0.5))
    with pytest.raises(GraphError, match=r"layer 1 \(Recurrent\) does something else"):
        networks.to_graph(task, network)


def branching():
    three = np.array([3])
    whole = graph(
        {"a": nir.Input(three), "b": nir.Input(three), "n": lif(), "output": nir.Output(three)},
        [("a", "n"), ("b", "n"), ("a", "output"), ("n", "output")],
    )
    return load(whole, 1.0)


def test_a_graph_that_branches_is_compared_too(monkeypatch):
    ports = {"a": (3,), "b": (3,)}, {"output": (3,)}
    to_nir(branching().model, *ports, strict=True)
    usual = neurons.LIF.emit
    monkeypatch.setattr(neurons.LIF, "emit", lambda self, u: usual(self, u - 0.25))
    with pytest.raises(GraphError, match=r"the model \(GraphModel\) does something else"):
        to_nir(branching().model, *ports, strict=True)


def test_what_rounding_may_decide_is_left_out():
    """A membrane of exactly the threshold proves nothing from there on; its neighbours do."""
    plan = make_plan(as_dict(chain(lif(tau=1.0, r=1.0))))
    x = np.zeros((5, 2, 3), np.float32)
    x[2, 1, 0], x[3, 0, 1] = 1.0, 7.0  # in sample 1 u = theta in step 2
    near = agreement._near(plan, "n0", reference.run(plan, x, 1.0).membranes["n0"])
    assert np.argwhere(near).tolist() == [[2, 1, 0], [3, 1, 0], [4, 1, 0]]


@pytest.mark.parametrize("recurrent", ["nested", "flat"])
@pytest.mark.parametrize("make", [snn.RLIF, recurrent_lif])
def test_in_a_recurrent_layer_it_is_left_out_for_all(make, recurrent):
    """One neuron is at its threshold in step 1; its spike may or may not reach the other two."""
    layer = make((3,), 0.5, rngs=RNGS)
    graph = to_nir(layer, {"input": (3,)}, {"output": (3,)}, recurrent=recurrent)
    plan = make_plan(as_dict(graph))
    (path,) = (path for path in plan.nodes if path.endswith("lif"))
    u = np.zeros((3, 2, 3))
    u[1, 1, 0] = 1.0
    near = np.broadcast_to(agreement._near(plan, path, u), u.shape)
    assert near[1:, 1].all() and near.sum() == 6


def test_inputs_are_of_several_sizes_and_fit_into_memory():
    plan = make_plan(as_dict(chain(lif())))
    x, sizes = agreement.inputs(plan)
    assert x["input"].shape == (agreement.STEPS, len(sizes), 3)
    assert x["input"].dtype == np.float32
    largest = np.abs(x["input"]).max(axis=(0, 2))
    assert (largest > 0.3 * np.array(sizes)).all()
    assert max(sizes) / min(sizes) == 1e4
    large = make_plan(as_dict(chain(lif((400_000,)), shape=(400_000,), out=(400_000,))))
    x, sizes = agreement.inputs(large)
    assert x["input"].size <= agreement.MOST_ENTRIES
