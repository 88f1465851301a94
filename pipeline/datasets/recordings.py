"""A task's recordings as events in order of time, where counts of a step are not enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import prepare, schema, tasks
from pipeline.datasets import checks, prepared, splits
from spyx_nir.bundle import events
from spyx_nir.bundle.events import Encoding
from spyx_nir.bundle.events import addresses as addresses
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
        found = checks.events_of(self.found, number, item, self.sensor)
        found = found[found["t"] < data.bins * data.bin_us]
        found = found[np.argsort(found["t"], kind="stable")]
        if data.merge_polarity:
            if "p" in (found.dtype.names or ()):
                found["p"] = 0
            place = addresses(found, tasks.input_shape(self.task))
            cells = (found["t"] // data.bin_us).astype(np.int64), place
            found = found[np.sort(np.unique(np.stack(cells), axis=1, return_index=True)[1])]
        return found


class FromCounts:
    """As `Events`, from counts of bins; the times within a bin are made up, see `events.of_frames`."""

    def __init__(self, frames: prepared.Events, how: Encoding):
        self.frames, self.how = frames, how

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: slice | np.ndarray) -> list[np.ndarray]:
        """Raises UserError: the file cannot be read."""
        return [events.of_frames(frames, self.how) for frames in self.frames[index]]


def read(
    task: schema.Task, data: prepared.Prepared, split: str, root: str | Path = "."
) -> Events | FromCounts:
    """The recordings of "train", "validation" or "test", in the order of the prepared file.

    A prepared file that names no recordings, which the stage prepare does not write, has counts alone.

    Raises:
        UserError: the recordings are missing, or are not those that were prepared.
    """
    if "files" not in data.provenance:
        return FromCounts(data.stream(split)[0], encoding(task))
    found, chosen = prepare.recordings(task, root)
    if dict(found.files) != data.provenance["files"] or len(chosen.place) != data.shape[0]:
        raise UserError(
            f"{data.path}: was prepared from other recordings than those of tasks.{task.name}.data; "
            "run `dvc repro` (or the prepare stage) again"
        )
    where = np.flatnonzero(chosen.split == splits.NAMES.index(split))
    return Events(task, found, [chosen.place[i] for i in where])


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
