"""What JAX operations between layers are as layers: sums, reshapes, pooling, scales, matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import spyx.nn as snn
from flax import nnx

from spyx_nir.converter.layer_cache import initial_values
from spyx_nir.converter.layers import Pool, Scale
from spyx_nir.converter.trace.values import Known, Signal, Value, constant_over

# More numbers than this in a matrix that only picks features are not written.
LARGEST_SELECTION = 2**22

REMEDIES = {
    "reduce_window_max": "train with spyx.nn.SumPool or nnx.avg_pool instead of max pooling",
    "max": "train with a spiking neuron instead of a ReLU",
    "scan": "NIR has one loop over time; read the traces that it returns instead",
    "while": "run time with spyx.nn.run or jax.lax.scan",
    "conv_general_dilated": "use nnx.Conv",
    "concatenate": "feed each part to a layer of its own and add their outputs",
}


class Builder(Protocol):
    """What the operations need of the reader of a jaxpr."""

    def add(self, layer: Any, terms: tuple[int, ...]) -> int:
        """Append a step that is not a call of the model's; returns its index."""

    def own(self, index: int) -> Any:
        """The layer of a step that `add` made; None for a layer of the model, or an input."""

    def sources(self, index: int) -> tuple[int, ...]:
        """The terms that a step sums."""


Operation = Callable[[Builder, list[Value], dict[str, Any]], Value | None]


def apply(builder: Builder, name: str, values: list[Value], params: dict[str, Any]) -> Value | None:
    """The result of a JAX primitive on signals and known arrays; None where no node computes it."""
    operation = OPERATIONS.get(name)
    if operation is None or not all(isinstance(value, Signal | Known) for value in values):
        return None
    return operation(builder, values, params)


def _add(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    left, right = values
    if isinstance(left, Known):
        left, right = right, left
    assert isinstance(left, Signal)
    if isinstance(right, Signal):
        if (left.lead, left.shape) != (right.lead, right.shape):
            return None
        return Signal(left.terms + right.terms, left.lead, left.shape)
    assert isinstance(right, Known)
    return _with_bias(builder, left, right)


def _with_bias(builder: Builder, signal: Signal, given: Known, sign: int = 1) -> Value | None:
    """A signal plus a constant: nothing for zeros, the bias of a matrix that was written just now."""
    bias = constant_over(given.value, len(signal.lead), signal.rank)
    if bias is None or not bias.any():
        return None if bias is None else signal
    dense = builder.own(signal.terms[0]) if len(signal.terms) == 1 else None
    size = signal.shape[-1]
    if not isinstance(dense, nnx.Linear) or bias.size not in (1, bias.shape[-1], size):
        return None
    own = np.float32(0) if dense.bias is None else np.asarray(dense.bias[...])
    total = np.asarray(own + sign * np.broadcast_to(bias.reshape(-1), size), np.float32)
    index = builder.add(matrix(dense.kernel[...], total), builder.sources(signal.terms[0]))
    return Signal((index,), signal.lead, signal.shape)


def _sub(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    left, right = values
    if not isinstance(left, Signal):
        return None
    if isinstance(right, Known):
        return _with_bias(builder, left, right, -1)
    negative = _scaled(builder, right, np.float32(-1))
    return None if negative is None else _add(builder, [left, negative], params)


def _neg(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    return _scaled(builder, values[0], np.float32(-1))


def _mul(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    left, right = values
    signal, known = (right, left) if isinstance(left, Known) else (left, right)
    if not isinstance(known, Known):
        return None
    return _scaled(builder, signal, known.value)


def _div(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    signal, known = values
    if not isinstance(signal, Signal) or not isinstance(known, Known):
        return None
    divisor = constant_over(known.value, len(signal.lead), signal.rank)
    if divisor is None or not np.all(divisor):
        return None
    average = _averaged(builder, signal) if len(signal.terms) == 1 else None
    if average is not None and np.all(divisor == np.prod(average[0].window)):
        pool, sources, flat = average
        index = builder.add(pool, sources)
        index = builder.add(snn.Flatten(), (index,)) if flat else index
        return Signal((index,), signal.lead, signal.shape)
    return _scaled(builder, signal, 1 / np.asarray(divisor, np.float64))


def _averaged(builder: Builder, signal: Signal) -> tuple[Pool, tuple[int, ...], bool] | None:
    """The average pooling in the place of a sum pooling, its sources, and whether it is flattened."""
    (index,) = signal.terms
    flat = isinstance(builder.own(index), snn.Flatten)
    if flat:
        index, *more = builder.sources(index)
        if more:
            return None
    pool = builder.own(index)
    if not isinstance(pool, Pool) or pool.average:
        return None
    made = Pool(pool.window, pool.strides, pool.padding, average=True)
    return made, builder.sources(index), flat


def _scaled(builder: Builder, signal: Value, factor: Any) -> Value | None:
    """A signal times constants."""
    if not isinstance(signal, Signal):
        return None
    scale = constant_over(factor, len(signal.lead), signal.rank)
    if scale is None:
        return None
    if (scale == 1).all():
        return signal
    index = builder.add(Scale(np.asarray(scale, np.float32)), signal.terms)
    return Signal((index,), signal.lead, signal.shape)


def _same(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    return values[0]


def _convert(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    return values[0] if np.dtype(params["new_dtype"]) in (np.float32, np.float64) else None


def _transpose(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """Time and batch may change places, the axes of a sample not."""
    (signal,) = values
    assert isinstance(signal, Signal)
    order, lead = tuple(params["permutation"]), len(signal.lead)
    if order[lead:] != tuple(range(lead, signal.rank)):
        return None
    return Signal(signal.terms, tuple(signal.lead[axis] for axis in order[:lead]), signal.shape)


def _to_shape(
    builder: Builder, signal: Signal, before: tuple[int, ...], after: tuple[int, ...]
) -> Value | None:
    """A signal in another shape: the same numbers (lead axes kept), all of a sample in one axis."""
    lead = len(signal.lead)
    if before[:lead] != after[:lead]:
        return None
    shape = after[lead:]
    if shape == signal.shape:
        return signal
    if shape != (int(np.prod(signal.shape)),):
        return None
    index = builder.add(snn.Flatten(), signal.terms)
    return Signal((index,), signal.lead, shape)


def _reshape(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    (signal,) = values
    assert isinstance(signal, Signal)
    return _to_shape(builder, signal, params["before"], tuple(params["after"]))


def _broadcast(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    (signal,) = values
    assert isinstance(signal, Signal)
    axes = tuple(params["broadcast_dimensions"])
    if axes != tuple(range(signal.rank)):
        return None
    return _to_shape(builder, signal, params["before"], tuple(params["after"]))


def _reduce_sum(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """A sum over height and width: pooling with one window."""
    (signal,) = values
    assert isinstance(signal, Signal)
    lead, axes = len(signal.lead), set(params["axes"])
    if len(signal.shape) != 3 or axes != {lead, lead + 1}:
        return None
    window = signal.shape[:2]
    index = builder.add(Pool(window, window, (0, 0), average=False), signal.terms)
    index = builder.add(snn.Flatten(), (index,))
    return Signal((index,), signal.lead, signal.shape[2:])


def _reduce_window(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """Sum pooling over height and width with the same padding on both sides, or XLA's SAME."""
    (signal,) = values
    assert isinstance(signal, Signal)
    lead = len(signal.lead)
    window, strides = tuple(params["window_dimensions"]), tuple(params["window_strides"])
    pads = tuple(params["padding"])
    dilations = {*params["base_dilation"], *params["window_dilation"]}
    outside = (*range(lead), signal.rank - 1)
    if len(signal.shape) != 3 or dilations != {1}:
        return None
    if any((window[a], strides[a], pads[a]) != (1, 1, (0, 0)) for a in outside):
        return None
    inside = slice(lead, lead + 2)
    pool = Pool(window[inside], strides[inside], pads[inside], average=False)
    index = builder.add(pool, signal.terms)
    return Signal((index,), signal.lead, tuple(params["after"])[lead:])


def matrix(kernel: Any, bias: Any = None) -> Any:
    """An `nnx.Linear` with this kernel (in, out)."""
    kernel = np.asarray(kernel, np.float32)
    return nnx.Linear(*kernel.shape, **initial_values(kernel, bias))


def _dot(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """A signal's last axis times a constant matrix."""
    signal, known = values
    if not isinstance(signal, Signal) or not isinstance(known, Known):
        return None
    (left, right), batch = params["dimension_numbers"]
    kernel = np.asarray(known.value)
    if batch != ((), ()) or tuple(left) != (signal.rank - 1,) or kernel.ndim != 2:
        return None
    kernel = kernel if tuple(right) == (0,) else kernel.T
    index = builder.add(matrix(kernel), signal.terms)
    return Signal((index,), signal.lead, (*signal.shape[:-1], kernel.shape[1]))


def _concatenate(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """Features one after the other: the sum of what matrices of 0 and 1 put in their places."""
    parts = [value for value in values if isinstance(value, Signal)]
    if len(parts) != len(values) or any(len(part.shape) != 1 for part in parts):
        return None
    if len({part.lead for part in parts}) > 1 or params["dimension"] != parts[0].rank - 1:
        return None
    size, at, terms = sum(part.shape[0] for part in parts), 0, []
    for part in parts:
        (own,) = part.shape
        if own * size > LARGEST_SELECTION:
            return None
        terms.append(builder.add(matrix(np.eye(own, size, at)), part.terms))
        at += own
    return Signal(tuple(terms), parts[0].lead, (size,))


def _slice(builder: Builder, values: list[Value], params: dict[str, Any]) -> Value | None:
    """Some features of a vector: a matrix of 0 and 1."""
    (signal,) = values
    assert isinstance(signal, Signal)
    lead, before = len(signal.lead), params["before"]
    starts, ends = params["start_indices"], params["limit_indices"]
    steps = params["strides"] or (1,) * signal.rank
    whole = all((starts[a], ends[a], steps[a]) == (0, before[a], 1) for a in range(lead))
    if not whole or len(signal.shape) != 1:
        return None
    chosen = np.arange(starts[lead], ends[lead], steps[lead])
    (size,) = signal.shape
    if size * chosen.size > LARGEST_SELECTION:
        return None
    kernel = np.zeros((size, chosen.size), np.float32)
    kernel[chosen, np.arange(chosen.size)] = 1
    index = builder.add(matrix(kernel), signal.terms)
    return Signal((index,), signal.lead, (chosen.size,))


OPERATIONS: dict[str, Operation] = {
    "add": _add,
    "add_any": _add,
    "sub": _sub,
    "neg": _neg,
    "mul": _mul,
    "div": _div,
    "copy": _same,
    "copy_p": _same,
    "stop_gradient": _same,
    "convert_element_type": _convert,
    "transpose": _transpose,
    "reshape": _reshape,
    "squeeze": _reshape,
    "expand_dims": _reshape,
    "broadcast_in_dim": _broadcast,
    "reduce_sum": _reduce_sum,
    "reduce_window_sum": _reduce_window,
    "dot_general": _dot,
    "concatenate": _concatenate,
    "slice": _slice,
}
