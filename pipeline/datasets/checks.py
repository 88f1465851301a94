"""What `prepare` refuses: recordings that are none, and recordings of which too little is kept."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.schema import Data
from pipeline.tasks import Recordings
from spyx_nir.errors import UserError

# By what times have to be multiplied, and what was taken for what.
UNITS = (
    (1e-3, "nanoseconds were read as microseconds, or milliseconds as seconds"),
    (1e-6, "microseconds were read as seconds"),
    (1e-9, "nanoseconds were read as seconds"),
    (1e3, "milliseconds were read as microseconds"),
    (1e6, "seconds were read as microseconds"),
)


def contract(found: Any, classes: Sequence[str], where: str) -> Recordings:
    """What a task's `recordings` gave, if it is what a task is asked for; `where` is the task's file.

    Raises:
        UserError: names the part that is missing or wrong.
    """
    if not isinstance(found, Recordings):
        raise UserError(
            f"{where}: `recordings` must return a Recordings, got {type(found).__name__}"
        )
    if not len(found.names) == len(found.datasets) in (1, 2):
        raise UserError(
            f"{where}: `recordings` gave {len(found.datasets)} datasets and {len(found.names)} lists "
            "of names; one of each is needed, or two (train and test)"
        )
    for number, (dataset, names) in enumerate(zip(found.datasets, found.names, strict=True)):
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise UserError(
                f"{where}: datasets[{number}] must have `len` and `dataset[i]`, got "
                f"{type(dataset).__name__}"
            )
        if len(dataset) != len(names):
            raise UserError(
                f"{where}: datasets[{number}] has {len(dataset)} recordings, names[{number}] "
                f"{len(names)}; every recording needs the name of its class"
            )
        for item, name in enumerate(names):
            if not isinstance(name, str):
                raise UserError(
                    f"{where}: names[{number}][{item}] must be text, as `data.classes` writes it, got "
                    f"{name!r}"
                )
    for name in classes if found.classes else ():
        if name not in found.classes:
            raise UserError(
                f"data.classes: `{name}` is no class of this task's data set, which has "
                f"{', '.join(map(str, found.classes))}"
            )
    return found


def name_of(found: Recordings, number: int, item: int) -> str:
    """A recording for a message: its file, its file and index, or its index."""
    dataset = found.datasets[number]
    try:
        source = dataset.data[item]
    except Exception:  # a data set of somebody else's: `data` can be anything
        source = None
    if isinstance(source, str | Path):
        return str(source)
    part = "" if len(found.datasets) == 1 else f" of datasets[{number}]"
    file = getattr(dataset, "file", None)
    return f"{file}: recording {item}" if isinstance(file, Path) else f"recording {item}{part}"


def events_of(
    found: Recordings, number: int, item: int, sensor: tuple[int, int, int]
) -> np.ndarray:
    """The events of a recording, all of them on the sensor, at or after 0.

    Raises:
        UserError: the recording cannot be read, or has no such events; names it and the event.
    """

    def refused(why: str) -> UserError:
        return UserError(f"{name_of(found, number, item)}: {why}")

    try:
        sample = found.datasets[number][item]
    except OSError as error:
        raise refused(error.strerror or str(error)) from None
    if not isinstance(sample, tuple | list) or len(sample) != 2:
        of = f" of {len(sample)}" if isinstance(sample, tuple | list) else ""
        raise refused(f"must be (events, target), got {type(sample).__name__}{of}")
    events, sizes = sample[0], fields(sensor)
    needed = ", ".join(sizes)
    if not isinstance(events, np.ndarray) or events.ndim != 1:
        got = f"shape {events.shape}" if hasattr(events, "shape") else type(events).__name__
        raise refused(f"events must be a structured array (n,) with {needed}, got {got}")
    if missing := [field for field in sizes if field not in (events.dtype.names or ())]:
        raise refused(f"events without `{missing[0]}`; needed are {needed}")
    for field, size in sizes.items():
        values = events[field]
        if values.dtype.kind not in "iub" or values.ndim != 1:
            unit = " (microseconds)" if field == "t" else ""
            raise refused(
                f"`{field}` of the events is {events.dtype[field]}; whole numbers are needed{unit}"
            )
        if (beyond := (values < 0) | (values > size - 1)).any():
            first = int(np.flatnonzero(beyond)[0])
            place = ", ".join(f"{f} = {events[f][first]}" for f in sizes)
            raise refused(
                f"event {first} is at {place}, outside the {sensor[0]}x{sensor[1]} sensor with "
                f"{sensor[2]} polarities; `{field}` goes from 0 to {size - 1}"
            )
    return events


def fields(sensor: tuple[int, int, int]) -> dict[str, int]:
    """The fields that events of a sensor need, and how many values each has."""
    optional = {name: size for name, size in zip("yp", sensor[1:], strict=True) if size > 1}
    return {"x": sensor[0], "t": 2**63, **optional}


class Tally:
    """What is kept of each recording: `add` all in their order, then `check`.

    Args:
        data: the task's; its bins are what is kept. sensor: (W, H, P) as in tonic.
        labels, split: (N,) of the recordings, as in the prepared file. parts: names of the splits.
        name: the name of a recording, by its place.
    """

    def __init__(
        self,
        data: Data,
        sensor: tuple[int, int, int],
        labels: np.ndarray,
        split: np.ndarray,
        parts: Sequence[str],
        name: Callable[[int], str],
    ):
        self.data, self.labels, self.split = data, labels, split
        self.parts, self.name = parts, name
        self.fields = fields(sensor)
        self.total, self.past, self.first, self.last = np.zeros((4, len(labels)), np.int64)
        self._seen: dict[bytes, int] = {}
        self._twice: list[tuple[int, int]] = []  # the same events in two classes or splits
        self._count = 0

    @property
    def window(self) -> int:
        """What the bins span, in microseconds."""
        return self.data.bins * self.data.bin_us

    def add(self, events: np.ndarray, past: int) -> None:
        """Note the next recording, of which `past` events are past the last bin."""
        here = self._count
        self._count += 1
        self.total[here], self.past[here] = len(events), past
        if not len(events):
            return
        self.first[here], self.last[here] = events["t"].min(), events["t"].max()
        digest = hashlib.blake2b(digest_size=16)
        for field in self.fields:
            digest.update(events[field].astype(np.int64).tobytes())
        before = self._seen.setdefault(digest.digest(), here)
        if self._owner(before) != self._owner(here):
            self._twice.append((before, here))

    def _owner(self, place: int) -> str:
        return f"`{self.data.classes[self.labels[place]]}`, {self.parts[self.split[place]]}"

    def check(self) -> None:
        """Refuse recordings without events, times that do not fit the bins, and two labels for one.

        Raises:
            UserError: a recording has no events or keeps none, a tenth of all events is left out,
                times of a class fit in another unit, or two classes share a recording.
        """
        bins = f"{self.data.bins} bins of {self.data.bin_us} us"
        everything = np.arange(len(self.total))
        if len(bare := np.flatnonzero(self.total == 0)):
            raise UserError(
                f"{self._named(bare)}: no events; every recording needs some, leave it out"
            )
        if len(lost := np.flatnonzero(self.past == self.total)):
            at = lost[0]
            raise UserError(
                f"{self._named(lost)}: the {self.total[at]} events are from {self.first[at]} to "
                f"{self.last[at]} us, none of them in the {bins}; {self._advice(lost)}"
            )
        past, total = int(self.past.sum()), int(self.total.sum())
        if 10 * past >= total:
            raise UserError(
                f"{past} of {total} events are past the {bins}, less than a tenth may: up to "
                f"{self.last.max()} us in {self.name(int(self.last.argmax()))}; "
                f"{self._advice(everything)}"
            )
        for index, label in enumerate(self.data.classes):
            members = np.flatnonzero(self.labels == index)
            last = int(self.last[members].max())
            if last < self.window // 100 and (unit := self._unit(members)):
                raise UserError(
                    f"class `{label}`: all events are before {last + 1} us of the {self.window} us of "
                    f"the {bins}; {unit}"
                )
        self._warn_of_copies()
        if self.data.bins > 1 and self.last.max() < self.data.bin_us:
            print(
                f"warning: all events are in the first of {bins}, at most at {self.last.max()} us; "
                "t counts in microseconds",
                file=sys.stderr,
            )

    def _warn_of_copies(self) -> None:
        """Warn of one recording in two classes or splits: a task may intend it, a folder rarely does."""
        for other_class, why in (
            (True, "a recording belongs to one class"),
            (False, "accuracies count what was trained on"),
        ):
            pairs = [
                (a, b) for a, b in self._twice if (self.labels[a] != self.labels[b]) == other_class
            ]
            if pairs:
                before, here = pairs[0]
                more = f", and {len(pairs) - 1} more are such copies" if len(pairs) > 1 else ""
                print(
                    f"warning: {self.name(here)} ({self._owner(here)}) has the same events as "
                    f"{self.name(before)} ({self._owner(before)}){more}; {why}: remove one of the two",
                    file=sys.stderr,
                )

    def _named(self, places: np.ndarray) -> str:
        """The first of some recordings, and how many more there are."""
        first, *others = (self.name(int(place)) for place in places[:4])
        rest = ", ..." if len(places) > 4 else ""
        more = f" (and {len(places) - 1} more: {', '.join(others)}{rest})"
        return first + more * bool(others)

    def _advice(self, places: np.ndarray) -> str:
        """What would make recordings that last too long fit."""
        first, last = self.first[places], self.last[places]
        if unit := self._unit(places):
            return unit
        longest = int((last - first).max())
        subtract = "subtract the time of a recording's first event"
        if first.min() >= longest:
            more = f"; then {self._bins(longest)}" * (longest >= self.window)
            return f"their clock seems not to start at 0: {subtract}, {first[0]} us here{more}"
        clock = f"if their clocks do not start at 0, {subtract}; " * (longest < self.window)
        return (
            f"{clock}{self._bins(int(last.max()))}; to use less of them, cut them in `recordings` of "
            "the task"
        )

    def _bins(self, end: int) -> str:
        """The parameters with which the bins hold all up to `end` us."""
        bins, width = end // self.data.bin_us + 1, end // self.data.bins + 1
        return f"data.bins {bins}, or data.bin_us {width}, would hold all"

    def _unit(self, places: np.ndarray) -> str:
        """The unit in which times would last about as long as the bins; empty if there is none."""
        usual = float(np.median(self.last[places]))
        if float(np.median(self.first[places])) > 0.9 * usual:
            return ""  # a clock that does not start at 0 says nothing of its unit
        for factor, what in UNITS:
            if self.window / 20 <= usual * factor <= 1.25 * self.window:
                by = f"multiplied by {factor:.0f}" if factor > 1 else f"divided by {1 / factor:.0f}"
                return f"{by}, the times would fit: it seems that {what}"
        return ""
