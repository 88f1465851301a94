"""How lava-nc loads a bundle for Loihi."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from spyx_nir.hardware.network import IntegerNetwork

PROGRAM = Path(__file__).with_name("on_lava.py")
TEXT = """lava-nc 0.10.0 reads no NIR: its processes are built from `integer_vectors.npz`. It is
made for Python 3.10 and older; 3.11 refuses its dataclasses' mutable defaults. Every line printed should
say 0.

{lava}

`num_message_bits=8` is for the input, whose counts may be above 1; other weights take plain spikes."""


def bringup(network: IntegerNetwork, file: str, channels: Sequence[str], bin_us: int) -> str:
    """See `Family.bringup`."""
    program = PROGRAM.read_text(encoding="utf-8").strip()
    return TEXT.format(lava=textwrap.indent(program, "    "))
