"""Every kind of node, four ways: NIR's equation by hand, the reference, JAX, and through files.

A class of `nir` without a case here fails the suite.
"""

from __future__ import annotations

import inspect

import nir
import numpy as np
import plain
import pytest
from agree import back, by_steps, first
from node_examples import examples
from small_graphs import chain, full, graph

from spyx_nir.converter import file, from_nir, load, to_nir
from spyx_nir.converter.layout import last
from spyx_nir.converter.registry import KINDS
from spyx_nir.meaning import reference

STEPS, BATCH = 10, 2
CLASSES = {
    name for name in nir.ir.__all__ if inspect.isclass(getattr(nir.ir, name)) and name != "NIRNode"
}


def shaped(name, index):
    """The examples of each kind, and corners of our own."""
    rng = np.random.default_rng(len(name))
    one = np.array([1.0], np.float32)
    own = {
        # One number, of any rank, counts for every element.
        "IF": [(nir.IF(full(0.7, ()), full(1.2, ()), v_reset=full(0.1, ())), (2, 3, 4))],
        "LIF": [(nir.LIF(4 * one, 3 * one, 0.1 * one, one, v_reset=-0.2 * one), (3,))],
        "LI": [(nir.LI(4 * one, 3 * one, 0.1 * one), (5,))],
        "I": [(nir.I(full(0.5, (1, 1, 1))), (2, 3, 4))],
        "CubaLIF": [(nir.CubaLIF(2 * one, 4 * one, 3 * one, 0 * one, one, w_in=2 * one), (3,))],
        "CubaLI": [(nir.CubaLI(2 * one, 4 * one, 3 * one, 0 * one, 2 * one), (3,))],
        "Threshold": [(nir.Threshold(full(0.5, ())), (3,))],
        "Scale": [(nir.Scale(one), (2, 4))],
        "Delay": [(nir.Delay(full(2.0, ())), (3,)), (nir.Delay(full(0.0)), (3,))],
        "Linear": [(nir.Linear(rng.normal(size=(2, 4, 5, 3))), (2, 4, 3))],
        "Affine": [(nir.Affine(full(1, (2, 3)), full(0.5, (1,))), (3,))],
        "Conv1d": [(nir.Conv1d(6, full(0.5, (2, 3, 2)), 1, "valid", 1, 1, full(0.1, ())), (3, 6))],
        "Flatten": [
            (nir.Flatten({"input": np.array([2, 3, 4])}, 0, 1), (2, 3, 4)),
            (nir.Flatten({"input": np.array([2, 5])}, 0, -1), (2, 5)),
            (nir.Flatten({"input": np.array([6])}, 0, -1), (6,)),
        ],
        "SumPool2d": [(nir.SumPool2d(np.array(2), np.array(3), np.array(0)), (2, 5, 5))],
        "AvgPool2d": [(nir.AvgPool2d(np.array([2]), np.array([1]), np.array([1])), (1, 4, 4))],
        "Input": [(None, (3,)), (None, (2, 3, 4))],
        "Output": [(None, (2, 3))],
    }
    beside = [] if name == "Output" else examples(name, rng)
    return [*beside, *own.get(name, [])][index]


def count(name):
    index = 0
    while True:
        try:
            shaped(name, index)
        except IndexError:
            return index
        index += 1


CASES = [(name, index) for name in sorted(CLASSES) for index in range(count(name))]


def test_every_class_of_nir_has_a_kind_and_a_case():
    assert set(KINDS) == CLASSES
    assert {name for name, _ in CASES} == CLASSES


def numbers(value):
    return [int(n) for n in np.ravel(value)]


def pair(value):
    found = numbers(value)
    return found * 2 if len(found) == 1 else found


def by_hand(node, x):
    """(what leaves the node, distance of the nearest membrane to its threshold)"""
    kind = type(node).__name__
    if node is None or kind == "Output":
        return x, np.inf
    if kind == "NIRGraph":
        return recurrent_by_hand(node, x)
    if kind == "Threshold":
        theta = plain.spread(node.threshold, x.shape[2:])
        return (x > theta).astype(float), np.abs(x - theta).min()
    if kind == "Scale":
        return x * plain.spread(node.scale, x.shape[2:]), np.inf
    if kind == "Delay":
        return plain.delayed(node.delay, x), np.inf
    if kind in ("Linear", "Affine"):
        bias = getattr(node, "bias", None)
        rows = node.weight.shape[:-1]
        return plain.matrix(
            node.weight, x, None if bias is None else plain.spread(bias, rows)
        ), np.inf
    if kind in ("SumPool2d", "AvgPool2d"):
        options = pair(node.kernel_size), pair(node.stride), pair(node.padding)
        return plain.pool(*options, x, average=kind == "AvgPool2d"), np.inf
    if kind == "Flatten":
        return plain.flattened(int(node.start_dim), int(node.end_dim), x), np.inf
    if kind in ("Conv1d", "Conv2d"):
        every = numbers if kind == "Conv1d" else pair
        dilation = every(node.dilation)
        if isinstance(node.padding, str):
            kernel = node.weight.shape[2:]
            spare = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            spare = spare if node.padding == "same" else [0] * len(spare)
            pads = [(n // 2, n - n // 2) for n in spare]  # as PyTorch: the odd one at the end
        else:
            pads = [(p, p) for p in every(node.padding)]
        stride, groups = every(node.stride), int(node.groups)
        return plain.convolve(node.weight, x, stride, pads, dilation, groups, node.bias), np.inf
    names = [n for n in vars(node) if n not in ("input_type", "output_type", "metadata")]
    return plain.neuron(kind, {n: getattr(node, n) for n in names}, x, 1.0)


def recurrent_by_hand(node, x):
    """lif and w_rec: the weight sees the spikes of the step before, its bias acts from the first."""
    cell, weight = node.nodes["lif"], node.nodes["w_rec"]
    w = weight.weight.astype(np.float64)
    bias = getattr(weight, "bias", np.zeros(len(w))).astype(np.float64)
    n = len(w)
    y = np.zeros(x.shape)
    nearest = np.inf
    for b in range(x.shape[1]):
        v, z = [0.0] * n, [0.0] * n
        for t in range(len(x)):
            back = [bias[i] + sum(w[i, j] * z[j] for j in range(n)) for i in range(n)]
            for i in range(n):
                drive = float(cell.r[i]) * (x[t, b, i] + back[i])
                v[i] += (float(cell.v_leak[i]) - v[i] + drive) / float(cell.tau[i])
                z[i] = float(v[i] > cell.v_threshold[i])
                nearest = min(nearest, abs(v[i] - cell.v_threshold[i]))
                v[i] = float(cell.v_reset[i]) if z[i] else v[i]
                y[t, b, i] = z[i]
    return y, nearest


# A membrane of size 1 in float32 is known to some 1e-6 after ten steps; data are drawn until none
# comes nearer to its threshold than CLEAR, so that spikes must agree exactly.
CLEAR = 1e-4


def drawn(node, shape):
    for seed in range(20):
        x = np.random.default_rng(seed).uniform(-0.3, 1.2, (STEPS, BATCH, *shape))
        x = x.astype(np.float32)
        y, nearest = by_hand(node, x.astype(np.float64))
        if nearest > CLEAR:
            return x, y
    raise AssertionError("every membrane came too near to its threshold")


def close(found, expected, what):
    found = np.asarray(found, np.float64)
    assert found.shape == expected.shape, what
    if set(np.unique(expected)) <= {0.0, 1.0}:
        assert np.array_equal(found, expected), what
    # 1e-5 is what the product promises; float64 sums in another order differ by 1e-12.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=what)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_node_means_its_equation(name, index, tmp_path):
    node, shape = shaped(name, index)
    x, expected = drawn(node, shape)
    out = expected.shape[2:]
    whole = chain(*[] if node is None else [node], shape=shape, out=out)

    exact = reference.run(whole.to_dict(), x, 1.0).output
    np.testing.assert_allclose(exact, expected, rtol=1e-12, atol=1e-12)

    rank = len(out)
    data = np.moveaxis(x, 2, -1) if len(shape) in (2, 3) else x
    model, outputs = from_nir(whole, data)
    assert type(model).__name__ == "Sequential"
    wanted = np.moveaxis(expected, 2, -1) if rank in (2, 3) else expected
    assert outputs.shape[2:] == last(out)
    close(outputs, wanted, "JAX against the equation")

    file.write(tmp_path / "ours.nir", whole)
    files = [file.read(tmp_path / "ours.nir"), nir.read(tmp_path / "ours.nir", type_check=False)]
    if node is None or all(np.ndim(v) for v in vars(node).values() if isinstance(v, np.ndarray)):
        nir.write(tmp_path / "theirs.nir", whole)  # which fails on an array without axes
        files.append(file.read(tmp_path / "theirs.nir"))
    for found in files:
        assert np.array_equal(reference.run(found.to_dict(), x, 1.0).output, exact)

    again = to_nir(model, {"input": shape}, {"output": out}, 1.0, strict=True)
    file.write(tmp_path / "again.nir", again)
    checked = nir.read(tmp_path / "again.nir")  # its type check included
    close(reference.run(checked.to_dict(), x, 1.0).output, expected, "written again")
    kept = type(node).__name__ if node is not None else name
    changed = {("Linear", "Conv1d"), ("Linear", "Conv2d")}
    types = {type(n).__name__ for n in checked.nodes.values()}
    assert kept in types or any((kept, t) in changed for t in types)


@pytest.mark.parametrize("index", [0, 1], ids=["flat", "image"])
@pytest.mark.parametrize("name", ["IF", "LIF", "CubaLIF"])
@pytest.mark.parametrize("reset", ["subtract", "subtract_after_decay"])
@pytest.mark.parametrize("delay", [0, 1])
def test_the_contract_of_a_neuron(name, reset, delay, index):
    """Resets by subtraction, at once or after the decay, and spikes that leave one step late."""
    node, shape = shaped(name, index)
    node.metadata = {"reset": reset, "spike_delay": delay}
    fields = {
        k: v for k, v in vars(node).items() if k not in ("input_type", "output_type", "metadata")
    }
    for seed in range(20):
        x = (
            np.random.default_rng(seed)
            .uniform(-0.3, 1.2, (STEPS, BATCH, *shape))
            .astype(np.float32)
        )
        y, nearest = plain.neuron(name, fields, x.astype(np.float64), 1.0, reset)
        if nearest > CLEAR:
            break
    assert y.any()
    late = np.concatenate([np.zeros_like(y[:delay]), y[: len(y) - delay]])
    whole = chain(node, shape=shape)
    result = reference.run(whole.to_dict(), x, 1.0)
    assert np.array_equal(result.output, late)
    assert np.array_equal(result.spikes["n0"], late)
    assert np.array_equal(result.fired["n0"], y)
    model = load(whole, 1.0).model
    assert np.array_equal(first(by_steps(model, back(x))), late)
    again = to_nir(model, {"input": shape}, {"output": shape}, 1.0, strict=True)
    assert np.array_equal(reference.run(again.to_dict(), x, 1.0).output, late)


@pytest.mark.parametrize("name", ["LI", "LIF", "CubaLI", "CubaLIF"])
def test_a_membrane_may_start_at_its_leak(name):
    node, shape = shaped(name, 0)
    node.metadata = {"v_init": "v_leak"}
    fields = {
        k: v for k, v in vars(node).items() if k not in ("input_type", "output_type", "metadata")
    }
    fields["v_leak"] = node.v_leak = node.v_leak - 0.5
    x = np.full((STEPS, 1, *shape), 0.4, np.float32)
    y, nearest = plain.neuron(name, fields, x.astype(np.float64), 1.0, start_at_leak=True)
    assert nearest > CLEAR
    whole = chain(node, shape=shape)
    np.testing.assert_allclose(reference.run(whole.to_dict(), x, 1.0).output, y, atol=1e-12)
    model, outputs = from_nir(whole, x)
    close(outputs, y, "JAX")
    again = to_nir(model, {"input": shape}, {"output": shape}, 1.0)
    close(reference.run(again.to_dict(), x, 1.0).output, y, "written again")


def test_the_time_unit_is_the_graphs_own():
    """The same numbers in milliseconds and in seconds are the same run."""
    node, shape = shaped("LIF", 0)
    x, y = drawn(node, shape)
    milli = nir.LIF(node.tau * 1e-3, node.r, node.v_leak, node.v_threshold, v_reset=node.v_reset)
    _, outputs = from_nir(chain(milli, shape=shape), x, 1e-3)
    assert np.array_equal(outputs, y)
    assert np.array_equal(reference.run(chain(milli, shape=shape).to_dict(), x, 1e-3).output, y)


def test_subgraphs_in_subgraphs_are_their_nodes():
    inner = chain(nir.Scale(full(2.0)))
    middle = chain(inner, nir.Scale(full(3.0)))
    whole = graph(
        {"a.b": nir.Input(np.array([3])), "g": middle, "z": nir.Output(np.array([3]))},
        [("g", "z"), ("a.b", "g")],
    )
    x = np.random.default_rng(0).random((STEPS, BATCH, 3)).astype(np.float32)
    model, outputs = from_nir(whole, x)
    assert type(model).__name__ == "Sequential"
    np.testing.assert_allclose(outputs, 6 * x, rtol=1e-6)
    np.testing.assert_allclose(reference.run(whole.to_dict(), x, 1.0).output, 6 * x.astype(float))
