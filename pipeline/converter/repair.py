"""Faults of older files that are understood: what they are, and the same graph without them.

A repair never guesses at what a network computes. It removes what has no effect, or writes out what
NIR's equations give anyway; whatever is left over stays an error for `load` and the reference.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.converter.file import check_node, graphs, nodes
from pipeline.converter.node import kinds, register
from pipeline.converter.reference import EQUATIONS, Plan, inline, modern, same_shape
from pipeline.errors import GraphError

# Values of one parameter. A damaged file may declare any shape; above this, one number stays one number.
MOST_WRITTEN_OUT = 2**24


@dataclass(frozen=True)
class Fault:
    """One fault that was found and repaired; `node` is the path of the node or subgraph, "" the graph."""

    code: str
    node: str
    reason: str
    repair: str


def repair(graph: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A repaired copy of a graph's dictionary, and what was repaired; arrays are shared.

    - duplicate-edge: the same edge twice; one stays.
    - dangling-edge: an edge to a node that now lies in a subgraph, as older writers left them behind.
    - legacy-wiring: a recurrent subgraph wired input -> w_rec; input -> neuron is meant.
    - declared-type: `input_type` or `output_type` beside a node's fields; shapes follow from those.
    - declared-shape: an Input, Output or Flatten that declares another shape than its neighbours need.
    - scalar-parameter: one number, or (1,), (1, 1, 1), for a whole population; written out in full.
    """
    register()
    graph = _copy(graph)
    faults = [*_declared_types(graph), *_edges(graph), *_legacy(graph)]
    try:
        for path, node in nodes(graph):
            check_node(node, path)
        faults += _shapes(graph)
    except GraphError:
        pass  # shapes are of no use where fields or edges are wrong
    return graph, faults


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, list) else value


def _declared_types(graph: dict[str, Any]) -> Iterator[Fault]:
    for path, group in [*graphs(graph), *nodes(graph)]:
        for name in ("input_type", "output_type"):
            if name in group and not (group["type"] == "Flatten" and name == "input_type"):
                del group[name]
                reason = f"carries `{name}`, which nir derives from the other fields"
                yield Fault("declared-type", path, reason, "field removed")


# ------------------------------------------------------------------------------------------- edges


def _edges(graph: dict[str, Any]) -> Iterator[Fault]:
    """Edges that are there twice, and edges across the border of a subgraph."""
    around: dict[str, tuple[str, dict[str, Any]]] = {"": ("", {"nodes": {}, "edges": []})}
    for path, part in graphs(graph):
        for name, node in part["nodes"].items():
            if node["type"] == "NIRGraph":
                around[f"{path}.{name}" if path else name] = (name, part)
    for path, part in graphs(graph):
        kept: list[tuple[str, str]] = []
        for edge in part["edges"]:
            if edge in kept:
                yield Fault("duplicate-edge", path, f"edge {edge} is there twice", "one removed")
            elif all(end in part["nodes"] for end in edge):
                kept.append(edge)
            elif made := _across(edge, part, *around[path]):
                better, reason = made
                if better is None or better in kept or better in part["edges"]:
                    yield Fault("dangling-edge", path, reason, f"edge {edge} removed")
                else:
                    kept.append(better)
                    yield Fault("dangling-edge", path, reason, f"edge {edge} is now {better}")
            else:
                kept.append(edge)  # not understood: the reference names it and refuses
        part["edges"] = kept


def _across(
    edge: tuple[str, str], part: dict[str, Any], own: str, outer: dict[str, Any]
) -> tuple[tuple[str, str] | None, str] | None:
    """What an edge with an unknown end means: (the edge to have instead or None, why).

    `own` is what `part` is called in the graph `outer` around it.
    """
    source, target = _place(edge[0], part, own), _place(edge[1], part, own)
    if source and target:
        reason = f"edge {edge} names a node that lies in a subgraph"
        (name, inner), (other, inner_other) = source, target
        if inner and inner_other:
            there = name == other and (inner, inner_other) in part["nodes"][name]["edges"]
            return (None, reason) if there else None
        if inner and not _at_port(part["nodes"][name], inner, "Output"):
            return None
        if inner_other and not _at_port(part["nodes"][other], inner_other, "Input"):
            return None
        return (name, other), reason
    ends = []
    for end in edge:
        inside = end in part["nodes"] or end == own or end.startswith(f"{own}.")
        ends.append(own if own and inside else end)
    if tuple(ends) in outer["edges"]:
        return None, f"edge {edge} belongs to the graph around this subgraph, which has it"
    return None


def _place(end: str, part: dict[str, Any], own: str) -> tuple[str, str] | None:
    """(node of this part, "") or (subgraph of this part, node in it) that an edge's end names."""
    if end in part["nodes"]:
        return end, ""
    if own and end.startswith(f"{own}.") and (short := end[len(own) + 1 :]) in part["nodes"]:
        return short, ""
    for name, node in part["nodes"].items():
        if node["type"] == "NIRGraph" and end.startswith(f"{name}."):
            for inner in (end, end[len(name) + 1 :]):
                if inner in node["nodes"]:
                    return name, inner
    return None


def _at_port(sub: dict[str, Any], inner: str, kind: str) -> bool:
    """Whether a subgraph's node is its Input or Output, or the only one that is connected to it."""
    ports = [name for name, node in sub["nodes"].items() if node["type"] == kind]
    if len(ports) != 1:
        return False
    here, there = (1, 0) if kind == "Output" else (0, 1)
    neighbours = {edge[there] for edge in sub["edges"] if edge[here] == ports[0]}
    return inner == ports[0] or neighbours == {inner}


def _legacy(graph: dict[str, Any]) -> Iterator[Fault]:
    for path, part in list(graphs(graph)):
        if not path:
            continue
        try:
            with warnings.catch_warnings(record=True):
                warnings.simplefilter("always")
                rewired = modern(part, path)
        except GraphError:
            continue
        if rewired is not part:
            added = sorted(set(rewired["edges"]) - set(part["edges"]))
            removed = sorted(set(part["edges"]) - set(rewired["edges"]))
            part["edges"] = rewired["edges"]
            reason = f"legacy recurrent wiring: the input enters by {removed[0]}"
            yield Fault("legacy-wiring", path, reason, f"edge {removed[0]} is now {added[0]}")


# ------------------------------------------------------------------------------------------ shapes


def _shapes(graph: dict[str, Any]) -> Iterator[Fault]:
    """Walk along the edges from the Inputs; every node is made to agree with what arrives."""
    plan = Plan({}, [], [], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plan.inputs, plan.outputs = inline(graph, "", plan, 0)
    originals = dict(nodes(graph))
    targets: dict[str, list[str]] = {path: [] for path in originals}
    for source, target in plan.edges:
        targets[source].append(target)
    arrives: dict[str, tuple[int, ...]] = {}
    todo = []
    for path in plan.inputs:
        node = originals[path]
        shape = _declared(node["shape"])
        wanted = {_wanted(originals[t]) for t in targets[path]} - {None}
        found = wanted.pop() if len(wanted) == 1 else None
        if found is not None and shape != found and _same_but_ones(shape, found):
            node["shape"] = np.array(found)
            reason = f"declares `shape` {shape}, but `{targets[path][0]}` takes {found}"
            yield Fault("declared-shape", path, reason, f"`shape` is now {found}")
            shape = found
        if not shape or min(shape) < 1:
            continue
        arrives[path] = shape
        todo += [(target, shape) for target in targets[path]]
    while todo:
        path, shape = todo.pop()
        if path in arrives:
            continue
        arrives[path] = shape
        node = originals[path]
        yield from _fit(path, node, shape)
        try:
            out = tuple(int(n) for n in EQUATIONS[node["type"]].shape(node, shape))
        except (GraphError, ValueError, OverflowError):
            continue  # the reference names the mismatch
        todo += [(target, out) for target in targets[path]]


def _declared(value: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in np.ravel(value))


def _same_but_ones(declared: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether a declared shape is one of a single number, or the same but for axes of size 1."""
    squeezed = [n for n in declared if n != 1]
    return not squeezed or squeezed == [n for n in shape if n != 1]


def _wanted(node: dict[str, Any]) -> tuple[int, ...] | None:
    """The shape that a node takes, as far as its own fields say so."""
    kind = node["type"]
    if kind in ("Linear", "Affine"):
        return (*node["weight"].shape[:-2], node["weight"].shape[-1])
    if kind in ("Conv1d", "Conv2d") and node.get("input_shape") is not None:
        groups = int(np.ravel(node["groups"])[0])
        return (node["weight"].shape[1] * groups, *_declared(node["input_shape"]))
    if EQUATIONS[kind].shape is same_shape:
        sizes = {np.shape(v) for n, v in node.items() if n not in ("type", "metadata")}
        full = {shape for shape in sizes if int(np.prod(shape)) > 1}
        return full.pop() if len(full) == 1 else None
    return None


def _fit(path: str, node: dict[str, Any], shape: tuple[int, ...]) -> Iterator[Fault]:
    kind = node["type"]
    name = {"Input": "shape", "Output": "shape", "Flatten": "input_type"}.get(kind, "")
    if node.get(name) is not None:
        declared = _declared(node[name])
        if declared != shape and _same_but_ones(declared, shape):
            node[name] = np.array(shape)
            reason = f"declares `{name}` {declared}, but {shape} arrives"
            yield Fault("declared-shape", path, reason, f"`{name}` is now {shape}")
    if EQUATIONS[kind].shape is same_shape and math.prod(shape) <= MOST_WRITTEN_OUT:
        single = [
            name
            for name, value in node.items()
            if name not in ("type", "metadata") and np.size(value) == 1 and np.shape(value) != shape
        ]
        if single:
            before = {np.shape(node[name]) for name in single}
            for name in single:
                value = np.asarray(node[name])
                node[name] = np.full(shape, value.reshape(()), value.dtype)
            names = ", ".join(f"`{name}`" for name in single)
            reason = (
                f"{names} of shape {' and '.join(map(str, sorted(before)))} where {shape} arrives"
            )
            yield Fault("scalar-parameter", path, reason, f"written out to {shape}")


def spiking(graph: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes that spike and then reset: those whose contract says how."""
    for path, node in nodes(graph):
        kind = kinds().get(node["type"])
        if kind and kind.equation and kind.equation.spikes and "v_threshold" in node:
            yield path, node
