"""The golden recordings of a bundle as events: where they come from, and how they become its input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema, tasks
from pipeline.datasets import checks, recordings
from pipeline.datasets.prepared import Prepared
from spyx_nir.bundle import events
from spyx_nir.bundle.events import Encoding
from spyx_nir.errors import UserError


def encoding(task: schema.Task, silent: int = 0, singly: bool = False) -> Encoding:
    """How events of a task's sensor become its network's input.

    Args:
        silent: steps behind a recording. singly: the chip takes events one by one.
    """
    return Encoding(
        sensor=tasks.find(task.name).SENSOR,
        shape=tasks.input_shape(task),
        channels=tasks.channels(task),
        steps=task.data.bins,
        bin_us=task.data.bin_us,
        silent=silent,
        merge=task.data.merge_polarity,
        singly=singly,
    )


def write(
    folder: Path,
    task: schema.Task,
    data: Prepared,
    chosen: np.ndarray,
    how: Encoding,
    addresses: Mapping[str, Any],
    root: Path,
) -> dict[str, Any]:
    """Write `events/` into the bundle `folder`; what the manifest says of it.

    The recordings are read from the task's source, with the times and polarities that the sensor gave. A
    prepared file that names no files was not made from any: its counts become events with made-up times.

    Args:
        chosen: (N,) the golden vectors' places in the test set. addresses: what address_map.json holds.

    Raises:
        UserError: the source cannot be read, is not the one that was prepared, or gives other counts.
    """
    recorded = "files" in data.provenance
    frames = data.subset("test")[0][chosen]
    if recorded:
        found = _recorded(task, data, chosen, root)
    else:
        found = [events.of_frames(one, how) for one in frames]
    events.write(folder / events.FOLDER, found, addresses)
    return {
        "folder": events.FOLDER,
        "recordings": f"{events.FOLDER}/{events.RECORDINGS}",
        "times": "as recorded" if recorded else "made up from counts",
    }


def _recorded(
    task: schema.Task, data: Prepared, chosen: Sequence[int] | np.ndarray, root: Path
) -> list[np.ndarray]:
    stream = recordings.read(task, data, "test", root)
    if len(stream) <= max(chosen):
        raise UserError(f"{data.path}: has more test recordings than the source; run `dvc repro`")
    return [checks.events_of(stream.found, *stream.place[i], stream.sensor) for i in chosen]
