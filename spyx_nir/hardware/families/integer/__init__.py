"""NIR's rule on integers, as C99 for microcontrollers and as Verilog for FPGAs."""

from __future__ import annotations

from spyx_nir.hardware.families.integer.members import (
    KINDS,
    files,
    loading,
    place,
    resources,
    times,
)
from spyx_nir.hardware.families.integer.simulator import run
from spyx_nir.hardware.families.integer.supported import check_profile
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.integer.qat import neuron_step

    return Training(neuron_step)


FAMILY = Family(
    name="nir-integer",
    needs=("neuron.input_spikes_per_step", "neuron.decay_bits"),
    run=run,
    training=_training,
    bringup=loading,
    files=files,
    convolutions=("groups",),
    kinds=KINDS,
    check_profile=check_profile,
    place=place,
    resources=resources,
    times=times,
)
