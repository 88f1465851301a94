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
from spyx_nir.hardware import float_weights, qat, simulate, straight_through
from spyx_nir.hardware.network import IntegerNetwork, Population


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
        self.scales = float_weights.scales(network)
        learns = task.train.learn_decays and network.profile["neuron.decay"] == "fraction"
        self.trained_decays = ("decay_syn", "decay_mem") if learns else ()

    def initial(self) -> Tree:
        """The floats of the network's integers."""
        weights = float_weights.initial(self.network, self.scales)
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
        bits = self.network.profile["neuron.decay_bits"]

        def decay(logits: Any) -> Any:
            return straight_through.fake_fraction(decays.from_logits(logits), bits)

        made = float_weights.on_chip(self.network, floats["weights"], self.scales)
        fractions = jax.tree.map(decay, floats["decays"])
        return dataclasses.replace(
            made,
            populations=tuple(
                dataclasses.replace(p, **fractions[p.name]) for p in made.populations
            ),
        )

    def quantised(self, floats: Tree) -> IntegerNetwork:
        """The network with the integers of floats."""
        found = float_weights.whole(self.on_chip(floats))

        def whole(p: Population) -> Population:
            values: dict[str, Any] = {
                name: np.asarray(getattr(p, name)).astype(np.int64)
                for name in floats["decays"][p.name]
            }
            return dataclasses.replace(p, **values)

        return dataclasses.replace(found, populations=tuple(map(whole, found.populations)))

    def quality(self, loss: float, correct: int) -> list[float]:
        """The right answers; of equals, the lower loss."""
        return [correct, -loss]
