"""Send events to a board as they come, over its serial port, and print the class so far.

Reads lines `microseconds channel y x` from standard input, in order of time; y and x may be left out of
an input that is a vector. A step ends where an event's time passes the end of a bin. Needs Python 3.10 or
newer, numpy and pyserial. Exit codes as bringup.py; a line that is no event: 2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # the bundle stays as it is
sys.path.insert(0, str(Path(__file__).resolve().parent))
import bringup  # noqa: E402
import protocol  # noqa: E402


class Line(Exception):
    """A line that is no event."""


def events(lines: Iterable[str]) -> Iterator[tuple[float, bytes]]:
    """(microseconds, the command E) of each line.

    Raises:
        Line: a line is no event; with its number.
    """
    before = 0.0
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        try:
            time, places = float(parts[0]), [int(part) for part in parts[1:]]
            place = struct.pack("<3H", *places, *[0] * (3 - len(places)))
        except (IndexError, ValueError, struct.error):
            raise Line(
                f"line {number}: {line.strip()!r}: microseconds channel y x are needed"
            ) from None
        if not places or not before <= time < float("inf"):
            raise Line(f"line {number}: {line.strip()!r}: a channel, and times that grow from 0")
        before = time
        yield time, b"E" + place


def stream(
    board: bringup.Board, vectors: bringup.Vectors, lines: Iterable[str], bin_us: float
) -> int:
    """Send events and end steps; the class in the end. Prints it where it changes."""
    layout, step, sent, last = protocol.step_layout(vectors.network, False), 0, 0, -1
    for time, command in events(lines):
        while time >= (step + 1) * bin_us:
            last = _end(board, layout.itemsize, step, sent, last)
            step, sent = step + 1, 0
        board.send(command)
        sent += 1
    return _end(board, layout.itemsize, step, sent, last)


def _end(board: bringup.Board, size: int, step: int, sent: int, last: int) -> int:
    when = f"step {step}"
    board.send(b"SC")
    bringup.marked(board.receive(1, when), "S", when)
    answer = board.receive(size - 1 + 5, when)
    taken = int.from_bytes(answer[:4], "little")
    if taken != sent:
        raise bringup.Fault(bringup.LOST_EVENT, f"{when}: {taken} of {sent} events were taken")
    bringup.marked(answer[size - 1 :], "C", when)
    found = int.from_bytes(answer[-4:], "little")
    if found != last:
        print(f"step {step}: class {found}", flush=True)
    return found


def main() -> int:
    """The command line."""
    assert __doc__ is not None
    about, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=more)
    here = Path(__file__).absolute().parent
    parser.add_argument("port", help="such as /dev/ttyACM0 or COM3")
    parser.add_argument("folder", nargs="?", type=Path, default=here, help="the bundle")
    parser.add_argument("--baud", type=int, default=115200, help="bits a second; default: 115200")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds; default: 5")
    parser.add_argument(
        "--bin-us", type=float, help="microseconds of a step; default: manifest.json's"
    )
    arguments = parser.parse_args()
    try:
        bin_us = arguments.bin_us
        if bin_us is None:
            manifest = json.loads((arguments.folder / "manifest.json").read_text(encoding="utf-8"))
            bin_us = 1e6 * float(manifest["input_bin_s"])
        vectors = bringup.read(arguments.folder)
        board = bringup.Board(arguments.port, arguments.baud, arguments.timeout)
        with contextlib.closing(board):
            board.synchronise()
            print(f"class {stream(board, vectors, sys.stdin, bin_us)}")
    except bringup.Fault as fault:
        print(f"FAIL: {fault}", file=sys.stderr)
        return fault.code
    except (Line, OSError, KeyError, ValueError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
