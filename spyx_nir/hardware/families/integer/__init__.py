"""Microcontrollers: NIR's rule on integers, as C99."""

from __future__ import annotations

from spyx_nir.hardware.families.integer.boards import BOARDS, check_profile, place_on_boards
from spyx_nir.hardware.families.integer.bringup import bringup, files
from spyx_nir.hardware.families.integer.simulator import run
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.integer.qat import neuron_step

    return Training(neuron_step)


FAMILY = Family(
    name="nir-integer",
    needs=("neuron.input_spikes_per_step", "neuron.decay_bits"),
    run=run,
    training=_training,
    bringup=bringup,
    files=files,
    convolutions=("groups",),
    keys={"boards.list": BOARDS},
    check_profile=check_profile,
    place=place_on_boards,
)
