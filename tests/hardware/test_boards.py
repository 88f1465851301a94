"""The example projects of boards: built, where their parts are in memory, and what an emulator runs."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from integer_bundles import bring_up, recurrent

from bench.silicon import cortex_m
from bench.silicon.pty_bridge import Bridge

BOARDS = ("nucleo-f446re", "rp2040-pico")
needs_gcc = pytest.mark.skipif(
    shutil.which(cortex_m.CC) is None or shutil.which("make") is None,
    reason="no compiler for Arm: apt-get install make gcc-arm-none-eabi",
)
needs_qemu = pytest.mark.skipif(
    shutil.which(cortex_m.QEMU) is None, reason="no emulator: apt-get install qemu-system-arm"
)
LOAD, SYMBOLS = 1, 2  # types of a segment and of a section of an ELF


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return recurrent(tmp_path / "bundle")


def built(bundle: Path, board: str, *options: str) -> Path:
    command = ["make", "-s", "-C", str(bundle / "boards"), f"BOARD={board}", *options]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return bundle / "measured" / f"{board}.elf"


def segments(data: bytes) -> list[tuple[int, int, bytes]]:
    """(address, bytes in memory, content) of what an ELF of 32 bits loads."""
    at, size, count = *struct.unpack_from("<I", data, 28), *struct.unpack_from("<HH", data, 42)
    found = []
    for n in range(count):
        kind, offset, address, _, length, memory = struct.unpack_from("<6I", data, at + n * size)
        if kind == LOAD:
            found.append((address, memory, data[offset : offset + length]))
    return found


def content(data: bytes, address: int, length: int) -> bytes:
    return next(
        part[address - start :][:length]
        for start, _, part in segments(data)
        if start <= address < start + len(part)
    )


@needs_gcc
def test_a_nucleo_starts_at_its_flash(bundle: Path) -> None:
    """RM0390: flash at 0x08000000, SRAM of 128 kB at 0x20000000. A Cortex-M takes its stack from the
    first word there, and starts at the second, in Thumb, which is an odd address."""
    data = built(bundle, "nucleo-f446re").read_bytes()
    (stack, start) = struct.unpack("<II", content(data, 0x08000000, 8))
    assert stack == 0x20000000 + 128 * 1024 and start % 2 == 1
    for address, memory, part in segments(data):
        if part:
            assert address >= 0x08000000 and address + memory <= 0x08000000 + 512 * 1024
        else:
            assert address >= 0x20000000 and address + memory <= stack - 1024
    assert struct.unpack_from("<I", data, 24)[0] == start


@needs_gcc
def test_a_pico_is_all_in_ram(bundle: Path) -> None:
    """RP2040 datasheet: 264 kB from 0x20000000; VTOR takes multiples of 256."""
    data = built(bundle, "rp2040-pico").read_bytes()
    top = 0x20000000 + 264 * 1024
    assert struct.unpack_from("<I", data, 24)[0] == 0x20000001
    assert all(
        address >= 0x20000000 and address + memory <= top for address, memory, _ in segments(data)
    )
    vectors, vtor, stack, start = struct.unpack("<4I", content(data, 0x20000010, 16))
    assert (vectors % 256, vtor, stack) == (0, 0xE000ED08, top)
    assert struct.unpack("<II", content(data, vectors, 8)) == (stack, start)


@needs_gcc
def test_another_board_is_named(bundle: Path) -> None:
    command = ["make", "-C", str(bundle / "boards"), "BOARD=other"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0 and "other" in done.stderr


@needs_gcc
@needs_qemu
def test_an_emulated_stm32_runs_the_nucleo_project(bundle: Path) -> None:
    """QEMU's netduinoplus2 is an STM32F405, with the same USART2 and flash; it has no RCC."""
    program = built(bundle, "nucleo-f446re", "EXTRA=-DBOARD_KEEPS_CLOCKS")
    options = ["-display", "none", "-monitor", "none", "-serial", "null", "-serial", "stdio"]
    command = [cortex_m.QEMU, "-M", "netduinoplus2", *options, "-kernel", str(program)]
    with Bridge(command) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "60")
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 3 recordings, 1440 entries of spikes and 2880 of states, 0 differ" in done.stdout


@pytest.mark.full
@needs_gcc
@needs_qemu
@pytest.mark.parametrize("core", sorted(cortex_m.CORES))
def test_bringup_over_the_pseudo_terminal_of_qemu(core: str, bundle: Path, tmp_path: Path) -> None:
    """`-serial pty`: QEMU prints the port. Its clock counts instructions: a neuron takes some 40."""
    machine = cortex_m.CORES[core]
    cortex_m.compile_for(core, bundle / "c", tmp_path)
    program = cortex_m.link(core, machine.script, tmp_path)
    options = [
        "-icount",
        f"shift={cortex_m.SHIFT},sleep=off",
        "-display",
        "none",
        "-monitor",
        "none",
    ]
    command = [
        cortex_m.QEMU,
        "-M",
        machine.name,
        *options,
        "-serial",
        "pty",
        "-kernel",
        str(program),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as emulator:
        assert emulator.stdout is not None
        try:
            port = emulator.stdout.readline().split("redirected to ")[1].split()[0]
            clock = str(256 * machine.clock)
            done = bring_up(bundle, port, "--timeout", "60", "--clock", clock)
        finally:
            emulator.kill()
    assert (done.returncode, done.stderr) == (0, "")
    assert "1440 entries of spikes and 2880 of states, 0 differ" in done.stdout
    ticks = float(done.stdout.split("a step: ")[1].split()[0])
    assert 12 * 10 < ticks / machine.ticks_per_instruction < 12 * 200
