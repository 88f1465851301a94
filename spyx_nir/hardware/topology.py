"""A graph as chips see it: populations of neurons, and links of one weight each between them."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from spyx_nir import neurobench
from spyx_nir.converter import file
from spyx_nir.converter.discretize import as_euler
from spyx_nir.errors import GraphError
from spyx_nir.limits import check_limit, limit
from spyx_nir.meaning.equations import EQUATIONS
from spyx_nir.meaning.plan import Plan, components, make_plan

WEIGHTS = ("Linear", "Affine", "Conv1d", "Conv2d")
SHAPING = ("SumPool2d", "AvgPool2d", "Flatten")


@dataclass(frozen=True)
class PlannedGraph:
    """A graph's dictionary, as `file.read_dict` gives it, and the plan of it."""

    content: dict[str, Any]
    plan: Plan


def planned(graph: Mapping[str, Any] | PlannedGraph, reset: str | None = None) -> PlannedGraph:
    """Plan a graph, in Euler steps; one that has its plan stays as it is.

    Args:
        graph: a graph's dictionary, or what this function returned.
        reset: how every neuron resets, whatever the file says; None leaves it.

    Raises:
        GraphError: the graph has no meaning, or an exact step that is none of Euler's, see `as_euler`.
    """
    if isinstance(graph, PlannedGraph):
        if reset is None:
            return graph
        graph = graph.content
    content = dict(graph) if reset is None else copy.deepcopy(dict(graph))
    for path, node in file.nodes(content):
        file.check_node(node, path)
        if reset is not None and EQUATIONS[node["type"]].spikes:
            node["metadata"] = {**node.get("metadata", {}), "reset": reset}
    plan = make_plan(content)
    if plan.exact:  # every chip here decays by Euler's steps
        content = as_euler(content)
        plan = make_plan(content)
    return PlannedGraph(content, plan)


@dataclass(frozen=True)
class Link:
    """How one population, or an input, reaches another, or an output.

    path: the nodes between source and target, from the source on. closes: it is part of a cycle of
    populations, whether or not a spike is delayed.
    """

    source: str
    target: str
    path: tuple[str, ...]
    closes: bool = False


@dataclass(frozen=True)
class Topology:
    """What a plan consists of.

    populations: nodes with state or spikes, sources before targets. links: by target.
    outputs: the populations that an Output shows. loose: links to an Output with a weight in between,
    and from an input straight to an Output.
    """

    plan: Plan
    populations: tuple[str, ...]
    links: tuple[Link, ...]
    outputs: tuple[str, ...]
    loose: tuple[Link, ...]

    def kind(self, path: str) -> str:
        """The NIR type of a node."""
        return self.plan.nodes[path]["type"]

    def size(self, path: str) -> int:
        """How many elements leave a node."""
        return math.prod(self.plan.shapes[path])

    def weights(self, link: Link) -> list[str]:
        """The weight nodes on a link, from the source on."""
        return [path for path in link.path if self.kind(path) in WEIGHTS]

    def into(self, path: str) -> list[Link]:
        """The links that end in a population."""
        return self._into.get(path, [])

    def out_of(self, path: str) -> list[Link]:
        """The links that start in a population or an input."""
        return self._out_of.get(path, [])

    @cached_property
    def _into(self) -> dict[str, list[Link]]:
        return _grouped(self.links, "target")

    @cached_property
    def _out_of(self) -> dict[str, list[Link]]:
        return _grouped(self.links, "source")

    def synapses(self, weight: str) -> int:
        """Connections of a weight node; see `spyx_nir.neurobench.synapses`."""
        plan = self.plan
        return neurobench.synapses(plan.nodes[weight], plan.arrives[weight])

    def fan(self, weight: str) -> tuple[int, int]:
        """The largest fan-in of an element behind a weight node and fan-out of one in front of it.

        A weight of 0 is no connection in a matrix; in a convolution every tap of the kernel counts.
        """
        array = np.asarray(self.plan.nodes[weight]["weight"])
        if self.kind(weight) in ("Linear", "Affine"):
            used = array != 0
            return int(used.sum(axis=-1).max()), int(used.sum(axis=-2).max())
        taps = math.prod(array.shape[2:])
        stride = np.broadcast_to(self.plan.nodes[weight]["stride"], array.ndim - 2)
        reached = [math.ceil(n / int(s)) for n, s in zip(array.shape[2:], stride, strict=True)]
        groups = int(np.ravel(self.plan.nodes[weight].get("groups", 1))[0])
        return array.shape[1] * taps, array.shape[0] // groups * math.prod(reached)


def _grouped(links: Iterable[Link], end: str) -> dict[str, list[Link]]:
    found: dict[str, list[Link]] = {}
    for link in links:
        found.setdefault(getattr(link, end), []).append(link)
    return found


def analyse(plan: Plan) -> Topology:
    """Populations and links of a plan.

    Raises:
        GraphError: sums of paths make more links than the limit `paths`.
    """
    neurons = {p for p, n in plan.nodes.items() if _is_population(n)}
    links: list[Link] = []
    loose: list[Link] = []
    outputs: list[str] = []
    ends = [path for path in plan.order if path in neurons]
    for target in [*ends, *plan.outputs]:
        for link in _back(plan, target, neurons):
            check_limit("paths", len(links) + len(loose) + 1, "too many paths between populations")
            if target in neurons:
                links.append(link)
            elif link.source in neurons and not any(
                plan.nodes[p]["type"] not in ("Input", "Output") for p in link.path
            ):
                outputs.append(link.source)
            else:
                loose.append(link)
    parts = components(
        ends, [(link.source, link.target) for link in links if link.source in neurons]
    )
    cycle = {path: number for number, part in enumerate(parts) for path in part}
    rank = {path: place for place, path in enumerate(plan.order)}
    order = [path for part in parts for path in sorted(part, key=rank.__getitem__)]
    linked = [_bare(plan, link, cycle.get(link.source) == cycle[link.target]) for link in links]
    return Topology(plan, tuple(order), tuple(linked), tuple(outputs), tuple(loose))


def _is_population(node: dict[str, Any]) -> bool:
    """A Delay is none: it is part of a link."""
    equation = EQUATIONS[node["type"]]
    return (equation.stateful or equation.spikes) and node["type"] != "Delay"


def _bare(plan: Plan, link: Link, closes: bool) -> Link:
    """A link without the Input and Output nodes of subgraphs, which do nothing."""
    kept = tuple(p for p in link.path if plan.nodes[p]["type"] not in ("Input", "Output"))
    return Link(link.source, link.target, kept, closes)


def _back(plan: Plan, target: str, neurons: set[str]) -> Iterator[Link]:
    """Every path that leads into `target`, back to the next population or input."""
    todo: list[tuple[str, tuple[str, ...]]] = [(target, ())]
    count = 0
    while todo:
        at, path = todo.pop()
        for source, _ in reversed(plan.sources[at]):
            if source in path:
                raise GraphError(f"`{source}` is on a cycle without neurons", node=source)
            count += 1
            if count > 10 * limit("paths"):
                check_limit("paths", count, f"too many paths lead into `{target}`", target)
            if source in neurons or source in plan.inputs:
                yield Link(source, target, path)
            else:
                todo.append((source, (source, *path)))
