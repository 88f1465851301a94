"""Graphs that are no chain: branches, sums, cycles, several ends; by hand and at random.

The random ones are run by a third interpreter in this file, which finds the edges that close cycles
with a table of who reaches whom, and evaluates nodes by asking back for their sources.
"""

from __future__ import annotations

import functools

import hypothesis.strategies as st
import nir
import numpy as np
import pytest
import spyx.nn as snn
from agree import CLEAR, by_steps, close, margin
from flax import nnx
from hypothesis import HealthCheck, assume, given, settings
from small_graphs import chain, cuba, full, graph, li, lif, linear

from spyx_nir.converter import file, from_nir, load, to_nir
from spyx_nir.converter.layers import GraphModel
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import RESETS

WIDTH, STEPS, BATCH = 3, 7, 2


def port():
    return nir.Input(np.array([WIDTH]))


def out():
    return nir.Output(np.array([WIDTH]))


# --------------------------------------------------------------------- a third interpreter, for (T, B, N)


def step(node, x, s, dt):
    """One step of a node; s is its state, changed in place."""
    kind = type(node).__name__
    if kind in ("Input", "Output"):
        return x
    if kind in ("Linear", "Affine"):
        return x @ node.weight.astype(np.float64).T + getattr(node, "bias", 0.0)
    if kind == "Scale":
        return x * node.scale
    if kind == "Threshold":
        s["u"], s["theta"] = x, node.threshold
        return 1.0 * (x > node.threshold)
    if kind == "Delay":
        s.setdefault("past", []).append(x)
        past = s["past"][::-1]
        columns = [
            past[int(d)][:, j] if d < len(past) else 0 * x[:, j] for j, d in enumerate(node.delay)
        ]
        return np.stack(columns, axis=1)
    v = s.get("v", np.zeros_like(x))
    if kind.startswith("Cuba"):
        i = s.get("i", np.zeros_like(x))
        x = s["i"] = i + dt * (-i + node.w_in * x) / node.tau_syn
        v = v + dt * (node.v_leak - v + node.r * x) / node.tau_mem
    elif kind.startswith("LI"):
        v = v + dt * (node.v_leak - v + node.r * x) / node.tau
    else:
        v = v + dt * node.r * x
    s["v"] = v
    if kind in ("I", "LI", "CubaLI"):
        return v
    s["u"], s["theta"] = v, node.v_threshold
    z = v > node.v_threshold
    rule = node.metadata.get("reset", "v_reset")
    s["v"] = np.where(z, node.v_reset, v) if rule == "v_reset" else v - z * node.v_threshold
    return 1.0 * z


def closing(names, edges, late):
    """The edges that carry the previous output: in every part whose nodes all reach each other, those
    into nodes that are fed from outside of it; then again inside the parts that are left."""
    live = [e for e in edges if e[0] not in late]
    closed = set()

    def parts(members):
        at = {name: k for k, name in enumerate(members)}
        reach = np.zeros((len(at), len(at)), bool)
        for a, b in live:
            if a in at and b in at and (a, b) not in closed:
                reach[at[a], at[b]] = True
        for k in range(len(at)):
            reach |= np.outer(reach[:, k], reach[k])
        return {
            frozenset(m for m in members if m == n or (reach[at[n], at[m]] and reach[at[m], at[n]]))
            for n in members
            if reach[at[n], at[n]]
        }

    todo = parts(names)
    while todo:
        part = todo.pop()
        fed = {b for a, b in edges if b in part and a not in part} or part
        closed |= {(a, b) for a, b in live if a in part and b in fed}
        todo |= parts(sorted(part))
    return closed


def third(whole, data, dt):
    """Outputs by name, (T, B, N)."""
    nodes, edges = whole.nodes, whole.edges
    late = {n for n, node in nodes.items() if node.metadata.get("spike_delay")}
    closed = closing(list(nodes), edges, late)
    stateless = (nir.Linear, nir.Affine, nir.Scale, nir.Threshold)

    @functools.cache
    def silent(name):
        node = nodes[name]
        if not isinstance(node, stateless):
            return np.zeros((BATCH, WIDTH))
        return step(node, sum(silent(a) for a, b in edges if b == name), {}, dt)

    states = {name: {} for name in nodes}
    before = {name: silent(name) for name in nodes}
    fired = {name: silent(name) for name in late}
    outputs = {name: [] for name, node in nodes.items() if isinstance(node, nir.Output)}
    for t in range(STEPS):
        now = {name: data[name][t] for name in data} | fired
        done = set(data)

        def value(name, now=now, done=done, before=before):
            if name not in done:
                done.add(name)
                x = sum(
                    before[a] if (a, name) in closed else now[a] if a in late else value(a)
                    for a, b in edges
                    if b == name
                )
                y = step(nodes[name], x, states[name], dt)
                if name in late:
                    fired[name] = y
                else:
                    now[name] = y
            return now[name]

        for name in nodes:
            value(name)
        for name, rows in outputs.items():
            rows.append(now[name])
        before = now
    return {name: np.stack(rows) for name, rows in outputs.items()}


# ------------------------------------------------------------------------------------ graphs at random

STATEFUL = ("LIF", "IF", "CubaLIF", "LI", "I", "CubaLI", "Delay")
KINDS = (*STATEFUL, "Linear", "Affine", "Scale", "Threshold")
# Names with dots, blanks and signs, some of which sort before and some after each other.
NAMES = ("a", "z.z", "input.1", "Ω", "b c", "0", "lif", "output", "lif.w_rec", "A", "x-y", "~")


def made(kind, rng):
    def some(low, high):
        return rng.uniform(low, high, WIDTH).astype(np.float32)

    told = {}
    if kind in ("LIF", "IF", "CubaLIF"):
        told = {
            "reset": str(rng.choice(["v_reset", "subtract"])),
            "spike_delay": int(rng.integers(0, 2)),
        }
    spike = {"v_threshold": some(0.4, 1.2), "v_reset": some(-0.2, 0.1)}
    leak = {"r": some(0.5, 2), "v_leak": some(-0.1, 0.2)}
    syn = {"tau_syn": some(1.2, 4), "tau_mem": some(1.2, 5), "w_in": some(0.5, 2)}
    return {
        "LIF": lambda: nir.LIF(tau=some(1.2, 5), **leak, **spike, metadata=told),
        "IF": lambda: nir.IF(r=some(0.3, 1), **spike, metadata=told),
        "CubaLIF": lambda: nir.CubaLIF(**syn, **leak, **spike, metadata=told),
        "LI": lambda: nir.LI(tau=some(1.2, 5), **leak),
        "I": lambda: nir.I(some(0.1, 0.4)),
        "CubaLI": lambda: nir.CubaLI(**syn, **leak),
        "Delay": lambda: nir.Delay(rng.integers(1, 4, WIDTH).astype(np.float32)),
        "Linear": lambda: nir.Linear(rng.normal(0, 0.4, (WIDTH, WIDTH)).astype(np.float32)),
        "Affine": lambda: nir.Affine(
            rng.normal(0, 0.4, (WIDTH, WIDTH)).astype(np.float32), some(-0.5, 0.5)
        ),
        "Scale": lambda: nir.Scale(some(-1, 1)),
        "Threshold": lambda: nir.Threshold(some(-0.2, 0.6)),
    }[kind]()


@st.composite
def graphs(draw):
    """A graph whose every node lies between an Input and an Output, with cycles through state."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    names = draw(st.permutations(NAMES))
    inputs, outputs = (draw(st.integers(1, 2)) for _ in range(2))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
    names = iter(names)
    ins = {next(names): port() for _ in range(inputs)}
    inner = {next(names): made(kind, rng) for kind in kinds}
    outs = {next(names): out() for _ in range(outputs)}
    edges, row = set(), list(ins) + list(inner)
    for k, name in enumerate(row[inputs:], start=inputs):
        many = draw(st.integers(1, 2))
        edges |= {(row[int(j)], name) for j in rng.choice(k, min(many, k), replace=False)}
    for name in row[inputs:]:  # cycles: from a node with state to itself or to one before it
        if type(inner[name]).__name__ in STATEFUL and draw(st.booleans()):
            early = row[inputs : row.index(name) + 1]
            edges.add((name, early[int(rng.integers(len(early)))]))
    where = {name: k for k, name in enumerate(row)}
    loose = [n for n in row if not any(a == n and where.get(b, 99) > where[n] for a, b in edges)]
    edges |= {(n, list(outs)[k % outputs]) for k, n in enumerate(loose)}
    for name in outs:
        if not any(b == name for _, b in edges):
            edges.add((row[int(rng.integers(len(row)))], name))
    edges = draw(st.permutations(sorted(edges)))
    nodes = draw(st.permutations(sorted((ins | inner | outs).items())))
    return graph(nodes, edges)


def data_for(whole, seed):
    rng = np.random.default_rng(seed)
    names = [n for n, node in whole.nodes.items() if isinstance(node, nir.Input)]
    return {
        n: rng.uniform(-0.3, 1.2, (STEPS, BATCH, WIDTH)).astype(np.float32) for n in sorted(names)
    }


def clear(whole):
    """Data for which no membrane comes near its threshold, and the reference's result."""
    for seed in range(10):
        data = data_for(whole, seed)
        result = reference.run(whole.to_dict(), data, 1.0)
        if margin(whole.to_dict(), result) > CLEAR:
            return data, result
    return assume(False)  # a membrane sits on its threshold for all data


def agree(whole):
    data, result = clear(whole)
    exact = {n: x.astype(np.float64) for n, x in data.items()}
    for name, expected in third(whole, exact, 1.0).items():
        np.testing.assert_allclose(result.outputs[name], expected, rtol=1e-9, atol=1e-9)
    loaded = load(whole, 1.0)
    given = data if len(data) > 1 else next(iter(data.values()))
    outputs = by_steps_of(loaded.model, given)
    for name, expected in result.outputs.items():
        close(outputs[name] if isinstance(outputs, dict) else outputs, expected, name)
    if not loaded.chain:
        again = reference.run(exported_again(loaded).to_dict(), data, 1.0)
        for name, expected in result.outputs.items():
            close(again.outputs[name], expected, f"{name}, exported again")
    return data, result


def exported_again(loaded, **options):
    """What `to_nir` makes of a graph that was imported and is no chain."""
    shapes = loaded.plan.shapes
    ports = [{n: shapes[n] for n in names} for names in (loaded.plan.inputs, loaded.plan.outputs)]
    return to_nir(loaded.model, *ports, loaded.dt, strict=True, **options)


def by_steps_of(model, x):
    """`by_steps` for mappings of inputs and outputs too."""
    if not isinstance(x, dict) and not isinstance(model, GraphModel):
        return by_steps(model, x)
    frames = [
        {n: a[t] for n, a in x.items()} if isinstance(x, dict) else x[t] for t in range(STEPS)
    ]
    state, rows = model.initial_state(BATCH), []
    for frame in frames:
        y, state = model(frame, state)
        rows.append(y)
    if isinstance(rows[0], dict):
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return np.stack(rows)


def renamed(whole, turn):
    """The same graph under other names, in another order."""
    names = sorted(whole.nodes)
    other = dict(zip(names, [f"n{(k * 7 + turn) % 13}" for k in range(len(names))], strict=True))
    nodes = {other[n]: whole.nodes[n] for n in reversed(names)}
    return graph(nodes, [(other[a], other[b]) for a, b in reversed(whole.edges)]), other


def agree_under_other_names(whole):
    data, result = agree(whole)
    again, other = renamed(whole, 3)
    second = reference.run(again.to_dict(), {other[n]: x for n, x in data.items()}, 1.0)
    for name, expected in result.outputs.items():
        # Sums of three and more may be added in another order: 1e-12 in float64.
        np.testing.assert_allclose(second.outputs[other[name]], expected, rtol=1e-9, atol=1e-9)


OPTIONS = {
    "derandomize": True,
    "deadline": None,
    "database": None,
    "suppress_health_check": [HealthCheck.filter_too_much, HealthCheck.too_slow],
}


@settings(max_examples=30, **OPTIONS)
@given(graphs())
def test_graphs_at_random_agree_three_ways(whole):
    agree_under_other_names(whole)


@pytest.mark.full
@settings(max_examples=500, **OPTIONS)
@given(graphs())
def test_many_graphs_at_random_agree_three_ways(whole):
    agree_under_other_names(whole)


# -------------------------------------------------------------------------------------- graphs by hand

HAND = {
    "an input that is an output too": graph(
        {"i": port(), "l": lif(), "o": out()}, [("i", "o"), ("i", "l"), ("l", "o")]
    ),
    "two outputs": graph(
        {"i": port(), "l": lif(), "o": out(), "p": out()}, [("i", "l"), ("l", "o"), ("i", "p")]
    ),
    "two inputs": graph({"i": port(), "j": port(), "o": out()}, [("i", "o"), ("j", "o")]),
    "a neuron that feeds itself": graph(
        {"i": port(), "l": lif(), "o": out()}, [("i", "l"), ("l", "l"), ("l", "o")]
    ),
    "two neurons in a ring": graph(
        {"i": port(), "a": lif(r=2.0), "b": cuba(), "o": out()},
        [("i", "a"), ("a", "b"), ("b", "a"), ("b", "o")],
    ),
    "two fed neurons in a ring": graph(
        {"i": port(), "j": port(), "a": lif(), "b": lif(), "o": out()},
        [("i", "a"), ("j", "b"), ("a", "b"), ("b", "a"), ("b", "o")],
    ),
    "rings in a ring": graph(
        {"i": port(), "a": li(), "b": lif(), "c": nir.Scale(full(0.3)), "o": out()},
        [("i", "a"), ("a", "b"), ("b", "b"), ("b", "c"), ("c", "a"), ("c", "o")],
    ),
    "a threshold and a scale in a ring": graph(
        {
            "i": port(),
            "l": li(tau=2.0, r=2.0),
            "t": nir.Threshold(full(0.6)),
            "s": nir.Scale(full(-0.7)),
            "o": out(),
        },
        [("i", "l"), ("l", "t"), ("t", "s"), ("s", "l"), ("t", "o")],
    ),
    "a threshold that is on in silence": graph(
        {
            "i": port(),
            "l": lif(),
            "w": nir.Affine(full(0.1, (3, 3)), full(0.5)),
            "t": nir.Threshold(full(0.2)),
            "o": out(),
        },
        [("i", "l"), ("l", "w"), ("w", "t"), ("t", "l"), ("l", "o")],
    ),
    "a delay in a ring": graph(
        {"i": port(), "d": nir.Delay(full(2.0)), "s": nir.Scale(full(0.5)), "o": out()},
        [("i", "s"), ("s", "d"), ("d", "s"), ("s", "o")],
    ),
    "a late spike in a ring": graph(
        {
            "i": port(),
            "l": lif(metadata={"reset": "subtract", "spike_delay": 1}),
            "w": linear(value=-0.2),
            "s": nir.Scale(full(0.9)),
            "o": out(),
        },
        [("i", "s"), ("s", "l"), ("l", "w"), ("w", "l"), ("l", "o"), ("s", "o")],
    ),
    "a weight that two neurons share": graph(
        {"i": port(), "a": lif(), "b": lif(tau=2.0), "w": linear(value=0.3), "o": out()},
        [("i", "a"), ("i", "b"), ("a", "w"), ("b", "w"), ("w", "a"), ("a", "o"), ("b", "o")],
    ),
    "two weights around a neuron": graph(
        {"i": port(), "a": lif(), "w": linear(value=0.1), "v": linear(value=-0.3), "o": out()},
        [("i", "a"), ("a", "w"), ("a", "v"), ("w", "a"), ("v", "a"), ("a", "o")],
    ),
    "a recurrent integrator": graph(
        {"i": port(), "a": li(), "w": linear(value=-0.2), "o": out()},
        [("i", "a"), ("a", "w"), ("w", "a"), ("a", "o")],
    ),
}


@pytest.mark.parametrize("name", HAND)
def test_a_graph_by_hand(name):
    agree_under_other_names(HAND[name])


def test_a_ring_of_two_steps():
    """i -> s -> d -> s with a delay of 2: what comes round has waited for the delay and the ring."""
    x = np.zeros((STEPS, 1, 3), np.float32)
    x[0] = 1.0
    result = reference.run(HAND["a delay in a ring"].to_dict(), x, 1.0)
    assert np.array_equal(result.output[:, 0, 0], [0.5, 0, 0, 0.25, 0, 0, 0.125])


def test_a_bias_in_a_ring_acts_from_the_first_step():
    node = nir.Affine(np.zeros((3, 3), np.float32), full(0.75))
    whole = graph(
        {"i": port(), "l": nir.I(full(1.0)), "w": node, "o": out()},
        [("i", "l"), ("l", "w"), ("w", "l"), ("l", "o")],
    )
    x = np.zeros((3, 1, 3), np.float32)
    for outputs in (reference.run(whole.to_dict(), x, 1.0).output, from_nir(whole, x)[1]):
        np.testing.assert_allclose(outputs[:, 0, 0], [0.75, 1.5, 2.25])


def test_several_ends_are_mappings_by_name():
    """Through `from_nir`, compiled: outputs and states of every step by name."""
    whole = graph(
        {"i": port(), "j": port(), "l": lif(), "o": out(), "p": out()},
        [("i", "l"), ("j", "l"), ("l", "o"), ("j", "p")],
    )
    data, result = clear(whole)
    model, (outputs, states) = from_nir(whole, data, return_all_states=True)
    assert isinstance(model, GraphModel)
    assert set(outputs) == {"o", "p"}
    for name in outputs:
        close(outputs[name], result.outputs[name])
    assert states["layers"]["l"].shape == (STEPS, BATCH, 3)


def test_images_in_a_graph_lie_channels_last():
    """A residual block: y = x + conv(x), then pooled."""
    kernel = np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype(np.float32)
    shape = (2, 4, 6)
    whole = graph(
        {
            "i": nir.Input(np.array(shape)),
            "c": nir.Conv2d(shape[1:], kernel, 1, 1, 1, 1, full(0.1, (2,))),
            "p": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "o": nir.Output(np.array([2, 2, 3])),
        },
        [("i", "c"), ("c", "p"), ("i", "p"), ("p", "o")],
    )
    x = np.random.default_rng(1).random((2, 1, 4, 6, 2)).astype(np.float32)
    expected = reference.run(whole.to_dict(), np.moveaxis(x, -1, 2), 1.0).output
    model, outputs = from_nir(whole, x)
    assert isinstance(model, GraphModel)
    close(outputs, np.moveaxis(expected, 2, -1))


def test_a_graph_that_branches_is_exported_again_with_its_present_values(tmp_path):
    """Images, subgraphs, a late spike, a convolution that becomes two nodes: same paths, new weights."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(2, 2, 2, 3)).astype(np.float32)
    shape, smaller = (2, 4, 6), (2, 3, 4)
    late = {"reset": "subtract", "spike_delay": 1}
    inner = chain(lif(smaller, metadata=late), shape=smaller)
    whole = graph(
        {
            "i": nir.Input(np.array(shape)),
            "c": nir.Conv2d(shape[1:], kernel, 1, 0, 1, 1, full(0.1, (2,))),
            "sub": inner,
            "s": nir.Scale(full(0.5, smaller)),
            "o": nir.Output(np.array(smaller)),
        },
        [("i", "c"), ("c", "sub"), ("c", "s"), ("s", "o"), ("sub", "o")],
    )
    loaded = load(whole, 1.0)
    model = loaded.model
    conv = model.layers[model.paths.index("c")]
    conv.kernel.set_value(conv.kernel[...] * 2)
    whole.nodes["c"].weight = 2 * kernel
    x = rng.uniform(-1, 1, (STEPS, BATCH, *shape)).astype(np.float32)
    expected = reference.run(whole.to_dict(), x, 1.0).output
    again = exported_again(loaded, classes=["a"])
    assert again.metadata["classes"] == '["a"]'
    assert {"c.conv", "c.cut", "sub.n0", "s"} < set(again.nodes)
    file.write(tmp_path / "m.nir", again)
    close(reference.run(nir.read(tmp_path / "m.nir").to_dict(), x, 1.0).output, expected)


def test_what_a_graph_that_branches_is_not_exported_as():
    whole = HAND["a delay in a ring"]
    model = load(whole, 1.0).model
    with pytest.raises(GraphError, match=r"`input_shape` must be \{'i': \(3,\)\}, .*'input'"):
        to_nir(model, {"input": (3,)}, {"o": (3,)})
    with pytest.raises(GraphError, match=r"`output_shape` must be \{'o': \(3,\)\}, .*got 3"):
        to_nir(model, {"i": (3,)}, 3)
    with pytest.raises(GraphError, match=r"layer 1 \(GraphModel\) is a graph that branches: it is"):
        to_nir(snn.Sequential(nnx.Linear(3, 3, rngs=nnx.Rngs(0)), model), {"i": (3,)}, {"o": (3,)})


def test_a_flatten_in_a_graph_follows_nir():
    """Nothing absorbs the order in a graph with branches, so its Flatten itself is NIR's."""
    shape = (2, 3, 4)
    weight = np.random.default_rng(0).normal(size=(3, 24)).astype(np.float32)
    whole = graph(
        {
            "i": nir.Input(np.array(shape)),
            "f": nir.Flatten({"input": np.array(shape)}, 0, -1),
            "w": nir.Linear(weight),
            "o": nir.Output(np.array([3])),
            "p": nir.Output(np.array([24])),
        },
        [("i", "f"), ("f", "w"), ("w", "o"), ("f", "p")],
    )
    x = np.random.default_rng(1).random((1, 1, 3, 4, 2)).astype(np.float32)
    vector = np.moveaxis(x, -1, 2).reshape(1, 1, 24)
    _, outputs = from_nir(whole, x)
    assert np.array_equal(outputs["p"], vector)
    np.testing.assert_allclose(outputs["o"], vector @ weight.T, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rule", RESETS)
def test_reset_can_be_told(rule):
    """For all neurons or by name; what the file says counts for the rest."""
    x = np.random.default_rng(4).uniform(0, 1.5, (STEPS, BATCH, 3)).astype(np.float32)
    told = chain(lif(metadata={"reset": rule}), lif(r=6.0, metadata={"reset": rule}))
    silent = chain(lif(), lif(r=6.0))
    expected = reference.run(told.to_dict(), x, 1.0).output
    assert np.array_equal(reference.run(silent.to_dict(), x, 1.0, reset=rule).output, expected)
    by_name = {"n0": rule, "n1": rule}
    assert np.array_equal(reference.run(silent.to_dict(), x, 1.0, reset=by_name).output, expected)
    assert np.array_equal(by_steps(load(silent, 1.0, reset=rule).model, x), expected)
    other = chain(lif(metadata={"reset": rule}), lif(r=6.0))
    mixed = reference.run(silent.to_dict(), x, 1.0, reset={"n0": rule}).output
    assert np.array_equal(reference.run(other.to_dict(), x, 1.0).output, mixed)


@pytest.mark.parametrize("rings", [False, True])
@pytest.mark.parametrize(
    ("make", "rule"), [(lif, "subtract_after_decay"), (cuba, "subtract")], ids=["LIF", "CubaLIF"]
)
def test_a_late_neuron_below_zero_is_silent_at_first(make, rule, rings):
    """Above its threshold from rest on, it fires in every step; a step late, never in the first.

    Spyx's own neurons look at the membrane before the step and would fire at once.
    """
    whole = chain(make(v_threshold=-0.5, metadata={"reset": rule, "spike_delay": 1}))
    if rings:
        whole.nodes["w"] = linear(value=0.0)
        whole.edges += [("n0", "w"), ("w", "n0")]
    _, found = from_nir(whole, np.zeros((4, 1, 3), np.float32))
    assert np.asarray(found)[:, 0, 0].tolist() == [0, 1, 1, 1]
