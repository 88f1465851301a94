"""What known programs write otherwise than NIR means it, and the file that they meant.

Each entry of `WRITERS` takes a graph's dictionary and the step of the training, and gives the graph
whose run by NIR's equations is that program's own, and a line for each change.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spyx_nir.converter.file import nodes
from spyx_nir.converter.repair import copy
from spyx_nir.meaning.equations import node_error
from spyx_nir.meaning.plan import Plan

# No time constant is shorter than 0.1 ms; Norse's usual 10 ms and dt of 1 ms come out as 0.01 ms.
SHORT = 1e-4

Changed = tuple[dict[str, Any], list[str]]


def norse(graph_dict: dict[str, Any], dt: float) -> Changed:
    """A file of Norse 1.1.0: tau = dt/tau_mem_inv, r = 1, and no w_in, which nir reads as 1.

    A step of Norse is v += dt*tau_mem_inv*(v_leak - v + i), an IAFCell's v += i, and a LIFCell's
    current takes its input as it is. So tau = 1/tau_mem_inv, r = 1/dt of an IF, w_in = tau_syn/dt.

    Raises:
        GraphError: a neuron that Norse does not write so.
    """
    graph_dict = copy(graph_dict)
    changes = []
    for path, node in nodes(graph_dict):
        if "r" not in node:
            continue
        if (np.asarray(node["r"]) != 1).any() or (np.asarray(node.get("w_in", 1)) != 1).any():
            what = "Norse writes r and w_in as 1, and this one has others"
            raise node_error(path, what, "writer")
        made = {name: _scaled(node[name], 1 / dt) for name in node if name.startswith("tau")}
        if node["type"] in ("IF", "I"):
            made["r"] = _scaled(node["r"], 1 / dt)
        if "tau_syn" in node:
            made["w_in"] = _scaled(node["tau_syn"], 1 / dt**2)
        node.update(made)
        said = ", ".join(f"{name} = {np.ravel(value)[0]:g}" for name, value in made.items())
        changes.append(f"norse-1.1.0: `{path}`: {said}")
    return graph_dict, changes


# Of spyx.nn's neurons: how they reset. Their spikes are delayed by one step.
SPYX_RESETS = {"IF": "subtract", "LIF": "subtract_after_decay", "CubaLIF": "subtract"}
# What spyx.nir leaves out of a file with one of these: padding, and the order behind a Flatten.
SPYX_IMAGES = ("Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten")


def spyx(graph_dict: dict[str, Any], dt: float) -> Changed:
    """A file of spyx.nir 1.0.0: r is the decay, 1 in an IF or LI, w_in missing, and no resets or delays.

    Spyx's neurons add their whole input: r = tau/dt (1/dt of an IF), w_in = tau_syn/dt.

    Raises:
        GraphError: a neuron that spyx.nir does not write so, or a layer of images.
    """
    graph_dict = copy(graph_dict)
    changes = []
    for path, node in nodes(graph_dict):
        kind = node["type"]
        if kind in SPYX_IMAGES:
            what = "spyx.nir leaves out what images need (padding, order behind a Flatten); export the "
            raise node_error(path, f"{what}model again with `to_nir`", "writer", kind=kind)
        if "r" not in node:
            continue
        tau = node.get("tau", node.get("tau_mem"))
        decay = (
            np.float64(1) if tau is None or kind == "LI" else 1 - dt / np.asarray(tau, np.float64)
        )
        # Rounded in between, in float32: eight units of the last place, as in `lint`.
        if not np.allclose(np.asarray(node["r"], np.float64), decay, rtol=2.0**-20, atol=0):
            usual = "1" if decay.ndim == 0 else "1 - dt/tau"
            what = f"spyx.nir writes r as {usual}, and this one has another"
            raise node_error(path, what, "writer", kind=kind)
        made = {"r": _scaled(node["r"] if tau is None else tau, 1 / dt)}
        if "tau_syn" in node:
            made["w_in"] = _scaled(node["tau_syn"], 1 / dt)
        node.update(made)
        said = [f"{name} = {np.ravel(value)[0]:g}" for name, value in made.items()]
        if kind in SPYX_RESETS:
            own = {"reset": SPYX_RESETS[kind], "spike_delay": 1}
            node["metadata"] = {**node.get("metadata", {}), **own}
            said += [f"{name} = {value}" for name, value in own.items()]
        changes.append(f"spyx-1.0.0: `{path}`: {', '.join(said)}")
    return graph_dict, changes


def _scaled(value: Any, factor: float) -> np.ndarray:
    array = np.asarray(value)
    return np.asarray(array.astype(np.float64) * factor, array.dtype)


def like_norse(plan: Plan) -> float:
    """The longest time constant where all look as Norse 1.1.0 writes them, else 0."""
    neurons = [node for node in plan.nodes.values() if "r" in node]
    taus = [float(np.max(v)) for n in neurons for name, v in n.items() if name.startswith("tau")]
    plain = all(np.all(node["r"] == 1) and np.all(node.get("w_in", 1) == 1) for node in neurons)
    return max(taus) if taus and plain and max(taus) < SHORT else 0.0


WRITERS: dict[str, Callable[[dict[str, Any], float], Changed]] = {
    "norse-1.1.0": norse,
    "spyx-1.0.0": spyx,
}
