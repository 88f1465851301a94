"""The integer rules of `xylo`, `loihi` and `speck` in JAX: for training on the grid and whole test sets.

Numbers are float32 that hold integers, which is exact up to 2^24: states of 16 and 24 bits, and sums of
currents that stay within. Forwards this is the chip, spike for spike; backwards every rounding passes
the gradient on (straight-through), and the count of spikes has a surrogate slope. One thing differs
from `xylo`: currents are summed before they saturate, not spike by spike.

Arrays are time-major; within this module spatial ones are channels last, (T, B, H, W, C), as XLA's
convolutions are fastest; `run` takes and gives channels first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from pipeline import convolution
from pipeline.errors import GraphError
from pipeline.hardware import simulate
from pipeline.hardware.network import Network, Population, Weight

UNITY = 4096.0  # Lava's decays are n / 4096


class Trace(NamedTuple):
    """As `network.Run`, without states. spikes: population -> (T, B, *shape), float32 counts."""

    spikes: dict[str, jax.Array]
    saturated: dict[str, jax.Array]
    multiple: dict[str, jax.Array]
    ties: dict[str, jax.Array]


@jax.custom_jvp
def through(exact: jax.Array, smooth: jax.Array) -> jax.Array:
    """`exact`, with the gradient of `smooth`."""
    return exact


through.defjvp(lambda primals, tangents: (primals[0], tangents[1]))


def floor(x: jax.Array) -> jax.Array:
    """Rounded down; the gradient passes."""
    return through(jnp.floor(x), x)


def slope_of(x: jax.Array, most: float, steepness: float) -> jax.Array:
    """The surrogate slope of a count of spikes at the membrane x, in thresholds.

    Between the first and the last threshold that counts, a count grows by 1 a threshold on average, so
    the slope is 1; outside it falls off as in Spyx's superspike, 1 / (1 + steepness * distance)^2. A
    neuron that spikes at most once a step has superspike itself.
    """
    distance = jnp.maximum(1 - x, 0) + jnp.maximum(x - most, 0)
    return 1 / (1 + steepness * distance) ** 2


def _fire(count: jax.Array, x: jax.Array, most: float, steepness: float) -> jax.Array:
    """`count`, with the surrogate gradient of a membrane x in thresholds."""
    return through(count, lax.stop_gradient(slope_of(x, most, steepness)) * x)


def run(
    network: Network,
    x: jax.Array,
    steepness: float = 1.0,
) -> Trace:
    """Simulate; can be traced, compiled and differentiated.

    Args:
        network: its weights, and decays n / 4096, may be arrays of JAX, float32 that hold integers.
        x: (T, B, *shape) of the one input, counts of spikes, channels first.
        steepness: of the surrogate slope.

    Raises:
        GraphError: several inputs, populations that feed each other in a ring, or no rule in JAX.
    """
    profile = network.profile
    if profile.rule not in CELLS:
        raise GraphError(f"target {profile.name} has no integer rule")
    if len(network.inputs) != 1:
        raise GraphError(f"one input is needed, the network has {sorted(network.inputs)}")
    (name,) = network.inputs
    most = profile["neuron.input_spikes_per_step"]
    events = jnp.asarray(x, jnp.float32)
    known = {name: _last(events if most is None else jnp.minimum(events, most))}
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
                    f"`{population.name}` and `{weight.source}` feed each other; a ring of several "
                    "populations is simulated in NumPy alone"
                )
            arriving = known[weight.source]
            if simulate.waits(network, weight.source):
                arriving = jnp.concatenate([jnp.zeros_like(arriving[:1]), arriving[:-1]])
            drive = drive + currents(weight, value, arriving)
        cell, start = CELLS[profile.rule](network, population, steepness)
        spikes, told = _scan(cell, start(drive.shape[1:]), drive, back)
        known[population.name] = spikes
        for what, each in told.items():
            counts[what][population.name] = each.sum()
    del known[name]
    return Trace({key: _first(spikes) for key, spikes in known.items()}, **counts)


def _scan(cell: Callable, state: Any, drive: jax.Array, back: jax.Array | None) -> Any:
    """Walk neurons through time: spikes (T, B, ...) and per step what is counted."""

    def step(carry, x):
        state, last = carry
        state, spikes, told = cell(state, x if back is None else x + last @ back.T)
        return (state, spikes), (spikes, told)

    return lax.scan(step, (state, jnp.zeros_like(drive[0])), drive)[1]


def currents(weight: Weight, values: jax.Array, spikes: jax.Array) -> jax.Array:
    """What arrives at the target in every step: (T, B, *source shape) to (T, B, *target shape)."""
    steps, batch = spikes.shape[:2]
    x = spikes.reshape(steps * batch, *spikes.shape[2:])
    for size in weight.pools:
        n, h, w, c = x.shape
        x = x[:, : h // size * size, : w // size * size]
        x = x.reshape(n, h // size, size, w // size, size, c).sum(axis=(2, 4))
    if values.ndim == 2:
        flat = jnp.moveaxis(x, -1, 1) if x.ndim == 4 else x  # NIR flattens (C, H, W)
        out = flat.reshape(len(x), -1) @ values.T
    else:
        padding = tuple((p, p) for p in weight.padding)
        out = convolution.convolve(weight.stride, padding, x, values.transpose(2, 3, 1, 0))
    return out.reshape(steps, batch, *out.shape[1:])


# ----------------------------------------------------------------------------- one step of a chip


def _xylo(network: Network, population: Population, steepness: float) -> tuple[Callable, Callable]:
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    most = float(profile[f"neuron.{'output_' if population.output else ''}spikes_per_step"])
    threshold = _constant(population.threshold)

    def leak(x, dash):
        if dash is None:
            return jnp.zeros_like(x)
        share = x * 2.0 ** -np.asarray(dash, np.float32)
        shifted = jnp.floor(share)
        return through(jnp.where(shifted == 0, jnp.sign(x), shifted), share)

    def clip(x):
        return jnp.clip(x, -bound, bound - 1)

    def step(state, drive):
        v, i = state
        total = clip(i + drive)
        met = (total != i + drive).sum()
        i = total - leak(total, population.decay_syn)
        change = -leak(v, population.decay_mem)
        free = jnp.where(change == bound, -bound, change) + i  # int16: -(-32768) is -32768
        u = v + clip(free)
        clipped = clip(u)
        met += ((free != clip(free)) | (u != clipped)).sum()
        x = clipped / threshold
        n = _fire(jnp.clip(jnp.floor(x), 0, most), x, most, steepness)
        return (clipped - n * threshold, i), n, _told(met, n, clipped == threshold)

    return step, lambda shape: (jnp.zeros(shape), jnp.zeros(shape))


def _lava(network: Network, population: Population, steepness: float) -> tuple[Callable, Callable]:
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    scale = 2.0 ** profile["state.threshold_shift"]
    threshold = _constant(population.threshold) * scale

    def decay(x, n, without):
        share = jnp.float32(without if n is None else n)
        size = jnp.abs(x)
        high = jnp.floor(size / UNITY)
        low = size - high * UNITY  # 12 bits each: the products stay below 2^24
        left = high * share + jnp.floor(low * share / UNITY)
        return through(jnp.sign(x) * left, x * share / UNITY)

    def step(state, drive):
        v, u = state
        current = decay(u, population.decay_syn, 0) + drive * scale
        turned = jnp.where(current > bound, current - 2 * bound, current)
        u = jnp.where(turned <= -bound, current + 2 * bound, turned)
        free = decay(v, population.decay_mem, UNITY) + u
        membrane = jnp.clip(free, 1 - bound, bound - 1)
        z = membrane > threshold
        n = _fire(z.astype(jnp.float32), membrane / threshold, 1.0, steepness)
        met = ((u != current) | (free != membrane)).sum()
        # As in `neurons`: the reset itself carries no gradient.
        return (jnp.where(z, 0.0, membrane), u), n, _told(met, n, membrane == threshold)

    return step, lambda shape: (jnp.zeros(shape), jnp.zeros(shape))


def _dynapcnn(
    network: Network, population: Population, steepness: float
) -> tuple[Callable, Callable]:
    profile = network.profile
    bound = 2.0 ** (profile["state.bits"] - 1)
    floored = profile["state.floor"] == "threshold"
    threshold = _constant(population.threshold)

    def step(v, drive):
        u = v + drive
        x = u / threshold
        n = _fire(jnp.maximum(jnp.floor(x), 0), x, jnp.inf, steepness)
        left = u - n * threshold if population.reset == "subtract" else jnp.where(n > 0, 0.0, u)
        v = jnp.maximum(left, -threshold) if floored else left
        met = ((u < -bound) | (u > bound - 1)).sum()
        return v, n, _told(met, n, u == threshold)

    return step, jnp.zeros


CELLS = {"xylo": _xylo, "lava": _lava, "dynapcnn": _dynapcnn}


def _told(met: jax.Array, n: jax.Array, tie: jax.Array) -> dict[str, jax.Array]:
    return {"saturated": met, "multiple": (n > 1).sum(), "ties": tie.sum()}


def _constant(value: np.ndarray) -> jax.Array:
    """A population's number, () or its shape, as float32, channels last."""
    array = np.asarray(value, np.float32)
    return jnp.asarray(np.moveaxis(array, 0, -1) if array.ndim == 3 else array)


def _last(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, 2, -1) if x.ndim == 5 else x


def _first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, -1, 2) if x.ndim == 5 else x
