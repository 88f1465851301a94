"""bench/silicon/ecp5_cells.v: block RAM and multiplier beside a list of bits and products, in Icarus."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

CELLS = Path("bench/silicon/ecp5_cells.v").absolute()
pytestmark = pytest.mark.skipif(
    shutil.which("iverilog") is None, reason="no Icarus: apt-get install iverilog"
)
# Port A writes a number of a width and port B reads one, at addresses in bits; * is an unknown bit.
MEMORY = """module test;
    reg clk = 0, write;
    reg [13:0] a, b;
    reg [35:0] in;
    wire [35:0] wide;
    integer commands, n;
    DP16KD #(.DATA_WIDTH_A(@WRITE@), .DATA_WIDTH_B(@READ@), .INITVAL_00(320'h2aaaa_12345)) ram (
        .CLKA(clk), .CLKB(clk), .CEA(write), .WEA(1'b1), .CEB(1'b1), .WEB(1'b0), .OCEA(1'b0),
        .OCEB(1'b1), .RSTA(1'b0), .RSTB(1'b0), .CSA0(1'b0), .CSA1(1'b0), .CSA2(1'b0), .CSB0(1'b0),
        .CSB1(1'b0), .CSB2(1'b0),
        @PINS@
    );
    initial begin
        commands = $fopen("commands", "r");
        while ($fscanf(commands, "%b %h %h %h\\n", write, a, in, b) == 4) begin
            #1 clk = 1;
            #1 clk = 0;
            $display("%b", wide);
        end
        $finish;
    end
endmodule
"""


def run(folder: Path, text: str, commands: str) -> list[str]:
    (folder / "commands").write_text(commands)
    (folder / "test.v").write_text(text)
    command = ["iverilog", "-g2012", "-s", "test", "-o", "test", "test.v", str(CELLS)]
    built = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (built.returncode, built.stderr) == (0, "")
    done = subprocess.run(["vvp", "-n", "test"], cwd=folder, capture_output=True, text=True)
    return done.stdout.split("\n")[:-1]


def pins(read: int) -> str:
    """The wires of the two ports; 36 bits are DIA, DIB and DOA, DOB."""
    found = [f".AD{port}{n}({port.lower()}[{n}])" for port in "AB" for n in range(14)]
    found += [f".DI{'AB'[n // 18]}{n % 18}(in[{n}])" for n in range(36)]
    first = 0 if read == 36 else 18
    found += [f".DO{'AB'[(n + first) // 18]}{n % 18}(wide[{n}])" for n in range(min(read, 18))]
    found += [f".DOB{n}(wide[{n + 18}])" for n in range(18) if read == 36]
    return ", ".join(found)


def span(address: int, width: int) -> list[int]:
    """Which of 18,432 bits, 9 in a byte, an access of a width touches, as Yosys maps memories to it."""
    byte, within = address >> 3, address & 7
    if width >= 9:
        count = width // 9
        return list(range(byte // count * count * 9, (byte // count * count + count) * 9))
    return [byte * 9 + within // width * width + n for n in range(width)]


@pytest.mark.parametrize(
    "write,read", [(36, 36), (36, 18), (18, 9), (9, 9), (9, 18), (4, 4), (2, 1)]
)
def test_block_ram_of_two_ports(write: int, read: int, tmp_path: Path) -> None:
    """Random writes and reads beside a list of bits; enables of bytes; the bits of INITVAL_00."""
    random = np.random.default_rng(write * 100 + read)
    bits, lines, expected = [0] * 18432, [], []
    for word, value in enumerate((0x12345, 0x2AAAA)):
        bits[word * 18 : word * 18 + 18] = [value >> n & 1 for n in range(18)]
    for turn in range(600):
        on = bool(turn > 20 and random.random() < 0.5)
        place, value = int(random.integers(64)), int(random.integers(2**36))
        other = turn * 8 if turn <= 20 else int(random.integers(64))
        bytes_on = [bool(random.random() < 0.7) for _ in range(max(write // 9, 1))]
        if write >= 18:
            low = {18: 4, 36: 5}[write]
            place = place >> low << low | sum(b << n for n, b in enumerate(bytes_on))
        targets, seen = span(place, write), span(other, read)
        on_bits = [b for n, b in enumerate(targets) if write < 18 or bytes_on[n // 9]]
        meets = on and bool(on_bits) and {b // 9 for b in targets} & {b // 9 for b in seen}
        answer = "".join("x" if meets else str(bits[b]) for b in reversed(seen))
        expected.append(answer)
        if on:
            for n, b in enumerate(targets):
                if b in on_bits:
                    bits[b] = value >> n & 1
        lines.append(f"{int(on)} {place:x} {value:x} {other:x}")
    text = MEMORY.replace("@WRITE@", str(write)).replace("@READ@", str(read))
    found = run(tmp_path, text.replace("@PINS@", pins(read)), "\n".join(lines) + "\n")
    assert [row[-read:] for row in found] == expected
    assert any("x" in row for row in expected) and any("1" in row for row in expected[:4])


def test_a_mode_that_the_model_has_not_is_said(tmp_path: Path) -> None:
    text = MEMORY.replace("@WRITE@", '18), .REGMODE_B("OUTREG"').replace("@READ@", "18")
    found = run(tmp_path, text.replace("@PINS@", pins(18)), "0 0 0 0\n")
    assert found[0] == "DP16KD: a mode that this model has not"


def test_products_signed_or_not(tmp_path: Path) -> None:
    random = np.random.default_rng(8)
    numbers = [*random.integers(0, 2**18, (200, 2)).tolist(), [2**17, 2**17], [2**18 - 1, 1]]
    text, expected = "module test;\nreg [17:0] a, b; reg [1:0] s; wire [35:0] p;\n", []
    names = [
        f".{c}{n}({c.lower()}[{n}])"
        for c, width in (("A", 18), ("B", 18), ("P", 36))
        for n in range(width)
    ]
    text += f"MULT18X18D m (.SIGNEDA(s[0]), .SIGNEDB(s[1]), {', '.join(names)});\ninitial begin\n"
    for turn, (one, two) in enumerate(numbers):
        s = turn % 4
        text += f'a = {one}; b = {two}; s = {s}; #1 $display("%0d", p);\n'
        first = one - 2**18 * (one >> 17) * (s & 1)
        second = two - 2**18 * (two >> 17) * (s >> 1)
        expected.append(str(first * second % 2**36))
    assert run(tmp_path, text + "end\nendmodule\n", "") == expected
