"""The one engine that runs a network over time: for training, evaluation and parity.

`run` has the signature and the result of `spyx.nn.run`, and works layer by layer: a layer without
state sees all time steps as one big batch, and only neurons walk through time. What is no
`Sequential` is scanned as a whole.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import spyx.nn as snn
from flax import nnx

from pipeline import convolution


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
        else:
            (x, states), _ = _scan(_with_states(layer), x, start)
        layers.append((x, states))
    return x, layers


def _fold(layer, x):
    """Apply a layer without state to x (T, B, ...), all steps at once."""
    steps, batch = x.shape[:2]
    x = x.reshape(steps * batch, *x.shape[2:])
    out = convolution.apply(layer, x) if convolution.fits(layer) else layer(x)
    return out.reshape(steps, batch, *out.shape[1:])


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


def _float32(state):
    """Fixed dtypes: a weakly typed state would be compiled a second time."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), state)
