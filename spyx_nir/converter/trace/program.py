"""From a module of any kind to its steps."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spyx_nir.converter.layout import last
from spyx_nir.converter.steps import Program, Run, reachable
from spyx_nir.converter.trace.calls import recording
from spyx_nir.converter.trace.reader import Reader
from spyx_nir.converter.trace.values import Final, Foreign, Known, Signal, Value
from spyx_nir.errors import GraphError, one_line

# Sizes of the axes of time (a) and batch (b) in a trace: any that differ.
SIZES = {"a": 5, "b": 3}
Forward = Callable[[Any, Any], Any]  # model, input -> output


def trace(
    model: Any, inputs: Mapping[str, tuple[int, ...]], outputs: Mapping[str, tuple[int, ...]]
) -> Program:
    """The layers that a module calls, and what it does between them.

    Three kinds of module are understood: with `initial_state(batch)` and `(x, state) -> (out, state)`
    for one step, as Spyx's layers; without state, for one step; or over all steps at once, (T, B, ...)
    or (B, T, ...), with `spyx.nn.run` or `jax.lax.scan` inside.

    Args:
        inputs, outputs: shapes without time and batch by name, channels first.

    Raises:
        GraphError: the module does not run on these shapes, or does something between its layers that
            no node of NIR does; names the operation and the line of the model's source.
    """
    forward, leads = _forward(model)
    failures: list[Exception] = []
    for lead in leads:
        reader = Reader(_paths(model), _time(forward, lead))
        try:
            structure, found = _read(reader, model, forward, lead, inputs)
            if reader.loops or lead is leads[-1]:
                return _program(reader, model, forward, structure, found, lead, outputs)
        except Exception as error:  # whatever the model raises on such an input
            failures.append(error)
            if reader.loops:
                break
    refused = [error for error in failures if isinstance(error, GraphError)]
    if refused:
        raise refused[0]
    shapes = ", ".join(str(("batch", *last(shape))) for shape in inputs.values())
    what = f"the model ({type(model).__name__}) does not run on inputs of shape {shapes}"
    raise GraphError(f"{what}: {one_line(failures[0])}", code="not-run")


def _time(forward: Forward, lead: tuple[str, ...]) -> str | None:
    """The leading axis that is time, as far as it is known: "" where there is none."""
    if len(lead) == 1:
        return ""
    return "a" if forward is _step_by_step else None


def _forward(model: Any) -> tuple[Forward, list[tuple[str, ...]]]:
    """How to run a model, and the leading axes to try."""
    if hasattr(model, "initial_state") or _holder(model) is not None:
        return _step_by_step, [("a", "b")]
    return _at_once, [("a", "b"), ("b",)]


def _holder(model: Any) -> Any:
    """The only part of a model without `initial_state` that has one, if the model takes a state."""
    if len(_positional(model)) != 2:
        return None
    parts = [part for part in vars(model).values() if hasattr(part, "initial_state")]
    return parts[0] if len(parts) == 1 else None


def _positional(model: Any) -> list[str]:
    try:
        parameters = inspect.signature(type(model).__call__).parameters.values()
    except (TypeError, ValueError):
        return []
    needed = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in needed and p.default is p.empty][1:]


def _step_by_step(model: Any, x: Any) -> Any:
    """A module for one step over time: x and outputs (T, B, ...)."""
    batch = jax.tree.leaves(x)[0].shape[1]
    owner = model if hasattr(model, "initial_state") else _holder(model)
    copied = _copier(model)

    def step(state: Any, x_t: Any) -> tuple[Any, Any]:
        out, state = copied()(x_t, state)
        return state, out

    return jax.lax.scan(step, owner.initial_state(batch), x)[1]


def _at_once(model: Any, x: Any) -> Any:
    """A module that takes all of x."""
    return _copier(model)()(x)


def _copier(model: Any) -> Callable[[], Any]:
    """Copies of a model that may write into their own variables while they are traced.

    `nnx.WeightNorm` does so, and everything under `nnx.jit`.
    """
    graph, variables = nnx.split(model)
    leaves, structure = jax.tree.flatten(variables)
    return lambda: nnx.merge(graph, jax.tree.unflatten(structure, leaves))


def _read(
    reader: Reader,
    model: Any,
    forward: Forward,
    lead: tuple[str, ...],
    inputs: Mapping[str, tuple[int, ...]],
) -> tuple[Any, list[Value]]:
    """The structure of the outputs, and what they are."""
    sizes = tuple(SIZES[axis] for axis in lead)
    shapes = {
        name: jax.ShapeDtypeStruct((*sizes, *last(shape)), jnp.float32)
        for name, shape in inputs.items()
    }
    given = shapes if len(shapes) > 1 else next(iter(shapes.values()))
    with recording(model):
        closed, out = jax.make_jaxpr(lambda x: forward(model, x), return_shape=True)(given)
    # JAX sorts a dictionary by its keys.
    order = {name: -1 - k for k, name in enumerate(inputs)}
    names = sorted(inputs) if len(inputs) > 1 else list(inputs)
    signals = [Signal((order[name],), lead, last(inputs[name])) for name in names]
    constants = [Known(value) for value in closed.consts]
    return jax.tree.structure(out), reader.read(closed.jaxpr, constants, signals)


def _paths(model: Any) -> dict[int, str]:
    """The path of the layer that an array belongs to, by the array's id."""
    paths: dict[int, str] = {}
    for path, variable in nnx.to_flat_state(nnx.state(model)):
        for leaf in jax.tree.leaves(variable):
            paths.setdefault(id(leaf), ".".join(map(str, path[:-1])))
    return paths


def _program(
    reader: Reader,
    model: Any,
    forward: Forward,
    structure: Any,
    found: list[Value],
    lead: tuple[str, ...],
    outputs: Mapping[str, tuple[int, ...]],
) -> Program:
    """The steps that the wanted outputs depend on, and how to run the model itself."""
    kept = [k for k, value in enumerate(found) if not isinstance(value, Final)]
    named = jax.tree.unflatten(structure, range(len(found)))
    if isinstance(named, Mapping) and set(outputs) <= set(named):
        kept = [named[name] for name in outputs]
    if len(kept) != len(outputs):
        raise GraphError(
            f"the model ({type(model).__name__}) puts out {len(kept)} arrays, `output_shape` names "
            f"{len(outputs)}: name all of them, in their order",
            field="output_shape",
            code="ports",
        )
    terms = [_output(found[k], lead, name) for k, name in zip(kept, outputs, strict=True)]
    time = reader.time
    run = _runner(model, forward, lead, time, [(k, found[k]) for k in kept])
    return reachable(Program(tuple(reader.steps), tuple(terms), run))


def _output(value: Value, lead: tuple[str, ...], name: str) -> tuple[int, ...]:
    if isinstance(value, Foreign):
        raise value.error()
    if not isinstance(value, Signal) or set(value.lead) != set(lead):
        what = f"output `{name}` is no array with one row for every step and sample of the input"
        raise GraphError(what, field="output_shape", code="untraceable")
    return value.terms


def _runner(
    model: Any,
    forward: Forward,
    lead: tuple[str, ...],
    time: str | None,
    kept: Sequence[tuple[int, Value]],
) -> Run:
    """The model on arrays (T, B, ...) by input name."""

    def turned(array: Any, axes: tuple[str, ...]) -> Any:
        return jnp.swapaxes(array, 0, 1) if axes[0] != time else array

    def run(x: dict[str, Any]) -> list[Any]:
        steps, batch = next(iter(x.values())).shape[:2]
        if len(lead) == 1:
            x = {name: array.reshape(steps * batch, *array.shape[2:]) for name, array in x.items()}
        else:
            x = {name: turned(jnp.asarray(array), lead) for name, array in x.items()}
        out = forward(model, x if len(x) > 1 else next(iter(x.values())))
        leaves = jax.tree.leaves(out)
        found = []
        for k, value in kept:
            assert isinstance(value, Signal)
            leaf = np.asarray(leaves[k])
            if len(lead) == 1:
                found.append(leaf.reshape(steps, batch, *leaf.shape[1:]))
            else:
                found.append(np.asarray(turned(leaf, value.lead)))
        return found

    return run
