"""The engine against `spyx.nn.run`: the same spikes, the same gradients."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx.nn as snn
from end_to_end import ROOT
from flax import nnx
from spyx import axn

from pipeline import params
from pipeline.training import engine, networks
from spyx_nir import neurons
from spyx_nir.deterministic import convolution

STEPS, BATCH = 12, 6
SPIKE = axn.superspike(5.0)


def linear(inputs, outputs, rngs):
    init = nnx.initializers.variance_scaling(3.0, "fan_in", "normal")
    return nnx.Linear(inputs, outputs, use_bias=False, kernel_init=init, rngs=rngs)


def conv(inputs, outputs, rngs, **options):
    init = nnx.initializers.variance_scaling(3.0, "fan_in", "normal")
    options = {"padding": ((1, 1), (1, 1)), "use_bias": False, **options}
    return nnx.Conv(inputs, outputs, (3, 3), kernel_init=init, rngs=rngs, **options)


def exact_recurrent(rngs):
    cell = neurons.CubaLIF((7,), 0.5, 0.8, activation=SPIKE)
    return [
        linear(5, 7, rngs),
        neurons.Recurrent(cell, rngs=rngs),
        linear(7, 3, rngs),
        neurons.CubaLIF((3,), 0.5, 0.6, activation=SPIKE),
    ], (5,)


def feedback(reset):
    """Everything that the gradient of a scan has: values per neuron, bias, gains, leak, no spikes."""

    def layers(rngs):
        alpha, beta = jnp.linspace(0.3, 0.7, 7), jnp.linspace(0.5, 0.9, 7)
        spread = jnp.linspace(0.9, 1.1, 7)
        options = {"activation": SPIKE, "reset": reset, "threshold": spread}
        options |= {"v_reset": -0.1 * spread, "v_leak": 0.1 * spread}
        gains = {"gain": 0.9, "gain_in": 1.1}
        hidden = neurons.Recurrent(
            neurons.CubaLIF((7,), alpha, beta, **options, **gains), bias=True, rngs=rngs
        )
        hidden.recurrent_b[...] = jnp.linspace(-0.2, 0.2, 7)
        return [
            linear(5, 7, rngs),
            hidden,
            nnx.Linear(7, 7, rngs=rngs),
            neurons.LIF((7,), beta, **options),
            linear(7, 3, rngs),
            neurons.CubaLI((3,), jnp.linspace(0.3, 0.5, 3), jnp.linspace(0.3, 0.9, 3), gain=0.05),
        ], (5,)

    return layers


def leaky_image(rngs):
    """Decays per neuron of an image, and a layer without linear ones around it."""
    beta = jnp.linspace(0.3, 0.9, 48).reshape(4, 4, 3)
    return [
        conv(2, 3, rngs, strides=2),
        neurons.CubaLIF((4, 4, 3), 0.5, beta, activation=SPIKE, reset="subtract"),
        neurons.LIF((4, 4, 3), beta, threshold=1.0 + beta, activation=SPIKE),
    ], (8, 8, 2)


def spyx_recurrent(rngs):
    hidden = snn.RCuBaLIF((7,), 0.5, 0.8, activation=SPIKE, rngs=rngs)
    out = snn.CuBaLIF((3,), 0.5, 0.6, activation=SPIKE, rngs=rngs)
    return [linear(5, 7, rngs), hidden, linear(7, 3, rngs), out], (5,)


def image(neuron):
    """A network of convolutions with every layer that the N-MNIST network has."""

    def layers(rngs):
        return [
            conv(2, 4, rngs, strides=2),
            neuron((5, 5, 4), threshold=1.0, activation=SPIKE),
            conv(4, 3, rngs, padding=((1, 0), (0, 1))),
            neuron((4, 4, 3), threshold=1.0, activation=SPIKE),
            snn.SumPool((2, 2), (2, 2), "VALID"),
            snn.Flatten(),
            linear(12, 3, rngs),
            neuron((3,), threshold=1.0, activation=SPIKE),
        ], (10, 10, 2)

    return layers


def odd_convolutions(rngs):
    """What the faster weight gradient leaves to XLA: a bias, groups, named padding, dilation."""
    return [
        conv(2, 4, rngs, use_bias=True),
        neurons.LIF((8, 8, 4), 0.9, activation=SPIKE),
        conv(4, 4, rngs, feature_group_count=2, padding="SAME"),
        neurons.LIF((8, 8, 4), 0.9, activation=SPIKE),
        conv(4, 2, rngs, kernel_dilation=2, padding="VALID"),
        snn.LI((4, 4, 2), 0.8, rngs=rngs),
    ], (8, 8, 2)


NETWORKS = {
    "recurrent, exact": exact_recurrent,
    "recurrent, stock Spyx": spyx_recurrent,
    "feedback, v_reset": feedback("v_reset"),
    "feedback, subtract": feedback("subtract"),
    "feedback, subtract_after_decay": feedback("subtract_after_decay"),
    "image, leaky": leaky_image,
    "convolutions, exact": image(neurons.IF),
    "convolutions, stock Spyx": image(snn.IF),
    "convolutions of other kinds": odd_convolutions,
}


@pytest.fixture(params=NETWORKS)
def case(request):
    layers, shape = NETWORKS[request.param](nnx.Rngs(1))
    x = np.random.default_rng(2).poisson(0.4, (STEPS, BATCH, *shape))
    return snn.Sequential(*layers), jnp.asarray(x, jnp.float32)


def of_full_size():
    """The default network for Braille, whose decays are one number a layer: sums of 100,000 terms."""
    task = params.load("braille", ROOT / "params.yaml")
    model = networks.build(task)
    model.layers[0].kernel[...] *= 2.0  # untrained, it hardly spikes
    shape = (task.data.bins, task.train.batch_size, *networks.input_shape(task))
    return model, jnp.asarray(np.random.default_rng(2).random(shape) < 0.1, jnp.float32)


def test_outputs_and_final_state_are_those_of_spyx(case):
    model, x = case
    outputs, state = engine.run(model, x)
    expected, expected_state = jax.jit(lambda x: snn.run(model, x))(x)
    assert 0 < float(jnp.abs(expected).mean()) < 0.95
    if set(np.unique(expected)) <= {0, 1}:
        np.testing.assert_array_equal(outputs, expected)
    # Float32 sums in another order: a few units in the last place of values below 10.
    np.testing.assert_allclose(outputs, expected, atol=1e-5)
    assert jax.tree.structure(state) == jax.tree.structure(expected_state)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state, expected_state)


def test_gradients_are_those_of_spyx(case):
    compare_gradients(*case)


def test_gradients_of_a_network_of_full_size_are_those_of_spyx():
    compare_gradients(*of_full_size())


def compare_gradients(model, x):
    graph, parameters, rest = nnx.split(model, nnx.Param, ...)
    shape = jax.eval_shape(lambda x: snn.run(model, x)[0], x).shape
    places = np.random.default_rng(4).normal(size=shape).astype(np.float32)

    def gradient(run):
        def loss(parameters, x):
            return (run(nnx.merge(graph, parameters, rest), x)[0] * places).sum()

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(parameters, x)

    for ours, theirs in zip(
        *map(jax.tree.leaves, (gradient(engine.run), gradient(snn.run))), strict=True
    ):
        assert float(jnp.abs(theirs).max()) > 0
        # Relative to the largest entry: small entries are differences of large sums.
        np.testing.assert_allclose(ours, theirs, atol=1e-5 * float(jnp.abs(theirs).max()))


def test_trace_keeps_every_layer(case):
    model, x = case
    outputs, layers = engine.trace(model, x)
    np.testing.assert_array_equal(outputs, layers[-1][0])
    # Step by step, layer by layer, as the layers define themselves.
    state = model.initial_state(BATCH)
    for t in range(3):
        value = x[t]
        for i, layer in enumerate(model.layers):
            if state[i] is None:
                value = layer(value)
                assert layers[i][1] is None
            else:
                value, state[i] = layer(value, state[i])
                jax.tree.map(
                    lambda a, b, t=t: np.testing.assert_allclose(a[t], b, atol=1e-5),
                    layers[i][1],
                    state[i],
                )
            np.testing.assert_allclose(layers[i][0][t], value, atol=1e-5)


def test_run_takes_the_arguments_of_spyx():
    layers, shape = exact_recurrent(nnx.Rngs(1))
    model = snn.Sequential(*layers)
    x = jnp.asarray(np.random.default_rng(2).poisson(0.5, (STEPS, BATCH, *shape)), jnp.float32)
    whole, end = engine.run(model, x)
    first, state = engine.run(model, x[:5])
    second, state = engine.run(model, x[5:], state)
    np.testing.assert_array_equal(jnp.concatenate([first, second]), whole)
    jax.tree.map(np.testing.assert_array_equal, state, end)
    swapped, _ = engine.run(model, jnp.swapaxes(x, 0, 1), batch_major=True)
    np.testing.assert_array_equal(jnp.swapaxes(swapped, 0, 1), whole)


def test_a_single_neuron_layer_runs_as_in_spyx():
    x = jnp.asarray(np.random.default_rng(2).normal(size=(STEPS, BATCH, 3)), jnp.float32)
    layer = neurons.IF((3,))
    np.testing.assert_array_equal(engine.run(layer, x)[0], snn.run(layer, x)[0])


def test_compiled_once_per_shape():
    layers, shape = exact_recurrent(nnx.Rngs(1))
    before = engine._run._cache_size()
    for seed in (1, 2):  # other weights, the same structure
        model = snn.Sequential(*layers)
        x = jnp.full((STEPS, 2, *shape), seed)
        engine.run(model, x)
        engine.run(model, np.asarray(x, np.uint8))
        engine.run(model, x, model.initial_state(2))
    assert engine._run._cache_size() == before + 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_layers_of_half_precision_keep_it(dtype):
    half = {"use_bias": False, "dtype": dtype, "rngs": nnx.Rngs(1)}
    layer = nnx.Conv(2, 4, (3, 3), padding=((1, 1), (1, 1)), **half)
    model = snn.Sequential(
        layer, neurons.LI((8, 8, 4), 0.5), snn.Flatten(), nnx.Linear(256, 3, **half)
    )
    x = jnp.asarray(np.random.default_rng(2).poisson(0.4, (STEPS, BATCH, 8, 8, 2)), jnp.float32)
    currents = engine.run(snn.Sequential(layer, neurons.I((8, 8, 4))), x[:1])[0]
    # One step of an integrator hands the convolution's output on: whole numbers of its 16 bits.
    np.testing.assert_array_equal(currents, currents.astype(dtype).astype(jnp.float32))
    assert engine.run(model, x)[0].dtype == dtype


@pytest.mark.parametrize(
    "shape", [pytest.param((5,), marks=pytest.mark.full), (3, 4, 5)], ids=["vector", "image"]
)
@pytest.mark.parametrize("reset", ["v_reset", "subtract"])
@pytest.mark.parametrize("kind", ["CubaLIF", "LIF", "IF", "CubaLI", "LI"])
def test_no_step_of_a_scan_copies_all_steps(kind, reset, shape):
    decays = {"CubaLIF": [0.5, 0.8], "CubaLI": [0.5, 0.8], "LIF": [0.8], "LI": [0.8], "IF": []}[
        kind
    ]
    options = {"reset": reset, "activation": SPIKE} if kind.endswith("F") else {}
    cell = getattr(neurons, kind)(shape, *decays, **options)
    layers = [cell, neurons.Recurrent(cell, rngs=nnx.Rngs(1))] if len(shape) == 1 else [cell]
    x = jnp.ones((STEPS, BATCH, *shape))
    for layer in layers:
        graph, variables = nnx.split(layer)

        def scan(variables, x, graph=graph):
            return engine.run(nnx.merge(graph, variables), x)[0]

        def gradient(variables, x, scan=scan):
            return jax.grad(lambda v, x: (scan(v, x) ** 2).sum(), argnums=(0, 1))(variables, x)

        for function in (scan, gradient):
            text = jax.jit(function).lower(variables, x).compile().as_text()
            names = set(re.findall(r"body=%?([\w.-]+)", text))
            assert names
            for part in text.split("\n\n"):
                if part.strip().split(" ")[0].lstrip("%") in names:
                    copied = re.findall(r"= f32\[([\d,]*)\]\S* copy\(", part)
                    sizes = [math.prod(map(int, filter(None, c.split(",")))) for c in copied]
                    assert max(sizes, default=0) < x.size


@pytest.mark.parametrize("samples", [1, 7, 24])
@pytest.mark.parametrize(
    ("strides", "padding"), [((1, 1), ((1, 1), (1, 1))), ((2, 3), ((2, 0), (0, 1)))]
)
def test_the_weight_gradient_sums_patch_times_gradient(samples, strides, padding, monkeypatch):
    monkeypatch.setattr(convolution, "CHUNK_BYTES", 4000)  # several chunks, uneven counts
    rng = np.random.default_rng(6)
    x = rng.integers(-3, 4, (samples, 9, 8, 2))
    framed = np.pad(x, ((0, 0), *padding, (0, 0)))
    height = (framed.shape[1] - 3) // strides[0] + 1
    width = (framed.shape[2] - 4) // strides[1] + 1
    gradient = rng.integers(-3, 4, (samples, height, width, 5))
    expected = np.zeros((3, 4, 2, 5))
    for n, r, c in np.ndindex(samples, height, width):
        top, left = r * strides[0], c * strides[1]
        patch = framed[n, top : top + 3, left : left + 4]
        expected += patch[..., None] * gradient[n, r, c]
    ours = convolution._weight_gradient(
        strides, padding, *(jnp.asarray(a, jnp.float32) for a in (x, gradient)), expected.shape
    )
    np.testing.assert_array_equal(ours, expected)  # whole numbers below 2^24 are exact in float32
