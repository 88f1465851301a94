"""Training on the grid: a network's integer weights, moved until the chip's own rule gives the answers.

The forward pass is the chip's (`in_jax`): weights are rounded and clipped in every step, neurons spike,
reset and round as they do there. Behind every integer weight stands a float, integer * 2^-exponent at
the start, which the optimiser moves. Thresholds and decays stay on the grid where they are.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
import optax
from spyx import fn

from pipeline.ahead import ahead
from pipeline.errors import UserError
from pipeline.fit import Split, augment
from pipeline.hardware import grid, in_jax, simulate
from pipeline.hardware.network import Network
from pipeline.params import Target, Task


class Tuning:
    """A network on a chip's grid, its loss and its optimiser, compiled once.

    Loss and optimiser are those of `pipeline.fit`; rate and epochs those of the target.
    """

    def __init__(self, network: Network, task: Task, target: Target, samples: int):
        """`samples`: size of the training split."""
        self.network, self.task, self.target = network, task, target
        self.batch = min(task.train.batch_size, samples)
        self.steps = samples // self.batch
        self.output = _output(network)
        exponents = {p.name: p.exponent for p in network.populations}
        self.scales = [
            np.float32(2.0)
            ** exponents[w.target].astype(np.float32).reshape(-1, *(1,) * (w.values.ndim - 1))
            for w in network.weights
        ]
        schedule = optax.cosine_decay_schedule(target.learning_rate, target.epochs * self.steps)
        self.optimiser = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule))
        self._cross_entropy = fn.integral_crossentropy(task.train.label_smoothing, time_axis=0)
        self._silence = fn.silence_reg(task.train.min_spikes)
        self._sparsity = fn.sparsity_reg(task.train.max_spikes)
        self._step = jax.jit(self._train_step)
        self._counts = jax.jit(self._output_counts)

    def start(self) -> list[np.ndarray]:
        """The floats behind the network's integers."""
        return [
            (w.values / scale).astype(np.float32)
            for w, scale in zip(self.network.weights, self.scales, strict=True)
        ]

    def integers(self, floats: list[Any]) -> list[jax.Array]:
        """The integers of floats, as float32 with straight-through gradients."""
        profile = self.network.profile
        bits, step = profile["weights.bits"], profile["weights.step"]
        return [
            grid.fake_weights(value, scale, bits, step)
            for value, scale in zip(floats, self.scales, strict=True)
        ]

    def with_weights(self, floats: list[Any]) -> Network:
        """The network with the integers of floats."""
        values = [np.asarray(value).astype(np.int64) for value in self.integers(floats)]
        weights = [
            dataclasses.replace(weight, values=value)
            for weight, value in zip(self.network.weights, values, strict=True)
        ]
        return dataclasses.replace(self.network, weights=tuple(weights))

    def epochs(
        self, train: Split, validation: Split, on_epoch: Callable[[dict[str, float]], None]
    ) -> Network:
        """Train; the network of the epoch that was best on the validation split, the start included.

        Raises:
            UserError: the loss is not finite.
        """
        floats = self.start()
        state = self.optimiser.init(floats)
        best, best_right = self.network, self.right(floats, validation)
        on_epoch({"epoch": 0, "loss": float("nan"), "validation": best_right})
        for epoch in range(1, self.target.epochs + 1):
            losses = 0.0
            for events, labels in ahead(self._batches(train, epoch)):
                floats, state, loss = self._step(floats, state, events, labels)
                losses += float(loss)
            if not np.isfinite(losses):
                raise UserError(
                    f"epoch {epoch}: the loss is not a finite number; lower "
                    f"tasks.{self.task.name}.targets.{self.target.name}.learning_rate "
                    f"({self.target.learning_rate})"
                )
            right = self.right(floats, validation)
            if right >= best_right:
                best, best_right = self.with_weights(floats), right
            on_epoch({"epoch": epoch, "loss": losses / self.steps, "validation": right})
        return best

    def right(self, floats: list[Any], split: Split) -> int:
        """How many recordings of a split are told right by the chip's rule."""
        correct = 0
        for start in range(0, len(split.labels), self.batch):
            events = split.events[start : start + self.batch]
            labels = split.labels[start : start + self.batch]
            short = self.batch - len(labels)  # filled up to the compiled shape
            events = np.pad(events, [(0, short)] + [(0, 0)] * (events.ndim - 1))
            predicted = np.asarray(self._counts(floats, self._input(events))).argmax(-1)
            correct += int((predicted[: len(labels)] == labels).sum())
        return correct

    def _batches(self, train: Split, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.task.train.seed, epoch])
        order = rng.permutation(len(train.labels))
        for step in range(self.steps):
            chosen = np.sort(order[step * self.batch : (step + 1) * self.batch])
            events = augment(train.events[chosen], self.task.train, rng)
            yield self._input(events), train.labels[chosen]

    def _input(self, events: np.ndarray) -> np.ndarray:
        """Events (B, T, ...) as what the chip's rule takes: (T + its delay, B, ...), uint8."""
        (x,) = simulate.padded(self.network, events).values()
        return x.astype(np.uint8)

    def _train_step(self, floats, state, events, labels):
        loss, gradients = jax.value_and_grad(self._loss)(floats, events, labels)
        updates, state = self.optimiser.update(gradients, state, floats)
        return optax.apply_updates(floats, updates), state, loss

    def _loss(self, floats, events, labels):
        settings = self.task.train
        trace = self._run(floats, events)
        loss = self._cross_entropy(settings.logit_scale * trace.spikes[self.output], labels)
        counts = [spikes.sum(0) for spikes in trace.spikes.values()]
        if settings.silence:
            loss += settings.silence * self._silence(counts)
        if settings.sparsity:
            loss += settings.sparsity * self._sparsity(counts)
        return loss

    def _run(self, floats, events):
        steepness = self.task.network.surrogate_slope
        return in_jax.run(self.network, events, self.integers(floats), steepness)

    def _output_counts(self, floats, events):
        return self._run(floats, events).spikes[self.output].sum(0)


def _output(network: Network) -> str:
    (name,) = (population.name for population in network.populations if population.output)
    return name
