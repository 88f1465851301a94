"""SynSense Xylo, as XyloSim and rockpool have it."""

from __future__ import annotations

from spyx_nir.hardware.families.xylo.bringup import bringup
from spyx_nir.hardware.families.xylo.simulator import run
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.xylo.qat import neuron_step

    return Training(neuron_step)


FAMILY = Family(
    name="xylo",
    needs=(
        "graph.device",
        "neuron.spikes_per_step",
        "neuron.output_spikes_per_step",
        "neuron.input_spikes_per_step",
        "neuron.decay_bits",
    ),
    run=run,
    training=_training,
    bringup=bringup,
    delays_neurons=True,
    decays_after_adding=True,
)
