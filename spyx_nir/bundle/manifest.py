"""manifest.json: facts about a bundle for machines. No time stamps, no revision."""

from __future__ import annotations

import importlib.metadata
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir import neurobench
from spyx_nir.meaning.plan import Plan

SCHEMA = 1
UNITS = {"s": "seconds", "ms": "milliseconds", "step": "time steps"}


@dataclass(frozen=True)
class About:
    """What a bundle says of its network that the graph does not.

    dt, time_unit: the step by which time constants become decays. bin_us: a step of a recording, in
    microseconds. steps: of a recording. channels: what each input channel is. values: what a number of
    the input means. packages: that made the bundle, by the names of their distributions. more: further
    entries of manifest.json: who trained the weights, on what, and what was measured.
    """

    dt: float
    time_unit: str
    bin_us: int
    steps: int
    classes: Sequence[str]
    channels: Sequence[str]
    values: str
    packages: Sequence[str]
    more: Mapping[str, Any]

    @property
    def bin_s(self) -> float:
        """How long a step of a recording is, in seconds."""
        return self.bin_us / 1e6


def build(
    about: About,
    *,
    plan: Plan,
    contract: Mapping[str, Any],
    digests: Mapping[str, Mapping[str, str]],
    vectors: Mapping[str, Any],
) -> dict[str, Any]:
    """The manifest.

    Args:
        plan: of the graph. contract: the graph's metadata.
        digests: per file name its `sha256` and, for graphs, `content`.
        vectors: which samples the golden vectors are.
    """
    nodes = [describe(name, plan) for name in along_the_edges(plan)]
    resets = sorted({node["reset"] for node in nodes if "reset" in node})
    delays = sorted({node["spike_delay"] for node in nodes if "spike_delay" in node})
    return {
        "schema_version": SCHEMA,
        "dt": about.dt,
        "time_unit": about.time_unit,
        "input_bin_s": about.bin_s,
        "n_steps": about.steps,
        "silent_steps": 0,
        "classes": list(about.classes),
        "readout": contract.get("readout"),
        "axis_order": "time-major (T, N, ...), channels first (C, H, W)",
        "input_shape": list(plan.shapes[plan.inputs[0]]),
        "input_channels": list(about.channels),
        "input_values": about.values,
        "output_shape": list(plan.shapes[plan.outputs[0]]),
        "nodes": nodes,
        "edges": [list(edge) for edge in sorted(plan.edges)],
        "neurons": sum(node.get("neurons", 0) for node in nodes),
        "synapses": sum(node.get("synapses", 0) for node in nodes),
        "parameters_stored": sum(node.get("weights", 0) for node in nodes),
        "reset": resets[0] if len(resets) == 1 else resets,
        "spike_delay": delays[0] if len(delays) == 1 else delays,
        "plain_nir_is_enough": resets == ["v_reset"] and delays == [0],
        "not_in_nir": not_in_nir(about, resets, delays),
        "contract": dict(contract),
        "files": {name: dict(entry) for name, entry in digests.items()},
        "vectors": dict(vectors),
        "versions": versions(about.packages),
        **about.more,
    }


def along_the_edges(plan: Plan) -> list[str]:
    """All nodes as a reader meets them who follows the edges from the input."""
    order = list(plan.inputs)
    for name in order:  # grows while it is walked
        order += sorted({b for a, b in plan.edges if a == name} - set(order))
    return order


def describe(name: str, plan: Plan) -> dict[str, Any]:
    """One row of the node table: type, shapes, counts, and the range of every number it holds."""
    node = plan.nodes[name]
    row: dict[str, Any] = {
        "node": name,
        "type": node["type"],
        "input_shape": list(plan.arrives[name]),
        "output_shape": list(plan.shapes[name]),
    }
    if node["type"] in ("Input", "Output"):
        return row
    if "v_threshold" in node or "v_leak" in node or node["type"] == "I":
        row["neurons"] = math.prod(plan.shapes[name])
    for contract in ("reset", "spike_delay"):
        if contract in node:
            row[contract] = node[contract]
    if "weight" in node:
        row["weights"] = int(np.size(node["weight"]))
        row["synapses"] = neurobench.synapses(node, plan.arrives[name])
    ranges = {}
    for key, value in sorted(node.items()):
        array = np.asarray(value)
        if isinstance(value, np.ndarray | np.generic | float) and array.dtype.kind == "f":
            ranges[key] = [float(array.min()), float(array.max())]
    if ranges:
        row["ranges"] = ranges
    return row


def not_in_nir(about: About, resets: Sequence[str], delays: Sequence[int]) -> list[dict[str, str]]:
    """What a reader must know that no field of NIR says; it is in the graph's metadata."""
    facts = [
        ("step", f"dt = {about.dt:g}; time constants are in the same unit"),
        ("time unit", UNITS.get(about.time_unit, about.time_unit)),
        (
            "input",
            f"one step per bin of {about.bin_us} us, {about.steps} steps, {about.values}; "
            "dt scales the time constants and is not the bin's length",
        ),
        ("reset", f"{', '.join(resets)}; NIR itself has v_reset alone"),
        (
            "spike delay",
            f"{', '.join(map(str, delays))} (steps after the crossing); NIR itself means 0",
        ),
        ("readout", f"the class with most spikes, of {', '.join(about.classes)}"),
        ("integration", "forward Euler; all states start at 0"),
        ("training", "surrogate gradient and loss; not needed to run the graph"),
    ]
    return [{"what": what, "here": here} for what, here in facts]


def versions(packages: Sequence[str]) -> dict[str, str]:
    """The packages that made the bundle, as installed, and the HDF5 library."""
    import h5py

    found = {name: importlib.metadata.version(name) for name in packages}
    return {**found, "hdf5": h5py.version.hdf5_version}


def plain(value: Any) -> Any:
    """A metadata value as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value
