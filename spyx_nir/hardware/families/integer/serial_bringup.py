"""Compare a board, over its serial port, with this bundle's golden recordings, and time it.

Needs Python 3.10 or newer, numpy and pyserial; nothing of the project that made the bundle. The board
speaks the protocol of c/serial.h: C on a microcontroller, or rtl/ on an FPGA. Every spike and every state
is compared with test_data_set_0/integer_vectors.npz. Exit code 0: all are the same. 1: a spike or a state
differs. 2: the command line is wrong, or a package is missing. 3: the port cannot be opened. 4: no
answer. 5: a byte was lost. 6: an event was lost. 7: layers run in another order. 8: a file is damaged.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import json
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import numpy as np
    import serial
except ImportError as missing:
    print(f"error: bringup.py needs {missing.name}: pip install numpy pyserial", file=sys.stderr)
    sys.exit(2)

sys.dont_write_bytecode = True  # the bundle stays as it is
sys.path.insert(0, str(Path(__file__).resolve().parent))
import protocol  # noqa: E402

DIFFERS, NO_PORT, NO_ANSWER, LOST_BYTE, LOST_EVENT, ORDER, DAMAGED = 1, 3, 4, 5, 6, 7, 8
MANY = 1000  # neurons: above, the states of one recording are read, for the time that takes
EVENT_BYTES = 7
QUIET_S = 0.2
TRIES = 3
ICE40_PREAMBLE = b"\x7e\xaa\x99\x7e"
ECP5_PREAMBLE, ECP5_END = b"\xff\xff\xbd\xb3", b"\x5e\0\0\0"


class Fault(Exception):
    """What is wrong, in one line, and the exit code for it."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Board:
    """A board at the other end of a serial port."""

    def __init__(self, port: str, baud: int, timeout: float) -> None:
        """timeout: seconds that an answer may take, besides the time of its bytes on the line."""
        self.baud, self.timeout, self.answered = baud, timeout, False
        try:
            self.port = serial.serial_for_url(port, baud, write_timeout=timeout)
        except (serial.SerialException, OSError, ValueError) as error:
            raise Fault(NO_PORT, f"{port}: cannot be opened: {_line(error)}") from None
        self.name = port

    def close(self) -> None:
        self.port.close()

    def synchronise(self) -> None:
        """Let the board finish what an interrupted run left, then reset its states.

        A board that waits for the rest of an event takes at most six bytes for it; what is sent are
        commands that are unknown, which any other board answers with `?`. Answers may be delayed (the
        pseudo-terminal of QEMU notices a reader once a second), so the last one is waited for.
        """
        for _ in range(TRIES):
            self._drain()
            self.send(b"\0" * EVENT_BYTES + b"R")
            answer = self.receive(1, "the reset")
            while answer == b"?":
                answer = self.receive(1, "the reset")
            self.send(b"T")
            if answer == b"R" and self.receive(1, "the clock") == b"T":
                self.receive(4, "the clock")
                return
        raise Fault(LOST_BYTE, "the reset: other bytes than R and T come back: another baud rate?")

    def _drain(self) -> None:
        self._wait(QUIET_S)
        while self._read(4096):
            self.answered = True

    def send(self, data: bytes) -> None:
        with self._losses():
            try:
                self.port.write_timeout = self._patience(len(data))
                self.port.write(data)
            except serial.SerialTimeoutException:
                raise Fault(NO_ANSWER, f"{self.name}: takes no bytes: is it running?") from None

    def receive(self, count: int, when: str) -> bytes:
        """`count` bytes.

        Raises:
            Fault: fewer came; an unknown command was answered.
        """
        self._wait(self._patience(count))
        found = self._read(count)
        if not found:
            what = (
                "stopped answering"
                if self.answered
                else "no answer: is it running, is it the port?"
            )
            raise Fault(NO_ANSWER, f"{self.name}: {when}: {what}")
        self.answered = True
        if len(found) < count:
            raise Fault(LOST_BYTE, f"{when}: {len(found)} of {count} bytes came: a byte was lost")
        return found

    def _patience(self, count: int) -> float:
        return self.timeout + 10 * count / self.baud  # a byte is 10 bits on the line

    def _wait(self, seconds: float) -> None:
        with self._losses():
            self.port.timeout = seconds

    def _read(self, count: int) -> bytes:
        with self._losses():
            return bytes(self.port.read(count))

    @contextlib.contextmanager
    def _losses(self) -> Iterator[None]:
        try:
            yield
        except (serial.SerialException, OSError) as error:
            if isinstance(error, serial.SerialTimeoutException):
                raise
            raise Fault(NO_ANSWER, f"{self.name}: the port was closed: {_line(error)}") from None

    def nothing(self) -> int:
        """What the board's clock counts between two readings."""
        self.send(b"T")
        answer = self.receive(5, "the clock")
        if answer[:1] != b"T":
            raise Fault(LOST_BYTE, "the clock: another byte than T came back: a byte was lost")
        return int.from_bytes(answer[1:], "little")


@dataclasses.dataclass(frozen=True)
class Vectors:
    """The golden recordings: arrays by name, the network, and how often an input counts in a step."""

    arrays: dict[str, np.ndarray]
    network: dict[str, Any]
    most: int

    def input(self, sample: int) -> np.ndarray:
        """(T, *shape) counts."""
        return self.arrays["input"][:, sample]


def read(folder: Path) -> Vectors:
    """The golden recordings of a bundle.

    Raises:
        Fault: the file is damaged.
    """
    path = folder / protocol.VECTORS
    try:
        with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = dict(archive)
        network = protocol.network_of(arrays)
        return Vectors(arrays, network, network["chip"]["neuron.input_spikes_per_step"])
    except Exception as error:  # a broken file must become a line, whatever breaks
        raise Fault(DAMAGED, f"{path}: not readable ({type(error).__name__}: {error})") from None


# ------------------------------------------------------------------------------------------- files


def check_sums(folder: Path) -> None:
    """Compare the bundle's files with SHA256SUMS, where it is there.

    Raises:
        Fault: a file is missing or changed.
    """
    sums = folder / "SHA256SUMS"
    for line in sums.read_text(encoding="utf-8").splitlines() if sums.exists() else ():
        digest, _, name = line.partition("  ")
        path = folder / name
        if not path.is_file():
            raise Fault(DAMAGED, f"{path}: missing, SHA256SUMS has it")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise Fault(
                DAMAGED,
                f"{path}: not the file of SHA256SUMS: make it, and what was built of it, again",
            )


def check_image(path: Path) -> str:
    """What was loaded: its size. A file `<name>.sha256` beside it has the digest that it must have.

    Raises:
        Fault: it is empty, shorter than it says itself, or has another digest.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Fault(DAMAGED, f"{path}: {error.strerror}") from None
    due = _due(data)
    if len(data) < due or not data:
        raise Fault(DAMAGED, f"{path}: {len(data)} bytes, {due} are due: truncated")
    # Before the preamble there may be a comment, from 0xff00 on.
    if data[:4] == ICE40_PREAMBLE or (data[:2] == b"\xff\0" and ICE40_PREAMBLE in data):
        _check_ice40(path, data)
    # The command that ends an ECP5 bitstream, and idle bytes behind it (Project Trellis).
    if ECP5_PREAMBLE in data[:1024] and not data.rstrip(b"\xff").endswith(ECP5_END):
        raise Fault(DAMAGED, f"{path}: truncated: {len(data)} bytes, no end of the bitstream")
    beside = path.with_name(path.name + ".sha256")
    if beside.exists():
        digest = beside.read_text(encoding="utf-8").split()[:1]
        if digest != [hashlib.sha256(data).hexdigest()]:
            raise Fault(DAMAGED, f"{path}: SHA-256 is not that of {beside.name}")
    return f"{path}: {len(data)} bytes"


def _due(data: bytes) -> int:
    """How long a file is by its own headers: of an ELF of 32 bits, of UF2; 1 of any other."""
    if data[:5] == b"\x7fELF\x01":
        if len(data) < 52:
            return 52
        programs, sections = struct.unpack_from("<II", data, 28)
        size, count, section_size, section_count = struct.unpack_from("<HHHH", data, 42)
        ends = [programs + size * count, sections + section_size * section_count]
        for at in range(programs, min(ends[0], len(data) - size + 1), max(size, 1)):
            _, offset, _, _, length = struct.unpack_from("<IIIII", data, at)
            ends.append(offset + length)
        return max(ends)
    if data[:4] == b"UF2\n":
        return int(struct.unpack_from("<I", data.ljust(28, b"\0"), 24)[0]) * 512
    return 1


def _check_ice40(path: Path, data: bytes) -> None:
    """Walk the commands of an iCE40 bitstream to the one that starts it, with its checksum.

    Format: Project IceStorm, "Bitstream file format documentation".
    """
    crc, width, height, at = 0xFFFF, 0, 0, data.index(ICE40_PREAMBLE) + 4
    checked = False
    try:
        while True:
            command, length = data[at] >> 4, data[at] & 15
            payload = int.from_bytes(data[at + 1 : at + 1 + length], "big")
            end = at + 1 + length
            if command == 0 and payload == 6:  # wake up
                if not checked:
                    raise Fault(DAMAGED, f"{path}: an iCE40 bitstream without a checksum")
                return
            if command == 0 and payload in (1, 3):  # a block of configuration or of memory
                end += width * height // 8 + 2
            if end > len(data):
                raise IndexError
            if command == 0 and payload == 5:
                crc = 0xFFFF
            elif command == 2:  # the rest makes the checksum 0
                if _crc(crc, data[at:end]) != 0:
                    raise Fault(DAMAGED, f"{path}: the checksum of the iCE40 bitstream is wrong")
                checked = True
            else:
                crc = _crc(crc, data[at:end])
            width = payload + 1 if command == 6 else width
            height = payload if command == 7 else height
            at = end
    except IndexError:
        raise Fault(
            DAMAGED, f"{path}: truncated: {len(data)} bytes, no end of the bitstream"
        ) from None


def _crc(crc: int, data: bytes) -> int:
    """CRC-16, polynomial 0x1021."""
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = ((crc << 1) ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


# ----------------------------------------------------------------------------------------- compare


def run(board: Board, vectors: Vectors, sample: int, states: bool) -> tuple[bytes, list[float]]:
    """A recording: all that came back, as `protocol.answers` reads it, and the seconds of each step.

    Raises:
        Fault: no answer, a lost byte, a lost event; with the step.
    """
    layout = protocol.step_layout(vectors.network, states)
    board.send(b"R")
    found, seconds = (
        [marked(board.receive(1, f"recording {sample}"), "R", f"recording {sample}")],
        [],
    )
    for step, counts in enumerate(vectors.input(sample)):
        when = f"recording {sample}, step {step}"
        start = time.monotonic()
        board.send(protocol.events(counts, vectors.most) + (b"SV" if states else b"S"))
        # A mark alone first: what an event that lost a byte leaves is answered with `?`, not with `S`.
        answer = marked(board.receive(1, when), "S", when)
        answer += board.receive(layout.itemsize - 1, when)
        seconds.append(time.monotonic() - start)
        row = np.frombuffer(answer, layout)[0]
        if states:
            marked(bytes(row["V"]), "V", when)
        sent = int(np.minimum(counts, vectors.most).sum(dtype=np.int64))
        if int(row["events"]) != sent:
            raise Fault(LOST_EVENT, f"{when}: {int(row['events'])} of {sent} events were taken")
        found.append(answer)
    board.send(b"C")
    answer = board.receive(5, f"recording {sample}, its class")
    marked(answer[:1], "C", f"recording {sample}, its class")
    return b"".join(found) + answer, seconds


def marked(found: bytes, mark: str, when: str) -> bytes:
    """The answer, where it begins with its mark.

    Raises:
        Fault: it does not.
    """
    if found[:1] != mark.encode():
        raise Fault(
            LOST_BYTE, f"{when}: the answer begins with {found[:1]!r}, not {mark}: a byte was lost"
        )
    return found


def first_difference(found: dict[str, np.ndarray], vectors: Vectors, sample: int) -> str | None:
    """The first number that differs, in the order of a step: its place, and both numbers."""
    rows = []
    for order, neurons in enumerate(vectors.network["neurons"]):
        for rank, kind in enumerate(protocol.KINDS):
            key = f"{kind}/{neurons['name']}"
            if key not in found or key not in vectors.arrays or not found[key].shape[1]:
                continue
            seen, expected = found[key][:, 0], vectors.arrays[key][:, sample]
            differs = np.argwhere(seen != expected)
            if len(differs):
                step, *neuron = (int(i) for i in differs[0])
                place = tuple(differs[0])
                text = (
                    f"{key}: recording {sample}, step {step}, neuron {tuple(neuron)}: "
                    f"expected {int(expected[place])}, seen {int(seen[place])}; {len(differs)} of "
                    f"{seen.size} differ"
                )
                rows.append((step, order, rank, text))
    return min(rows)[-1] if rows else None


def other_order(found: dict[str, np.ndarray], vectors: Vectors, sample: int) -> str | None:
    """Two populations that run in the wrong order, where that explains the first difference.

    Then nothing of the one's spikes arrives at the other before that fires: up to the first difference
    its membranes and spikes are those without the link, and later they are not.
    """
    try:
        import verify_integers
    except ImportError:
        return None
    network = verify_integers.network_of(vectors.arrays)
    (name,) = network.inputs
    x = {name: vectors.input(sample)[:, None].astype(np.int64)}
    order = [population.name for population in network.populations]
    for weight in network.weights:
        source, target = weight.source, weight.target
        keys = [f"{kind}/{target}" for kind in ("membrane", "spikes")]
        expected = [vectors.arrays[key][:, sample] for key in keys if found[key].shape[1]]
        seen = [found[key][:, 0] for key in keys if found[key].shape[1]]
        if source not in order or order.index(source) >= order.index(target):
            continue
        first = min(_first_step(a, b) for a, b in zip(seen, expected, strict=True))
        rest = tuple(w for w in network.weights if w is not weight)
        run = verify_integers.run(dataclasses.replace(network, weights=rest), x, record=True)
        without = [run.membranes[target][:, 0], run.spikes[target][:, 0]][-len(seen) :]
        step = min(_first_step(a, b) for a, b in zip(seen, without, strict=True))
        if first < step < len(seen[0]):
            return f"`{target}` runs before `{source}`, whose spikes of the step it needs"
    return None


def _first_step(a: np.ndarray, b: np.ndarray) -> int:
    """The first step in which two arrays (T, *shape) differ; T where they do not."""
    steps = (a != b).reshape(len(a), -1).any(axis=1)
    return int(steps.argmax()) if steps.any() else len(a)


def compare(board: Board, vectors: Vectors, sample: int, states: bool) -> dict[str, np.ndarray]:
    """A recording, compared; what `protocol.answers` gives.

    Raises:
        Fault: as `run`; a spike or a state differs.
    """
    data, _ = run(board, vectors, sample, states)
    steps = len(vectors.input(sample))
    found = protocol.answers(data, vectors.network, steps, 1, int(states))
    difference = first_difference(found, vectors, sample)
    if difference is not None:
        swapped = other_order(found, vectors, sample)
        if swapped is not None:
            raise Fault(ORDER, f"{swapped}: {difference}")
        raise Fault(DIFFERS, difference)
    (output,) = (n["name"] for n in vectors.network["neurons"] if n["output"])
    counts = vectors.arrays[f"spikes/{output}"][:, sample].reshape(steps, -1).sum(axis=0)
    if int(found["class"][0]) != int(counts.argmax()):
        seen, expected = int(found["class"][0]), int(counts.argmax())
        raise Fault(DIFFERS, f"recording {sample}: class {seen}, expected {expected}")
    return found


def measure(
    board: Board, vectors: Vectors, found: list[dict[str, np.ndarray]], clock: float | None
) -> dict[str, Any]:
    """Times a step: by the board's clock over all recordings, and over the serial port of one.

    clock: how often the board's clock counts in a second; None: its ticks are given as they are.
    """
    nothing = board.nothing()
    _, seconds = run(board, vectors, 0, states=False)
    calls = [part["events"].astype(np.int64) + 1 for part in found]
    ticks = np.concatenate(
        [(part["ticks"] - n * nothing).ravel() for part, n in zip(found, calls, strict=True)]
    )
    measured: dict[str, Any] = {
        "ticks_per_step": {"mean": float(ticks.mean()), "most": float(ticks.max())},
        "ticks_of_nothing": nothing,
        "wall_s_per_step": {"mean": float(np.mean(seconds)), "most": float(np.max(seconds))},
    }
    if clock is not None:
        measured["s_per_step"] = {
            key: value / clock for key, value in measured["ticks_per_step"].items()
        }
    return measured


def bring_up(arguments: argparse.Namespace) -> None:
    """Check files, compare, measure, and print each.

    Raises:
        Fault: the first thing that is wrong.
    """
    folder = arguments.folder
    check_sums(folder)
    if arguments.image is not None:
        print(check_image(arguments.image))
    vectors = read(folder)
    golden = vectors.arrays["input"].shape[1]
    recordings = min(golden if arguments.recordings is None else arguments.recordings, golden)
    neurons = sum(int(np.prod(n["shape"])) for n in vectors.network["neurons"])
    states = recordings if neurons < MANY else 1
    states = min(states if arguments.states is None else arguments.states, recordings)
    board = Board(arguments.port, arguments.baud, arguments.timeout)
    with contextlib.closing(board):
        board.synchronise()
        found = [compare(board, vectors, n, n < states) for n in range(recordings)]
        spikes, numbers = (
            sum(a.size for part in found for key, a in part.items() if key.startswith(kinds))
            for kinds in ("spikes/", ("membrane/", "current/"))
        )
        print(
            f"pass: {arguments.port}: {recordings} of {golden} recordings, {spikes} entries of spikes "
            f"and {numbers} of states, 0 differ",
            flush=True,
        )
        measured = measure(board, vectors, found, arguments.clock)
    for line in _times(measured):
        print(line)
    if arguments.json is not None:
        about = {"recordings": recordings, "spike_entries": spikes, "state_entries": numbers}
        arguments.json.write_text(json.dumps(about | measured, indent=2) + "\n", encoding="utf-8")


def _times(measured: dict[str, Any]) -> Iterator[str]:
    ticks, wall = measured["ticks_per_step"], measured["wall_s_per_step"]
    if not ticks["most"] and not measured["ticks_of_nothing"]:
        yield "a step: the board has no clock"
    else:
        yield (
            f"a step: {ticks['mean']:.1f} ticks of the board's clock on average, "
            f"{ticks['most']:.0f} at most"
        )
    if "s_per_step" in measured:
        mean, most = (1e6 * measured["s_per_step"][key] for key in ("mean", "most"))
        yield f"a step: {mean:.2f} us on average, {most:.2f} us at most, by --clock"
    yield (
        f"a step with its bytes over the port: {1e3 * wall['mean']:.2f} ms on average, "
        f"{1e3 * wall['most']:.2f} ms at most"
    )


def _line(error: object) -> str:
    return " ".join(str(error).split())


def _positive(kind: Any) -> Any:
    def parse(text: str) -> Any:
        value = kind(text)
        if not 0 < value < 1e12:
            raise ValueError
        return value

    parse.__name__ = f"positive {kind.__name__}"
    return parse


def main() -> int:
    """The command line."""
    assert __doc__ is not None
    about, _, codes = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(description=about, epilog=codes)
    here = Path(__file__).absolute().parent
    add = parser.add_argument
    add("port", help="such as /dev/ttyACM0, COM3, or what an emulator printed")
    add("folder", nargs="?", type=Path, default=here, help="the bundle; default: that of this file")
    add("--baud", type=_positive(int), default=115200, help="bits a second; default: 115200")
    add("--recordings", type=_positive(int), help="how many golden recordings; default: all")
    add(
        "--states",
        type=int,
        help=f"of how many states are read; default: all, 1 above {MANY} neurons",
    )
    add(
        "--timeout",
        type=_positive(float),
        default=5.0,
        help="seconds that an answer may take; default: 5",
    )
    add("--clock", type=_positive(float), help="how often the board's clock counts in a second")
    add("--image", type=Path, help="the file that was loaded, to check that it is whole")
    add("--json", type=Path, help="a file for the figures, such as measured/bringup.json")
    try:
        bring_up(parser.parse_args())
    except Fault as fault:
        print(f"FAIL: {fault}", file=sys.stderr)
        return fault.code
    return 0


if __name__ == "__main__":
    sys.exit(main())
