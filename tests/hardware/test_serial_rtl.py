"""bringup.py and Verilog's serial port, simulated: protocol, faults, pins of the boards."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import graphs
import nir
import numpy as np
import pytest
from integer_bundles import CHIP, bring_up, recurrent_network, written
from test_serial_bringup import edited, failed

from bench.silicon.pty_bridge import SimulatedBridge
from spyx_nir.hardware import quantise
from spyx_nir.hardware.families.integer import verify_c
from spyx_nir.hardware.families.integer.rtl_code import rtl_files
from spyx_nir.hardware.families.integer.serial_rtl import BOARDS, TEXTS, serial_files
from spyx_nir.hardware.network import IntegerNetwork

BENCH = Path("bench/silicon/uart_bench.v").absolute()
needs_icarus = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="no Icarus: apt-get install iverilog"
)
SLOW = ("--timeout", "60")  # the simulator takes some 50 ms for a step of the board


def maps() -> IntegerNetwork:
    """Convolution, pooling, matrix; IF neurons, so without currents."""
    random = np.random.default_rng(3)
    graph = graphs.chain(
        (2, 6, 6),
        ("conv_0", graphs.conv(random, (2, 6, 6), 3, 3, 1, 1)),
        ("if_1", graphs.if_((3, 6, 6), 2.0)),
        ("pool_2", graphs.pool()),
        ("flatten", nir.Flatten({"input": np.array([3, 3, 3])}, 0, -1)),
        ("linear_3", nir.Linear(random.normal(size=(4, 27)).astype(np.float32))),
        ("if_4", graphs.if_(4, 1.0)),
        dt=1.0,
    )
    return quantise.quantise(graph, CHIP)


def bundle_of(folder: Path, network: IntegerNetwork, steps: int) -> Path:
    shape = next(iter(network.inputs.values()))
    x = np.random.default_rng(5).random((steps, 2, *shape)) < 0.2
    written(folder, network, x * np.random.default_rng(6).integers(1, 4, x.shape))
    (folder / "rtl").mkdir()
    for name, text in (rtl_files(network) | serial_files(network, *BOARDS)).items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return bundle_of(tmp_path / "bundle", recurrent_network(), 12)


def compiled(folder: Path, top: str, *more: Path) -> Path:
    """Icarus' program, without a warning."""
    found = [path for path in sorted((folder / "rtl").glob("*.v")) if path.name != "bench.v"]
    sources = [path for path in found if not path.name.startswith("top_") or path.stem == top]
    program = folder / f"{top}.vvp"
    command = [
        "iverilog",
        "-g2005",
        "-Wall",
        "-I",
        str(folder / "rtl"),
        "-s",
        top,
        "-o",
        str(program),
    ]
    done = subprocess.run([*command, *map(str, [*sources, *more])], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return program


def simulated(folder: Path, monkeypatch: pytest.MonkeyPatch) -> SimulatedBridge:
    program = compiled(folder, "uart_bench", BENCH)
    monkeypatch.chdir(folder / "rtl")  # where the files of weights are
    return SimulatedBridge(["vvp", "-n", str(program)])


@needs_icarus
@pytest.mark.parametrize("kind", ["recurrent", pytest.param("maps", marks=pytest.mark.full)])
def test_every_spike_and_state_over_the_simulated_port(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = {"recurrent": recurrent_network, "maps": maps}[kind]()
    folder = bundle_of(tmp_path / "bundle", network, 12)
    with simulated(folder, monkeypatch) as bridge:
        done = bring_up(folder, bridge.port, *SLOW, "--clock", "12e6")
    assert (done.returncode, done.stderr) == (0, "")
    neurons, currents = {"recurrent": (12, 12), "maps": (112, 0)}[kind]
    numbers = f"{2 * 12 * neurons} entries of spikes and {2 * 12 * (neurons + currents)} of states"
    assert f"2 of 2 recordings, {numbers}, 0 differ" in done.stdout
    ticks = float(re.search(r"a step: ([\d.]+) ticks", done.stdout)[1])
    assert ticks > neurons / 16  # at most 16 neurons a clock
    assert f"a step: {ticks / 12:.2f} us" in done.stdout


@needs_icarus
def test_what_the_port_answers(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By c/serial.h: unknown bytes, an event outside, a reset that clears, the class of no spikes."""
    with np.load(bundle / verify_c.VECTORS) as arrays:
        last = int(arrays["input"].shape[-1]) - 1
    inside = b"E" + bytes([last, 0, 0, 0, 0, 0])
    outside = b"E" + bytes([last + 1, 0, 0, 0, 0, 0])
    for byte in range(1, 6):  # the higher byte of the channel, and both of the row and the column
        outside += b"E" + bytes([last] + [int(n == byte) for n in range(1, 6)])
    with simulated(bundle, monkeypatch) as bridge:
        number = os.open(bridge.port, os.O_RDWR | os.O_NOCTTY)

        def ask(data: bytes, due: int) -> bytes:
            os.write(number, data)
            found = b""
            while len(found) < due:
                found += os.read(number, due - len(found))
            return found

        assert ask(b"x\0?", 3) == b"???"
        assert ask(b"RT", 6) == b"RT\0\0\0\0"
        assert ask(b"C", 5) == b"C\0\0\0\0"
        step = ask(outside + inside + inside + b"SV", 1 + 8 + 8 + 1 + 96)
        assert step[:5] == b"S\2\0\0\0" and any(step[18:])
        assert ask(b"RV", 98) == b"RV" + bytes(96)
        os.close(number)


COUNTING = """module test;
    reg clk = 0, rst = 1, clear = 0, add = 0, find = 0;
    reg [2:0] of_class = 0;
    wire busy;
    wire [2:0] best;
    integer n, bytes, command;
    always #5 clk = !clk;
    classes #(.CLASSES(5), .BITS(3)) classes (
        .clk(clk), .rst(rst), .clear(clear), .add(add), .find(find), .of_class(of_class),
        .busy(busy), .best(best)
    );
    initial begin
        bytes = $fopen("commands", "rb");
        @(negedge clk);
        rst = 0;
        command = $fgetc(bytes);
        while (command >= 0) begin
            clear = command == "R";
            find = command == "C";
            add = command >= "0" && command <= "4";
            of_class = command - "0";
            @(negedge clk);
            {clear, find, add} = 0;
            while (busy) @(negedge clk);
            if (command == "C") $write("%0d", best);
            command = $fgetc(bytes);
        end
        $finish;
    end
endmodule
"""


@needs_icarus
def test_counts_of_classes(tmp_path: Path) -> None:
    """The class with most spikes, the first of equals, also where counts take several bytes."""
    random = np.random.default_rng(4)
    asked, expected, counts = "R", "", np.zeros(5, int)
    for share in ([0.2] * 5, [0.05, 0.45, 0, 0.45, 0.05], [0, 0, 1, 0, 0], [0.9, 0, 0, 0, 0.1]):
        for spike in random.choice(5, 700, p=share):
            asked += str(spike) + "C" * bool(random.random() < 0.2)
            counts[spike] += 1
            expected += str(counts.argmax()) * asked.endswith("C")
    assert counts.max() > 512 and len(set(expected)) == 4
    asked, expected = asked + "RC3C", expected + "03"
    (tmp_path / "commands").write_text(asked)
    (tmp_path / "test.v").write_text(COUNTING)
    sources = [str(TEXTS / name) for name in ("classes.v", "memory.v")]
    command = ["iverilog", "-g2005", "-Wall", "-o", "test", "test.v", *sources]
    built = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    done = subprocess.run(["vvp", "-n", "test"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == expected


@needs_icarus
def test_a_flipped_bit_a_lost_event_and_a_lost_byte(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    serial, uart, weights = (bundle / "rtl" / n for n in ("serial.v", "uart.v", "weights.hex"))
    text = weights.read_text()
    lines = text.splitlines()
    first = next(n for n, line in enumerate(lines) if re.fullmatch(r"[0-9a-f]+", line))
    flipped = f"{int(lines[first], 16) ^ 64:0{len(lines[first])}x}"
    weights.write_text("\n".join([*lines[:first], flipped, *lines[first + 1 :]]) + "\n")
    with simulated(bundle, monkeypatch) as bridge:
        done = bring_up(bundle, bridge.port, *SLOW, "--recordings", "1")
    failed(done, 1, "current/hidden.lif: recording 0, step ")
    weights.write_text(text)
    edited(
        serial,
        "wire in_valid = (state == EVENT && !outside)",
        "wire in_valid = (state == EVENT && !outside && !channel[1])",
    )
    with simulated(bundle, monkeypatch) as bridge:
        done = bring_up(bundle, bridge.port, *SLOW, "--recordings", "1")
    failed(done, 6, r"recording 0, step \d+: \d+ of \d+ events were taken")
    (bundle / "rtl" / "serial.v").write_text((TEXTS / "serial.v").read_text())
    edited(
        uart,
        "wire write = in_valid && after_tail != head;",
        "wire write = in_valid && after_tail != head && tail != 50;",
    )
    with simulated(bundle, monkeypatch) as bridge:
        done = bring_up(bundle, bridge.port, "--timeout", "1", "--recordings", "1")
    failed(done, done.returncode, "recording 0, |the reset: ")
    assert done.returncode in (4, 5, 6)


@needs_icarus
@pytest.mark.parametrize("board", sorted(BOARDS))
def test_tops_of_boards(board: str, bundle: Path) -> None:
    """Compiled, and every port has a pin of its own."""
    top, pins = BOARDS[board]
    compiled(bundle, Path(top).stem)
    text = (TEXTS / pins).read_text()
    ports = re.findall(
        r"^\s*(?:input|output) (?:\[(\d+):(\d+)\] )?(\w+)", (TEXTS / top).read_text(), re.M
    )
    due = set()
    for high, low, name in ports:
        due |= {f"{name}[{n}]" for n in range(int(low), int(high) + 1)} if high else {name}
    found = re.findall(r'^(?:set_io|LOCATE COMP) "?([\w\[\]]+)"? (?:SITE )?"?(\w+)"?', text, re.M)
    assert {name for name, _ in found} == due and len({pin for _, pin in found}) == len(due)


@needs_icarus
def test_a_top_talks_at_its_baud_rate(bundle: Path) -> None:
    """12 MHz / 104 and 25 MHz / 217 are within 0.2 % of 115200; a receiver takes some 4 %."""
    for board, clock in (("icebreaker", 12e6), ("ulx3s", 25e6)):
        divider = int(re.search(r"DIVIDER\((\d+)\)", (TEXTS / BOARDS[board][0]).read_text())[1])
        assert abs(clock / divider / 115200 - 1) < 0.002
