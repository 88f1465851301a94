"""`diff A B`: compare two files node by node, number by number, and on data spike by spike."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir import recordings
from spyx_nir.cli import show
from spyx_nir.converter import file
from spyx_nir.converter.adapt import flat
from spyx_nir.converter.match import match
from spyx_nir.converter.repair import means_something
from spyx_nir.errors import UsageError, about
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import node_error, says_nothing
from spyx_nir.meaning.plan import Plan, make_plan


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help="a .nir file")
    parser.add_argument("b", help="another one")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="largest absolute difference of numbers that counts as equal; default: 0",
    )
    parser.add_argument("--data", help="also run both on this data, as `run` takes it")
    parser.add_argument(
        "--dt", type=show.step, help="the step of the runs; default: the contracts'"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser, "delay", "data", "steps")
    parser.epilog = (
        "Compared are nodes, their fields, edges and contract; not: the type a number is stored in, "
        "the order\nof anything, or a field that says nothing or a `v_reset` of 0 that one file leaves "
        "out.\nWhere names differ, nodes are matched by their types, shapes and edges, if all of them "
        "can be.\nWith --data the first difference is that of the earliest step; in it, of the node that "
        "runs first.\n\n"
        "exit code 0: equal; 1: different"
    )


def main(arguments: argparse.Namespace) -> int:
    if not arguments.tolerance >= 0:
        raise UsageError(f"--tolerance must be 0 or more, got {arguments.tolerance:g}")
    a, b = file.read_dict(arguments.a), file.read_dict(arguments.b)
    matched = matching(a, b)
    found = diff(a, b, arguments.tolerance, matched)
    runs = _runs(a, b, matched, arguments) if arguments.data else None
    if arguments.json:
        head: dict[str, Any] = {"a": arguments.a, "b": arguments.b, "differences": found}
        if matched is not None:
            head["matched"] = matched
        if runs is not None:
            head["runs"] = runs
        show.as_json(head)
    else:
        for one, other in (matched or {}).items():
            if one != other:
                show.say(f"matched: {one} = {other}")
        show.table(("where", "what", "difference"), [list(row.values()) for row in found])
        verdict = show.count(len(found), "difference") if found else "equal"
        show.say(f"{arguments.a} and {arguments.b}: {verdict}")
        if runs is not None:
            _print_runs(runs)
    return int(bool(found or (runs and runs["first"])))


def _print_runs(runs: dict[str, Any]) -> None:
    for path, counted in runs["nodes"].items():
        show.say(f"{path}: {counted['differing']} of {counted['entries']} differ")
    first = runs["first"]
    if first is None:
        show.say("on the data: the same")
        return
    place = f"step {first['step']}, sample {first['sample']}, neuron {tuple(first['neuron'])}"
    show.say(f"first: `{first['node']}`, {place}: {first['a']:g}, {first['b']:g}{first['why']}")


def matching(a: dict[str, Any], b: dict[str, Any]) -> dict[str, str] | None:
    """The nodes of B by those of A, subgraphs dissolved.

    None where the names are the same, where the structures differ, or where a graph has no meaning.
    """
    names_a, names_b = (sorted(path for path, _ in file.nodes(graph)) for graph in (a, b))
    if names_a == names_b:
        return None
    if not (means_something(a) and means_something(b)):
        return None
    return match(make_plan(flat(a)), make_plan(flat(b)))


def _runs(
    a: dict[str, Any], b: dict[str, Any], matched: dict[str, str] | None, arguments: Any
) -> dict[str, Any]:
    """Both files by the reference on the same data: what differs, and what differs first."""
    results = []
    plans = []
    data = None
    for name, graph in ((arguments.a, a), (arguments.b, b)):
        with about(name):
            plan = make_plan(graph)
            if data is None:
                shapes = {path: plan.shapes[path] for path in plan.inputs}
                data = recordings.read(arguments.data, shapes, None, plan.metadata).x
            else:
                data = {(matched or {}).get(path, path): x for path, x in data.items()}
            plans.append(plan)
            results.append(reference.run(plan, data, arguments.dt))
    one, other = results
    return compare(plans[0], one, other, matched or {})


def compare(
    plan: Plan, a: reference.Result, b: reference.Result, matched: Mapping[str, str]
) -> dict[str, Any]:
    """How two results differ: by node how many entries, and the first entry that does.

    Args:
        plan: of the first. matched: the second's paths by the first's, where they differ.

    Raises:
        GraphError: a node of the first has no counterpart that spikes or puts out the same shape.
    """
    counted: dict[str, dict[str, int]] = {}
    firsts: list[dict[str, Any]] = []
    order = {path: index for index, path in enumerate(plan.order)}
    for path in sorted({*a.spikes, *a.outputs}, key=order.__getitem__):
        other = matched.get(path, path)
        kind = "outputs" if path in a.outputs else "spikes"
        one, two = getattr(a, kind)[path], getattr(b, kind).get(other)
        if two is None or two.shape != one.shape:
            what = f"it has no counterpart of shape {one.shape[2:]} in the second file"
            raise node_error(path, what, "structure")
        differs = one != two
        counted[path] = {"differing": int(differs.sum()), "entries": differs.size}
        if differs.any():
            step, sample, *place = (int(i) for i in np.argwhere(differs)[0])
            at = (step, sample, *place)
            why = ""
            if path in a.membranes:
                u = a.membranes[path][at], b.membranes[other][at]
                why = f" spikes; membranes {u[0]:.9g}, {u[1]:.9g}"
            entry = {"node": path, "step": step, "sample": sample, "neuron": place}
            firsts.append({**entry, "a": float(one[at]), "b": float(two[at]), "why": why})
    first = min(firsts, key=lambda entry: (entry["step"], order[entry["node"]]), default=None)
    return {"nodes": counted, "first": first}


def diff(
    a: dict[str, Any],
    b: dict[str, Any],
    tolerance: float = 0.0,
    matched: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Differences of two graphs' dictionaries: where (a path, "" the graph), what, difference.

    `matched`: as `matching` gives it. Subgraphs are then dissolved, and B's nodes have A's names.
    """
    if matched is not None:
        a, b = flat(a), _renamed(flat(b), {other: one for one, other in matched.items()})
    found: list[dict[str, str]] = []

    def add(where: str, what: str, text: str) -> None:
        found.append({"where": where or "graph", "what": what, "difference": text})

    parts_a, parts_b = dict(file.graphs(a)), dict(file.graphs(b))
    nodes_a, nodes_b = dict(file.nodes(a)), dict(file.nodes(b))
    for path in sorted(set(parts_a) & set(parts_b)):
        one, other = parts_a[path], parts_b[path]
        for edge in sorted(set(one["edges"]) ^ set(other["edges"])):
            add(path, f"edge {edge[0]} -> {edge[1]}", f"only in {_where(edge in one['edges'])}")
        _fields(add, path, one, other, tolerance)
    for path in sorted(set(parts_a) ^ set(parts_b)):
        add(path, "subgraph", f"only in {_where(path in parts_a)}")
    for path in sorted(set(nodes_a) | set(nodes_b)):
        if path not in nodes_a or path not in nodes_b:
            kind = (nodes_a.get(path) or nodes_b[path])["type"]
            add(path, f"{kind} node", f"only in {_where(path in nodes_a)}")
        elif nodes_a[path]["type"] != nodes_b[path]["type"]:
            add(path, "type", f"{nodes_a[path]['type']}, {nodes_b[path]['type']}")
        else:
            _fields(add, path, nodes_a[path], nodes_b[path], tolerance)
    return found


def _renamed(graph: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    nodes = {names[name]: node for name, node in graph["nodes"].items()}
    edges = [(names[source], names[target]) for source, target in graph["edges"]]
    return {**graph, "nodes": nodes, "edges": edges}


def _where(in_a: bool) -> str:
    return "A" if in_a else "B"


def _fields(add: Any, path: str, a: dict[str, Any], b: dict[str, Any], tolerance: float) -> None:
    skipped = {"type", "nodes", "edges", "metadata"}
    pairs = [(n, n, a.get(n), b.get(n)) for n in sorted((set(a) | set(b)) - skipped)]
    metadata_a, metadata_b = a.get("metadata", {}), b.get("metadata", {})
    pairs += [
        (n, f"contract {n}", metadata_a.get(n), metadata_b.get(n))
        for n in sorted(set(metadata_a) | set(metadata_b))
    ]
    for name, what, *both in pairs:
        one, other = (None if says_nothing(name, value) else value for value in both)
        if one is None and other is None:
            continue
        if one is None or other is None:
            present = other if one is None else one
            if name == "v_reset" and file.is_number(present) and not np.any(present):
                continue
            add(path, what, f"only in {_where(one is not None)}")
        elif text := _difference(one, other, tolerance):
            add(path, what, text)


def _difference(a: Any, b: Any, tolerance: float) -> str:
    """In words how two values differ; "" where they do not."""
    if isinstance(a, dict) and isinstance(b, dict):
        inside = {
            name: _difference(a.get(name), b.get(name), tolerance) for name in sorted({*a, *b})
        }
        return "; ".join(f"{name}: {text}" for name, text in inside.items() if text)
    if not (file.is_number(a) and file.is_number(b)):
        same = type(a) is type(b) and np.array_equal(a, b)
        return "" if same else f"{_short(a)}, {_short(b)}"
    if np.shape(a) != np.shape(b):
        return f"shapes {show.shape(np.shape(a))}, {show.shape(np.shape(b))}"
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(one - other)
    equal = (one == other) | (np.isnan(one) & np.isnan(other)) | (apart <= tolerance)
    if equal.all():
        return ""
    if one.ndim == 0:
        return f"{one:.9g}, {other:.9g}"
    place = tuple(int(i) for i in np.argwhere(~equal)[0])
    return (
        f"{int((~equal).sum())} of {equal.size} values, by at most {np.nanmax(apart[~equal]):.3g}; "
        f"the first at {place}: {one[place]:.9g}, {other[place]:.9g}"
    )


def _short(value: Any) -> str:
    return f"{value!r:.60}"
