"""NIR's equations under forward Euler, one step of each kind of node, in float64 NumPy.

This module imports NumPy and the standard library only. A node here is a plain dictionary, the form of
`nir.NIRNode.to_dict()` and of the HDF5 file: `{"type": ..., field: array}`. Data is channels first:
(B, *shape). The equations are those of NIR's primitives; what NIR does not say (reset by subtraction, a
spike's delay, the membrane before the first step) is in a node's metadata, see docs/contract.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.limits import check_limit

RESETS = ("v_reset", "subtract", "subtract_after_decay", "none")
# How an equation becomes a step: forward Euler, or its solution for an input constant over the step.
DISCRETIZATIONS = ("euler", "exact")
# Whose factor undoes Euler's dt/tau.
GAINS = {"tau": "r", "tau_mem": "r", "tau_syn": "w_in"}
# With tau = 2^60 dt and r = 2^60, v + dt/tau * (r*x - v) is v + x to the last bit.
ENDLESS = 2.0**60


# A node's type, its fields as arrays, and its part of the contract; what it keeps between steps; what
# leaves it, (B, *shape), with the new state; a shape without the batch axis, channels first.
Node = dict[str, Any]
State = dict[str, Any]
Step = tuple[np.ndarray, State]
Shape = tuple[int, ...]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Equation:
    """One kind of node: `step(node, x, state, dt) -> (y, state)`, `shape(node, shape) -> shape`.

    `fields` names what the node's dictionary holds; a name with "?" may be missing, and then is what
    `DEFAULTS` says, or not given at all.
    """

    step: Callable[[Node, np.ndarray, State, float], Step]
    shape: Callable[[Node, Shape], Shape]
    fields: str
    stateful: bool = False
    spikes: bool = False

    @property
    def names(self) -> dict[str, bool]:
        """The fields by name, and whether each may be missing."""
        return {word.rstrip("?"): word.endswith("?") for word in self.fields.split()}


# What the classes of nir take where a file has no such field.
DEFAULTS = {"w_in": 1.0, "start_dim": 1, "end_dim": -1}
# Fields of sizes: all 0, as sinabs writes them, they say as little as none at all.
SIZES = ("shape", "input_shape", "input_type")


# ------------------------------------------------------------------------------------------ errors


def graph_error(path: str, what: str, code: str, field: str | None = None) -> GraphError:
    """The error of a graph (path "") or of a subgraph: `what` follows its name."""
    where = f"subgraph `{path}`" if path else "the graph"
    return GraphError(f"{where}{what}", node=path, field=field, code=code)


def node_error(
    path: str, what: str, code: str, field: str | None = None, kind: str = ""
) -> GraphError:
    """The error of a node, by its path and, where that is known, its kind."""
    where = f"{kind} node `{path}`".lstrip()
    return GraphError(f"{where}: {what}", node=path, field=field, code=code)


def field_error(field: str, what: str, code: str = "field-value") -> GraphError:
    """The error of a field, whose node the caller knows: `what` follows its name."""
    return GraphError(f"`{field}` {what}", field=field, code=code)


def shape_error(what: str, field: str | None = None) -> GraphError:
    """The error of a node at which a shape arrives that it does not take."""
    return GraphError(what, field=field, code="shape-mismatch")


# ---------------------------------------------------------------- what several equations share


def same_shape(node: Node, shape: Shape) -> Shape:
    """Element by element: every array parameter has the shape that arrives, or is one number.

    Or one number for a channel, (C, 1, 1) where (C, H, W) arrives; `make_plan` spreads it.
    """
    for name, value in node.items():
        if not isinstance(value, np.ndarray) or value.size == 1:
            continue
        if value.shape != tuple(shape) and not per_channel(value.shape, shape):
            raise shape_error(f"`{name}` has shape {value.shape}, but {tuple(shape)} arrives", name)
    return tuple(shape)


def per_channel(given: Shape, shape: Shape) -> bool:
    """Whether a parameter's shape has one number for a channel: axes of 1 behind the first."""
    return len(given) == len(shape) > 1 and given == (shape[0], *[1] * (len(shape) - 1))


def as_array(value: Any, where: str) -> np.ndarray:
    """`value` as a NumPy array.

    Raises:
        GraphError: it is none, such as rows that differ in length or a tensor that keeps a gradient;
            says what it says itself.
    """
    try:
        return np.asarray(value)
    except Exception as error:  # of another framework's arrays any
        reason = " ".join(str(error).split())
        reason = "its rows differ in length" if "inhomogeneous" in reason else reason
        what = f"an array of numbers is needed, got {type(value).__name__}: {reason:.160}"
        raise GraphError(f"{where}: {what}", code="field-value") from None


def uniform(value: Any, shape: Shape) -> np.ndarray:
    """A parameter as float64, a single number of any shape spread as a scalar."""
    array = np.asarray(value, np.float64)
    return array.reshape(()) if array.size == 1 and array.shape != tuple(shape) else array


def says_nothing(name: str, value: Any) -> bool:
    """Whether a field is there and empty: an array of no numbers, or a shape of zeros."""
    array = value.get("input") if isinstance(value, Mapping) else value
    if not isinstance(array, (np.ndarray, np.generic, list, tuple)):
        return False
    array = np.asarray(array)
    zeros = name in SIZES and array.dtype.kind in "iuf"
    return array.size == 0 or (zeros and not array.any())


def text(value: Any) -> Any:
    """Bytes, as HDF5 has them, as text; what is no UTF-8 shows as `\\xff`. NumPy's numbers as Python's.

    Anything else as it is.
    """
    value = value.item() if isinstance(value, np.generic) else value
    return value.decode("utf8", "backslashreplace") if isinstance(value, bytes) else value


def check_padding(shape: Shape, pads: Any) -> None:
    """Refuse (low, high) padding of a (C, ...) image that no memory holds: a file may say any number."""
    sizes = [shape[0], *(n + low + high for n, (low, high) in zip(shape[1:], pads, strict=True))]
    what = (
        f"padding {list(pads)} makes {tuple(sizes)} of {tuple(shape)}, {8 * math.prod(sizes)} bytes"
    )
    check_limit("bytes", 8 * math.prod(sizes), what, field="padding")


def whole(node: Node, name: str, count: int) -> list[int]:
    """A field of `count` whole numbers; a single one stands for all of them."""
    value = np.ravel(node[name])
    numbers = value.dtype.kind in "buif"
    if not numbers or value.size not in (1, count) or (value != np.floor(value)).any():
        raise field_error(name, f"is {value.tolist()}; {count} whole numbers are needed")
    return [int(value[min(i, value.size - 1)]) for i in range(count)]


def exact_node(node: Node, dt: float) -> Node:
    """A node whose Euler step is the solution of its equation over `dt`, its input held constant.

    The solution of tau * v' = v_leak - v + r*x over a step is v + g * (v_leak - v + r*x) with
    g = 1 - exp(-dt/tau): Euler's step of the time constant dt/g. IF and I have no time constant and
    stay. With a current, i(s) = w_in*x + (i - w_in*x) * exp(-s/tau_syn) drives the membrane during the
    step. `carry`, k, is the part of the current before the step that reaches the membrane for r = 1:

        k = integral from 0 to dt of exp(-(dt - s)/tau_mem) * exp(-s/tau_syn) / tau_mem ds
        u = v + g_mem * (v_leak - v) + r * (k*i + (g_mem - k) * w_in*x)      i before the step
    """
    made = dict(node)
    rates = {name: dt / np.asarray(node[name], np.float64) for name in GAINS if name in node}
    made |= {name: dt / -np.expm1(-rate) for name, rate in rates.items()}
    if "tau_syn" in rates:
        syn, mem = rates["tau_syn"], rates["tau_mem"]
        apart = np.abs(mem - syn)
        share = np.where(apart > 0, -np.expm1(-apart) / np.where(apart > 0, apart, 1), 1.0)
        made["carry"] = mem * np.exp(-np.minimum(mem, syn)) * share
    return made


def rest(node: Node, x: np.ndarray) -> np.ndarray:
    """The membrane before the first step: 0, or `v_leak` where the node's contract says so."""
    start = node["v_leak"] if node.get("v_init") == "v_leak" else 0.0
    return np.zeros_like(x) + start


def fire(node: Node, u: np.ndarray, state: State) -> Step:
    """Spike where the membrane u exceeds the threshold, then reset as the contract says."""
    z = (u > node["v_threshold"]).astype(np.float64)
    reset = node.get("reset", "v_reset")  # by "none" the membrane stays
    if reset == "v_reset":
        v = np.where(z > 0, node["v_reset"], u)
    else:
        v = u - node["v_threshold"] * z if reset == "subtract" else u
    state = {**state, "u": u, "v": v}
    if reset == "subtract_after_decay":
        state["owed"] = node["v_threshold"] * z
    return z, state


# ---------------------------------------------------------------------------------- kinds of nodes


def step_port(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    return x, state


def shape_port(node: Node, shape: Shape) -> Shape:
    declared = tuple(np.ravel(node["shape"]).tolist())
    if declared != tuple(shape):
        raise shape_error(f"it declares shape {declared}, but {tuple(shape)} arrives", "shape")
    return declared


def step_linear(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    y = np.matmul(node["weight"], x[..., None])[..., 0]
    return (y + node["bias"] if "bias" in node else y), state


def shape_linear(node: Node, shape: Shape) -> Shape:
    weight = node["weight"]
    if weight.ndim < 2:
        raise field_error("weight", f"has shape {weight.shape}; (out, in) is needed")
    takes = (*weight.shape[:-2], weight.shape[-1])
    if takes != tuple(shape):
        what = f"`weight` of shape {weight.shape} takes {takes}, but {tuple(shape)} arrives"
        raise shape_error(what, "weight")
    out = weight.shape[:-1]
    if "bias" in node and node["bias"].shape not in (out, (1,), ()):
        raise field_error("bias", f"has shape {node['bias'].shape}, {out} is needed")
    return out


def outputs(
    sizes: Shape,
    pads: Sequence[Pair],
    kernel: Sequence[int],
    stride: Sequence[int],
    gaps: Sequence[int],
) -> list[int]:
    """How many places of a window fit along each axis; `gaps` are the dilations."""
    axes = zip(sizes, pads, kernel, stride, gaps, strict=True)
    return [(n + low + high - d * (k - 1) - 1) // s + 1 for n, (low, high), k, s, d in axes]


def conv_numbers(node: Node, rank: int) -> tuple[list[int], list[int], list[tuple[int, int]]]:
    """stride, dilation and (low, high) padding per axis; "same" pads the odd one at the end."""
    stride, dilation = whole(node, "stride", rank), whole(node, "dilation", rank)
    padding = node["padding"]
    kernel = node["weight"].shape[2:]
    if isinstance(padding, str):
        if padding == "valid":
            pads = [(0, 0)] * rank
        elif padding == "same" and set(stride) == {1}:
            spread = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
            pads = [(s // 2, s - s // 2) for s in spread]
        else:
            allowed = "allowed are numbers, 'valid', and 'same' with stride 1"
            raise field_error("padding", f"is {padding!r} with stride {stride}; {allowed}")
    else:
        pads = [(p, p) for p in whole(node, "padding", rank)]
    if min(stride) < 1 or min(dilation) < 1 or min(lo for lo, _ in pads) < 0:
        what = f"stride {stride}, dilation {dilation}, padding {pads}: out of range"
        raise GraphError(what, code="field-value")
    return stride, dilation, pads


def step_conv(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    weight = node["weight"]
    rank = weight.ndim - 2
    stride, dilation, pads = conv_numbers(node, rank)
    groups = int(np.ravel(node["groups"])[0])
    axes = tuple(range(2, 2 + rank))
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True))
    windows = np.lib.stride_tricks.sliding_window_view(x, span, axis=axes)
    pick = [slice(None), slice(None), *(slice(None, None, s) for s in stride)]
    windows = windows[(*pick, *(slice(None, None, d) for d in dilation))]
    inner, outer = weight.shape[1], weight.shape[0] // groups
    parts = []
    for g in range(groups):
        seen = windows[:, g * inner : (g + 1) * inner]
        kernel = weight[g * outer : (g + 1) * outer]
        taps = [1, *range(2 + rank, 2 + 2 * rank)]
        parts.append(np.tensordot(seen, kernel, axes=(taps, list(range(1, 2 + rank)))))
    y = np.moveaxis(np.concatenate(parts, axis=-1), -1, 1)
    bias = node.get("bias")
    return (y if bias is None else y + np.reshape(bias, (-1,) + (1,) * rank)), state


def shape_conv(node: Node, shape: Shape) -> Shape:
    weight = node["weight"]
    rank = 1 if node["type"] == "Conv1d" else 2
    if weight.ndim != rank + 2 or len(shape) != rank + 1:
        what = f"`weight` {weight.shape} on {tuple(shape)}: (C_out, C_in/groups, {rank} axes) on"
        raise shape_error(f"{what} (C, {rank} axes) is needed", "weight")
    (groups,) = whole(node, "groups", 1)
    if groups < 1 or shape[0] != weight.shape[1] * groups or weight.shape[0] % groups:
        what = f"`weight` {weight.shape} with groups {groups} takes {weight.shape[1] * groups}"
        raise shape_error(f"{what} channels, but {tuple(shape)} arrives", "weight")
    declared = node.get("input_shape")
    if declared is not None and np.ravel(declared).tolist() != list(shape[1:]):
        what = f"`input_shape` is {np.ravel(declared).tolist()}, but {shape[1:]} arrives"
        raise shape_error(what, "input_shape")
    bias = node.get("bias")
    if bias is not None and np.asarray(bias).size not in (1, weight.shape[0]):
        raise field_error("bias", f"has shape {np.shape(bias)}, ({weight.shape[0]},) is needed")
    stride, dilation, pads = conv_numbers(node, rank)
    check_padding(shape, pads)
    out = outputs(shape[1:], pads, weight.shape[2:], stride, dilation)
    if min(out) < 1:
        raise shape_error(f"a kernel of {weight.shape[2:]} does not fit into {tuple(shape)}")
    return (weight.shape[0], *out)


def step_sum_pool(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    (kh, kw), (sh, sw) = whole(node, "kernel_size", 2), whole(node, "stride", 2)
    ph, pw = whole(node, "padding", 2)
    x = np.pad(x, [(0, 0), (0, 0), (ph, ph), (pw, pw)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (kh, kw), axis=(2, 3))
    return windows[:, :, ::sh, ::sw].sum(axis=(-2, -1)), state


def step_avg_pool(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    total, state = step_sum_pool(node, x, state, dt)
    return total / np.prod(whole(node, "kernel_size", 2)), state


def shape_pool(node: Node, shape: Shape) -> Shape:
    if len(shape) != 3:
        raise shape_error(f"pooling takes (C, H, W), but {tuple(shape)} arrives")
    kernel, stride = whole(node, "kernel_size", 2), whole(node, "stride", 2)
    padding = whole(node, "padding", 2)
    if min(kernel) < 1 or min(stride) < 1 or min(padding) < 0:
        what = f"kernel_size {kernel}, stride {stride}, padding {padding}: out of range"
        raise GraphError(what, code="field-value")
    pads = [(p, p) for p in padding]
    check_padding(shape, pads)
    out = outputs(shape[1:], pads, kernel, stride, [1, 1])
    if min(out) < 1:
        raise shape_error(f"a window of {kernel} does not fit into {tuple(shape)}")
    return (shape[0], *out)


def step_flatten(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    return x.reshape(x.shape[0], *shape_flatten(node, x.shape[1:])), state


def shape_flatten(node: Node, shape: Shape) -> Shape:
    (start,), (end,) = whole(node, "start_dim", 1), whole(node, "end_dim", 1)
    rank = len(shape)
    end = end + rank if end < 0 else end
    start = start + rank if start < 0 else start
    if not 0 <= start <= end < rank:
        what = f"start_dim {node['start_dim']} to end_dim {node['end_dim']} is no range of axes of"
        raise shape_error(f"{what} {tuple(shape)}", "start_dim")
    declared = node.get("input_type")
    if isinstance(declared, dict):
        declared = declared.get("input")
    if declared is not None:
        sizes = tuple(int(n) for n in np.ravel(declared))
        if sizes != tuple(shape):
            raise shape_error(f"`input_type` is {sizes}, but {tuple(shape)} arrives", "input_type")
    return (*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])


def step_scale(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    return node["scale"] * x, state


def step_threshold(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    return (x > node["threshold"]).astype(np.float64), {"u": x}


def delay_steps(delay: Any, dt: float) -> np.ndarray:
    """Whole steps; a file's float32 may be off by one part in 2^22. A million steps are the most."""
    steps = np.asarray(delay, np.float64) / dt
    rounded = np.round(steps)
    off = np.abs(steps - rounded) > 2.0**-22 * np.maximum(rounded, 1)
    bad = off | (rounded < 0) | (rounded > 1_000_000)
    if bad.any():
        what = f"is {float(np.asarray(delay)[bad].flat[0]):g}; a whole number of steps of"
        raise field_error("delay", f"{what} dt = {dt:g} is needed, from 0 to a million")
    return rounded.astype(int)


def step_delay(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    if not state:
        steps = np.broadcast_to(delay_steps(node["delay"], dt), x.shape[1:])
        length = int(steps.max()) + 1
        check_limit(
            "delay", length * x.size, f"a delay of {length - 1} steps keeps {length * x.size}"
        )
        state = {"steps": steps, "past": np.zeros((length, *x.shape)), "t": 0}
    steps, past, t = (
        state["steps"],
        state["past"],
        state["t"],
    )  # the input of step t is past[t % length]
    past[t % len(past)] = x
    at = np.broadcast_to((t - steps) % len(past), x.shape)[None]
    return np.take_along_axis(past, at, axis=0)[0], {**state, "t": t + 1}


def step_if(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    v = state["v"] if state else rest(node, x)
    u = v + dt * node["r"] * x - state.get("owed", 0.0)
    return fire(node, u, state)


def step_lif(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    v = state["v"] if state else rest(node, x)
    u = v + dt / node["tau"] * (node["v_leak"] - v + node["r"] * x) - state.get("owed", 0.0)
    return fire(node, u, state)


def step_li(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    v = state["v"] if state else rest(node, x)
    v = v + dt / node["tau"] * (node["v_leak"] - v + node["r"] * x)
    return v, {"v": v}


def step_i(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    v = (state["v"] if state else rest(node, x)) + dt * node["r"] * x
    return v, {"v": v}


def step_cuba(node: Node, x: np.ndarray, state: State, dt: float) -> tuple[np.ndarray, np.ndarray]:
    i = state.get("i", 0.0)
    i = i + dt / node["tau_syn"] * (-i + node["w_in"] * x)
    v = state["v"] if state else rest(node, x)
    if "carry" in node:  # the exact step, see `exact_node`
        before, k = state.get("i", 0.0), node["carry"]
        rate = dt / node["tau_mem"]
        drive = node["r"] * (k * before + (rate - k) * node["w_in"] * x)
        return i, v + rate * (node["v_leak"] - v) + drive - state.get("owed", 0.0)
    u = v + dt / node["tau_mem"] * (node["v_leak"] - v + node["r"] * i) - state.get("owed", 0.0)
    return i, u


def step_cuba_lif(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    i, u = step_cuba(node, x, state, dt)
    z, state = fire(node, u, state)
    return z, {**state, "i": i}


def step_cuba_li(node: Node, x: np.ndarray, state: State, dt: float) -> Step:
    i, v = step_cuba(node, x, state, dt)
    return v, {"v": v, "i": i}


CONV = "weight stride padding dilation groups bias? input_shape?"
CUBA = "tau_syn tau_mem r v_leak w_in?"
POOL = "kernel_size stride padding"
# Kind of node -> what it means. A subgraph has no entry: it means what its nodes mean.
EQUATIONS: dict[str, Equation] = {
    "Affine": Equation(step_linear, shape_linear, "weight bias"),
    "AvgPool2d": Equation(step_avg_pool, shape_pool, POOL),
    "Conv1d": Equation(step_conv, shape_conv, CONV),
    "Conv2d": Equation(step_conv, shape_conv, CONV),
    "CubaLI": Equation(step_cuba_li, same_shape, CUBA, stateful=True),
    "CubaLIF": Equation(
        step_cuba_lif, same_shape, f"{CUBA} v_threshold v_reset?", stateful=True, spikes=True
    ),
    "Delay": Equation(step_delay, same_shape, "delay", stateful=True),
    "Flatten": Equation(step_flatten, shape_flatten, "start_dim? end_dim? input_type?"),
    "I": Equation(step_i, same_shape, "r", stateful=True),
    "IF": Equation(step_if, same_shape, "r v_threshold v_reset?", stateful=True, spikes=True),
    "Input": Equation(step_port, shape_port, "shape"),
    "LI": Equation(step_li, same_shape, "tau r v_leak", stateful=True),
    "LIF": Equation(
        step_lif, same_shape, "tau r v_leak v_threshold v_reset?", stateful=True, spikes=True
    ),
    "Linear": Equation(step_linear, shape_linear, "weight"),
    "Output": Equation(step_port, shape_port, "shape"),
    "Scale": Equation(step_scale, same_shape, "scale"),
    "SumPool2d": Equation(step_sum_pool, shape_pool, POOL),
    "Threshold": Equation(step_threshold, same_shape, "threshold", spikes=True),
}
