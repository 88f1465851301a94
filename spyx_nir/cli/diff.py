"""`diff A B`: compare two files node by node and number by number."""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from spyx_nir.cli import show
from spyx_nir.converter import file
from spyx_nir.errors import UsageError
from spyx_nir.meaning.equations import says_nothing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", help="a .nir file")
    parser.add_argument("b", help="another one")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=0.0,
        help="largest absolute difference of numbers that counts as equal; default: 0",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "Compared are nodes, their fields, edges and contract; not: the type a number is stored in, "
        "the order\nof anything, or a field that says nothing or a `v_reset` of 0 that one file leaves "
        "out.\n\n"
        "exit code 0: equal; 1: different"
    )


def main(arguments: argparse.Namespace) -> int:
    if not arguments.tolerance >= 0:
        raise UsageError(f"--tolerance must be 0 or more, got {arguments.tolerance:g}")
    found = diff(file.read_dict(arguments.a), file.read_dict(arguments.b), arguments.tolerance)
    if arguments.json:
        show.as_json({"a": arguments.a, "b": arguments.b, "differences": found})
    else:
        show.table(("where", "what", "difference"), [list(row.values()) for row in found])
        verdict = show.count(len(found), "difference") if found else "equal"
        print(f"{arguments.a} and {arguments.b}: {verdict}")
    return int(bool(found))


def diff(a: dict[str, Any], b: dict[str, Any], tolerance: float = 0.0) -> list[dict[str, str]]:
    """Differences of two graphs' dictionaries: where (a path, "" the graph), what, difference."""
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
