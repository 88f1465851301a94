"""Dialects: how other frameworks are known to read a file, as equations in the place of NIR's.

Each was measured on networks of this project, with the versions in docs/peers.md. Steps have the form of
those in `equations.py`; spikes may be counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import EQUATIONS, Node, State, Step, node_error, step_if, step_lif
from spyx_nir.meaning.plan import Plan, make_plan, set_order
from spyx_nir.meaning.reference import Result


@dataclass(frozen=True)
class Rule:
    """A reader's way.

    steps: by the type of the node that they are for. as_nir: neurons that it steps as NIR does.
    starts_empty: an edge that closes a cycle carries nothing in the first step, not even a bias.
    nir_alone: the contract is not read, so that neurons reset to v_reset and spikes leave in their step.
    """

    text: str
    steps: Mapping[str, Callable[[Node, np.ndarray, State, float], Step]] = field(
        default_factory=dict
    )
    as_nir: tuple[str, ...] = ()
    starts_empty: bool = False
    nir_alone: bool = False

    def plan(self, plan: Plan) -> Plan:
        """The plan as the reader understands it."""
        if self.nir_alone:
            own = {"reset": "v_reset", "spike_delay": 0}
            nodes = {p: {**n, **own} if "reset" in n else n for p, n in plan.nodes.items()}
            plan = replace(plan, nodes=nodes)
            set_order(plan)
        return replace(plan, quiet=[]) if self.starts_empty else plan


MOST_SPIKES = 2.0**16  # in a step: Rockpool's `max_spikes_per_dt`; sinabs has no bound


def several(node: Node, u: np.ndarray, state: State, lowest: float = -np.inf) -> Step:
    """As many spikes as thresholds fit into the membrane u, each taken off; never below `lowest`."""
    theta = node["v_threshold"]
    z = np.where(u >= theta, np.minimum(np.floor(u / theta), MOST_SPIKES), 0.0)
    return z, {**state, "u": u, "v": np.maximum(u - z * theta, lowest * theta)}


def step_if_floor(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """sinabs' IAF: gain 1, several spikes a step, a floor at -v_threshold."""
    return several(node, state.get("v", 0.0) + x, state, lowest=-1.0)


def step_lif_exponential(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """sinabs' LIF: decay exp(-1/tau), gain 1, several spikes a step."""
    return several(node, np.exp(-1 / node["tau"]) * state.get("v", 0.0) + x, state)


def step_cuba_exponential(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Rockpool's LIF: the input decays with the current, gains are 1, several spikes a step."""
    i = np.exp(-dt / node["tau_syn"]) * (state.get("i", 0.0) + x)
    u = np.exp(-dt / node["tau_mem"]) * state.get("v", 0.0) + i + node["v_leak"]
    z, state = several(node, u, state)
    return z, {**state, "i": i}


def step_lif_gain_one(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's LIF: NIR's, with r taken as 1."""
    return step_lif({**node, "r": 1.0}, x, state, dt)


def step_if_gain_one(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's IF: NIR's, with r taken as 1."""
    return step_if({**node, "r": 1.0}, x, state, dt)


def step_lif_at_own_dt(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """snnTorch's LIF: NIR's, in steps of 1e-4 whatever the file's dt."""
    return step_lif(node, x, state, 1e-4)


NORSE = Rule(
    "r of LIF and IF is taken as 1",
    {"IF": step_if_gain_one, "LIF": step_lif_gain_one},
    as_nir=("CubaLIF",),
    nir_alone=True,
)
SNNTORCH = Rule(
    "LIF in steps of 1e-4, whatever the file's dt", {"LIF": step_lif_at_own_dt}, nir_alone=True
)
SINABS = Rule(
    "several spikes a step where v >= v_threshold, reset by subtraction, IF not below -v_threshold, "
    "LIF decays by exp(-1/tau)",
    {"IF": step_if_floor, "LIF": step_lif_exponential},
    nir_alone=True,
)
EMPTY_CYCLES = Rule(
    "a recurrent weight gives nothing in the first step, its bias is missing there",
    starts_empty=True,
)
NIR_ALONE = Rule(
    "the contract is not read: reset to v_reset, spikes leave in their step", nir_alone=True
)
ROCKPOOL = Rule(
    "decay by exp(-dt/tau) after the input is added, several spikes a step where v >= v_threshold, "
    "reset by subtraction",
    {"CubaLIF": step_cuba_exponential},
    nir_alone=True,
)


# What `--dialect` takes.
DIALECTS: dict[str, Rule] = {
    "norse": NORSE,
    "rockpool": ROCKPOOL,
    "sinabs": SINABS,
    "snntorch": SNNTORCH,
}


def rule_of(name: str, plan: Plan) -> Rule:
    """The rule of a dialect, for a graph whose neurons it knows.

    Raises:
        GraphError: there is no such dialect, or a neuron whose step in it is not known.
    """
    if name not in DIALECTS:
        what = f"`dialect` must be one of {', '.join(DIALECTS)}, got {name!r}"
        raise GraphError(what, field="dialect", code="argument")
    rule = DIALECTS[name]
    for path, node in plan.nodes.items():
        kind = node["type"]
        equation = EQUATIONS[kind]
        neuron = equation.stateful and kind != "Delay"
        if neuron and kind not in (*rule.steps, *rule.as_nir):
            known = ", ".join(sorted((*rule.steps, *rule.as_nir)))
            what = f"how {name} steps it is not known here; its dialect has {known}"
            raise node_error(path, what, "dialect", kind=kind)
    return rule


def step_of(dialect: str, plan: Plan, dt: float | None) -> float | None:
    """`dt`, or 1 where none is known and none is needed: sinabs counts time constants in steps."""
    return 1.0 if dialect == "sinabs" and dt is None and "dt" not in plan.metadata else dt


def run(graph: Any, x: Any, dialect: str, dt: float | None = None) -> Result:
    """Run a graph as another framework reads it, see `reference.run`.

    Args:
        graph: its dictionary, or a plan.
        dialect: one of `DIALECTS`.
        dt: as in `reference.run`; sinabs counts in steps, so that it may be None there.

    Raises:
        GraphError: as `reference.run` and `rule_of`.
    """
    plan = graph if isinstance(graph, Plan) else make_plan(graph)
    rule = rule_of(dialect, plan)
    dt = step_of(dialect, plan, dt)
    return reference.run(rule.plan(plan), x, dt, counts=True, steps=rule.steps)
