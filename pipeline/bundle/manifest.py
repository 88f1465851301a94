"""manifest.json: facts about a bundle for machines. No time stamps, no revision."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import math
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema, tasks
from spyx_nir import neurobench

SCHEMA = 1
PACKAGES = (
    "spyx-nir",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "spyx",
    "nir",
    "numpy",
    "h5py",
    "tonic",
    "safetensors",
)


def build(
    task: schema.Task,
    *,
    plan: Any,
    contract: dict[str, Any],
    parity: dict[str, Any],
    provenance: dict[str, Any],
    digests: dict[str, dict[str, str]],
    vectors: dict[str, Any],
) -> dict[str, Any]:
    """The manifest.

    Args:
        plan: `reference.make_plan` of the graph. contract: the graph's metadata.
        parity: what the parity stage wrote. provenance: of the prepared data.
        digests: per file name its `sha256` and, for graphs, `content`.
        vectors: which samples the golden vectors are.
    """
    nodes = [describe(name, plan) for name in along_the_edges(plan)]
    resets = sorted({node["reset"] for node in nodes if "reset" in node})
    delays = sorted({node["spike_delay"] for node in nodes if "spike_delay" in node})
    return {
        "schema_version": SCHEMA,
        "task": task.name,
        "dt": task.export.dt,
        "time_unit": task.export.time_unit,
        "input_bin_s": task.data.bin_s,
        "n_steps": task.data.bins,
        "silent_steps": 0,
        "classes": list(task.data.classes),
        "readout": contract.get("readout"),
        "axis_order": "time-major (T, N, ...), channels first (C, H, W)",
        "input_shape": list(plan.shapes[plan.inputs[0]]),
        "input_channels": tasks.channels(task),
        "input_values": values_of(task),
        "output_shape": list(plan.shapes[plan.outputs[0]]),
        "nodes": nodes,
        "edges": [list(edge) for edge in sorted(plan.edges)],
        "neurons": sum(node.get("neurons", 0) for node in nodes),
        "synapses": sum(node.get("synapses", 0) for node in nodes),
        "parameters_stored": sum(node.get("weights", 0) for node in nodes),
        "reset": resets[0] if len(resets) == 1 else resets,
        "spike_delay": delays[0] if len(delays) == 1 else delays,
        "plain_nir_is_enough": resets == ["v_reset"] and delays == [0],
        "not_in_nir": not_in_nir(task, resets, delays),
        "contract": contract,
        "files": digests,
        "vectors": vectors,
        "parity": {key: parity[key] for key in ("verdict", "differing_spikes", "ties", "layers")},
        "metrics": {
            "test_accuracy": parity["accuracy"],
            "test_samples": parity["samples"],
            "seeds": task.seeds,
            "neurobench": parity["neurobench"][0],
        },
        "weights": {"sha256": parity["weights_sha256"], **parity["weights"]},
        "parameters": parameters(task, parity["weights"]["started_from"]),
        "data": provenance,
        "versions": versions(),
    }


def along_the_edges(plan: Any) -> list[str]:
    """All nodes as a reader meets them who follows the edges from the input."""
    order = list(plan.inputs)
    for name in order:  # grows while it is walked
        order += sorted({b for a, b in plan.edges if a == name} - set(order))
    return order


def describe(name: str, plan: Any) -> dict[str, Any]:
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


def not_in_nir(task: schema.Task, resets: list[str], delays: list[int]) -> list[dict[str, str]]:
    """What a reader must know that no field of NIR says; it is in the graph's metadata."""
    facts = [
        ("step", f"dt = {task.export.dt:g}; time constants are in the same unit"),
        ("time unit", {"s": "seconds", "step": "time steps"}[task.export.time_unit]),
        (
            "input",
            f"one step per bin of {task.data.bin_us} us, {task.data.bins} steps, {values_of(task)}; "
            "dt scales the time constants and is not the bin's length",
        ),
        ("reset", f"{', '.join(resets)}; NIR itself has v_reset alone"),
        (
            "spike delay",
            f"{', '.join(map(str, delays))} (steps after the crossing); NIR itself means 0",
        ),
        ("readout", f"the class with most spikes, of {', '.join(task.data.classes)}"),
        ("integration", "forward Euler; all states start at 0"),
        ("training", "surrogate gradient and loss; not needed to run the graph"),
    ]
    return [{"what": what, "here": here} for what, here in facts]


def values_of(task: schema.Task) -> str:
    """What a number of the input means."""
    if task.data.merge_polarity:
        return "1 where a sensor had an event in the bin, else 0"
    return "counts of the events in the bin, at most 255"


def parameters(task: schema.Task, started_from: str | None) -> dict[str, Any]:
    """The task's parameters, without the paths of files on the machine that trained it.

    Weights that training started from are called by `started_from`, their SHA-256, and a profile of
    one's own by its name.
    """
    values = dataclasses.asdict(task)
    del values["data"]["path"], values["name"]
    values["train"]["start_from"] = started_from
    values["targets"] = {
        Path(name).stem: {**target, "name": Path(name).stem}
        for name, target in values["targets"].items()
    }
    return values


def versions() -> dict[str, str]:
    """The packages that made the bundle, as installed, and the HDF5 library."""
    import h5py

    found = {name: importlib.metadata.version(name) for name in PACKAGES}
    return {**found, "hdf5": h5py.version.hdf5_version}
