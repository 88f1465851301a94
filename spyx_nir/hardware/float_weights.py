"""The integer weights of a network as floats that training changes, and back.

A float is integer * 2^-exponent at the start. Forwards it is the integer again, exact in float32;
backwards rounding passes the gradient on (`straight_through`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from spyx_nir.hardware import registry, straight_through
from spyx_nir.hardware.network import IntegerNetwork


def scales(network: IntegerNetwork) -> list[np.ndarray]:
    """2^exponent of every weight's targets, float32, as a factor of its rows."""
    exponents = {p.name: p.exponent for p in network.populations}
    return [
        np.float32(2.0)
        ** exponents[w.target].astype(np.float32).reshape(-1, *(1,) * (w.values.ndim - 1))
        for w in network.weights
    ]


def initial(network: IntegerNetwork, factors: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The floats of the network's weights; factors: its `scales`."""
    return [
        (w.values / scale).astype(np.float32)
        for w, scale in zip(network.weights, factors, strict=True)
    ]


def on_chip(
    network: IntegerNetwork, floats: Sequence[Any], factors: Sequence[np.ndarray]
) -> IntegerNetwork:
    """The network with the integers of floats, as arrays of JAX, float32 with gradients."""
    profile = network.profile
    bits, step = profile["weights.bits"], profile["weights.step"]
    values: list[Any] = [
        straight_through.fake_weights(value, scale, bits, step)
        for value, scale in zip(floats, factors, strict=True)
    ]
    training = registry.family(profile).training()
    values = [training.weights(value, bits, step) for value in values]
    return dataclasses.replace(
        network,
        weights=tuple(
            dataclasses.replace(weight, values=value)
            for weight, value in zip(network.weights, values, strict=True)
        ),
    )


def whole(network: IntegerNetwork) -> IntegerNetwork:
    """What `on_chip` gives, with weights of NumPy, int64."""
    weights = tuple(
        dataclasses.replace(w, values=np.asarray(w.values).astype(np.int64))
        for w in network.weights
    )
    return dataclasses.replace(network, weights=weights)
