"""SynSense Speck (DynapCNN), as sinabs has it."""

from __future__ import annotations

from spyx_nir.errors import UserError
from spyx_nir.hardware.facts import POSITIVE, Profile, list_of, or_null, whole
from spyx_nir.hardware.families.speck.bringup import bringup
from spyx_nir.hardware.families.speck.configuration import files, readout
from spyx_nir.hardware.families.speck.cores import place_on_cores
from spyx_nir.hardware.families.speck.simulator import run
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.speck import qat

    return Training(qat.neuron_step, qat.reach_a_bound)


def _check_profile(profile: Profile) -> None:
    sizes = {len(profile[f"cores.{name}_memory"]) for name in ("kernel", "neuron", "bias")}
    if len(sizes) != 1:
        raise UserError(f"cores.*_memory list different numbers of cores: {sizes}")


FAMILY = Family(
    name="dynapcnn",
    needs=("graph.device",),
    run=run,
    training=_training,
    bringup=bringup,
    takes_events=True,
    files=files,
    addresses=readout,
    keys={
        "cores.kernel_memory": list_of(whole(1)),
        "cores.neuron_memory": list_of(whole(1)),
        "cores.bias_memory": list_of(whole(1)),
        "cores.destinations": whole(1),
        "cores.synops_per_s": or_null(POSITIVE),
        "convolution.input_size": whole(1),
        "convolution.output_size": whole(1),
        "convolution.channels": whole(1),
        "convolution.kernel": whole(1),
        "convolution.strides": list_of(whole(1)),
        "convolution.padding": whole(0),
        "convolution.pooling": list_of(whole(1)),
    },
    check_profile=_check_profile,
    place=place_on_cores,
)
