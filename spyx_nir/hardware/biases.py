"""What is added to membranes in every step: biases of weights and `v_leak`, as a chip's integer.

A chip adds its bias to the membrane. NIR has it in three places, and each adds in every step, in units
of the threshold:

    b of an Affine or a convolution in front of IF, LIF     gain * b, with the neuron's input gain
    the same in front of a current (CubaLIF, CubaLI)        gain * b / (1 - decay of the current)
    v_leak of LIF, CubaLIF                                  v_leak * dt / tau

The second is what NIR's neuron gets once its current has settled; the chip gives it from the first step
on. The integer is mantissa * 2^exponent, one exponent for a population.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Misfit, against
from spyx_nir.hardware.network import Population
from spyx_nir.hardware.topology import Topology

NEAR = 0.25  # of a unit: v_leak is float32, its product with dt / tau up to 2^-3 beside an integer


def given(graph: Topology, path: str) -> list[str]:
    """The weight nodes into a population that have a bias other than 0."""
    nodes = graph.plan.nodes
    weights = dict.fromkeys(w for link in graph.into(path) for w in graph.weights(link))
    return [weight for weight in weights if np.any(nodes[weight].get("bias", 0))]


def holder(graph: Topology, path: str, current: bool) -> str:
    """The node that has the bias of a population on a chip's grid: its one weight, or itself (v_leak).

    Args:
        current: whether the population has a current, through which a weight's bias would pass.

    Raises:
        GraphError: an IF with several biased weights: it has no v_leak.
    """
    node, weights = graph.plan.nodes[path], given(graph, path)
    settles = current or np.any(node.get("v_leak", 0)) or len(weights) != 1
    if not settles:
        return weights[0]
    if "v_leak" not in node:
        raise GraphError(
            f"`{path}`: {len(weights)} weights with a bias lead there; put the sum into one",
            node=path,
        )
    return path


def per_step(
    graph: Topology, path: str, gain: np.ndarray, alpha: np.ndarray, dt: float
) -> np.ndarray | None:
    """What is added to the membrane in every step, () or the population's shape; None: nothing is.

    Args:
        gain: of the neuron's input. alpha: decay of its current per step on the chip, 0 without one.
    """
    nodes, shape = graph.plan.nodes, graph.plan.shapes[path]
    node = nodes[path]
    total = np.zeros(())
    for weight in given(graph, path):
        bias = np.asarray(nodes[weight]["bias"], np.float64)
        leaves = graph.plan.shapes[weight]
        if graph.kind(weight) != "Affine":
            bias = bias.reshape(-1, *(1,) * (len(leaves) - 1))
        bias = np.broadcast_to(bias, leaves).reshape(shape)
        total = total + (gain.reshape(()) if gain.size == 1 else gain) * bias / (1 - alpha)
    if np.any(node.get("v_leak", 0)):
        tau = np.asarray(node["tau_mem" if "tau_mem" in node else "tau"], np.float64)
        # An LI that is a chip's current has no other leak than the current's decay.
        lost = 1.0 if "tau_syn" in node else 1 - alpha
        total = total + np.asarray(node["v_leak"], np.float64) * dt / tau / lost
    return total if np.any(total) else None


def integer(
    floats: np.ndarray | None, factor: np.ndarray, profile: Profile, path: str
) -> np.ndarray | None:
    """`per_step` in the unit of the chip's membranes; factor: integer weights of 1, see `rounding`.

    Raises:
        Misfit: beyond what the chip's mantissa and exponent hold.
    """
    if floats is None:
        return None
    scaled = floats * factor * 2.0 ** profile["state.threshold_shift"]
    exponent = _exponent(float(np.abs(scaled).max()), profile, path)
    whole = _single((np.round(scaled / 2**exponent) * 2**exponent).astype(np.int64))
    return whole if whole.any() else None


def _exponent(largest: float, profile: Profile, path: str) -> int:
    """The smallest exponent with which the mantissas hold a bias; 0 where a family bounds none."""
    key = "bias.bits"
    if key not in profile or largest == 0:
        return 0
    most, exponents = 2 ** (profile[key] - 1) - 1, 2 ** profile["bias.exponent_bits"]
    exponent = int(max(0, np.ceil(np.log2(largest / most))))
    if exponent < exponents:
        return exponent
    limit = most * 2 ** (exponents - 1)
    why = f"a bias of {largest:.6g} in the unit of the membrane, at most {limit} on the target"
    fix, number = "train with a smaller bias, or with larger weights", f"{largest:.6g}"
    raise Misfit.of(against(profile, key, "bias", path, why, fix, number=number, limit=limit))


def write(
    graph: Topology,
    population: Population,
    profile: Profile,
    dt: float,
    nodes: dict[str, dict[str, Any]],
) -> None:
    """Put a population's bias into the nodes of the graph on the grid.

    nodes: by path; their weights have no bias.
    """
    path = population.name
    node = nodes[path]
    if "v_leak" in node:
        node["v_leak"] = np.zeros_like(node["v_leak"])
    if population.bias is None:
        return
    current, shift = population.decay_syn is not None, profile["state.threshold_shift"]
    place = holder(graph, path, current)
    values = np.broadcast_to(
        population.bias * 2.0 ** -(population.exponent + shift), population.shape
    )
    if place == path:
        tau = np.asarray(node["tau_mem" if "tau_mem" in node else "tau"], np.float64)
        leak = values if current and "tau_syn" not in node else values * tau / dt
        node["v_leak"] = np.asarray(leak, np.float32)
        return
    values = values.reshape(graph.plan.shapes[place])
    if graph.kind(place) != "Affine":
        values = values.reshape(len(values), -1)[:, 0]
    nodes[place]["bias"] = np.asarray(values, np.float32)


def read(floats: np.ndarray | None, exponent: np.ndarray, profile: Profile, path: str) -> Any:
    """The integer bias of a graph on the grid, from `per_step`.

    Raises:
        GraphError: it is not on the grid.
    """
    if floats is None:
        return None
    scaled = floats * 2.0 ** (exponent + profile["state.threshold_shift"])
    whole = np.round(scaled)
    if (np.abs(whole - scaled) > NEAR).any():
        raise GraphError(
            f"`{path}`: the bias {floats.ravel()[0]:.9g} is not on the grid", node=path
        )
    return _single(whole.astype(np.int64))


def _single(value: np.ndarray) -> np.ndarray:
    first = value.ravel()[0]
    return np.asarray(first) if (value == first).all() else value
