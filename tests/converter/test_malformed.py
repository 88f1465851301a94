"""What is refused: graphs, data and models with a fault, each with the words of its message.

The message is the product here: it must name the place, the value and what is allowed. Whatever is
wrong, the error is a GraphError, never the KeyError, AssertionError or TypeError of a library below.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nn as snn
from flax import nnx
from small_graphs import chain, changed, cuba, full, graph, li, lif, linear
from spyx import axn

from spyx_nir import neurons
from spyx_nir.converter import export_named, file, from_nir, load, reorder_layers, to_nir
from spyx_nir.converter.layers import Delay, Pool, Scale
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

X = np.ones((4, 2, 3), np.float32)
CONTRACT = {"contract_version": 1, "dt": 1.0, "time_unit": "step", "flatten_order": "CHW"}


def refused(call, *words):
    """`call` raises a GraphError whose message holds all `words` and fits on one line."""
    with pytest.raises(GraphError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"


# ------------------------------------------------------------------------------- numbers in nodes


def conv2d(weight=None, stride=1, padding=0, dilation=1, groups=1, bias=None, input_shape=None):
    weight = full(0.5, (2, 3, 3, 3)) if weight is None else weight
    bias = full(0.0, (weight.shape[0],)) if bias is None else bias
    node = nir.Conv2d(None, weight, 1, 0, 1, 1, bias)
    return changed(
        node,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        input_shape=input_shape,
    )


def conv1d(**fields):
    node = nir.Conv1d(None, full(0.5, (2, 3, 3)), 1, 0, 1, 1, full(0.0, (2,)))
    return changed(node, **fields)


def pool(kernel=(2, 2), stride=(2, 2), padding=(0, 0), kind=nir.SumPool2d):
    return kind(np.array(kernel), np.array(stride), np.array(padding))


def flatten(start, end, shape=(3, 6, 6)):
    return changed(nir.Flatten({"input": np.array(shape)}), start_dim=start, end_dim=end)


IMAGE = {"shape": (3, 6, 6)}
nan, inf = float("nan"), float("inf")

# name: (graph, words of the message)
NODES = {
    "weight NaN": (
        lambda: chain(linear(value=nan)),
        "Linear node `n0`",
        "`weight`",
        "nan at (0, 0)",
    ),
    "weight infinite": (lambda: chain(linear(value=-inf)), "`weight`", "-inf", "finite"),
    "bias NaN": (
        lambda: chain(nir.Affine(full(1, (3, 3)), np.array([0, nan, 0]))),
        "Affine node `n0`",
        "`bias`",
        "nan at (1,)",
    ),
    "weight of objects": (
        lambda: chain(changed(linear(), weight=np.array([["a", 1], [None, 2]], object))),
        "`weight`",
        "object",
        "numbers",
    ),
    "weight of text": (
        lambda: chain(changed(linear(), weight=np.full((3, 3), "1.0"))),
        "`weight`",
        "numbers",
    ),
    "weight is a string": (lambda: chain(changed(linear(), weight="big")), "`weight`", "'big'"),
    "weight of rows that differ": (
        lambda: chain(changed(linear(), weight=[[1, 2], [3]])),
        "`weight`",
        "rows differ",
    ),
    "weight complex": (
        lambda: chain(changed(linear(), weight=full(1, (3, 3)).astype(complex))),
        "`weight`",
        "complex128",
    ),
    "weight missing": (lambda: chain(changed(linear(), weight=None)), "`weight` is missing"),
    "weight rank 1": (
        lambda: chain(changed(linear(), weight=full(1, (3,)))),
        "`weight` has shape (3,)",
        "(out, in)",
    ),
    "weight a number": (
        lambda: chain(changed(linear(), weight=np.float32(1))),
        "`weight` has shape ()",
    ),
    "weight empty": (
        lambda: chain(nir.Linear(np.zeros((3, 0), np.float32))),
        "`weight` is empty",
        "(3, 0)",
    ),
    "bias too long": (
        lambda: chain(nir.Affine(full(1, (3, 3)), full(1, (4,)))),
        "`bias` has shape (4,)",
        "(3,)",
    ),
    "bias missing": (
        lambda: chain(changed(nir.Affine(full(1, (3, 3)), full(1)), bias=None)),
        "Affine node `n0`",
        "`bias` is missing",
    ),
    "features do not fit": (
        lambda: chain(linear(3, 5)),
        "Linear node `n0`",
        "(5,)",
        "(3,) arrives",
    ),
    "tau NaN": (lambda: chain(lif(tau=nan)), "LIF node `n0`", "`tau`", "nan"),
    "tau zero": (lambda: chain(lif(tau=0.0)), "LIF node `n0`", "`tau`", "0.0", "above 0"),
    "tau negative": (lambda: chain(lif(tau=-2.0)), "`tau`", "-2.0", "above 0"),
    "tau below dt": (
        lambda: chain(lif(tau=0.25)),
        "LIF node `n0`",
        "dt = 1",
        "tau = 0.25",
        "largest dt allowed is 0.25",
    ),
    "tau missing": (lambda: chain(changed(lif(), tau=None)), "`tau` is missing"),
    "tau of the wrong shape": (
        lambda: chain(changed(lif(), tau=full(4, (2,)))),
        "`tau` has shape (2,)",
        "(3,) arrives",
    ),
    "tau transposed": (
        lambda: chain(lif((6, 6, 3)), **IMAGE),
        "LIF node `n0`",
        "has shape (6, 6, 3)",
        "(3, 6, 6) arrives",
    ),
    "tau_syn below dt": (lambda: chain(cuba(tau_syn=0.5)), "CubaLIF node `n0`", "tau_syn = 0.5"),
    "tau_mem negative": (lambda: chain(cuba(tau_mem=-1.0)), "`tau_mem`", "-1.0", "above 0"),
    "w_in NaN": (lambda: chain(cuba(w_in=nan)), "`w_in`", "nan"),
    "threshold NaN": (lambda: chain(lif(v_threshold=nan)), "`v_threshold`", "nan"),
    "threshold missing": (
        lambda: chain(changed(lif(), v_threshold=None)),
        "`v_threshold` is missing",
    ),
    "v_reset infinite": (lambda: chain(lif(v_reset=inf)), "`v_reset`", "inf"),
    "v_leak infinite": (lambda: chain(li(v_leak=inf)), "LI node `n0`", "`v_leak`", "inf"),
    "r NaN": (lambda: chain(nir.I(full(nan))), "I node `n0`", "`r`", "nan"),
    "scale NaN": (lambda: chain(nir.Scale(full(nan))), "Scale node `n0`", "`scale`", "nan"),
    "scale of the wrong shape": (
        lambda: chain(nir.Scale(full(1, (4,)))),
        "`scale` has shape (4,)",
        "(3,) arrives",
    ),
    "threshold node NaN": (
        lambda: chain(nir.Threshold(full(nan))),
        "Threshold node `n0`",
        "`threshold`",
        "nan",
    ),
    "delay negative": (
        lambda: chain(nir.Delay(full(-1.0))),
        "Delay node `n0`",
        "is -1;",
        "whole number",
    ),
    "delay between steps": (
        lambda: chain(nir.Delay(full(1.5))),
        "Delay node `n0`",
        "1.5",
        "whole number of steps of dt = 1",
    ),
    "delay NaN": (lambda: chain(nir.Delay(full(nan))), "Delay node `n0`", "`delay`", "nan"),
    "delay endless": (
        lambda: chain(nir.Delay(full(1e12))),
        "Delay node `n0`",
        "1e+12",
    ),
    "integers beyond float": (
        lambda: chain(changed(linear(), weight=np.full((3, 3), 1e300))),
        "Linear node `n0`",
        "`weight`",
        "1e+300",
    ),
    # -------------------------------------------------------------------- convolution and pooling
    "padding of another name": (
        lambda: chain(conv2d(padding="reflect"), **IMAGE),
        "Conv2d node `n0`",
        "'reflect'",
        "'valid'",
    ),
    "padding of gigabytes": (
        lambda: chain(conv2d(padding=(0, 2**31)), **IMAGE),
        "Conv2d node `n0`",
        "padding",
        "`--max-bytes`",
    ),
    "pool padding of gigabytes": (
        lambda: chain(pool(padding=(2**31, 0)), **IMAGE),
        "SumPool2d node `n0`",
        "padding",
        "`--max-bytes`",
    ),
    "padding of bytes that are no text": (
        lambda: chain(conv2d(padding=b"\xff"), **IMAGE),
        "Conv2d node `n0`",
        "xff",
        "'valid'",
    ),
    "same with a stride": (
        lambda: chain(conv2d(padding="same", stride=2), **IMAGE),
        "'same'",
        "stride",
    ),
    "padding negative": (lambda: chain(conv2d(padding=(-1, 0)), **IMAGE), "padding", "-1"),
    "padding of three numbers": (
        lambda: chain(conv2d(padding=(1, 1, 1)), **IMAGE),
        "`padding`",
        "2 whole numbers",
    ),
    "padding missing": (
        lambda: chain(conv2d(padding=None), **IMAGE),
        "`padding` is missing",
    ),
    "stride zero": (lambda: chain(conv2d(stride=0), **IMAGE), "Conv2d node `n0`", "stride [0, 0]"),
    "stride a fraction": (lambda: chain(conv2d(stride=1.5), **IMAGE), "`stride` is [1.5]", "whole"),
    "stride NaN": (lambda: chain(conv2d(stride=nan), **IMAGE), "`stride`", "nan"),
    "stride of text": (lambda: chain(conv2d(stride="two"), **IMAGE), "`stride`", "'two'"),
    "dilation zero": (lambda: chain(conv2d(dilation=(1, 0)), **IMAGE), "dilation [1, 0]"),
    "groups do not divide": (
        lambda: chain(conv2d(groups=2), **IMAGE),
        "groups 2",
        "6 channels",
        "(3, 6, 6) arrives",
    ),
    "groups zero": (lambda: chain(conv2d(groups=0), **IMAGE), "groups 0"),
    "groups a fraction": (lambda: chain(conv2d(groups=1.5), **IMAGE), "`groups`", "1.5"),
    "kernel larger than the image": (
        lambda: chain(conv2d(weight=full(1, (2, 3, 7, 7))), **IMAGE),
        "(7, 7)",
        "does not fit",
        "(3, 6, 6)",
    ),
    "kernel of rank 3 in 2-D": (
        lambda: chain(changed(conv2d(), weight=full(1, (2, 3, 3))), **IMAGE),
        "Conv2d node `n0`",
        "(2, 3, 3)",
        "C_out",
    ),
    "convolution of a flat input": (lambda: chain(conv2d()), "Conv2d node `n0`", "(3,)"),
    "convolution of a line in 2-D": (lambda: chain(conv1d(), **IMAGE), "Conv1d", "(3, 6, 6)"),
    "convolution bias too long": (
        lambda: chain(conv2d(bias=full(1, (5,))), **IMAGE),
        "`bias` has shape (5,)",
        "(2,)",
    ),
    "convolution of other channels": (
        lambda: chain(conv2d(), shape=(4, 6, 6)),
        "3 channels",
        "(4, 6, 6) arrives",
    ),
    "convolution of another size": (
        lambda: chain(conv2d(input_shape=(8, 8)), **IMAGE),
        "`input_shape` is [8, 8]",
        "(6, 6) arrives",
    ),
    "1-D stride of two numbers": (
        lambda: chain(conv1d(stride=(1, 1)), shape=(3, 6)),
        "`stride`",
        "1 whole numbers",
    ),
    "window larger than the image": (
        lambda: chain(pool((7, 7)), **IMAGE),
        "SumPool2d node `n0`",
        "[7, 7]",
        "(3, 6, 6)",
    ),
    "window of three numbers": (
        lambda: chain(pool((2, 2, 2)), **IMAGE),
        "SumPool2d node `n0`",
        "`kernel_size` is [2, 2, 2]",
        "2 whole numbers",
    ),
    "window zero": (lambda: chain(pool((0, 2)), **IMAGE), "kernel_size [0, 2]", "out of range"),
    "window NaN": (lambda: chain(pool((nan, 2.0)), **IMAGE), "`kernel_size`", "nan"),
    "pooling with a padding that convolutions know": (
        lambda: chain(changed(pool(), padding="same"), **IMAGE),
        "SumPool2d node `n0`",
        "`padding` is ['same']",
        "2 whole numbers",
    ),
    "pooling without stride": (
        lambda: chain(changed(pool(), stride=None), **IMAGE),
        "`stride` is missing",
    ),
    "pooling of a flat input": (
        lambda: chain(pool(kind=nir.AvgPool2d)),
        "AvgPool2d node `n0`",
        "(C, H, W)",
        "(3,) arrives",
    ),
    "flatten beyond the axes": (
        lambda: chain(flatten(3, 4), **IMAGE),
        "Flatten node `n0`",
        "start_dim 3",
        "(3, 6, 6)",
    ),
    "flatten backwards": (lambda: chain(flatten(2, 1), **IMAGE), "start_dim 2", "end_dim 1"),
    "flatten of another shape": (
        lambda: chain(flatten(0, -1, (2, 6, 6)), **IMAGE),
        "`input_type` is (2, 6, 6)",
        "(3, 6, 6) arrives",
    ),
    "flatten from a fraction": (lambda: chain(flatten(0.5, -1), **IMAGE), "`start_dim`", "0.5"),
    "flatten from text": (lambda: chain(flatten("a", -1), **IMAGE), "`start_dim`", "'a'"),
}


@pytest.mark.parametrize("name", NODES)
def test_a_node_with_a_fault_is_refused(name):
    make, *words = NODES[name]
    refused(lambda: load(make(), 1.0), *words)


@pytest.mark.parametrize("name", NODES)
def test_the_reference_refuses_it_too(name):
    """Not always with the same words: JAX sees no float64, and sizes only matter when it runs."""
    graph = NODES[name][0]()
    shape = tuple(graph.nodes["input"].input_type["input"])
    with pytest.raises(GraphError):
        reference.run(graph.to_dict(), np.ones((2, 1, *shape)), 1.0)


# ------------------------------------------------------------------------------ structure of graphs


def port(shape=(3,)):
    return nir.Input(np.array(shape))


def out(shape=(3,)):
    return nir.Output(np.array(shape))


def itself():
    """A graph that contains itself."""
    inner = graph({"input": port(), "output": out()}, [("input", "output")])
    inner.nodes["inner"] = inner
    inner.edges = [("input", "inner"), ("inner", "output")]
    return inner


def nested(depth):
    inner = graph({"input": port(), "output": out()}, [("input", "output")])
    for _ in range(depth):
        inner = graph(
            {"input": port(), "g": inner, "output": out()}, [("input", "g"), ("g", "output")]
        )
    return inner


def with_subgraph(nodes, edges):
    return chain(graph(nodes, edges))


class Strange(nir.ir.NIRNode):
    """A node class of somebody's own."""

    def __init__(self):
        self.input_type = self.output_type = {"input": np.array([3])}
        self.metadata = {}

    def to_dict(self):
        return {"type": "Strange"}


STRUCTURE = {
    "nothing": (lambda: None, "a nir.NIRGraph is needed", "NoneType"),
    "a dictionary": (lambda: chain(lif()).to_dict(), "a nir.NIRGraph is needed", "dict"),
    "a file name": (lambda: "model.nir", "a nir.NIRGraph is needed", "str"),
    "a single node": (lif, "a nir.NIRGraph is needed", "LIF"),
    "empty": (lambda: graph({}, []), "the graph is empty"),
    "no nodes at all": (lambda: changed(chain(), nodes=None), "the graph"),
    "no edges at all": (lambda: changed(chain(), edges=None), "the graph", "edges"),
    "no output": (lambda: graph({"input": port(), "l": lif()}, [("input", "l")]), "no Output node"),
    "no input": (lambda: graph({"l": lif(), "o": out()}, [("l", "o")]), "no Input node"),
    "no edges": (lambda: graph({"i": port(), "o": out()}, []), "`i`", "leads to no Output"),
    "unreachable node": (
        lambda: graph({"i": port(), "l": lif(), "o": out()}, [("i", "o"), ("l", "o")]),
        "LIF node `l`",
        "cannot be reached from an Input",
    ),
    "node that leads nowhere": (
        lambda: graph({"i": port(), "l": lif(), "o": out()}, [("i", "o"), ("i", "l")]),
        "LIF node `l`",
        "leads to no Output",
    ),
    "input that leads nowhere": (
        lambda: graph({"i": port(), "j": port(), "o": out()}, [("i", "o")]),
        "Input node `j`",
        "leads to no Output",
    ),
    "output that nothing reaches": (
        lambda: graph({"i": port(), "o": out(), "p": out()}, [("i", "o")]),
        "Output node `p`",
        "cannot be reached",
    ),
    "edge to a node that is missing": (
        lambda: graph({"i": port(), "o": out()}, [("i", "o"), ("i", "ghost")]),
        "('i', 'ghost')",
        "`ghost`, which is no node",
    ),
    "edge from a node that is missing": (
        lambda: graph({"i": port(), "o": out()}, [("i", "o"), ("ghost", "o")]),
        "('ghost', 'o')",
    ),
    "edge of bytes that are no text": (
        lambda: changed(chain(lif()), edges=[(b"\xff", "n0")]),
        "xff",
        "no node",
    ),
    "edge twice": (
        lambda: graph({"i": port(), "o": out()}, [("i", "o"), ("i", "o")]),
        "duplicate edge ('i', 'o')",
    ),
    "edge of three": (
        lambda: graph({"i": port(), "o": out()}, [("i", "o", "i")]),
        "('i', 'o', 'i')",
        "pair",
    ),
    "edge of numbers": (
        lambda: graph({"i": port(), "o": out()}, [(0, 1)]),
        "`0`, which is no node",
    ),
    "edge is a number": (lambda: graph({"i": port(), "o": out()}, [7]), "edge 7", "pair"),
    "edge is a name": (lambda: graph({"i": port(), "o": out()}, ["io"]), "'io'", "pair"),
    "edge into the input": (
        lambda: graph({"i": port(), "l": lif(), "o": out()}, [("i", "l"), ("l", "o"), ("l", "i")]),
        "from `l` into Input `i`",
    ),
    "edge out of the output": (
        lambda: graph({"i": port(), "l": lif(), "o": out()}, [("i", "l"), ("l", "o"), ("o", "l")]),
        "out of Output `o` to `l`",
    ),
    "output declares another shape": (
        lambda: chain(lif(), out=(4,)),
        "Output node `output`",
        "(4,)",
        "(3,) arrives",
    ),
    "input of no size": (lambda: chain(shape=(0,)), "Input node `input`", "(0,)", "1 or more"),
    "input of negative size": (lambda: chain(shape=(-3,)), "(-3,)", "1 or more"),
    "input without shape": (lambda: chain(shape=()), "Input node `input`"),
    "input of half a size": (lambda: chain(shape=(2.5,)), "Input node `input`", "2.5"),
    "input of endless size": (lambda: chain(shape=(inf,)), "Input node `input`", "inf"),
    "input of text": (lambda: chain(shape=("three",)), "Input node `input`", "`shape`", "numbers"),
    "sum of different shapes": (
        lambda: graph(
            {"i": port(), "w": linear(4, 3), "s": nir.Scale(full(1)), "o": out()},
            [("i", "w"), ("i", "s"), ("w", "o"), ("s", "o")],
        ),
        "node `o`",
        "shape mismatch",
        "(3,)",
        "(4,)",
    ),
    "cycle of other shape": (
        lambda: graph(
            {"i": port(), "l": lif(), "w": linear(4, 3), "o": out()},
            [("i", "l"), ("l", "w"), ("w", "l"), ("l", "o")],
        ),
        "node `l`",
        "shape mismatch",
        "`w`",
    ),
    "cycle without state": (
        lambda: graph(
            {"i": port(), "a": linear(), "b": nir.Scale(full(0.5)), "o": out()},
            [("i", "a"), ("a", "b"), ("b", "a"), ("b", "o")],
        ),
        "cycle without state",
        "`a`, `b`",
        "neuron or a Delay",
    ),
    "node that feeds itself without state": (
        lambda: graph(
            {"i": port(), "a": linear(), "o": out()}, [("i", "a"), ("a", "a"), ("a", "o")]
        ),
        "cycle without state",
        "`a`",
    ),
    "cycle through no delay": (
        lambda: graph(
            {"i": port(), "a": linear(), "d": nir.Delay(full(0)), "o": out()},
            [("i", "a"), ("a", "d"), ("d", "a"), ("d", "o")],
        ),
        "cycle without state",
        "`d`",
    ),
    "graph that contains itself": (itself, "contains itself"),
    "nested too deep": (lambda: nested(20), "nested 17 deep; at most 16"),
    "empty subgraph": (lambda: with_subgraph({}, []), "subgraph `n0` is empty"),
    "subgraph without output": (
        lambda: with_subgraph({"i": port(), "l": lif()}, [("i", "l")]),
        "subgraph `n0` has 0 Output nodes",
    ),
    "subgraph with two inputs": (
        lambda: with_subgraph({"i": port(), "j": port(), "o": out()}, [("i", "o"), ("j", "o")]),
        "subgraph `n0` has 2 Input nodes",
        "('input', 'n0')",
    ),
    "subgraph with a loose node": (
        lambda: with_subgraph({"i": port(), "l": lif(), "o": out()}, [("i", "o"), ("i", "l")]),
        "LIF node `n0.l`",
        "leads to no Output",
    ),
    "subgraph with a loose edge": (
        lambda: with_subgraph({"i": port(), "o": out()}, [("i", "o"), ("x", "o")]),
        "subgraph `n0`",
        "`x`, which is no node",
    ),
    "two nodes of one path": (
        lambda: graph(
            {
                "i": port(),
                "a.l": lif(),
                "a": graph({"i": port(), "l": lif(), "o": out()}, [("i", "l"), ("l", "o")]),
                "o": out(),
            },
            [("i", "a"), ("a", "a.l"), ("a.l", "o")],
        ),
        "`a.l`",
        "two nodes have this path",
    ),
    "no node": (lambda: chain_with(object()), "`n0`", "object"),
    "node of None": (lambda: chain_with(None), "`n0`", "NoneType"),
    "unknown type": (lambda: chain_with(Strange()), "`n0`", "'Strange'", "CubaLIF"),
    "node named by a number": (
        lambda: graph({"i": port(), 3: lif(), "o": out()}, [("i", 3), (3, "o")]),
        "3",
        "name",
    ),
    "node named by two lines": (
        lambda: graph({"i": port(), "a\nb": lif(), "o": out()}, [("i", "a\nb"), ("a\nb", "o")]),
        r"'a\nb'",
        "printable",
    ),
    "metadata is a list": (
        lambda: changed(chain(lif()), metadata=[1, 2]),
        "metadata",
        "list",
    ),
    "metadata of a node is text": (lambda: chain(lif(metadata="x")), "`n0`", "metadata", "str"),
}


def chain_with(node):
    found = chain(lif())
    found.nodes["n0"] = node
    return found


@pytest.mark.parametrize("name", STRUCTURE)
def test_a_graph_with_a_fault_is_refused(name):
    make, *words = STRUCTURE[name]
    refused(lambda: load(make(), 1.0), *words)
    refused(lambda: from_nir(make(), X))


@pytest.mark.parametrize("fault", [None, "x", [], {}, {"nodes": {}}, {"nodes": 3, "edges": []}])
def test_the_reference_refuses_what_is_no_graph(fault):
    refused(lambda: reference.run(fault, X, 1.0), "the graph")


def test_the_reference_names_a_node_without_type():
    found = chain(lif()).to_dict()
    del found["nodes"]["n0"]["type"]
    refused(lambda: reference.run(found, X, 1.0), "`n0`", "`type`")


def test_a_field_that_nobody_reads_is_refused():
    found = chain(lif()).to_dict()
    found["nodes"]["n0"]["v_peak"] = full(1)
    refused(lambda: reference.run(found, X, 1.0), "LIF node `n0`", "`v_peak`", "remove it")


# ------------------------------------------------------------------------------------ the contract

CONTRACTS = {
    "unknown reset": (
        lambda: chain(lif(metadata={"reset": "halve"})),
        "node `n0`",
        "'halve'",
        "v_reset, subtract, subtract_after_decay",
    ),
    "spike_delay of rows": (
        lambda: chain(lif(metadata={"spike_delay": np.full((2, 2), 0.5)})),
        "node `n0`",
        "spike_delay",
        "neither 0 nor 1",
    ),
    "reset of bytes that are no text": (
        lambda: chain(lif(metadata={"reset": b"\xff"})),
        "node `n0`",
        "xff",
        "v_reset, subtract, subtract_after_decay",
    ),
    "reset is a number": (lambda: chain(lif(metadata={"reset": 3})), "node `n0`", "reset", "3"),
    "delay of two": (lambda: chain(lif(metadata={"spike_delay": 2})), "`n0`", "spike_delay 2"),
    "delay of text": (
        lambda: chain(lif(metadata={"spike_delay": "one"})),
        "`n0`",
        "spike_delay 'one'",
    ),
    "delays per neuron": (
        lambda: chain(lif(metadata={"spike_delay": np.array([0, 1, 0])})),
        "`n0`",
        "spike_delay",
    ),
    "unknown start": (
        lambda: chain(li(metadata={"v_init": "random"})),
        "`n0`",
        "'random'",
        "zero nor v_leak",
    ),
    "newer contract": (
        lambda: chain(metadata=CONTRACT | {"contract_version": 3}),
        "contract_version is 3",
        "up to 2",
    ),
    "contract of no version": (
        lambda: chain(metadata=CONTRACT | {"contract_version": "new"}),
        "contract_version is 'new'",
    ),
    "contract of version zero": (
        lambda: chain(metadata=CONTRACT | {"contract_version": 0}),
        "contract_version is 0",
    ),
    "order of numbers": (
        lambda: chain(metadata=CONTRACT | {"output_order": np.array([2, 0, 1])}),
        "output_order",
        "only HWC",
    ),
    "channels last": (
        lambda: chain(metadata=CONTRACT | {"flatten_order": "HWC"}),
        "'HWC'",
        "CHW",
    ),
    "another dt": (
        lambda: chain(metadata=CONTRACT | {"dt": 1e-3}),
        "dt = 1",
        "contract's dt = 0.001",
    ),
    "dt of text": (lambda: chain(metadata=CONTRACT | {"dt": "fast"}), "dt", "'fast'"),
    "dt of zero": (lambda: chain(metadata=CONTRACT | {"dt": 0.0}), "dt", "0"),
    "dt NaN": (lambda: chain(metadata=CONTRACT | {"dt": nan}), "dt", "nan"),
    "unknown output order": (
        lambda: chain(metadata=CONTRACT | {"output_order": "WHC"}),
        "output_order",
        "'WHC'",
    ),
}


@pytest.mark.parametrize("name", CONTRACTS)
def test_a_contract_that_says_nonsense_is_refused(name):
    make, *words = CONTRACTS[name]
    refused(lambda: load(make(), 1.0), *words)


@pytest.mark.parametrize(
    ("reset", "words"),
    [
        ("zero", ("'zero'", "v_reset, subtract")),
        (3, ("3", "v_reset, subtract")),
        ({"ghost": "subtract"}, ("`ghost`", "no node")),
        ({"n0": "zero"}, ("`n0`", "'zero'")),
        ({"output": "subtract"}, ("`output`", "no neuron")),
    ],
)
def test_reset_must_name_a_rule_and_a_neuron(reset, words):
    refused(lambda: load(chain(lif()), 1.0, reset=reset), *words)


# ----------------------------------------------------------------------------------- dt and the data


@pytest.mark.parametrize(
    "dt", [0, 0.0, -1, nan, inf, "fast", [1, 2], 1j, {}, object(), True, 10**400]
)
def test_dt_must_be_above_zero(dt):
    refused(lambda: from_nir(chain(lif()), X, dt), "`dt`", "above 0")
    refused(lambda: reference.run(chain(lif()).to_dict(), X, dt), "`dt`", "above 0")
    refused(lambda: to_nir(snn.IF((3,)), {"i": (3,)}, {"o": (3,)}, dt), "`dt`", "above 0")


@pytest.mark.parametrize("dt", [1e-300, 1e40])
def test_dt_must_fit_into_float32(dt):
    refused(lambda: from_nir(chain(lif()), X, dt), "`dt`", "between 1e-30 and 1e30", str(dt))


def test_dt_must_be_known():
    refused(lambda: from_nir(chain(lif()), X, None), "`dt`", "contract", "give it")
    refused(lambda: to_nir(snn.IF((3,)), {"i": (3,)}, {"o": (3,)}, None), "`dt`")


def spoiled(value):
    array = X.copy()
    array[1, 0, 2] = value
    return array


DATA = {
    "other features": (X[..., :2], "input `input`", "(T, B, 3)", "(4, 2, 2)"),
    "no batch axis": (X[:, 0], "(T, B, 3)", "(4, 3)"),
    "no time axis": (X[0, 0], "(T, B, 3)", "(3,)"),
    "no steps": (X[:0], "no time steps"),
    "no batch": (X[:, :0], "no batch"),
    "NaN": (spoiled(nan), "input `input`", "NaN or infinite"),
    "infinite": (spoiled(-inf), "NaN or infinite"),
    "beyond float32": (X.astype(float) + 1e300, "beyond float32"),
    "text": (np.full(X.shape, "1"), "numbers", "<U1"),
    "one text": ("events.npy", "numbers"),
    "nothing": (None, "numbers"),
    "objects": (X.astype(object), "numbers", "object"),
    "complex": (X.astype(complex), "numbers", "complex128"),
    "ragged": ([[[1, 2, 3]], [[1, 2]]], "numbers"),
    "another name": ({"events": X}, "['input']", "['events']"),
    "a number": (3.0, "(T, B, 3)", "()"),
}


@pytest.mark.parametrize("name", DATA)
def test_data_that_does_not_fit_is_refused(name):
    data, *words = DATA[name]
    refused(lambda: from_nir(chain(lif()), data), *words)
    refused(lambda: reference.run(chain(lif()).to_dict(), data, 1.0), *words)


class Tensor:
    """As a tensor of torch that requires a gradient refuses NumPy."""

    dtype = "torch.float32"

    def __array__(self, *_, **__):
        raise RuntimeError("Can't call numpy() on Tensor that requires grad. Use detach() instead.")


def test_a_tensor_that_numpy_may_not_read_is_named():
    words = ("Tensor", "requires grad", "detach()")
    refused(lambda: from_nir(chain(lif()), Tensor()), "input `input`", *words)
    refused(lambda: reference.run(chain(lif()).to_dict(), Tensor(), 1.0), "input `input`", *words)
    broken = chain(changed(lif(), tau=Tensor()))
    for call in (lambda: load(broken), lambda: reference.run(broken.to_dict(), X, 1.0)):
        refused(call, "LIF node", "`tau`", *words)
    refused(lambda: file.write("never.nir", broken), "tau", *words)


def test_images_must_fit_in_one_of_both_orders():
    image = chain(lif((2, 4, 5)), shape=(2, 4, 5))
    refused(lambda: from_nir(image, np.ones((3, 1, 4, 2, 5))), "(T, B, 4, 5, 2)", "(3, 1, 4, 2, 5)")


def test_several_inputs_are_given_by_name():
    two = graph({"a": port(), "b": port(), "o": out()}, [("a", "o"), ("b", "o")])
    for execute in (from_nir, lambda g, x: reference.run(g.to_dict(), x, 1.0)):
        refused(lambda run=execute: run(two, X), "['a', 'b']", "by name")
        refused(lambda run=execute: run(two, {"a": X}), "['a', 'b']", "got ['a']")
        refused(lambda run=execute: run(two, {"a": X, "b": X[:3]}), "(T, B)", "(4, 2", "(3, 2")
        refused(lambda run=execute: run(two, {"a": X, 3: X}), "['a', 'b']")


# ------------------------------------------------------------------------------------------- export

RNGS = nnx.Rngs(0)
FLAT = ({"input": (3,)}, {"output": (3,)})


def dense(*layers, into=(3,), out=(3,), strict=True, **told):
    """An export that is about to fail."""
    model = snn.Sequential(*layers) if len(layers) != 1 else layers[0]
    return lambda: to_nir(model, {"input": into}, {"output": out}, strict=strict, **told)


def halves(_, shape, dtype):
    """Weights that need no compilation, unlike random ones."""
    return jnp.asarray(np.full(shape, 0.5, dtype))


def weights(value, rows=3, columns=3):
    kernel = jnp.asarray(full(value, (rows, columns)))
    return nnx.Linear(rows, columns, kernel_init=lambda *_: kernel, rngs=RNGS)


def with_beta(beta, kind=snn.LIF):
    layer = kind((3,), 0.5, rngs=RNGS)
    layer.beta = nnx.Param(jnp.asarray(beta, jnp.float32))
    return layer


def conv(kernel=(3, 3), **options):
    return nnx.Conv(2, 2, kernel, kernel_init=halves, rngs=RNGS, **options)


class Louder(snn.LIF):
    """A subclass that runs otherwise than its parent."""

    def __call__(self, x, V):
        return super().__call__(2 * x, V)


class Sketch:
    """No layer at all."""


PICTURE = {"into": (2, 5, 6), "out": (2, 5, 6)}

EXPORTS = {
    "weight NaN": (dense(weights(nan)), "linear_0", "`weight`", "nan"),
    "weight infinite": (dense(weights(inf)), "`weight`", "inf"),
    "features do not fit": (
        dense(weights(1.0, 5)),
        "layer 0 (Linear)",
        "takes 5 features",
        "(3,)",
    ),
    "kernel unset": (
        dense(changed(weights(1.0), kernel=None)),
        "layer 0 (Linear)",
        "parameters cannot be read",
    ),
    "decay NaN": (dense(with_beta(nan)), "layer 0 (LIF)", "`beta`", "NaN"),
    "decay of the wrong shape": (
        dense(with_beta([0.5, 0.5])),
        "layer 0 (LIF)",
        "`beta` has shape (2,)",
        "(3,) arrives",
    ),
    "exact decay above 1": (
        dense(neurons.LIF((3,), 1.5)),
        "layer 0 (LIF)",
        "`beta`",
        "outside [0, 1]",
        "1.5",
    ),
    "exact decay below 0": (dense(neurons.CubaLIF((3,), -0.5, 0.5)), "`alpha`", "-0.5"),
    "threshold NaN": (dense(snn.IF((3,), nan)), "if_0", "`v_threshold`", "nan"),
    "threshold below 0": (
        dense(snn.RLIF((3,), 0.5, -0.25, rngs=RNGS)),
        "layer 0 (RLIF)",
        "`threshold` is -0.25",
        "before its first input",
    ),
    "a spike of any size": (
        dense(snn.LIF((3,), 0.5, activation=nnx.sigmoid, rngs=RNGS)),
        "layer 0 (LIF)",
        "activation is no step",
        "spyx.axn",
    ),
    "a spike at the threshold": (
        dense(neurons.IF((3,), activation=axn.custom(fwd=lambda u: (u >= 0) * 1.0))),
        "layer 0 (IF)",
        "activation is no step",
    ),
    "a step that is no threshold's": (
        dense(snn.PSU_LIF((3,), 0.5, activation=jnp.sign, rngs=RNGS)),
        "layer 0 (PSU_LIF)",
        "activation is no step",
    ),
    "weights in half precision": (
        dense(nnx.Linear(3, 3, dtype=jnp.bfloat16, rngs=RNGS)),
        "layer 0 (Linear)",
        "`dtype` is bfloat16",
        "use float32",
    ),
    "a convolution in half precision": (
        dense(conv(dtype=jnp.float16), **PICTURE),
        "layer 0 (Conv)",
        "`dtype` is float16",
    ),
    "a product of its own": (
        dense(nnx.Linear(3, 3, dot_general=lambda *given, **how: 0.0, rngs=RNGS)),
        "layer 0 (Linear)",
        "`dot_general`",
    ),
    "a convolution of its own": (
        dense(conv(conv_general_dilated=lambda *given, **how: 0.0), **PICTURE),
        "layer 0 (Conv)",
        "`conv_general_dilated`",
    ),
    "threshold of the wrong shape": (
        dense(snn.IF((3,), jnp.ones(2))),
        "layer 0 (IF)",
        "`threshold` has shape (2,)",
    ),
    "gain NaN": (dense(neurons.IF((3,), gain=nan)), "if_0", "`r`", "nan"),
    "neuron of another shape": (
        dense(snn.LIF((4,), 0.5, rngs=RNGS)),
        "layer 0 (LIF)",
        "`hidden_shape` is (4,)",
        "(3,) arrives",
    ),
    "neuron before channels last": (
        dense(snn.IF((2, 5, 6)), **PICTURE),
        "`hidden_shape` is (2, 5, 6)",
        "(5, 6, 2) arrives",
    ),
    "recurrent layer on an image": (
        dense(snn.RIF((3,), rngs=RNGS), **PICTURE),
        "layer 0 (RIF)",
        "(5, 6, 2) arrives",
    ),
    "recurrent weight NaN": (
        dense(changed(snn.RIF((3,), rngs=RNGS), recurrent_w=nnx.Param(jnp.full((3, 3), nan)))),
        "rif_0.w_rec",
        "`weight`",
        "nan",
    ),
    "recurrent weight of another size": (
        dense(changed(snn.RIF((3,), rngs=RNGS), recurrent_w=nnx.Param(jnp.ones((4, 4))))),
        "layer 0 (RIF)",
        "(4, 4)",
    ),
    "adaptive threshold": (
        dense(snn.ALIF((3,), 0.5, 0.5, rngs=RNGS)),
        "layer 0 (ALIF)",
        "spyx.nn.ALIF",
        "no equivalent",
    ),
    "a subclass that runs otherwise": (
        dense(Louder((3,), 0.5, rngs=RNGS)),
        "layer 0 (Louder)",
        "its own `__call__`",
        "spyx.nn.LIF",
    ),
    "a function": (dense(snn.Sequential(nnx.relu)), "layer 0 (relu)", "no equivalent"),
    "a pooling that NIR lacks": (
        dense(snn.Sequential(functools.partial(nnx.max_pool, window_shape=(2, 2))), **PICTURE),
        "layer 0 (max_pool)",
        "no equivalent",
    ),
    "dropout at work": (
        dense(nnx.Dropout(0.5, rngs=RNGS)),
        "layer 0 (Dropout)",
        "random",
        "eval()",
    ),
    "not a layer": (dense(Sketch()), "layer 0 (Sketch)", "no equivalent"),
    "nothing": (dense(None), "NoneType", "no equivalent"),
    "a layer class": (dense(snn.LIF), "layer 0 (LIF)", "a class"),
    "a graph": (dense(graph({"i": port(), "o": out()}, [("i", "o")])), "NIR graph already"),
    "an empty model": (lambda: to_nir(snn.Sequential(), *FLAT, recurrent="deep"), "`recurrent`"),
    "no convolution over 3 axes": (
        dense(conv((1, 1, 1)), into=(2, 3, 3, 3), out=(2, 3, 3, 3)),
        "layer 0 (Conv)",
        "3 axes",
    ),
    "a convolution of a flat input": (dense(conv()), "layer 0 (Conv)", "(3,) arrives"),
    "a convolution of other channels": (
        dense(conv(), into=(3, 5, 6)),
        "takes 2 channels",
        "(3, 5, 6) arrives",
    ),
    "padding in circles": (dense(conv(padding="CIRCULAR"), **PICTURE), "'CIRCULAR'", "SAME"),
    "padding by mirror": (dense(conv(padding="REFLECT"), **PICTURE), "'REFLECT'", "VALID"),
    "padding unheard of": (dense(conv(padding="HALF"), **PICTURE), "'HALF'", "SAME"),
    "padding of a third axis": (
        dense(conv(padding=[(1, 1)] * 3), **PICTURE),
        "layer 0 (Conv)",
        "padding",
    ),
    "padding negative": (
        dense(conv(padding=[(-1, -1), (0, 0)]), **PICTURE),
        "layer 0 (Conv)",
        "padding",
        "-1",
    ),
    "a stride of 0": (dense(conv(strides=0), **PICTURE), "layer 0 (Conv)", "stride [0, 0]"),
    "a dilation of 0": (
        dense(conv(kernel_dilation=(1, 0)), **PICTURE),
        "layer 0 (Conv)",
        "dilation [1, 0]",
    ),
    "a pooling that stays where it is": (
        dense(snn.SumPool(2, 0, "SAME"), **PICTURE),
        "layer 0 (SumPool)",
        "stride [0, 0]",
    ),
    "input dilation": (dense(conv(input_dilation=2), **PICTURE), "`input_dilation` is 2"),
    "a kernel that does not fit": (
        dense(conv((7, 7), padding="VALID"), **PICTURE),
        "layer 0 (Conv)",
        "does not fit",
    ),
    "a window that does not fit": (
        dense(snn.SumPool(7, 7, "VALID"), **PICTURE),
        "layer 0 (SumPool)",
        "[7, 7]",
    ),
    "a window of three axes": (
        dense(snn.SumPool((2, 2, 2), 2, "VALID"), **PICTURE),
        "layer 0 (SumPool)",
        "(2, 2, 2)",
    ),
    "pooling over the first axis": (
        dense(snn.SumPool(2, 2, "VALID", 1), **PICTURE),
        "`channel_axis` is 1",
    ),
    "pooling with padding unheard of": (
        dense(snn.SumPool(2, 2, "HALF"), **PICTURE),
        "layer 0 (SumPool)",
        "'HALF'",
    ),
    "pooling of a flat input": (dense(snn.SumPool(2, 2, "VALID")), "(C, H, W)", "(3,) arrives"),
    "average pooling without window": (
        dense(functools.partial(nnx.avg_pool), **PICTURE),
        "layer 0 (avg_pool)",
        "window_shape",
    ),
    "average pooling that leaves out the padding": (
        dense(
            functools.partial(
                nnx.avg_pool, window_shape=(2, 2), padding="SAME", count_include_pad=False
            ),
            **PICTURE,
        ),
        "counts the padding",
    ),
    "scale of the wrong shape": (dense(Scale(jnp.ones(2))), "`scale` has shape (2,)"),
    "delay of the wrong shape": (dense(Delay((4,), 1)), "layer 0 (Delay)", "(4,)", "(3,) arrives"),
    "pool over a flat input": (dense(Pool((2, 2), (2, 2), (0, 0), average=True)), "(3,) arrives"),
    "output of another shape": (
        dense(weights(1.0, 3, 2)),
        "`output_shape` is (3,)",
        "puts out (2,)",
        "channels first",
    ),
    "unit unheard of": (dense(weights(1.0), time_unit="min"), "`time_unit`", "s, step", "'min'"),
    "readout unheard of": (dense(weights(1.0), readout="vote"), "`readout`", "'vote'"),
    "no number of steps": (dense(weights(1.0), n_steps="many"), "`n_steps`", "'many'"),
    "steps below one": (dense(weights(1.0), n_steps=0), "`n_steps`", "0"),
    "steps that are a truth value": (dense(weights(1.0), n_steps=True), "`n_steps`", "True"),
    "steps beyond any sample": (dense(weights(1.0), n_steps=10**30), "`n_steps`", "2^31 - 1"),
    "a key that the contract lacks": (dense(weights(1.0), colour=3), "`colour`", "time_unit"),
    "bin NaN": (dense(weights(1.0), input_bin_s=nan), "`input_bin_s`", "nan"),
    "classes of numbers": (dense(weights(1.0), classes=7), "`classes`", "7"),
}


@pytest.mark.parametrize("name", EXPORTS)
def test_a_model_that_cannot_be_written_is_refused(name):
    call, *words = EXPORTS[name]
    refused(call, *words)


@pytest.mark.parametrize(
    "shape",
    [
        (3,),
        None,
        {},
        "input",
        {"a": (3,), "b": (3,)},
        {"input": ()},
        {"input": ((3,), 2)},
        {"input": (0,)},
        {"input": (3, -1)},
        {"input": None},
        {"input": "3"},
        {"input": (2.5,)},
        {"input": (nan,)},
        {"input": {"n": 3}},
        {"": (3,)},
        {"a/b": (3,)},
        {3: (3,)},
    ],
)
@pytest.mark.parametrize("which", ["input_shape", "output_shape"])
def test_shapes_are_one_name_and_sizes(shape, which):
    shapes = {"input_shape": {"input": (3,)}, "output_shape": {"output": (3,)}} | {which: shape}
    refused(lambda: to_nir(snn.IF((3,)), **shapes), f"`{which}` must", "got")


def test_input_and_output_need_two_names():
    refused(lambda: to_nir(snn.IF((3,)), {"a": (3,)}, {"a": (3,)}), "both called `a`")


def test_a_layer_and_a_port_of_one_name_are_told_apart():
    """The names of layers are made here: a user's name for the input must not hide one."""
    refused(lambda: to_nir(snn.IF((3,)), {"if_0": (3,)}, {"o": (3,)}), "`if_0`", "another name")


def test_what_nir_lacks_is_left_out_with_a_warning_that_names_it():
    model = snn.Sequential(snn.IF((3,)), snn.ALIF((3,), 0.5, 0.5, rngs=RNGS))
    with pytest.warns(UserWarning, match=r"layer 1 \(ALIF\): spyx.nn.ALIF .* left out") as caught:
        found = to_nir(model, *FLAT, strict=False)
    assert len(caught) == 1
    assert sorted(found.nodes) == ["if_0", "input", "output"]


@pytest.mark.parametrize(
    ("between", "words"),
    [
        (nnx.relu, "layer 1"),
        (lambda x: x * x, "`mul` between layers has no node in NIR"),
        (nnx.LayerNorm(3, rngs=RNGS), "layer 1 (LayerNorm)"),
    ],
)
def test_what_nir_lacks_is_refused_where_nobody_asked_to_leave_it_out(between, words):
    model = snn.Sequential(nnx.Linear(3, 3, rngs=RNGS), between, snn.IF((3,)))
    refused(lambda: to_nir(model, *FLAT), words)


def test_a_model_of_which_nothing_is_left_is_refused():
    refused(
        dense(snn.ALIF((3,), 0.5, 0.5, rngs=RNGS), strict=False), "nothing would be left", "ALIF"
    )


TENSORS = {
    "data": (lambda path: from_nir(chain(lif()), Tensor()), "input `input`"),
    "data of the reference": (
        lambda path: reference.run(chain(lif()).to_dict(), Tensor(), 1.0),
        "input `input`",
    ),
    "a weight": (
        lambda path: load(chain(changed(linear(), weight=Tensor())), 1.0),
        "Linear node `n0`: `weight`",
    ),
    "a weight for a file": (
        lambda path: file.write(path, chain(changed(linear(), weight=Tensor()))),
        "`/nodes/n0/weight`",
    ),
    "metadata for a file": (
        lambda path: file.write(path, chain(linear(), metadata={"dt": Tensor()})),
        "`/metadata/dt`",
    ),
    "a threshold": (lambda path: to_nir(snn.IF((3,), Tensor()), *FLAT), "layer 0 (IF)"),
}


@pytest.mark.parametrize("name", TENSORS)
def test_a_tensor_that_gives_no_numbers_says_why(name, tmp_path):
    call, place = TENSORS[name]
    refused(lambda: call(tmp_path / "m.nir"), place, "requires grad", "detach")


def test_export_named_is_strict():
    refused(lambda: export_named(snn.ALIF((3,), 0.5, 0.5, rngs=RNGS), *FLAT), "ALIF")


def held_in_a_variable():
    layer = weights(1.0)
    layer.kernel = nnx.Param(type("QArray", (), {"__module__": "qwix._src.core.qarray"})())
    return layer


def quantised_after_training():
    layer = weights(1.0)
    layer.kernel = type("WithAux", (), {"__module__": "qwix._src.providers.ptq"})()
    return layer


def quantised_for_training():
    layer = weights(1.0)  # a plain nnx.Linear with float weights: what rounds them lies around it
    layer.qwix_path = ("layers", 0)
    return layer


# What `spyx.quant.quantize` makes of a model with qwix 0.1.8, recorded: mode="ptq", then mode="qat".
@pytest.mark.parametrize(
    "made", [held_in_a_variable, quantised_after_training, quantised_for_training]
)
def test_quantised_layers_are_refused_with_the_way_out(made):
    refused(dense(made(), strict=False), "layer 0 (Linear)", "quantised", "dequantised weights")


# ------------------------------------------------------------------------------------ reorder_layers


def test_reorder_lists_what_is_missing_and_what_is_extra():
    first = {"a": {"w": 1, "b": 2}, "c": 3}
    refused(lambda: reorder_layers(first, {"a": {"w": 1, "z": 2}, "d": 3}), "a.b", "c", "a.z", "d")
    refused(lambda: reorder_layers(first, {"a": 1, "c": 3}), "missing: a.w, a.b")
    refused(lambda: reorder_layers(first, [1]), "`trained_params`", "list")
    refused(lambda: reorder_layers(None, first), "`init_params`", "NoneType")
    refused(lambda: reorder_layers({"a": 1}, {"a": {"w": 1}}), "extra: a.w")


def test_reorder_keeps_values_and_puts_keys_in_order():
    ordered = reorder_layers({"a": {"w": 0, "b": 0}, "c": 0}, {"c": 3, "a": {"b": 2, "w": 1}})
    assert list(ordered) == ["a", "c"]
    assert list(ordered["a"].items()) == [("w", 1), ("b", 2)]


def test_an_order_without_a_contract_is_a_strangers_own_key():
    told = {"output_order": np.array([2, 0])}
    assert load(chain(flatten(0, -1), metadata=told, out=(108,), **IMAGE), 1.0).chain
