"""Threshold balancing: thresholds are raised until a quantised network spikes about as often as before.

Multi-spike neurons make the rates of a network that was trained with one spike a step grow; with
recurrence its states saturate, where gradients vanish. Fine-tuning starts from the raised thresholds.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spyx_nir.hardware import qat, simulate
from spyx_nir.hardware.network import IntegerNetwork

STEP = 1.25  # of a threshold
BUSY = 1.5  # times the trained rate: left to training
MOST_STEPS = 24  # 1.25^24 = 212 times the threshold


def balanced(
    network: IntegerNetwork, events: np.ndarray, rates: Mapping[str, float]
) -> IntegerNetwork:
    """The network with thresholds raised, sources first, until no population is too busy.

    Args:
        events: some training recordings (B, T, *shape).
        rates: population -> spikes per neuron and step of the trained network on them.
    """
    (x,) = simulate.padded(network, events).values()
    factors = {population.name: 1.0 for population in network.populations}

    def scaled(values: Any, factor: float) -> Any:
        return jnp.asarray(values, jnp.float32) / factor

    @jax.jit
    def rates_with(factors: dict[str, float]) -> dict[str, jax.Array]:
        # Weights and biases divided by a factor are thresholds times it: one program for all factors.
        weights = tuple(
            dataclasses.replace(w, values=scaled(w.values, factors[w.target]))
            for w in network.weights
        )
        populations = tuple(
            p if p.bias is None else dataclasses.replace(p, bias=scaled(p.bias, factors[p.name]))
            for p in network.populations
        )
        divided = dataclasses.replace(network, weights=weights, populations=populations)
        spikes = qat.run(divided, jnp.asarray(x)).spikes
        return {name: counts.mean() for name, counts in spikes.items()}

    for name in (p.name for p in network.populations if not p.membrane):
        for _ in range(MOST_STEPS):
            if rates_with(factors)[name] <= BUSY * rates[name]:
                break
            factors[name] *= STEP
    most = 2 ** network.profile["state.threshold_bits"] - 1
    raised = tuple(
        dataclasses.replace(
            p, threshold=np.minimum(np.round(p.threshold * factors[p.name]), most).astype(np.int64)
        )
        for p in network.populations
    )
    return dataclasses.replace(network, populations=raised)
