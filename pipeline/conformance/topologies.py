"""Cases of graphs: which edges add up, which carry the step before, what order and nesting change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.conformance.case import (
    DT,
    Case,
    GraphDict,
    NodeDict,
    chain,
    floats,
    graph,
    linear,
    neuron,
    port,
    weights,
)

Edges = list[tuple[str, str]]


def cases() -> Iterator[Case]:
    """Chains, recurrences, branches, sums, several inputs and outputs, delays, nesting."""
    yield from _chains()
    yield from _recurrent()
    yield from _loops()
    yield from _branches()
    yield from _ports()
    yield from _nested()


def spikes(
    name: str, kinds: tuple[str, ...], tests: str, content: GraphDict, size: int = 3, **own: Any
) -> Case:
    """A case whose only Input takes `size` spikes."""
    return Case(name, kinds, tests, content, {"input": (size,)}, graded=False, **own)


def _chains() -> Iterator[Case]:
    for kind in ("IF", "LIF", "CubaLIF"):
        content = chain(
            (3,), (2,), fc1=linear(4, 3), n1=neuron(kind, (4,)),
            fc2=linear(2, 4, seed=7), n2=neuron(kind, (2,)),
        )  # fmt: skip
        tests = "two layers: spikes reach the last one in the step in which they occur"
        yield spikes(f"chain-{kind.lower()}", ("Linear", kind), tests, content)
    readout = chain(
        (3,),
        (2,),
        fc1=linear(4, 3),
        n1=neuron("CubaLIF", (4,)),
        fc2=linear(2, 4, seed=7),
        li=neuron("LI", (2,)),
    )
    yield spikes("chain-li", ("Linear", "CubaLIF", "LI"), "a leaky integrator reads out", readout)
    kernel: NodeDict = {
        "type": "Conv2d", "weight": weights(2, 1, 3, 3, seed=5), "bias": floats(0, 0),
        "stride": np.array([1, 1]), "padding": np.array([1, 1]), "dilation": np.array([1, 1]),
        "groups": np.int64(1), "input_shape": np.array([4, 4]),
    }  # fmt: skip
    pool: NodeDict = {"type": "SumPool2d", "padding": np.array([0, 0])}
    pool |= {name: np.array([2, 2]) for name in ("kernel_size", "stride")}
    flat: NodeDict = {
        "type": "Flatten", "start_dim": np.int64(0), "end_dim": np.int64(-1),
        "input_type": np.array([2, 2, 2]),
    }  # fmt: skip
    cnn = chain(
        (1, 4, 4), (3,), conv=kernel, n1=neuron("IF", (2, 4, 4), 1.0), pool=pool, flat=flat,
        fc=linear(3, 8, seed=7, scale=0.5), n2=neuron("IF", (3,), 1.0),
    )  # fmt: skip
    kinds = ("Conv2d", "IF", "SumPool2d", "Flatten", "Linear")
    tests = "a convolution, IF neurons, sum pooling, Flatten, Linear, IF: a small image classifier"
    yield Case("chain-cnn", kinds, tests, cnn, {"input": (1, 4, 4)}, 1.0, graded=False)
    names = ["z", "10", "2", "a b", "in.ner"]
    parts = [linear(4, 3), neuron("CubaLIF", (4,)), linear(3, 4, seed=7), neuron("CubaLIF", (3,))]
    nodes = dict(zip(names, parts, strict=False))
    edges = [("x", "z"), ("z", "10"), ("10", "2"), ("2", "a b"), ("a b", "0")]
    every = {"0": port("Output", 3), **dict(reversed(nodes.items())), "x": port("Input", 3)}
    tests = "names that sort against the order of data: it is the edges that count"
    own = Case("chain-names", ("NIRGraph",), tests, graph(every, edges), {"x": (3,)}, graded=False)
    yield own


def _cell(kind: str, size: int, weight: NodeDict) -> tuple[dict[str, NodeDict], Edges]:
    """A neuron with a weight onto itself."""
    nodes = {"lif": neuron(kind, (size,)), "w_rec": weight}
    return nodes, [("lif", "w_rec"), ("w_rec", "lif")]


def _recurrent() -> Iterator[Case]:
    affine = {
        "type": "Affine",
        "weight": weights(3, 3, seed=11, scale=0.5),
        "bias": floats(0.5, 0.25, 0.625),
    }
    both = ("flat", "in one graph"), ("nested", "in a subgraph")
    for kind in ("IF", "LIF", "CubaLIF"):
        for wiring, where in both:
            tests = f"a weight onto the neurons themselves, {where}, carries the step before"
            yield _recurrence(
                f"recurrent-{wiring}-{kind.lower()}",
                kind,
                wiring,
                linear(3, 3, seed=11, scale=0.75),
                tests,
            )
    for wiring, where in both:
        tests = f"the bias of a recurrent Affine, {where}, acts from the first step on"
        yield _recurrence(f"recurrent-{wiring}-bias", "CubaLIF", wiring, affine, tests)


def _recurrence(name: str, kind: str, wiring: str, weight: NodeDict, tests: str) -> Case:
    cell, ring = _cell(kind, 3, weight)
    if wiring == "flat":
        nodes = {"input": port("Input", 3), "fc": linear(3, 3), **cell, "output": port("Output", 3)}
        edges: Edges = [("input", "fc"), ("fc", "lif"), *ring, ("lif", "output")]
        delayed = (("w_rec", "lif"),)
        content = graph(nodes, edges)
    else:
        inner = {"input": port("Input", 3), **cell, "output": port("Output", 3)}
        block = graph(inner, [("input", "lif"), *ring, ("lif", "output")])
        content = chain((3,), (3,), fc=linear(3, 3), rec=block)
        delayed = (("rec.w_rec", "rec.lif"),)
    return spikes(name, (kind, "NIRGraph"), tests, content, delayed=delayed)


def _loops() -> Iterator[Case]:
    ends = {"input": port("Input", 3), "output": port("Output", 3)}
    nodes = {**ends, "fc": linear(3, 3), "lif": neuron("CubaLIF")}
    edges = [("input", "fc"), ("fc", "lif"), ("lif", "lif"), ("lif", "output")]
    tests = "an edge from a neuron to itself adds its spike of the step before"
    yield spikes(
        "loop-self", ("CubaLIF", "NIRGraph"), tests, graph(nodes, edges), delayed=(("lif", "lif"),)
    )
    nodes = {
        **ends, "fc": linear(3, 3), "a": neuron("CubaLIF"), "b": neuron("CubaLIF"),
        "ab": linear(3, 3, seed=5), "ba": linear(3, 3, seed=9, scale=0.75),
    }  # fmt: skip
    edges = [
        ("input", "fc"),
        ("fc", "a"),
        ("a", "ab"),
        ("ab", "b"),
        ("b", "ba"),
        ("ba", "a"),
        ("b", "output"),
    ]
    tests = "a loop over two layers: only the edge back into the first one carries the step before"
    yield spikes(
        "loop-two-layers",
        ("CubaLIF", "NIRGraph"),
        tests,
        graph(nodes, edges),
        delayed=(("ba", "a"),),
    )
    nodes = {
        **ends, "fc": linear(3, 3), "lif": neuron("CubaLIF"), "w": linear(3, 3, seed=11, scale=0.75),
        "delay": {"type": "Delay", "delay": floats(2 * DT, 2 * DT, 2 * DT)},
    }  # fmt: skip
    edges = [
        ("input", "fc"),
        ("fc", "lif"),
        ("lif", "delay"),
        ("delay", "w"),
        ("w", "lif"),
        ("lif", "output"),
    ]
    tests = "a Delay of 2 steps inside a loop comes on top of the loop's own step"
    yield spikes(
        "loop-delay", ("Delay", "NIRGraph"), tests, graph(nodes, edges), delayed=(("w", "lif"),)
    )


def _branches() -> Iterator[Case]:
    ends = {"input": port("Input", 3), "output": port("Output", 3)}
    first = {**ends, "fc1": linear(3, 3), "n1": neuron("CubaLIF"), "n2": neuron("CubaLIF")}
    nodes = {**first, "fc2": linear(3, 3, seed=7)}
    edges = [
        ("input", "fc1"),
        ("fc1", "n1"),
        ("n1", "fc2"),
        ("fc2", "n2"),
        ("n1", "n2"),
        ("n2", "output"),
    ]
    tests = "a skip connection: two edges into a neuron add up"
    yield spikes("skip", ("NIRGraph",), tests, graph(nodes, edges))
    nodes = {**ends, "a": linear(3, 3), "b": linear(3, 3, seed=7), "n": neuron("CubaLIF")}
    edges = [("input", "a"), ("input", "b"), ("a", "n"), ("b", "n"), ("n", "output")]
    yield spikes(
        "sum-into-neuron", ("NIRGraph",), "two weights of one input add up", graph(nodes, edges)
    )
    nodes = {**ends, "a": linear(3, 3), "b": linear(3, 3, seed=7), "c": linear(3, 3, seed=9)}
    edges = [("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "output")]
    yield spikes(
        "sum-into-weight", ("NIRGraph",), "two edges into a Linear add up", graph(nodes, edges)
    )
    edges = [("input", "a"), ("input", "b"), ("a", "output"), ("b", "output")]
    del nodes["c"]
    yield spikes(
        "sum-into-output",
        ("NIRGraph", "Output"),
        "two edges into an Output add up",
        graph(nodes, edges),
    )
    nodes = {
        **ends, "fc": linear(3, 3), "n": neuron("CubaLIF"), "m": neuron("CubaLIF", v_threshold=1.375),
        "delay": {"type": "Delay", "delay": floats(0, DT, 2 * DT)},
    }  # fmt: skip
    edges = [
        ("input", "fc"),
        ("fc", "n"),
        ("n", "m"),
        ("n", "delay"),
        ("delay", "m"),
        ("m", "output"),
    ]
    yield spikes(
        "branch-delay",
        ("Delay", "NIRGraph"),
        "spikes and the same spikes delayed add up",
        graph(nodes, edges),
    )


def _ports() -> Iterator[Case]:
    nodes = {
        "left": port("Input", 3), "right": port("Input", 2), "a": linear(3, 3), "b": linear(3, 2, seed=7),
        "n": neuron("CubaLIF"), "output": port("Output", 3),
    }  # fmt: skip
    edges = [("left", "a"), ("right", "b"), ("a", "n"), ("b", "n"), ("n", "output")]
    inputs = {"left": (3,), "right": (2,)}
    tests = "two inputs of different width"
    yield Case("two-inputs", ("Input",), tests, graph(nodes, edges), inputs, graded=False)
    nodes = {
        "input": port("Input", 3), "fc": linear(3, 3), "n": neuron("CubaLIF"),
        "head": linear(2, 3, seed=7), "m": neuron("CubaLIF", (2,)),
        "hidden": port("Output", 3), "last": port("Output", 2),
    }  # fmt: skip
    edges = [
        ("input", "fc"),
        ("fc", "n"),
        ("n", "head"),
        ("head", "m"),
        ("n", "hidden"),
        ("m", "last"),
    ]
    tests = "two outputs: a hidden layer and the last one"
    yield spikes("two-outputs", ("Output",), tests, graph(nodes, edges))


def _nested() -> Iterator[Case]:
    def block(seed: int) -> GraphDict:
        return chain((3,), (3,), fc=linear(3, 3, seed=seed), lif=neuron("CubaLIF"))

    content = chain((3,), (3,), one=block(1), two=block(7))
    yield spikes("nested-chain", ("NIRGraph",), "two subgraphs with equal names inside", content)
    deep = chain((3,), (3,), outer=chain((3,), (3,), inner=block(1), fc=linear(3, 3, seed=9)))
    yield spikes("nested-twice", ("NIRGraph",), "a subgraph in a subgraph", deep)
