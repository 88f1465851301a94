"""Every layer of Spyx and of our own: Spyx's own steps, the imported file and the reference agree."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nn as snn
from agree import by_steps, three_ways
from flax import nnx

from spyx_nir import neurons
from spyx_nir.converter import export_named, from_nir, load, to_nir
from spyx_nir.converter.layers import Delay, Scale, Threshold
from spyx_nir.converter.layout import flatten_order
from spyx_nir.meaning import reference

RNGS = nnx.Rngs(0)
RANDOM = np.random.default_rng(1)
LINE, IMAGE = (2, 7), (2, 4, 5)  # channels first
PLACES = (4, 5, 2)  # the same image as Spyx sees it
DTS = (1.0, 1e-3, 1e-4)


@pytest.fixture(autouse=True)
def _same_weights_in_any_order():
    """Every test draws the same weights, whichever tests ran before it in its process."""
    global RANDOM
    RANDOM = np.random.default_rng(1)


def seq(*layers):
    return snn.Sequential(*layers)


def drawn(_, shape, dtype=jnp.float32):
    """Random weights that need no compilation."""
    return jnp.asarray(RANDOM.normal(0, 0.6, shape).astype(np.float32))


def linear(rows, columns, bias=True):
    return nnx.Linear(rows, columns, use_bias=bias, kernel_init=drawn, bias_init=drawn, rngs=RNGS)


def conv(kernel, inner=2, outer=2, **options):
    return nnx.Conv(inner, outer, kernel, kernel_init=drawn, bias_init=drawn, rngs=RNGS, **options)


def given(layer, **values):
    """Parameters of any shape in a layer whose constructor takes numbers only."""
    for name, value in values.items():
        setattr(layer, name, nnx.Param(jnp.asarray(value, jnp.float32)))
    return layer


def spread(low, high, shape=(3,)):
    return np.random.default_rng(3).uniform(low, high, shape).astype(np.float32)


def recurrent(layer, size=3, scale=0.4):
    layer.recurrent_w = nnx.Param(drawn(None, (size, size)) * scale)
    if getattr(layer, "recurrent_b", None) is not None:
        layer.recurrent_b = nnx.Param(jnp.asarray(spread(0.1, 0.3, (size,))))
    return layer


def exact_recurrent(cell, bias=False, size=3):
    return recurrent(neurons.Recurrent(cell, bias=bias, rngs=RNGS), size)


def stock(kind, *decays, shape=(3,), threshold=1.0, **values):
    return given(kind(shape, *decays, threshold=threshold, rngs=RNGS), **values)


# ------------------------------------------------------------------------------------------ neurons

STOCK = {
    "IF": lambda: snn.IF((3,)),
    "IF, thresholds per neuron": lambda: snn.IF((3,), jnp.asarray(spread(0.5, 2.0))),
    "LIF": lambda: stock(snn.LIF, 0.8, threshold=1.3),
    "LIF, decays per neuron, clipped": lambda: stock(snn.LIF, 0.5, beta=[-0.2, 0.5, 0.9]),
    "LIF, beta 0": lambda: stock(snn.LIF, 0.0, threshold=0.6),
    "LIF, beta 1": lambda: stock(snn.LIF, 1.0),
    "LIF, beta beyond 1": lambda: stock(snn.LIF, 1.7, threshold=0.7),
    "LIF, beta just below 1": lambda: stock(snn.LIF, float(np.nextafter(np.float32(1), 0))),
    "LI": lambda: given(snn.LI((3,), rngs=RNGS), beta=[0.0, 0.5, 0.99]),
    "LI, scalar": lambda: snn.LI((3,), 0.8, rngs=RNGS),
    "LI, beta 1": lambda: snn.LI((3,), 1.0, rngs=RNGS),
    "CuBaLIF": lambda: stock(snn.CuBaLIF, 0.6, 0.8, threshold=2.0),
    "CuBaLIF, per neuron, clipped": lambda: stock(
        snn.CuBaLIF, 0.5, 0.5, alpha=[-0.1, 0.4, 0.9], beta=[0.9, 0.0, -3.0], threshold=1.5
    ),
    "PSU_LIF": lambda: stock(snn.PSU_LIF, 0.7),
    "PSU_LIF, beta 1": lambda: stock(snn.PSU_LIF, 1.0, threshold=2.5),
    "AssociativeLIF": lambda: stock(snn.AssociativeLIF, 0.7, beta=[0.1, 0.5, 0.9]),
    "RIF": lambda: recurrent(stock(snn.RIF)),
    "RLIF": lambda: recurrent(stock(snn.RLIF, 0.8, threshold=0.8)),
    "RLIF, per neuron": lambda: recurrent(stock(snn.RLIF, 0.8, beta=[0.0, 0.6, 1.0 - 2**-10])),
    "RLIF, beta 1": lambda: recurrent(stock(snn.RLIF, 1.0)),
    "RCuBaLIF": lambda: recurrent(stock(snn.RCuBaLIF, 0.5, 0.8, threshold=1.5)),
}


@pytest.mark.parametrize("dt", DTS)
@pytest.mark.parametrize("name", STOCK)
def test_a_stock_neuron(name, dt, tmp_path):
    layer = STOCK[name]()
    graph, loaded, _, names = three_ways(seq(layer), (3,), (3,), tmp_path / "m.nir", dt)
    assert graph.metadata["dt"] == dt
    assert len(names) == 1
    # What comes back is the same layer again, unless NIR's name for it is another.
    renamed = "beta 1" in name or name.startswith(("PSU", "Assoc")) or "beyond" in name
    assert renamed or type(loaded.model.layers[0]) is type(layer)


EXACT = {
    "I": lambda: neurons.I((3,), gain=spread(0.5, 2)),
    "LI": lambda: neurons.LI((3,), spread(0, 0.9), v_leak=spread(-1, 1)),
    "LI, starts at its leak": lambda: neurons.LI((3,), 0.9, v_leak=0.7, start_at_leak=True),
    "LI, beta 1": lambda: neurons.LI((3,), 1.0, gain=0.5),
    "CubaLI": lambda: neurons.CubaLI((3,), spread(0, 0.9), 0.7, gain_in=2.0, gain=0.3),
    "IF": lambda: neurons.IF((3,), spread(0.5, 2), v_reset=spread(-0.5, 0.2)),
    "IF, gain": lambda: neurons.IF((3,), gain=spread(0.3, 2), reset="subtract"),
    "IF, late subtraction": lambda: neurons.IF((3,), 0.9, reset="subtract_after_decay"),
    "LIF": lambda: neurons.LIF((3,), spread(0.1, 0.9), spread(0.5, 1.1), v_reset=-0.3),
    "LIF, leak": lambda: neurons.LIF((3,), 0.8, v_leak=0.4, start_at_leak=True, gain=0.5),
    "LIF, subtract": lambda: neurons.LIF((3,), 0.8, reset="subtract"),
    "LIF, subtract after decay": lambda: neurons.LIF((3,), 0.8, reset="subtract_after_decay"),
    "LIF, beta 0": lambda: neurons.LIF((3,), 0.0, 0.5),
    "LIF, beta 1": lambda: neurons.LIF((3,), 1.0, v_reset=0.1, gain=2.0),
    "LIF, negative gain": lambda: neurons.LIF((3,), 0.7, 0.2, gain=spread(-2, -1)),
    "LIF, gain 0": lambda: seq(neurons.LIF((3,), 0.7, 0.2, gain=0.0, v_leak=0.9)),
    "CubaLIF": lambda: neurons.CubaLIF((3,), spread(0.1, 0.9), spread(0.1, 0.9), v_leak=0.1),
    "CubaLIF, subtract": lambda: neurons.CubaLIF((3,), 0.5, 0.7, 1.5, reset="subtract"),
    "CubaLIF, gains": lambda: neurons.CubaLIF((3,), 0.5, 0.7, gain_in=0.4, gain=spread(1, 2)),
    "CubaLIF, after decay": lambda: neurons.CubaLIF((3,), 0.5, 0.7, reset="subtract_after_decay"),
    "recurrent LIF": lambda: exact_recurrent(neurons.LIF((3,), 0.8)),
    "recurrent IF, bias": lambda: exact_recurrent(neurons.IF((3,), 1.5), bias=True),
    "recurrent CubaLIF, bias": lambda: exact_recurrent(neurons.CubaLIF((3,), 0.4, 0.7), bias=True),
    "recurrent LI": lambda: exact_recurrent(neurons.LI((3,), 0.5), bias=True),
    "Scale": lambda: seq(Scale(spread(-1, 1)), snn.IF((3,))),
    "Threshold": lambda: seq(Threshold(0.4), snn.LI((3,), 0.5, rngs=RNGS)),
    "Delay": lambda: Delay((3,), (0, 1, 3)),
}


@pytest.mark.parametrize("name", EXACT)
def test_an_exact_neuron(name, tmp_path):
    layer = EXACT[name]()
    model = layer if isinstance(layer, snn.Sequential) else seq(layer)
    dt = DTS[len(name) % 3]
    three_ways(model, (3,), (3,), tmp_path / "m.nir", dt)


@pytest.mark.parametrize(
    "name", ["RIF", "RLIF", "RCuBaLIF", "recurrent CubaLIF, bias", "recurrent LI"]
)
def test_recurrent_layers_nested_and_flat_are_the_same(name, tmp_path):
    model = seq(linear(4, 3), (STOCK | EXACT)[name](), linear(3, 2))
    nested, first, _, one = three_ways(model, (4,), (2,), tmp_path / "nested.nir")
    flat, second, _, two = three_ways(model, (4,), (2,), tmp_path / "flat.nir", recurrent="flat")
    assert one == two
    assert one[1].endswith("_1.lif")
    assert first.plan.nodes.keys() == second.plan.nodes.keys() | {
        one[1].replace(".lif", ".input"),
        one[1].replace(".lif", ".output"),
    }
    assert any(isinstance(n, nir.NIRGraph) for n in nested.nodes.values())
    assert not any(isinstance(n, nir.NIRGraph) for n in flat.nodes.values())


def test_a_spike_of_exactly_the_threshold_stays_silent_everywhere():
    """x = 1 at a threshold of 1 is common where inputs are spikes: `>` must not become `>=`."""
    x = np.tile(np.array([1.0, 0.0, 0.5, 0.5, 0.25], np.float32)[:, None, None], (2, 1, 3))
    for layer in (snn.IF((3,)), neurons.IF((3,)), neurons.IF((3,), reset="subtract")):
        original = by_steps(seq(layer), x)
        for dt in (1.0, 1e-3, 1e-4, 3e-4, 1 / 3, 0.7):
            graph = to_nir(layer, {"i": (3,)}, {"o": (3,)}, dt)
            assert np.array_equal(from_nir(graph, x, dt)[1], original)
            assert np.array_equal(reference.run(graph.to_dict(), x, dt).output, original)


# ------------------------------------------------------------------------------ convolution, pooling

CONVS = {
    "SAME": lambda: conv((3, 3)),
    "SAME, even kernel": lambda: conv((2, 2)),
    "same, in small letters": lambda: conv((4, 3), strides=2, padding="same"),
    "SAME_LOWER": lambda: conv((4, 4), strides=(3, 1), padding="SAME_LOWER"),
    "SAME, stride 2": lambda: conv((3, 3), strides=2),
    "SAME, even kernel and stride": lambda: conv((4, 4), strides=(2, 2)),
    "SAME, dilation": lambda: conv((3, 3), kernel_dilation=2),
    "SAME, oblong": lambda: conv((1, 3)),
    "SAME, oblong of odd difference": lambda: conv((2, 3)),
    "VALID": lambda: conv((3, 3), padding="VALID"),
    "VALID, oblong": lambda: conv((3, 1), padding="VALID", use_bias=False),
    "VALID, stride per axis": lambda: conv((2, 2), padding="VALID", strides=(2, 1)),
    "VALID, dilation per axis": lambda: conv((3, 3), padding="VALID", kernel_dilation=(1, 2)),
    "one integer": lambda: conv((3, 3), padding=1),
    "an integer per axis": lambda: conv((3, 3), padding=(1, 2)),
    "pairs": lambda: conv((3, 3), padding=[(1, 1), (2, 2)]),
    "uneven": lambda: conv((3, 3), padding=((0, 1), (2, 1))),
    "uneven, far": lambda: conv((3, 3), padding=((3, 0), (0, 2)), strides=(2, 3)),
    "uneven, dilation that divides": lambda: conv(
        (2, 2), padding=((0, 2), (2, 0)), kernel_dilation=2
    ),
    "uneven, dilation that does not": lambda: conv(
        (2, 2), padding=((0, 1), (1, 0)), kernel_dilation=2
    ),
    "padding larger than the kernel": lambda: conv((1, 1), padding=2),
    "groups": lambda: conv((3, 3), outer=4, feature_group_count=2),
    "groups, oblong, no bias": lambda: conv(
        (1, 3), outer=6, feature_group_count=2, use_bias=False, padding="VALID"
    ),
    "mask": lambda: conv(
        (3, 3), mask=jnp.asarray(RANDOM.integers(0, 2, (3, 3, 2, 2)), jnp.float32)
    ),
    "cut, oblong of odd difference": lambda: conv((2, 3), padding="VALID"),
    "cut, the other way round": lambda: conv((4, 1), padding=1, outer=3),
    "cut, uneven": lambda: conv((3, 3), padding=((0, 1), (0, 0))),
    "cut, uneven the other way": lambda: conv((2, 2), padding=((0, 0), (2, 1)), use_bias=False),
    "cut, dilation and groups": lambda: conv(
        (2, 2), padding="VALID", kernel_dilation=(1, 2), outer=4, feature_group_count=2
    ),
    "more channels": lambda: conv((3, 3), outer=5),
    "a point": lambda: conv((1, 1), outer=3),
    "Linear over channels": lambda: linear(2, 3),
    "Linear over channels, no bias": lambda: linear(2, 3, bias=False),
    "SumPool": lambda: snn.SumPool(2, 2, "VALID"),
    "SumPool, overlap": lambda: snn.SumPool((3, 2), (1, 2), "VALID"),
    "SumPool, SAME": lambda: snn.SumPool((3, 3), (1, 1), "SAME"),
    "SumPool, SAME, uneven": lambda: snn.SumPool(2, 2, "SAME"),
    "SumPool, SAME, oblong and even": lambda: snn.SumPool((2, 4), (1, 2), "SAME"),
    "SumPool, full window": lambda: snn.SumPool((1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    "average": lambda: functools.partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2)),
    "average, no strides": lambda: functools.partial(nnx.avg_pool, window_shape=(3, 2)),
    "average, SAME": lambda: functools.partial(nnx.avg_pool, window_shape=(3, 3), padding="SAME"),
    "average, uneven": lambda: functools.partial(
        nnx.avg_pool, window_shape=(2, 2), strides=(2, 2), padding="SAME"
    ),
    "average, pairs": lambda: functools.partial(
        nnx.avg_pool, window_shape=(2, 2), padding=((1, 2), (1, 0))
    ),
}


def through(layer, shape):
    """The NIR shape that leaves a layer without state."""
    last = (*shape[1:], shape[0])
    *places, channels = layer(jnp.zeros((1, *last))).shape[1:]
    return (channels, *places)


@pytest.mark.parametrize("name", CONVS)
def test_a_layer_over_an_image(name, tmp_path):
    layer = CONVS[name]()
    three_ways(seq(layer), IMAGE, through(layer, IMAGE), tmp_path / "m.nir")


LINES = {
    "SAME": lambda: conv((3,)),
    "SAME, even, stride": lambda: conv((4,), strides=2),
    "VALID, dilation": lambda: conv((2,), padding="VALID", kernel_dilation=3, use_bias=False),
    "CAUSAL": lambda: conv((3,), padding="CAUSAL"),
    "CAUSAL, dilation": lambda: conv((3,), padding="CAUSAL", kernel_dilation=2),
    "one integer": lambda: conv((3,), padding=2),
    "uneven": lambda: conv((3,), padding=[(0, 3)]),
    "groups": lambda: conv((3,), outer=4, feature_group_count=2),
    "Linear over channels": lambda: linear(2, 3),
}


@pytest.mark.parametrize("name", LINES)
def test_a_layer_over_a_line(name, tmp_path):
    layer = LINES[name]()
    three_ways(seq(layer), LINE, through(layer, LINE), tmp_path / "m.nir")


# ---------------------------------------------------------------------------------- models of several

ORDER = flatten_order(IMAGE)
FEATURES = 40

MODELS = {
    "neurons on an image": (
        lambda: seq(
            snn.IF(PLACES, jnp.asarray(spread(0.5, 1.5, PLACES))),
            given(snn.LIF(PLACES, 0.5, 0.93, rngs=RNGS), beta=spread(0.1, 0.9, PLACES)),
        ),
        IMAGE,
        IMAGE,
    ),
    "an LI on an image": (
        lambda: given(snn.LI(PLACES, 0.5, rngs=RNGS), beta=spread(0, 1 - 1e-3, PLACES)),
        IMAGE,
        IMAGE,
    ),
    "exact neurons on an image": (
        lambda: seq(
            neurons.CubaLIF(PLACES, spread(0.1, 0.9, PLACES), 0.7, spread(0.5, 1.5, PLACES)),
            neurons.LIF(PLACES, 0.6, 0.93, v_reset=spread(-0.3, 0.0, PLACES)),
        ),
        IMAGE,
        IMAGE,
    ),
    "neurons on a line": (lambda: seq(snn.IF((7, 2)), neurons.LIF((7, 2), 0.5, 0.93)), LINE, LINE),
    "a small N-MNIST network": (
        lambda: seq(
            conv((3, 3), outer=3),
            snn.IF((4, 5, 3), 0.3),
            snn.SumPool(2, 2, "VALID"),
            snn.Flatten(),
            linear(12, 3),
            snn.LIF((3,), 0.8, 0.27, rngs=RNGS),
        ),
        IMAGE,
        (3,),
    ),
    "a neuron between Flatten and Linear": (
        lambda: seq(
            snn.Flatten(),
            snn.IF((FEATURES,), jnp.asarray(spread(0.5, 1.5, (FEATURES,)))),
            linear(FEATURES, 3),
        ),
        IMAGE,
        (3,),
    ),
    "a recurrent layer behind Flatten": (
        lambda: seq(
            snn.Flatten(),
            recurrent(snn.RLIF((FEATURES,), 0.7, rngs=RNGS), FEATURES, 0.1),
            linear(FEATURES, 3),
        ),
        IMAGE,
        (3,),
    ),
    "an exact recurrent layer behind Flatten": (
        lambda: seq(
            snn.Flatten(),
            exact_recurrent(
                neurons.LIF((FEATURES,), spread(0.2, 0.9, (FEATURES,))), True, FEATURES
            ),
            linear(FEATURES, 3),
        ),
        IMAGE,
        (3,),
    ),
    "Flatten of a line": (lambda: seq(snn.Flatten(), linear(14, 3), snn.IF((3,))), LINE, (3,)),
    "Flatten of what is flat": (lambda: seq(snn.Flatten(), linear(3, 3), snn.IF((3,))), (3,), (3,)),
    "two Flattens": (lambda: seq(snn.Flatten(), snn.Flatten(), linear(40, 3)), IMAGE, (3,)),
    "Linear, LI": (lambda: seq(linear(3, 2, bias=False), snn.LI((2,), rngs=RNGS)), (3,), (2,)),
    "a count of spikes between": (
        lambda: seq(snn.IF((3,)), snn.ActivityRegularization((3,)), linear(3, 2)),
        (3,),
        (2,),
    ),
    "Dropout that is off": (
        lambda: seq(linear(3, 3), nnx.Dropout(0.5, deterministic=True), snn.IF((3,))),
        (3,),
        (3,),
    ),
    "Dropout of nothing": (lambda: seq(nnx.Dropout(0.0, rngs=RNGS), snn.IF((3,))), (3,), (3,)),
    "a Sequential in a Sequential": (
        lambda: seq(linear(3, 3), seq(snn.IF((3,)), seq(linear(3, 2)))),
        (3,),
        (2,),
    ),
    "nothing at all": (lambda: seq(), (3,), (3,)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model(name, tmp_path):
    make, shape, out = MODELS[name]
    model = make()
    model = model if isinstance(model, snn.Sequential) else seq(model)
    *_, names = three_ways(model, shape, out, tmp_path / "m.nir", 1e-3, compiled="N-MNIST" in name)
    assert all(name is None or isinstance(name, str) for name in names)


@pytest.mark.parametrize("last", ["nothing", "neuron", "recurrent"])
def test_a_model_may_end_behind_a_flatten(last, tmp_path):
    """NIR's output counts channels first, Spyx's channels last: the import gives Spyx's again."""
    layers = {
        "nothing": [],
        "neuron": [snn.LIF((FEATURES,), 0.5, rngs=RNGS)],
        "recurrent": [recurrent(snn.RIF((FEATURES,), rngs=RNGS), FEATURES, 0.1)],
    }[last]
    model = seq(snn.Flatten(), *layers)
    graph, *_ = three_ways(model, IMAGE, (FEATURES,), tmp_path / "m.nir", order=ORDER)
    assert graph.metadata["output_order"] == "HWC"


@pytest.mark.parametrize(
    "layer", [linear(3, 3), snn.IF((3,)), nnx.Sequential(linear(3, 3)), neurons.LIF((3,), 0.5)]
)
def test_a_single_layer_and_flax_own_sequential(layer):
    graph = to_nir(layer, {"input": (3,)}, {"output": (3,)})
    x = np.random.default_rng(0).uniform(0.0, 1.0, (3, 2, 3)).astype(np.float32)
    layers = layer.layers if isinstance(layer, nnx.Sequential) else [layer]
    np.testing.assert_allclose(from_nir(graph, x)[1], by_steps(seq(*layers), x), atol=1e-6)


def test_names_point_at_what_leaves_each_layer():
    model = seq(
        linear(3, 3),
        snn.ActivityRegularization((3,)),
        recurrent(snn.RCuBaLIF((3,), 0.5, 0.5, rngs=RNGS)),
        stock(snn.PSU_LIF, 0.5),
    )
    graph, names = export_named(model, {"input": (3,)}, {"output": (3,)})
    assert names == ["linear_0", None, "rcubalif_2.lif", "psu_lif_3.threshold"]
    plan = load(graph, 1.0).plan
    assert set(filter(None, names)) <= set(plan.nodes)


@pytest.mark.parametrize("dt", DTS)
def test_the_numbers_of_the_design(dt):
    """tau = dt/(1-beta), r = 1/(1-beta), w_in = tau_syn/dt, r of an IF = 1/dt."""
    shapes = {"input": (3,)}, {"output": (3,)}
    beta, alpha = np.float64(np.float32(0.9)), np.float64(np.float32(0.75))
    lif = to_nir(stock(snn.LIF, 0.9), *shapes, dt).nodes["lif_0"]
    # float32 in the file: half a unit in the last place, 6e-8, and a factor one unit lower
    np.testing.assert_allclose(lif.tau, dt / (1 - beta), rtol=2e-7)
    np.testing.assert_allclose(lif.r, 1 / (1 - beta), rtol=4e-7)
    assert not lif.v_leak.any()
    cuba = to_nir(stock(snn.CuBaLIF, 0.75, 0.9), *shapes, dt).nodes["cubalif_0"]
    np.testing.assert_allclose(cuba.tau_syn, dt / (1 - alpha), rtol=2e-7)
    np.testing.assert_allclose(cuba.tau_mem, dt / (1 - beta), rtol=2e-7)
    np.testing.assert_allclose(cuba.w_in, 1 / (1 - alpha), rtol=4e-7)
    np.testing.assert_allclose(cuba.r, 1 / (1 - beta), rtol=4e-7)
    np.testing.assert_allclose(to_nir(snn.IF((3,)), *shapes, dt).nodes["if_0"].r, 1 / dt, rtol=2e-7)
    subgraph = to_nir(recurrent(snn.RIF((3,), rngs=RNGS)), *shapes, dt).nodes["rif_0"]
    assert sorted(subgraph.edges) == [
        ("input", "lif"),
        ("lif", "output"),
        ("lif", "w_rec"),
        ("w_rec", "lif"),
    ]
