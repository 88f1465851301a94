"""A graph's numbers as a chip's integers, a graph that holds them exactly, and the way back.

A spike weighs 1 whatever made it, and every neuron here rests and resets at 0. So weights and
threshold of a population may be multiplied by any factor without changing a spike. `quantise` picks
the factor K that fills the chip's weights, and rounds:

    weights    round(w * gain * K)        K = largest magnitude of the chip / of the population; where
                                          `weights.symmetric` is false, the most that fits
    threshold  round(threshold * K)       gain: what the neuron multiplies its input with in a step
    decay      the nearest on the chip's grid, see `grid`

K belongs to a neuron or to a layer, as the chip has it. `on_grid` writes the integers back as
integer * 2^-e with e = round(log2 K): floats that hold them exactly, near the trained values.

Xylo decays a current after adding to it, NIR before: i = a * (i + w s) against i = a * i + w s. The
threshold of the chip is a times NIR's, and the graph on the grid has w_in = a * tau_syn / dt, so that
NIR's equation says what the chip does. Hidden neurons of Xylo have `spike_delay` 1 there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import constraints, grid
from spyx_nir.hardware.network import Network, Population, Weight
from spyx_nir.hardware.profile import Profile
from spyx_nir.hardware.topology import Link, Structure, analyse
from spyx_nir.meaning.equations import ENDLESS
from spyx_nir.meaning.plan import check_dt, make_plan, settled, step_dt

KEY = "grid"  # of the graph's metadata: JSON, see `on_grid`
GRID_VERSION = 1
# r and tau are float32 in a file: a product within 2^-22 of 1 is 1, see layout.gain_of.
NEAR = 2.0**-22


class NotOnGrid(GraphError):
    """A number of which rounding leaves nothing, or that the chip cannot have: where, why, what helps."""

    def __init__(self, path: str, number: Any, limit: Any, reason: str, fix: str):
        super().__init__(f"`{path}`: {reason}; {fix}")
        self.path, self.number, self.limit, self.reason, self.fix = path, number, limit, reason, fix


def quantise(
    content: Mapping[str, Any], profile: Profile, dt: float | None = None, reset: str | None = None
) -> Network:
    """A trained graph in a chip's integers (post-training quantisation).

    Args:
        content: the graph's dictionary, as `file.read_dict` gives it.
        profile: the chip; its rule must not be `none`.
        dt: the step; None takes the contract's.
        reset: how every neuron resets, whatever the file says.

    Raises:
        GraphError: the graph does not fit the chip, or rounding leaves nothing of a number or of a
            matrix of weights.
    """
    graph, dt = _structure(content, profile, dt, reset)
    return integers(graph, profile, dt)


def integers(graph: Structure, profile: Profile, dt: float) -> Network:
    """The integers of a graph in which `fit` found no other error.

    Raises:
        GraphError: rounding leaves nothing of a number, or the chip cannot have it.
    """
    populations, weights = [], []
    for path in graph.populations:
        node = graph.plan.nodes[path]
        gain, decay_syn, decay_mem = _dynamics(node, path, dt, profile)
        floats = {
            id(link): _rows(graph, link) * _per_row(gain, link, graph) for link in graph.into(path)
        }
        threshold = np.asarray(node["v_threshold"], np.float64)
        if profile.rule == "xylo" and decay_syn is not None:
            threshold = threshold * (1 - 2.0 ** -decay_syn.astype(np.float64))
        factor, integer = _factor(list(floats.values()), threshold, profile, path)
        exponent = np.round(np.log2(factor)).astype(np.int64)
        populations.append(
            _population(graph, path, profile, integer, decay_syn, decay_mem, exponent)
        )
        bits, step = profile["weights.bits"], profile["weights.step"]
        for link in graph.into(path):
            scale = factor.reshape(-1, 1) if factor.ndim else factor
            values = grid.weights_on_grid(floats[id(link)], scale, bits, step)
            _check_left(graph.weights(link)[0], floats[id(link)], values, profile)
            weights.append(_weight(graph, link, values))
    return _network(graph, profile, populations, weights)


def on_grid(
    content: Mapping[str, Any], network: Network, dt: float | None = None
) -> dict[str, Any]:
    """The graph with the network's numbers: integer * 2^-exponent, exact in float32.

    Its metadata key `grid` is JSON: `version`, `target`, `weight_bits`, `weight_step`, `state_bits`,
    `threshold_bits`, and `exponents`: population -> one number, or one for each neuron.

    Returns:
        A graph's dictionary, as `file.build` takes it.

    Raises:
        GraphError: nothing is left of a matrix of weights.
    """
    graph = copy.deepcopy(dict(content))
    plan = make_plan(content)
    dt = step_dt(plan, dt)
    profile = network.profile
    nodes = dict(file.nodes(graph))
    populations = {p.name: p for p in network.populations}
    for weight in network.weights:
        old = nodes[weight.node]["weight"]
        _check_left(weight.node, old, weight.values, profile)
        exponent = populations[weight.target].exponent
        scale = 2.0 ** -exponent.reshape(-1, *(1,) * (weight.values.ndim - 1))
        nodes[weight.node]["weight"] = _float32(weight.values * scale).reshape(np.shape(old))
        if "bias" in nodes[weight.node]:
            nodes[weight.node]["bias"] = np.zeros_like(nodes[weight.node]["bias"])
    for population in network.populations:
        node = nodes[population.name]
        shape = population.shape
        values = population.threshold * 2.0**-population.exponent
        node["v_threshold"] = np.broadcast_to(_float32(values), shape).copy()
        decays = {
            "syn": _decay(population.decay_syn, profile),
            "mem": _decay(population.decay_mem, profile),
        }
        for tau, gain, which in (
            ("tau_syn", "w_in", "syn"), ("tau_mem", "r", "mem"), ("tau", "r", "mem"),
        ):  # fmt: skip
            if tau in node:
                decay = np.broadcast_to(decays[which], shape)
                lost = np.where(decay < 1, 1 - decay, 1 / ENDLESS)
                node[tau] = _float32(dt / lost)
                node[gain] = _float32(1 / lost)
                if which == "syn" and profile.rule == "xylo":
                    node[gain] = _float32(decay / lost)
        if node["type"] == "IF":
            node["r"] = np.full(shape, 1 / dt, np.float32)
        late = profile.rule == "xylo" and not population.output
        node["metadata"] = {
            **node.get("metadata", {}), "reset": population.reset, "spike_delay": int(late),
        }  # fmt: skip
    told = {
        "version": GRID_VERSION,
        "target": profile.name,
        "weight_bits": profile["weights.bits"],
        "weight_step": profile["weights.step"],
        "state_bits": profile["state.bits"],
        "threshold_bits": profile["state.threshold_bits"],
        "exponents": {p.name: p.exponent.tolist() for p in network.populations},
    }
    graph["metadata"] = {**graph.get("metadata", {}), KEY: json.dumps(told, sort_keys=True)}
    return graph


def recover(content: Mapping[str, Any], profile: Profile, dt: float | None = None) -> Network:
    """The integers of a graph that `on_grid` made, bit for bit.

    Raises:
        GraphError: no `grid` in the metadata, another target's, or a number that is not on the grid.
    """
    told = _told(content, profile)
    graph, dt = _structure(content, profile, dt, None)
    populations, weights = [], []
    for path in graph.populations:
        node = graph.plan.nodes[path]
        shape = graph.plan.shapes[path]
        gain, decay_syn, decay_mem = _dynamics(node, path, dt, profile)
        expected = np.ones(())
        if profile.rule == "xylo" and decay_syn is not None:
            expected = 1 - 2.0 ** -decay_syn.astype(np.float64)
        if (np.abs(gain / expected - 1) > NEAR).any():
            raise GraphError(f"`{path}`: the gain {gain} of its input is not on the grid")
        exponent = np.asarray(told["exponents"].get(path, "none"))
        if exponent.dtype.kind != "i" or exponent.shape not in ((), shape):
            raise GraphError(f"`{path}`: `{KEY}` has no exponents of shape () or {shape}")
        threshold = _whole(np.asarray(node["v_threshold"]), exponent, f"threshold of `{path}`")
        threshold = threshold if exponent.ndim else _single(threshold)
        for link in graph.into(path):
            per_row = exponent.reshape(-1, 1) if exponent.ndim else exponent
            where = f"weight `{graph.weights(link)[0]}`"
            weights.append(_weight(graph, link, _whole(_rows(graph, link), per_row, where)))
        populations.append(
            _population(graph, path, profile, threshold, decay_syn, decay_mem, exponent)
        )
    return _network(graph, profile, populations, weights)


def check_recovery(content: Mapping[str, Any], network: Network) -> None:
    """Refuse a graph that does not give the network's integers back.

    Raises:
        GraphError: names the first population or weight that differs.
    """
    again = recover(content, network.profile)
    for p, q in zip(network.populations, again.populations, strict=True):
        for name in ("threshold", "decay_syn", "decay_mem"):
            a, b = getattr(p, name), getattr(q, name)
            if (a is None) != (b is None) or (a is not None and (np.asarray(a) != b).any()):
                raise GraphError(f"`{p.name}`: its {name} {a} comes back from the graph as {b}")
    for v, w in zip(network.weights, again.weights, strict=True):
        if (v.values != w.values).any():
            raise GraphError(f"weight `{v.node}` does not come back from the graph")


# --------------------------------------------------------------------------------- what both share


def _structure(
    content: Mapping[str, Any], profile: Profile, dt: float | None, reset: str | None
) -> tuple[Structure, float]:
    if profile.rule == "none":
        raise GraphError(
            f"target {profile.name} has no integer rule: `fit` judges it, nothing here rounds or runs it"
        )
    found = constraints.fit(dict(content), profile, dt, reset, integers=False)
    for finding in found.findings:
        if finding.severity == "error" or finding.code == "reset":
            where = f"`{finding.layer}`: " if finding.layer else ""
            raise GraphError(f"{where}{finding.reason}; {finding.fix}")
    plan = make_plan(content, reset)
    dt = step_dt(plan, dt)
    check_dt(plan, dt)
    return analyse(settled(plan, dt)), dt


def _dynamics(
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
    if not (gain > 0).all():
        reason = f"its input is multiplied with {gain.min():g}"
        raise NotOnGrid(path, f"{gain.min():g}", "above 0", reason, "above 0 is needed")
    return np.where(np.abs(gain - 1) <= NEAR, 1.0, gain), syn, mem


def _integer(decay: np.ndarray, state: str, profile: Profile) -> np.ndarray:
    return _single(
        grid.integer_of(decay, profile["neuron.decay"], profile["neuron.decay_bits"], state)
    )


def _single(value: np.ndarray) -> np.ndarray:
    """One number where all are the same."""
    first = value.ravel()[0]
    return np.asarray(first) if (value == first).all() else value


def _rows(graph: Structure, link: Link) -> np.ndarray:
    """The weight of a link, float64."""
    return np.asarray(graph.plan.nodes[graph.weights(link)[0]]["weight"], np.float64)


def _per_row(gain: np.ndarray, link: Link, graph: Structure) -> np.ndarray:
    """Gains of the neurons as a factor of the weight's rows (or output channels)."""
    weight = _rows(graph, link)
    if gain.size == 1:
        return gain.reshape(())
    per = gain.reshape(weight.shape[0], -1)
    if (per != per[:, :1]).any():
        reason, fix = "gains differ within a channel", "train with one for it"
        raise NotOnGrid(link.target, "several gains", "one for a channel", reason, fix)
    return per[:, 0].reshape(-1, *(1,) * (weight.ndim - 1))


def _factor(
    weights: list[np.ndarray], threshold: np.ndarray, profile: Profile, path: str
) -> tuple[np.ndarray, np.ndarray]:
    """K, () or (neurons,), and the integer threshold of the same shape."""
    low, high = grid.weight_range(profile["weights.bits"], profile["weights.step"])
    most = 2 ** profile["state.threshold_bits"] - 1
    if not profile["weights.symmetric"]:  # the lowest weight counts in units of the range below 0
        weights = [np.where(w < 0, w * (high / -low), w) for w in weights]
    if profile["weights.scale_per"] == "neuron":
        largest = np.max([np.abs(w).reshape(len(w), -1).max(axis=1) for w in weights], axis=0)
        threshold = np.broadcast_to(threshold, largest.shape)
    else:
        largest = np.asarray(max(float(np.abs(w).max(initial=0)) for w in weights))
        threshold = np.asarray(float(threshold.ravel()[0]))
    # A neuron without weights never spikes: any factor will do.
    factor = np.where(largest > 0, high / np.where(largest > 0, largest, 1), 1 / threshold)
    factor = np.minimum(factor, most / threshold)
    integer = np.round(threshold * factor).astype(np.int64)
    if (integer < 1).any():
        raise NotOnGrid(
            path,
            f"{largest.max():.6g}",
            f"{2 * high} times the threshold",
            f"a weight of {largest.max():.6g} is more than {2 * high} times the threshold "
            f"{threshold.min():.6g}, which {profile.name} rounds to 0",
            "train with smaller weights",
        )
    return factor, integer


def _check_left(path: str, floats: np.ndarray, values: np.ndarray, profile: Profile) -> None:
    """Refuse a matrix of which rounding leaves nothing; one of zeros is `fit`'s to warn of."""
    if np.any(values) or not np.any(floats):
        return
    largest = float(np.abs(floats).max())
    raise NotOnGrid(
        path,
        f"{largest:.6g}",
        "an integer that is not 0",
        f"all of its weights, {largest:.6g} at most, become 0 on the grid of {profile.name}, where the "
        "largest weight into the same neurons sets the scale",
        "train with weights of like size, or leave it out",
    )


def _population(
    graph: Structure, path: str, profile: Profile, threshold: Any, syn: Any, mem: Any, exponent: Any
) -> Population:
    return Population(
        path,
        graph.plan.shapes[path],
        threshold,
        syn,
        mem,
        graph.plan.nodes[path]["reset"],
        path in graph.outputs,
        exponent,
    )


def _weight(graph: Structure, link: Link, values: np.ndarray) -> Weight:
    (name,) = graph.weights(link)
    node = graph.plan.nodes[name]
    pools = [p for p in link.path if graph.kind(p) == "SumPool2d"]
    windows = tuple(int(np.ravel(graph.plan.nodes[p]["kernel_size"])[0]) for p in pools)
    for path in pools:
        _plain_pool(graph.plan.nodes[path], path)
    options = {}
    if values.ndim == 4:
        if (np.ravel(node["dilation"]) != 1).any() or np.ravel(node["groups"])[0] != 1:
            raise GraphError(f"Conv2d node `{name}`: dilation and groups must be 1")
        if isinstance(node["padding"], str):
            raise GraphError(f"Conv2d node `{name}`: padding {node['padding']!r}: give numbers")
        stride, padding = np.broadcast_to(node["stride"], 2), np.broadcast_to(node["padding"], 2)
        options = {
            "stride": (int(stride[0]), int(stride[1])),
            "padding": (int(padding[0]), int(padding[1])),
        }
    shape = graph.plan.arrives[name]
    return Weight(link.source, link.target, name, values, shape, windows, **options)


def _plain_pool(node: dict[str, Any], path: str) -> None:
    kernel, stride = np.broadcast_to(node["kernel_size"], 2), np.broadcast_to(node["stride"], 2)
    if kernel[0] != kernel[1] or (kernel != stride).any() or np.any(node["padding"]):
        raise GraphError(f"SumPool2d node `{path}`: square windows that do not overlap are needed")


def _network(
    graph: Structure, profile: Profile, populations: list[Population], weights: list[Weight]
) -> Network:
    inputs = {path: graph.plan.shapes[path] for path in graph.plan.inputs}
    network = Network(profile, inputs, tuple(populations), tuple(weights))
    network.check()
    return network


# ------------------------------------------------------------------------------------ to and fro


def _float32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _decay(integer: np.ndarray | None, profile: Profile) -> np.ndarray:
    """The decay per step that an integer stands for; 0 where there is none."""
    if integer is None:
        return np.zeros(())
    if profile["neuron.decay"] == "shift":
        return np.asarray(1 - 2.0 ** -integer.astype(np.float64))
    return np.asarray(integer / 2.0 ** profile["neuron.decay_bits"])


def _told(content: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    text = content.get("metadata", {}).get(KEY)
    if text is None:
        raise GraphError(f"the contract has no `{KEY}`: the graph is not on a chip's grid")
    try:
        told = json.loads(text)
        exponents, target, version = told["exponents"], told["target"], told["version"]
        assert isinstance(exponents, dict) and version == GRID_VERSION
    except (TypeError, ValueError, KeyError, AssertionError):
        raise GraphError(
            f"the contract's `{KEY}` is {text!r:.80}, which no stage of this version writes: make the "
            "graph again"
        ) from None
    if target != profile.name:
        raise GraphError(f"the graph is on the grid of {target}, not of {profile.name}")
    return told


def _whole(values: np.ndarray, exponent: np.ndarray, where: str) -> np.ndarray:
    per = exponent.reshape(-1, *(1,) * (values.ndim - 1)) if exponent.ndim else exponent
    scaled = np.asarray(values, np.float64) * 2.0**per
    whole = np.round(scaled)
    if (whole != scaled).any():
        place = tuple(int(i) for i in np.argwhere(whole != scaled)[0])
        raise GraphError(f"{where}: {float(values[place]):.9g} at {place} is not on the grid")
    found = whole.astype(np.int64)
    return (
        _single(found) if found.ndim and not exponent.ndim and where[:9] == "threshold" else found
    )
