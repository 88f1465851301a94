"""The training loop: loss, optimiser, batches, epochs, evaluation. Knows no files.

Float training and quantisation-aware training are this loop with another forward pass (`Forward`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from spyx import fn

from pipeline.schema import Task
from pipeline.training import distributed
from pipeline.training.forward import Forward, Tree
from pipeline.training.prefetch import prefetch
from spyx_nir.errors import UserError


@dataclass(frozen=True)
class Split:
    """Samples of one split: events (N, T, ...) uint8 in NIR's order, labels (N,) class indices.

    `events` is an array, or reads from disk what is asked for (`prepared.Events`); for a forward pass
    that takes events with their times, `recordings.Events`.
    """

    events: Any
    labels: np.ndarray


@dataclass
class Progress:
    """All that the next epoch depends on, and the results of the epochs so far.

    `parameters` and their exponential moving `average` are what the forward pass has, `best` the average
    as it is stored, of the epoch with the largest `quality`; `optimiser` holds the leaves of the
    optimiser's state; `rows` the lines of the learning curves; `correct` the right answers of the last
    epoch on the split that chooses.
    """

    parameters: Tree
    average: Tree
    optimiser: list[Any]
    best: Tree
    epoch: int = 0
    best_epoch: int = 0
    quality: list[float] = field(default_factory=lambda: [-math.inf])
    rows: list[dict[str, float]] = field(default_factory=list)
    correct: int = 0


@dataclass(frozen=True)
class Evaluation:
    """What a network does on one split.

    loss: mean over the samples; predicted: (N,) class indices, the class that spikes most often
    (the first one of equals); spike_rate: layer -> spikes per neuron and time step.
    """

    loss: float
    predicted: np.ndarray
    correct: int
    spike_rate: dict[str, float]

    @property
    def silent(self) -> list[str]:
        """The layers that fire no spike."""
        return [layer for layer, rate in self.spike_rate.items() if rate == 0]


class Trainer:
    """A forward pass with its loss and its optimiser, compiled once.

    The loss is the cross-entropy of the output's spike counts times `logit_scale`, plus Spyx's
    penalties on neurons and layers with too few or too many spikes. The optimiser is AdamW with gradients
    clipped to norm 1 and a rate that rises for a share `warm_up` of the steps and falls to zero along a
    half cosine.
    """

    def __init__(self, forward: Forward, task: Task, samples: int, most_devices: int | None = None):
        """`samples`: size of the training split; `most_devices`: of a host that share a batch.

        Raises:
            UserError: a batch cannot be shared evenly among the hosts.
        """
        self.forward, self.task, self.settings = forward, task, task.train
        self.batch = min(task.train.batch_size, samples)
        self.steps = samples // self.batch
        self.optimiser = self._optimiser()
        self._too_few = fn.silence_reg(task.train.min_spikes)
        self._too_many = fn.sparsity_reg(task.train.max_spikes)
        self._cross_entropy = fn.integral_crossentropy(task.train.label_smoothing, time_axis=0)
        self.devices = distributed.choose(self.batch, most_devices or forward.most_devices)
        mesh, self._everywhere, self._shared = distributed.shardings(self.devices)
        self._gradients, evaluation = self._batch_gradients, self._evaluate
        if forward.shares_batches:
            whole, shard = self._everywhere.spec, self._shared.spec
            split = partial(
                jax.shard_map, mesh=mesh, in_specs=(whole, shard, shard), check_vma=False
            )
            self._gradients = split(self._mean_gradients, out_specs=whole)
            evaluation = split(self._evaluate, out_specs=shard)
        everywhere, shared = self._everywhere, self._shared
        self._step = jax.jit(
            self._train_step,
            in_shardings=(everywhere, everywhere, everywhere, shared, shared),
            out_shardings=everywhere,
        )
        self._batch_evaluation = jax.jit(
            evaluation, in_shardings=(everywhere, shared, shared), out_shardings=everywhere
        )

    def _optimiser(self) -> optax.GradientTransformation:
        settings, decays = self.settings, self.forward.decays
        steps = settings.epochs * self.steps
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, settings.learning_rate, int(settings.warm_up * steps), steps
        )
        return optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(
                schedule,
                weight_decay=settings.weight_decay,
                mask=lambda free: jax.tree.map(lambda decay: not decay, decays(free)),
            ),
            optax.masked(optax.scale(settings.decay_lr_multiplier), decays),
        )

    def start(self) -> Progress:
        """Progress before the first epoch.

        Raises:
            UserError: the weights to start from are missing or broken, or belong to another network.
        """
        parameters = self.forward.initial()
        state = jax.jit(self.optimiser.init)(self.forward.free(parameters))
        leaves = [np.asarray(x) for x in jax.tree.leaves(state)]
        return Progress(parameters, parameters, leaves, parameters)

    def state(self, progress: Progress) -> tuple[Tree, Tree, Any]:
        """Parameters, their average and the optimiser's state as optax nests it, on all devices.

        From NumPy's arrays the first step would be compiled by itself.
        """
        init = jax.eval_shape(lambda: self.optimiser.init(self.forward.free(progress.parameters)))
        optimiser = jax.tree.unflatten(jax.tree.structure(init), progress.optimiser)
        return jax.tree.map(
            lambda leaf: distributed.place(leaf, self._everywhere),
            (progress.parameters, progress.average, optimiser),
        )

    def epochs(
        self, progress: Progress, train: Split, validation: Split, on_step: Callable[[], None]
    ) -> Iterator[Progress]:
        """Train from `progress` to the last epoch; yield after each one.

        The order of the samples and their augmentation depend on seed and epoch alone, so a
        training that continues from a stored `Progress` ends where an uninterrupted one does.

        Raises:
            UserError: the loss is not finite, or a layer never fires.
        """
        for epoch in range(progress.epoch + 1, self.settings.epochs + 1):
            loss, correct = self._epoch(progress, train, epoch, on_step)
            row = {
                "epoch": epoch,
                "train_loss": loss,
                "train_accuracy": correct / (self.steps * self.batch),
            }
            progress.rows.append(row | self.judge(progress, train, validation))
            yield progress

    def _epoch(
        self, progress: Progress, train: Split, epoch: int, on_step: Callable[[], None]
    ) -> tuple[float, int]:
        """Move `progress` on by one epoch: the mean loss and the right answers of its steps."""
        parameters, average, optimiser = self.state(progress)
        losses, correct = 0.0, 0
        for events, labels in prefetch(self._batches(train, epoch)):
            before = parameters
            placed = self._filled_up(parameters, events, labels)
            parameters, average, optimiser, loss, right = self._step(
                parameters, average, optimiser, *placed
            )
            if not np.isfinite(loss):
                raise UserError(
                    f"epoch {epoch}: {self._not_finite(before, events, labels)} is not a finite "
                    f"number; lower {self.forward.rate_key} ({self.settings.learning_rate})"
                )
            losses, correct = losses + float(loss), correct + int(right)
            on_step()
        progress.parameters, progress.average = jax.tree.map(np.asarray, (parameters, average))
        progress.optimiser = [np.asarray(leaf) for leaf in jax.tree.leaves(optimiser)]
        progress.epoch = epoch
        return losses / self.steps, correct

    def _batches(self, train: Split, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.settings.seed, epoch])
        order = rng.permutation(len(train.labels))
        for step in range(self.steps):
            chosen = np.sort(order[step * self.batch : (step + 1) * self.batch])
            yield self.forward.augment(train.events[chosen], self.task, rng), train.labels[chosen]

    def _not_finite(self, parameters: Tree, events: np.ndarray, labels: np.ndarray) -> str:
        """What of a step was not finite: the first layer whose output or whose weights were not."""
        parameters = jax.tree.map(np.asarray, parameters)
        if layer := self.forward.not_finite(parameters, events):
            return layer
        placed = self._filled_up(parameters, events, labels)
        found, loss, *_ = jax.jit(self._gradients)(parameters, *placed)
        gradients = {
            jax.tree_util.keystr(path, simple=True, separator="."): gradient
            for path, gradient in jax.tree_util.tree_leaves_with_path(found)
        }
        # Backwards: a gradient that is not finite spoils those of all layers before it.
        for name in sorted(gradients, reverse=True):
            if not np.isfinite(gradients[name]).all():
                return f"the gradient of {name}"
        return f"the loss ({float(loss)}) or the norm of its gradient"

    def judge(self, progress: Progress, train: Split, validation: Split) -> dict[str, float]:
        """Keep the average if it is the best so far on the validation split; that split's part of a row.

        Without validation recordings the last epoch's is kept, and about a batch of the training split
        shows whether all layers fire.

        Raises:
            UserError: a layer never fires.
        """
        stored = self.forward.stored(progress.average)
        held_out = len(validation.labels) > 0
        seen = self.evaluate(stored, validation if held_out else self.few(train))
        where = "the validation split" if held_out else "a batch of the training split"
        self.forward.check(seen.silent, progress.epoch, where)
        progress.correct = seen.correct
        quality = [float(progress.epoch)]
        if held_out:
            quality = self.forward.quality(seen.loss, seen.correct)
        if quality > progress.quality:
            progress.best, progress.best_epoch, progress.quality = stored, progress.epoch, quality
        if not held_out:
            return {}
        return {
            "validation_loss": seen.loss,
            "validation_accuracy": seen.correct / len(validation.labels),
        }

    def few(self, split: Split) -> Split:
        """About one batch, taken from all over the split."""
        every = slice(None, None, max(1, len(split.labels) // self.batch))
        return Split(split.events[every], split.labels[every])

    def evaluate(self, parameters: Tree, split: Split) -> Evaluation:
        """Run the network with `parameters` over `split`."""
        parts = []
        for start in range(0, len(split.labels), self.batch):
            part = slice(start, start + self.batch)
            placed = self._filled_up(parameters, split.events[part], split.labels[part])
            parts.append(jax.tree.map(np.asarray, self._batch_evaluation(parameters, *placed)))
        counts, losses, rates = jax.tree.map(
            lambda *part: np.concatenate(part)[: len(split.labels)], *parts
        )
        predicted = counts.argmax(axis=1)
        return Evaluation(
            loss=float(losses.mean(dtype=np.float64)),
            predicted=predicted,
            correct=int((predicted == split.labels).sum()),
            spike_rate={name: float(rate.mean(dtype=np.float64)) for name, rate in rates.items()},
        )

    def _filled_up(
        self, parameters: Tree, events: Any, labels: np.ndarray
    ) -> tuple[Tree, jax.Array]:
        """Recordings and labels in the compiled shape, on the devices; the last batch is filled up."""
        arrays = self.forward.batch(parameters, events, self.batch)
        place = partial(distributed.place, sharding=self._shared)
        labels = np.pad(labels, (0, self.batch - len(labels)))
        return jax.tree.map(place, arrays), place(labels)

    def _train_step(
        self, parameters: Tree, average: Tree, state: Tree, events: jax.Array, labels: jax.Array
    ) -> tuple[Tree, Tree, Tree, jax.Array, jax.Array]:
        gradients, loss, correct, changes = self._gradients(parameters, events, labels)
        # Weights that are not numbers give neurons that never fire, so the loss alone stays finite.
        loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)
        free = self.forward.free(parameters)
        updates, state = self.optimiser.update(gradients, state, free)
        parameters = self.forward.bind(parameters, optax.apply_updates(free, updates))
        parameters = self.forward.changed(parameters, changes)
        average = optax.incremental_update(parameters, average, 1.0 - self.settings.ema_decay)
        return parameters, average, state, loss, correct

    def _mean_gradients(
        self, parameters: Tree, events: jax.Array, labels: jax.Array
    ) -> tuple[Tree, jax.Array, jax.Array, Tree]:
        """`_batch_gradients` over the shards of a batch: right as a sum, the others as means."""
        gradients, loss, correct, changes = self._batch_gradients(parameters, events, labels)
        gradients, loss = lax.pmean((gradients, loss), "batch")
        return gradients, loss, lax.psum(correct, "batch"), lax.pmean(changes, "batch")

    def _batch_gradients(
        self, parameters: Tree, events: jax.Array, labels: jax.Array
    ) -> tuple[Tree, jax.Array, jax.Array, Tree]:
        """Gradients and loss, as means over the samples, how many answers are right, and what layers
        changed by themselves."""
        penalised = bool(self.settings.min_rate_penalty or self.settings.max_rate_penalty)

        def loss_of(free: Tree) -> tuple[jax.Array, tuple[jax.Array, Tree]]:
            bound = self.forward.bind(parameters, free)
            (spikes, layers), changes = self.forward.train(bound, events, penalised)
            if not penalised:
                return self._loss(spikes, labels), (spikes.sum(0), changes)
            counts = [out.sum(0) for out in layers.values()]
            penalty = self.settings.min_rate_penalty * self._too_few(counts)
            penalty += self.settings.max_rate_penalty * self._too_many(counts)
            return self._loss(spikes, labels) + penalty, (spikes.sum(0), changes)

        free = self.forward.free(parameters)
        (loss, found), gradients = jax.value_and_grad(loss_of, has_aux=True)(free)
        counts, changes = found
        return gradients, loss, (counts.argmax(1) == labels).sum(), changes

    def _evaluate(
        self, parameters: Tree, events: jax.Array, labels: jax.Array
    ) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """Of every sample: spike counts (B, classes), loss (B,), and spike rate by layer (B,)."""
        spikes, layers = self.forward.run(parameters, events)
        # The loss of one sample is the loss of a batch of one.
        losses = jax.vmap(lambda s, l: self._loss(s[:, None], l[None]), (1, 0))(spikes, labels)
        rates = {name: out.mean(axis=(0, *range(2, out.ndim))) for name, out in layers.items()}
        return spikes.sum(0), losses, rates

    def _loss(self, spikes: jax.Array, labels: jax.Array) -> jax.Array:
        return self._cross_entropy(self.settings.logit_scale * spikes, labels)
