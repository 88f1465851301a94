"""What of a graph the generated C and Verilog have; the rest is refused with its place."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

from spyx_nir.errors import UserError
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.families.integer.c_code import most_events
from spyx_nir.hardware.findings import Finding, against
from spyx_nir.hardware.topology import Topology

MOST_AXES = 3


def check_profile(profile: Profile) -> None:
    """Refuse numbers that the generated code does not have."""
    for key, most in (("weights.bits", 8), ("state.bits", 24)):
        if profile[key] > most:
            raise UserError(f"`{key}` is {profile[key]}; the generated code has {most} at most")
    for key, value in (
        ("neuron.decay", "fraction"), ("neuron.decay_bits", 12), ("neuron.compare", ">"),
        ("neuron.bias", False), ("neuron.threshold_per", "layer"), ("weights.scale_per", "layer"),
        ("state.overflow", "saturate"), ("state.floor", "none"), ("neuron.spikes_per_step", 1),
    ):  # fmt: skip
        if profile[key] != value:
            raise UserError(f"`{key}` is {profile[key]!r}; the generated code has {value!r}")


def not_supported(graph: Topology, profile: Profile) -> Iterator[Finding]:
    """Errors, one for each place."""
    wrong = functools.partial(against, profile, "graph.nodes")
    for what, paths in (("input", graph.plan.inputs), ("output", graph.outputs)):
        if len(paths) > 1:
            why, fix = f"{len(paths)} {what}s: {', '.join(paths)}", f"have one {what}"
            yield wrong("wiring", paths[1], why, fix, number=len(paths), limit=1)
    for path in (*graph.plan.inputs, *graph.populations):
        axes = len(graph.plan.shapes[path])
        if axes > MOST_AXES:
            why, fix = f"{axes} axes", "have (channels, height, width) at most"
            yield wrong("axes", path, why, fix, number=axes, limit=MOST_AXES)
    for link in graph.links:
        if link.closes and link.source != link.target:
            why = f"`{link.source}` feeds it within a cycle of several populations"
            fix = "only a population that feeds itself is generated"
            yield wrong("recurrence", link.target, why, fix, number=link.source, limit=link.target)
    for path in graph.populations:
        delay = graph.plan.nodes[path].get("spike_delay", 0)
        if delay:
            why, fix = f"spikes are delayed by {delay}", "train without a delay"
            yield wrong("spike-delay", path, why, fix, number=delay, limit=0)
    yield from _too_many(graph, profile)


def _too_many(graph: Topology, profile: Profile) -> Iterator[Finding]:
    """Populations whose sums would leave 32 bits."""
    unit, most = 2 ** profile["state.threshold_shift"], 2 ** (profile["state.bits"] - 1) - 1
    for path in graph.populations:
        sources = [link.source for link in graph.into(path)]
        links = sum(source in graph.plan.inputs for source in sources)
        neurons = sum(graph.size(source) for source in sources if source not in graph.plan.inputs)
        inputs = sum(math.prod(graph.plan.shapes[source]) for source in graph.plan.inputs)
        room = most_events([(links, neurons)], unit, profile["weights.bits"], most)
        if room < (inputs if links else 0):
            total = neurons + links * inputs
            why = f"{total} neurons and inputs lead there: 32 bits do not hold every sum of their weights"
            yield against(
                profile, "weights.bits", "sum", path, why, "use fewer", number=total,
                limit="a sum within 32 bits",
            )  # fmt: skip
