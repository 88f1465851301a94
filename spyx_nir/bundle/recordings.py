"""The recordings that a bundle is built with: a user's file, or random events."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files, recordings
from spyx_nir.bundle import vectors
from spyx_nir.bundle.folder import sums
from spyx_nir.errors import GraphError, about
from spyx_nir.meaning.equations import Shape

INPUT = "input"
MOST = 255  # of a count: inputs are stored as bytes
RANDOM, STEPS, RATE, SEED = 8, 100, 0.05, 0


@dataclass(frozen=True)
class Recordings:
    """Counts of events, and what a bundle says of where they are from.

    events: (N, T, *shape) uint8. labels: (N,) class indices, None where there are none. source: "given"
    or "random". sha256: of the file, of a folder that of what `sha256sum` writes of its files, "" for
    random events. merged: an input is 1 where there is an event of any polarity, else it counts events.
    """

    events: np.ndarray
    labels: np.ndarray | None
    source: str
    sha256: str = ""
    merged: bool = False

    @property
    def steps(self) -> int:
        """T."""
        return int(self.events.shape[1])

    def __len__(self) -> int:
        return len(self.events)

    def part(self, chosen: np.ndarray) -> Recordings:
        """Some of the recordings."""
        labels = None if self.labels is None else self.labels[chosen]
        return dataclasses.replace(self, events=self.events[chosen], labels=labels)

    def spread(self, most: int) -> np.ndarray:
        """Up to `most` indices: as evenly over the classes as they go, else over the recordings."""
        count = min(most, len(self))
        if self.labels is None:
            return np.arange(count) * len(self) // count
        return vectors.choose(self.labels, count)


def random(shape: Sequence[int]) -> Recordings:
    """`RANDOM` recordings of `STEPS` steps; an input has an event in a step with probability `RATE`."""
    generator = np.random.default_rng(SEED)
    drawn = generator.random((RANDOM, STEPS, *shape)) < RATE
    return Recordings(drawn.astype(np.uint8), None, "random")


def read(
    path: str, shape: Shape, classes: Sequence[str], metadata: Mapping[str, Any]
) -> Recordings:
    """Recordings of a file or a folder, as `spyx_nir.recordings.read` takes them.

    Args:
        shape: of the network's input. classes: of its outputs. metadata: of the graph; `input_bin_s` and
            `n_steps` are how events become steps.

    Raises:
        GraphError: nothing there, another format, or what cannot be counts or classes.
        UsageError: events, and no `input_bin_s`.
    """
    data = recordings.read(path, {INPUT: shape}, metadata=metadata)
    with about(path):
        events = _counts(data.x[INPUT])
        labels = None
        if data.labels is not None:
            labels = recordings.as_indices(data.labels, list(classes), len(classes))
    return Recordings(events, labels, "given", _digest(Path(path)), data.merged)


def _digest(path: Path) -> str:
    if path.is_dir():
        return hashlib.sha256(sums(path).encode()).hexdigest()
    return files.sha256(path)


def _refused(what: str) -> GraphError:
    return GraphError(what, code="input")


def _counts(x: np.ndarray) -> np.ndarray:
    """(N, T, *shape) uint8, of (T, N, *shape)."""
    wrong = ~((x >= 0) & (x <= MOST) & (x == np.floor(x))) if x.dtype.kind != "b" else x != x
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise _refused(
            f"is {x[place]:g} at {place} of (T, N, ...); needed are counts of events, whole numbers, "
            f"0 to {MOST}"
        )
    return np.ascontiguousarray(np.swapaxes(x, 0, 1)).astype(np.uint8)


def sensor(shape: Sequence[int]) -> tuple[int, int, int]:
    """(columns, rows, polarities) of an input (W,), (P, W) or (P, H, W), as `events.Encoding` has it.

    Raises:
        GraphError: it has more axes.
    """
    if not 1 <= len(shape) <= 3 or math.prod(shape) < 1:
        raise _refused(f"an input of shape {tuple(shape)}; (W,), (P, W) or (P, H, W) is needed")
    *rest, columns = shape
    polarities = rest[0] if rest else 1
    return columns, rest[1] if len(rest) == 2 else 1, polarities
