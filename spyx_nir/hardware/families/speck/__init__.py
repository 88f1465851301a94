"""SynSense Speck (DynapCNN), as sinabs has it."""

from __future__ import annotations

from spyx_nir.errors import UserError
from spyx_nir.hardware.facts import POSITIVE, TEXT, Profile, list_of, one_of, or_null, whole
from spyx_nir.hardware.families.speck import sinabs_file
from spyx_nir.hardware.families.speck.bringup import bringup
from spyx_nir.hardware.families.speck.configuration import files, readout
from spyx_nir.hardware.families.speck.cores import place_on_cores
from spyx_nir.hardware.families.speck.event_rule import run_events
from spyx_nir.hardware.families.speck.simulator import run
from spyx_nir.hardware.family import EventDriven, Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.speck import qat

    return Training(qat.neuron_step, qat.reach_a_bound)


def _event_driven() -> EventDriven:
    from spyx_nir.hardware.families.speck import event_kernel, qat

    return EventDriven(event_kernel.Program, qat.run_along)


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
    run_events=run_events,
    event_driven=_event_driven,
    graphs=lambda graph: {sinabs_file.NAME: sinabs_file.for_sinabs(graph)},
    files=files,
    addresses=readout,
    keys={
        "cores.kernel_memory": list_of(whole(1)),
        "cores.neuron_memory": list_of(whole(1)),
        "cores.bias_memory": list_of(whole(1)),
        "cores.destinations": whole(1),
        "cores.synops_per_s": or_null(POSITIVE),
        "cores.kernels": whole(1),
        "neuron.spikes_per_event": whole(1),
        "neuron.leak_clock": TEXT,
        "neuron.trained_reset": one_of("subtract", "v_reset"),
        "limits.synops_above": TEXT,
        "readout.channels_per_class": whole(1),
        "readout.classes": whole(1),
        "latency.one_layer_us": POSITIVE,
        "latency.nine_layers_us": POSITIVE,
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
