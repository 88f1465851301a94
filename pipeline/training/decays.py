"""Decays of neurons: which parameters they are, how they are trained, and which ones NIR can carry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# A trained decay stays from 0.018 to 0.993: tau from just above dt to 150 dt.
LOGITS = (-4.0, 5.0)


def is_decay(name: str) -> bool:
    """Whether the parameter of this dotted name is a neuron's decay and no weight."""
    return name.rsplit(".", 1)[-1] in ("alpha", "beta")


def to_logits(decays: Any) -> jax.Array:
    """Decays as the optimiser changes them: logits within `LOGITS`."""
    return jnp.clip(jax.scipy.special.logit(decays), *LOGITS)


def from_logits(logits: Any) -> jax.Array:
    """The decays of logits, which are clipped to `LOGITS` first."""
    return jax.nn.sigmoid(jnp.clip(logits, *LOGITS))


def snap_decay(decay: float, dt: float) -> float:
    """The float32 decay next to `decay` that survives the way through NIR's time constant.

    NIR stores tau = dt / (1 - decay) as float32 and a reader computes 1 - dt / tau. This applies
    that way, `dt` in the unit of tau, until the decay comes back unchanged, so that the exported
    and re-imported network is the trained one, bit for bit. A decay of 1 has a way of its own there
    and stays.

    Raises:
        ValueError: `decay` is not in [0, 1].
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"`decay` must be from 0 to 1, got {decay!r}")
    snapped = np.float32(decay)
    if snapped == 1:
        return 1.0
    for _ in range(100):
        tau = np.float32(dt / (1.0 - float(snapped)))
        back = np.float32(1.0 - dt / float(tau))
        if back == snapped:
            return float(snapped)
        snapped = back
    raise ValueError(f"`decay` {decay!r} does not settle for dt = {dt!r}")


def snapped(
    parameters: Mapping[str, Any], dt: float, weight_bits: int | None = None
) -> dict[str, np.ndarray]:
    """`parameters`, named as by `networks.named_parameters`, as they are stored.

    Every decay is clipped to [0, 1], as Spyx's neurons do when they run (the export refuses the exact
    ones outside it), and taken through `snap_decay`, every weight to the nearest multiple of
    2^-weight_bits (with None it stays as it is).
    """
    snap = np.vectorize(
        lambda decay: snap_decay(float(np.clip(decay, 0, 1)), dt), otypes=[np.float32]
    )

    def rounded(weights: Any) -> np.ndarray:
        weights = np.asarray(weights)
        if weight_bits is None:
            return weights
        return np.ldexp(np.rint(np.ldexp(weights, weight_bits)), -weight_bits)

    return {
        name: snap(value) if is_decay(name) else rounded(value)
        for name, value in parameters.items()
    }
