"""A graph as a chip would have it, before its weights are rounded: fine-tuning starts from it.

What differs follows from the profile alone: the reset, one decay for a layer where the chip has one,
decays that the chip has, no delayed spikes but the chip's own. A bias stays: `quantise` refuses one that
the chip cannot have. A leak
that the trained neurons do not have is added only where it is asked for (`with_leak`).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.hardware import grid
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.topology import PlannedGraph, planned
from spyx_nir.meaning.equations import DEFAULTS, ENDLESS, EQUATIONS, GAINS, says_nothing
from spyx_nir.meaning.plan import Plan, check_dt, settled_node, step_dt

UNMOVED = (
    1e-6  # of a decay: its tau is float32, whose rounding moves it by up to 2^-24 of 1 - decay
)
LEAST_SHIFTED = 0.5  # the decay of one shift; a shift of 0 would leave nothing of a state


def variant(
    graph: Mapping[str, Any] | PlannedGraph, profile: Profile, dt: float | None = None
) -> dict[str, Any]:
    """The chip's variant of a graph; the graph itself stays as it is.

    Args:
        graph: the graph's dictionary, as `file.read_dict` gives it, or `planned` of it.
        dt: the step, in the unit of the time constants; None takes the contract's.

    Raises:
        GraphError: the graph has no meaning, or no step is known, or it is longer than a time constant.
    """
    given = planned(graph)
    dt = step_dt(given.plan, dt)
    check_dt(given.plan, dt)
    content = copy.deepcopy(given.content)
    for _, node in file.nodes(content):
        if not EQUATIONS[node["type"]].spikes:
            continue
        metadata = node.get("metadata", {})
        reset = metadata.get("reset", "v_reset")
        if "neuron.trained_reset" in profile:
            reset = profile["neuron.trained_reset"]
        elif reset not in profile["neuron.reset"]:
            reset = profile["neuron.reset"][0]
        node["metadata"] = {**metadata, "reset": reset, "spike_delay": 0}
        if "tau_syn" in node and (node.get("w_in") is None or says_nothing("w_in", node["w_in"])):
            node["w_in"] = np.float32(DEFAULTS["w_in"])
        node.update(settled_node(node, dt))
        for tau, gain in GAINS.items():
            if tau in node:
                _move(node, tau, gain, dt, profile)
    return content


def changes(
    graph: PlannedGraph, changed: PlannedGraph, profile: Profile, dt: float | None = None
) -> list[str]:
    """In words, what `variant` changed of a graph: resets, delays of spikes, decays."""
    dt = step_dt(graph.plan, dt)
    found: dict[str, None] = {}  # a set that keeps the order
    kinds = {"shift": "1 - 2^-k", "fraction": f"n / {2 ** (profile['neuron.decay_bits'] or 0)}"}
    for path, node in graph.plan.nodes.items():
        new = changed.plan.nodes[path]
        for key in ("reset", "spike_delay"):
            if key in node and node[key] != new[key]:
                found[f"{key.replace('_', ' ')} {node[key]} -> {new[key]}"] = None
    moved, joined = False, False
    for path, node in graph.plan.nodes.items():
        for tau in (name for name in GAINS if name in node):
            before, after = (
                1 - dt / np.asarray(one.plan.nodes[path][tau], np.float64)
                for one in (graph, changed)
            )
            moved |= bool(np.abs(before - after).max() > UNMOVED)
            joined |= bool((before != before.flat[0]).any() and (after == after.flat[0]).all())
    if moved:
        which = kinds.get(profile["neuron.decay"], "the chip's")
        found[f"decays to {which}{', one for a layer' if joined else ''}"] = None
    return list(found)


def with_leak(
    graph: Mapping[str, Any] | PlannedGraph, profile: Profile, leak: float, dt: float | None = None
) -> dict[str, Any]:
    """A graph whose IF neurons leak: each becomes a LIF that keeps `1 - leak` of its membrane in a step.

    Input, threshold and reset stay as they are: tau = dt / leak and r = tau * r of the IF, so that
    v + dt / tau * (r * x - v) is (1 - leak) * v + dt * r * x with the r of the IF. Neurons that leak in
    the graph stay as they are.

    Args:
        graph: as for `variant`. leak: above 0 and below 1; it is rounded to the chip's decays.
        dt: as for `variant`.

    Raises:
        GraphError: the chip has no LIF, `leak` is nothing on its grid, or the graph has no IF; and as
            `variant`.
    """
    given = planned(graph)
    dt = step_dt(given.plan, dt)
    if not profile.has_integers or "LIF" not in profile["graph.nodes"]:
        raise GraphError(f"`leak` is {leak:g}, and {profile.name} has no LIF neurons, which leak")
    kept = float(
        grid.decay_on_grid(1 - leak, profile["neuron.decay"], profile["neuron.decay_bits"], "mem")
    )
    if not 0 < kept < 1:
        raise GraphError(f"`leak` is {leak:g}, which {profile.name} rounds to {1 - kept:g}")
    content = copy.deepcopy(given.content)
    without = [node for _, node in file.nodes(content) if node["type"] == "IF"]
    if not without:
        raise GraphError(f"`leak` is {leak:g}, and the graph has no IF neurons, which it is for")
    tau = dt / (1 - kept)
    for node in without:
        shape = np.shape(node["v_threshold"])
        node["type"] = "LIF"
        node["tau"], node["v_leak"] = np.full(shape, tau), np.zeros(shape)
        node["r"] = np.asarray(node["r"], np.float64) * tau
    return content


def added_leak(trained: Plan, made: Plan, dt: float) -> dict[str, float]:
    """Neurons that are IF in one plan and LIF in another, and the share that these lose in a step."""
    return {
        path: float(np.max(dt / np.asarray(node["tau"], np.float64)))
        for path, node in made.nodes.items()
        if node["type"] == "LIF" and trained.nodes[path]["type"] == "IF"
    }


def _move(node: dict[str, Any], tau: str, gain: str, dt: float, profile: Profile) -> None:
    """Round a time constant to the chip's; the input keeps its strength: gain / tau stays as it is."""
    old = np.asarray(node[tau], np.float64)
    decay = 1 - dt / old
    if profile["neuron.decay_per"] == "layer" and (decay != decay.ravel()[0]).any():
        inside = decay.clip(1e-6, 1 - 1e-6)
        decay = np.full_like(decay, 1 / (1 + np.exp(-np.log(inside / (1 - inside)).mean())))
    kind, bits = profile["neuron.decay"], profile["neuron.decay_bits"]
    moved = grid.decay_on_grid(decay, kind, bits, "syn" if tau == "tau_syn" else "mem")
    if kind == "shift":
        moved = np.maximum(moved, LEAST_SHIFTED)
    new = dt / np.where(moved < 1, 1 - moved, 1 / ENDLESS)
    node[gain] = np.asarray(np.asarray(node[gain], np.float64) * new / old, np.float32)
    node[tau] = np.asarray(new, np.float32)
