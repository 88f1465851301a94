"""SynSense Xylo, as XyloSim and rockpool have it."""

from __future__ import annotations

from spyx_nir.errors import UserError
from spyx_nir.hardware.facts import FLAG, TEXT, Profile, list_of, or_null, whole
from spyx_nir.hardware.families.xylo.bringup import BOARDS, bringup
from spyx_nir.hardware.families.xylo.reservoir import check
from spyx_nir.hardware.families.xylo.simulator import REACHES, run
from spyx_nir.hardware.families.xylo.specification import files
from spyx_nir.hardware.family import Family, Training


def _training() -> Training:
    from spyx_nir.hardware.families.xylo.qat import neuron_step

    return Training(neuron_step)


def _check_profile(profile: Profile) -> None:
    if profile["graph.device"] not in BOARDS:
        raise UserError(
            f"`graph.device` must be one of {', '.join(BOARDS)}, got {profile['graph.device']!r}"
        )


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
    files=files,
    delays_neurons=True,
    decays_after_adding=True,
    counts_fan_out_to_outputs=False,
    keys={
        "graph.input_to_output": FLAG,
        "bias.bits": whole(2),
        "bias.exponent_bits": whole(0),
        "neuron.synapses": whole(1),
        "neuron.aliases": whole(0),
        "weights.shifts": list_of(TEXT, empty=True),
        "limits.hidden_synapses": or_null(whole(1)),
        **dict.fromkeys(REACHES, or_null(whole(1))),
    },
    simulated=REACHES,
    check_profile=_check_profile,
    place=check,
)
