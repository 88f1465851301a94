"""bringup.py over a serial port: the host's C behind a pseudo-terminal, right and faulty."""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from integer_bundles import bring_up, recurrent

from bench.silicon.pty_bridge import Bridge
from spyx_nir.hardware.families.integer import verify_c

CC = verify_c.compiler()
pytestmark = pytest.mark.skipif(CC is None, reason="no C compiler: apt-get install gcc")
WAIT = (
    "--timeout",
    "2",
)  # the program answers in microseconds; only what never comes is waited for


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return recurrent(tmp_path / "bundle")


def built(bundle: Path) -> list[str]:
    """The command that serves the protocol without waiting for more to write."""
    program = bundle / "host"
    verify_c.build(bundle / "c", program, str(CC))
    return [str(program), "serial"]


def edited(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def failed(done: subprocess.CompletedProcess[str], code: int, line: str) -> None:
    """One line, that exit code, no traceback, no pass."""
    assert done.returncode == code and done.stderr.startswith("FAIL: ")
    assert done.stderr.count("\n") == 1 and "pass" not in done.stdout
    assert re.search(line, done.stderr)


def test_every_spike_and_state_is_compared_and_a_step_timed(bundle: Path) -> None:
    """12 neurons with a current each, 40 steps: 480 spikes a recording and 960 states."""
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT, "--json", str(bundle / "found.json"))
        assert (done.returncode, done.stderr) == (0, "")
        first, clock, wall = done.stdout.splitlines()
        assert first.endswith(
            "3 of 3 recordings, 1440 entries of spikes and 2880 of states, 0 differ"
        )
        assert clock == "a step: the board has no clock" and "ms at most" in wall
        found = json.loads((bundle / "found.json").read_text())
        assert (found["recordings"], found["state_entries"]) == (3, 2880)
        assert found["wall_s_per_step"]["mean"] > 0
        done = bring_up(bundle, bridge.port, *WAIT, "--recordings", "2", "--states", "1")
        assert "2 of 3 recordings, 960 entries of spikes and 960 of states" in done.stdout


def test_time_is_what_the_clock_counts(bundle: Path) -> None:
    """A clock of 5 a reading: each call counts 5, as does nothing; so a step takes none. One that counts
    100 more in model_step has 100 a step: 100 us at 1 MHz."""
    host = bundle / "c" / "host.c"
    edited(
        host,
        "    return 0;\n}\n\nint main",
        "    static uint32_t now;\n    return now += 5u;\n}\n\nint main",
    )
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT)
    assert "\na step: 0.0 ticks of the board's clock on average, 0 at most\n" in done.stdout
    edited(
        bundle / "c" / "serial.c",
        "ticks += port->clock() - before;\n    put32",
        "ticks += 100u + port->clock() - before;\n    put32",
    )
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT, "--clock", "1e6")
    assert "\na step: 100.0 ticks of the board's clock on average, 100 at most\n" in done.stdout
    assert "\na step: 100.00 us on average, 100.00 us at most, by --clock\n" in done.stdout


# ------------------------------------------------------------------------------------------ faults


def test_a_port_that_is_not_there(bundle: Path) -> None:
    failed(bring_up(bundle, str(bundle / "tty")), 3, "tty: cannot be opened: ")


def test_a_board_that_does_not_start(bundle: Path) -> None:
    with Bridge(["sleep", "60"]) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "0.3")
    failed(done, 4, "the reset: no answer: is it running, is it the port?")


def test_a_board_that_stops(bundle: Path) -> None:
    """After 1000 bytes it answers nothing more."""
    sent = iter(range(10**6))

    def cut(data: bytes) -> bytes:
        return bytes(byte for byte in data if next(sent) < 1000)

    with Bridge(built(bundle), from_program=cut) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "0.3")
    failed(done, 5, r"recording 0, step \d+: \d+ of \d+ bytes came: a byte was lost")


class Drop:
    """A line that loses one byte."""

    def __init__(self, which: int) -> None:
        self.left = which

    def __call__(self, data: bytes) -> bytes:
        at, self.left = self.left, self.left - len(data)
        return data[:at] + data[at + 1 :] if 0 <= at < len(data) else data


@pytest.mark.parametrize("which", [20, 21, 24, 333])
def test_a_byte_that_the_board_does_not_get(bundle: Path, which: int) -> None:
    """It is seen; the same board, not restarted, passes on the next run."""
    with Bridge(built(bundle), to_program=Drop(which)) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "0.3")
        failed(done, done.returncode, r"recording \d, step \d+: ")
        assert done.returncode in (
            4,
            5,
            6,
        )  # a lost S is no answer; a lost E or place is an event less
        assert bring_up(bundle, bridge.port, *WAIT).returncode == 0


@pytest.mark.parametrize("which", [30, 1234])
def test_a_byte_that_the_board_sends_in_vain(bundle: Path, which: int) -> None:
    with Bridge(built(bundle), from_program=Drop(which)) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "0.3")
        failed(done, 5, r"recording 0, step \d+: .*a byte was lost")
        assert bring_up(bundle, bridge.port, *WAIT).returncode == 0


def test_a_run_that_was_interrupted_in_an_event(bundle: Path) -> None:
    """The board waits for the rest of it."""
    with Bridge(built(bundle)) as bridge:
        for sent in (1, 6):
            number = os.open(bridge.port, os.O_RDWR | os.O_NOCTTY)
            os.write(number, b"E\0\0\0\0\0\0"[:sent])
            os.close(number)
            done = bring_up(bundle, bridge.port, *WAIT, "--recordings", "1")
            assert (done.returncode, done.stderr) == (0, "")


def test_an_event_that_the_network_does_not_get(bundle: Path) -> None:
    taken = "taken += (uint32_t)model_event"
    edited(
        bundle / "c" / "serial.c", taken,
        "if (channel == 2u) {\n                continue;\n            }\n            " + taken,
    )  # fmt: skip
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT)
    x = np.load(bundle / verify_c.VECTORS)["input"][:, 0]
    step = int(np.flatnonzero(x[:, 2])[0])
    sent = int(x[step].sum())
    line = f"recording 0, step {step}: {sent - 1} of {sent} events were taken"
    failed(done, 6, re.escape(line))


def test_a_flipped_bit_of_a_weight(bundle: Path) -> None:
    """A weight from input 0 to neuron 0: the first step with that input shows it."""
    weights = bundle / "c" / "weights.c"
    first = weights.read_text().split("= {\n    ")[1].split(",")[0]
    edited(weights, f"= {{\n    {first},", f"= {{\n    {int(first) ^ 64},")
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT)
    with np.load(bundle / verify_c.VECTORS) as arrays:
        step = int(np.flatnonzero(arrays["input"][:, 0, 0])[0])
        expected = int(arrays["current/hidden.lif"][step, 0, 0])
    seen = expected + 64 * ((int(first) ^ 64) - int(first))
    line = f"current/hidden.lif: recording 0, step {step}, neuron (0,): expected {expected}, seen {seen};"
    failed(done, 1, re.escape(line))


def test_a_wrong_class(bundle: Path) -> None:
    """The spikes are right; what is made of them is the last class, of three."""
    best = "state->counts[i] > state->counts[best]"
    edited(bundle / "c" / "model.c", best, "i > best")
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT)
    spikes = np.load(bundle / verify_c.VECTORS)["spikes/out"].sum(axis=0)
    wrong = int(np.flatnonzero(spikes.argmax(axis=-1) != 2)[0])
    expected = int(spikes[wrong].argmax())
    failed(done, 1, f"recording {wrong}: class 2, expected {expected}")


def test_layers_in_another_order(bundle: Path) -> None:
    order = "fire_0(state);\n    fire_1(state);"
    edited(bundle / "c" / "model.c", order, "fire_1(state);\n    fire_0(state);")
    with Bridge(built(bundle)) as bridge:
        done = bring_up(bundle, bridge.port, *WAIT)
    failed(done, 7, r"`out` runs before `hidden.lif`, whose spikes of the step it needs: ")


def test_files_that_are_not_those_of_the_bundle(bundle: Path) -> None:
    """Seen before a port is opened."""
    weights = bundle / "c" / "weights.c"
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    (bundle / "SHA256SUMS").write_text(f"{digest}  c/weights.c\n")
    data = bytearray(weights.read_bytes())
    data[-10] ^= 1
    weights.write_bytes(data)
    failed(bring_up(bundle, "no-port"), 8, "weights.c: not the file of SHA256SUMS")
    weights.unlink()
    failed(bring_up(bundle, "no-port"), 8, "weights.c: missing")
    (bundle / "SHA256SUMS").unlink()
    vectors = bundle / verify_c.VECTORS
    vectors.write_bytes(vectors.read_bytes()[:-100])
    failed(bring_up(bundle, "no-port"), 8, "integer_vectors.npz: not readable")


def elf(length: int) -> bytes:
    """A 32-bit ELF of one segment of that many bytes, by the ELF specification."""
    header = b"\x7fELF\x01\x01\x01" + bytes(9)
    header += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 0, 0, 52, 32, 1, 40, 0, 0)
    return header + struct.pack("<IIIIIIII", 1, 84, 0, 0, length, length, 5, 4) + bytes(length)


def crc16(data: bytes) -> int:
    """Bit by bit: x^16 + x^12 + x^5 + 1, from 0xFFFF."""
    found = 0xFFFF
    for bit in (byte >> n & 1 for byte in data for n in range(7, -1, -1)):
        found = (found << 1 & 0xFFFF) ^ (0x1021 if (found >> 15) ^ bit else 0)
    return found


def ice40() -> bytes:
    """Reset the checksum, a bank of 16 by 8 bits, its 16 bytes, the checksum, wake up."""
    checked = bytes.fromhex("62000f7200080101") + bytes(range(16)) + b"\0\0"
    checked += b"\x22"
    return (
        bytes.fromhex("ff0000ff7eaa997e0105")
        + checked
        + crc16(checked).to_bytes(2, "big")
        + b"\x01\x06\0"
    )


UF2 = struct.pack("<IIIIIIII", 0x0A324655, 0x9E5D5157, 0, 0, 256, 0, 2, 0).ljust(512, b"\0") * 2


# A comment, the preamble, a body, the end: as ecppack writes them.
ECP5 = b"\xff\0Part: x\0\xff\xff\xff\xbd\xb3" + bytes(100) + b"\x5e\0\0\0\xff\xff\xff\xff"
IMAGES = {"elf": elf(100), "uf2": UF2, "ice40": ice40(), "ecp5": ECP5}


@pytest.mark.parametrize("data", IMAGES.values(), ids=IMAGES.keys())
def test_a_truncated_file(bundle: Path, data: bytes) -> None:
    """Whole, it is taken, and the missing port is what is wrong."""
    image = bundle / "image"
    image.write_bytes(data)
    done = bring_up(bundle, "no-port", "--image", str(image))
    failed(done, 3, "no-port")
    assert done.stdout == f"{image}: {len(data)} bytes\n"
    for length in (0, 30, len(data) - 5):
        image.write_bytes(data[:length])
        failed(bring_up(bundle, "no-port", "--image", str(image)), 8, "truncated")
    image.write_bytes(data)
    (bundle / "image.sha256").write_text(hashlib.sha256(data).hexdigest() + "  image\n")
    assert bring_up(bundle, "no-port", "--image", str(image)).returncode == 3
    image.write_bytes(data + b"\xff")
    failed(
        bring_up(bundle, "no-port", "--image", str(image)), 8, "SHA-256 is not that of image.sha256"
    )


def test_a_flipped_bit_of_a_bitstream(bundle: Path) -> None:
    data = bytearray(ice40())
    data[25] ^= 4
    (bundle / "image").write_bytes(data)
    done = bring_up(bundle, "no-port", "--image", str(bundle / "image"))
    failed(done, 8, "the checksum of the iCE40 bitstream is wrong")


@pytest.mark.parametrize("arguments", [[], ["p", "--baud", "0"], ["p", "--timeout", "x"]])
def test_a_wrong_command_line(bundle: Path, arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(bundle / "bringup.py"), *arguments], capture_output=True, text=True
    )
    assert done.returncode == 2 and "usage: " in done.stderr and "Traceback" not in done.stderr


def test_without_pyserial_that_is_said(bundle: Path) -> None:
    """The library does not need it: the bundle's program says what to install."""
    code = """import runpy, sys
sys.modules["serial"] = None
runpy.run_path(sys.argv[1], run_name="__main__")"""
    program = [sys.executable, "-c", code, str(bundle / "bringup.py")]
    done = subprocess.run(program, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.endswith(": pip install numpy pyserial\n")


# ------------------------------------------------------------------------------------- live events


def live(bundle: Path, port: str, lines: str) -> subprocess.CompletedProcess[str]:
    (bundle / "manifest.json").write_text('{"input_bin_s": 0.001}')
    command = [sys.executable, str(bundle / "live.py"), port, *WAIT]
    return subprocess.run(command, input=lines, capture_output=True, text=True)


def test_live_events_have_the_class_of_the_golden_recording(bundle: Path) -> None:
    """Recording 0 as events in the middle of each bin of 1 ms."""
    with np.load(bundle / verify_c.VECTORS) as arrays:
        x, spikes = arrays["input"][:, 0], arrays["spikes/out"][:, 0].sum(axis=0)
    lines = [
        f"{1000 * step + 500} {channel}\n"
        for step, channel in np.argwhere(x)
        for _ in range(x[step, channel])
    ]
    last = max(int(step) for step, _ in np.argwhere(x))
    assert last == len(x) - 1  # so that every step is run
    with Bridge(built(bundle)) as bridge:
        done = live(bundle, bridge.port, "".join(lines))
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[-1] == f"class {spikes.argmax()}"
        for wrong in ("5 0\n4 0\n", "x\n", "5\n", "5 0 0 0 0\n", "1 99999\n"):
            done = live(bundle, bridge.port, wrong)
            assert done.returncode == 2 and done.stderr.startswith("error: line ")
        done = live(bundle, bridge.port, "1 0\n2 500\n")
        failed(done, 6, "step 0: 1 of 2 events were taken")
