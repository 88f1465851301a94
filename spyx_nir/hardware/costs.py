"""What a network costs in a chip's integers: the keys of `neurobench`, and energy that is modelled.

A spike counts when it is sent, also where its weight acts one step later. What is counted of a
population, and of the weights that lead away from it, are as many steps as the input has, from the
population's delay on: as many as are counted of a graph of floats. The silent steps behind a recording,
in which delayed spikes arrive, are no further ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir import neurobench
from spyx_nir.hardware import simulate
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.network import IntegerNetwork, Run, Weight


def counts(
    network: IntegerNetwork, x: dict[str, np.ndarray], run: Run, steps: int
) -> neurobench.Counts:
    """What a recorded run did, per sample.

    Args:
        x: the run's input, (T, B, *shape) per name, padded. run: with states. steps: of the input
            without the silent ones.
    """
    meter = neurobench.Meter(next(iter(x.values())).shape[1])
    delay = dict.fromkeys(x, 0) | simulate.delays(network)
    sent = {name: spikes[delay[name] :] for name, spikes in {**x, **run.spikes}.items()}
    states = {name: membranes[delay[name] :] for name, membranes in run.membranes.items()}
    weights = [(weight, *_joined(weight)) for weight in network.weights]
    for t in range(steps):
        for weight, fan, dense in weights:
            meter.connection(fan, dense, weight.pooled(sent[weight.source][t].astype(np.int64)))
        for population in network.populations:
            name = population.name
            meter.neurons(name, sent[name][t], states[name][t])
    return meter.counts


def _joined(weight: Weight) -> tuple[np.ndarray, int]:
    """A weight's `cost.fan_out` and `cost.synapses`."""
    keys = ("stride", "padding", "dilation", "groups")
    node = {"weight": weight.values, **{key: getattr(weight, key) for key in keys}}
    shape = weight.shape if weight.values.ndim > 2 else (weight.values.shape[1],)
    return neurobench.fan_out(node, shape), neurobench.synapses(node, shape)


def report(
    network: IntegerNetwork, parts: list[neurobench.Counts], accuracy: float
) -> dict[str, Any]:
    """`neurobench.report` of a chip's integers, and `energy` where its profile has a number for it.

    A number takes 1, 2 or 4 bytes, the fewest that hold as many bits as the chip gives it; the lowest
    bits that a chip's weights do not have are not counted.
    """
    profile = network.profile
    width = {
        "weight": profile["weights.bits"] - int(np.log2(profile["weights.step"])),
        "threshold": profile["state.threshold_bits"],
        "decay": profile["neuron.decay_bits"],
        "bias": profile["bias.bits"] if "bias.bits" in profile else profile["state.bits"],
    }
    numbers = [("weight", weight.values) for weight in network.weights]
    for p in network.populations:
        numbers.append(("threshold", p.threshold))
        numbers += [("decay", d) for d in (p.decay_syn, p.decay_mem) if d is not None]
        numbers += [("bias", p.bias)] if p.bias is not None else []
    static = {
        "Footprint": sum(_bytes(width[what]) * array.size for what, array in numbers),
        "ParameterCount": sum(a.size for what, a in numbers if what in ("weight", "bias")),
        "ConnectionSparsity": neurobench.sparsity(weight.values for weight in network.weights),
    }
    found = neurobench.report(static, parts, accuracy)
    return {**found, **_energy(profile, found["SynapticOperations"])}


def _bytes(bits: int) -> int:
    """The smallest of 1, 2 and 4 bytes that holds so many bits."""
    return next(size for size in (1, 2, 4) if bits <= 8 * size)


def _energy(profile: Profile, operations: dict[str, float]) -> dict[str, Any]:
    """Energy of the synaptic operations of a sample; empty where no source has a number."""
    each = profile["energy.pj_per_synop"]
    if each is None:
        return {}
    done = operations["Effective_ACs"] + operations["Effective_MACs"]
    return {
        "energy": {
            "mark": "modelled",
            "pj_per_sample": each * done,
            "pj_per_synop": each,
            "source": profile.source("energy.pj_per_synop"),
        }
    }
