"""The golden recordings of a bundle as events: where they come from, and how they become its input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema
from pipeline.datasets import checks, recordings
from pipeline.datasets.prepared import Prepared
from spyx_nir.bundle import events
from spyx_nir.errors import UserError


def write(
    folder: Path,
    task: schema.Task,
    data: Prepared,
    chosen: np.ndarray,
    addresses: Mapping[str, Any],
    root: Path,
    more: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Write `events/` into the bundle `folder`; what the manifest says of it.

    The recordings are read from the task's source, with the times and polarities that the sensor gave. A
    prepared file that names no files was not made from any: its counts become events with made-up times.

    Args:
        chosen: (N,) the golden vectors' places in the test set. addresses: what address_map.json holds.
        more: further arrays of recordings.npz.

    Raises:
        UserError: the source cannot be read, is not the one that was prepared, or gives other counts.
    """
    recorded = "files" in data.provenance
    found = _sent(task, data, chosen, root)
    events.write(folder / events.FOLDER, found, addresses, more)
    return {
        "folder": events.FOLDER,
        "recordings": f"{events.FOLDER}/{events.RECORDINGS}",
        "times": "as recorded" if recorded else "made up from counts",
    }


def _sent(task: schema.Task, data: Prepared, chosen: np.ndarray, root: Path) -> list[np.ndarray]:
    stream = recordings.read(task, data, "test", root)
    if isinstance(stream, recordings.FromCounts):
        return stream[chosen]
    if len(stream) <= max(chosen):
        raise UserError(f"{data.path}: has more test recordings than the source; run `dvc repro`")
    places = [stream.place[i] for i in chosen]
    return [checks.events_of(stream.found, number, item, stream.sensor) for number, item in places]
