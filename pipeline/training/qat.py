"""Quantisation-aware training (QAT): the forward pass of a network on a chip.

It is the chip's integer rule (`spyx_nir.hardware.qat`): weights are rounded and clipped in every step,
neurons spike, reset and round as they do there. Each integer weight is trained as a float, integer *
2^-exponent at the start; with `learn_decays`, each decay n / 2^bits as a logit. Shifts are too coarse for
that: they stay as they are, as thresholds do.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pipeline.schema import Task
from pipeline.training import decays
from pipeline.training.forward import Forward, Spikes, Tree
from spyx_nir.hardware import qat, registry, simulate, straight_through
from spyx_nir.hardware.network import IntegerNetwork


def task_for(task: Task, target: str) -> Task:
    """The task with the epochs and the learning rate of a target."""
    chip = task.trained(target)
    train = dataclasses.replace(task.train, epochs=chip.epochs, learning_rate=chip.learning_rate)
    return dataclasses.replace(task, train=train)


class QatForward(Forward):
    """A network of integers.

    Parameters are floats: `weights`, one array for each of the network's, and `decays`, population -> its
    field -> logits.
    """

    # Shared out, even to one device, XLA sums gradients in another order: other bytes than before.
    shares_batches = False
    most_devices = 1
    unit = ""

    def __init__(self, network: IntegerNetwork, task: Task, target: str):
        self.network, self.task = network, task
        self.rate_key = f"tasks.{task.name}.targets.{target}.learning_rate"
        (self.output,) = (p.name for p in network.populations if p.output)
        self.delay = max(simulate.delays(network).values())
        exponents = {p.name: p.exponent for p in network.populations}
        self.scales = [
            np.float32(2.0)
            ** exponents[w.target].astype(np.float32).reshape(-1, *(1,) * (w.values.ndim - 1))
            for w in network.weights
        ]
        learns = task.train.learn_decays and network.profile["neuron.decay"] == "fraction"
        self.trained_decays = ("decay_syn", "decay_mem") if learns else ()

    def initial(self) -> Tree:
        """The floats of the network's integers."""
        weights = [
            (w.values / scale).astype(np.float32)
            for w, scale in zip(self.network.weights, self.scales, strict=True)
        ]
        logits = {
            p.name: {
                key: np.asarray(self._logits(getattr(p, key)))
                for key in self.trained_decays
                if getattr(p, key) is not None
            }
            for p in self.network.populations
        }
        return {"weights": weights, "decays": logits}

    def _logits(self, integers: np.ndarray) -> jax.Array:
        share = integers / 2.0 ** self.network.profile["neuron.decay_bits"]
        return decays.to_logits(jnp.asarray(share, jnp.float32))

    def decays(self, free: Tree) -> Tree:
        """Which floats are decays."""
        return {"weights": False, "decays": True}

    def run(self, parameters: Tree, events: Any, layers: bool = True) -> Spikes:
        """As `Forward.run`; there are as many more steps as the output is delayed."""
        x = jnp.swapaxes(events, 0, 1)
        x = jnp.concatenate([x, jnp.zeros((self.delay, *x.shape[1:]), x.dtype)])
        steepness = self.task.network.surrogate_slope
        spikes = qat.run(self.on_chip(parameters), x, steepness).spikes
        silent = {p.name for p in self.network.populations if p.membrane}
        return spikes[self.output], {name: s for name, s in spikes.items() if name not in silent}

    def on_chip(self, floats: Tree) -> IntegerNetwork:
        """The network of integers from floats, in float32 with straight-through gradients."""
        profile = self.network.profile
        bits, step = profile["weights.bits"], profile["weights.step"]

        def decay(logits: Any) -> Any:
            return straight_through.fake_fraction(
                decays.from_logits(logits), profile["neuron.decay_bits"]
            )

        values: list[Any] = [
            straight_through.fake_weights(value, scale, bits, step)
            for value, scale in zip(floats["weights"], self.scales, strict=True)
        ]
        training = registry.family(profile).training()
        values = [training.weights(value, bits, step) for value in values]
        fractions = jax.tree.map(decay, floats["decays"])
        return dataclasses.replace(
            self.network,
            weights=tuple(
                dataclasses.replace(weight, values=value)
                for weight, value in zip(self.network.weights, values, strict=True)
            ),
            populations=tuple(
                dataclasses.replace(p, **fractions[p.name]) for p in self.network.populations
            ),
        )

    def quantised(self, floats: Tree) -> IntegerNetwork:
        """The network with the integers of floats."""
        found = self.on_chip(floats)

        def whole(item: Any, *names: str) -> Any:
            values = {name: np.asarray(getattr(item, name)).astype(np.int64) for name in names}
            return dataclasses.replace(item, **values)

        weights = tuple(whole(weight, "values") for weight in found.weights)
        populations = tuple(whole(p, *floats["decays"][p.name]) for p in found.populations)
        return dataclasses.replace(found, weights=weights, populations=populations)

    def quality(self, loss: float, correct: int) -> list[float]:
        """The right answers; of equals, the lower loss."""
        return [correct, -loss]
