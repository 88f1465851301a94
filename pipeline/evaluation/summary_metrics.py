"""The few numbers of a network that `dvc metrics show` lists: metrics/summary/<task>-<target>.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spyx_nir import files

FOLDER = Path("metrics") / "summary"


def summary(metrics: Mapping[str, Any]) -> dict[str, float]:
    """What is listed of the metrics of a target, or of the generic bundle, which are means per recording.

    lost_points: percentage points below the trained network, of a target. synops: of NeuroBench's
    effective operations, accumulates and multiply-accumulates together. footprint: bytes.
    latency_ms: when half of the recordings have their decision, of a target.
    """
    accuracy = metrics["accuracy"]
    own = accuracy.get("integer", accuracy)
    operations = metrics["SynapticOperations"]
    found = {
        "accuracy": own["accuracy"],
        "accuracy_from": own["wilson95"][0],
        "accuracy_to": own["wilson95"][1],
        "footprint": metrics["Footprint"],
        "synops": operations["Effective_ACs"] + operations["Effective_MACs"],
        "updates": metrics["MembraneUpdates"],
    }
    if "lost_points" in metrics:
        found["lost_points"] = metrics["lost_points"]["integer"]
    if "latency" in metrics and metrics["latency"]["median_ms"] is not None:
        found["latency_ms"] = metrics["latency"]["median_ms"]
    return found


def write(root: Path, name: str, metrics: Mapping[str, Any]) -> None:
    """Write metrics/<name>.json, and what is listed of it."""
    files.write_json(root / "metrics" / f"{name}.json", metrics)
    files.write_json(root / FOLDER / f"{name}.json", summary(metrics))
