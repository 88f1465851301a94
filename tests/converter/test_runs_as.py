"""A layer is exported by what its class does: whoever changes what the class runs by is refused.

Models as people write them, and models that try to slip through. What is right is what `spyx.nn.run`
gives: either the file gives the same, or it is refused.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx
from spyx import axn

from spyx_nir import neurons
from spyx_nir.converter import to_nir
from spyx_nir.converter.known import redefined
from spyx_nir.converter.layers import Delay, FlattenFirst, Scale, SpikeDelay
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

RNGS = nnx.Rngs(0)
RANDOM = np.random.default_rng(5)


def linear(inner, outer, gain=2.0, kind=nnx.Linear, **options):
    def draw(_, shape, dtype):
        return jnp.asarray(RANDOM.normal(0, gain / np.sqrt(shape[0]), shape), dtype)

    return kind(inner, outer, kernel_init=draw, rngs=RNGS, **options)


def lif(kind=snn.LIF, **options):
    return kind((8,), beta=0.8, rngs=RNGS, **options)


def behind(*layers):
    return snn.Sequential(linear(6, 8), *layers)


def image(*layers):
    return snn.Sequential(*layers, snn.Flatten(), linear(32, 8), lif())


def shadowed(layer, **attributes):
    for name, value in attributes.items():
        setattr(layer, name, value)
    return layer


# ---------------------------------------------------------------------------------------- containers


class Residual(snn.Sequential):
    def __call__(self, x, state):
        y, state = super().__call__(x, state)
        return x + y, state


class ReluBetween(nnx.Sequential):
    def __call__(self, x):
        for layer in self.layers:
            x = jnp.maximum(layer(x), 0)
        return x


class Charged(snn.Sequential):
    def initial_state(self, batch_size):
        return [None if s is None else s + 0.9 for s in super().initial_state(batch_size)]


class Backwards(snn.Sequential):
    @property
    def layers(self):
        return self.kept[::-1]

    @layers.setter
    def layers(self, layers):
        self.kept = layers


class Module(nnx.Module):
    """A whole network as most people write one."""

    def __init__(self):
        self.first, self.neuron = linear(6, 8), lif()

    def initial_state(self, batch_size):
        return self.neuron.initial_state(batch_size)

    def __call__(self, x, state):
        return self.neuron(self.first(x), state)


CONTAINERS = {
    "ReLU between": (
        lambda: snn.Sequential(ReluBetween(linear(6, 8), linear(8, 8)), lif()),
        "`max` between layers has no node in NIR",
    ),
    "its own first state": (
        lambda: Charged(linear(6, 8), lif()),
        "LIF (`layers.1`) does not start from its `initial_state`",
    ),
    "a method on the instance": (
        lambda: shadowed(behind(lif()), initial_state=lambda n: [None, jnp.ones((n, 8))]),
        "LIF (`layers.1`) does not start from its `initial_state`",
    ),
    "layers with a state in nnx.Sequential": (
        lambda: snn.Sequential(nnx.Sequential(linear(6, 8), lif())),
        "layer 0 (Sequential)",
    ),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_container_that_runs_otherwise_is_refused(name, strict):
    """Leaving out all of a block, or of the model, is no way out: not even with `strict=False`."""
    make, place = CONTAINERS[name]
    with pytest.raises(GraphError) as caught:
        to_nir(make(), {"input": (6,)}, {"output": (8,)}, strict=strict)
    assert place in str(caught.value)


# What a container of its own does is read from its code; on an instance a `__call__` has no effect.
TRACED = {
    "a residual block": lambda: behind(Residual(linear(8, 8), lif())),
    "its layers backwards": lambda: Backwards(lif(), linear(6, 8)),
    "a call on the instance": lambda: behind(
        shadowed(snn.Sequential(lif()), __call__=lambda x, state: (-x, state))
    ),
    "a module of its own": Module,
    "a module of its own in a row": lambda: snn.Sequential(Module(), linear(8, 8)),
}


@pytest.mark.parametrize("name", TRACED)
def test_a_container_is_exported_as_it_runs(name):
    model = TRACED[name]()
    graph = to_nir(model, {"input": (6,)}, {"output": (8,)}, strict=True)
    x = RANDOM.normal(size=(20, 3, 6)).astype(np.float32)
    expected = np.asarray(snn.run(model, jnp.asarray(x))[0])
    assert expected.any()
    found = reference.run(graph.to_dict(), x).output
    # Spikes exactly; sums of them and of weights to float32.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------------- layers


class OwnEmit(neurons.LIF):
    def emit(self, u):
        z, v = super().emit(u)
        return 1 - z, v


class OwnIntegrate(neurons.CubaLIF):
    def integrate(self, x, state):
        return super().integrate(2 * x, state)


class OwnHelper(neurons.LIF):
    def _after_decay(self, u, v):
        return u - 0.2


class Doubling(neurons.SpikingIntegrator):
    def emit(self, u):
        z, v = super().emit(u)
        return 2 * z, v


class Between(neurons.LIF, Doubling):
    """Redefines nothing itself, and neither does LIF: what LIF inherits lies behind Doubling."""


class Mixin:
    def initial_state(self, batch_size):
        return jnp.full((batch_size, 8), 0.9)


class Mixed(Mixin, snn.LIF):
    pass


class Computed(snn.LIF):
    @property
    def threshold(self):
        return jnp.where(self.beta[...] > 0.5, 3.0, self.kept)

    @threshold.setter
    def threshold(self, value):
        self.kept = value


class Counting(snn.LIF):
    """Looks up another beta every time."""

    def __getattribute__(self, name):
        value = super().__getattribute__(name)
        return value * 0.5 if name == "threshold" else value


def overriding(base, **methods):
    return type(f"Own{base.__name__}", (base,), methods)


def halved(self, *given, **options):
    found = super(type(self), self).__call__(*given, **options)
    return (found[0] * 0.5, *found[1:]) if isinstance(found, tuple) else found * 0.5


def also(layer, **parameters):
    """The layer with parameters that its constructor does not take."""
    for name, value in parameters.items():
        setattr(layer, name, nnx.data(nnx.Param(jnp.float32(value))))
    return layer


def named(name, layer):
    return f"`{name}`", lambda: behind(layer())


SHADOWS = {
    "emit": named("emit", lambda: OwnEmit((8,), 0.8)),
    "integrate": named("integrate", lambda: OwnIntegrate((8,), 0.8, 0.7)),
    "a helper": named("_after_decay", lambda: OwnHelper((8,), 0.8)),
    "emit beside the parent": named("emit", lambda: Between((8,), 0.8)),
    "a mixin": named("initial_state", lambda: lif(Mixed)),
    "a property": named("threshold", lambda: lif(Computed)),
    "every attribute": named("__getattribute__", lambda: lif(Counting)),
    "emit of the instance": named(
        "emit", lambda: shadowed(neurons.LIF((8,), 0.8), emit=lambda u: (u, u))
    ),
    "the first state of the instance": named(
        "initial_state", lambda: shadowed(lif(), initial_state=lambda n: jnp.ones((n, 8)))
    ),
    "a call of the instance": named(
        "__call__", lambda: shadowed(lif(), __call__=lambda x, state: (-x, state))
    ),
    "a state of a layer without": named(
        "initial_state", lambda: shadowed(linear(8, 8), initial_state=lambda n: 0)
    ),
    "a cell": (
        "Own",
        lambda: behind(neurons.Recurrent(OwnEmit((8,), 0.8), rngs=RNGS)),
    ),
    "a delayed neuron": ("Own", lambda: behind(SpikeDelay(OwnEmit((8,), 0.8)))),
    "a recurrent layer": named(
        "__call__",
        lambda: overriding(snn.RLIF, __call__=halved)((8,), 0.8, rngs=RNGS),
    ),
    "Linear": named("__call__", lambda: linear(8, 8, kind=overriding(nnx.Linear, __call__=halved))),
    "Scale": named("__call__", lambda: overriding(Scale, __call__=halved)(jnp.ones(8))),
    "Delay": named("__call__", lambda: overriding(Delay, __call__=halved)((8,), 1)),
    "a cell that is delayed already": ("LIF", lambda: behind(neurons.Recurrent(lif(), rngs=RNGS))),
    "a decay of an IF": named("beta", lambda: also(neurons.IF((8,)), beta=0.5)),
    "a leak of an IF": named("v_leak", lambda: also(neurons.IF((8,)), v_leak=0.5)),
    "a current of an LIF": named("alpha", lambda: also(neurons.LIF((8,), 0.9), alpha=0.5)),
    "a current of an LI": named("alpha", lambda: also(neurons.LI((8,), 0.9), alpha=0.5)),
    "delayed twice": ("LIF", lambda: behind(SpikeDelay(lif()))),
    "delayed without a spike": ("LI", lambda: behind(SpikeDelay(neurons.LI((8,), 0.8)))),
    "two nodes in a cell": (
        "PSU_LIF",
        lambda: behind(neurons.Recurrent(lif(snn.PSU_LIF), rngs=RNGS)),
    ),
    "a count that changes": (
        "OwnActivityRegularization",
        lambda: behind(overriding(snn.ActivityRegularization, __call__=halved)((8,))),
    ),
    "a product by an algorithm": (
        "`precision` is BF16_BF16_F32",
        lambda: behind(linear(8, 8, precision=jax.lax.DotAlgorithmPreset.BF16_BF16_F32)),
    ),
    "rounding before the product": (
        "`promote_dtype`",
        lambda: behind(
            shadowed(linear(8, 8), promote_dtype=lambda a, dtype=None: tuple(map(jnp.round, a)))
        ),
    ),
}
SHADOWED_IMAGES = {
    "Conv": ("`__call__`", lambda: overriding(nnx.Conv, __call__=halved)(2, 2, (3, 3), rngs=RNGS)),
    "Flatten": ("`__call__`", lambda: overriding(snn.Flatten, __call__=halved)()),
    "FlattenFirst": (
        "`__call__`",
        lambda: overriding(FlattenFirst, __call__=halved)((2, 4, 4), (32,)),
    ),
    "SumPool": ("`__call__`", lambda: overriding(snn.SumPool, __call__=halved)(1, 1, "VALID")),
}


@pytest.mark.parametrize("name", SHADOWS)
def test_a_layer_that_redefines_what_its_class_runs_by_is_refused(name):
    word, make = SHADOWS[name]
    with pytest.raises(GraphError, match=r"^layer 1 \(") as caught:
        to_nir(make(), {"input": (6,)}, {"output": (8,)}, strict=True)
    assert word in str(caught.value)


@pytest.mark.parametrize("name", SHADOWED_IMAGES)
def test_a_layer_over_an_image_that_redefines_something_is_refused(name):
    word, make = SHADOWED_IMAGES[name]
    with pytest.raises(GraphError, match=r"^layer 0 \(") as caught:
        to_nir(image(make()), {"input": (2, 4, 4)}, {"output": (8,)}, strict=True)
    assert word in str(caught.value)


# ------------------------------------------------------------------------- what changes nothing passes


class Named(snn.LIF):
    """A doc string, a constructor, a method beside and a default: the parent runs by none of them."""

    threshold = 4.0

    def __init__(self, size, *, rngs):
        super().__init__((size,), beta=0.8, threshold=0.7, rngs=rngs)

    def half_life(self):
        return np.log(0.5) / np.log(self.beta[...])


class Row(snn.Sequential):
    def __init__(self, size):
        super().__init__(linear(6, size), Named(size, rngs=RNGS))

    def rates(self, x):
        return snn.run(self, x)[0].mean(0)


class Stepping:
    """What a layer has to have; methods of the same names as the neuron's, behind them."""

    def initial_state(self, batch_size):
        raise NotImplementedError

    def __call__(self, x, state):
        raise NotImplementedError


class Contract(snn.LIF, Stepping):
    pass


class Parallel(snn.PSU_LIF):
    def parallel(self, x):
        return super().parallel(2 * x)  # `spyx.nn.run` steps, and never asks for it


class Clipping(snn.LIF):
    """Has a method called as a function that the parent calls."""

    def clip(self):
        self.beta[...] = jnp.clip(self.beta[...], 0, 1)


class Growing(snn.Sequential):
    def append(self, layer):
        self.layers.append(layer)


HARMLESS = {
    "methods with names of other functions": lambda: Growing(linear(6, 8), lif(Clipping)),
    "a constructor": lambda: Row(8),
    "a protocol": lambda: behind(lif(Contract)),
    "a method that does not run": lambda: behind(lif(Parallel)),
    "a trained threshold": lambda: behind(lif(threshold=nnx.Param(jnp.linspace(0.5, 1.5, 8)))),
    "a threshold for a batch": lambda: behind(lif(threshold=jnp.linspace(0.5, 1.5, 8)[None])),
    "truth values as spikes": lambda: behind(lif(activation=lambda x: x > 0), linear(8, 8), lif()),
    "speeds by name": lambda: behind(linear(8, 8, precision=("high", "highest")), lif()),
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_subclass_that_redefines_nothing_is_its_parent(name):
    model = HARMLESS[name]()
    graph = to_nir(model, {"input": (6,)}, {"output": (8,)}, strict=True)
    x = RANDOM.normal(size=(20, 3, 6)).astype(np.float32)
    expected = np.asarray(snn.run(model, jnp.asarray(x))[0])
    assert expected.any()
    np.testing.assert_array_equal(reference.run(graph.to_dict(), x).output, expected)


def scaled(step):
    @functools.wraps(step)
    def wrapped(self, x):
        return self.scale() * step(self, x)

    return wrapped


class Wrapped:
    """Looks up a method in the function around its own, and one in a function that it calls."""

    @scaled
    def __call__(self, x):
        return x + [self.offset() for _ in x]

    def scale(self):
        return 1

    def offset(self):
        return 0


@pytest.mark.parametrize("name", ["scale", "offset", "unused"])
def test_names_are_found_through_functions_around_a_method(name):
    own = overriding(Wrapped, **{name: lambda self: 2})
    assert redefined(own(), Wrapped) == (None if name == "unused" else name)


# ---------------------------------------------------------------------------------------- activations


class Learned(nnx.Module):
    """An activation with a parameter of its own."""

    def __init__(self):
        self.at = nnx.Param(jnp.zeros(()))

    def __call__(self, x):
        return (x > self.at[...]) * 1.0


ACTIVATIONS = {
    "up to three spikes": lambda x: jnp.clip(jnp.ceil(x), 0, 3),
    "ternary": lambda x: jnp.where(x > 0, 1.0, 0.0) - jnp.where(x < -2, 1.0, 0.0),
    "two spikes far above": lambda x: jnp.where(x > 0, 1.0, 0.0) + jnp.where(x > 2e4, 1.0, 0.0),
    "a spike far below": lambda x: jnp.where((x > 0) | (x < -3e7), 1.0, 0.0),
    "silent again above": lambda x: jnp.where((x > 0) & (x < 47), 1.0, 0.0),
    "a graded window": lambda x: (x > 0) * 1.0 + (jnp.abs(x - 0.61) < 0.02) * 0.5,
    "no number above 20": lambda x: jnp.where(x > 20, jnp.nan, (x > 0) * 1.0),
    "the largest alone": lambda x: (x > 0) * (x == x.max(-1, keepdims=True)) * 1.0,
    "above the mean": lambda x: (x > x.mean(-1, keepdims=True)) * 1.0,
    "a silenced neuron": lambda x: (x > 0) * jnp.ones(8).at[3].set(0.0),
    "fewer neurons": lambda x: (x[..., :4] > 0) * 1.0,
    "a step above 0": lambda x: (x > 1e-4) * 1.0,
    "a smooth step": lambda x: jax.nn.sigmoid(1e6 * x),
}


@pytest.mark.parametrize("cell", [snn.LIF, snn.RLIF, snn.PSU_LIF, neurons.LIF])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation_that_is_no_step_is_refused(name, cell):
    layer = cell((8,), 0.8, activation=axn.custom(jnp.ones_like, ACTIVATIONS[name]), rngs=RNGS)
    with pytest.raises(GraphError, match=r"layer 1 \(\w+\): its activation is no step") as caught:
        to_nir(behind(layer), {"input": (6,)}, {"output": (8,)}, strict=True)
    assert "spyx.axn" in str(caught.value)


def test_an_activation_is_asked_anew_at_every_export():
    step = Learned()
    model = behind(lif(activation=step))
    to_nir(model, {"input": (6,)}, {"output": (8,)}, strict=True)
    step.at[...] = 0.7
    with pytest.raises(GraphError, match="no step"):
        to_nir(model, {"input": (6,)}, {"output": (8,)}, strict=True)


@pytest.mark.parametrize("make", [axn.tanh, axn.boxcar, axn.triangular, axn.arctan, axn.superspike])
def test_every_activation_of_spyx_is_a_step(make):
    """On an image too, where a layer has more neurons than it is asked numbers each."""
    model = snn.Sequential(snn.IF((40, 50, 2), activation=make()))
    to_nir(model, {"input": (2, 40, 50)}, {"output": (2, 40, 50)}, strict=True)


# ------------------------------------------------------------------------------------ complex numbers


def with_phase(layer):
    layer.kernel = nnx.Param(layer.kernel[...] * (1 + 1j))
    return layer


COMPLEX = {
    "a kernel": (lambda: snn.Sequential(with_phase(linear(6, 8))), (6,), (8,)),
    "a kernel of an image": (
        lambda: snn.Sequential(with_phase(nnx.Conv(2, 3, (3, 3), rngs=RNGS))),
        (2, 4, 4),
        (3, 4, 4),
    ),
    "a threshold": (lambda: behind(lif(threshold=0.5 + 1j)), (6,), (8,)),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_complex_parameters_are_refused(name):
    make, shape, out = COMPLEX[name]
    with pytest.raises(GraphError, match=r"^layer \d \(\w+\): .*(complex|imaginary)"):
        to_nir(make(), {"input": shape}, {"output": out}, strict=True, check=False)


# ------------------------------------------------------------------------------------------ ensembles


def ensemble(make, members=4):
    return nnx.vmap(lambda key: make(nnx.Rngs(key)))(jax.random.split(jax.random.key(0), members))


@pytest.mark.parametrize(
    ("make", "shape", "out"),
    [
        (lambda rngs: nnx.Linear(6, 8, rngs=rngs), (6,), (8,)),
        (lambda rngs: nnx.Conv(2, 3, (3, 3), rngs=rngs), (2, 5, 5), (3, 5, 5)),
        (lambda rngs: snn.LIF((8,), rngs=rngs), (8,), (8,)),
    ],
)
def test_an_ensemble_is_called_one(make, shape, out):
    with pytest.raises(GraphError, match=r"layer 0 \(\w+\): .*\(4, .*nnx.vmap .*one member"):
        to_nir(ensemble(make), {"input": shape}, {"output": out}, strict=True)
