"""What the manifest of a task's bundle says besides the graph: parity, metrics, parameters, data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline import schema, tasks
from spyx_nir.bundle.manifest import About

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


def about(
    task: schema.Task,
    parity: Mapping[str, Any],
    provenance: Mapping[str, Any],
    more: Mapping[str, Any] | None = None,
) -> About:
    """What a task's bundle says of its network.

    Args:
        parity: what the parity stage wrote. provenance: of the prepared data.
        more: entries of the manifest that this bundle has and others have not.
    """
    entries = {
        "task": task.name,
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
        **(more or {}),
    }
    return About(
        dt=task.export.dt,
        time_unit=task.export.time_unit,
        bin_us=task.data.bin_us,
        steps=task.data.bins,
        classes=task.data.classes,
        channels=tasks.channels(task),
        values=values_of(task),
        packages=PACKAGES,
        more=entries,
    )


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
