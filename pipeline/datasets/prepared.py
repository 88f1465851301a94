"""data/prepared/<task>.h5: binned events, labels and splits, as every later stage reads them."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from pipeline.datasets import splits
from spyx_nir.errors import UserError
from spyx_nir.files import atomic

FORMAT = 1
CACHE_BYTES = 32 * 2**20  # of recordings, unpacked: all of Braille, 900 of N-MNIST


@dataclass(frozen=True)
class Prepared:
    """What a prepared file holds; events are read from disk when a split is asked for."""

    path: Path
    shape: tuple[int, ...]  # (N, T, 12) or (N, T, 2, 34, 34)
    labels: np.ndarray  # (N,) int64, index into classes
    split: np.ndarray  # (N,) uint8: 0 train, 1 validation, 2 test
    classes: tuple[str, ...]
    bins: int
    bin_us: int
    source: str
    provenance: dict[str, Any]

    def subset(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Events (n, T, ...) uint8, channels first, and labels (n,) of "train", "validation" or "test".

        Raises:
            UserError: the name is no split, or the file cannot be read.
        """
        events, labels = self.stream(name)
        return events[:], labels

    def stream(self, name: str) -> tuple[Events, np.ndarray]:
        """As `subset`, but events are read from disk when they are asked for."""
        if name not in splits.NAMES:
            raise UserError(f"unknown split `{name}`; allowed are {', '.join(splits.NAMES)}")
        where = np.flatnonzero(self.split == splits.NAMES.index(name))
        return Events(self.path, where, self.shape[1:]), self.labels[where]


class Events:
    """Some recordings of a prepared file, (n, T, ...) uint8, as an array that stays on disk.

    An index is a slice, or whole numbers in rising order; the result is an array. Memory holds what
    is asked for and up to `CACHE_BYTES` of what was read last, whatever n is.
    """

    def __init__(self, path: Path, where: np.ndarray, shape: tuple[int, ...]):
        """`where`: the recordings' places in the file, rising; `shape`: of one recording."""
        self.path, self.where = path, where
        self.shape = (len(where), *shape)
        self._stored: h5py.Dataset | None = None

    dtype = np.dtype(np.uint8)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.where)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        """Raises UserError: the file cannot be read."""
        where = self.where[index]
        events = np.empty((len(where), *self.shape[1:]), np.uint8)
        try:
            if self._stored is None:
                self._stored = h5py.File(self.path, "r", rdcc_nbytes=CACHE_BYTES, rdcc_nslots=9973)[
                    "events"
                ]
            # Neighbours are read at once: a chunk is decompressed once.
            ends = np.flatnonzero(np.diff(where) != 1) + 1
            for run in np.split(np.arange(len(where)), ends):
                if len(run):
                    first, last = where[run[0]], where[run[-1]] + 1
                    events[run[0] : run[-1] + 1] = self._stored[first:last]
        except (OSError, KeyError) as error:
            raise _broken(self.path, error) from None
        return events


def read(path: str | Path) -> Prepared:
    """Open a prepared file and check it.

    Raises:
        UserError: it is missing, truncated or not what the prepare stage writes.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such file; run `dvc repro` (or the prepare stage) first")
    try:
        with h5py.File(path, "r") as file:
            attributes = file.attrs
            if int(attributes["format"]) != FORMAT:
                raise ValueError(f"format {attributes['format']}, expected {FORMAT}")
            prepared = Prepared(
                path=path,
                shape=tuple(map(int, file["events"].shape)),
                labels=file["labels"][:],
                split=file["split"][:],
                classes=tuple(json.loads(attributes["classes"])),
                bins=int(attributes["bins"]),
                bin_us=int(attributes["bin_us"]),
                source=str(attributes["source"]),
                provenance=json.loads(attributes["provenance"]),
            )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise _broken(path, error) from None
    count = prepared.shape[0]
    consistent = (
        len(prepared.labels) == len(prepared.split) == count > 0
        and prepared.shape[1] == prepared.bins
        and prepared.labels.min() >= 0
        and prepared.labels.max() < len(prepared.classes)
    )
    if not consistent:
        raise _broken(path, "events, labels, split and classes do not fit together")
    return prepared


def write(
    path: str | Path,
    events: Iterable[np.ndarray],
    shape: tuple[int, ...],
    labels: np.ndarray,
    split: np.ndarray,
    attributes: dict[str, Any],
    provenance: dict[str, Any],
) -> None:
    """Write a prepared file, atomically and repeatably; `events` are taken one after the other.

    Args:
        events: N arrays (T, ...) uint8. shape: (N, T, ...).
        labels, split: as in `Prepared`. attributes: classes, bins, bin_us, source.
        provenance: what the numbers were made from; may be completed while `events` runs.
    """
    # Small recordings share a chunk, or the file would be all index.
    size = int(np.prod(shape[1:]))
    chunk = min(shape[0], max(1, 65536 // size))
    # Compressed, all of it fits in memory (4 kB a recording of N-MNIST); HDF5 itself crashes when
    # the disk is full, the plain write below raises.
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        stored = file.create_dataset(
            "events",
            shape,
            np.uint8,
            chunks=(chunk, *shape[1:]),
            compression="gzip",
            compression_opts=1,
            track_times=False,
        )
        recordings, start = iter(events), 0
        while part := list(itertools.islice(recordings, chunk)):
            stored[start : start + len(part)] = np.stack(part)
            start += len(part)
        file.create_dataset("labels", data=labels.astype(np.int64), track_times=False)
        file.create_dataset("split", data=split.astype(np.uint8), track_times=False)
        classes = json.dumps(attributes["classes"])
        for key, value in {"format": FORMAT, **attributes, "classes": classes}.items():
            file.attrs[key] = value
        file.attrs["provenance"] = json.dumps(provenance, sort_keys=True)
    with atomic(path) as temporary:
        temporary.write_bytes(content.getbuffer())


def _broken(path: Path, reason: object) -> UserError:
    return UserError(
        f"{path}: not a complete prepared file ({reason}); delete it and run `dvc repro`"
    )
