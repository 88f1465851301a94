"""The recordings that a bundle is built with: a user's file, or random events."""

from __future__ import annotations

import dataclasses
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from spyx_nir import files
from spyx_nir.bundle import vectors
from spyx_nir.errors import GraphError, about, one_line

X, Y = "x", "y"
MOST = 255  # of a count: inputs are stored as bytes
MAX_BYTES = 2**31  # of a file, unpacked
RANDOM, STEPS, RATE, SEED = 8, 100, 0.05, 0


@dataclass(frozen=True)
class Recordings:
    """Counts of events, and what a bundle says of where they are from.

    events: (N, T, *shape) uint8. labels: (N,) class indices, None where there are none. source: "given"
    or "random". sha256: of the file, "" for random events.
    """

    events: np.ndarray
    labels: np.ndarray | None
    source: str
    sha256: str = ""

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


def read(path: str | os.PathLike[str], shape: Sequence[int], classes: int) -> Recordings:
    """Recordings of a .npz file: `x` (T, N, *shape), counts of events, and, if there, `y` (N,).

    Args:
        shape: of the network's input. classes: how many outputs it has: `y` is 0 to one below.

    Raises:
        GraphError: no such file, no `x`, or what cannot be counts or classes; names file and array.
    """
    with about(path):
        arrays = _arrays(Path(path))
        if X not in arrays:
            holds = ", ".join(sorted(arrays)) or "nothing"
            raise _refused(f"has no array `{X}`, recordings (T, N, ...); it holds {holds}")
        events = _counts(arrays[X], tuple(shape))
        labels = _labels(arrays[Y], len(events), classes) if Y in arrays else None
    return Recordings(events, labels, "given", files.sha256(path))


def _refused(what: str) -> GraphError:
    return GraphError(what, code="input")


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise _refused("no such file")
    if not zipfile.is_zipfile(path):
        raise _refused("no .npz file; numpy.savez writes one, with the arrays `x` and `y`")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        if size > MAX_BYTES:
            raise _refused(f"unpacks to {size} bytes; at most {MAX_BYTES} are read")
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            return {name: archive[name] for name in (X, Y) if name in archive.files} or {
                name: np.zeros(0) for name in archive.files
            }
    except GraphError:
        raise
    except Exception as error:  # NumPy and zipfile raise many kinds on damage
        raise _refused(f"no .npz file of numbers: {one_line(error)}") from None


def _counts(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(N, T, *shape) uint8."""
    wanted = (
        f"(T, N, {', '.join(map(str, shape))}): steps, recordings, one step of the network's input"
    )
    if x.ndim != 2 + len(shape) or x.shape[2:] != shape:
        raise _refused(f"`{X}` has the shape {x.shape}; needed is {wanted}")
    if 0 in x.shape:
        raise _refused(f"`{X}` has the shape {x.shape}: at least one step and recording are needed")
    if x.dtype.kind not in "buif":
        raise _refused(f"`{X}` is of type {x.dtype}; needed are numbers, counts of events")
    wrong = ~((x >= 0) & (x <= MOST) & (x == np.floor(x))) if x.dtype.kind != "b" else x != x
    if wrong.any():
        place = tuple(int(i) for i in np.argwhere(wrong)[0])
        raise _refused(
            f"`{X}` is {x[place]:g} at {place}; needed are counts of events, whole numbers, 0 to {MOST}"
        )
    return np.ascontiguousarray(np.swapaxes(x, 0, 1)).astype(np.uint8)


def _labels(y: np.ndarray, count: int, classes: int) -> np.ndarray:
    if y.shape != (count,):
        raise _refused(
            f"`{Y}` has the shape {y.shape}; needed is ({count},), a class for each recording"
        )
    if y.dtype.kind not in "iuf" or not (y == np.floor(y)).all():
        raise _refused(f"`{Y}` is of type {y.dtype}; needed are class indices, whole numbers")
    if len(wrong := y[(y < 0) | (y >= classes)]):
        raise _refused(
            f"`{Y}` has the class {wrong[0]:g}; the network has {classes} outputs: 0 to {classes - 1}"
        )
    return y.astype(np.int64)


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
