"""A task's recordings as events in order of time, where counts of a step are not enough."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from pipeline import prepare, schema, tasks
from pipeline.datasets import checks, splits
from pipeline.datasets.prepared import Prepared
from spyx_nir.errors import UserError


class Events:
    """Some recordings of a task: the same events that its prepared file counts, with their times.

    An index is a slice, or whole numbers; the result is a list of arrays with the fields x, y, t
    (microseconds) and p, where the sensor has them, ordered by t. Where polarities are merged, p is 0 and
    the first event of a pixel in a bin is the only one. Recordings are read when they are asked for.
    """

    def __init__(self, task: schema.Task, found: tasks.Recordings, place: list[tuple[int, int]]):
        """`place`: which data set, which item, for each recording."""
        self.task, self.found, self.place = task, found, place
        self.sensor = tasks.find(task.name).SENSOR

    def __len__(self) -> int:
        return len(self.place)

    def __getitem__(self, index: slice | np.ndarray) -> list[np.ndarray]:
        """Raises UserError: a recording cannot be read."""
        return [self._read(*self.place[i]) for i in np.arange(len(self.place))[index]]

    def _read(self, number: int, item: int) -> np.ndarray:
        data = self.task.data
        events = checks.events_of(self.found, number, item, self.sensor)
        events = events[events["t"] < data.bins * data.bin_us]
        events = events[np.argsort(events["t"], kind="stable")]
        if data.merge_polarity:
            if "p" in (events.dtype.names or ()):
                events["p"] = 0
            place = addresses(events, tasks.input_shape(self.task))
            cells = (events["t"] // data.bin_us).astype(np.int64), place
            events = events[np.sort(np.unique(np.stack(cells), axis=1, return_index=True)[1])]
        return events


def read(task: schema.Task, data: Prepared, split: str, root: str | Path = ".") -> Events:
    """The recordings of "train", "validation" or "test", in the order of the prepared file.

    Raises:
        UserError: the recordings are missing, or are not those that were prepared.
    """
    found, chosen = prepare.recordings(task, root)
    written: Any = data.provenance.get("files")
    if dict(found.files) != written or len(chosen.place) != data.shape[0]:
        raise UserError(
            f"{data.path}: was prepared from other recordings than those of tasks.{task.name}.data; "
            "run `dvc repro` (or the prepare stage) again"
        )
    where = np.flatnonzero(chosen.split == splits.NAMES.index(split))
    return Events(task, found, [chosen.place[i] for i in where])


def addresses(events: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where in the flattened shape of a step, (W,), (P, W) or (P, H, W), events are: (events,) int64."""
    place = np.zeros(len(events), np.int64)
    fields = ("p", "y", "x") if len(shape) == 3 else ("p", "x")[-len(shape) :]
    for field, size in zip(fields, shape, strict=True):
        place = place * size + events[field]
    return place
