"""Two graphs node by node where their names differ: which node of one is which of the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.meaning.plan import Plan

Colours = dict[str, int]


def match(a: Plan, b: Plan) -> dict[str, str] | None:
    """For every node of `a` the one of `b` in its place; None where the structures differ.

    Nodes are told apart by their type, their shapes and their neighbours, these by theirs, and so on
    (colour refinement; Weisfeiler and Leman 1968). Where that leaves a choice, such as between two equal
    branches, equal parameters go together, then equal names, then the order in the file.
    """
    if len(a.nodes) != len(b.nodes) or len(a.edges) != len(b.edges):
        return None
    one, other = _refined(a, b)
    found: dict[str, str] = {}
    for path in a.nodes:
        if path in found:
            continue
        of_a, of_b = ([p for p, c in side.items() if c == one[path]] for side in (one, other))
        if len(of_a) != len(of_b):
            return None
        found[path] = _closest(path, a.nodes[path], of_b, b.nodes)
        if len(of_a) > 1:  # the choice tells the neighbours apart: refine anew with it
            one[path] = other[found[path]] = -1 - len(found)
            one, other = _refined(a, b, one, other)
    edges = {(found[source], found[target]) for source, target in a.edges}
    return found if edges == set(b.edges) else None


def _refined(
    a: Plan, b: Plan, start_a: Colours | None = None, start_b: Colours | None = None
) -> tuple[Colours, Colours]:
    """Colours of the nodes of two plans that no neighbour tells apart any more, one scale for both."""
    names: dict[Any, int] = {}

    def coloured(plan: Plan, signs: Mapping[str, Any]) -> Colours:
        return {path: names.setdefault(signs[path], len(names)) for path in plan.nodes}

    sides = [(a, start_a), (b, start_b)]
    colours = [
        coloured(plan, {p: _sign(plan, p, start[p] if start else 0) for p in plan.nodes})
        for plan, start in sides
    ]
    while True:
        before = len(set(colours[0].values()) | set(colours[1].values()))
        names = {}
        signs = [_with_neighbours(plan, of) for (plan, _), of in zip(sides, colours, strict=True)]
        colours = [coloured(plan, sign) for (plan, _), sign in zip(sides, signs, strict=True)]
        if len(names) == before:
            return colours[0], colours[1]


def _sign(plan: Plan, path: str, start: int) -> tuple[Any, ...]:
    return plan.nodes[path]["type"], plan.arrives[path], plan.shapes[path], start


def _with_neighbours(plan: Plan, colours: Colours) -> dict[str, tuple[Any, ...]]:
    sources: dict[str, list[int]] = {path: [] for path in plan.nodes}
    targets: dict[str, list[int]] = {path: [] for path in plan.nodes}
    for source, target in plan.edges:
        sources[target].append(colours[source])
        targets[source].append(colours[target])
    return {
        path: (colours[path], tuple(sorted(sources[path])), tuple(sorted(targets[path])))
        for path in plan.nodes
    }


def _closest(
    path: str, node: Mapping[str, Any], candidates: list[str], nodes: Mapping[str, Any]
) -> str:
    """The candidate with the same parameters, else of the same name, else the first."""
    for candidate in sorted(candidates, key=lambda name: name != path):
        if all(np.array_equal(value, nodes[candidate].get(name)) for name, value in node.items()):
            return candidate
    return path if path in candidates else candidates[0]
