"""Intel Loihi 2, as Lava's fixed-point models compute it."""

from __future__ import annotations

from spyx_nir.hardware.families.loihi.bringup import bringup
from spyx_nir.hardware.families.loihi.cores import KEYS, place_on_cores
from spyx_nir.hardware.families.loihi.simulator import run
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.loihi.qat import neuron_step

    return Training(neuron_step)


FAMILY = Family(
    name="lava",
    needs=("neuron.input_spikes_per_step", "neuron.decay_bits"),
    run=run,
    training=_training,
    bringup=bringup,
    delays_inputs=True,
    delays_neurons=True,
    convolutions=("groups", "dilation"),
    keys=KEYS,
    place=place_on_cores,
)
