"""Calls of layers as single operations of a jaxpr.

While a model is traced, the layers of Flax, Spyx and of this project do not run: each call becomes one
equation of the primitive `layer`. Its operands are the layer's arrays and the arguments of the call, so
arrays that a model computes from others (a masked weight) arrive as such.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax._src import source_info_util
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir

from spyx_nir.converter import registry as registry  # fills the table of kinds
from spyx_nir.converter.kind import exported_layers
from spyx_nir.converter.known import class_name, closed
from spyx_nir.converter.trace.values import line_of
from spyx_nir.errors import GraphError

_recording: ContextVar[bool] = ContextVar("recording", default=False)
# Part of the key of JAX's caches: a method under `jax.jit` is traced anew, and what was traced here is
# used by nobody else.
_context = jax.make_user_context(default_value=None)


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer.

    variables, arguments: the structure of the operands: first the layer's arrays, then those of the
    call. `fixed` has the arguments that are no arrays, None in the place of arrays.
    """

    original: Callable[..., Any]
    graph: Any
    structure: Any
    fixed: tuple[Any, ...]
    options: dict[str, Any]
    variables: int
    output: Any = None
    shapes: tuple[Any, ...] = ()

    def rebuilt(self, operands: Sequence[Any]) -> tuple[Any, tuple[Any, ...]]:
        """The layer and the positional arguments, with these operands."""
        given = iter(operands)
        leaves = [next(given) if value is None else value for value in self.fixed]
        variables, arguments = jax.tree.unflatten(self.structure, leaves)
        return nnx.merge(self.graph, variables), arguments

    def run(self, *operands: Any) -> Any:
        """What the layer itself puts out."""
        layer, arguments = self.rebuilt(operands)
        with _set(False):
            return self.original(layer, *arguments, **self.options)


layer_p = Primitive("layer")
layer_p.multiple_results = True


def _leaves(*operands: Any, call: Call) -> list[Any]:
    leaves: list[Any] = jax.tree.leaves(call.run(*operands))
    return leaves


layer_p.def_impl(_leaves)
layer_p.def_abstract_eval(lambda *operands, call: list(call.shapes))
mlir.register_lowering(layer_p, mlir.lower_fun(_leaves, multiple_results=True))


def _batched(operands: Any, axes: Any, *, call: Call) -> Any:
    """A call under `vmap` over samples, with the axis first; over an ensemble it is refused."""
    (size,) = {x.shape[axis] for x, axis in zip(operands, axes, strict=True) if axis is not None}
    if any(axis is not None for axis in axes[: call.variables]):
        name = class_name(type(call.rebuilt(operands)[0]))
        line = line_of(source_info_util.current())
        raise GraphError(
            f"{line}: {name} runs under vmap over an axis of {size} of its own parameters, an "
            "ensemble: NIR has one set of parameters per node; export one member at a time",
            code="untraceable",
        )
    moved = [
        x if axis is None else jax.numpy.moveaxis(x, axis, 0)
        for x, axis in zip(operands, axes, strict=True)
    ]
    arguments = [
        jax.numpy.broadcast_to(x, (size, *x.shape)) if axis is None else x
        for x, axis in zip(moved[call.variables :], axes[call.variables :], strict=True)
    ]
    outputs, _ = _bind(call, [*moved[: call.variables], *arguments])
    return outputs, [0] * len(outputs)


batching.primitive_batchers[layer_p] = _batched


def _bind(call: Call, operands: Sequence[Any]) -> tuple[list[Any], Any]:
    """One equation for a call on these operands: its outputs, and their structure."""
    leaves, structure = jax.tree.flatten(jax.eval_shape(call.run, *operands))
    shapes = tuple(jax.core.ShapedArray(leaf.shape, leaf.dtype) for leaf in leaves)
    made = dataclasses.replace(call, output=structure, shapes=shapes)
    return layer_p.bind(*operands, call=made), structure


def _recorded(original: Callable[..., Any]) -> Callable[..., Any]:
    """A `__call__` that becomes an equation while `recording` is on."""

    @functools.wraps(original)
    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        if not _recording.get():
            return original(layer, *arguments, **options)
        graph, variables = nnx.split(layer)
        leaves, structure = jax.tree.flatten((variables, arguments))
        arrays = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
        fixed = tuple(None if array else leaf for leaf, array in zip(leaves, arrays, strict=True))
        count = len(jax.tree.leaves(variables))
        begun = Call(original, graph, structure, fixed, options, count)
        operands = [leaf for leaf, array in zip(leaves, arrays, strict=True) if array]
        outputs, shape = _bind(begun, operands)
        return jax.tree.unflatten(shape, outputs)

    return call


@contextlib.contextmanager
def recording(model: Any) -> Iterator[None]:
    """Turn every call of a layer of `model` into an equation of `layer`; not thread-safe."""
    with replaced(model, _recorded), _set(True), _context(object()):
        yield


@contextlib.contextmanager
def watching(model: Any, seen: Callable[[Any, Any], None]) -> Iterator[None]:
    """Show every call of a layer of `model` to `seen(layer, output)`; not thread-safe.

    Not the calls of layers inside a layer.
    """
    depth: list[Any] = []

    def watched(original: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(original)
        def call(layer: Any, *arguments: Any, **options: Any) -> Any:
            depth.append(layer)
            try:
                output = original(layer, *arguments, **options)
            finally:
                depth.pop()
            if not depth:
                seen(layer, output)
            return output

        return call

    with replaced(model, watched):
        yield


@contextlib.contextmanager
def replaced(model: Any, wrap: Callable[[Any], Any]) -> Iterator[None]:
    """Wrap the `__call__` of every class of layers of `model`; not thread-safe."""
    known = exported_layers()
    kinds = {type(part) for _, part in nnx.iter_modules(model) if closed(part, known)}
    kinds = {kind for kind in kinds if any("__call__" in vars(base) for base in kind.__mro__)}
    own: dict[Any, Any] = {kind: vars(kind).get("__call__") for kind in kinds}
    originals: dict[Any, Any] = {kind: kind.__call__ for kind in kinds}
    try:
        for kind, original in originals.items():
            kind.__call__ = wrap(original)
        yield
    finally:
        for kind, original in own.items():
            if original is None:
                del kind.__call__
            else:
                kind.__call__ = original


@contextlib.contextmanager
def _set(value: bool) -> Iterator[None]:
    token = _recording.set(value)
    try:
        yield
    finally:
        _recording.reset(token)
