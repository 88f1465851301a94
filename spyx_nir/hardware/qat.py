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
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from spyx_nir.deterministic.matmul import matmul
from spyx_nir.errors import GraphError
from spyx_nir.hardware import registry, simulate
from spyx_nir.hardware.currents import currents, first, last
from spyx_nir.hardware.network import IntegerNetwork


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
        GraphError: several inputs, populations on a cycle, a map on one, or no integer semantics.
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
                if len(population.shape) != 1:
                    raise GraphError(
                        f"`{population.name}`: a map that feeds itself is simulated in NumPy alone"
                    )
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
