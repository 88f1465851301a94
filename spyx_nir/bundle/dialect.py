"""A graph as a framework's dialect reads it, written with NIR's neurons: for `build` and `fit`.

The dialects are those of `spyx_nir.meaning.dialects`. What NIR has no neuron for stays different; it is
listed, and `compared` counts the spikes that it costs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.converter.repair import copy
from spyx_nir.meaning import dialects, reference
from spyx_nir.meaning.equations import Node
from spyx_nir.meaning.plan import Plan, check_dt, components, make_plan, settled_node, step_dt

CONTRACT = ("reset", "spike_delay", "v_init")  # of a neuron
MOST_RECORDINGS = 16
MOST_STEPS = 40_000_000  # of neurons, that are compared

SEVERAL = "at most one spike a step, where {} gives as many as thresholds fit into the membrane"
FLOOR = "no floor at -v_threshold"
START = "the membrane starts at 0, not at `{}`"
TWICE = (
    "the threshold is subtracted once, where snnTorch does it again in the next step if the membrane "
    "is still above"
)
FIRST_STEP = "its bias acts through the cycle from the first step on, where {} leaves that one out"


@dataclass(frozen=True)
class Reading:
    """A graph that steps as a dialect reads another one, but for what `differs` says.

    dialect: its name. content: a graph's dictionary; every neuron has its reset. dt: the step.
    differs: (path of a node, what stays different). plan: of the graph that was rewritten.
    """

    dialect: str
    content: dict[str, Any]
    dt: float
    differs: tuple[tuple[str, str], ...]
    plan: Plan

    @property
    def lines(self) -> list[str]:
        """One line for each difference, with all nodes that have it."""
        nodes: dict[str, list[str]] = {}
        for path, what in self.differs:
            nodes.setdefault(what, []).append(f"`{path}`")
        return [f"{', '.join(paths)}: {what}" for what, paths in nodes.items()]


def as_graph(content: Mapping[str, Any], dialect: str, dt: float | None = None) -> Reading:
    """Write what a dialect makes of a graph as NIR's neurons, in Euler steps.

    A decay by exp(-dt/tau) becomes the tau whose Euler step decays so; `>=` the next lower threshold of
    float64. See `spyx_nir.meaning.dialects` for the equations.

    Args:
        content: a graph's dictionary; it is not changed.
        dialect: one of `DIALECTS`.
        dt: the step, in the unit of the time constants; None takes the contract's, and 1 for sinabs.

    Raises:
        GraphError: no step is known, the dialect has no equation for a neuron, or a time constant is
            shorter than the dialect's step.
    """
    plan = make_plan(content, discretization="euler")  # a dialect has steps of its own
    rule = dialects.rule_of(dialect, plan)
    dt = step_dt(plan, dialects.step_of(dialect, plan, dt))
    read = rule.plan(plan)
    made = copy(dict(content))
    differs = []
    for path, node in file.nodes(made):
        metadata = {n: v for n, v in node.get("metadata", {}).items() if n not in CONTRACT}
        if node["type"] in rule.steps:
            node.clear()
            found, different = REWRITES[dialect](settled_node(read.nodes[path], dt), dt)
            metadata |= {n: found.pop(n) for n in CONTRACT if n in found}
            node |= found
            differs += [(path, what) for what in different]
        node["metadata"] = metadata
    if rule.starts_empty:
        differs += [(path, FIRST_STEP.format(dialect)) for path in _cyclic_biases(plan)]
    metadata = {n: v for n, v in made.get("metadata", {}).items() if n != "discretization"}
    if "contract_version" in metadata:
        metadata["contract_version"] = 1
    made["metadata"] = metadata
    check_dt(make_plan(made), dt)
    return Reading(dialect, made, dt, tuple(differs), plan)


def compared(reading: Reading, events: np.ndarray) -> dict[str, Any]:
    """How many spikes of the rewritten graph are not those of the dialect, both in float64.

    Args:
        events: (N, T, *shape) counts, channels first; the first ones are run, as many as `MOST_STEPS`
            allow.

    Returns:
        `recordings` that were run; `same_class`, how many of them have the same largest output;
        `spikes` of the dialect, `differing` spikes (in a step of a neuron, the difference of the counts),
        and `nodes`: the latter two by node.
    """
    neurons = sum(math.prod(reading.plan.shapes[p]) for p in reading.plan.nodes)
    most = MOST_STEPS // max(1, neurons * events.shape[1])
    some = events[: max(1, min(MOST_RECORDINGS, most))]
    x = np.swapaxes(some, 0, 1)
    theirs = dialects.run(reading.plan, x, reading.dialect, reading.dt)
    ours = reference.run(reading.content, x, reading.dt)
    same = reference.predict(theirs.output) == reference.predict(ours.output)
    nodes = {
        path: {
            "spikes": int(spikes.sum(dtype=np.int64)),
            "differing": int(np.abs(spikes - ours.spikes[path].astype(np.int64)).sum()),
        }
        for path, spikes in theirs.spikes.items()
    }
    total = {name: sum(node[name] for node in nodes.values()) for name in ("spikes", "differing")}
    return {"recordings": len(some), "same_class": int(same.sum()), **total, "nodes": nodes}


def _cyclic_biases(plan: Plan) -> Iterator[str]:
    """The nodes of a cycle that give something when every neuron is silent."""
    for part in components(plan.nodes, plan.edges):
        for path in sorted(part) if len(part) > 1 else ():
            if np.any(plan.nodes[path].get("bias", 0)):
                yield path


# ------------------------------------------------------------------- a node, and what stays different


Rewritten = tuple[Node, list[str]]


def _leak(tau: Any, dt: float) -> np.ndarray:
    """1 - exp(-dt/tau)."""
    return -np.expm1(-dt / np.asarray(tau, np.float64))


def _leaky(node: Node, dt: float, leak: np.ndarray, gain: Any) -> Node:
    """v becomes (1 - leak) * v + gain * x in a step."""
    return {**node, "tau": dt / leak, "r": gain / leak, "v_leak": np.zeros_like(leak)}


def _at_threshold(node: Node) -> Node:
    """It spikes at the threshold, too."""
    theta = np.asarray(node["v_threshold"], np.float64)
    return {**node, "v_threshold": np.nextafter(theta, -np.inf)}


def _norse(node: Node, dt: float) -> Rewritten:
    """r of 1, for IF 1/dt. CubaLIF: its current above v_leak is NIR's; v_leak itself adds r * v_leak."""
    made = {**node, "v_reset": np.zeros_like(node["v_threshold"], np.float64)}
    if node["type"] != "CubaLIF":
        one = np.ones_like(node["r"], np.float64)
        return {**made, "r": one / dt if node["type"] == "IF" else one}, []
    made |= {"v_leak": (1 + node["r"]) * node["v_leak"], "v_init": "zero"}
    return made, [START.format("v_leak")] if np.any(node["v_leak"]) else []


def _rockpool(node: Node, dt: float) -> Rewritten:
    if node["type"] == "LI":
        leak = _leak(node["tau"], 1.0)
        return _leaky(node, dt, leak, 1 - leak), []
    syn, mem = _leak(node["tau_syn"], dt), _leak(node["tau_mem"], dt)
    made = {**_at_threshold(node), "reset": "subtract", "v_leak": node["v_leak"] / mem}
    made |= {"tau_syn": dt / syn, "w_in": (1 - syn) / syn, "tau_mem": dt / mem, "r": 1 / mem}
    return made, [SEVERAL.format("Rockpool")]


def _sinabs(node: Node, dt: float) -> Rewritten:
    if node["type"] == "LI":
        return _leaky(node, dt, _leak(node["tau"], 1.0), 1.0), []
    made = {**_at_threshold(node), "reset": "subtract"}
    several = SEVERAL.format("sinabs")
    if node["type"] == "IF":
        return {**made, "r": np.ones_like(node["r"], np.float64) / dt}, [several, FLOOR]
    return _leaky(made, dt, _leak(node["tau"], 1.0), 1.0), [several]


def _snntorch(node: Node, dt: float) -> Rewritten:
    """Steps of 1e-4. IF is a LIF of decay 0.9 and gain 1."""
    made = {**node, "v_reset": np.zeros_like(node["v_threshold"], np.float64)}
    if node["type"] == "IF":
        made |= {"type": "LIF", "reset": "subtract"}
        return _leaky(made, dt, np.full_like(node["r"], 0.1, np.float64), 1.0), [TWICE]
    taus = (name for name in ("tau", "tau_mem", "tau_syn") if name in node)
    return made | {tau: np.asarray(node[tau], np.float64) * (dt / 1e-4) for tau in taus}, []


def _spikingjelly(node: Node, dt: float) -> Rewritten:
    made = _at_threshold(node)
    if not np.any(node["v_reset"]):
        return made, []
    if np.all(node["v_reset"] == node.get("v_leak", np.nan)):
        return {**made, "v_init": "v_leak"}, []
    return made, [START.format("v_reset")]


REWRITES: dict[str, Callable[[Node, float], Rewritten]] = {
    "norse": _norse,
    "rockpool": _rockpool,
    "sinabs": _sinabs,
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
}
