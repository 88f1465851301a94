"""Neurons against their recurrences, written out here in float64, one neuron at a time."""

import jax.numpy as jnp
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx

from spyx_nir import neurons

STEPS, BATCH, SIZE = 40, 3, 4
# Decays, gains and levels are multiples of powers of two and the inputs of 1/8: sums stay short
# in binary, so that float32 and float64 agree to far less than the distance to threshold.
ALPHA, BETA, GAIN, LEAK = 0.5, 0.75, 1.5, 0.25
THRESHOLD, V_RESET = 1.0 + 2**-12, -0.125  # no reachable sum of a few steps equals this threshold


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(3).integers(-4, 9, (STEPS, BATCH, SIZE)) / 8.0


def recurrence(x, *, alpha=None, beta=1.0, leak=0.0, gain=1.0, gain_in=1.0, reset=None):
    """Output (T, B, N) and state after every step of the equations of `spyx_nir.neurons`."""
    v, i, z = np.zeros(x.shape[1:]), np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    outputs, membranes = [], []
    for x_t in x:
        drive = x_t
        if alpha is not None:
            i = alpha * i + gain_in * x_t
            drive = i
        v = beta * v + (1 - beta) * leak + gain * drive
        if reset == "subtract_after_decay":
            v = v - THRESHOLD * z
        z = (v > THRESHOLD) * 1.0
        outputs.append(v if reset is None else z)
        if reset == "v_reset":
            v = np.where(z == 1, V_RESET, v)
        if reset == "subtract":
            v = v - THRESHOLD * z
        membranes.append(v)
    return np.stack(outputs), np.stack(membranes)


def run(layer, x):
    outputs, state = snn.run(snn.Sequential(layer), jnp.asarray(x, jnp.float32))
    state = state[0][0] if isinstance(state[0], tuple) else state[0]
    return np.asarray(outputs), np.asarray(state)


def check(layer, x, **equation):
    outputs, state = run(layer, x)
    expected, membranes = recurrence(x, **equation)
    if equation.get("reset"):
        assert expected.sum() > 20, "the case must spike to mean something"
        np.testing.assert_array_equal(outputs, expected)
    # 40 steps of rounding at 2^-24 of values below 16.
    np.testing.assert_allclose(outputs, expected, atol=4e-5)
    np.testing.assert_allclose(state, membranes[-1], atol=4e-5)


def test_integrators_follow_their_equations(x):
    check(neurons.I((SIZE,), gain=GAIN), x, gain=GAIN)
    check(neurons.LI((SIZE,), BETA, gain=GAIN, v_leak=LEAK), x, beta=BETA, gain=GAIN, leak=LEAK)
    check(
        neurons.CubaLI((SIZE,), ALPHA, BETA, gain_in=2.0, gain=GAIN, v_leak=LEAK),
        x,
        alpha=ALPHA,
        beta=BETA,
        gain_in=2.0,
        gain=GAIN,
        leak=LEAK,
    )


@pytest.mark.parametrize("reset", neurons.RESETS)
def test_spiking_neurons_follow_their_equations(x, reset):
    spiking = {"threshold": THRESHOLD, "v_reset": V_RESET, "reset": reset}
    check(neurons.IF((SIZE,), **spiking), x, reset=reset)
    check(
        neurons.LIF((SIZE,), BETA, v_leak=LEAK, gain=GAIN, **spiking),
        x,
        beta=BETA,
        leak=LEAK,
        gain=GAIN,
        reset=reset,
    )
    check(neurons.CubaLIF((SIZE,), ALPHA, BETA, **spiking), x, alpha=ALPHA, beta=BETA, reset=reset)


def test_parameters_may_differ_per_neuron(x):
    betas = np.array([0.0, 0.25, 0.5, 0.875])
    outputs, _ = run(neurons.LIF((SIZE,), betas, threshold=THRESHOLD, v_reset=V_RESET), x)
    for n, beta in enumerate(betas):
        expected, _ = recurrence(x[..., n : n + 1], beta=beta, reset="v_reset")
        np.testing.assert_array_equal(outputs[..., n : n + 1], expected)


def test_a_recurrent_layer_feeds_back_its_previous_output(x):
    layer = neurons.Recurrent(
        neurons.CubaLIF((SIZE,), ALPHA, BETA, threshold=THRESHOLD, v_reset=V_RESET),
        bias=True,
        rngs=nnx.Rngs(0),
    )
    weight = np.random.default_rng(5).integers(-3, 4, (SIZE, SIZE)) / 4.0
    bias = np.array([0.125, 0.0, -0.25, 0.5])
    layer.recurrent_w[...] = jnp.asarray(weight, jnp.float32)
    layer.recurrent_b[...] = jnp.asarray(bias, jnp.float32)
    outputs, _ = snn.run(snn.Sequential(layer), jnp.asarray(x, jnp.float32))

    v, i, z = np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE)), np.zeros((BATCH, SIZE))
    expected = []
    for x_t in x:
        # Row n of the weight is the source neuron n; the bias acts from the first step on.
        i = ALPHA * i + x_t + np.einsum("bn,nm->bm", z, weight) + bias
        v = BETA * v + i
        z = (v > THRESHOLD) * 1.0
        v = np.where(z == 1, V_RESET, v)
        expected.append(z)
    assert 20 < np.sum(expected) < 0.9 * x.size
    np.testing.assert_array_equal(outputs, np.stack(expected))


def test_a_membrane_at_threshold_does_not_spike():
    x = np.array([[[1.0]], [[2.0**-20]]])
    outputs, _ = run(neurons.IF((1,)), x)
    assert outputs.ravel().tolist() == [0.0, 1.0]


def test_an_unknown_reset_is_refused():
    with pytest.raises(ValueError, match=r"`reset` must be one of v_reset, subtract.*got 'zero'"):
        neurons.IF((1,), reset="zero")
