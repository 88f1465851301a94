"""The plan of a graph: without nesting, checked, and in the order in which one step runs through it.

A graph here is a plain dictionary, the form of `nir.NIRGraph.to_dict()` and of the HDF5 file:
`{"type": "NIRGraph", "nodes": {name: {"type": ..., field: array}}, "edges": [(from, to)],
"metadata": {}}`.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import (
    DEFAULTS,
    DISCRETIZATIONS,
    ENDLESS,
    EQUATIONS,
    GAINS,
    RESETS,
    Node,
    as_array,
    exact_node,
    graph_error,
    node_error,
    per_channel,
    same_shape,
    says_nothing,
    text,
)

CONTRACT_VERSION = 2
# What files without a contract call Euler's step; other names may mean more than one step.
EULER = ("euler", "forward_euler", "forward euler", "explicit_euler")
FLOAT32 = float(np.finfo(np.float32).max)


@dataclass
class Plan:
    """A graph without nesting, and the order in which one step runs through it.

    `sources[path]` lists (source, closes): where each node's input comes from, and whether the edge
    closes a cycle. `shapes[path]` is the shape that leaves a node and `arrives[path]` the one that comes
    in, without the batch axis. `quiet` orders the nodes without state, for the time before the start.
    """

    nodes: dict[str, Node]
    edges: list[tuple[str, str]]
    inputs: list[str]
    outputs: list[str]
    order: list[str] = field(default_factory=list)
    sources: dict[str, list[tuple[str, bool]]] = field(default_factory=dict)
    shapes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    arrives: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    quiet: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether a step is the exact solution, not Euler's; `settled` turns the one into the other."""
        return bool(self.metadata.get("discretization") == "exact")


def make_plan(
    graph: Mapping[str, Any], reset: Any = None, discretization: str | None = None
) -> Plan:
    """Flatten, check and order a graph.

    Args:
        graph: see the module's docstring.
        reset: one of `RESETS` for every neuron, or a mapping from node path to one; overrides the
            contract.
        discretization: one of `DISCRETIZATIONS`; overrides the contract.

    Raises:
        ValueError: anything that would leave a node, edge or field without meaning.
    """
    plan = Plan({}, [], [], [])
    plan.inputs, plan.outputs = inline(graph, "", plan, 0)
    plan.metadata = _metadata(graph, "the graph", "")
    check_contract(plan.metadata)
    _set_discretization(plan.metadata, discretization)
    _foreign_step(plan)
    for path, node in plan.nodes.items():
        check_type(path, node["type"])
        _contract(path, node, reset)
        _check_fields(path, node)
    if isinstance(reset, Mapping):
        for path in reset:
            if "reset" not in plan.nodes.get(path, {}):
                what = "no neuron that resets" if path in plan.nodes else "no node of the graph"
                raise GraphError(f"`reset` names `{path}`, which is {what}", code="reset")
    _check_reach(plan)
    set_order(plan)
    _infer_shapes(plan)
    return plan


def check_type(path: str, kind: Any) -> None:
    """Refuse a kind of node that has no equation."""
    if kind not in EQUATIONS:
        shown = kind[:80] if isinstance(kind, str) else kind
        what = f"unknown type {shown!r}; known are {', '.join(sorted(EQUATIONS))}"
        raise node_error(path, what, "unknown-type", "type")


def inline(graph: Any, prefix: str, plan: Plan, depth: int) -> tuple[list[str], list[str]]:
    """Put the nodes and edges of `graph` and its subgraphs into `plan` under dotted paths."""
    own = prefix[:-1]
    check_limit("depth", depth, f"subgraph `{own}` is nested {depth} deep", own)
    if not isinstance(graph, Mapping) or "nodes" not in graph or "edges" not in graph:
        what = " is no NIR graph: `nodes` or `edges` is missing"
        raise graph_error(own, what, "no-graph")
    nodes = graph["nodes"]
    if not isinstance(nodes, Mapping):
        what = f": `nodes` must map names to nodes, got {type(nodes).__name__}"
        raise graph_error(own, what, "field-value", "nodes")
    if not nodes:
        raise graph_error(own, " is empty: it has no nodes", "no-graph")
    edges = _edges(graph, own)
    ports: dict[str, tuple[list[str], list[str]]] = {}
    inner_ends: list[str] = []
    for name, node in nodes.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise graph_error(own, f": {name!r} names a node; printable text is needed", "name")
        path = prefix + name
        kind = node.get("type") if isinstance(node, Mapping) else None
        if kind is None:
            raise GraphError(
                f"node `{path}` has no `type`", node=path, field="type", code="missing-field"
            )
        if kind == "NIRGraph":
            ports[name] = inline(modern(node, path), path + ".", plan, depth + 1)
        else:
            if path in plan.nodes:
                raise node_error(path, "two nodes have this path", "name")
            # A graph that nests shared subgraphs can name far more than it holds.
            check_limit("nodes", len(plan.nodes) + 1, "there are too many nodes", own)
            plan.nodes[path] = dict(node)
            ports[name] = ([path], [path])
        if depth and kind in ("Input", "Output"):
            inner_ends.append(path)
    for source, target in edges:
        leaving, arriving = ports[source][1], ports[target][0]
        for what, found, at in (("Output", leaving, source), ("Input", arriving, target)):
            if len(found) != 1:
                edge = f"edge ({source!r}, {target!r}) in {f'subgraph `{own}`' if own else 'the graph'}"
                has = f"subgraph `{prefix}{at}` has {len(found)} {what} nodes, exactly 1 is needed"
                raise GraphError(f"{edge}: {has}", node=prefix + at, code="ports")
        plan.edges.append((leaving[0], arriving[0]))
    check_limit("edges", len(plan.edges), f"there are {len(plan.edges)} edges", "")
    inputs, outputs = (
        [prefix + name for name, node in nodes.items() if node["type"] == kind]
        for kind in ("Input", "Output")
    )
    return inputs, outputs


def _edges(graph: Mapping[str, Any], path: str) -> list[tuple[str, str]]:
    if not isinstance(graph["edges"], (list, tuple, set, np.ndarray)):
        what = f": `edges` must be a list of pairs, got {type(graph['edges']).__name__}"
        raise graph_error(path, what, "field-value", "edges")
    found: dict[tuple[str, str], None] = {}
    for edge in graph["edges"]:
        row = isinstance(edge, (list, tuple)) or np.ndim(edge) == 1
        if not row or len(edge) != 2:
            what = f": edge {edge!r} is no pair of node names"
            raise graph_error(path, what, "field-value", "edges")
        source, target = (str(text(end)) for end in edge)
        for end in (source, target):
            if end not in graph["nodes"]:
                what = (
                    f": edge ({source!r}, {target!r}) names `{repr(end)[1:-1]}`, which is no node"
                )
                raise graph_error(path, what, "dangling-edge", "edges")
        if (source, target) in found:
            what = f": duplicate edge ({source!r}, {target!r})"
            raise graph_error(path, what, "duplicate-edge", "edges")
        found[source, target] = None
    return list(found)


def modern(graph: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Read the legacy recurrent wiring `input -> w_rec` as `input -> neuron`, with a warning."""
    kinds = {name: node.get("type") for name, node in graph.get("nodes", {}).items()}
    entry = [name for name, kind in kinds.items() if kind == "Input"]
    exits = [name for name, kind in kinds.items() if kind == "Output"]
    weights = [name for name, kind in kinds.items() if kind in ("Linear", "Affine")]
    cells = [n for n in kinds if n not in entry + exits + weights]
    if not (len(kinds) == 4 and len(entry) == len(exits) == len(weights) == len(cells) == 1):
        return graph
    (i,), (w,), (c,), (o,) = entry, weights, cells, exits
    edges = set(_edges(graph, path))
    if edges != {(i, w), (w, c), (c, w), (c, o)}:
        return graph
    message = f"subgraph `{path}` has the legacy wiring {i} -> {w}; it is read as {i} -> {c}"
    warnings.warn(message, UserWarning, stacklevel=2)
    return {**graph, "edges": [(i, c), (w, c), (c, w), (c, o)]}


def _metadata(node: Mapping[str, Any], where: str, path: str) -> dict[str, Any]:
    """The metadata of a graph or node, text as str."""
    found = node.get("metadata")
    if found is not None and not isinstance(found, Mapping):
        what = f"{where}: `metadata` must be a mapping, got {type(found).__name__}"
        raise GraphError(what, node=path, field="metadata", code="field-value")
    return {key: text(value) for key, value in (found or {}).items()}


def check_contract(metadata: Mapping[str, Any]) -> None:
    """Refuse a contract that this version does not understand.

    Raises:
        GraphError: a newer contract, another flatten order, or a dt that is no step.
    """
    if "dt" in metadata:
        positive_number(metadata["dt"], "the contract's `dt`")
    version = metadata.get("contract_version")
    if version is None:
        return
    if not 1 <= single_number(version) <= CONTRACT_VERSION:
        what = f"contract_version is {version!r}; this reader knows up to {CONTRACT_VERSION}"
        raise GraphError(what, node="", field="contract_version", code="contract")
    for name, allowed in (("flatten_order", "CHW"), ("output_order", "HWC")):
        value = metadata.get(name, allowed)
        if not isinstance(value, str) or value != allowed:
            what = f"{name} is {metadata[name]!r}; only {allowed} is known"
            raise GraphError(what, node="", field=name, code="contract")


def _set_discretization(metadata: dict[str, Any], given: str | None) -> None:
    """Put one of `DISCRETIZATIONS` where the metadata says another, or where the caller does.

    Raises:
        GraphError: a contract says none of them, or `exact` in version 1, whose readers step by Euler.
    """

    def refuse(what: str) -> GraphError:
        return GraphError(what, node="", field="discretization", code="contract")

    known = ", ".join(DISCRETIZATIONS)
    if given is not None and given not in DISCRETIZATIONS:
        raise refuse(f"`discretization` must be one of {known}, got {given!r}")
    said = metadata.get("discretization")
    version = metadata.get("contract_version")
    if given is not None:
        metadata["discretization"] = given
    elif version is not None and said is not None:
        if not isinstance(said, str) or said not in DISCRETIZATIONS:
            raise refuse(f"discretization is {said!r:.60}; {known} are known")
        if said == "exact" and single_number(version) < 2:
            raise refuse("discretization exact needs contract_version 2, but the file says 1")
    elif said is not None and not (isinstance(said, str) and said in DISCRETIZATIONS):
        plain = isinstance(said, str) and said.lower() in EULER
        if not plain:
            message = f"discretization {said!r:.60} of the file is not known: read as euler"
            warnings.warn(message, UserWarning, stacklevel=3)
        metadata["discretization"] = "euler"


def _foreign_step(plan: Plan) -> None:
    """Put the `dt` of a file without contract into the graph's metadata where other keys give it.

    Some writers give every node the same `dt`; sc-neurocore's Studio gives it as JSON, in ms.
    """
    metadata = plan.metadata
    if "contract_version" in metadata or "dt" in metadata:
        return
    own = [_metadata(node, f"node `{path}`", path) for path, node in plan.nodes.items()]
    steps = {single_number(found["dt"]) for found in own if "dt" in found}
    if len(steps) == 1 and all(1e-30 < step < 1e30 for step in steps):
        metadata["dt"] = steps.pop()
    try:
        studio = parse_json(metadata.get("sc_neurocore.studio", ""))
        step = single_number(studio["dt"]) if studio["time_unit"] == "ms" else np.nan
    except (ValueError, TypeError, KeyError):
        return
    if not steps and 1e-30 < step < 1e30:
        metadata |= {"dt": step, "time_unit": "ms"}


def _contract(path: str, node: Node, reset: Any) -> None:
    """Move the node's own contract (`reset`, `spike_delay`, `v_init`) beside its fields."""

    def refuse(name: str, value: Any, what: str) -> GraphError:
        return node_error(path, f"{name} {value!r} is {what}", "contract", name)

    contract = _metadata(node, f"node `{path}`", path)
    node.pop("metadata", None)
    node.pop("name", None)
    equation = EQUATIONS[node["type"]]
    if equation.spikes and "v_threshold" in node:
        rule = contract.get("reset", "v_reset")
        if isinstance(reset, Mapping):
            rule = reset.get(path, rule)
        elif reset is not None:
            rule = reset
        if not isinstance(rule, str) or rule not in RESETS:
            raise refuse("reset", rule, f"none of {', '.join(RESETS)}")
        node["reset"] = rule
        delay = contract.get("spike_delay", 0)
        if single_number(delay) not in (0, 1):
            raise refuse("spike_delay", delay, "neither 0 nor 1")
        node["spike_delay"] = int(single_number(delay))
        if node.get("v_reset") is None:
            node["v_reset"] = np.zeros_like(np.asarray(node["v_threshold"], np.float64))
    if "v_leak" in node and "v_init" in contract:
        start = contract["v_init"]
        if not isinstance(start, str) or start not in ("zero", "v_leak"):
            raise refuse("v_init", start, "neither zero nor v_leak")
        node["v_init"] = start


def _check_fields(path: str, node: Node) -> None:
    """Nothing missing, nothing that would be ignored, every number finite, time constants above 0."""
    kind = node["type"]
    names = EQUATIONS[kind].names
    own = {"type", "reset", "spike_delay", "v_init"}

    def refuse(what: str, name: str, code: str = "field-value") -> GraphError:
        return node_error(path, what, code, name, kind)

    for name, optional in names.items():
        if optional and says_nothing(name, node.get(name)):
            del node[name]
        if node.get(name) is None and name in DEFAULTS:
            node[name] = np.asarray(DEFAULTS[name])
        if not optional and node.get(name) is None:
            raise refuse(f"the field `{name}` is missing", name, "missing-field")
    for name, value in node.items():
        if name not in names and name not in own:
            what = f"the field `{name}` has no meaning here; remove it"
            raise refuse(what, name, "unknown-field")
        if value is None or name in own:
            continue
        if name == "padding" and isinstance(value, (str, bytes)):
            node[name] = text(value)
            continue
        if name == "input_type" and isinstance(value, Mapping):
            value = value.get("input")
        node[name] = array = _numbers(value, path, name, kind)
        if array.size == 0:
            raise refuse(f"`{name}` is empty, shape {array.shape}", name, "empty-field")
        # Without a copy of a large array: its ends, of which NaN is one where there is one.
        with np.errstate(invalid="ignore"):
            low, high = array.min(), array.max()
        if not -FLOAT32 <= low <= high <= FLOAT32:
            _check_large(array[~_endless(path, node, name)], array, name, refuse)
        if name.startswith("tau") and not low > 0:
            raise refuse(f"`{name}` holds {low}; a time constant is above 0", name)
    _warn_of_endless(node, f"{kind} node `{path}`")


def _check_large(
    finite: np.ndarray, array: np.ndarray, name: str, refuse: Callable[[str, str], GraphError]
) -> None:
    """Refuse a field with a number that float32 lacks; `finite` has those that must be numbers."""
    if finite.dtype.kind == "f" and not np.isfinite(finite).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        what = f"`{name}` holds {array[place]} at {place}; finite numbers are needed"
        raise refuse(what, name)
    if np.abs(finite, dtype=np.float64).max(initial=0) > FLOAT32:
        largest = finite.flat[np.argmax(np.abs(finite))]
        raise refuse(f"`{name}` holds {largest}, more than float32 can", name)


def _endless(path: str, node: Mapping[str, Any], name: str) -> np.ndarray:
    """Where the field `name` is infinite because a membrane or current does not leak.

    A time constant may be; and the factor that belongs to it, at the same places.
    """
    field = node[name]
    infinite = field == np.inf if field.dtype.kind == "f" else np.zeros(field.shape, bool)
    if name in GAINS or not infinite.any():
        return infinite & (name in GAINS)
    for tau in (tau for tau, gain in GAINS.items() if gain == name and tau in node):
        leaks = _numbers(node[tau], path, tau, node["type"])
        if leaks.shape in ((), (1,), field.shape):
            return infinite & (leaks == np.inf)
    return np.zeros(field.shape, bool)


def _warn_of_endless(node: Mapping[str, Any], where: str) -> None:
    """Say how a neuron is read whose time constant is infinite."""
    for tau, gain in GAINS.items():
        if tau in node and gain in node and np.max(node[tau]) == np.inf:
            how = "infinite, too: its input counts once"
            if np.max(node[gain]) != np.inf:
                how = "finite: its input has no effect"
            message = f"{where}: `{tau}` is infinite, so nothing leaks; `{gain}` is {how}"
            warnings.warn(message, UserWarning, stacklevel=4)


def settled(plan: Plan, dt: float) -> Plan:
    """The plan with finite numbers in place of infinite ones, see `settled_node`, in Euler steps."""
    nodes = {path: settled_node(node, dt) for path, node in plan.nodes.items()}
    if not plan.exact:
        return dataclasses.replace(plan, nodes=nodes)
    nodes = {path: exact_node(node, dt) for path, node in nodes.items()}
    metadata = {**plan.metadata, "discretization": "euler"}
    return dataclasses.replace(plan, nodes=nodes, metadata=metadata)


def settled_node(node: Mapping[str, Any], dt: float) -> dict[str, Any]:
    """A node with finite numbers in place of an infinite tau whose r is infinite, too.

    That is how frameworks write a decay of 1: tau = dt / (1 - decay) and r = tau/dt, or w_in for a
    current. Nothing leaks and the input counts once. Where r is finite, dt/tau * r is 0 as it is.
    """
    node = dict(node)
    contract = {**(node.get("metadata") or {}), **node}
    for tau, gain in GAINS.items():
        if tau in node and gain in node:
            endless = (np.asarray(node[tau]) == np.inf) & (np.asarray(node[gain]) == np.inf)
            if endless.any():
                node[tau] = np.where(endless, ENDLESS * dt, node[tau])
                node[gain] = np.where(endless, ENDLESS, node[gain])
                if gain == "r" and text(contract.get("v_init")) != "v_leak":
                    node["v_leak"] = np.where(endless, 0.0, node["v_leak"])
    return node


def _numbers(value: Any, path: str, name: str, kind: str) -> np.ndarray:
    try:
        array = as_array(value, f"`{name}`")
    except GraphError as error:
        raise node_error(path, str(error), "field-value", name, kind) from None
    if array.dtype.kind not in "buif":
        shown = repr(value) if isinstance(value, str) else f"{array.dtype}"
        what = f"`{name}` holds {shown}, numbers are needed"
        raise node_error(path, what, "field-value", name, kind)
    return array


def check_dt(plan: Plan, dt: float) -> None:
    """Euler's step must not be longer than a time constant: dt/tau at most 1. An exact step may be.

    Raises:
        GraphError: names the node and the largest dt that is allowed. A file's float32 may put a
            tau of exactly dt up to one part in 2^23 below it; that counts as equal.
    """
    for path, problem in too_long(plan, dt):
        meant = step_meant(plan, dt)
        raise GraphError(f"{problem}; {meant}", node=path, code="dt-too-large")


def too_long(plan: Plan, dt: float) -> Iterator[tuple[str, str]]:
    """The nodes with a time constant shorter than dt, and what is to be said of each.

    None where the step is exact, which has no such limit.
    """
    if plan.exact:
        return
    shortest = {}
    for path, node in plan.nodes.items():
        if taus := [(float(np.min(v)), name) for name, v in node.items() if name.startswith("tau")]:
            shortest[path] = min(taus)
    for path, (tau, name) in shortest.items():
        if tau * (1 + 2**-22) < dt:
            where, least = f"{plan.nodes[path]['type']} node `{path}`", min(shortest.values())[0]
            longer = f"dt = {dt:g} is longer than {name} = {tau:g}"
            yield path, f"{where}: {longer}; the largest dt allowed is {least:g}"


def step_meant(plan: Plan, dt: float) -> str:
    """What to do where dt is too long: which step known programs mean by such gains."""
    gains, made, spyx, taus = [], set(), set(), []
    for node in plan.nodes.values():
        taus += [float(np.min(value)) for name, value in node.items() if name.startswith("tau")]
        if "r" in node:
            r = np.asarray(node["r"], np.float64)
            tau = np.asarray(node.get("tau", node.get("tau_mem", 1.0)), np.float64)
            r, tau = (np.ravel(array) for array in np.broadcast_arrays(r, tau))
            r, tau = (array[np.isfinite(r) & np.isfinite(tau)] for array in (r, tau))
            gains.append(r)
            made |= {f"{step:.6g}" for step in tau[r > 1] / r[r > 1]}
            spyx |= {f"{step:.5g}" for step in tau * (1 - r)}
    every = np.concatenate(gains) if gains else np.zeros(0)
    if every.size and (every == 1).all() and dt * dt <= min(taus):
        return (
            "if Norse 1.1.0 wrote it, whose tau is dt/tau_mem_inv, `upgrade --writer norse-1.1.0 "
            f"--dt {dt:g}` writes what is meant; where all neurons are LIF and LI, "
            f"dt*dt = {dt * dt:g} runs as Norse does"
        )
    if (every >= 1).all() and len(made) == 1:
        return f"if r is tau/dt, as snnTorch writes it, dt = {made.pop()} is meant"
    if ((every > 0) & (every < 1)).all() and len(spyx) == 1:
        return (
            f"if r is 1 - dt/tau, as spyx.nir 1.0.0 writes by mistake, dt = {spyx.pop()} is meant"
        )
    return "only the dt of the training gives the spikes of the training"


def _check_reach(plan: Plan) -> None:
    """Refuse a node that is on no path from an Input to an Output."""
    for ends, what in ((plan.inputs, "Input"), (plan.outputs, "Output")):
        if not ends:
            raise GraphError(f"the graph has no {what} node", node="", code="ports")
    forward, backward = neighbours(plan.nodes, plan.edges)
    for path in plan.inputs:
        if backward[path]:
            what = f"an edge leads from `{backward[path][0]}` into Input `{path}`"
            raise GraphError(what, node=path, code="ports")
    for path in plan.outputs:
        if forward[path]:
            what = f"an edge leads out of Output `{path}` to `{forward[path][0]}`"
            raise GraphError(what, node=path, code="ports")
    reached, useful = _reach(plan.inputs, forward), _reach(plan.outputs, backward)
    for path, node in plan.nodes.items():
        if path not in reached or path not in useful:
            lacks = "leads to no Output" if path in reached else "cannot be reached from an Input"
            what = f"{node['type']} node `{path}` {lacks}; remove it or connect it"
            raise GraphError(what, node=path, code="unconnected")


Neighbours = dict[str, list[str]]


def neighbours(
    nodes: Iterable[str], edges: Iterable[tuple[str, str]]
) -> tuple[Neighbours, Neighbours]:
    """The targets of each node's edges, and the sources of those that lead to it."""
    targets: Neighbours = {path: [] for path in nodes}
    sources: Neighbours = {path: [] for path in targets}
    for source, target in edges:
        targets[source].append(target)
        sources[target].append(source)
    return targets, sources


def _reach(start: list[str], forward: Mapping[str, list[str]]) -> set[str]:
    seen, todo = set(start), list(start)
    while todo:
        for nxt in forward[todo.pop()]:
            if nxt not in seen:
                seen.add(nxt)
                todo.append(nxt)
    return seen


def set_order(plan: Plan) -> None:
    """Find the edges that close cycles, and an order for the rest.

    A cycle is closed where the signal from outside enters it: inside every strongly connected part
    the edges into the nodes that are fed from outside carry the previous output; then the same again
    for what is still cyclic. That depends neither on names nor on the order of edges. The spike of a
    neuron with `spike_delay` 1 was decided in the step before, so its edges close nothing.
    """
    stateful = {p: EQUATIONS[n["type"]].stateful for p, n in plan.nodes.items()}
    ready = {path for path, node in plan.nodes.items() if node.get("spike_delay")}
    # A Delay of 0 carries nothing from one step to the next.
    idle = {p for p, n in plan.nodes.items() if not stateful[p] or not np.all(n.get("delay", 1))}
    open_edges = [e for e in plan.edges if e[0] in idle and e[1] in idle]
    loops = {source for source, target in open_edges if source == target}
    for part in components(idle, open_edges):
        if len(part) > 1 or part[0] in loops:
            raise GraphError(
                f"cycle without state through {', '.join(f'`{p}`' for p in sorted(part))}: nothing "
                "in it carries a value from one step to the next; put a neuron or a Delay into it",
                node=min(part),
                code="cycle",
            )
    stateless = [e for e in plan.edges if not stateful[e[0]] and not stateful[e[1]]]
    parts = components([p for p in plan.nodes if not stateful[p]], stateless)
    edges = [edge for edge in plan.edges if edge[0] not in ready]
    closing = _closing(plan, edges)
    plan.sources = {path: [] for path in plan.nodes}
    for source, target in plan.edges:
        plan.sources[target].append((source, (source, target) in closing))
    for found in plan.sources.values():
        found.sort()
    free = [edge for edge in edges if edge not in closing]
    plan.quiet = [part[0] for part in parts if part[0] not in plan.inputs]
    plan.order = [part[0] for part in components(plan.nodes, free)]


def _closing(plan: Plan, edges: list[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those of `edges` that close a cycle, see `set_order`."""
    closing: set[tuple[str, str]] = set()
    work = 0
    # A part of the graph, the edges inside it, and all edges that lead into it.
    todo: list[tuple[Iterable[str], list[tuple[str, str]], list[tuple[str, str]]]]
    todo = [(plan.nodes, edges, plan.edges)]
    while todo:
        inside, within, into = todo.pop()
        work += len(within)
        check_limit("cycles", work, "the graph has cycles in cycles in cycles", "")
        parts = components(inside, within)
        place = {path: number for number, part in enumerate(parts) for path in part}
        rings: dict[int, list[tuple[str, str]]] = {}
        for edge in within:
            if place[edge[0]] == place[edge[1]]:
                rings.setdefault(place[edge[0]], []).append(edge)
        arriving: dict[int, list[tuple[str, str]]] = {number: [] for number in rings}
        for edge in into:
            if place[edge[1]] in rings:
                arriving[place[edge[1]]].append(edge)
        for number, ring in rings.items():
            fed = {t for s, t in arriving[number] if place.get(s) != number} or {*parts[number]}
            closing |= {edge for edge in ring if edge[1] in fed}
            left = [edge for edge in ring if edge[1] not in fed]
            todo.append((parts[number], left, arriving[number]))
    return closing


def components(nodes: Any, edges: list[tuple[str, str]]) -> list[list[str]]:
    """Strongly connected parts, sources first (Tarjan 1972, without recursion), by sorted names."""
    after, _ = neighbours(sorted(nodes), sorted(edges, reverse=True))
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    on_stack: set[str] = set()
    parts: list[list[str]] = []
    for root in sorted(after, reverse=True):
        if root in index:
            continue
        work = [(root, iter(after[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            path, targets = work[-1]
            for target in targets:
                if target not in index:
                    index[target] = low[target] = len(index)
                    stack.append(target)
                    on_stack.add(target)
                    work.append((target, iter(after[target])))
                    break
                if target in on_stack:
                    low[path] = min(low[path], index[target])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[path])
                if low[path] == index[path]:
                    part = []
                    while True:
                        member = stack.pop()
                        on_stack.discard(member)
                        part.append(member)
                        if member == path:
                            break
                    parts.append(part)
    return parts[::-1]


def _infer_shapes(plan: Plan) -> None:
    """Shapes along the edges, from the inputs on; a sum needs equal shapes."""
    targets, _ = neighbours(plan.nodes, plan.edges)
    todo = []
    for path in plan.inputs:
        sizes = np.ravel(plan.nodes[path]["shape"])
        if (sizes != np.floor(sizes)).any() or min(sizes) < 1:
            allowed = "sizes must be whole numbers of 1 or more"
            what = f"Input node `{path}` has shape {tuple(sizes.tolist())}, {allowed}"
            raise GraphError(what, node=path, field="shape", code="field-value")
        shape = tuple(int(n) for n in sizes)
        plan.arrives[path] = plan.shapes[path] = shape
        todo.append(path)
    while todo:
        source = todo.pop()
        shape = plan.shapes[source]
        for path in targets[source]:
            if path in plan.arrives:
                if plan.arrives[path] != shape:
                    other = f"{plan.arrives[path]} from elsewhere"
                    what = f"shape mismatch, {shape} arrives from `{source}` and {other}"
                    raise node_error(path, what, "shape-mismatch")
                continue
            node = plan.nodes[path]
            try:
                result = EQUATIONS[node["type"]].shape(node, shape)
            except GraphError as error:
                raise error.within(f"{node['type']} node `{path}`", node=path) from None
            plan.arrives[path] = shape
            plan.shapes[path] = tuple(int(n) for n in result)
            if EQUATIONS[node["type"]].shape is same_shape:
                node |= {
                    name: np.broadcast_to(value, shape)
                    for name, value in node.items()
                    if isinstance(value, np.ndarray) and per_channel(value.shape, shape)
                }
            todo.append(path)


def step_dt(plan: Plan, dt: float | None) -> float:
    """The step: `dt`, else the contract's; where both are given they must agree.

    Raises:
        GraphError: neither is given, they differ, or dt is no finite number above 0.
    """
    own = plan.metadata.get("dt")
    if dt is None and own is None:
        raise dt_error(
            "`dt` is in no contract of this graph: give it, in the unit of the time constants"
        )
    step = positive_number(own if dt is None else dt, "`dt`")
    if own is not None and abs(step / positive_number(own, "`dt`") - 1) > 2**-22:
        stated = f"the contract's dt = {single_number(own)!r}"
        raise dt_error(f"dt = {step:g} differs from {stated}: give that one, or none")
    return step


def dt_error(what: str) -> GraphError:
    """The error of a graph's step."""
    return GraphError(what, node="", field="dt", code="dt")


def parse_json(text: Any) -> Any:
    """JSON from a file's metadata.

    Raises:
        TypeError, ValueError: it is none, or nested too deep for a reader by recursion.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deep") from None


def positive_number(value: Any, where: str) -> float:
    """A finite number above 0, so that float32 holds it and its inverse."""
    number = single_number(value)
    if not (np.isfinite(number) and number > 0):
        raise dt_error(f"{where} must be a finite number above 0, got {value!r:.60}")
    if not 1e-30 < number < 1e30:
        raise dt_error(f"{where} must be between 1e-30 and 1e30, got {value!r}")
    return number


def single_number(value: Any) -> float:
    """A single number, alone or in an array; NaN for anything else, truth values included."""
    scalar = isinstance(value, (int, float, np.generic, np.ndarray))
    array = np.asarray(value if scalar else "")
    return float(array.ravel()[0]) if array.size == 1 and array.dtype.kind in "uif" else np.nan
