"""Membranes that forget nothing: decays of 1 and more, alone in a layer or among others.

Training takes single decays to 1 and beyond, where Spyx clips them. NIR's equations keep all of a
membrane only with a time constant without end.
"""

from __future__ import annotations

import warnings

import jax.numpy as jnp
import nir
import numpy as np
import optax
import pytest
import spyx
import spyx.nn as snn
from agree import back
from flax import nnx
from small_graphs import chain, full

from spyx_nir import neurons
from spyx_nir.converter import file, from_nir, load, to_nir
from spyx_nir.converter.layout import flatten_order
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

RNGS = nnx.Rngs(0)
PORTS = {"input": (3,)}, {"output": (3,)}
BETA = [0.5, 1.006, 1.0]
INF = np.inf


def given(layer, **decays):
    for name, value in decays.items():
        setattr(layer, name, nnx.Param(jnp.asarray(value, jnp.float32)))
    return layer


LAYERS = {
    "LIF": lambda: given(snn.LIF((3,), 0.5, rngs=RNGS), beta=BETA),
    "RLIF": lambda: given(snn.RLIF((3,), 0.5, rngs=RNGS), beta=BETA),
    "LI": lambda: given(snn.LI((3,), 0.5, rngs=RNGS), beta=BETA),
    "PSU_LIF": lambda: given(snn.PSU_LIF((3,), 0.5, rngs=RNGS), beta=BETA),
    "CuBaLIF, beta": lambda: given(snn.CuBaLIF((3,), 0.5, 0.5, rngs=RNGS), beta=BETA),
    "CuBaLIF, alpha": lambda: given(snn.CuBaLIF((3,), 0.5, 0.5, rngs=RNGS), alpha=BETA),
    "CuBaLIF, all": lambda: snn.CuBaLIF((3,), 1.0, 1.5, rngs=RNGS),
    "RCuBaLIF": lambda: given(snn.RCuBaLIF((3,), 0.5, 0.5, rngs=RNGS), alpha=BETA[::-1], beta=BETA),
    "exact LIF": lambda: neurons.LIF((3,), [0.5, 1.0, 1.0], v_leak=0.3, v_reset=-0.2),
    "exact LIF from its leak": lambda: neurons.LIF(
        (3,), [0.5, 1.0, 1.0], v_leak=0.3, start_at_leak=True
    ),
    "exact LIF from its leak, all": lambda: neurons.LIF((3,), 1.0, v_leak=0.3, start_at_leak=True),
    "exact LIF at 0": lambda: neurons.LIF((3,), [0.5, 1.0, 1.0], 0.0, v_leak=0.3, v_reset=-0.5),
    "exact LI, gain": lambda: neurons.LI((3,), [0.5, 1.0, 1.0], v_leak=0.3, gain=0.4),
    "exact LI from its leak, all": lambda: neurons.LI((3,), 1.0, v_leak=0.3, start_at_leak=True),
    "exact CubaLI, gain": lambda: neurons.CubaLI(
        (3,), [1.0, 0.5, 1.0], [0.5, 1.0, 1.0], gain_in=0.5
    ),
    "exact CubaLIF": lambda: neurons.CubaLIF((3,), [1.0, 0.5, 1.0], [0.5, 1.0, 1.0]),
}


@pytest.mark.parametrize(
    "dt", [1e-4, 0.7, *(pytest.param(dt, marks=pytest.mark.full) for dt in (1.0, 1e-3))]
)
@pytest.mark.parametrize("name", LAYERS)
def test_a_decay_of_one_is_written_and_comes_back(name, dt, tmp_path):
    layer = LAYERS[name]()
    model = snn.Sequential(layer)
    # Sixteenths, some 0: they add up without rounding, so that only a leak could differ.
    x = np.random.default_rng(0).integers(-8, 17, (60, 2, 3)).astype(np.float32) / 16
    x[20:30] = 0
    expected = np.asarray(snn.run(model, jnp.asarray(x))[0])
    assert expected.any()
    graph = to_nir(model, *PORTS, dt, strict=True)
    file.write(tmp_path / "m.nir", graph)
    read = nir.read(tmp_path / "m.nir")
    loaded, found = from_nir(read, x, dt)
    # A factor other than 1 is rounded in the file, whatever the decay.
    rounding = {"rtol": 2e-6 if "gain" in name else 0}
    np.testing.assert_allclose(found, expected, **rounding)
    seen = reference.run(read.to_dict(), x, dt).output
    np.testing.assert_allclose(seen, expected, rtol=2e-6, atol=2e-6)
    again = to_nir(loaded, *PORTS, dt, strict=True)
    np.testing.assert_allclose(from_nir(again, x, dt)[1], found, **rounding)


def test_no_bit_of_a_membrane_leaks_in_a_thousand_steps():
    """By algebra: one input, then nothing, and the membrane is that input for ever."""
    layer = given(snn.LI((3,), 0.5, rngs=RNGS), beta=[0.5, 1.0, 2.0])
    x = np.zeros((1000, 1, 3), np.float32)
    x[0] = 0.7
    graph = to_nir(layer, *PORTS, 1.0, strict=True)
    for output in (reference.run(graph.to_dict(), x).output, from_nir(graph, x)[1]):
        for place in (1, 2):
            kept = np.asarray(output)[:, 0, place]
            assert (kept == kept[0]).all()
            assert abs(kept[0] / np.float32(0.7) - 1) < 2**-22


def test_a_decay_of_one_on_an_image_and_behind_a_flatten(tmp_path):
    shape, size = (2, 3, 4), 24
    beta = np.resize([0.5, 1.0, 0.9, 1.2, 0.7], (3, 4, 2))
    model = snn.Sequential(
        given(snn.LIF((3, 4, 2), 0.5, rngs=RNGS), beta=beta),
        snn.Flatten(),
        given(snn.LI((size,), 0.5, rngs=RNGS), beta=beta.ravel()),
    )
    x = np.random.default_rng(0).uniform(-0.5, 1, (20, 2, *shape)).astype(np.float32)
    graph = to_nir(model, {"input": shape}, {"output": (size,)}, strict=True)
    expected = np.asarray(snn.run(model, jnp.asarray(back(x)))[0])
    np.testing.assert_array_equal(from_nir(graph, back(x))[1], expected)
    seen = reference.run(graph.to_dict(), x).output
    np.testing.assert_allclose(seen, expected[..., flatten_order(shape)], rtol=1e-6, atol=1e-6)


def test_an_ordinary_trained_network_is_exported():
    """Spyx's first tutorial in small: default decays, trained until one of them is above 1."""
    model = snn.Sequential(
        nnx.Linear(12, 16, use_bias=False, rngs=RNGS),
        snn.LIF((16,), activation=spyx.axn.triangular(), rngs=RNGS),
        nnx.Linear(16, 3, use_bias=False, rngs=RNGS),
        snn.LI((3,), rngs=RNGS),
    )
    model.layers[1].beta[...] = jnp.linspace(0.1, 0.97, 16)
    optimizer = nnx.Optimizer(model, optax.adam(1e-2), wrt=nnx.Param)
    rng = np.random.default_rng(0)
    kinds = rng.random((3, 20, 12)) < 0.25

    @nnx.jit
    def step(model, optimizer, x, labels):
        def loss(model):
            logits = snn.run(model, x)[0].mean(0)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        optimizer.update(model, nnx.grad(loss)(model))

    for _ in range(100):
        labels = rng.integers(0, 3, 16)
        x = (kinds[labels] ^ (rng.random((16, 20, 12)) < 0.05)).transpose(1, 0, 2)
        step(model, optimizer, jnp.asarray(x, jnp.float32), jnp.asarray(labels))
    for layer in (model.layers[1], model.layers[3]):
        layer.beta[...] = layer.beta[...].at[0].set(1.006)  # whatever the training came to
    x = x.astype(np.float32)
    expected = np.asarray(snn.run(model, jnp.asarray(x))[0])
    graph = to_nir(model, {"input": (12,)}, {"output": (3,)}, 1e-3, strict=True)
    np.testing.assert_array_equal(from_nir(graph, x, 1e-3)[1], expected)
    seen = reference.run(graph.to_dict(), x, 1e-3).output
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------- files that say it with infinity


def reads(node, x, dt):
    """What the reference and the import make of a node, which must agree."""
    with pytest.warns(UserWarning, match="is infinite, so nothing leaks"):
        seen = reference.run(chain(node).to_dict(), x, dt).output
        _, found = from_nir(chain(node), x, dt)
    np.testing.assert_allclose(found, seen, rtol=1e-6, atol=1e-6)
    return np.asarray(found)


@pytest.mark.parametrize("dt", [1.0, 1e-4])
def test_tau_and_r_of_a_decay_of_one(dt):
    """snnTorch writes tau = dt/(1-beta), r = tau/dt: both infinite at beta = 1. Then v += x."""
    x = np.random.default_rng(1).integers(-4, 9, (30, 2, 3)).astype(np.float32) / 8
    beta = np.array([0.5, 1.0, 0.75])
    with np.errstate(divide="ignore"):
        tau = dt / (1 - beta)
    node = nir.LI(tau=tau, r=tau / dt, v_leak=np.array([0.0, 0.4, 0.0]))
    expected = np.zeros((2, 3))
    for step, output in zip(x, reads(node, x, dt), strict=True):
        expected = beta * expected + step
        np.testing.assert_allclose(output, expected, rtol=1e-6, atol=1e-6)
    spiking = nir.LIF(tau, tau / dt, full(0.0), full(1.0), full(0.0))
    fired = reads(spiking, x, dt)
    v = np.zeros((2, 3))
    for step, output in zip(x, fired, strict=True):
        v = beta * v + step
        # x and beta are multiples of powers of two, so that v is exact but for the file's rounding.
        sure = np.abs(v - 1) > 1e-5
        assert (output == (v > 1))[sure].all()
        v = np.where(output > 0, 0.0, v)


def test_a_current_without_end():
    """alpha = 1: tau_syn and w_in are infinite; by algebra i adds up and v follows."""
    x = np.zeros((6, 1, 3), np.float32)
    x[0] = 1.0
    node = nir.CubaLI(full(INF), full(2.0), full(2.0), full(0.0), full(INF))
    found = reads(node, x, 1.0)[:, 0, 0]
    v, expected = 0.0, []
    for _ in range(6):  # i stays 1
        v = 0.5 * v + 1.0
        expected.append(v)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_one_number_without_end_for_all():
    node = nir.LI(np.array([INF]), np.array([INF]), np.zeros(1))
    x = np.ones((4, 1, 3), np.float32)
    np.testing.assert_allclose(reads(node, x, 1e-3)[:, 0, 0], [1, 2, 3, 4], rtol=1e-6)


def test_an_infinite_tau_with_a_finite_r_keeps_the_membrane_as_nir_says():
    """dt/tau * r is 0: v' = 0. It is said that the input has no effect."""
    node = nir.LI(full(INF), full(1.0), full(0.0))
    with pytest.warns(UserWarning, match="`r` is finite: its input has no effect"):
        assert not from_nir(chain(node), np.ones((4, 1, 3)))[1].any()
    with pytest.warns(UserWarning, match="no effect"):
        assert not reference.run(chain(node).to_dict(), np.ones((4, 1, 3)), 1.0).output.any()


def test_an_import_without_end_is_written_without_infinity():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        node = nir.LIF(*(np.array([INF, 2, 4]),) * 2, full(0.0), full(1.0), full(0.0))
        loaded = load(chain(node), 1.0)
    (again,) = (n for n in to_nir(loaded.model, *PORTS).nodes.values() if isinstance(n, nir.LIF))
    assert np.isfinite([again.tau, again.r]).all()


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"tau": full(2.0), "r": np.array([2, INF, 2])}, "`r` holds inf at (1,)"),
        ({"tau": np.array([2, 2, INF]), "r": np.array([2, INF, 2])}, "`r` holds inf at (1,)"),
        ({"tau": full(-INF), "r": full(INF)}, "-inf"),
        ({"tau": full(INF), "r": full(-INF)}, "`r` holds -inf"),
        ({"tau": full(INF), "r": full(np.nan)}, "`r` holds nan"),
        ({"tau": full(np.nan), "r": full(1.0)}, "`tau` holds nan"),
        ({"tau": full(INF), "r": full(INF), "v_leak": full(INF)}, "`v_leak` holds inf"),
    ],
)
def test_any_other_infinity_is_refused(fields, word):
    node = nir.LI(**{"v_leak": full(0.0)} | fields)
    for read in (
        lambda: load(chain(node), 1.0),
        lambda: make_plan(chain(node).to_dict()),
    ):
        with pytest.raises(ValueError, match="LI node `n0`") as caught:
            read()
        assert word in str(caught.value)
