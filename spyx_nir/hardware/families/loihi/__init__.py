"""Intel Loihi 2, as Lava's fixed-point models compute it."""

from __future__ import annotations

from spyx_nir.hardware.families.loihi.bringup import bringup, files
from spyx_nir.hardware.families.loihi.cores import KEYS, place_on_cores
from spyx_nir.hardware.families.loihi.simulator import run
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.loihi.qat import neuron_step

    return Training(neuron_step)


STATES_DIFFER = """
   That holds for Lava. On the chip leave out membranes of neurons that have just spiked: they are 128
   there, and 0 in Lava (lava-nc/lava#282)."""

FAMILY = Family(
    name="lava",
    needs=("neuron.input_spikes_per_step", "neuron.decay_bits"),
    run=run,
    training=_training,
    bringup=bringup,
    files=files,
    states_differ=STATES_DIFFER,
    delays_inputs=True,
    delays_neurons=True,
    convolutions=("groups", "dilation"),
    keys=KEYS,
    place=place_on_cores,
)
