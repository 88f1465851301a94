"""The reference: what a NIR graph means on a grid of step dt, in float64 NumPy, and nothing else.

It follows the graph's edges (`plan.py`) and NIR's equations (`equations.py`) under forward Euler, or
solved exactly over a step where the contract says so, and knows no other framework. A bundle's
verify.py carries the text of these three modules.

Data is time-major and channels first: (T, B, *shape). Order of things in one step:
- a node's input is the sum of its incoming edges;
- a spike leaves in the step in which it occurs, unless its neuron's contract says `spike_delay` 1;
- an edge that closes a cycle carries its source's previous output; before the first step that is
  what the source gives when every neuron is silent, so a recurrent bias acts from the first step on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import EQUATIONS, Node, Shape, State, as_array, same_shape, uniform
from spyx_nir.meaning.plan import Plan, check_dt, make_plan, parse_json, settled, step_dt

# ----------------------------------------------------------------------------------------- running


@dataclass
class Result:
    """What a run gives, all time-major (T, B, *shape), channels first, keyed by node path.

    outputs: what arrives at each Output. spikes: what leaves each spiking node, uint8, after its
    delay. fired: the same before the delay. membranes: float64, before the reset.
    """

    outputs: dict[str, np.ndarray]
    spikes: dict[str, np.ndarray]
    fired: dict[str, np.ndarray]
    membranes: dict[str, np.ndarray]

    @property
    def output(self) -> np.ndarray:
        """The only output; a graph with several is asked by name."""
        (only,) = self.outputs.values()
        return only


def check_input(x: Any, name: str, shape: Shape) -> np.ndarray:
    """`x` as an array (T, B, *shape) of finite numbers."""

    def refuse(what: str) -> GraphError:
        return GraphError(f"input `{name}`{what}", node=name, code="input")

    x = as_array(x, f"input `{name}`")
    if x.dtype.kind not in "buif":
        raise refuse(f": numbers are needed, got dtype {x.dtype}")
    if x.ndim != 2 + len(shape) or x.shape[2:] != tuple(shape):
        axes = ", ".join(map(str, shape))
        raise refuse(f" must be time-major (T, B, {axes}), got shape {x.shape}")
    if min(x.shape[:2]) < 1:
        raise refuse(f" has no {'time steps' if not x.shape[0] else 'batch'}")
    if x.dtype.kind == "f" and not (np.abs(x) <= np.finfo(np.float32).max).all():
        raise refuse(" holds NaN or infinite values, or such beyond float32")
    return x


def named_inputs(x: Any, plan: Plan) -> dict[str, Any]:
    """Data by the name of its input.

    Raises:
        GraphError: the names are not the graph's inputs.
    """
    if not isinstance(x, Mapping):
        if len(plan.inputs) != 1:
            what = f"the graph has inputs {plan.inputs}: give a mapping by name"
            raise GraphError(what, code="input")
        return {plan.inputs[0]: x}
    if set(x) != set(plan.inputs):
        what = f"inputs must be {sorted(plan.inputs)}, got {sorted(map(str, x))}"
        raise GraphError(what, code="input")
    return {name: x[name] for name in plan.inputs}


def check_sizes(data: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """The (T, B) that all inputs have, see `check_input`."""
    sizes = {array.shape[:2] for array in data.values()}
    if len(sizes) != 1:
        raise GraphError(f"inputs differ in (T, B): {sorted(sizes)}", code="input")
    steps, batch = sizes.pop()
    return steps, batch


def run(
    graph: Mapping[str, Any] | Plan,
    x: Any,
    dt: float | None = None,
    *,
    reset: Any = None,
    discretization: str | None = None,
    counts: bool = False,
    steps: Mapping[str, Callable[..., tuple[np.ndarray, State]]] | None = None,
    watch: Callable[[str, np.ndarray, np.ndarray, State], None] | None = None,
) -> Result:
    """Run a graph on time-major data.

    Args:
        graph: a graph dictionary, or a plan made before.
        x: (T, B, *input shape), channels first; a mapping from input name to such an array where
            the graph has several inputs.
        dt: the step, in the unit of the graph's time constants; None takes the contract's.
        reset, discretization: as in `make_plan`; without effect on a plan made before.
        counts: spikes are recorded as int32, for equations by which several leave in a step.
        steps: by kind of node, steps in the place of those in `EQUATIONS`, see `dialects.py`. They may
            take a dt that Euler's step may not.
        watch: called in every step for every node but the inputs: its path, what arrives, what
            leaves, (B, *shape), and its state.

    Raises:
        ValueError: the graph or the input is refused; names the node and the value.
    """
    plan = graph if isinstance(graph, Plan) else make_plan(graph, reset, discretization)
    dt = step_dt(plan, dt)
    if not steps:
        check_dt(plan, dt)
    plan = settled(plan, dt)
    given = named_inputs(x, plan)
    data = {name: check_input(array, name, plan.shapes[name]) for name, array in given.items()}
    count, batch = check_sizes(data)

    equations = {path: EQUATIONS[node["type"]] for path, node in plan.nodes.items()}
    for path, node in plan.nodes.items():
        if steps and node["type"] in steps:
            equations[path] = replace(equations[path], step=steps[node["type"]])
    nodes = {
        path: _float64(node, plan.arrives[path], equations[path].shape is same_shape)
        for path, node in plan.nodes.items()
    }
    spiking = [path for path in plan.order if equations[path].spikes]
    delayed = [path for path in spiking if nodes[path].get("spike_delay")]
    silent = {p: np.zeros((batch, *plan.shapes[p])) for p in plan.order}

    def gather(
        path: str, values: dict[str, np.ndarray], previous: dict[str, np.ndarray]
    ) -> np.ndarray:
        found = [previous[s] if closes else values[s] for s, closes in plan.sources[path]]
        return found[0] if len(found) == 1 else sum(found[1:], found[0])

    previous = dict(silent)
    for path in plan.quiet:
        previous[path] = equations[path].step(
            nodes[path], gather(path, previous, previous), {}, dt
        )[0]
    states: dict[str, State] = {path: {} for path in plan.order}
    last_fired = {path: silent[path] for path in delayed}
    result = Result({}, {}, {}, {})
    for path in spiking:
        shape = (count, batch, *plan.shapes[path])
        result.fired[path] = np.zeros(shape, np.int32 if counts else np.uint8)
        result.spikes[path] = np.zeros_like(result.fired[path])
        result.membranes[path] = np.zeros(shape)
    for path in plan.outputs:
        result.outputs[path] = np.zeros((count, batch, *plan.shapes[path]))
    for t in range(count):
        values: dict[str, np.ndarray] = dict(last_fired)
        for path in plan.order:
            if path in data:
                values[path] = data[path][t].astype(np.float64)
                continue
            value = gather(path, values, previous)
            try:
                y, states[path] = equations[path].step(nodes[path], value, states[path], dt)
            except GraphError as error:
                raise error.within(f"{nodes[path]['type']} node `{path}`", node=path) from None
            if path in result.fired:
                result.fired[path][t] = y
                result.membranes[path][t] = states[path]["u"]
            if path in last_fired:
                last_fired[path] = y
            else:
                values[path] = y
            if path in result.spikes:
                result.spikes[path][t] = values[path]
            if watch is not None:
                watch(path, value, values[path], states[path])
        for path in plan.outputs:
            result.outputs[path][t] = values[path]
        previous = values
    return result


def _float64(node: Node, shape: Shape, elementwise: bool) -> Node:
    """Numbers as float64; those of an element-by-element node that are single ones as scalars."""
    ready = {}
    for name, value in node.items():
        numeric = isinstance(value, (np.ndarray, np.generic, float)) and (
            np.asarray(value).dtype.kind in "fiu"
        )
        if numeric:
            value = uniform(value, shape) if elementwise else np.asarray(value, np.float64)
        ready[name] = value
    return ready


def predict(output: np.ndarray) -> np.ndarray:
    """The class with the most spikes over time: (T, B, classes) -> (B,); the first one of equals."""
    return np.argmax(output.sum(axis=0, dtype=np.float64), axis=-1)


def classes(metadata: Mapping[str, Any]) -> list[str]:
    """The class names of a contract, in the order of the output; empty where it has none."""
    return parse_json(metadata["classes"]) if "classes" in metadata else []
