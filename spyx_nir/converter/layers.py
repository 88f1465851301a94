"""Layers for what NIR has and Flax and Spyx lack, with Spyx's layer contract; channels last.

`GraphModel` runs any graph: branches, sums, cycles, several inputs and outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from spyx_nir.converter.layout import last
from spyx_nir.meaning.plan import Plan
from spyx_nir.neurons import Constant, surrogate


class Scale(nnx.Module):
    """y = scale * x; `scale` broadcasts against (B, *shape)."""

    def __init__(self, scale: Any):
        self.scale = nnx.Param(jnp.asarray(scale, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return x * self.scale[...]


class Threshold(nnx.Module):
    """z = 1 where x > threshold, else 0, with a surrogate gradient."""

    def __init__(self, threshold: Any):
        self.threshold = Constant(jnp.asarray(threshold, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        return surrogate()(x - self.threshold[...])


class Delay(nnx.Module):
    """The input `steps` steps ago, per element; zeros before the start.

    `steps` is a whole number or an array of `hidden_shape`. State: the input of step t at place
    t % (longest delay + 1), (longest delay + 1, B, *hidden_shape), and t; a step writes one place of it
    and reads one number for each element.
    """

    def __init__(self, hidden_shape: Sequence[int], steps: Any):
        self.hidden_shape = tuple(hidden_shape)
        self.steps = tuple(int(n) for n in np.broadcast_to(steps, self.hidden_shape).ravel())

    def __call__(
        self, x: jax.Array, state: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        """One step: x (B, *hidden_shape) and the last inputs to output and new last inputs."""
        past, t = state
        steps = jnp.asarray(self.steps, jnp.int32).reshape(self.hidden_shape)
        past = jax.lax.dynamic_update_index_in_dim(past, x.astype(past.dtype), t, 0)
        index = jnp.broadcast_to((t - steps) % len(past), x.shape)[None]
        return jnp.take_along_axis(past, index, axis=0)[0], (past, (t + 1) % len(past))

    def initial_state(self, batch_size: int) -> tuple[jax.Array, jax.Array]:
        """Zeros: nothing arrived before the first step."""
        shape = (max(self.steps) + 1, batch_size, *self.hidden_shape)
        return jnp.zeros(shape, jnp.float32), jnp.zeros((), jnp.int32)


class SpikeDelay(nnx.Module):
    """A neuron whose spike is delayed by one step. State: (state of the neuron, spikes (B, ...))."""

    def __init__(self, neuron: Any):
        self.neuron = neuron

    def __call__(self, x: jax.Array, state: Any) -> tuple[jax.Array, Any]:
        """One step: x (B, *hidden_shape) and state to the spikes of the step before and new state."""
        inner, fired = state
        z, inner = self.neuron(x, inner)
        return fired, (inner, z)

    def initial_state(self, batch_size: int) -> Any:
        """The neuron's own state, and no spikes."""
        zeros = jnp.zeros((batch_size, *self.neuron.hidden_shape), jnp.float32)
        return self.neuron.initial_state(batch_size), zeros


class Pool(nnx.Module):
    """Sum or average pooling of (..., H, W, C) with zeros around; the average counts the padding.

    `padding` has a number for each axis, or a pair of numbers for before and after it.
    """

    def __init__(
        self,
        window: Sequence[int],
        strides: Sequence[int],
        padding: Sequence[int | tuple[int, int]],
        *,
        average: bool,
    ):
        self.window, self.strides, self.padding = tuple(window), tuple(strides), tuple(padding)
        self.average = average

    def __call__(self, x: jax.Array) -> jax.Array:
        one, none = (1,) * (x.ndim - 3), [(0, 0)] * (x.ndim - 3)
        pads = [*none, *((p, p) if isinstance(p, int) else p for p in self.padding), (0, 0)]
        total = jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (*one, *self.window, 1), (*one, *self.strides, 1), pads
        )
        return total / float(np.prod(self.window)) if self.average else total


class FlattenFirst(nnx.Module):
    """Reshape (B, *shape) to (B, *out) in channels-first order; `shape`, `out` are NIR shapes."""

    nir_order = True  # what leaves is in NIR's order, unlike behind a `spyx.nn.Flatten`

    def __init__(self, shape: Sequence[int], out: Sequence[int]):
        self.shape, self.out = tuple(shape), tuple(out)

    def __call__(self, x: jax.Array) -> jax.Array:
        first = _first(x, len(self.shape))
        return _last(first.reshape(x.shape[0], *self.out), len(self.out))


class MatrixPerIndex(nnx.Module):
    """NIR's Linear with a weight (..., out, in): one matrix per leading index."""

    def __init__(self, weight: Any, bias: Any):
        self.weight = nnx.Param(jnp.asarray(weight))
        self.bias = None if bias is None else nnx.Param(jnp.asarray(bias))

    def __call__(self, x: jax.Array) -> jax.Array:
        rank = self.weight[...].ndim - 1
        y = jnp.einsum("...oi,b...i->b...o", self.weight[...], _first(x, rank))
        y = y if self.bias is None else y + self.bias[...]
        return _last(y, rank)


def _first(x: jax.Array, rank: int) -> jax.Array:
    """The last `rank` axes from channels last to channels first."""
    return jnp.moveaxis(x, -1, -rank) if rank in (2, 3) else x


def _last(x: jax.Array, rank: int) -> jax.Array:
    """The last `rank` axes from channels first to channels last."""
    return jnp.moveaxis(x, -rank, -1) if rank in (2, 3) else x


class GraphModel(nnx.Module):
    """A graph that is no chain, as one module with Spyx's layer contract.

    `x` is (B, *shape) channels last, or a mapping from input name to such arrays; the output likewise,
    a mapping where there are several Outputs.

    State: {"layers": {path: state of that layer},
            "previous": {path: output of the step before, where an edge closes a cycle},
            "fired": {path: spikes of the step before, where the contract delays them}}.
    """

    def __init__(self, plan: Plan, layers: dict[str, Any]):
        self.inputs, self.outputs = tuple(plan.inputs), tuple(plan.outputs)
        self.order = tuple(p for p in plan.order if p not in plan.inputs)
        self.quiet = tuple(plan.quiet)
        self.sources = tuple((p, tuple(plan.sources[p])) for p in self.order)
        self.shapes = tuple((p, plan.shapes[p]) for p in plan.order)  # channels first
        self.delayed = tuple(p for p in self.order if plan.nodes[p].get("spike_delay"))
        self.stored = tuple(
            sorted({s for found in plan.sources.values() for s, closes in found if closes})
        )
        self.paths = tuple(layers)
        self.layers = nnx.List(list(layers.values()))

    def initial_state(self, batch_size: int) -> Any:
        """Zero state; what closes a cycle starts with what it gives when every neuron is silent."""
        shapes, sources = dict(self.shapes), dict(self.sources)
        layers = dict(zip(self.paths, self.layers, strict=True))
        silent = {p: jnp.zeros((batch_size, *last(s)), jnp.float32) for p, s in shapes.items()}
        for path in self.quiet:
            found = [silent[source] for source, _ in sources[path]]
            value = sum(found[1:], found[0])
            silent[path] = layers[path](value) if path in layers else value
        return {
            "layers": {
                path: layer.initial_state(batch_size)
                for path, layer in layers.items()
                if hasattr(layer, "initial_state")
            },
            "previous": {path: silent[path] for path in self.stored},
            "fired": {path: silent[path] for path in self.delayed},
        }

    def __call__(self, x: Any, state: Any) -> tuple[Any, Any]:
        """One step."""
        outputs, state, _ = self.step(x, state)
        return outputs, state

    def step(self, x: Any, state: Any) -> tuple[Any, Any, dict[str, jax.Array]]:
        """One step; also what left every node."""
        sources = dict(self.sources)
        layers = dict(zip(self.paths, self.layers, strict=True))
        values = dict(x) if isinstance(x, dict) else {self.inputs[0]: x}
        values |= state["fired"]
        fired, states = {}, {}
        for path in self.order:
            found = [
                state["previous"][source] if closes else values[source]
                for source, closes in sources[path]
            ]
            y = sum(found[1:], found[0])
            if path in state["layers"]:
                y, states[path] = layers[path](y, state["layers"][path])
            elif path in layers:
                y = layers[path](y)
            if path in state["fired"]:
                fired[path] = y
            else:
                values[path] = y
        outputs = {path: values[path] for path in self.outputs}
        state = {
            "layers": states,
            "previous": {path: values[path] for path in self.stored},
            "fired": fired,
        }
        only = len(self.outputs) == 1
        return outputs[self.outputs[0]] if only else outputs, state, values
