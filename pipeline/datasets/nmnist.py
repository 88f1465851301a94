"""N-MNIST (Orchard et al. 2015): handwritten digits in front of a moving event sensor."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tonic

from spyx_nir.errors import UserError
from spyx_nir.files import unreadable

BYTES_PER_EVENT = 5
# The y that marks a wrap of the clock; it is no event (tonic.io.read_mnist_file).
WRAP = 240
CLOCK = 2**23  # microseconds after which the clock of the files starts again


class NMNIST(tonic.datasets.NMNIST):
    """tonic's N-MNIST for a folder with any number of recordings, which never downloads.

    `dataset[i]` is (events, target): x, y (0..33), t in microseconds, p (0 OFF, 1 ON); a digit.

    Args:
        folder: the one that holds `Train/<digit>/<id>.bin` and `Test/<digit>/<id>.bin`.
        train: which of the two. `left_out` names the files there that are no recordings.
        transform: applied to the events.

    Raises:
        UserError: the folder, the split or its recordings are missing, or a file is damaged.
    """

    def __init__(
        self, folder: str | Path, train: bool, transform: Callable[..., Any] | None = None
    ):
        self._folder = Path(folder)
        super().__init__(save_to=str(folder), train=train, transform=transform)

        # tonic leaves out folders that are links, and names in capitals.
        self.data = [str(file) for file in self._files]
        self.targets = [int(file.parent.name) for file in self._files]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """Raises UserError: the file marks a wrap of the clock where there is none, or wraps itself."""
        _check_clock(Path(self.data[index]))
        return super().__getitem__(index)

    def _check_exists(self) -> bool:
        # tonic would look for a folder named after the class, for the zip and for 10 000 files,
        # and go to the network otherwise.
        self.location_on_system = str(self._folder)
        self._files, self.left_out = recordings(self._folder / self.folder_name)
        return True


def recordings(folder: Path) -> tuple[list[Path], list[Path]]:
    """The files of one split, `<digit>/<id>.bin`, by digit and name, and what is no recording.

    The latter are hidden files (macOS puts `._<id>.bin` beside a file) and those with another ending.

    Raises:
        UserError: it is missing or empty, or a recording is elsewhere, cannot be read, is empty or
            ends within an event.
    """
    if not folder.parent.is_dir():
        raise UserError(f"{folder.parent}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; N-MNIST has Train/ and Test/")
    found: list[Path] = []
    others: list[Path] = []
    for file in _walk(folder):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        (found if file.suffix.lower() == ".bin" and not hidden else others).append(file)
    if not found:
        raise UserError(f"{folder}: holds no recordings (<digit>/<id>.bin)")
    for file in found:
        if file.parent.parent != folder or file.parent.name not in tuple("0123456789"):
            raise UserError(f"{file}: a recording is in <digit>/<id>.bin, with a digit from 0 to 9")
        _check_file(file)
    return found, others


def _walk(folder: Path) -> list[Path]:
    """All files in a folder and below, in order; links are followed."""

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: {error.strerror}")

    found: list[Path] = []
    seen: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        if (real := os.path.realpath(place)) in seen:
            raise UserError(f"{place}: a link to {real}, whose recordings are here already")
        seen.add(real)
        folders.sort()
        found += [Path(place) / name for name in sorted(names)]
    return found


def _check_file(file: Path) -> None:
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for its writer
            raise UserError(f"{file}: is no file")
        with open(file, "rb"):
            size = status.st_size
    except OSError as error:
        raise UserError(f"{file}: {unreadable(file, error)}") from None
    if size == 0:
        raise UserError(f"{file}: is empty")
    if size % BYTES_PER_EVENT:
        raise UserError(
            f"{file}: {size} bytes are no whole number of {BYTES_PER_EVENT}-byte events: the file "
            "ends within an event"
        )


def _check_clock(file: Path) -> None:
    """Refuse a mark where the time does not fall, and a clock that runs out: no mark puts that right."""
    _, y, high, middle, low = np.fromfile(file, np.uint8).reshape(-1, 5).astype(np.int64).T
    times = (high & 127) << 16 | middle << 8 | low
    step = np.diff(times, prepend=0)
    # At a wrap the time falls, at the mark or right behind it.
    false = (y == WRAP) & (step >= 0) & (np.append(step[1:], 0) >= 0)
    if false.any():
        event = int(false.argmax())
        raise UserError(
            f"{file}: event {event} has y = {WRAP}, outside the 34x34 sensor; that marks a wrap of the "
            f"clock, and the time does not fall there ({times[event]} us)"
        )
    fallen = step < -CLOCK // 2
    if fallen.any():
        event = int(fallen.argmax())
        raise UserError(
            f"{file}: event {event} is at {times[event]} us, the one before at {times[event - 1]} us: "
            f"the clock, which counts to {CLOCK} us, started again within the recording"
        )


def to_bytes(events: np.ndarray) -> bytes:
    """Events (x, y, p and t in microseconds below 2**23) as the 40-bit words of the .bin files.

    A word is x (8 bits), y (8), p (1) and t (23), most significant bit first.
    """
    words = np.empty((len(events), BYTES_PER_EVENT), np.uint8)
    t = events["t"].astype(np.uint32)
    words[:, 0] = events["x"]
    words[:, 1] = events["y"]
    words[:, 2] = (events["p"].astype(np.uint32) << 7) | (t >> 16)
    words[:, 3] = t >> 8 & 0xFF
    words[:, 4] = t & 0xFF
    return words.tobytes()
