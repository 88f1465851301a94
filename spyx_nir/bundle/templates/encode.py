"""Turn a recording into this bundle's input, by address_map.json beside this file.

    python encode.py                     compare recordings.npz with the golden vectors
    python encode.py RECORDING OUT.npy   write the input of a recording of your own

RECORDING is an N-MNIST file (.bin), an array of events (.npy; fields t in microseconds, x, and y and p
where the sensor has rows and polarities), or AEDAT4 (.aedat4, uncompressed). OUT.npy is (steps, *shape)
uint8, counts of events in each bin, silent steps included; for chips that take events one by one it is
the array of events, ordered by t.

Needs Python 3.10 or newer and numpy; nothing of the project that made the bundle. Exit code 0: done; 1:
refused, or something differs; 2: numpy is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import sys
from pathlib import Path
from typing import Any

try:
    import numpy as np
except ImportError as missing:
    print(f"error: encode.py needs numpy: {missing}", file=sys.stderr)
    sys.exit(2)

HERE = Path(__file__).absolute().parent
ADDRESSES = "address_map.json"
RECORDINGS = "recordings.npz"
VECTORS = Path("test_data_set_0") / "vectors.npz"
TEXT_BYTES = 16 << 20  # of address_map.json
# What a damaged file can raise where it is read or used.
BROKEN = (ArithmeticError, EOFError, LookupError, RecursionError, TypeError, ValueError)


class Refused(Exception):
    """A recording that cannot be read or does not fit; one line for the user."""


def _too_large(error: MemoryError) -> Refused:
    why = f" ({error})" if str(error) else ""
    return Refused(f"not enough memory for it{why}; take a shorter recording")


# ------------------------------------------------------------------------------- events to input


def counted(events: np.ndarray, addresses: dict[str, Any]) -> np.ndarray:
    """Events as counts in each bin, (steps, *shape) uint8, without silent steps.

    Args:
        events: fields t (microseconds), x, and y and p where the sensor has them. Those at or behind the
            end of the last bin are left out.
        addresses: address_map.json.

    Raises:
        ValueError: the strides lead an event out of the input.
    """
    time, strides = addresses["time"], addresses["input"]["strides"]
    events = events[events["t"] < time["steps"] * time["bin_us"]]
    size = int(np.prod(addresses["input"]["shape"]))
    cell = events["t"].astype(np.int64) // time["bin_us"] * size
    for field, stride in strides.items():
        cell += events[field].astype(np.int64) * stride
    if ((cell < 0) | (cell >= time["steps"] * size)).any():
        raise ValueError("`strides` lead out of the input")
    counts = np.bincount(cell, minlength=time["steps"] * size)
    most = 1 if addresses["input"]["merge_polarity"] else 255
    shape = (time["steps"], *addresses["input"]["shape"])
    return np.minimum(counts, most).astype(np.uint8).reshape(shape)


def chip_input(events: np.ndarray, addresses: dict[str, Any]) -> np.ndarray:
    """What the chip is given: counts, (steps + silent steps, *shape), or the events by time."""
    time = addresses["time"]
    if time["mode"] == "events":
        inside = events[events["t"] < time["steps"] * time["bin_us"]]
        inside = inside[np.argsort(inside["t"], kind="stable")]
        if addresses["input"]["merge_polarity"] and "p" in (inside.dtype.names or ()):
            inside["p"] = 0  # the chip has one channel for all
        return inside
    counts = counted(events, addresses)
    silent = np.zeros((time["silent_steps"], *counts.shape[1:]), np.uint8)
    return np.concatenate([counts, silent])


def on_sensor(events: np.ndarray, addresses: dict[str, Any]) -> np.ndarray:
    """Events with the sensor's fields alone, int64.

    Raises:
        Refused: a field is missing, or an event is not on the sensor, before 0, or all are too late.
    """
    sensor, names = addresses["sensor"], events.dtype.names or ()
    sizes = {"t": None, **sensor["fields"]}
    if missing := [field for field in sizes if field not in names]:
        raise Refused(f"events without `{missing[0]}`; needed are {', '.join(sizes)}")
    found = np.zeros(len(events), [(field, np.int64) for field in sizes])
    for field, size in sizes.items():
        values = events[field]
        if values.dtype.kind not in "iub" or values.ndim != 1:
            raise Refused(f"`{field}` is {values.dtype} {values.shape}; whole numbers are needed")
        found[field] = values
        low = found[field] < 0
        if (wrong := low if size is None else low | (found[field] >= size)).any():
            first = int(np.flatnonzero(wrong)[0])
            allowed = "0 or more" if size is None else f"0 to {size - 1}"
            raise Refused(
                f"event {first} has {field} = {found[field][first]}; {allowed} is allowed"
            )
    if "y" in names and "y" not in sizes and len(events) and np.any(events["y"] != 0):
        raise Refused("events with rows (y above 0); the sensor has one row")
    end = addresses["time"]["steps"] * addresses["time"]["bin_us"]
    if len(found) and found["t"].min() >= end:
        raise Refused(
            f"the first event is at {found['t'].min()} us, the last bin ends at {end} us; t counts from 0"
        )
    return found


# ----------------------------------------------------------------------------------- the formats


def read(path: Path) -> np.ndarray:
    """The events of a recording, by the ending of its name.

    Raises:
        Refused: no such file, an unknown ending, or not that format.
    """
    readers = {".bin": from_nmnist, ".npy": from_array, ".aedat4": from_aedat4}
    if path.suffix.lower() not in readers:
        raise Refused(f"`{path.suffix}` is not known; there are: {', '.join(readers)}")
    try:
        return readers[path.suffix.lower()](path)
    except OSError as error:
        raise Refused(error.strerror or str(error)) from None


def from_nmnist(path: Path) -> np.ndarray:
    """An N-MNIST file: words of 40 bits, x (8), y (8), p (1), t (23), most significant bit first.

    y = 240 is no event: it adds 2^13 us to all times from there on (Orchard et al. 2015, eventvision.py).
    """
    content = np.fromfile(path, np.uint8)
    if len(content) % 5 or not len(content):
        raise Refused(f"{len(content)} bytes are no whole number of 5-byte events, one or more")
    words = content.reshape(-1, 5).astype(np.int64)
    marks = words[:, 1] == 240
    events = np.zeros(len(words), [(field, np.int64) for field in "txyp"])
    events["x"], events["y"], events["p"] = words[:, 0], words[:, 1], words[:, 2] >> 7
    events["t"] = (words[:, 2] & 127) << 16 | words[:, 3] << 8 | words[:, 4]
    events["t"] += 2**13 * np.cumsum(marks)
    return events[~marks]


def from_array(path: Path) -> np.ndarray:
    """A structured array of events that `numpy.save` wrote."""
    try:
        with open(path, "rb") as stream:
            events = np.lib.format.read_array(stream, allow_pickle=False)
    except MemoryError as error:
        raise _too_large(error) from None
    except BROKEN as error:
        raise Refused(f"not an array that numpy.save wrote: {error}") from None
    if events.ndim != 1 or events.dtype.names is None:
        raise Refused(
            f"a structured array (n,) of events is needed, got {events.shape} {events.dtype}"
        )
    return events


AEDAT4 = b"#!AER-DAT4.0\r\n"
COMPRESSIONS = ("none", "LZ4", "LZ4", "Zstandard", "Zstandard")
EVENT = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "u1"],
     "offsets": [0, 8, 10, 12], "itemsize": 16}
)  # fmt: skip


def from_aedat4(path: Path) -> np.ndarray:
    """The events of an uncompressed AEDAT4 file; t counts from the first of them.

    The format: docs.inivation.com, AEDAT 4.0. A line, a header, then packets (stream and size, int32,
    then the content); header and content are flatbuffers behind their size (uint32).

    Raises:
        Refused: another format, compressed or truncated, or no or several streams with events.
    """
    content = path.read_bytes()
    try:
        return _aedat4(content)
    except (struct.error, ValueError, IndexError):
        raise Refused("not a readable AEDAT4 file (truncated?)") from None


def _aedat4(content: bytes) -> np.ndarray:
    if not content.startswith(AEDAT4):
        raise Refused(f"does not start with {AEDAT4[:-2].decode()}, so it is no AEDAT4 file")
    header, place = _sized(content, len(AEDAT4))
    compression = _number(header, 0, "<i", 0)
    if compression != 0:
        known = 0 < compression < len(COMPRESSIONS)
        name = COMPRESSIONS[compression] if known else f"unknown method {compression}"
        raise Refused(
            f"compressed ({name}), and numpy alone reads uncompressed AEDAT4: write it again without "
            "compression (DV's recorder, or dv-processing with CompressionType.NONE), or "
            "`pip install aedat` and save its events with numpy.save, `on` as p"
        )
    end = _number(header, 1, "<q", -1)
    end = len(content) if end < 0 else end
    streams: dict[int, list[np.ndarray]] = {}
    while place < end:
        stream, size = struct.unpack_from("<ii", content, place)
        packet, place = content[place + 8 : place + 8 + size], place + 8 + size
        if size < 0 or len(packet) != size:
            raise ValueError("a packet ends behind the file")
        if packet[8:12] == b"EVTS":
            streams.setdefault(stream, []).append(_events(_sized(packet, 0)[0]))
    if len(streams) != 1:
        raise Refused(f"{len(streams)} streams with events {sorted(streams)}; one is needed")
    (parts,) = streams.values()
    events = np.concatenate(parts)
    events["t"] -= events["t"].min() if len(events) else 0
    return events


def _sized(content: bytes, place: int) -> tuple[bytes, int]:
    """The flatbuffer behind its size at `place`, and where it ends."""
    (size,) = struct.unpack_from("<I", content, place)
    buffer = content[place + 4 : place + 4 + size]
    if len(buffer) != size:
        raise ValueError("a flatbuffer ends behind the file")
    return buffer, place + 4 + size


def _field(buffer: bytes, number: int) -> int | None:
    """Where field `number` of a flatbuffer's root table is; None: it has its default."""
    (table,) = struct.unpack_from("<I", buffer, 0)
    (back,) = struct.unpack_from("<i", buffer, table)
    (size,) = struct.unpack_from("<H", buffer, table - back)
    if 4 + 2 * number >= size:
        return None
    (offset,) = struct.unpack_from("<H", buffer, table - back + 4 + 2 * number)
    return table + offset if offset else None


def _number(buffer: bytes, number: int, kind: str, default: int) -> int:
    place = _field(buffer, number)
    return default if place is None else int(struct.unpack_from(kind, buffer, place)[0])


def _events(buffer: bytes) -> np.ndarray:
    """The vector of events of a packet, `EVENT`."""
    place = _field(buffer, 0)
    if place is None:
        return np.zeros(0, EVENT)
    (offset,) = struct.unpack_from("<I", buffer, place)
    (count,) = struct.unpack_from("<I", buffer, place + offset)
    return np.frombuffer(buffer, EVENT, count, place + offset + 4).copy()


# ---------------------------------------------------------------------------------- command line


def encode(recording: Path, folder: Path = HERE) -> np.ndarray:
    """The chip's input of a recording. folder: that of address_map.json.

    Raises:
        Refused: it cannot be read, does not fit sensor or memory, or address_map.json was changed.
    """
    try:
        return _encoded(read(recording), folder)
    except MemoryError as error:
        raise _too_large(error) from None


def _encoded(events: np.ndarray, folder: Path) -> np.ndarray:
    try:
        addresses = _addresses(folder)
        return chip_input(on_sensor(events, addresses), addresses)
    except BROKEN as error:
        why = f"{type(error).__name__}: {error}"
        raise Refused(f"{ADDRESSES} beside encode.py is not as it was made ({why})") from None


def _addresses(folder: Path) -> dict[str, Any]:
    """address_map.json; ValueError: it is larger than `TEXT_BYTES`, or no JSON."""
    with open(folder / ADDRESSES, "rb") as stream:
        text = stream.read(TEXT_BYTES + 1)
    if len(text) > TEXT_BYTES:
        raise ValueError(f"larger than {TEXT_BYTES} bytes")
    return dict(json.loads(text))


def check(folder: Path = HERE) -> list[str]:
    """What of the golden recordings, counted, differs from the golden vectors' input; one line each."""
    addresses = _addresses(folder)
    with open(folder / RECORDINGS, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
        events, start = stored["events"], stored["start"]
    path = folder.parent / VECTORS
    with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as stored:
        expected = stored["input"]
    steps = addresses["time"]["steps"]
    if len(start) - 1 != expected.shape[1]:
        return [f"{RECORDINGS} has {len(start) - 1} recordings, {VECTORS} {expected.shape[1]}"]
    said = [steps, *addresses["input"]["shape"]]
    if said != [len(expected[:steps]), *expected.shape[2:]]:
        return [f"{ADDRESSES} has input {str(said)[:60]}, {VECTORS} {expected.shape}"]
    problems = [f"{VECTORS} has events in its silent steps"] if expected[steps:].any() else []
    for n in range(expected.shape[1]):
        found = counted(on_sensor(events[start[n] : start[n + 1]], addresses), addresses)
        if (differs := found != expected[:steps, n]).any():
            problems.append(
                f"recording {n}: {int(differs.sum())} of {differs.size} counts differ from {VECTORS}"
            )
    return problems


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="Turn a recording into this bundle's input, or check the golden recordings.",
        epilog="Exit code 0: done, 1: refused or different, 2: numpy is missing.",
    )
    help = "N-MNIST (.bin), an array of events (.npy) or uncompressed AEDAT4 (.aedat4)"
    parser.add_argument("recording", nargs="?", type=Path, help=help)
    parser.add_argument("out", nargs="?", type=Path, metavar="OUT.npy", help="the file to write")
    arguments = parser.parse_args()
    if arguments.recording is None:
        try:
            problems = check()
        except Exception as error:  # a broken file must become a line, whatever breaks
            problems = [f"not to be checked ({type(error).__name__}: {error})"]
        for problem in problems:
            print(f"differs: {_shown(problem)}", file=sys.stderr)
        print("FAIL" if problems else f"pass: {RECORDINGS} gives the input of {VECTORS}")
        return int(bool(problems))
    if arguments.out is None or arguments.out.suffix != ".npy":
        print("error: OUT.npy is needed beside RECORDING, its name ends in .npy", file=sys.stderr)
        return 1
    try:
        found = encode(arguments.recording)
        _save(arguments.out, found)
    except (Refused, OSError) as error:
        print(f"error: {_shown(f'{arguments.recording}: {error}')}", file=sys.stderr)
        return 1
    what = f"{len(found)} events" if found.dtype.names else f"{found.shape}, {found.sum()} events"
    print(f"{_shown(str(arguments.out))}: {what}")
    return 0


def _shown(text: str) -> str:
    """A text with its control and bidirectional characters as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _save(path: Path, array: np.ndarray) -> None:
    """Write an array under another name and rename it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
