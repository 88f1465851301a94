"""What frameworks compute that only their exporters' files show, as equations in the place of NIR's.

What readers do otherwise is in `spyx_nir.meaning.dialects`.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.meaning.dialects import Rule, Stepping, step_li_decaying_input, step_lif_exponential
from spyx_nir.meaning.equations import EQUATIONS, Node, State, Step, fire


def step_li_expsyn(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Rockpool's ExpSyn: the input decays with the state."""
    return step_li_decaying_input({**node, "tau": node["tau"] / dt}, x, state, dt)


def step_lif_normalised(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """sinabs' LIF with `norm_input`, its default: the input counts 1 - exp(-1/tau)."""
    return step_lif_exponential(node, -np.expm1(-1 / node["tau"]) * x, state, dt)


def step_cuba_cell(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    """Norse's LIFCell: the whole input joins the current, which decays only afterwards."""
    i, v = state.get("i", 0.0) + x, state.get("v", 0.0)
    u = v + dt / node["tau_mem"] * (node["v_leak"] - v + i)
    z, state = fire(node, u, state)
    return z, {**state, "i": i * (1 - dt / node["tau_syn"])}


def losing(step: Stepping) -> Stepping:
    """snnTorch's reset to zero with `reset_delay`: 0 in the whole step after a spike."""

    def ruled(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
        _, after = step({**node, "v_threshold": np.inf}, x, {**state}, dt)
        u = np.where(state.get("z", 0.0) * np.ones_like(x) > 0, 0.0, after["u"])
        z = (u > node["v_threshold"]).astype(np.float64)
        return z, {**after, "u": u, "v": u, "z": z}

    return ruled


SINABS_NORM = Rule(
    "LIF's input counts 1 - exp(-1/tau); several spikes a step where v >= v_threshold, by subtraction",
    {"LIF": step_lif_normalised},
    nir_alone=True,
)
NORSE_CELL = Rule(
    "the input joins the current of CubaLIF at once, which decays after the membrane's step",
    {"CubaLIF": step_cuba_cell},
    nir_alone=True,
)
SNNTORCH_ZERO = Rule(
    "the membrane is 0 in the whole step after a spike: that step's input is lost",
    {kind: losing(EQUATIONS[kind].step) for kind in ("LIF", "CubaLIF")},
    nir_alone=True,
)
ROCKPOOL_EXPSYN = Rule(
    "LI adds its input, then decays by exp(-dt/tau)", {"LI": step_li_expsyn}, nir_alone=True
)
