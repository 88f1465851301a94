"""How many of Loihi's cores a network needs at least, and what of them nobody checks.

A population is split over cores; each core holds the synapses into its neurons. Public numbers of a
core's memory are those of Loihi 1; of axons a core there is none for Loihi 2. The compiler of the
hardware, which is not public, has the last word.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from spyx_nir.hardware.facts import Check, Profile, or_null, whole
from spyx_nir.hardware.findings import Finding, against
from spyx_nir.hardware.topology import Topology

KEYS: dict[str, Check] = {
    "bias.bits": whole(2),
    "bias.exponent_bits": whole(0),
    "delay.steps": whole(0),
    "cores.number": whole(1),
    "cores.neurons": or_null(whole(1)),
    "cores.synapse_bits": or_null(whole(1)),
    "cores.input_axons": or_null(whole(1)),
    "cores.output_axons": or_null(whole(1)),
}


def place_on_cores(graph: Topology, profile: Profile) -> tuple[list[dict[str, Any]], list[Finding]]:
    """No rows, as the compiler chooses cores; how many are needed, and what is not checked."""
    needed = {path: _cores(graph, path, profile) for path in graph.populations}
    total, there, key = sum(needed.values()), profile["cores.number"], "cores.synapse_bits"
    parts = ", ".join(f"`{path}` {count}" for path, count in needed.items())
    why = f"at least {total} of {there} cores: {parts}"
    found = []
    if total > there:
        layer = max(needed, key=lambda path: needed[path])
        fix = "use fewer synapses, or a convolution, whose kernel its neurons share"
        found = [against(profile, key, "placement", layer, why, fix, number=total, limit=there)]
    elif needed:
        found = [
            against(
                profile, key, "placement", "", why, "", number=total, limit=there, severity="note"
            )
        ]
    return [], [*found, *_unchecked(graph, profile)]


def synapse_bits(graph: Topology, path: str, profile: Profile) -> int:
    """Bits of the weights into a population; a convolution's kernel counts once, a matrix's 0 not."""
    each = profile["weights.bits"] - int(math.log2(profile["weights.step"]))
    total = 0
    for weight in dict.fromkeys(w for link in graph.into(path) for w in graph.weights(link)):
        total += int(np.count_nonzero(graph.plan.nodes[weight]["weight"]))
    return total * each


def _cores(graph: Topology, path: str, profile: Profile) -> int:
    """The cores of a population, by neurons and by synapses."""
    counts = [1]
    for used, key in (
        (graph.size(path), "cores.neurons"),
        (synapse_bits(graph, path, profile), "cores.synapse_bits"),
    ):
        if profile[key] is not None:
            counts.append(math.ceil(used / profile[key]))
    return max(counts)


def _unchecked(graph: Topology, profile: Profile) -> list[Finding]:
    """A note on axons; a warning where a matrix has more sources, or targets, than Loihi 1 had axons."""
    found = []
    for key, axis, what in (("input", -1, "sources"), ("output", -2, "targets")):
        key = f"cores.{key}_axons"
        known = [value for value, _ in profile.facts[key].also]
        if profile[key] is not None or not known:
            continue
        why = f"axons a core are not checked: {profile.source(key)}"
        severity, number, layer = "note", "?", ""
        for weight in (w for link in graph.links for w in graph.weights(link)):
            shape = np.shape(graph.plan.nodes[weight]["weight"])
            if len(shape) == 2 and shape[axis] > min(known):
                why += f"; {shape[axis]} {what} are more than the {min(known)} axons of Loihi 1"
                severity, number, layer = "warning", str(shape[axis]), weight
                break
        if severity == "note" and axis == -2:
            continue  # said once
        fix = "" if severity == "note" else "split the layer before you rely on it"
        found.append(
            against(
                profile,
                key,
                "axons",
                layer,
                why,
                fix,
                number=number,
                limit=min(known),
                severity=severity,
            )
        )
    return found
