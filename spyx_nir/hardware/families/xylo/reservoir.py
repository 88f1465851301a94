"""What Xylo's hidden neurons, its reservoir, can hold of a graph's links."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.families.xylo.simulator import REACHES, ordered
from spyx_nir.hardware.findings import Finding, against
from spyx_nir.hardware.topology import Link, Topology


def check(graph: Topology, profile: Profile) -> tuple[list[dict[str, Any]], list[Finding]]:
    """See `Family.place`; the chip has no cores."""
    links = [link for link in graph.links if len(graph.weights(link)) == 1]  # others are reported
    found = [*_straight(graph, links, profile), *_doubled(graph, links, profile)]
    if len(links) == len(graph.links):
        found += [*_hidden_synapses(graph, profile), *_reach(graph, profile)]
    return [], found


def _values(graph: Topology, link: Link) -> np.ndarray:
    """(targets, sources)."""
    return np.asarray(graph.plan.nodes[graph.weights(link)[0]]["weight"])


def _straight(graph: Topology, links: list[Link], profile: Profile) -> Iterator[Finding]:
    key = "graph.input_to_output"
    for link in links:
        if link.source in graph.plan.inputs and link.target in graph.outputs and not profile[key]:
            (node,) = graph.weights(link)
            why = (
                f"`{node}` leads from the input `{link.source}` straight to the output `{link.target}`; "
                "the target has weights to hidden neurons and from them"
            )
            fix = "leave it out, or train with hidden neurons in between"
            limit = "hidden neurons in between"
            yield against(
                profile, key, "wiring", link.target, why, fix, number=link.source, limit=limit
            )


def _doubled(graph: Topology, links: list[Link], profile: Profile) -> Iterator[Finding]:
    for (source, target), count in Counter((link.source, link.target) for link in links).items():
        if count > 1:
            why = f"{count} matrices lead from `{source}` to `{target}`, the target has one"
            fix = "add them into one"
            yield against(profile, "graph.nodes", "wiring", target, why, fix, number=count, limit=1)


def _hidden_synapses(graph: Topology, profile: Profile) -> Iterator[Finding]:
    key = "limits.hidden_synapses"
    counts = {
        graph.weights(link)[0]: int(np.count_nonzero(_values(graph, link)))
        for link in graph.links
        if link.source not in graph.plan.inputs and link.target not in graph.outputs
    }
    used, most = sum(counts.values()), profile[key]
    if most is not None and used > most:
        largest = max(counts, key=lambda node: counts[node])
        why = f"{used} weights between hidden neurons, at most {most}"
        fix = f"prune them, or make hidden layers smaller: {used - most} too many"
        yield against(profile, key, "hidden-synapses", largest, why, fix, number=used)


def _reach(graph: Topology, profile: Profile) -> Iterator[Finding]:
    """Hidden neurons that inputs do not reach, or that do not reach outputs, in any order of them."""
    hidden = [path for path in graph.populations if path not in graph.outputs]
    fed, read = ({path: np.zeros(graph.size(path), bool) for path in hidden} for _ in range(2))
    for link in graph.links:
        if link.source in graph.plan.inputs and link.target in fed:
            fed[link.target] |= (_values(graph, link) != 0).any(axis=1)
        elif link.source in read and link.target in graph.outputs:
            read[link.source] |= (_values(graph, link) != 0).any(axis=0)
    total = sum(map(graph.size, hidden))
    first, last = (min(total, profile[key] or total) for key in REACHES)
    if not hidden:
        return
    all_fed, all_read = np.concatenate([*fed.values()]), np.concatenate([*read.values()])
    if ordered(all_fed, all_read, first, last) is not None:
        return
    for key, which, most, what, fix in (
        (REACHES[0], fed, first, "get input", "put a layer of as many neurons in front"),
        (REACHES[1], read, last, "lead to an output", "put a layer of as many neurons behind"),
    ):
        count = sum(int(part.sum()) for part in which.values())
        if count > most:
            largest = max(which, key=lambda path: which[path].sum())
            why = f"{count} hidden neurons {what}, at most {most}: {count - most} too many"
            code = key.removeprefix("limits.").replace("_", "-")
            yield against(profile, key, code, largest, why, fix, number=count)
    both, most = int((all_fed & all_read).sum()), max(0, first + last - total)
    if all_fed.sum() <= first and all_read.sum() <= last:
        why = (
            f"{both} of {total} hidden neurons get input and lead to an output; inputs reach the first "
            f"{first} and outputs the last {last}, which is {most} in common: {both - most} too many"
        )
        fix = "use fewer hidden neurons, or feed some layers and read others"
        largest = max(hidden, key=lambda path: (fed[path] & read[path]).sum())
        yield against(profile, REACHES[0], "reach", largest, why, fix, number=both, limit=most)
