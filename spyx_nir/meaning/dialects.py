"""Dialects: how other frameworks are known to read a file, as equations in the place of NIR's.

Each was measured on the conformance pack and on networks of this project, with the versions in
docs/conformance.md and docs/peers.md. Steps have the form of those in `equations.py`; spikes may be
counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import EQUATIONS, Node, State, Step, fire, node_error, step_lif
from spyx_nir.meaning.plan import Plan, make_plan, set_order
from spyx_nir.meaning.reference import Result

Stepping = Callable[[Node, np.ndarray, State, float], Step]


@dataclass(frozen=True)
class Rule:
    """A reader's way.

    steps: by the type of the node that they are for. starts_empty: an edge that closes a cycle carries
    nothing in the first step, not even a bias. nir_alone: the contract is not read, so that neurons reset
    to v_reset, spikes leave in their step, membranes start at 0 and steps are Euler's. sets: what it
    takes in place of `v_reset` or `v_init`, where it is `nir_alone`.
    """

    text: str
    steps: Mapping[str, Stepping] = field(default_factory=dict)
    starts_empty: bool = False
    nir_alone: bool = False
    sets: Mapping[str, Any] = field(default_factory=dict)

    def plan(self, plan: Plan) -> Plan:
        """The plan as the reader understands it."""
        if self.nir_alone:
            nodes = {path: self._alone(node) for path, node in plan.nodes.items()}
            plan = replace(plan, nodes=nodes, metadata={**plan.metadata, "discretization": "euler"})
            set_order(plan)
        return replace(plan, quiet=[]) if self.starts_empty else plan

    def _alone(self, node: Node) -> Node:
        """A node without contract, with the fields that the rule sets."""
        made = dict(node)
        if "reset" in node:
            made |= {"reset": "v_reset", "spike_delay": 0}
        if "v_leak" in node:
            made["v_init"] = "zero"
        return made | {name: value for name, value in self.sets.items() if name in made}


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


def step_li_exponential(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """sinabs' ExpLeak: decay exp(-1/tau), gain 1."""
    v = np.exp(-1 / node["tau"]) * state.get("v", 0.0) + x
    return v, {"v": v}


def step_cuba_exponential(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Rockpool's LIF: the input decays with the current, gains are 1, several spikes a step."""
    i = np.exp(-dt / node["tau_syn"]) * (state.get("i", 0.0) + x)
    u = np.exp(-dt / node["tau_mem"]) * state.get("v", 0.0) + i + node["v_leak"]
    z, state = several(node, u, state)
    return z, {**state, "i": i}


def step_li_decaying_input(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Rockpool's LI: the input decays with the state, in steps of 1 whatever the file's dt."""
    v = np.exp(-1 / node["tau"]) * (state.get("v", 0.0) + x)
    return v, {"v": v}


def step_lif_gain_one(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's LIF: NIR's, with r taken as 1."""
    return step_lif({**node, "r": 1.0}, x, state, dt)


def step_if_adding(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's IF: the input itself is added, in any step."""
    return fire(node, state.get("v", 0.0) + x, state)


def step_cuba_leaky_current(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's CubaLIF: its current relaxes to v_leak as the membrane does, both start there."""
    start = np.zeros_like(x) + node["v_leak"]
    i, v = state.get("i", start), state.get("v", start)
    i = i + dt / node["tau_syn"] * (node["v_leak"] - i + node["w_in"] * x)
    u = v + dt / node["tau_mem"] * (node["v_leak"] - v + node["r"] * i)
    z, state = fire(node, u, state)
    return z, {**state, "i": i}


def at_own_dt(step: Stepping) -> Stepping:
    """snnTorch's LIF and CubaLIF: NIR's, in steps of 1e-4 whatever the file's dt."""
    return lambda node, x, state, dt: step(node, x, state, 1e-4)


def step_if_leaky(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """snnTorch's IF, a `Leaky(beta=0.9, reset_delay=False)`: gain 1, reset by subtraction.

    A membrane that is above the threshold even then loses it once more before the next spike, and
    gets it back if there is no next spike (`snntorch/_neurons/leaky.py`, 1.0.0).
    """
    theta, v = node["v_threshold"], state.get("v", np.zeros_like(x))
    above = (v > theta).astype(np.float64)
    u = 0.9 * v + x - theta * above
    z = (u > theta).astype(np.float64)
    return z, {"u": u, "v": u - theta * (z - above)}


def at_threshold(step: Stepping) -> Stepping:
    """SpikingJelly's neurons: NIR's, but `v >= v_threshold`, and membranes start at `v_reset`."""

    def ruled(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
        below = np.nextafter(node["v_threshold"], -np.inf)
        start = {"v": np.zeros_like(x) + node["v_reset"]}
        return step({**node, "v_threshold": below}, x, state or start, dt)

    return ruled


NORSE = Rule(
    "IF adds its input, r of LIF is taken as 1, the current of CubaLIF relaxes to v_leak; states start "
    "at v_leak, reset to 0; a recurrent weight gives nothing in the first step",
    {"IF": step_if_adding, "LIF": step_lif_gain_one, "CubaLIF": step_cuba_leaky_current},
    starts_empty=True,
    nir_alone=True,
    sets={"v_reset": 0.0, "v_init": "v_leak"},
)
SPIKINGJELLY = Rule(
    "spikes where v >= v_threshold, membranes start at v_reset; a recurrent weight gives nothing in the "
    "first step",
    {kind: at_threshold(EQUATIONS[kind].step) for kind in ("IF", "LIF", "CubaLIF")},
    starts_empty=True,
    nir_alone=True,
)
SNNTORCH = Rule(
    "LIF and CubaLIF in steps of 1e-4, reset to 0; IF leaks by 0.9 a step and resets by subtraction",
    {"IF": step_if_leaky, **{kind: at_own_dt(EQUATIONS[kind].step) for kind in ("LIF", "CubaLIF")}},
    nir_alone=True,
    sets={"v_reset": 0.0},
)
SINABS = Rule(
    "several spikes a step where v >= v_threshold, reset by subtraction, IF not below -v_threshold, "
    "LIF and LI decay by exp(-1/tau)",
    {"IF": step_if_floor, "LIF": step_lif_exponential, "LI": step_li_exponential},
    nir_alone=True,
)
ROCKPOOL = Rule(
    "decay by exp(-dt/tau) after the input is added, LI by exp(-1/tau); several spikes a step where "
    "v >= v_threshold, reset by subtraction",
    {"CubaLIF": step_cuba_exponential, "LI": step_li_decaying_input},
    nir_alone=True,
)
SC_NEUROCORE = Rule(
    "membranes start at v_leak; a recurrent weight gives nothing in the first step",
    starts_empty=True,
    nir_alone=True,
    sets={"v_init": "v_leak"},
)
EMPTY_CYCLES = Rule(
    "a recurrent weight gives nothing in the first step, its bias is missing there",
    starts_empty=True,
)
NIR_ALONE = Rule(
    "the contract is not read: reset to v_reset, spikes leave in their step", nir_alone=True
)


# What `--dialect` takes.
DIALECTS: dict[str, Rule] = {
    "norse": NORSE,
    "rockpool": ROCKPOOL,
    "sinabs": SINABS,
    "spikingjelly": SPIKINGJELLY,
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
        if neuron and kind not in rule.steps:
            known = ", ".join(sorted(rule.steps))
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
