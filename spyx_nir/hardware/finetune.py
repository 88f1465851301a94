"""Quantisation-aware training (QAT) of a network of integers on labelled recordings.

The forward pass is the chip's rule (`qat`), the backward pass straight-through. The loss is the cross-
entropy of the outputs, summed over a recording's steps and scaled, so that at the start the highest of a
recording is `SPREAD` above the mean. The optimiser is Adam, with gradients clipped to norm 1 and a rate
that falls to 0 along a half cosine. Weights are trained; thresholds, decays and biases stay. The
pipeline's stage `target` has augmentation, averages, penalties and trained decays besides.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from spyx_nir.errors import GraphError
from spyx_nir.hardware import float_weights, qat, simulate
from spyx_nir.hardware.network import IntegerNetwork

BATCH = 16
RATE = 3e-3
SEED = 0
SPREAD = 4.0
STEEPNESS = 2.0  # of the surrogate slope, see `straight_through.slope_of`
HELD_OUT = 5  # every so many recordings of a class choose the epoch


@dataclass(frozen=True)
class Labelled:
    """Recordings (N, T, *shape), counts, and their classes (N,)."""

    events: np.ndarray
    labels: np.ndarray

    def __getitem__(self, chosen: np.ndarray) -> Labelled:
        return Labelled(self.events[chosen], self.labels[chosen])


@dataclass(frozen=True)
class FineTuned:
    """network: of the best epoch; 0 is the network before. correct: right answers of each, of `n`."""

    network: IntegerNetwork
    epoch: int
    correct: list[int]
    n: int


def split(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Indices to train on, and every `HELD_OUT`-th of a class, which choose the epoch.

    Raises:
        GraphError: no class has so many.
    """
    held = [np.flatnonzero(labels == c)[HELD_OUT - 1 :: HELD_OUT] for c in np.unique(labels)]
    chosen = np.sort(np.concatenate(held))
    if not len(chosen):
        raise GraphError(
            f"{len(labels)} labelled recordings, fewer than {HELD_OUT} of every class: every "
            f"{HELD_OUT}th of a class is held out to choose the epoch",
            code="input",
        )
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def finetuned(
    network: IntegerNetwork,
    train: Labelled,
    held: Labelled,
    epochs: int,
    say: Callable[[str], None] = lambda line: None,
) -> FineTuned:
    """Train the network's weights, and keep the epoch with most right answers on `held`.

    Of equals the earlier epoch is kept. `say` is called with a line for each epoch.

    Raises:
        GraphError: a network that `qat.run` cannot take, or a loss that is not finite.
    """
    factors = float_weights.scales(network)
    floats = float_weights.initial(network, factors)
    (output,) = (p.name for p in network.populations if p.output)

    def outputs(weights: Any, x: jax.Array) -> jax.Array:
        made = float_weights.on_chip(network, weights, factors)
        return qat.run(made, x, STEEPNESS).spikes[output].sum(axis=0)

    answer = jax.jit(outputs)
    some = _padded(network, train.events[:BATCH])
    start = np.asarray(answer(floats, some))
    highest = float((start.max(axis=1) - start.mean(axis=1)).mean())
    scale = SPREAD / max(highest, 1.0)

    def loss(weights: Any, x: jax.Array, labels: jax.Array) -> jax.Array:
        logits = scale * outputs(weights, x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    batch = min(BATCH, len(train.labels))
    steps = len(train.labels) // batch
    schedule = optax.cosine_decay_schedule(RATE, epochs * steps)
    optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(schedule))

    @jax.jit
    def step(weights: Any, state: Any, x: jax.Array, labels: jax.Array) -> Any:
        found, gradients = jax.value_and_grad(loss)(weights, x, labels)
        found = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), found, jnp.nan)
        updates, state = optimiser.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state, found

    right = functools.partial(_right, answer, network, held)
    correct, best, epoch_of_best = [right(floats)], floats, 0
    weights, state = floats, optimiser.init(floats)
    for epoch in range(1, epochs + 1):
        order = np.random.default_rng([SEED, epoch]).permutation(len(train.labels))
        for first in range(0, steps * batch, batch):
            chosen = train[np.sort(order[first : first + batch])]
            x = _padded(network, chosen.events)
            weights, state, found = step(weights, state, x, jnp.asarray(chosen.labels))
            if not np.isfinite(found):
                raise GraphError(f"fine-tuning, epoch {epoch}: the loss is not a finite number")
        correct.append(right(weights))
        say(
            f"epoch {epoch}/{epochs}: {correct[-1]} of {len(held.labels)} held-out recordings right"
        )
        if correct[-1] > max(correct[:-1]):
            best, epoch_of_best = weights, epoch
    made = float_weights.whole(float_weights.on_chip(network, best, factors))
    return FineTuned(made if epoch_of_best else network, epoch_of_best, correct, len(held.labels))


def _right(answer: Any, network: IntegerNetwork, held: Labelled, weights: Any) -> int:
    found = 0
    for first in range(0, len(held.labels), BATCH):
        part = held[np.arange(first, min(first + BATCH, len(held.labels)))]
        counts = np.asarray(answer(weights, _padded(network, part.events)))
        found += int((counts.argmax(axis=1) == part.labels).sum())
    return found


def _padded(network: IntegerNetwork, events: np.ndarray) -> jax.Array:
    """(N, T, *shape) counts as (T with silent steps, N, *shape)."""
    (x,) = simulate.padded(network, events).values()
    return jnp.asarray(x, jnp.float32)
