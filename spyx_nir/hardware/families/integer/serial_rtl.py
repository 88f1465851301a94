"""Verilog around `network`: the serial port with the protocol of c/serial.h, and tops of two boards."""

from __future__ import annotations

from pathlib import Path

from spyx_nir.hardware.families.integer.c_code import event_limit, layout_of
from spyx_nir.hardware.families.integer.layout import as_map
from spyx_nir.hardware.network import IntegerNetwork

TEXTS = Path(__file__).with_name("rtl")
SHARED = ("uart.v", "serial.v", "classes.v")
BOARDS = {  # board -> its top and its pins
    "icebreaker": ("top_icebreaker.v", "icebreaker.pcf"),
    "ulx3s": ("top_ulx3s.v", "ulx3s.lpf"),
}


def serial_files(network: IntegerNetwork, *boards: str) -> dict[str, str]:
    """Name below the bundle -> text: rtl/sizes.vh, `SHARED`, and each board's files.

    boards: of `BOARDS`.
    """
    names = [*SHARED, *(name for board in boards for name in BOARDS[board])]
    made = {name: (TEXTS / name).read_text(encoding="utf-8") for name in names}
    return {f"rtl/{name}": text for name, text in (made | {"sizes.vh": sizes(network)}).items()}


def sizes(network: IntegerNetwork) -> str:
    """The text of sizes.vh: what serial.v has to know of the network."""
    (shape,) = network.inputs.values()
    found = layout_of(network)
    numbers = dict(zip(("CHANNELS", "HEIGHT", "WIDTH"), as_map(shape), strict=True))
    numbers["CLASSES"] = found.classes
    names = {"CHANNELS": "CHANNEL", "HEIGHT": "ROW", "WIDTH": "COLUMN", "CLASSES": "CLASS"}
    numbers |= {f"{names[key]}_BITS": _bits(n) for key, n in numbers.items()}
    numbers |= {"EVENT_BITS": event_limit(network).bit_length(), "CURRENTS": found.currents}
    lines = "\n".join(f"`define MODEL_{key} {value}" for key, value in numbers.items())
    return "// Sizes of the network, generated.\n`ifndef MODEL_CHANNELS\n" + lines + "\n`endif\n"


def _bits(count: int) -> int:
    """Bits of a number below `count`, at least 1."""
    return max((count - 1).bit_length(), 1)
