"""`events/` of a bundle: the golden recordings as events, the address map, and encode.py.

recordings.npz      `events`, all recordings one after the other, each ordered by t: t in microseconds, x,
                    and y and p where the sensor has rows and polarities; `start` (N + 1,): recording n is
                    `events[start[n]:start[n + 1]]`
address_map.json    what becomes of an event: sensor, input channel, bin; layer to core; output to class
encode.py           recordings of one's own to the network's input, with NumPy alone

Without its arguments encode.py checks that the golden recordings give the golden vectors' input.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.bundle import standalone

FOLDER = "events"
RECORDINGS, ADDRESSES, PROGRAM = "recordings.npz", "address_map.json", "encode.py"
VERSION = 1


@dataclass(frozen=True)
class Encoding:
    """How events of a sensor become a network's input.

    sensor: (columns, rows, polarities). shape: of a step, (W,), (P, W) or (P, H, W). channels: what
    each input channel is. steps, bin_us: how many bins, and a bin's length in microseconds. silent:
    steps without input behind them, in which delayed spikes arrive. merge: an input is 1 where there
    is an event of any polarity, else it counts events. singly: the chip takes events one by one.
    """

    sensor: tuple[int, int, int]
    shape: tuple[int, ...]
    channels: Sequence[str]
    steps: int
    bin_us: int
    silent: int = 0
    merge: bool = False
    singly: bool = False

    @property
    def fields(self) -> dict[str, int]:
        """The fields of an event besides t, and how many values each has."""
        columns, rows, polarities = self.sensor
        found = {"x": columns, "y": rows, "p": polarities}
        return {name: size for name, size in found.items() if size > 1 or name == "x"}

    @property
    def strides(self) -> dict[str, int]:
        """What each field adds to the place in a flattened step."""
        columns, rows, _ = self.sensor
        strides = {"p": rows * columns, "y": columns, "x": 1}
        if self.merge:
            del strides["p"]
        return {name: stride for name, stride in strides.items() if name in self.fields}


def address_map(
    encoding: Encoding,
    neurons: Mapping[str, Sequence[int]],
    cores: Mapping[str, int],
    classes: Sequence[str],
    more: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What address_map.json holds.

    Args:
        neurons: population -> shape; the last is the output. cores: population -> core, where the chip
            has cores. classes: of the outputs. more: entries for this chip alone.
    """
    *_, output = neurons
    p = "" if encoding.merge or "p" not in encoding.fields else "p"
    address = " + ".join(
        name if stride == 1 else f"{stride} * {name}" for name, stride in encoding.strides.items()
    )
    counting = (
        "an input is 1 where it has events of any polarity in bin t // bin_us"
        if encoding.merge
        else "an input is the count of its events in bin t // bin_us, at most 255"
    )
    if encoding.singly:
        counting = f"events are sent one by one, by t; in the vectors {counting}"
    return {
        "version": VERSION,
        "sensor": {"fields": encoding.fields, "t": "microseconds from the recording's start"},
        "input": {
            "shape": list(encoding.shape),
            "address": address,
            "strides": encoding.strides,
            "merge_polarity": encoding.merge,
            "channels": [
                {"channel": i, **({"p": i} if p else {}), "what": what}
                for i, what in enumerate(encoding.channels)
            ],
        },
        "time": {
            "mode": "events" if encoding.singly else "bins",
            "how": f"{counting}; events from steps * bin_us on are left out",
            "steps": encoding.steps,
            "bin_us": encoding.bin_us,
            "silent_steps": encoding.silent,
        },
        "layers": [
            {"neurons": name, "shape": list(shape), "core": cores.get(name)}
            for name, shape in neurons.items()
        ],
        "output": {
            "neurons": output,
            "classes": [{"neuron": i, "class": name} for i, name in enumerate(classes)],
        },
        **(more or {}),
    }


def addresses(recording: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Where its events are in the flattened shape of a step, (W,), (P, W) or (P, H, W): int64."""
    place = np.zeros(len(recording), np.int64)
    fields = ("p", "y", "x") if len(shape) == 3 else ("p", "x")[-len(shape) :]
    for field, size in zip(fields, shape, strict=True):
        place = place * size + recording[field]
    return place


def write(
    folder: Path,
    recordings: Sequence[np.ndarray],
    addresses: Mapping[str, Any],
    more: Mapping[str, np.ndarray] | None = None,
) -> None:
    """Write the three files of `events/` into the new folder `folder`.

    Args:
        recordings: structured arrays with the sensor's fields, in the order of the golden vectors; events
            behind the last bin are left out.
        more: further arrays of recordings.npz.
    """
    fields = {"t": np.int64, **dict.fromkeys(addresses["sensor"]["fields"], np.int16)}
    end = addresses["time"]["steps"] * addresses["time"]["bin_us"]
    kept = []
    for events in recordings:
        inside = events[events["t"] < end]
        inside = inside[np.argsort(inside["t"], kind="stable")]
        found = np.zeros(len(inside), [*fields.items()])
        for field in fields:
            found[field] = inside[field]
        kept.append(found)
    folder.mkdir()
    with open(folder / RECORDINGS, "wb") as stream:
        arrays = {"events": np.concatenate(kept), "start": np.cumsum([0, *map(len, kept)])}
        files.write_npz(stream, {**arrays, **(more or {})})
    text = json.dumps(addresses, indent=2, ensure_ascii=False)
    files.write_text(folder / ADDRESSES, text + "\n")
    program = (standalone.TEMPLATES / PROGRAM).read_text(encoding="utf-8")
    files.write_text(folder / PROGRAM, program)


def of_frames(frames: np.ndarray, encoding: Encoding) -> np.ndarray:
    """Events that give the counts of a recording, for recordings of which nothing else is kept.

    The times are made up: of n events of a pixel and channel in a bin the i-th (from 0) comes at the
    bin's start plus (2 i + 1) / (2 n) of its length, in whole microseconds, rounded down. Where
    polarities are merged, p is 0.

    Args:
        frames: (T, *shape) counts.

    Returns:
        Structured array with the sensor's fields, ordered by t, then by y, x and p.
    """
    columns, rows, _ = encoding.sensor
    counts = frames.reshape(len(frames), -1, rows, columns).astype(np.int64)
    step, p, y, x = np.nonzero(counts)
    n = counts[step, p, y, x]
    i = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    events = np.zeros(len(i), [("t", np.int64), *((name, np.int16) for name in encoding.fields)])
    values = {"x": x, "y": y, "p": p}
    for field in encoding.fields:
        events[field] = np.repeat(values[field], n)
    n, step = np.repeat(n, n), np.repeat(step, n)
    events["t"] = step * encoding.bin_us + (2 * i + 1) * encoding.bin_us // (2 * n)
    order = [name for name in ("p", "x", "y") if name in encoding.fields]
    return events[np.lexsort([events[name] for name in (*order, "t")])]
