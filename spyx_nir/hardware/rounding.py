"""A graph's numbers as a chip's integers, once the chip's constraints are checked.

A spike weighs 1 whatever made it, and every neuron here rests and resets at 0. So weights and
threshold of a population may be multiplied by any factor without changing a spike. `integers` picks
the factor K that fills the chip's weights, and rounds:

    weights    round(w * gain * K)        K = largest magnitude of the chip / of the population; where
                                          `weights.symmetric` is false, the most that fits
    threshold  round(threshold * K)       gain: what the neuron multiplies its input with in a step
    decay      the nearest on the chip's grid, see `grid`

K belongs to a neuron or to a layer, as the chip has it.

Some chips (`Family.decays_after_adding`) decay a current after adding to it, NIR before:
i = a * (i + w s) against i = a * i + w s. The threshold of the chip is then a times NIR's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.hardware import biases, grid, registry
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Misfit, against
from spyx_nir.hardware.links import geometry
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight
from spyx_nir.hardware.topology import Link, Topology

# r and tau are float32 in a file: a product within 2^-22 of 1 is 1, see layout.gain_of.
NEAR = 2.0**-22


def integers(
    graph: Topology,
    profile: Profile,
    dt: float,
    clips: Mapping[str, np.ndarray] | None = None,
) -> IntegerNetwork:
    """The integers of a graph in which `check_constraints` found no other error.

    Args:
        clips: population -> share of its largest weight, () or one for each neuron as the chip has its
            scale, that gets the chip's largest integer; larger weights are clipped to it. None: 1.

    Raises:
        GraphError: rounding leaves nothing of a number, or the chip cannot have it.
    """
    populations, weights = [], []
    for path in graph.populations:
        node = graph.plan.nodes[path]
        gain, decay_syn, decay_mem = dynamics(node, path, dt, profile)
        floats = {
            id(link): rows(graph, link) * per_row(gain, link, graph, profile)
            for link in graph.into(path)
        }
        threshold = threshold_of(node, profile) * input_gain(decay_syn, profile)
        clip = (clips or {}).get(path, np.ones(()))
        factor, integer = _factor(graph, path, list(floats.values()), threshold, profile, clip)
        exponent = np.round(np.log2(factor)).astype(np.int64)
        alpha = decay_of(decay_syn, profile)
        added = biases.per_step(graph, path, gain, alpha, dt)
        added = None if added is None else added * input_gain(decay_syn, profile)
        bias = biases.integer(added, factor, profile, path)
        populations.append(
            population_of(graph, path, integer, decay_syn, decay_mem, exponent, bias)
        )
        bits, step = profile["weights.bits"], profile["weights.step"]
        for link in graph.into(path):
            scale = factor.reshape(-1, 1) if factor.ndim else factor
            values = grid.weights_on_grid(floats[id(link)], scale, bits, step)
            check_left(graph.weights(link)[0], floats[id(link)], values, profile)
            weights.append(weight_of(graph, link, values, profile, dt))
    return network_of(graph, profile, populations, weights)


def threshold_of(node: dict[str, Any], profile: Profile) -> np.ndarray:
    """A neuron's threshold; infinite where it has none, and its membrane is read."""
    return np.asarray(node.get("v_threshold", np.inf), np.float64)


def dynamics(
    node: dict[str, Any], path: str, dt: float, profile: Profile
) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
    """What a neuron multiplies its input with, and its decays as the chip's integers."""
    gain = np.asarray(node["r"], np.float64) * dt
    syn = mem = None
    if "tau_syn" in node:
        tau = np.asarray(node["tau_syn"], np.float64)
        gain = gain * np.asarray(node["w_in"], np.float64) * dt / tau
        syn = _integer(1 - dt / tau, "syn", profile)
    name = "tau_mem" if "tau_mem" in node else "tau"
    if name in node:
        tau = np.asarray(node[name], np.float64)
        gain = gain / tau
        mem = _integer(1 - dt / tau, "mem", profile)
    if is_current(node, profile):  # the membrane keeps nothing: it is the current
        syn, mem = mem, np.zeros((), np.int64)
    if not (gain > 0).all():
        why, fix = f"its input is multiplied with {gain.min():g}", "above 0 is needed"
        raise _misfit(profile, path, why, fix, number=f"{gain.min():g}", limit="above 0")
    return np.where(np.abs(gain - 1) <= NEAR, 1.0, gain), syn, mem


def is_current(node: dict[str, Any], profile: Profile) -> bool:
    """Whether an LI is the current of a chip's neuron, where currents decay after adding their input.

    A membrane gets its input through the current there, and one that decays to 0 at once passes nothing.
    """
    return (
        node["type"] == "LI"
        and profile.has_integers
        and registry.family(profile).decays_after_adding
    )


def _misfit(profile: Profile, layer: str, why: str, fix: str, **found: Any) -> Misfit:
    return Misfit.of(against(profile, "weights.bits", "integers", layer, why, fix, **found))


def _integer(decay: np.ndarray, state: str, profile: Profile) -> np.ndarray:
    return single(
        grid.integer_of(decay, profile["neuron.decay"], profile["neuron.decay_bits"], state)
    )


def decay_of(integer: np.ndarray | None, profile: Profile) -> np.ndarray:
    """The decay per step that an integer encodes; 0 where there is none."""
    if integer is None:
        return np.zeros(())
    if profile["neuron.decay"] == "shift":
        return np.asarray(1 - 2.0 ** -integer.astype(np.float64))
    return np.asarray(integer / 2.0 ** profile["neuron.decay_bits"])


def input_gain(decay_syn: np.ndarray | None, profile: Profile) -> np.ndarray:
    """What the chip multiplies the input of a current with: its decay, where that comes after adding."""
    if decay_syn is None or not registry.family(profile).decays_after_adding:
        return np.ones(())
    return decay_of(decay_syn, profile)


def single(value: np.ndarray) -> np.ndarray:
    """One number where all are the same."""
    first = value.ravel()[0]
    return np.asarray(first) if (value == first).all() else value


def rows(graph: Topology, link: Link) -> np.ndarray:
    """The weight of a link, float64."""
    return np.asarray(graph.plan.nodes[graph.weights(link)[0]]["weight"], np.float64)


def per_row(gain: np.ndarray, link: Link, graph: Topology, profile: Profile) -> np.ndarray:
    """Gains of the neurons as a factor of the weight's rows (or output channels)."""
    weight = rows(graph, link)
    if gain.size == 1:
        return gain.reshape(())
    per = gain.reshape(weight.shape[0], -1)
    if (per != per[:, :1]).any():
        why, number, limit = "gains differ within a channel", "several gains", "one for a channel"
        raise _misfit(
            profile, link.target, why, "train with one for it", number=number, limit=limit
        )
    return per[:, 0].reshape(-1, *(1,) * (weight.ndim - 1))


def _factor(
    graph: Topology,
    path: str,
    weights: list[np.ndarray],
    threshold: np.ndarray,
    profile: Profile,
    clip: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """K, () or (neurons,), and the integer threshold of the same shape; clip: see `integers`.

    Where the threshold is infinite, K fills the chip's weights, and the threshold is the chip's largest.
    So too for an output whose threshold leaves nothing of its weights: it does not fire. Membranes that
    are read have one K, by which they can be compared.
    """
    low, high = grid.weight_range(profile["weights.bits"], profile["weights.step"])
    most = 2 ** profile["state.threshold_bits"] - 1
    if not profile["weights.symmetric"]:  # the lowest weight counts in units of the range below 0
        weights = [np.where(w < 0, w * (high / -low), w) for w in weights]
    if profile["weights.scale_per"] == "neuron" and not np.isinf(threshold).any():
        largest = np.max([np.abs(w).reshape(len(w), -1).max(axis=1) for w in weights], axis=0)
        threshold = np.broadcast_to(threshold, largest.shape)
    else:
        largest = np.asarray(max(float(np.abs(w).max(initial=0)) for w in weights))
        threshold = np.asarray(float(threshold.ravel()[0]))
    largest = largest * clip
    # A neuron without weights never spikes: any factor will do.
    factor = np.where(largest > 0, high / np.where(largest > 0, largest, 1), 1 / threshold)
    if out_of_reach(graph, path, largest, threshold, profile):
        return np.where(largest > 0, factor, 1.0), np.full(largest.shape, most, np.int64)
    factor = np.minimum(factor, most / threshold)
    integer = np.round(threshold * factor).astype(np.int64)
    if (integer < 1).any():
        number, limit = f"{largest.max():.6g}", f"{2 * high} times the threshold"
        why = (
            f"a weight of {number} is more than {limit} {threshold.min():.6g}, which {profile.name} "
            "rounds to 0"
        )
        fix = "train with smaller weights"
        raise _misfit(profile, path, why, fix, number=number, limit=limit)
    return factor, integer


def out_of_reach(
    graph: Topology, path: str, largest: np.ndarray, threshold: np.ndarray, profile: Profile
) -> bool:
    """Whether an output's threshold is so high that the chip cannot have it beside its weights.

    largest: the largest magnitude of its weights.
    """
    step, most = profile["weights.step"], 2 ** profile["state.threshold_bits"] - 1
    gone = (largest > 0) & (largest * most < step / 2 * threshold)  # all weights become 0
    return path in graph.outputs and bool((gone | np.isinf(threshold)).all())


def check_left(path: str, floats: np.ndarray, values: np.ndarray, profile: Profile) -> None:
    """Refuse a matrix of which rounding leaves nothing; `check_constraints` warns of one of zeros."""
    if np.any(values) or not np.any(floats):
        return
    largest, limit = f"{np.abs(floats).max():.6g}", "an integer that is not 0"
    why = (
        f"all of its weights, {largest} at most, become 0 on the grid of {profile.name}, where the "
        "largest weight into the same neurons sets the scale"
    )
    fix = "train with weights of like size, or leave it out"
    raise _misfit(profile, path, why, fix, number=largest, limit=limit)


def population_of(
    graph: Topology, path: str, threshold: Any, syn: Any, mem: Any, exponent: Any, bias: Any
) -> Population:
    """The population of a node with these integers; exponent: see `network.Population`."""
    node = graph.plan.nodes[path]
    return Population(
        path,
        graph.plan.shapes[path],
        threshold,
        syn,
        mem,
        node.get("reset", "v_reset"),
        path in graph.outputs,
        exponent,
        bias,
        membrane="v_threshold" not in node,
    )


def weight_of(
    graph: Topology, link: Link, values: np.ndarray, profile: Profile, dt: float
) -> Weight:
    """The weight of a link with these integers, and what is in front of it.

    Raises:
        Misfit: see `links.geometry`.
    """
    (name,) = graph.weights(link)
    shape = graph.plan.arrives[name]
    fields = geometry(graph, link, profile, dt)
    return Weight(link.source, link.target, name, values, shape, **fields)


def network_of(
    graph: Topology, profile: Profile, populations: list[Population], weights: list[Weight]
) -> IntegerNetwork:
    """The network of these parts.

    Raises:
        GraphError: a number that the chip cannot hold, see `IntegerNetwork.check`.
    """
    inputs = {path: graph.plan.shapes[path] for path in graph.plan.inputs}
    network = IntegerNetwork(profile, inputs, tuple(populations), tuple(weights))
    network.check()
    return network
