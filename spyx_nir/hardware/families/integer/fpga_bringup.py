"""How the Verilog of a bundle gets on a board."""

from __future__ import annotations

from collections.abc import Sequence

from spyx_nir.hardware.families.integer import fpga
from spyx_nir.hardware.families.integer.bounds import bounds
from spyx_nir.hardware.families.integer.bringup import inputs, keeps
from spyx_nir.hardware.families.integer.counts import of_network
from spyx_nir.hardware.network import IntegerNetwork

TEXT = """`rtl/` has the network as Verilog-2005 with one clock and a synchronous reset; weights are in
`rtl/*.hex`, which a synthesis program reads. `python verify_rtl.py` simulates it with Icarus Verilog on
this computer and compares every spike and every state with `integer_vectors.npz`; without Icarus it says
so.

The top module is `network`. A word is taken where `in_valid` and `in_ready` are both 1 at a rising edge:

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
    return TEXT.format(
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
