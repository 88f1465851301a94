"""N-MNIST (Orchard et al. 2015): handwritten digits in front of a moving event sensor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tonic

from pipeline.errors import UserError

BYTES_PER_EVENT = 5
# Marks a wrap of the clock in the original files; it is no event (tonic.io.read_mnist_file).
WRAP = 240


class NMNIST(tonic.datasets.NMNIST):
    """tonic's N-MNIST for a folder with any number of recordings, which never downloads.

    `dataset[i]` is (events, target): x, y (0..33), t in microseconds, p (0 OFF, 1 ON); a digit.

    Args:
        folder: the one that holds `Train/<digit>/<id>.bin` and `Test/<digit>/<id>.bin`.
        train: which of the two.
        transform: applied to the events.

    Raises:
        UserError: the folder, the split or its recordings are missing, or a file is damaged.
    """

    def __init__(
        self, folder: str | Path, train: bool, transform: Callable[..., Any] | None = None
    ):
        self._folder = Path(folder)
        super().__init__(save_to=str(folder), train=train, transform=transform)

    def _check_exists(self) -> bool:
        # tonic would look for a folder named after the class, for the zip and for 10 000 files,
        # and go to the network otherwise.
        self.location_on_system = str(self._folder)
        check(self._folder / self.folder_name)
        return True


def check(folder: Path) -> None:
    """Look through one split, `<digit>/<id>.bin`, before it is read.

    Raises:
        UserError: it is missing or empty, holds something else, or a file ends within an event.
    """
    if not folder.parent.is_dir():
        raise UserError(f"{folder.parent}: no such folder")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; N-MNIST has Train/ and Test/")
    files = sorted(folder.rglob("*.bin"))
    if not files:
        raise UserError(f"{folder}: holds no recordings (<digit>/<id>.bin)")
    for file in files:
        digit = file.parent.name
        if file.parent.parent != folder or len(digit) != 1 or not digit.isdecimal():
            raise UserError(f"{file}: recordings lie in <digit>/<id>.bin with a digit from 0 to 9")
        size = file.stat().st_size
        if size == 0:
            raise UserError(f"{file}: is empty")
        if size % BYTES_PER_EVENT:
            raise UserError(
                f"{file}: {size} bytes are no whole number of {BYTES_PER_EVENT}-byte events: "
                "the last event is torn"
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
