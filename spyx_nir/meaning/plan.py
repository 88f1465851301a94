"""The plan of a graph: without nesting, checked, and in the order in which one step runs through it.

A graph here is a plain dictionary, the form of `nir.NIRGraph.to_dict()` and of the HDF5 file:
`{"type": "NIRGraph", "nodes": {name: {"type": ..., field: array}}, "edges": [(from, to)],
"metadata": {}}`.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import (
    DEFAULTS,
    ENDLESS,
    EQUATIONS,
    GAINS,
    RESETS,
    Node,
    as_array,
    says_nothing,
    text,
)

CONTRACT_VERSION = 1
# More than any network of ours; a file that nests shared subgraphs can name far more than it holds.
MOST_NODES = 100_000
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


def make_plan(graph: Mapping[str, Any], reset: Any = None) -> Plan:
    """Flatten, check and order a graph.

    Args:
        graph: see the module's docstring.
        reset: one of `RESETS` for every neuron, or a mapping from node path to one; overrides the
            contract.

    Raises:
        ValueError: anything that would leave a node, edge or field without meaning.
    """
    plan = Plan({}, [], [], [])
    plan.inputs, plan.outputs = inline(graph, "", plan, 0)
    plan.metadata = _metadata(graph, "the graph", "")
    check_contract(plan.metadata)
    for path, node in plan.nodes.items():
        if node["type"] not in EQUATIONS:
            raise GraphError(
                f"node `{path}`: unknown type {node['type']!r}; known are "
                f"{', '.join(sorted(EQUATIONS))}",
                node=path,
                field="type",
                code="unknown-type",
            )
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


def inline(graph: Any, prefix: str, plan: Plan, depth: int) -> tuple[list[str], list[str]]:
    """Put the nodes and edges of `graph` and its subgraphs into `plan` under dotted paths."""
    where = f"subgraph `{prefix[:-1]}`" if prefix else "the graph"
    if depth > 16:
        raise GraphError(f"{where}: nested more than 16 deep", node=prefix[:-1], code="too-large")
    if not isinstance(graph, Mapping) or "nodes" not in graph or "edges" not in graph:
        raise GraphError(
            f"{where} is no NIR graph: `nodes` or `edges` is missing",
            node=prefix[:-1],
            code="no-graph",
        )
    nodes = graph["nodes"]
    if not isinstance(nodes, Mapping):
        raise GraphError(
            f"{where}: `nodes` must map names to nodes, got {type(nodes).__name__}",
            node=prefix[:-1],
            field="nodes",
            code="field-value",
        )
    if not nodes:
        raise GraphError(f"{where} is empty: it has no nodes", node=prefix[:-1], code="no-graph")
    edges = _edges(graph, where, prefix[:-1])
    ports: dict[str, tuple[list[str], list[str]]] = {}
    inner_ends: list[str] = []
    for name, node in nodes.items():
        if not isinstance(name, str) or not name or not name.isprintable():
            raise GraphError(
                f"{where}: {name!r} names a node; printable text is needed",
                node=prefix[:-1],
                code="name",
            )
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
                raise GraphError(f"node `{path}`: two nodes have this path", node=path, code="name")
            if len(plan.nodes) == MOST_NODES:
                raise GraphError(
                    f"{where}: there are more than {MOST_NODES} nodes", code="too-large"
                )
            plan.nodes[path] = dict(node)
            ports[name] = ([path], [path])
        if depth and kind in ("Input", "Output"):
            inner_ends.append(path)
    for source, target in edges:
        leaving, arriving = ports[source][1], ports[target][0]
        for what, found, at in (("Output", leaving, source), ("Input", arriving, target)):
            if len(found) != 1:
                raise GraphError(
                    f"edge ({source!r}, {target!r}) in {where}: subgraph `{prefix}{at}` has "
                    f"{len(found)} {what} nodes, exactly 1 is needed",
                    node=prefix + at,
                    code="ports",
                )
        plan.edges.append((leaving[0], arriving[0]))
    kinds = {name: nodes[name]["type"] for name in nodes}
    return (
        [prefix + name for name, kind in kinds.items() if kind == "Input"],
        [prefix + name for name, kind in kinds.items() if kind == "Output"],
    )


def _edges(graph: Mapping[str, Any], where: str, path: str) -> list[tuple[str, str]]:
    seen: set[tuple[str, str]] = set()
    result = []
    if not isinstance(graph["edges"], (list, tuple, set, np.ndarray)):
        raise GraphError(
            f"{where}: `edges` must be a list of pairs, got {type(graph['edges']).__name__}",
            node=path,
            field="edges",
            code="field-value",
        )
    for edge in graph["edges"]:
        row = isinstance(edge, (list, tuple)) or np.ndim(edge) == 1
        if not row or len(edge) != 2:
            raise GraphError(
                f"{where}: edge {edge!r} is no pair of node names",
                node=path,
                field="edges",
                code="field-value",
            )
        source, target = (str(text(end)) for end in edge)
        for end in (source, target):
            if end not in graph["nodes"]:
                raise GraphError(
                    f"{where}: edge ({source!r}, {target!r}) names `{repr(end)[1:-1]}`, which is no node",
                    node=path,
                    field="edges",
                    code="dangling-edge",
                )
        if (source, target) in seen:
            raise GraphError(
                f"{where}: duplicate edge ({source!r}, {target!r})",
                node=path,
                field="edges",
                code="duplicate-edge",
            )
        seen.add((source, target))
        result.append((source, target))
    return result


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
    edges = set(_edges(graph, f"subgraph `{path}`", path))
    if edges != {(i, w), (w, c), (c, w), (c, o)}:
        return graph
    warnings.warn(
        f"subgraph `{path}` has the legacy wiring {i} -> {w}; it is read as {i} -> {c}",
        UserWarning,
        stacklevel=2,
    )
    return {**graph, "edges": [(i, c), (w, c), (c, w), (c, o)]}


def _metadata(node: Mapping[str, Any], where: str, path: str) -> dict[str, Any]:
    """The metadata of a graph or node, text as str."""
    found = node.get("metadata")
    if found is not None and not isinstance(found, Mapping):
        raise GraphError(
            f"{where}: `metadata` must be a mapping, got {type(found).__name__}",
            node=path,
            field="metadata",
            code="field-value",
        )
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
        raise GraphError(
            f"contract_version is {version!r}; this reader knows up to {CONTRACT_VERSION}",
            node="",
            field="contract_version",
            code="contract",
        )
    for name, allowed in (("flatten_order", "CHW"), ("output_order", "HWC")):
        value = metadata.get(name, allowed)
        if not isinstance(value, str) or value != allowed:
            raise GraphError(
                f"{name} is {metadata[name]!r}; only {allowed} is known",
                node="",
                field=name,
                code="contract",
            )


def _contract(path: str, node: Node, reset: Any) -> None:
    """Move the node's own contract (`reset`, `spike_delay`, `v_init`) beside its fields."""
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
            raise GraphError(
                f"node `{path}`: reset {rule!r} is none of {', '.join(RESETS)}",
                node=path,
                field="reset",
                code="contract",
            )
        node["reset"] = rule
        delay = contract.get("spike_delay", 0)
        if single_number(delay) not in (0, 1):
            raise GraphError(
                f"node `{path}`: spike_delay {delay!r} is neither 0 nor 1",
                node=path,
                field="spike_delay",
                code="contract",
            )
        node["spike_delay"] = int(single_number(delay))
        if node.get("v_reset") is None:
            node["v_reset"] = np.zeros_like(np.asarray(node["v_threshold"], np.float64))
    if "v_leak" in node and "v_init" in contract:
        start = contract["v_init"]
        if not isinstance(start, str) or start not in ("zero", "v_leak"):
            raise GraphError(
                f"node `{path}`: v_init {start!r} is neither zero nor v_leak",
                node=path,
                field="v_init",
                code="contract",
            )
        node["v_init"] = start


def _check_fields(path: str, node: Node) -> None:
    """Nothing missing, nothing that would be ignored, every number finite, time constants above 0."""
    kind = node["type"]
    where = f"{kind} node `{path}`"
    words = EQUATIONS[kind].fields.split()
    own = {"type", "reset", "spike_delay", "v_init"}
    allowed = {word.rstrip("?") for word in words} | own

    def refuse(what: str, name: str, code: str) -> GraphError:
        return GraphError(f"{where}: {what}", node=path, field=name, code=code)

    for word in words:
        name = word.rstrip("?")
        if word != name and says_nothing(name, node.get(name)):
            del node[name]
        if node.get(name) is None and name in DEFAULTS:
            node[name] = np.asarray(DEFAULTS[name])
        if word == name and node.get(name) is None:
            raise refuse(f"the field `{name}` is missing", name, "missing-field")
    for name, value in node.items():
        if name not in allowed:
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
        finite = array[~_endless(path, node, name)]
        if finite.dtype.kind == "f" and not np.isfinite(finite).all():
            what = f"`{name}` holds {_first_bad(array)}; finite numbers are needed"
            raise refuse(what, name, "field-value")
        if np.abs(finite, dtype=np.float64).max(initial=0) > FLOAT32:
            what = f"`{name}` holds {_largest(finite)}, more than float32 can"
            raise refuse(what, name, "field-value")
        if name.startswith("tau") and not (array > 0).all():
            what = f"`{name}` holds {array.min()}; a time constant is above 0"
            raise refuse(what, name, "field-value")
    _warn_of_endless(node, where)


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
        if tau in node and gain in node and np.isinf(node[tau]).any():
            how = "infinite, too: its input counts once"
            if not np.isinf(node[gain]).any():
                how = "finite: its input has no effect"
            message = f"{where}: `{tau}` is infinite, so nothing leaks; `{gain}` is {how}"
            warnings.warn(message, UserWarning, stacklevel=4)


def settled(plan: Plan, dt: float) -> Plan:
    """The plan with finite numbers in place of infinite ones, see `settled_node`."""
    nodes = {path: settled_node(node, dt) for path, node in plan.nodes.items()}
    return dataclasses.replace(plan, nodes=nodes)


def settled_node(node: Mapping[str, Any], dt: float) -> dict[str, Any]:
    """A node with finite numbers in place of an infinite tau whose r is infinite, too.

    That is how frameworks write a decay of 1: tau = dt / (1 - decay) and r = tau/dt, or w_in for a
    current. Nothing leaks and the input counts once. Where r is finite, dt/tau * r is 0 as it stands.
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
    where = f"{kind} node `{path}`: `{name}`"
    try:
        array = as_array(value, where)
    except GraphError as error:
        raise GraphError(str(error), node=path, field=name, code="field-value") from None
    if array.dtype.kind not in "buif":
        shown = repr(value) if isinstance(value, str) else f"{array.dtype}"
        raise GraphError(
            f"{where} holds {shown}, numbers are needed", node=path, field=name, code="field-value"
        )
    return array


def _largest(array: np.ndarray) -> Any:
    return array.flat[np.argmax(np.abs(array))]


def _first_bad(array: np.ndarray) -> str:
    place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return f"{array[place]} at {place}"


def check_dt(plan: Plan, dt: float) -> None:
    """Euler's step must not be longer than a time constant: dt/tau at most 1.

    Raises:
        GraphError: names the node and the largest dt that is allowed. A file's float32 may put a
            tau of exactly dt up to one part in 2^23 below it; that counts as equal.
    """
    for path, problem in too_long(plan, dt):
        meant = step_meant(plan, dt)
        raise GraphError(f"{problem}; {meant}", node=path, code="dt-too-large")


def too_long(plan: Plan, dt: float) -> Iterator[tuple[str, str]]:
    """The nodes with a time constant shorter than dt, and what is to be said of each."""
    shortest = {}
    for path, node in plan.nodes.items():
        if taus := [(float(np.min(v)), name) for name, v in node.items() if name.startswith("tau")]:
            shortest[path] = min(taus)
    for path, (tau, name) in shortest.items():
        if tau * (1 + 2**-22) < dt:
            kind, least = plan.nodes[path]["type"], min(shortest.values())[0]
            yield (
                path,
                f"{kind} node `{path}`: dt = {dt:g} is longer than {name} = {tau:g}; the largest dt "
                f"allowed is {least:g}",
            )


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
    """Every node lies on a way from an input to an output."""
    for ends, what in ((plan.inputs, "Input"), (plan.outputs, "Output")):
        if not ends:
            raise GraphError(f"the graph has no {what} node", node="", code="ports")
    forward: dict[str, list[str]] = {path: [] for path in plan.nodes}
    backward: dict[str, list[str]] = {path: [] for path in plan.nodes}
    for source, target in plan.edges:
        forward[source].append(target)
        backward[target].append(source)
    for path in plan.inputs:
        if backward[path]:
            raise GraphError(
                f"an edge leads from `{backward[path][0]}` into Input `{path}`",
                node=path,
                code="ports",
            )
    for path in plan.outputs:
        if forward[path]:
            raise GraphError(
                f"an edge leads out of Output `{path}` to `{forward[path][0]}`",
                node=path,
                code="ports",
            )
    reached, useful = _reach(plan.inputs, forward), _reach(plan.outputs, backward)
    for path, node in plan.nodes.items():
        what = f"{node['type']} node `{path}`"
        if path not in reached:
            raise GraphError(
                f"{what} cannot be reached from an Input; remove it or connect it",
                node=path,
                code="unconnected",
            )
        if path not in useful:
            raise GraphError(
                f"{what} leads to no Output; remove it or connect it",
                node=path,
                code="unconnected",
            )


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
    idle = [p for p, n in plan.nodes.items() if not stateful[p] or not np.all(n.get("delay", 1))]
    open_edges = [e for e in plan.edges if e[0] in idle and e[1] in idle]
    for part in components(idle, open_edges):
        if len(part) > 1 or (part[0], part[0]) in open_edges:
            raise GraphError(
                f"cycle without state through {', '.join(f'`{p}`' for p in sorted(part))}: nothing "
                "in it carries a value from one step to the next; put a neuron or a Delay into it",
                node=min(part),
                code="cycle",
            )
    stateless = [e for e in plan.edges if not stateful[e[0]] and not stateful[e[1]]]
    parts = components([p for p in plan.nodes if not stateful[p]], stateless)
    edges = [edge for edge in plan.edges if edge[0] not in ready]
    closing: set[tuple[str, str]] = set()
    todo = [list(plan.nodes)]
    while todo:
        inside = set(todo.pop())
        within = [e for e in edges if e not in closing and e[0] in inside and e[1] in inside]
        for part in components(inside, within):
            members = set(part)
            ring = [e for e in within if e[0] in members and e[1] in members]
            if not ring:
                continue
            entries = {t for s, t in plan.edges if t in members and s not in members} or members
            closing |= {edge for edge in ring if edge[1] in entries}
            todo.append(part)
    plan.sources = {path: [] for path in plan.nodes}
    for source, target in plan.edges:
        plan.sources[target].append((source, (source, target) in closing))
    for found in plan.sources.values():
        found.sort()
    free = [edge for edge in edges if edge not in closing]
    plan.quiet = [part[0] for part in parts if part[0] not in plan.inputs]
    plan.order = [part[0] for part in components(plan.nodes, free)]


def components(nodes: Any, edges: list[tuple[str, str]]) -> list[list[str]]:
    """Strongly connected parts, sources first (Tarjan 1972, without recursion), by sorted names."""
    after: dict[str, list[str]] = {path: [] for path in sorted(nodes)}
    for source, target in sorted(edges, reverse=True):
        after[source].append(target)
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
    targets: dict[str, list[str]] = {path: [] for path in plan.nodes}
    for source, target in plan.edges:
        targets[source].append(target)
    todo = []
    for path in plan.inputs:
        sizes = np.ravel(plan.nodes[path]["shape"])
        if (sizes != np.floor(sizes)).any() or min(sizes) < 1:
            raise GraphError(
                f"Input node `{path}` has shape {tuple(sizes.tolist())}, sizes must be whole "
                "numbers of 1 or more",
                node=path,
                field="shape",
                code="field-value",
            )
        shape = tuple(int(n) for n in sizes)
        plan.arrives[path] = plan.shapes[path] = shape
        todo.append(path)
    while todo:
        source = todo.pop()
        shape = plan.shapes[source]
        for path in targets[source]:
            if path in plan.arrives:
                if plan.arrives[path] != shape:
                    raise GraphError(
                        f"node `{path}`: shape mismatch, {shape} arrives from `{source}` and "
                        f"{plan.arrives[path]} from elsewhere",
                        node=path,
                        code="shape-mismatch",
                    )
                continue
            node = plan.nodes[path]
            try:
                result = EQUATIONS[node["type"]].shape(node, shape)
            except GraphError as error:
                error.code = error.code or "shape-mismatch"
                raise error.within(f"{node['type']} node `{path}`", node=path) from None
            plan.arrives[path] = shape
            plan.shapes[path] = tuple(int(n) for n in result)
            todo.append(path)


def step_dt(plan: Plan, dt: float | None) -> float:
    """The step: `dt`, else the contract's; where both are given they must agree.

    Raises:
        GraphError: neither is given, they differ, or dt is no finite number above 0.
    """
    own = plan.metadata.get("dt")
    if dt is None and own is None:
        raise GraphError(
            "`dt` is in no contract of this graph: give it, in the unit of the time constants",
            node="",
            field="dt",
            code="dt",
        )
    step = positive_number(own if dt is None else dt, "`dt`")
    if own is not None and abs(step / positive_number(own, "`dt`") - 1) > 2**-22:
        raise GraphError(
            f"dt = {step:g} differs from the contract's dt = {single_number(own)!r}: give that one, or "
            "none",
            node="",
            field="dt",
            code="dt",
        )
    return step


def positive_number(value: Any, where: str) -> float:
    """A finite number above 0, so that float32 holds it and its inverse."""
    number = single_number(value)
    if not (np.isfinite(number) and number > 0):
        raise GraphError(
            f"{where} must be a finite number above 0, got {value!r:.60}", field="dt", code="dt"
        )
    if not 1e-30 < number < 1e30:
        raise GraphError(
            f"{where} must be between 1e-30 and 1e30, got {value!r}", field="dt", code="dt"
        )
    return number


def single_number(value: Any) -> float:
    """A single number, alone or in an array; NaN for anything else, truth values included."""
    scalar = isinstance(value, (int, float, np.generic, np.ndarray))
    array = np.asarray(value if scalar else "")
    return float(array.ravel()[0]) if array.size == 1 and array.dtype.kind in "uif" else np.nan
