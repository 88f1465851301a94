"""Networks in a chip's integers in JAX: for quantisation-aware training (QAT) and whole test sets.

Numbers are float32 that hold integers, which is exact up to 2^24: states of 16 and 24 bits, and sums of
currents that stay within. Forwards this is the chip, spike for spike; backwards every rounding passes
the gradient on (straight-through), and the count of spikes has a surrogate slope. One thing differs
from the simulators: currents are summed before they saturate, not spike by spike.

One step of a family's neurons is in `families/<family>/qat.py`. Arrays are time-major; within these
modules spatial ones are channels last, (T, B, H, W, C), as XLA's convolutions are fastest; `run` takes
and gives channels first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from spyx_nir.deterministic import convolution
from spyx_nir.deterministic.matmul import matmul
from spyx_nir.errors import GraphError
from spyx_nir.hardware import registry, simulate
from spyx_nir.hardware.network import IntegerNetwork, Weight


class Trace(NamedTuple):
    """As `network.Run`, without states. spikes: population -> (T, B, *shape), float32 counts.

    Of a population whose membrane is read it is the membrane, in units of its float model.
    """

    spikes: dict[str, jax.Array]
    saturated: dict[str, jax.Array]
    multiple: dict[str, jax.Array]
    ties: dict[str, jax.Array]


def run(
    network: IntegerNetwork,
    x: jax.Array,
    steepness: float = 1.0,
) -> Trace:
    """Simulate; can be traced, compiled and differentiated.

    Args:
        network: its weights, and decays n / 4096, may be arrays of JAX, float32 that hold integers.
        x: (T, B, *shape) of the one input, counts of spikes, channels first.
        steepness: of the surrogate slope.

    Raises:
        GraphError: several inputs, populations on a cycle, or no integer semantics.
    """
    profile = network.profile
    training = registry.family(profile).training()
    if len(network.inputs) != 1:
        raise GraphError(f"one input is needed, the network has {sorted(network.inputs)}")
    (name,) = network.inputs
    most = profile["neuron.input_spikes_per_step"]
    events = jnp.asarray(x, jnp.float32)
    known = {name: last(events if most is None else jnp.minimum(events, most))}
    weights = [(w, jnp.asarray(w.values, jnp.float32)) for w in network.weights]
    counts: dict[str, dict[str, jax.Array]] = {"saturated": {}, "multiple": {}, "ties": {}}
    for population in network.populations:
        drive: Any = 0.0
        back = None
        for weight, value in weights:
            if weight.target != population.name:
                continue
            if weight.source == population.name:
                back = value if back is None else back + value
                continue
            if weight.source not in known:
                raise GraphError(
                    f"`{population.name}` and `{weight.source}` feed each other; a cycle of several "
                    "populations is simulated in NumPy alone"
                )
            arriving = known[weight.source]
            if simulate.is_delayed(network, weight.source):
                arriving = jnp.concatenate([jnp.zeros_like(arriving[:1]), arriving[:-1]])
            drive = drive + currents(weight, value, arriving)
        step, start = training.neuron_step(network, population, steepness)
        spikes, counters = _scan(step, start(drive.shape[1:]), drive, back)
        known[population.name] = spikes
        for what, each in counters.items():
            counts[what][population.name] = each.sum()
    del known[name]
    return Trace({key: first(spikes) for key, spikes in known.items()}, **counts)


def _scan(neurons: Callable[..., Any], state: Any, drive: jax.Array, back: jax.Array | None) -> Any:
    """Run neurons through time: spikes (T, B, ...) and per step what is counted."""

    def step(carry: Any, x: jax.Array) -> tuple[Any, Any]:
        state, last = carry
        state, spikes, counters = neurons(state, x if back is None else x + matmul(last, back.T))
        return (state, spikes), (spikes, counters)

    return lax.scan(step, (state, jnp.zeros_like(drive[0])), drive)[1]


def currents(weight: Weight, values: jax.Array, spikes: jax.Array) -> jax.Array:
    """What arrives at the target in every step: (T, B, *source shape) to (T, B, *target shape)."""
    if weight.delay is not None:
        total: Any = 0.0
        for steps in np.unique(weight.delay):
            silent = jnp.zeros((min(int(steps), len(spikes)), *spikes.shape[1:]), spikes.dtype)
            delayed = jnp.concatenate([silent, spikes[: len(spikes) - len(silent)]])
            some = jnp.where(weight.delay == steps, values, 0.0)
            total = total + currents(replace(weight, delay=None), some, delayed)
        return jnp.asarray(total)
    steps, batch = spikes.shape[:2]
    x = spikes.reshape(steps * batch, *spikes.shape[2:])
    for size in weight.pools:
        n, h, w, c = x.shape
        x = x[:, : h // size * size, : w // size * size]
        x = x.reshape(n, h // size, size, w // size, size, c).sum(axis=(2, 4))
    if values.ndim == 2:
        flat = jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x  # NIR flattens (C, H, W)
        out = matmul(flat.reshape(len(x), -1), values.T)
    else:
        padding = tuple((p, p) for p in weight.padding)
        kernel = _kernel(weight, values).transpose(2, 3, 1, 0)
        out = convolution.convolve(weight.stride, padding, x, kernel)
    return out.reshape(steps, batch, *out.shape[1:])


def _kernel(weight: Weight, values: jax.Array) -> jax.Array:
    """See `Weight.kernel`."""
    if weight.groups == 1 and weight.dilation == (1, 1):
        return values
    # Where each weight is in the dense kernel; the rest stays 0, and has no gradient.
    numbers = np.arange(1, values.size + 1).reshape(values.shape)
    places = weight.kernel(numbers)
    return jnp.where(places > 0, values.reshape(-1)[places - 1], 0.0)


def last(x: jax.Array) -> jax.Array:
    """(T, B, C, H, W) with channels last; other ranks as they are."""
    return jnp.moveaxis(x, 2, -1) if x.ndim == 5 else x


def first(x: jax.Array) -> jax.Array:
    """(T, B, H, W, C) with channels first; other ranks as they are."""
    return jnp.moveaxis(x, -1, 2) if x.ndim == 5 else x
