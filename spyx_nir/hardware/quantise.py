"""A graph's numbers as a chip's integers, a graph that holds them exactly, and the way back.

`quantise` checks the chip's constraints and rounds, see `rounding`. `on_grid` writes the integers back as
integer * 2^-e with e = round(log2 K) and K the scale that rounding chose: floats that hold them exactly,
near the trained values.

Where the chip decays a current after adding to it, the graph on the grid has w_in = a * tau_syn / dt, so
that NIR's equation says what the chip does. Where hidden spikes arrive a step later, hidden neurons have
`spike_delay` 1 there.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import biases, registry
from spyx_nir.hardware.constraints import check_constraints
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Misfit
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.hardware.rounding import (
    NEAR,
    check_left,
    decay_of,
    dynamics,
    input_gain,
    integers,
    is_current,
    network_of,
    population_of,
    rows,
    single,
    weight_of,
)
from spyx_nir.hardware.topology import PlannedGraph, Topology, analyse, planned
from spyx_nir.meaning.equations import ENDLESS
from spyx_nir.meaning.plan import check_dt, parse_json, settled, step_dt

KEY = "grid"  # of the graph's metadata: JSON, see `on_grid`
GRID_VERSION = 1
NO_GRID = f"the contract has no `{KEY}`: the graph is not on a chip's grid"


def quantise(
    graph: Mapping[str, Any] | PlannedGraph,
    profile: Profile,
    dt: float | None = None,
    reset: str | None = None,
    clips: Mapping[str, np.ndarray] | None = None,
) -> IntegerNetwork:
    """A trained graph in a chip's integers (post-training quantisation).

    Args:
        graph: the graph's dictionary, as `file.read_dict` gives it, or `planned` of it.
        profile: the chip; it must have integer semantics.
        dt: the step; None takes the contract's.
        reset: how every neuron resets, whatever the file says.
        clips: see `rounding.integers`.

    Raises:
        GraphError: the graph does not fit the chip, or rounding leaves nothing of a number or of a
            matrix of weights.
    """
    topology, dt = _checked(graph, profile, dt, reset)
    return integers(topology, profile, dt, clips)


def on_grid(
    graph: Mapping[str, Any] | PlannedGraph, network: IntegerNetwork, dt: float | None = None
) -> dict[str, Any]:
    """The graph with the network's numbers: integer * 2^-exponent, exact in float32.

    Its metadata key `grid` is JSON: `version`, `target`, `weight_bits`, `weight_step`, `state_bits`,
    `threshold_bits`, and `exponents`: population -> one number, or one for each neuron.

    Returns:
        A graph's dictionary, as `file.build` takes it.

    Raises:
        GraphError: nothing is left of a matrix of weights.
    """
    given = planned(graph)
    dt = step_dt(given.plan, dt)
    profile = network.profile
    topology = analyse(given.plan)
    content = copy.deepcopy(given.content)
    nodes = dict(file.nodes(content))
    populations = {p.name: p for p in network.populations}
    for weight in network.weights:
        old = nodes[weight.node]["weight"]
        check_left(weight.node, old, weight.values, profile)
        exponent = populations[weight.target].exponent
        scale = 2.0 ** -exponent.reshape(-1, *(1,) * (weight.values.ndim - 1))
        nodes[weight.node]["weight"] = _float32(weight.values * scale).reshape(np.shape(old))
        if "bias" in nodes[weight.node]:
            nodes[weight.node]["bias"] = np.zeros_like(nodes[weight.node]["bias"])
    for population in network.populations:
        node = nodes[population.name]
        shape = population.shape
        if not population.membrane:
            values = population.threshold * 2.0**-population.exponent
            node["v_threshold"] = np.broadcast_to(_float32(values), shape).copy()
        decays = {
            "syn": decay_of(population.decay_syn, profile),
            "mem": decay_of(population.decay_mem, profile),
        }
        only = "syn" if is_current(node, profile) else "mem"
        for tau, gain, which in (
            ("tau_syn", "w_in", "syn"), ("tau_mem", "r", "mem"), ("tau", "r", only),
        ):  # fmt: skip
            if tau in node:
                decay = np.broadcast_to(decays[which], shape)
                lost = np.where(decay < 1, 1 - decay, 1 / ENDLESS)
                one = input_gain(population.decay_syn, profile) if which == "syn" else np.ones(())
                node[tau] = _float32(dt / lost)
                node[gain] = _float32(one / lost)
        if node["type"] in ("IF", "I"):
            node["r"] = np.full(shape, 1 / dt, np.float32)
        biases.write(topology, population, profile, dt, nodes)
        if population.membrane:
            continue
        delay = 0 if population.output else registry.family(profile).hidden_spike_delay
        metadata = node.get("metadata", {})
        node["metadata"] = {**metadata, "reset": population.reset, "spike_delay": delay}
    key = {
        "version": GRID_VERSION,
        "target": profile.name,
        "weight_bits": profile["weights.bits"],
        "weight_step": profile["weights.step"],
        "state_bits": profile["state.bits"],
        "threshold_bits": profile["state.threshold_bits"],
        "exponents": {p.name: p.exponent.tolist() for p in network.populations},
    }
    content["metadata"] = {**content.get("metadata", {}), KEY: json.dumps(key, sort_keys=True)}
    return content


def recover(
    graph: Mapping[str, Any] | PlannedGraph, profile: Profile, dt: float | None = None
) -> IntegerNetwork:
    """The integers of a graph that `on_grid` made, bit for bit.

    Raises:
        GraphError: no `grid` in the metadata, another target's, or a number that is not on the grid.
    """
    given = planned(graph)
    exponents = _exponents(given.content, profile)
    topology, dt = _checked(given, profile, dt)
    populations, weights = [], []
    for path in topology.populations:
        node = topology.plan.nodes[path]
        shape = topology.plan.shapes[path]
        gain, decay_syn, decay_mem = dynamics(node, path, dt, profile)
        if (np.abs(gain / input_gain(decay_syn, profile) - 1) > NEAR).any():
            raise GraphError(
                f"`{path}`: the gain {gain} of its input is not on the grid", node=path, field="r"
            )
        exponent = np.asarray(exponents.get(path, "none"))
        if exponent.dtype.kind != "i" or exponent.shape not in ((), shape):
            raise GraphError(
                f"`{path}`: `{KEY}` has no exponents of shape () or {shape}", node=path
            )
        if "v_threshold" in node:
            threshold = _whole(np.asarray(node["v_threshold"]), exponent, path, "v_threshold")
            threshold = threshold if exponent.ndim else single(threshold)
        else:
            threshold = np.full(exponent.shape, 2 ** profile["state.threshold_bits"] - 1)
        added = biases.per_step(topology, path, gain, decay_of(decay_syn, profile), dt)
        bias = biases.read(added, exponent, profile, path)
        for link in topology.into(path):
            per_row = exponent.reshape(-1, 1) if exponent.ndim else exponent
            values = _whole(rows(topology, link), per_row, topology.weights(link)[0], "weight")
            weights.append(weight_of(topology, link, values, profile, dt))
        populations.append(
            population_of(topology, path, threshold, decay_syn, decay_mem, exponent, bias)
        )
    return network_of(topology, profile, populations, weights)


def for_chip(graph: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The graph that `on_grid` made for a chip, for another one that computes alike.

    Returns:
        A graph's dictionary; its numbers are the same.

    Raises:
        GraphError: no `grid` in the metadata.
    """
    text = graph.get("metadata", {}).get(KEY)
    if text is None:
        raise GraphError(NO_GRID)
    key = json.dumps({**parse_json(text), "target": profile.name}, sort_keys=True)
    return {**graph, "metadata": {**graph["metadata"], KEY: key}}


def check_recovery(graph: Mapping[str, Any] | PlannedGraph, network: IntegerNetwork) -> None:
    """Refuse a graph that does not give the network's integers back.

    Raises:
        GraphError: names the first population or weight that differs.
    """
    again = recover(graph, network.profile)
    for p, q in zip(network.populations, again.populations, strict=True):
        for name in ("threshold", "decay_syn", "decay_mem", "bias"):
            a, b = getattr(p, name), getattr(q, name)
            if (a is None) != (b is None) or (a is not None and (np.asarray(a) != b).any()):
                raise GraphError(
                    f"`{p.name}`: its {name} {a} comes back from the graph as {b}", node=p.name
                )
    for v, w in zip(network.weights, again.weights, strict=True):
        if (v.values != w.values).any():
            raise GraphError(f"weight `{v.node}` does not come back from the graph", node=v.node)


def _checked(
    graph: Mapping[str, Any] | PlannedGraph,
    profile: Profile,
    dt: float | None,
    reset: str | None = None,
) -> tuple[Topology, float]:
    """The topology and the step of a graph that fits the chip."""
    registry.family(profile)  # raises where there is none
    given = planned(graph, reset)
    found = check_constraints(given, profile, dt, integers=False)
    for finding in found.findings:
        if finding.severity == "error" or finding.code == "reset":
            raise Misfit.of(finding)
    dt = step_dt(given.plan, dt)
    check_dt(given.plan, dt)
    return analyse(settled(given.plan, dt)), dt


def _float32(values: Any) -> np.ndarray:
    return np.asarray(values, np.float32)


def _exponents(content: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """The metadata's exponents: population -> one number, or one for each neuron."""
    text = content.get("metadata", {}).get(KEY)
    if text is None:
        raise GraphError(NO_GRID)
    try:
        given = parse_json(text)
        exponents, target, version = given["exponents"], given["target"], given["version"]
        assert isinstance(exponents, dict) and version == GRID_VERSION
    except (TypeError, ValueError, KeyError, AssertionError):
        raise GraphError(
            f"the contract's `{KEY}` is {text!r:.80}, which no stage of this version writes: make the "
            "graph again"
        ) from None
    if target != profile.name:
        raise GraphError(f"the graph is on the grid of {target}, not of {profile.name}")
    return exponents


def _whole(values: np.ndarray, exponent: np.ndarray, path: str, field: str) -> np.ndarray:
    """Values of a node's field times 2^exponent, which must be integers."""
    per = exponent.reshape(-1, *(1,) * (values.ndim - 1)) if exponent.ndim else exponent
    scaled = np.asarray(values, np.float64) * 2.0**per
    whole = np.round(scaled)
    if (whole != scaled).any():
        place = tuple(int(i) for i in np.argwhere(whole != scaled)[0])
        raise GraphError(
            f"`{path}`: {field} {float(values[place]):.9g} at {place} is not on the grid",
            node=path,
            field=field,
        )
    return whole.astype(np.int64)
