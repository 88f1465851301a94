"""How the C of a bundle gets on a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from spyx_nir.hardware.families.integer.boards import need
from spyx_nir.hardware.families.integer.bounds import bounds
from spyx_nir.hardware.families.integer.c_code import c_files
from spyx_nir.hardware.families.integer.counts import of_network
from spyx_nir.hardware.network import IntegerNetwork

# Programs of a bundle: name there -> name here.
PROGRAMS = {"protocol.py": "protocol.py", "bringup.py": "serial_bringup.py", "live.py": "live.py"}
PROJECT_SUFFIXES = (".c", ".h", ".ld")
C_PROGRAMS = PROGRAMS | {"verify_c.py": "verify_c.py"}
TEXT = """`c/` has the network as C99 that needs `stdint.h` alone: compile `model.c` and `weights.c` with
your project. `python verify_c.py` compiles them with `c/serial.c` and `c/host.c` on this computer and
compares every spike and every state with `integer_vectors.npz`.

    #include "model.h"

    static model_state state;
    uint8_t spikes[MODEL_CLASSES];

    model_reset(&state);                        /* before a recording */
    model_event(&state, channel, y, x);         /* an event, as it comes; {where} */
    model_step(&state, spikes);                 /* every {bin_ms:g} ms */
    model_classify(&state);                     /* the class so far */

{inputs}
{keeps}
`c/serial.h` describes a protocol over a serial port that sends events and reads every state back: give
`serial_serve` a function that reads a byte, one that writes a byte, and a clock.

What it takes, from counts before it is compiled. Time is of the worst case, in which every neuron spikes
and every input has an event, beside a step of {bin_us} us; a recording takes a part of that:

{boards}

The states by interval analysis of the weights, with at most {most} events of an input in a step; what
leaves {bits} bits saturates:

{bounds}"""

KEEPS = """
**Reset between recordings.** {names} no leak, so what a recording leaves in membranes stays there, and
later recordings are answered wrong: {how}.
"""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    profile = network.profile
    (shape,) = network.inputs.values()
    needed = need(of_network(network))
    boards = [
        f"- {needed.on(board)}; {100e6 * needed.seconds(board) / bin_us:.1f} % of a step"
        for board in profile["boards.list"]
    ]
    return TEXT.format(
        keeps=keeps(network, "call `model_reset`"),
        where="y and x are 0" if len(shape) == 1 else "row y, column x",
        bin_ms=bin_us / 1e3,
        bin_us=bin_us,
        inputs=inputs(shape, channels),
        boards="\n".join(boards),
        most=profile["neuron.input_spikes_per_step"],
        bits=profile["state.bits"],
        bounds="\n".join(f"- {bound}" for bound in bounds(network)),
    )


def keeps(network: IntegerNetwork, how: str) -> str:
    """What is to be done between recordings, where neurons have no leak."""
    kept = network.leakless()
    names = ", ".join(f"`{name}`" for name in kept) + (" has" if len(kept) == 1 else " have")
    return KEEPS.format(names=names, how=how) if kept else ""


def inputs(shape: tuple[int, ...], channels: Sequence[str]) -> str:
    """What `channel` is: of a vector the input itself, of a map one of `channels`."""
    if len(shape) == 1:
        return (
            f"`channel` is the number of the input, 0 to {shape[0] - 1}; `events/address_map.json` says "
            "how an event of the sensor becomes that."
        )
    named = "; ".join(f"channel {i} is {name}" for i, name in enumerate(channels))
    return f"The channels: {named}."


def files(network: IntegerNetwork, bin_us: int) -> dict[str, str]:
    """See `Family.files`: the C sources, and the programs that compare them."""
    return c_files(network) | programs(C_PROGRAMS) | projects()


def projects() -> dict[str, str]:
    """Texts of the example projects of boards, by their names in a bundle."""
    folder = Path(__file__).with_name("projects")
    return {
        f"boards/{path.relative_to(folder).as_posix()}": path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.suffix in PROJECT_SUFFIXES or path.name == "Makefile"
    }


def programs(names: Mapping[str, str] = PROGRAMS) -> dict[str, str]:
    """Texts of the programs of a bundle, by their names there: what talks to a board."""
    here = Path(__file__).parent
    return {name: (here / path).read_text(encoding="utf-8") for name, path in names.items()}
