"""The one engine that runs a network over time: for training, evaluation and parity.

`run` has the signature and the result of `spyx.nn.run`, and works layer by layer: a layer without
state sees all time steps as one big batch, and only neurons walk through time. What is no
`Sequential` is scanned as a whole.

Training spends its time in those walks, a few small operations a step, so the neurons of
`spyx_nir.neurons` walk with a gradient of their own, `_walk`. Forwards only the membrane is kept.
Backwards only what depends on the next step runs in the loop; the gradients of all parameters come
after it, in one sum over all steps. Neurons are computed with the batch as the last axis,
(N, T, B): it is the longer one and fills the processor's vectors. A transpose at each end of every
operation says so, and where two operations meet, the compiler drops both.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import spyx.nn as snn
from flax import nnx
from jax.custom_derivatives import SymbolicZero

from spyx_nir import neurons
from spyx_nir.deterministic import convolution
from spyx_nir.deterministic.matmul import matmul


def run(
    model: Any, x: jax.Array, state: Any = None, *, batch_major: bool = False
) -> tuple[jax.Array, Any]:
    """Run `model` over the sequence `x`, like `spyx.nn.run`.

    Args:
        model: a `spyx.nn.Sequential`, or any layer `(x, state) -> (out, state)`.
        x: (T, B, ...), or (B, T, ...) with `batch_major`; channels last.
        state: where to start; None means `model.initial_state(B)`.

    Returns:
        Outputs (T, B, ...), or (B, T, ...) with `batch_major`, and the state after the last step.

    Compiled once per network structure and shape; works inside `jax.jit`, can be differentiated.
    """
    x = jnp.asarray(x, jnp.float32)
    if batch_major:
        x = jnp.swapaxes(x, 0, 1)
    if state is None:
        state = model.initial_state(x.shape[1])
    graph, variables = nnx.split(model)
    outputs, final = _run(graph, variables, x, _float32(state))
    return (jnp.swapaxes(outputs, 0, 1) if batch_major else outputs), final


def trace(
    model: snn.Sequential, x: jax.Array, state: Any = None
) -> tuple[jax.Array, list[tuple[jax.Array, Any]]]:
    """Run `model` over `x` (T, B, ...) and keep what every layer did.

    Returns:
        Outputs (T, B, ...), and per layer the pair (its output (T, B, ...), its state after every
        step, a pytree with leading T, or None for a layer without state).
    """
    x = jnp.asarray(x, jnp.float32)
    state = model.initial_state(x.shape[1]) if state is None else state
    graph, variables = nnx.split(model)
    return _trace(graph, variables, x, _float32(state))


@partial(jax.jit, static_argnums=0)
def _run(graph, variables, x, state):
    model = nnx.merge(graph, variables)
    if not isinstance(model, snn.Sequential):
        return _scan(model, x, state)
    final = []
    for layer, start in zip(model.layers, state, strict=True):
        if start is None:
            x, end = _fold(layer, x), None
        elif _walks(layer):
            x, states = _walk_layer(layer, x, start)
            end = jax.tree.map(lambda leaf: leaf[-1], states)
        else:
            x, end = _scan(layer, x, start)
        final.append(end)
    return x, final


@partial(jax.jit, static_argnums=0)
def _trace(graph, variables, x, state):
    model = nnx.merge(graph, variables)
    layers = []
    for layer, start in zip(model.layers, state, strict=True):
        if start is None:
            x, states = _fold(layer, x), None
        elif _walks(layer):
            x, states = _walk_layer(layer, x, start)
        else:
            (x, states), _ = _scan(_with_states(layer), x, start)
        layers.append((x, states))
    return x, layers


def _fold(layer, x):
    """Apply a layer without state to x (T, B, ...), all steps at once."""
    if x.ndim == 3 and _plain(layer):
        return _linear(layer, x)
    steps, batch = x.shape[:2]
    x = x.reshape(steps * batch, *x.shape[2:])
    out = convolution.apply(layer, x) if convolution.fits(layer) else layer(x)
    return out.reshape(steps, batch, *out.shape[1:])


def _plain(layer):
    """Whether `_linear` computes what the layer does: float32 with JAX's own product."""
    return (
        type(layer) is nnx.Linear
        and layer.dtype in (None, jnp.float32)
        and layer.dot_general is jax.lax.dot_general
    )


def _linear(layer, x):
    """`layer(x)` for an `nnx.Linear` and x (T, B, inputs), computed with the batch last."""
    out = _weigh(layer.kernel[...], jnp.moveaxis(x, -1, 0))
    if layer.bias is not None:
        out = out + layer.bias[...][:, None, None]
    return jnp.moveaxis(out, 0, -1)


@jax.custom_vjp
def _weigh(kernel, x):
    """Kernel (inputs, outputs) and x (inputs, T, B) to (outputs, T, B).

    Its own gradient, because the one that JAX derives transposes x twice.
    """
    return matmul(_turned(kernel), x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


_weigh.defvjp(
    lambda kernel, x: (_weigh(kernel, x), (kernel, x)),
    lambda saved, of_out: (_product(saved[1], of_out), _weigh(saved[0].T, of_out)),
)


def _turned(weight):
    """A matrix transposed in memory: with its transpose XLA would choose a slower product."""
    return jax.lax.optimization_barrier(weight.T)


def _product(a, b):
    """Sum over steps and samples: a (N, T, B) and b (M, T, B) to (N, M)."""
    return matmul(a.reshape(len(a), -1), b.reshape(len(b), -1).T)


def _scan(layer, x, state):
    """Walk a layer with state through time: outputs (T, B, ...) and the last state."""

    def step(carry, x_t):
        out, carry = layer(x_t, carry)
        return carry, out

    final, outputs = jax.lax.scan(step, state, x)
    return outputs, final


def _with_states(layer):
    def both(x_t, carry):
        out, carry = layer(x_t, carry)
        return (out, carry), carry

    return both


def _walks(layer):
    """Whether `_walk_layer` knows the layer: a neuron that is linear from one reset to the next."""
    cell = layer.cell if type(layer) is neurons.Recurrent else layer
    return (
        isinstance(cell, neurons.Integrator)
        and getattr(cell, "reset", None) != "subtract_after_decay"
    )


def _walk_layer(layer, x, start):
    """A neuron layer over x (T, B, ...) from the state `start`: outputs and states (T, B, ...)."""
    x = x.astype(jnp.float32)  # what a step would make of it
    feedback, z = None, jnp.zeros_like(x[0])
    cell = layer
    if isinstance(layer, neurons.Recurrent):
        cell = layer.cell
        bias = layer.recurrent_b
        feedback = layer.recurrent_w[...], None if bias is None else bias[...][:, None]
        start, z = start
    # Neurons of a vector have the batch last, those of an image stay as they are.
    axis = 1 if x.ndim == 3 else 0
    graph, *variables = nnx.split(cell, nnx.Param, ...)
    if axis == 1:
        variables = jax.tree.map(lambda p: p[:, None] if p.ndim == 1 else p, variables)
        x = jnp.moveaxis(x, -1, 0)
        start, z = jax.tree.map(jnp.transpose, (start, z))
    out, v, i = _walk(graph, axis, *variables, feedback, x, start, z)
    if axis == 1:
        out, v, i = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), (out, v, i))
    states = v if i is None else (v, i)
    return out, states if feedback is None else (states, out)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _walk(graph, axis, parameters, constants, feedback, x, start, z):
    """A cell through time.

    Args:
        graph, parameters, constants: the cell, an `Integrator`, as `nnx.split` takes it apart. The
            constants get no gradient.
        axis: of time in x, (N, T, B) or (T, B, ...).
        feedback: weight (N, N), source first, and bias (N, 1) or None; or None for no feedback.
        start, z: state and output before the first step.

    Returns:
        Output, membrane and current (or None) of every step, shaped like x.
    """
    return _keep(graph, axis, parameters, constants, feedback, x, start, z)[0]


def _keep(graph, axis, parameters, constants, feedback, x, start, z):
    cell = nnx.merge(graph, parameters, constants)
    back = None if feedback is None else (_turned(feedback[0]), feedback[1])
    # The membrane takes the place of the input, which nobody needs any more. Not so where the input
    # goes straight into a membrane with feedback: XLA would copy all steps in every step.
    alone = _alone(cell, feedback)
    in_place = alone or cell.alpha is not None

    def step(t, carry):
        z, state, kept = carry
        if alone:
            # Its reset comes with the next step: one pass over the neurons instead of two.
            state = jnp.where(t == 0, start, cell.emit(state)[1])
        u, i = cell.integrate(_drive(back, _at(axis, kept[0] if in_place else x, t), z), state)
        kept = _put(axis, kept, (u, i), t)
        if alone:
            return z, u, kept
        z, v = cell.emit(u)
        return z, v if i is None else (v, i), kept

    room = None if alone else jnp.zeros_like(x)
    kept = (x, room) if in_place else (room, None)
    *_, (u, i) = jax.lax.fori_loop(0, x.shape[axis], step, (z, start, kept))
    out, v = jax.vmap(cell.emit, axis, axis)(u)
    return (out, v, i), (parameters, constants, feedback, u, out, i, start, z)


def _alone(cell, feedback):
    """Whether a step needs nothing of the one before but the membrane."""
    return cell.alpha is None and feedback is None


def _forwards(graph, axis, *arguments):
    return _keep(graph, axis, *jax.tree.map(lambda argument: argument.value, arguments))


def _backwards(graph, axis, saved, cotangents):
    parameters, constants, feedback, u, out, i, start, z = saved
    cell = nnx.merge(graph, parameters, constants)
    steps = u.shape[axis]
    nothing = jnp.zeros_like(z)

    of_out, room = cotangents[0], jnp.zeros_like(u)
    in_place = _alone(cell, feedback) and not isinstance(of_out, SymbolicZero)

    def step(n, carry):
        of_x, of_state, (of_xs, of_states) = carry
        t = steps - 1 - n
        of_z = _at(axis, of_xs if in_place else of_out, t)
        of_v, of_i = (_at(axis, cotangent, t) for cotangent in cotangents[1:])
        if feedback is not None:
            of_z = of_z + matmul(feedback[0], of_x)
        of_v = of_v + (of_state if i is None else of_state[0])
        _, pull = jax.vjp(cell.emit, _at(axis, u, t))
        (of_u,) = pull((of_z, of_v))
        of_i = None if i is None else of_i + of_state[1]
        # It is linear, so its gradient is the same everywhere, at 0, too.
        _, pull = jax.vjp(cell.integrate, nothing, jax.tree.map(jnp.zeros_like, start))
        of_x, of_state = pull((of_u, of_i))
        return of_x, of_state, _put(axis, (of_xs, of_states), (of_x, (of_u, of_i)), t)

    # What is kept for a gradient that nobody uses, such as that of fixed decays, the compiler drops.
    kept = of_out if in_place else room, (room, None if i is None else room)
    empty = nothing, jax.tree.map(jnp.zeros_like, start), kept
    of_x, of_start, (of_xs, of_states) = jax.lax.fori_loop(0, steps, step, empty)

    def every_step(parameters):
        cell = nnx.merge(graph, parameters, constants)
        _, v = jax.vmap(cell.emit, axis, axis)(u)
        v, current = _before(axis, v, start if i is None else start[0]), None
        if i is not None:
            current = _before(axis, i, start[1])
        one = partial(cell.integrate, nothing)
        return jax.vmap(one, axis, axis)(v if i is None else (v, current))

    (of_parameters,) = jax.vjp(every_step, parameters)[1](of_states)
    of_feedback, of_z = None, nothing
    if feedback is not None:
        weight, bias = feedback
        of_bias = None if bias is None else of_xs.sum((1, 2)).reshape(bias.shape)
        of_feedback = _product(_before(axis, out, z), of_xs), of_bias
        of_z = matmul(weight, of_x)
    none = jax.tree.map(jnp.zeros_like, constants)
    return of_parameters, none, of_feedback, of_xs, of_start, of_z


_walk.defvjp(_forwards, _backwards, symbolic_zeros=True)


def _drive(feedback, x, z):
    """Input of a cell, (N, B), with what came back: z of the step before."""
    if feedback is None:
        return x
    weight, bias = feedback
    x = x + matmul(weight, z)
    return x if bias is None else x + bias


def _before(axis, sequence, start):
    """What the steps began with: `start`, then the sequence without its last step."""
    first = jnp.expand_dims(start, axis)
    return jnp.concatenate(
        [first, jax.lax.slice_in_dim(sequence, 0, sequence.shape[axis] - 1, axis=axis)], axis
    )


def _at(axis, sequence, t):
    """Step t of an array, or 0 of a gradient that nobody asked for."""
    if sequence is None or isinstance(sequence, SymbolicZero):
        return 0.0
    return jax.lax.dynamic_index_in_dim(
        sequence, t, axis, keepdims=False, allow_negative_indices=False
    )


def _put(axis, sequences, now, t):
    """Arrays with step t replaced."""
    return jax.tree.map(
        lambda sequence, value: jax.lax.dynamic_update_index_in_dim(
            sequence, value, t, axis, allow_negative_indices=False
        ),
        sequences,
        now,
    )


def _float32(state):
    """Fixed dtypes: a weakly typed state would be compiled a second time."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), state)
