"""Braille letters felt by a robot's fingertip (Müller-Cleve et al. 2022), as events.

Two public formats are read: `taxels_40Hz.npz` (samples, encoded here) and the pickles
`data_braille_letters_th_<threshold>.pkl` (events) of Zenodo record 7050094.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tonic

from pipeline.datasets import sigma_delta, splits, unpickle
from spyx_nir.errors import UserError
from spyx_nir.files import unreadable

TAXELS = 12
NPZ = "taxels_40Hz.npz"
# No contact; the signal that is encoded is the distance from it.
NO_CONTACT = 255
# The arrays of the samples' file that are read; it also has `repetition`.
ARRAYS = ("taxels", "length", "letter", "sample_rate_hz")
MAX_RATE_HZ = 1e6  # times are whole microseconds
MAX_SECONDS = 1e12  # in microseconds still a 64-bit integer


class Braille(tonic.Dataset):
    """Recordings of single letters as events of twelve taxels.

    `dataset[i]` is (events, target): a structured array with `t` in microseconds, `x` the taxel
    from 0 to 11, `p` 1 for ON (more contact) and 0 for OFF, ordered in time; and the index into
    `classes`. If the folder holds the samples they are read, otherwise the events of the lowest
    threshold; `file` is the one that was read.

    Args:
        folder: the one that holds the file.
        window_us: samples of longer recordings are cut to `window_us` microseconds before they
            are encoded: those in which the recordings of the file, taken together, change most. The
            public release was cut to 1.275 s around the letter; in the early release, which lasts
            1.9 s, the letter passes from 0.4 to 1.8 s, not in the middle.
        split: None for all recordings, or "train", "validation" or "test".
        validation, test: fractions of the two; the split is stratified by letter.
        seed: of the split.

    Raises:
        UserError: the folder or file is missing, damaged or in another format.
    """

    classes = ("Space", *"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    sensor_size = (TAXELS, 1, 2)
    dtype = sigma_delta.EVENT
    ordering = dtype.names

    def __init__(
        self,
        folder: str | Path,
        window_us: int | None = None,
        split: str | None = None,
        validation: float = 0.15,
        test: float = 0.25,
        seed: int = 0,
        transform: Callable[..., Any] | None = None,
        target_transform: Callable[..., Any] | None = None,
        transforms: Callable[..., Any] | None = None,
    ):
        super().__init__(str(folder), transform, target_transform, transforms)
        self.location_on_system = str(folder)
        self.file = candidates(folder)[0]
        if self.file.suffix.lower() == ".npz":
            self.data, letters = _from_samples(self.file, window_us)
            self.encoder = f"sigma-delta, threshold 1, {window_us} us of the samples"
        else:
            self.data, letters = _from_pickle(self.file)
            self.encoder = "sigma-delta, by the publisher of the file"
        if odd := [n for n, letter in enumerate(letters) if letter not in self.classes]:
            raise UserError(
                f"{self.file}: recording {odd[0]}: unknown letter {letters[odd[0]]!r}; known are "
                "Space, A to Z"
            )
        self.targets = [self.classes.index(letter) for letter in letters]
        if split is not None:
            if split not in splits.NAMES:
                raise UserError(f"`split` must be one of {', '.join(splits.NAMES)}, got {split!r}")
            parts = splits.stratified(
                np.array(self.targets), (validation, test), seed, self.classes
            )
            keep = np.flatnonzero(parts == splits.NAMES.index(split))
            self.data = [self.data[i] for i in keep]
            self.targets = [self.targets[i] for i in keep]

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        events, target = self.data[index].copy(), self.targets[index]
        if self.transform is not None:
            events = self.transform(events)
        if self.target_transform is not None:
            target = self.target_transform(target)
        if self.transforms is not None:
            events, target = self.transforms(events, target)
        return events, target

    def __len__(self) -> int:
        return len(self.data)

    def _check_exists(self) -> bool:
        return True  # __init__ has looked; tonic's own check is never asked


def candidates(folder: str | Path) -> list[Path]:
    """The files of a folder that could be read: the samples, then events by rising threshold.

    Raises:
        UserError: there is no such folder, or none of the files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = []
    for path in sorted(folder.iterdir()):
        match = re.fullmatch(r"data_braille_letters_th_([0-9]+)\.pkl", path.name, re.IGNORECASE)
        if match or path.name.lower() == NPZ.lower():
            found.append((int(match[1]) if match else -1, path))
    if not found:
        raise UserError(f"{folder}: holds neither {NPZ} nor data_braille_letters_th_*.pkl")
    return [path for _, path in sorted(found)]


def save_samples(
    path: str | Path,
    taxels: np.ndarray,
    length: np.ndarray,
    letter: np.ndarray,
    repetition: np.ndarray,
    sample_rate_hz: float,
) -> None:
    """Write samples in the format of `taxels_40Hz.npz`.

    Args:
        taxels: (N, T, 12) uint8, 255 = no contact, rows past `length` are 0.
        length: (N,) samples. letter: (N,) "Space" or "A" to "Z". repetition: (N,) of its letter.
    """
    np.savez(
        path,
        taxels=taxels,
        length=length.astype(np.int16),
        letter=letter,
        repetition=repetition.astype(np.int16),
        sample_rate_hz=np.float64(sample_rate_hz),
    )


def _from_samples(path: Path, window_us: int | None) -> tuple[list[np.ndarray], list[str]]:
    taxels, length, letters, rate = _read_samples(path)
    period_us = 1e6 / rate
    window = taxels.shape[1] if window_us is None else int(window_us / period_us) + 1
    if window_us and window == 1:
        raise UserError(
            f"{path}: at `sample_rate_hz` {rate:g} a window of {window_us} us holds one sample; at "
            f"least two are needed, {1e6 / window_us:.4g} Hz or more"
        )
    busiest = 0 if window_us is None else _busiest(taxels, length, window)
    starts = np.clip(length - window, 0, busiest)
    ends = np.minimum(length, starts + window)
    cuts = [samples[a:b] for samples, a, b in zip(taxels, starts, ends, strict=True)]
    return _encode(cuts, period_us), letters


def _busiest(taxels: np.ndarray, length: np.ndarray, window: int) -> int:
    """Where `window` samples start in which all recordings together change most; the first of equals."""
    steps = np.abs(np.diff(taxels.astype(np.int16), axis=1)).sum(axis=2, dtype=np.int64)
    steps[np.arange(steps.shape[1]) >= length[:, None] - 1] = 0  # past the end of the recording
    before = np.concatenate([[0], steps.sum(axis=0).cumsum()])
    span = min(window - 1, steps.shape[1])
    return int((before[span:] - before[: len(before) - span]).argmax())


def _encode(recordings: list[np.ndarray], period_us: float) -> list[np.ndarray]:
    """Encode all recordings, (T, 12) uint8 each, at once: their taxels side by side."""
    longest = max(map(len, recordings))
    # A shorter recording stays at its last sample, which makes no events.
    padded = [samples[np.minimum(np.arange(longest), len(samples) - 1)] for samples in recordings]
    side_by_side = NO_CONTACT - np.concatenate(padded, axis=1).astype(np.float64)
    events = sigma_delta.encode(side_by_side, period_us)
    owner, events["x"] = np.divmod(events["x"], TAXELS)
    order = np.argsort(owner, kind="stable")
    return np.split(events[order], np.searchsorted(owner[order], np.arange(1, len(recordings))))


def _read_samples(path: Path) -> tuple[np.ndarray, np.ndarray, list[str], float]:
    arrays = _load(path)
    if missing := [name for name in ARRAYS if name not in arrays]:
        raise UserError(
            f"{path}: the array `{missing[0]}` is missing; needed are {', '.join(ARRAYS)}"
        )
    taxels, length, letter, rate = (arrays[name] for name in ARRAYS)
    for name, dimensions, kinds, wanted in (
        ("taxels", 3, "u", f"(N, T, {TAXELS}) uint8"),
        ("length", 1, "iu", "(N,) whole numbers"),
        ("letter", 1, "US", "(N,) texts"),
        ("sample_rate_hz", 0, "iuf", "one number"),
    ):
        array = arrays[name]
        odd = array.ndim != dimensions or array.dtype.kind not in kinds
        if odd or (name == "taxels" and (array.shape[2] != TAXELS or array.dtype != np.uint8)):
            raise UserError(f"{path}: `{name}` must be {wanted}, got {array.shape} {array.dtype}")
    if not len(taxels) == len(length) == len(letter) > 0:
        raise UserError(
            f"{path}: {len(taxels)} taxels, {len(length)} lengths and {len(letter)} letters: "
            "they must be as many, and more than none"
        )
    wrong = np.flatnonzero((length < 1) | (length > taxels.shape[1]))
    if len(wrong):
        raise UserError(
            f"{path}: `length` must be between 1 and {taxels.shape[1]}, recording {wrong[0]} has "
            f"{length[wrong[0]]}"
        )
    if not 0 < rate <= MAX_RATE_HZ:
        raise UserError(
            f"{path}: `sample_rate_hz` must be above 0, got {rate}; at most {MAX_RATE_HZ:g}"
        )
    if letter.dtype.kind == "S":  # written by Python 2
        letter = np.char.decode(letter, "latin1")
    return taxels, length.astype(np.int64), [str(name) for name in letter], float(rate)


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file that are read."""
    try:
        # np.load leaves a damaged file that it opened itself open.
        stream = open(path, "rb")  # noqa: SIM115
    except OSError as error:
        raise UserError(f"{path}: {unreadable(path, error)}") from None
    with stream:
        try:
            with np.load(stream, allow_pickle=False) as file:
                return {name: file[name] for name in ARRAYS if name in file}
        except Exception as error:  # a damaged archive can raise nearly anything, a crash is none
            raise UserError(f"{path}: not a readable .npz file (truncated?): {error}") from None


def _from_pickle(path: Path) -> tuple[list[np.ndarray], list[str]]:
    content = unpickle.load(path)
    rows = _rows(content, path) if isinstance(content, dict) else content
    if not isinstance(rows, list) or not rows:
        raise UserError(f"{path}: must hold a list of {{letter, events}}, and not an empty one")
    recordings = []
    for number, row in enumerate(rows):
        if not isinstance(row, dict) or not {"letter", "events"} <= set(row):
            raise UserError(f"{path}: recording {number} has no `letter` and `events`")
        try:
            recordings.append(_from_times(row["events"]))
        except (TypeError, ValueError, OverflowError) as error:
            raise UserError(
                f"{path}: recording {number}: `events` must be [[on times], [off times]] in "
                f"seconds for each of {TAXELS} taxels ({error})"
            ) from None
    letters = [row["letter"] for row in rows]
    return recordings, [a.decode("latin1") if isinstance(a, bytes) else str(a) for a in letters]


def _rows(columns: dict[Any, Any], path: Path) -> list[dict[str, Any]]:
    """Recordings of a dict of columns, which are as long as each other."""
    for name in ("letter", "events"):
        column = columns.get(name)
        if not isinstance(column, list | tuple | np.ndarray) or getattr(column, "ndim", 1) == 0:
            raise UserError(
                f"{path}: a dict must have the lists `letter` and `events`, one entry a recording; "
                f"`{name}` is {type(columns[name]).__name__ if name in columns else 'missing'}"
            )
    letters, events = columns["letter"], columns["events"]
    if len(letters) != len(events):
        raise UserError(
            f"{path}: {len(letters)} entries in `letter`, {len(events)} in `events`: they must be as "
            "many, or recordings get another's letter"
        )
    return [{"letter": a, "events": b} for a, b in zip(letters, events, strict=True)]


def _from_times(taxels: Any) -> np.ndarray:
    if len(taxels) != TAXELS:
        raise ValueError(f"got {len(taxels)} taxels")
    parts = []
    for taxel, pair in enumerate(taxels):
        if len(pair) != 2:
            raise ValueError(f"taxel {taxel} has {len(pair)} lists of times")
        parts += [_times(part, taxel) for part in pair]
    times, counts = np.concatenate(parts), [len(part) for part in parts]
    channel = np.repeat(np.arange(2 * TAXELS), counts)
    events = np.empty(len(times), sigma_delta.EVENT)
    events["t"] = np.rint(times * 1e6)
    events["x"] = channel // 2
    events["p"] = 1 - channel % 2
    return events[np.lexsort((events["x"], events["t"]))]


def _times(values: Any, taxel: int) -> np.ndarray:
    """One list of times, (n,) float64 seconds."""
    times = np.asarray(values)
    if times.ndim != 1 or (len(times) and times.dtype.kind not in "iuf"):
        raise ValueError(f"taxel {taxel} has times of shape {times.shape} and type {times.dtype}")
    times = times.astype(np.float64)
    bad = times[~((times >= 0) & (times <= MAX_SECONDS))]
    if len(bad):
        raise ValueError(
            f"taxel {taxel} has a time of {bad[0]:g} s, which is negative, not finite or beyond "
            f"{MAX_SECONDS:g} s"
        )
    return times
