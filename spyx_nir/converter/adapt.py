"""Graphs rewritten so that a reader that cannot say it all still reads them right.

Each function takes a graph's dictionary, as `file.read_dict` gives it, and returns another one that
means the same under NIR's equations: the same spikes from nodes of the same paths. `DIALECTS` names
what each reader wants; how the readers read is in `pipeline/interop/`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spyx_nir.converter import file
from spyx_nir.converter.discretize import as_euler
from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import field_error, node_error, says_nothing
from spyx_nir.meaning.plan import dt_error, make_plan, step_dt

Graph = dict[str, Any]
# An IF as a LIF: 1 - 2^-30 is 1 in float32, and in float64 a membrane loses 1e-9 of itself a step.
LONG = 2.0**30
SNNTORCH_DT = 1e-4  # the only step that snnTorch takes, s
SCALED = ("v_threshold", "v_leak", "v_reset")


def _dt(graph_dict: Graph) -> float:
    """The contract's step."""
    plan = make_plan(graph_dict)
    if "dt" not in plan.metadata:
        raise dt_error("`dt` is in no contract of this graph: `upgrade --dt DT` writes one")
    return step_dt(plan, None)


def flat(graph_dict: Graph) -> Graph:
    """Subgraphs dissolved: their nodes under dotted names, their Inputs and Outputs gone.

    Raises:
        GraphError: as `meaning.plan.make_plan`.
    """
    plan = make_plan(graph_dict)
    stored = dict(file.nodes(graph_dict))
    ports = {
        path
        for path, node in plan.nodes.items()
        if node["type"] in ("Input", "Output") and path not in graph_dict["nodes"]
    }
    edges = list(plan.edges)
    for port in ports:
        into = [source for source, target in edges if target == port]
        out_of = [target for source, target in edges if source == port]
        edges = [edge for edge in edges if port not in edge]
        edges += [(source, target) for source in into for target in out_of]
    nodes = {path: stored[path] for path in plan.nodes if path not in ports}
    return {**graph_dict, "nodes": nodes, "edges": edges}


def affine(graph_dict: Graph) -> Graph:
    """Every Linear as an Affine with a bias of 0."""

    def rewrite(_: str, node: Graph) -> Graph:
        if node["type"] != "Linear":
            return node
        weight = np.asarray(node["weight"])
        return {**node, "type": "Affine", "bias": np.zeros(weight.shape[:-1], weight.dtype)}

    return _rewritten(graph_dict, rewrite)


def leaky(graph_dict: Graph) -> Graph:
    """Every IF as a LIF whose leak is too small for float32."""
    dt = _dt(graph_dict)

    def rewrite(_: str, node: Graph) -> Graph:
        if node["type"] != "IF":
            return node
        r = np.asarray(node["r"])
        tau = np.full_like(r, dt * LONG)
        return {**node, "type": "LIF", "tau": tau, "r": r * tau, "v_leak": np.zeros_like(r)}

    return _rewritten(graph_dict, rewrite)


def rescaled(graph_dict: Graph, dt: float) -> Graph:
    """The same steps with another length `dt`, in seconds: time constants grow with it.

    What a neuron does in a step depends on dt/tau (and on dt*r of IF and I) alone.
    """
    scale = dt / _dt(graph_dict)

    def rewrite(_: str, node: Graph) -> Graph:
        changed = {
            name: np.asarray(value) * np.asarray(value).dtype.type(scale)
            for name, value in node.items()
            if name.startswith("tau") or name == "delay"
        }
        if node["type"] in ("IF", "I"):
            r = np.asarray(node["r"])
            changed["r"] = r / r.dtype.type(scale)
        return {**node, **changed}

    metadata = {**graph_dict.get("metadata", {}), "dt": dt, "time_unit": "s"}
    return {**_rewritten(graph_dict, rewrite), "metadata": metadata}


def unit_gain(graph_dict: Graph) -> Graph:
    """The r of every LIF and IF as 1 (IF: 1/dt), its value moved into the weights in front."""
    dt = _dt(graph_dict)

    def factor(node: Graph) -> Any:
        gain = np.asarray(node["r"], np.float64)
        return {"LIF": gain, "IF": gain * dt}.get(node["type"], np.ones_like(gain))

    def rewrite(node: Graph) -> Graph:
        r = np.asarray(node["r"])
        one = {"LIF": 1.0, "IF": 1.0 / dt}.get(node["type"])
        return node if one is None else {**node, "r": np.full_like(r, one)}

    return _moved(graph_dict, factor, rewrite)


def unit_threshold(graph_dict: Graph) -> Graph:
    """Every threshold as 1: membranes, and the weights in front, in units of it."""

    def factor(node: Graph) -> Any:
        theta = np.asarray(node["v_threshold"], np.float64)
        if not (theta > 0).all():
            raise field_error("v_threshold", f"holds {theta.min():g}; above 0 is needed")
        return 1 / theta

    def rewrite(node: Graph) -> Graph:
        theta = np.asarray(node["v_threshold"])
        scaled = {name: np.asarray(node[name]) / theta for name in SCALED if name in node}
        return {**node, **scaled}

    return _moved(graph_dict, factor, rewrite)


def forward_bias(graph_dict: Graph) -> Graph:
    """The bias of every recurrent Affine moved into the weight that leads in from outside.

    Readers that start with an empty cycle leave a recurrent bias out in the first step.

    Raises:
        GraphError: no Linear or Affine leads in from outside.
    """
    plan = make_plan(graph_dict)
    stored = dict(file.nodes(graph_dict))
    changed: dict[str, Graph] = {}
    for path in plan.nodes:
        for inner, closes in plan.sources[path]:
            if not closes or not np.any(stored[inner].get("bias", 0)):
                continue
            outer = [
                weight
                for weight in _weights(plan, path)
                if weight != inner and stored[weight]["type"] in ("Linear", "Affine")
            ]
            if not outer:
                why = "no Linear or Affine leads there from outside the cycle"
                what = f"the bias of `{inner}` cannot be moved: {why}"
                raise node_error(path, what, "unsupported")
            bias = np.asarray(stored[inner]["bias"])
            front = changed.get(outer[0], stored[outer[0]])
            moved = bias + np.asarray(front.get("bias", np.zeros_like(bias)))
            changed[outer[0]] = {**front, "type": "Affine", "bias": moved}
            changed[inner] = {**stored[inner], "bias": np.zeros_like(bias)}
    return _rewritten(graph_dict, lambda path, node: changed.get(path, node))


def _rewritten(
    graph_dict: Graph, rewrite: Callable[[str, Graph], Graph], prefix: str = ""
) -> Graph:
    """`rewrite(path, node)` applied to every node, subgraphs included."""
    nodes = {
        name: _rewritten(node, rewrite, f"{prefix}{name}.")
        if node["type"] == "NIRGraph"
        else rewrite(prefix + name, node)
        for name, node in graph_dict["nodes"].items()
    }
    return {**graph_dict, "nodes": nodes}


def _moved(
    graph_dict: Graph, factor: Callable[[Graph], Any], rewrite: Callable[[Graph], Graph]
) -> Graph:
    """Neurons rewritten, and every weight in front of one multiplied by the neuron's `factor`.

    Raises:
        GraphError: something else than a weight that leads to this neuron alone is in front, or a
            factor differs within a channel of a convolution.
    """
    plan = make_plan(graph_dict)
    stored = dict(file.nodes(graph_dict))
    changed: dict[str, Graph] = {}
    for path, node in plan.nodes.items():
        if "v_threshold" not in node or "r" not in node:
            continue
        try:
            by = np.broadcast_to(factor(node), plan.arrives[path])
        except GraphError as error:
            raise error.within(f"node `{path}`", node=path) from None
        changed[path] = rewrite(stored[path])
        if (by == 1).all():
            continue
        for weight in _weights(plan, path):
            changed[weight] = _scaled(stored[weight], weight, path, by)
    return _rewritten(graph_dict, lambda path, node: changed.get(path, node))


def _weights(plan: Any, path: str) -> list[str]:
    """The weights in front of a neuron, through the Inputs and Outputs of subgraphs."""
    found, todo = [], [source for source, _ in plan.sources[path]]
    while todo:
        at = todo.pop()
        kind = plan.nodes[at]["type"]
        if kind in ("Input", "Output") and at not in plan.inputs:
            todo += [source for source, _ in plan.sources[at]]
        elif kind in ("Linear", "Affine", "Conv1d", "Conv2d"):
            if sum(source == at for source, _ in plan.edges) != 1:
                why = "the scale of one cannot be moved into it"
                what = f"weight `{at}` leads to `{path}` and to others: {why}"
                raise GraphError(what, node=path, code="unsupported")
            found.append(at)
        else:
            what = f"its scale cannot be moved into a weight: {kind} `{at}` leads to it"
            raise node_error(path, what, "unsupported")
    return found


def _scaled(node: Graph, path: str, neuron: str, by: np.ndarray) -> Graph:
    """A weight with its rows, or its output channels, multiplied."""
    weight = np.asarray(node["weight"])
    rows = by.reshape(len(by), -1)
    if weight.ndim > 2 and np.any(rows != rows[:, :1]):
        what = f"r or v_threshold differ within a channel of `{path}`, whose kernel is one for the"
        raise node_error(neuron, f"{what} channel: they cannot be moved into it", "unsupported")
    first = rows[:, 0]
    column = first.reshape(-1, *[1] * (weight.ndim - 1))
    made = {**node, "weight": (weight * column).astype(weight.dtype)}
    if "bias" in node:
        bias = np.asarray(node["bias"])
        made["bias"] = (bias * first).astype(bias.dtype)
    return made


def _one_threshold(graph_dict: Graph) -> Graph:
    """No recurrent bias, one threshold for a layer."""
    return unit_threshold(forward_bias(graph_dict))


DIALECTS: dict[str, Callable[[Graph], Graph]] = {
    "norse": lambda graph: unit_gain(forward_bias(graph)),
    "snntorch": lambda graph: rescaled(leaky(_one_threshold(graph)), SNNTORCH_DT),
    "spikingjelly": _one_threshold,
    "sinabs": affine,
    "snn-mlir": flat,
}


def dialect(graph_dict: Graph, reader: str) -> Graph:
    """The graph as `reader` wants it, one of `DIALECTS`.

    Raises:
        GraphError: the reader has no dialect, the graph has no meaning, the contract has no dt where
            it is needed, or the graph cannot be said in that way (an exact step of a CubaLIF).
    """
    if reader not in DIALECTS:
        what = f"`reader` must be one of {', '.join(DIALECTS)}, got {reader!r}"
        raise GraphError(what, code="argument")

    def without_empty(_: str, node: Graph) -> Graph:
        return {name: value for name, value in node.items() if not says_nothing(name, value)}

    graph_dict = _rewritten(graph_dict, without_empty)
    # What has no meaning is refused, also where the dialect asks for nothing.
    graph_dict = as_euler(graph_dict)
    return DIALECTS[reader](graph_dict)
