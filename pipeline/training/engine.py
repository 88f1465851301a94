"""The one engine that runs a network over time: for training, evaluation and parity.

`run` has the signature and the result of `spyx.nn.run`, and works layer by layer: a layer without
state sees all time steps as one big batch, and only neurons are scanned over time. A model that is no
`Sequential` is scanned as a whole.

Training spends its time in those scans, a few small operations a step, so the neurons of
`spyx_nir.neurons` have a scan with a gradient of its own, `_scan`. Its forward pass saves the membrane
alone. Its backward pass computes in the loop only what depends on the next step; the gradients of all
parameters are computed after it, in one sum over all steps. Neurons are computed with the batch as the
last axis, (N, T, B): it is the longer one and fills the processor's vectors. Every operation has a
transpose at each end for that, and where two operations meet, the compiler drops both.

Names: `ct_x` is the cotangent (gradient of the loss) of x; `z` is the output of the step before.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import spyx.nn as snn
from flax import nnx
from jax.custom_derivatives import SymbolicZero

from spyx_nir import neurons
from spyx_nir.deterministic import convolution
from spyx_nir.deterministic.matmul import matmul

Tree = Any  # a pytree of arrays
Feedback = tuple[jax.Array, jax.Array | None] | None  # weight (N, N), source first; bias (N, 1)


class Cell(NamedTuple):
    """What a scan needs to know of its neurons besides numbers; it is part of the compiled program.

    graph: of the cell, a `neurons.Integrator`, from `nnx.split`.
    axis: of time in x, 1 for (N, T, B), 0 for (T, B, ...).
    """

    graph: Any
    axis: int

    def merge(self, weights: Weights) -> neurons.Integrator:
        """The cell with its numbers."""
        return nnx.merge(self.graph, weights.parameters, weights.constants)


class Weights(NamedTuple):
    """The numbers of a cell, from `nnx.split`; the constants get no gradient."""

    parameters: Tree
    constants: Tree
    feedback: Feedback


class Start(NamedTuple):
    """The state, and the output `z`, before the first step: (N, B) or (B, ...)."""

    state: Tree
    z: jax.Array


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
        step, a pytree with leading T, or None for a layer without state). Its layers are those of
        `layers`.
    """
    x = jnp.asarray(x, jnp.float32)
    state = model.initial_state(x.shape[1]) if state is None else state
    graph, variables = nnx.split(model)
    return _trace(graph, variables, x, _float32(state))


@partial(jax.jit, static_argnums=0)
def _run(graph: Any, variables: Tree, x: jax.Array, state: Tree) -> tuple[jax.Array, Tree]:
    model = nnx.merge(graph, variables)
    if not isinstance(model, snn.Sequential):
        return _scan_any(model, x, state)
    final = []
    for layer, start in zip(model.layers, state, strict=True):
        if start is None:
            x, end = _apply_stateless(layer, x), None
        elif _is_integrator(layer):
            x, states = _scan_neurons(layer, x, start)
            end = jax.tree.map(lambda leaf: leaf[-1], states)
        else:
            x, end = _scan_any(layer, x, start)
        final.append(end)
    return x, final


@partial(jax.jit, static_argnums=0)
def _trace(
    graph: Any, variables: Tree, x: jax.Array, state: Tree
) -> tuple[jax.Array, list[tuple[jax.Array, Tree]]]:
    model = nnx.merge(graph, variables)
    if not isinstance(model, snn.Sequential):
        (out, seen), _ = _scan_any(_with_layers(model), x, state)
        return out, list(map(tuple, seen))
    layers = []
    for layer, start in zip(model.layers, state, strict=True):
        if start is None:
            x, states = _apply_stateless(layer, x), None
        elif _is_integrator(layer):
            x, states = _scan_neurons(layer, x, start)
        else:
            (x, states), _ = _scan_any(_with_states(layer), x, start)
        layers.append((x, states))
    return x, layers


def _apply_stateless(layer: Any, x: jax.Array) -> jax.Array:
    """Apply a layer without state to x (T, B, ...), all steps at once."""
    if x.ndim == 3 and _is_plain_linear(layer):
        return _linear(layer, x)
    steps, batch = x.shape[:2]
    x = x.reshape(steps * batch, *x.shape[2:])
    out = convolution.apply(layer, x) if convolution.fits(layer) else layer(x)
    return out.reshape(steps, batch, *out.shape[1:])


def _is_plain_linear(layer: Any) -> bool:
    """Whether `_linear` computes what the layer does: float32 with JAX's own product."""
    return (
        type(layer) is nnx.Linear
        and layer.dtype in (None, jnp.float32)
        and layer.dot_general is jax.lax.dot_general
    )


def _linear(layer: nnx.Linear, x: jax.Array) -> jax.Array:
    """`layer(x)` for an `nnx.Linear` and x (T, B, inputs), computed with the batch last."""
    out = _matmul(layer.kernel[...], jnp.moveaxis(x, -1, 0))
    if layer.bias is not None:
        out = out + layer.bias[...][:, None, None]
    return jnp.moveaxis(out, 0, -1)


@jax.custom_vjp
def _matmul(kernel: jax.Array, x: jax.Array) -> jax.Array:
    """Kernel (inputs, outputs) and x (inputs, T, B) to (outputs, T, B).

    It has its own gradient, because the one that JAX derives transposes x twice.
    """
    return matmul(_transpose(kernel), x.reshape(len(x), -1)).reshape(-1, *x.shape[1:])


_matmul.defvjp(
    lambda kernel, x: (_matmul(kernel, x), (kernel, x)),
    lambda saved, ct_out: (_outer_sum(saved[1], ct_out), _matmul(saved[0].T, ct_out)),
)


def _transpose(weight: jax.Array) -> jax.Array:
    """A matrix transposed in memory: with its transpose XLA would choose a slower product."""
    return jax.lax.optimization_barrier(weight.T)


def _outer_sum(a: jax.Array, b: jax.Array) -> jax.Array:
    """Sum over steps and samples: a (N, T, B) and b (M, T, B) to (N, M)."""
    return matmul(a.reshape(len(a), -1), b.reshape(len(b), -1).T)


def _scan_any(layer: Any, x: jax.Array, state: Tree) -> tuple[Any, Tree]:
    """Scan any layer with state over time: outputs (T, B, ...) and the last state."""

    def step(carry: Tree, x_t: jax.Array) -> tuple[Tree, Any]:
        out, carry = layer(x_t, carry)
        return carry, out

    final, outputs = jax.lax.scan(step, state, x)
    return outputs, final


def _with_states(layer: Any) -> Any:
    def both(x_t: jax.Array, carry: Tree) -> tuple[tuple[jax.Array, Tree], Tree]:
        out, carry = layer(x_t, carry)
        return (out, carry), carry

    return both


def layers(model: Any, x: jax.Array) -> list[tuple[str, Any]]:
    """The layers of a network as `trace` lists them, each with its path.

    All of a Sequential; of another module those with a state, in the order in which it runs them.

    Args:
        x: one step, (B, ...), channels last.
    """
    if isinstance(model, snn.Sequential):
        return [(f"layers.{index}", layer) for index, layer in enumerate(model.layers)]
    paths = {id(part): ".".join(map(str, path)) for path, part in nnx.iter_modules(model)}
    found: list[tuple[str, Any]] = []

    def step() -> Any:
        called = _called(model, x, model.initial_state(len(x)))[2]
        found.extend((paths.get(id(layer), ""), layer) for layer, *_ in called)
        return ()

    jax.eval_shape(step)
    return found


def run_changing(model: Any, x: jax.Array) -> tuple[jax.Array, list[jax.Array], Any]:
    """Run a module whose layers write into their own variables, as BatchNorm and Dropout do in training.

    Every step of time is one call of the layers: BatchNorm normalises over the batch of a step, Dropout
    draws anew.

    Args:
        x: (T, B, ...), channels last.

    Returns:
        Outputs (T, B, ...), the outputs of the layers with state, and all variables but the parameters
        as they are after the last step.
    """
    parts: Any = nnx.split(model, nnx.Param, ...)
    graph, parameters, others = parts

    def step(carry: Tree, x_t: jax.Array) -> tuple[Tree, Any]:
        others, state = carry
        copied = nnx.merge(graph, parameters, others)
        out, state, called = _called(copied, x_t, state)
        after: Any = nnx.split(copied, nnx.Param, ...)
        return (after[2], state), (out, [output for _, output, _ in called])

    start = others, model.initial_state(x.shape[1])
    (others, _), (outputs, seen) = jax.lax.scan(step, start, x)
    return outputs, seen, others


def _with_layers(model: Any) -> Any:
    """One step of a module that also gives output and state of every layer with a state."""

    def step(x_t: jax.Array, carry: Tree) -> tuple[Any, Tree]:
        out, carry, called = _called(model, x_t, carry)
        return (out, [(output, state) for _, output, state in called]), carry

    return step


def _called(model: Any, x: jax.Array, state: Tree) -> tuple[Any, Tree, list[tuple[Any, Any, Any]]]:
    """Output and state of one step, and (layer, output, state) of every layer with a state."""
    from spyx_nir.converter.layers import GraphModel
    from spyx_nir.converter.trace.calls import watching

    if isinstance(model, GraphModel):
        out, state, values = model.step(x, state)
        layers = dict(zip(model.paths, model.layers, strict=True))
        held = [path for path in model.paths if path in state["layers"]]
        return out, state, [(layers[p], values[p], state["layers"][p]) for p in held]
    called: list[tuple[Any, Any, Any]] = []

    def seen(layer: Any, output: Any) -> None:
        if hasattr(layer, "initial_state"):
            called.append((layer, *output))

    with watching(model, seen):
        out, state = model(x, state)
    return out, state, called


def _is_integrator(layer: Any) -> bool:
    """Whether `_scan_neurons` knows the layer: a neuron that is linear from one reset to the next."""
    cell = layer.cell if type(layer) is neurons.Recurrent else layer
    return (
        isinstance(cell, neurons.Integrator)
        and not isinstance(cell, neurons.MultiSpike)
        and getattr(cell, "reset", None) in (None, "v_reset", "subtract")
        and cell.gain_x is None
    )


def _scan_neurons(layer: Any, x: jax.Array, start: Tree) -> tuple[jax.Array, Tree]:
    """A neuron layer over x (T, B, ...) from the state `start`: outputs and states (T, B, ...)."""
    x = x.astype(jnp.float32)  # what a step would make of it
    feedback: Feedback = None
    z = jnp.zeros_like(x[0])
    cell = layer
    if isinstance(layer, neurons.Recurrent):
        cell = layer.cell
        bias = layer.recurrent_b
        feedback = layer.recurrent_w[...], None if bias is None else bias[...][:, None]
        start, z = start
    # Neurons of a vector have the batch last, those of an image stay as they are.
    axis = 1 if x.ndim == 3 else 0
    split: Any = nnx.split(cell, nnx.Param, ...)
    graph, parameters, constants = split
    if axis == 1:
        parameters, constants = jax.tree.map(
            lambda p: p[:, None] if p.ndim == 1 else p, (parameters, constants)
        )
        x = jnp.moveaxis(x, -1, 0)
        start, z = jax.tree.map(jnp.transpose, (start, z))
    weights = Weights(parameters, constants, feedback)
    out, v, i = _scan(Cell(graph, axis), weights, x, Start(start, z))
    if axis == 1:
        out, v, i = jax.tree.map(lambda a: jnp.moveaxis(a, 0, -1), (out, v, i))
    states = v if i is None else (v, i)
    return out, states if feedback is None else (states, out)


Steps = tuple[jax.Array, jax.Array, jax.Array | None]  # output, membrane, current; shaped like x
Saved = tuple[
    Weights, jax.Array, jax.Array, jax.Array | None, Start
]  # with u before the reset, out, i


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _scan(cell: Cell, weights: Weights, x: jax.Array, start: Start) -> Steps:
    """A cell over time: output, membrane and current (or None) of every step, shaped like x.

    Args:
        x: (N, T, B) or (T, B, ...), by `cell.axis`.
    """
    return _forward(cell, weights, x, start)[0]


def _forward(cell: Cell, weights: Weights, x: jax.Array, start: Start) -> tuple[Steps, Saved]:
    neuron, axis, feedback = cell.merge(weights), cell.axis, weights.feedback
    back = None if feedback is None else (_transpose(feedback[0]), feedback[1])
    # The membrane takes the place of the input, which nothing needs any more. Not so where the input
    # goes straight into a membrane with feedback: XLA would copy all steps in every step.
    fused = _membrane_alone(neuron, feedback)
    in_place = fused or neuron.alpha is not None

    def step(t: jax.Array, carry: Tree) -> Tree:
        z, state, saved = carry
        if fused:
            # Its reset comes with the next step: one pass over the neurons instead of two.
            state = jnp.where(t == 0, start.state, neuron.emit(state)[1])
        drive = _drive(back, _at(axis, saved[0] if in_place else x, t), z)
        u, i = neuron.integrate(drive, state)
        saved = _put(axis, saved, (u, i), t)
        if fused:
            return z, u, saved
        z, v = neuron.emit(u)
        return z, v if i is None else (v, i), saved

    buffer = None if fused else jnp.zeros_like(x)
    saved = (x, buffer) if in_place else (buffer, None)
    *_, (u, i) = jax.lax.fori_loop(0, x.shape[axis], step, (start.z, start.state, saved))
    out, v = jax.vmap(neuron.emit, axis, axis)(u)
    return (out, v, i), (weights, u, out, i, start)


def _membrane_alone(neuron: neurons.Integrator, feedback: Feedback) -> bool:
    """Whether a step needs nothing of the one before but the membrane."""
    return neuron.alpha is None and feedback is None


def _forward_of_primals(cell: Cell, *arguments: Tree) -> tuple[Steps, Saved]:
    """`_forward`, from arguments as JAX gives them with `symbolic_zeros`."""
    return _forward(cell, *jax.tree.map(lambda argument: argument.value, arguments))


def _backward(cell: Cell, saved: Saved, cotangents: Tree) -> tuple[Weights, jax.Array, Start]:
    """The cotangents of weights, x and start, from those of `Steps`."""
    weights, _, out, _, start = saved
    ct_x, ct_state, ct_xs, ct_states = _backward_steps(cell, saved, cotangents)
    (ct_parameters,) = jax.vjp(_all_steps(cell, saved), weights.parameters)[1](ct_states)
    ct_feedback, ct_z = None, jnp.zeros_like(start.z)
    if weights.feedback is not None:
        weight, bias = weights.feedback
        ct_bias = None if bias is None else ct_xs.sum((1, 2)).reshape(bias.shape)
        ct_feedback = _outer_sum(_shifted(cell.axis, out, start.z), ct_xs), ct_bias
        ct_z = matmul(weight, ct_x)
    none = jax.tree.map(jnp.zeros_like, weights.constants)
    return Weights(ct_parameters, none, ct_feedback), ct_xs, Start(ct_state, ct_z)


def _backward_steps(
    cell: Cell, saved: Saved, cotangents: Tree
) -> tuple[jax.Array, Tree, jax.Array, Tree]:
    """From the last step to the first: the first step's cotangents of input and state, then those of
    the input and of (u, i) in every step."""
    weights, u, _, i, start = saved
    neuron, axis, feedback = cell.merge(weights), cell.axis, weights.feedback
    steps = u.shape[axis]
    nothing = jnp.zeros_like(start.z)
    ct_out, buffer = cotangents[0], jnp.zeros_like(u)
    in_place = _membrane_alone(neuron, feedback) and not isinstance(ct_out, SymbolicZero)

    def step(n: jax.Array, carry: Tree) -> Tree:
        ct_x, ct_state, (ct_xs, ct_states) = carry
        t = steps - 1 - n
        ct_z = _at(axis, ct_xs if in_place else ct_out, t)
        ct_v, ct_i = (_at(axis, cotangent, t) for cotangent in cotangents[1:])
        if feedback is not None:
            ct_z = ct_z + matmul(feedback[0], ct_x)
        ct_v = ct_v + (ct_state if i is None else ct_state[0])
        _, pull = jax.vjp(neuron.emit, _at(axis, u, t))
        (ct_u,) = pull((ct_z, ct_v))
        ct_i = None if i is None else ct_i + ct_state[1]
        # It is linear, so its gradient is the same everywhere, at 0, too.
        _, pull = jax.vjp(neuron.integrate, nothing, jax.tree.map(jnp.zeros_like, start.state))
        ct_x, ct_state = pull((ct_u, ct_i))
        return ct_x, ct_state, _put(axis, (ct_xs, ct_states), (ct_x, (ct_u, ct_i)), t)

    # What is saved for a gradient that nothing uses, such as that of fixed decays, the compiler drops.
    every = ct_out if in_place else buffer, (buffer, None if i is None else buffer)
    empty = nothing, jax.tree.map(jnp.zeros_like, start.state), every
    ct_x, ct_state, (ct_xs, ct_states) = jax.lax.fori_loop(0, steps, step, empty)
    return ct_x, ct_state, ct_xs, ct_states


def _all_steps(cell: Cell, saved: Saved) -> Any:
    """All steps at once as a function of the cell's parameters: (u, i) without input."""
    weights, u, _, i, start = saved
    axis = cell.axis

    def integrate(parameters: Tree) -> tuple[jax.Array, jax.Array | None]:
        neuron = cell.merge(weights._replace(parameters=parameters))
        _, v = jax.vmap(neuron.emit, axis, axis)(u)
        v, current = _shifted(axis, v, start.state if i is None else start.state[0]), None
        if i is not None:
            current = _shifted(axis, i, start.state[1])
        one = partial(neuron.integrate, jnp.zeros_like(start.z))
        return jax.vmap(one, axis, axis)(v if i is None else (v, current))

    return integrate


_scan.defvjp(_forward_of_primals, _backward, symbolic_zeros=True)


def _drive(feedback: Feedback, x: jax.Array, z: jax.Array) -> jax.Array:
    """Input of a cell, (N, B), with what came back: z of the step before."""
    if feedback is None:
        return x
    weight, bias = feedback
    x = x + matmul(weight, z)
    return x if bias is None else x + bias


def _shifted(axis: int, sequence: jax.Array, start: jax.Array) -> jax.Array:
    """What the steps began with: `start`, then the sequence without its last step."""
    first = jnp.expand_dims(start, axis)
    return jnp.concatenate(
        [first, jax.lax.slice_in_dim(sequence, 0, sequence.shape[axis] - 1, axis=axis)], axis
    )


def _at(axis: int, sequence: Any, t: jax.Array) -> Any:
    """Step t of an array, or 0 of a gradient that nothing asked for."""
    if sequence is None or isinstance(sequence, SymbolicZero):
        return 0.0
    return jax.lax.dynamic_index_in_dim(
        sequence, t, axis, keepdims=False, allow_negative_indices=False
    )


def _put(axis: int, sequences: Tree, now: Tree, t: jax.Array) -> Tree:
    """Arrays with step t replaced."""
    return jax.tree.map(
        lambda sequence, value: jax.lax.dynamic_update_index_in_dim(
            sequence, value, t, axis, allow_negative_indices=False
        ),
        sequences,
        now,
    )


def _float32(state: Tree) -> Tree:
    """Fixed dtypes: a weakly typed state would be compiled a second time."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), state)
