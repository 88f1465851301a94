"""What readers are known to do otherwise, as equations that take the place of NIR's in the reference.

A difference counts as explained only if the reference, run by one of these rules, does what the
reader did. Steps have the form of those in `spyx_nir.converter.nodes`; spikes may be counts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from spyx_nir.meaning.equations import EQUATIONS, step_if, step_lif
from spyx_nir.meaning.plan import Plan, set_order


@dataclass(frozen=True)
class Rule:
    """A reader's way.

    steps: by the type of the node that they are for. starts_empty: an edge that closes a cycle carries
    nothing in the first step, not even a bias. nir_alone: the contract is not read, so that neurons reset
    to v_reset and spikes leave in their step.
    """

    text: str
    steps: Mapping[str, Callable[..., tuple[Any, dict]]] = field(default_factory=dict)
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


def several(node: Any, u: Any, state: dict, lowest: float = -np.inf) -> tuple[Any, dict]:
    """As many spikes as thresholds fit into the membrane u, each taken off; never below `lowest`."""
    theta = node["v_threshold"]
    z = np.where(u >= theta, np.minimum(np.floor(u / theta), MOST_SPIKES), 0.0)
    return z, {**state, "u": u, "v": np.maximum(u - z * theta, lowest * theta)}


def step_if_floor(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """sinabs' IAF: gain 1, several spikes a step, a floor at -v_threshold."""
    return several(node, state.get("v", 0.0) + x, state, lowest=-1.0)


def step_lif_exponential(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """sinabs' LIF: decay exp(-1/tau), gain 1, several spikes a step."""
    return several(node, np.exp(-1 / node["tau"]) * state.get("v", 0.0) + x, state)


def step_cuba_exponential(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """Rockpool's LIF: the input decays with the current, gains are 1, several spikes a step."""
    i = np.exp(-dt / node["tau_syn"]) * (state.get("i", 0.0) + x)
    u = np.exp(-dt / node["tau_mem"]) * state.get("v", 0.0) + i + node["v_leak"]
    z, state = several(node, u, state)
    return z, {**state, "i": i}


def step_lif_gain_one(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """Norse's LIF: NIR's, with r taken as 1."""
    return step_lif({**node, "r": 1.0}, x, state, dt)


def step_if_gain_one(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """Norse's IF: NIR's, with r taken as 1."""
    return step_if({**node, "r": 1.0}, x, state, dt)


def step_lif_at_own_dt(node: Any, x: Any, state: dict, dt: float) -> tuple[Any, dict]:
    """snnTorch's LIF: NIR's, in steps of 1e-4 whatever the file's dt."""
    return step_lif(node, x, state, 1e-4)


NORSE = Rule(
    "r of LIF and IF is taken as 1",
    {"IF": step_if_gain_one, "LIF": step_lif_gain_one},
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


@contextlib.contextmanager
def in_force(rule: Rule) -> Iterator[None]:
    """The reference runs by `rule`."""
    before = dict(EQUATIONS)
    for kind, step in rule.steps.items():
        EQUATIONS[kind] = replace(before[kind], step=step)
    try:
        yield
    finally:
        EQUATIONS.update(before)
