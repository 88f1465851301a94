"""Faults of older files that are understood: what they are, and the same graph without them.

A repair never guesses at what a network computes. It removes what has no effect, or writes out what
NIR's equations give anyway; whatever is left over stays an error for `load` and the reference.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.converter.file import MOST_WRITTEN_OUT, check_nodes, graphs, nodes
from spyx_nir.converter.hdf5 import MAX_NAME
from spyx_nir.errors import GraphError
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import DEFAULTS, EQUATIONS, SIZES, Shape, same_shape, says_nothing
from spyx_nir.meaning.plan import Plan, inline, make_plan, modern, neighbours


@dataclass(frozen=True)
class Fault:
    """One fault that was found and repaired; `node` is the path of the node or subgraph, "" the graph."""

    code: str
    node: str
    reason: str
    repair: str


def repair(graph_dict: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A repaired copy of a graph's dictionary, and what was repaired; arrays are shared.

    - empty-field: a field that is there and says nothing; taken out, or filled in from the edges.
    - missing-field: a field that nir has a value for, or that follows from the edges; written.
    - duplicate-edge: the same edge twice; one stays.
    - dangling-edge: an edge to a node that is now in a subgraph, as older writers left them behind;
      or edges to one name that is no node, where one node has no edge.
    - legacy-wiring: a recurrent subgraph wired input -> w_rec; input -> neuron is meant.
    - declared-type: `input_type` or `output_type` beside a node's fields; shapes follow from those.
    - declared-shape: an Input, Output, Flatten or convolution that declares another shape than its
      neighbours need.
    - batch-axis: an axis of 1 for a batch, in parameters, or counted by a Flatten.
    - scalar-parameter: one number, or (1,), (1, 1, 1), for a whole population, or one for a channel,
      (C, 1, 1); written out in full.

    Raises:
        GraphError: with the code `too-large`, the graph or what would be written out is beyond a limit.
    """
    graph_dict = copy(graph_dict)
    empty = [*_empty_fields(graph_dict)]
    finders = (_missing_fields, _declared_types, _edges, _legacy, _renamed)
    faults = [fault for find in finders for fault in find(graph_dict)]
    shapes: list[Fault] = []
    try:
        check_nodes(graph_dict)
        graph_dict, shapes = _with_shapes(graph_dict)
    except GraphError as error:
        if error.code == "too-large":
            raise
        # Else shapes are of no use: fields or edges are wrong.
    return graph_dict, [*_emptied(graph_dict, empty), *faults, *shapes]


def copy(value: Any) -> Any:
    """Dictionaries and lists copied, arrays shared."""
    if isinstance(value, dict):
        return {name: copy(inner) for name, inner in value.items()}
    return list(value) if isinstance(value, list) else value


# ------------------------------------------------------------------------------------------ fields


def _optional(kind: str) -> Iterator[str]:
    """The fields that a node of this type may lack."""
    names = EQUATIONS[kind].names if kind in EQUATIONS else {}
    return (name for name, optional in names.items() if optional)


def _empty_fields(graph_dict: dict[str, Any]) -> Iterator[tuple[str, str, bool]]:
    """Take out what says nothing: path, field and whether it was not there at all.

    Sizes become 0 until it is known what arrives.

    A convolution without `input_shape` and a port without `shape` get one: nir 1.0.8 reads none without.
    """
    for path, node in nodes(graph_dict):
        kind = node["type"]
        for name in [*_optional(kind), *(["shape"] if kind in ("Input", "Output") else [])]:
            missing = name in ("input_shape", "shape") and name not in node
            if not missing and not says_nothing(name, node.get(name)):
                continue
            node.pop(name, None)
            if name in SIZES:
                node[name] = np.zeros(1, np.int64)
            yield path, name, missing


def _emptied(graph_dict: dict[str, Any], empty: list[tuple[str, str, bool]]) -> Iterator[Fault]:
    """What the fields that said nothing are now."""
    found = dict(nodes(graph_dict))
    for path, name, missing in empty:
        node = found[path]
        reason = f"`{name}` is there and says nothing"
        if missing:
            reason = f"`{name}` is missing; nir reads no {node['type']} without it"
        made = "field removed"
        if name in DEFAULTS:
            continue  # reported as missing
        if name in SIZES and not np.any(node[name]):
            del node[name]
            if missing or name == "shape":
                continue  # nothing says it; without a shape of its ports a graph is refused
        elif name in node:
            made = f"it is now {_declared(node[name])}"
        code = "missing-field" if missing else "empty-field"
        yield Fault("declared-shape" if name == "shape" else code, path, reason, made)


def _missing_fields(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    """Write out nir's default; `v_reset`, which nir 1.0.4 cannot read, stays out."""
    for path, node in nodes(graph_dict):
        weight = np.asarray(node.get("weight", ()))
        if node["type"] in ("Conv1d", "Conv2d") and "bias" not in node and weight.ndim > 2:
            node["bias"] = np.zeros(len(weight), weight.dtype)
            reason = f"`bias` is missing; nir reads no {node['type']} without it"
            yield Fault("missing-field", path, reason, "written as zeros")
        for name in sorted(set(_optional(node["type"])) & set(DEFAULTS)):
            if node.get(name) is not None:
                continue
            like = np.asarray(node.get("v_leak", DEFAULTS[name]))
            node[name] = np.full_like(like, DEFAULTS[name])
            reason = f"`{name}` is missing; nir takes {DEFAULTS[name]:g}"
            if name == "w_in":
                reason += "; Rockpool, which leaves it out, adds the whole input to its current"
            yield Fault("missing-field", path, reason, "written out")


def _declared_types(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    for path, group in [*graphs(graph_dict), *nodes(graph_dict)]:
        for name in ("input_type", "output_type"):
            if name in group and not (group["type"] == "Flatten" and name == "input_type"):
                del group[name]
                reason = f"carries `{name}`, which nir derives from the other fields"
                yield Fault("declared-type", path, reason, "field removed")


# ------------------------------------------------------------------------------------------- edges


def _edges(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    """Edges that are there twice, and edges across the border of a subgraph."""
    around: dict[str, tuple[str, dict[str, Any]]] = {"": ("", {"nodes": {}, "edges": []})}
    for path, part in graphs(graph_dict):
        for name, node in part["nodes"].items():
            if node["type"] == "NIRGraph":
                around[f"{path}.{name}" if path else name] = (name, part)
    known = _Known()
    for path, part in graphs(graph_dict):
        kept: dict[tuple[str, str], None] = {}
        times = Counter(part["edges"])
        for edge in part["edges"]:
            if edge in kept:
                if times[edge] > 1:
                    yield _duplicate(path, edge, times.pop(edge))
            elif all(end in part["nodes"] for end in edge):
                kept[edge] = None
            elif made := _across(edge, part, *around[path], known):
                better, reason = made
                if better is None or better in kept or better in known.edges(part):
                    yield Fault("dangling-edge", path, reason, f"edge {edge} removed")
                else:
                    kept[better] = None
                    yield Fault("dangling-edge", path, reason, f"edge {edge} is now {better}")
            else:
                kept[edge] = None  # not understood: the reference names it and refuses
        part["edges"] = list(kept)
        known.forget(part)


def _duplicate(path: str, edge: tuple[str, str], times: int) -> Fault:
    if times == 2:
        return Fault("duplicate-edge", path, f"edge {edge} is there twice", "one removed")
    reason = f"edge {edge} is there {times} times"
    return Fault("duplicate-edge", path, reason, f"{times - 1} removed")


class _Known:
    """Sets of the edges of graphs, and of what is connected to their ports; each is made once."""

    def __init__(self) -> None:
        self._edges: dict[int, set[tuple[str, str]]] = {}
        self._ports: dict[tuple[int, str], tuple[list[str], set[str]]] = {}

    def edges(self, part: dict[str, Any]) -> set[tuple[str, str]]:
        """Of a graph as it is now."""
        if id(part) not in self._edges:
            self._edges[id(part)] = {*part["edges"]}
        return self._edges[id(part)]

    def forget(self, part: dict[str, Any]) -> None:
        """A graph has other edges now."""
        self._edges.pop(id(part), None)

    def ports(self, part: dict[str, Any], kind: str) -> tuple[list[str], set[str]]:
        """The nodes of this type, and what leads to them, or what an Input leads to."""
        if (id(part), kind) not in self._ports:
            names = [name for name, node in part["nodes"].items() if node["type"] == kind]
            here, there = (1, 0) if kind == "Output" else (0, 1)
            near = {edge[there] for edge in part["edges"] if edge[here] in names[:1]}
            self._ports[id(part), kind] = names, near
        return self._ports[id(part), kind]


def _across(
    edge: tuple[str, str], part: dict[str, Any], own: str, outer: dict[str, Any], known: _Known
) -> tuple[tuple[str, str] | None, str] | None:
    """What an edge with an unknown end means: (the edge to have instead or None, why).

    `own` is what `part` is called in the graph `outer` around it.
    """
    source, target = _place(edge[0], part, own), _place(edge[1], part, own)
    if source and target:
        reason = f"edge {edge} names a node that is in a subgraph"
        (name, inner), (other, inner_other) = source, target
        if inner and inner_other:
            there = (inner, inner_other) in known.edges(part["nodes"][name])
            return (None, reason) if name == other and there else None
        if inner and not _at_port(part["nodes"][name], inner, "Output", known):
            return None
        if inner_other and not _at_port(part["nodes"][other], inner_other, "Input", known):
            return None
        return (name, other), reason
    ends = []
    for end in edge:
        inside = end in part["nodes"] or end == own or end.startswith(f"{own}.")
        ends.append(own if own and inside else end)
    if tuple(ends) in known.edges(outer):
        return None, f"edge {edge} belongs to the graph around this subgraph, which has it"
    return None


def _place(end: str, part: dict[str, Any], own: str) -> tuple[str, str] | None:
    """(node of this part, "") or (subgraph of this part, node in it) that an edge's end names."""
    if end in part["nodes"]:
        return end, ""
    if own and end.startswith(f"{own}.") and (short := end[len(own) + 1 :]) in part["nodes"]:
        return short, ""
    for at in (at for at, letter in enumerate(end[: MAX_NAME + 1]) if letter == "."):
        node = part["nodes"].get(end[:at])
        if node is not None and node["type"] == "NIRGraph":
            for inner in (end, end[at + 1 :]):
                if inner in node["nodes"]:
                    return end[:at], inner
    return None


def _at_port(sub: dict[str, Any], inner: str, kind: str, known: _Known) -> bool:
    """Whether a subgraph's node is its Input or Output, or the only one that is connected to it."""
    ports, near = known.ports(sub, kind)
    return len(ports) == 1 and (inner == ports[0] or near == {inner})


def _legacy(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    for path, part in list(graphs(graph_dict)):
        if not path:
            continue
        try:
            with warnings.catch_warnings(action="ignore"):
                rewired = modern(part, path)
        except GraphError:
            continue
        if rewired is not part:
            added = sorted(set(rewired["edges"]) - set(part["edges"]))
            removed = sorted(set(part["edges"]) - set(rewired["edges"]))
            part["edges"] = rewired["edges"]
            reason = f"legacy recurrent wiring: the input enters by {removed[0]}"
            yield Fault("legacy-wiring", path, reason, f"edge {removed[0]} is now {added[0]}")


def _renamed(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    """Edges to one name that is no node, and one node without an edge: it is meant."""
    for path, part in graphs(graph_dict):
        ends = {end for edge in part["edges"] for end in edge}
        unknown, loose = ends - set(part["nodes"]), set(part["nodes"]) - ends
        if len(unknown) != 1 or len(loose) != 1:
            continue
        (name,), (node,) = unknown, loose
        edges = [tuple(node if end == name else end for end in edge) for edge in part["edges"]]
        kind = part["nodes"][node]["type"]
        comes = any(target == node for _, target in edges)
        goes = any(source == node for source, _ in edges)
        if (comes, goes) == (kind != "Input", kind != "Output") and len(set(edges)) == len(edges):
            part["edges"] = edges
            reason = f"edges name `{name}`, which is no node, and `{node}` is in none"
            yield Fault("dangling-edge", path, reason, f"`{name}` in them is now `{node}`")


# ------------------------------------------------------------------------------------------ shapes


def _with_shapes(graph_dict: dict[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """A copy whose declared shapes and parameters agree, and what had to be changed for that.

    Where a graph has no meaning as it is and has one with the leading axis of 1 of its Inputs gone,
    that axis is a batch.
    """
    made = copy(graph_dict)
    faults = [*_shapes(made)]
    if means_something(made):
        return made, faults
    tried = copy(graph_dict)
    stripped = [*_without_batch(tried)]
    stripped += _shapes(tried) if stripped else []
    return (tried, stripped) if stripped and means_something(tried) else (made, faults)


def _without_batch(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    for name, node in graph_dict["nodes"].items():
        if node["type"] == "Input" and len(shape := _declared(node["shape"])) > 1 and shape[0] == 1:
            node["shape"] = np.array(shape[1:])
            reason = f"declares `shape` {shape}, whose first axis is a batch"
            yield Fault("batch-axis", name, reason, f"`shape` is now {shape[1:]}")


def planned(graph_dict: dict[str, Any]) -> Plan | GraphError:
    """The plan of a graph, without its warnings, or why `load` and the reference refuse it."""
    try:
        with warnings.catch_warnings(action="ignore"):
            return make_plan(graph_dict)
    except GraphError as error:
        return error


def means_something(graph_dict: dict[str, Any]) -> bool:
    """Whether `load` and the reference take the graph."""
    return isinstance(planned(graph_dict), Plan)


def _shapes(graph_dict: dict[str, Any]) -> Iterator[Fault]:
    """Walk along the edges from the Inputs; every node is made to agree with what arrives."""
    plan = Plan({}, [], [], [])
    with warnings.catch_warnings(action="ignore"):
        plan.inputs, plan.outputs = inline(graph_dict, "", plan, 0)
    originals = dict(nodes(graph_dict))
    targets, _ = neighbours(originals, plan.edges)

    def wanted(path: str, seen: frozenset[str] = frozenset()) -> set[Shape]:
        """The shapes that the nodes behind this one take, through the ports of subgraphs."""
        found: set[Shape] = set()
        for target in targets[path]:
            if originals[target]["type"] in ("Input", "Output") and target not in seen:
                found |= wanted(target, seen | {target})
            elif (shape := _wanted(originals[target])) is not None:
                found.add(shape)
        return found

    arrives: dict[str, Shape] = {}
    written = 0
    todo = []
    for path in plan.inputs:
        node = originals[path]
        shape = _declared(node["shape"])
        takers = wanted(path)
        found = takers.pop() if len(takers) == 1 else None
        # Axes of 1 too many, or sizes that say nothing.
        loose = found is not None and (len(shape) > len(found) or {*shape} <= {0, 1})
        if found is not None and loose and shape != found and _same_but_ones(shape, found):
            node["shape"] = np.array(found)
            if any(shape):  # a shape of 0 said nothing, which is reported as such
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
        takers = wanted(path)
        yield from _fit(path, node, shape, takers.pop() if len(takers) == 1 else None)
        # A file of kilobytes may have hundreds of nodes of millions of neurons.
        written += 8 * math.prod(shape) * sum(np.shape(value) == shape for value in node.values())
        claims = f"node `{path}`: the parameters of the graph take {written} bytes in float64"
        check_limit("bytes", written, claims, path)
        if (out := _result(node, shape)) is not None:  # else the reference names the mismatch
            todo += [(target, out) for target in targets[path]]


def _declared(value: Any) -> Shape:
    return tuple(int(n) for n in np.ravel(value))


def _same_but_ones(declared: Shape, shape: Shape) -> bool:
    """Whether a declared shape is one of a single number, or the same but for axes of size 1."""
    squeezed = [n for n in declared if n != 1]
    return not any(squeezed) or squeezed == [n for n in shape if n != 1]


def _ones_before(longer: Shape, shape: Shape) -> int:
    """How many leading axes of 1 `longer` has before it is `shape`; 0 where it is something else."""
    more = len(longer) - len(shape)
    return more if more > 0 and longer == (1,) * more + shape else 0


def _wanted(node: dict[str, Any]) -> Shape | None:
    """The shape that a node takes, as far as its own fields say so."""
    kind = node["type"]
    if kind in ("Linear", "Affine"):
        return (*node["weight"].shape[:-2], node["weight"].shape[-1])
    if kind in ("Conv1d", "Conv2d") and np.any(node.get("input_shape", 0)):
        groups = int(np.ravel(node["groups"])[0])
        return (node["weight"].shape[1] * groups, *_declared(node["input_shape"]))
    if EQUATIONS[kind].shape is same_shape:
        sizes = {np.shape(v) for n, v in node.items() if n not in ("type", "metadata")}
        full = {shape for shape in sizes if math.prod(shape) > 1}
        return full.pop() if len(full) == 1 else None
    return None


def _fit(path: str, node: dict[str, Any], shape: Shape, taken: Shape | None) -> Iterator[Fault]:
    """Make a node agree with the shape that arrives; `taken` is what the nodes behind it take."""
    kind = node["type"]
    if kind in ("Input", "Output"):
        yield from _declare(path, node, "shape", shape, taken == shape)
    elif kind == "Flatten":
        yield from _flatten(path, node, shape, taken)
    elif kind in ("Conv1d", "Conv2d"):
        yield from _declare(
            path, node, "input_shape", shape[1:], _conv_confirms(node, shape, taken)
        )
    yield from _without_ones(path, node, shape)
    if EQUATIONS[kind].shape is same_shape and math.prod(shape) <= MOST_WRITTEN_OUT:
        yield from _written_out(path, node, shape)


def _declare(
    path: str, node: dict[str, Any], name: str, shape: Shape, confirmed: bool
) -> Iterator[Fault]:
    """Put the shape that arrives where another one is declared and cannot be meant.

    `confirmed`: the node behind takes what arrives, so that two of three agree.
    """
    if node.get(name) is None or (declared := _declared(node[name])) == shape:
        return
    if not (_same_but_ones(declared, shape) or confirmed):
        return
    node[name] = np.array(shape)
    if not any(declared):
        return  # reported as a field that says nothing
    reason = f"declares `{name}` {declared}, but {shape} arrives"
    if confirmed and not _same_but_ones(declared, shape):
        reason += ", which the next node takes"
    yield Fault("declared-shape", path, reason, f"`{name}` is now {shape}")


def _conv_confirms(node: dict[str, Any], shape: Shape, taken: Shape | None) -> bool:
    """Whether a convolution's declared shape is (C, H, W) of what arrives, or its result is taken."""
    declared = _declared(node["input_shape"]) if node.get("input_shape") is not None else ()
    if _ones_before(declared, shape) or declared == shape:
        return True
    return taken is not None and _result({**node, "input_shape": None}, shape) == taken


def _result(node: dict[str, Any], shape: Shape) -> Shape | None:
    try:
        return tuple(int(n) for n in EQUATIONS[node["type"]].shape(node, shape))
    except (GraphError, ValueError, OverflowError):
        return None


def _flatten(path: str, node: dict[str, Any], shape: Shape, taken: Shape | None) -> Iterator[Fault]:
    """A Flatten whose declared shape, or whose start_dim and end_dim, count a batch axis.

    The node behind decides: it takes what the axes give as they are, or what they give without one.
    """
    plain = {name: value for name, value in node.items() if name != "input_type"}
    declared = _declared(node["input_type"]) if "input_type" in node else None
    batch = _ones_before(declared, shape) if declared else 0
    dims = _dims(plain, len(shape), batch or 1)
    as_it_is, shifted = _result(plain, shape), _result({**plain, **dims}, shape)
    if taken is not None:
        own = taken[_ones_before(taken, taken[-1:]) :]  # without a batch axis in its parameters
        if as_it_is == taken or (not batch and shifted != own):
            batch = 0
        elif shifted == own:
            batch, taken = batch or 1, own
    found = shifted if batch else as_it_is
    yield from _declare(path, node, "input_type", shape, taken is not None and found == taken)
    changed = {name: value for name, value in dims.items() if batch and value != _dim(node, name)}
    if changed:
        before = " and ".join(f"{name} {_dim(node, name)}" for name in changed)
        node.update({name: np.int64(value) for name, value in changed.items()})
        after = ", ".join(f"{name} is now {value}" for name, value in changed.items())
        verb = "counts" if len(changed) == 1 else "count"
        yield Fault("batch-axis", path, f"{before} {verb} an axis for a batch", after)


def _dim(node: dict[str, Any], name: str) -> int:
    return int(np.ravel(node[name])[0])


def _dims(node: dict[str, Any], rank: int, batch: int) -> dict[str, int]:
    """start_dim and end_dim, which count `batch` axes too many, for `rank` axes."""
    found = {}
    for name in ("start_dim", "end_dim"):
        given = _dim(node, name)
        axis = max(0, (given + rank if given < 0 else given - batch))
        found[name] = axis - rank if given < 0 else axis
    return found


def _without_ones(path: str, node: dict[str, Any], shape: Shape) -> Iterator[Fault]:
    """Parameters with a leading axis of 1, which is for a batch, where none arrives."""
    wanted: dict[str, Shape] = {}
    if EQUATIONS[node["type"]].shape is same_shape:
        wanted = {n: shape for n, v in node.items() if np.size(v) > 1 and n != "metadata"}
    elif node["type"] in ("Linear", "Affine"):
        weight = node["weight"].shape
        weight = weight[_ones_before((*weight[:-2], weight[-1]), shape) :]
        wanted = {"weight": weight, "bias": weight[:-1]}
    wrong = {n: w for n, w in wanted.items() if n in node and _ones_before(np.shape(node[n]), w)}
    if not wrong:
        return
    before = sorted({np.shape(node[name]) for name in wrong})
    node.update({name: np.reshape(node[name], to) for name, to in wrong.items()})
    names = ", ".join(f"`{name}`" for name in wrong)
    reason = f"{names} of shape {' and '.join(map(str, before))} have an axis for a batch"
    after = " and ".join(str(to) for to in sorted(set(wrong.values())))
    yield Fault("batch-axis", path, reason, f"now {after}")


def _written_out(path: str, node: dict[str, Any], shape: Shape) -> Iterator[Fault]:
    single = [
        name
        for name, value in node.items()
        if name not in ("type", "metadata") and _spreads(np.shape(value), shape)
    ]
    if not single:
        return
    before = {np.shape(node[name]) for name in single}
    for name in single:
        value = np.asarray(node[name])
        value = value.reshape(()) if value.size == 1 else value
        node[name] = np.broadcast_to(value, shape)  # in no memory until it is written
    names = ", ".join(f"`{name}`" for name in single)
    reason = f"{names} of shape {' and '.join(map(str, sorted(before)))} where {shape} arrives"
    yield Fault("scalar-parameter", path, reason, f"written out to {shape}")


def _spreads(given: Shape, shape: Shape) -> bool:
    """Whether parameters are one number for all of `shape`, or one along axes of theirs that are 1."""
    if given == shape or math.prod(given) == 1:
        return given != shape
    return len(given) == len(shape) and all(n in (1, m) for n, m in zip(given, shape, strict=True))


def spiking(graph_dict: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The nodes that spike and then reset: those whose contract says how."""
    for path, node in nodes(graph_dict):
        equation = EQUATIONS.get(node["type"])
        if equation and equation.spikes and "v_threshold" in node:
            yield path, node
