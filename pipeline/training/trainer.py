"""Fitting a network to labelled events: loss, step, epochs, evaluation. Knows no files."""

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
from flax import nnx
from jax import lax
from spyx import fn

from pipeline.datasets.prepared import Events
from pipeline.schema import Task
from pipeline.training import distributed, engine, networks
from pipeline.training.augmentation import augment
from pipeline.training.prefetch import ahead
from spyx_nir.errors import UserError

Arrays = dict[str, Any]

# A trained decay stays from 0.018 to 0.993: tau from just above dt to 150 dt.
LOGITS = (-4.0, 5.0)


@dataclass(frozen=True)
class Split:
    """Samples of one split: events (N, T, ...) uint8 in NIR's order, labels (N,) class indices.

    `events` is an array, or reads from disk what is asked for (`prepared.Events`).
    """

    events: np.ndarray | Events
    labels: np.ndarray


@dataclass
class Progress:
    """All that the next epoch depends on, and what came of the epochs so far.

    `parameters`, their running `average` and `best` are named as by `networks.named_parameters`;
    `optimiser` holds the leaves of the optimiser's state; `rows` the lines of the learning curves.
    """

    parameters: Arrays
    average: Arrays
    optimiser: list[Any]
    best: Arrays
    epoch: int = 0
    best_epoch: int = 0
    rows: list[dict[str, float]] = field(default_factory=list)


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


class Fit:
    """A network, its loss and its optimiser, compiled once.

    The loss is the cross-entropy of the output's spike counts times `logit_scale`, plus Spyx's
    penalties on silent neurons and on busy layers. The optimiser is AdamW with gradients clipped to
    norm 1 and a rate that rises for a share `warm_up` of the steps and falls to zero along a half
    cosine. Decays are trained only with
    `learn_decays`, as logits within `LOGITS`: NIR's tau = dt / (1 - decay) stays finite and above dt.
    """

    def __init__(self, task: Task, samples: int, most_devices: int | None = None):
        """`samples`: size of the training split; `most_devices`: of a host that share a batch.

        Raises:
            UserError: a batch cannot be shared evenly among the hosts.
        """
        self.task, self.settings = task, task.train
        self.batch = min(task.train.batch_size, samples)
        self.steps = samples // self.batch
        self.model = networks.build(task)
        steps = task.train.epochs * self.steps
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, task.train.learning_rate, int(task.train.warm_up * steps), steps
        )
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, weight_decay=task.train.weight_decay, mask=_weights),
            optax.masked(optax.scale(task.train.decay_lr_multiplier), _decays),
        )
        self._silence = fn.silence_reg(task.train.min_spikes)
        self._sparsity = fn.sparsity_reg(task.train.max_spikes)
        self._cross_entropy = fn.integral_crossentropy(task.train.label_smoothing, time_axis=0)
        self._graph, self._variables = nnx.split(self.model)
        # A step of a network without convolutions is many tiny operations: sharing costs more.
        if not any(isinstance(layer, nnx.Conv) for layer in self.model.layers):
            most_devices = most_devices or 1
        self.devices = distributed.choose(self.batch, most_devices)
        mesh, self._everywhere, self._shared = distributed.shardings(self.devices)
        everywhere, whole, shard = self._everywhere, self._everywhere.spec, self._shared.spec
        split = partial(jax.shard_map, mesh=mesh, check_vma=False)
        self._gradients = split(
            self._shard_gradients, in_specs=(whole, shard, shard), out_specs=whole
        )
        self._step = jax.jit(
            self._train_step,
            in_shardings=(everywhere, everywhere, everywhere, self._shared, self._shared),
            out_shardings=everywhere,
        )
        self._batch_evaluation = jax.jit(
            split(self._evaluate_shard, in_specs=(whole, shard, shard), out_specs=shard),
            in_shardings=(everywhere, self._shared, self._shared),
            out_shardings=everywhere,
        )

    def start(self) -> Progress:
        """Progress before the first epoch, from random weights or from those of `start_from`.

        Raises:
            UserError: the file is missing or broken, or belongs to another network.
        """
        path = self.settings.start_from
        model = networks.from_weights(self.task, path) if path else self.model
        parameters = {
            name: np.asarray(value[...]) for name, value in networks.named_parameters(model).items()
        }
        state = jax.jit(self.optimiser.init)(self._free(parameters))
        leaves = [np.asarray(x) for x in jax.tree.leaves(state)]
        return Progress(parameters, parameters, leaves, parameters)

    def state(self, progress: Progress) -> tuple[Arrays, Arrays, Any]:
        """Parameters, their average and the optimiser's state as optax nests it, on all devices.

        From NumPy's arrays the first step would be compiled by itself.
        """
        init = jax.eval_shape(lambda: self.optimiser.init(self._free(progress.parameters)))
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
            rng = np.random.default_rng([self.settings.seed, epoch])
            order = rng.permutation(len(train.labels))
            parameters, average, optimiser = self.state(progress)
            losses, correct = 0.0, 0
            for events, labels in ahead(self._batches(train, order, rng)):
                before = parameters
                parameters, average, optimiser, loss, right = self._step(
                    parameters, average, optimiser, *self._place(events, labels)
                )
                if not np.isfinite(loss):
                    raise UserError(
                        f"epoch {epoch}: {self._blamed(before, events, labels)} is not a finite "
                        f"number; lower tasks.{self.task.name}.train.learning_rate "
                        f"({self.settings.learning_rate})"
                    )
                losses, correct = losses + float(loss), correct + int(right)
                on_step()
            progress.parameters = {name: np.asarray(value) for name, value in parameters.items()}
            progress.average = {name: np.asarray(value) for name, value in average.items()}
            progress.optimiser = [np.asarray(leaf) for leaf in jax.tree.leaves(optimiser)]
            progress.epoch = epoch
            self._judge(progress, train, validation, losses / self.steps, correct)
            yield progress

    def _batches(
        self, train: Split, order: np.ndarray, rng: np.random.Generator
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for step in range(self.steps):
            chosen = np.sort(order[step * self.batch : (step + 1) * self.batch])
            yield augment(train.events[chosen], self.task, rng), train.labels[chosen]

    def _blamed(self, parameters: Arrays, events: np.ndarray, labels: np.ndarray) -> str:
        """What of a step was not finite: the first layer whose output or whose weights were not."""
        parameters = {name: np.asarray(value) for name, value in parameters.items()}
        _, layers = engine.trace(self._with(parameters), networks.to_model_layout(events))
        for i, (out, _) in enumerate(layers):
            if not np.isfinite(out).all():
                return f"the output of layers.{i} ({type(self.model.layers[i]).__name__})"
        gradients, loss, _ = jax.jit(self._gradients)(parameters, *self._place(events, labels))
        # Backwards: a gradient that is not finite spoils those of all layers before it.
        for name in sorted(gradients, reverse=True):
            if not np.isfinite(gradients[name]).all():
                return f"the gradient of {name}"
        return f"the loss ({float(loss)}) or the norm of its gradient"

    def evaluate(self, parameters: Arrays, split: Split) -> Evaluation:
        """Run the network with `parameters` over `split`."""
        counts, losses, rates = [], [], []
        total = len(split.labels)
        for start in range(0, total, self.batch):
            events = split.events[start : start + self.batch]
            labels = split.labels[start : start + self.batch]
            short = self.batch - len(labels)  # the last batch is filled up to the compiled shape
            events = np.pad(events, [(0, short)] + [(0, 0)] * (events.ndim - 1))
            count, loss, rate = self._batch_evaluation(
                parameters, *self._place(events, np.pad(labels, (0, short)))
            )
            here = self.batch - short
            counts.append(np.asarray(count)[:here])
            losses.append(np.asarray(loss)[:here])
            rates.append({name: np.asarray(value)[:here] for name, value in rate.items()})
        predicted = np.concatenate(counts).argmax(axis=1)
        return Evaluation(
            loss=float(np.concatenate(losses).mean(dtype=np.float64)),
            predicted=predicted,
            correct=int((predicted == split.labels).sum()),
            spike_rate={
                name: float(np.concatenate([rate[name] for rate in rates]).mean(dtype=np.float64))
                for name in rates[0]
            },
        )

    def few(self, split: Split) -> Split:
        """About one batch, taken from all over the split."""
        every = slice(None, None, max(1, len(split.labels) // self.batch))
        return Split(split.events[every], split.labels[every])

    def _judge(
        self, progress: Progress, train: Split, validation: Split, loss: float, correct: int
    ) -> None:
        """Add a line to the curves and keep the average if its validation loss is the lowest so far.

        Not its accuracy: of a few dozen recordings it takes few values, and epochs tie by chance.
        Without validation recordings the last epoch's is kept.

        Its decays and weights are taken to what will be stored, so that the judged network is the
        exported one.
        """
        bits = getattr(self.task.network, "weight_bits", None)
        average = networks.snapped(progress.average, self.task.export.dt, bits)
        held_out = len(validation.labels) > 0
        seen = self.evaluate(average, validation if held_out else self.few(train))
        if silent := [name for name, rate in seen.spike_rate.items() if rate == 0]:
            judged = "the validation split" if held_out else "a batch of the training split"
            raise UserError(
                f"epoch {progress.epoch}: {silent[0]} fires no spike on {judged}; "
                f"lower tasks.{self.task.name}.network.threshold ({self.task.network.threshold}) "
                f"or tasks.{self.task.name}.train.learning_rate ({self.settings.learning_rate})"
            )
        row = {
            "epoch": progress.epoch,
            "train_loss": loss,
            "train_accuracy": correct / (self.steps * self.batch),
        }
        best = True
        if held_out:
            best = seen.loss < min((r["validation_loss"] for r in progress.rows), default=math.inf)
            row["validation_loss"] = seen.loss
            row["validation_accuracy"] = seen.correct / len(validation.labels)
        if best:
            progress.best, progress.best_epoch = average, progress.epoch
        progress.rows.append(row)

    def _train_step(self, parameters, average, state, events, labels):
        gradients, loss, correct = self._gradients(parameters, events, labels)
        # Weights that are not numbers give neurons that never fire, so the loss alone stays finite.
        loss = jnp.where(jnp.isfinite(optax.tree.norm(gradients)), loss, jnp.nan)
        free = self._free(parameters)
        updates, state = self.optimiser.update(gradients, state, free)
        parameters = {**parameters, **_bound(optax.apply_updates(free, updates))}
        average = optax.incremental_update(parameters, average, 1.0 - self.settings.ema_decay)
        return parameters, average, state, loss, correct

    def _shard_gradients(self, parameters, events, labels):
        """Gradients and loss as means, right answers as a sum, over the shards of a batch."""

        def loss_of(free):
            model = self._with({**parameters, **_bound(free)})
            events_in = networks.to_model_layout(events)
            if not (self.settings.min_rate_penalty or self.settings.max_rate_penalty):
                spikes, _ = engine.run(model, events_in)
                return self._loss(spikes, labels), spikes.sum(0)
            spikes, layers = engine.trace(model, events_in)
            counts = [out.sum(0) for out, state in layers if state is not None]
            penalty = self.settings.min_rate_penalty * self._silence(counts)
            penalty += self.settings.max_rate_penalty * self._sparsity(counts)
            return self._loss(spikes, labels) + penalty, spikes.sum(0)

        (loss, counts), gradients = jax.value_and_grad(loss_of, has_aux=True)(
            self._free(parameters)
        )
        correct = (counts.argmax(1) == labels).sum()
        return (*lax.pmean((gradients, loss), "batch"), lax.psum(correct, "batch"))

    def _evaluate_shard(self, parameters, events, labels):
        model = self._with(parameters)
        spikes, layers = engine.trace(model, networks.to_model_layout(events))
        counts = spikes.sum(0)
        # The loss of one sample is the loss of a batch of one.
        losses = jax.vmap(lambda s, l: self._loss(s[:, None], l[None]), (1, 0))(spikes, labels)
        rates = {
            f"layers.{i} ({type(self.model.layers[i]).__name__})": out.mean(
                axis=(0, *range(2, out.ndim))
            )
            for i, (out, state) in enumerate(layers)
            if state is not None
        }
        return counts, losses, rates

    def _place(self, events: np.ndarray, labels: np.ndarray) -> tuple[jax.Array, jax.Array]:
        return distributed.place(events, self._shared), distributed.place(labels, self._shared)

    def _free(self, parameters: Arrays) -> Arrays:
        """What the optimiser changes: all weights and, if they are trained, the decays as logits."""
        return {
            name: jnp.clip(jax.scipy.special.logit(value), *LOGITS)
            if networks.is_decay(name)
            else jnp.asarray(value)
            for name, value in parameters.items()
            if self.settings.learn_decays or not networks.is_decay(name)
        }

    def _loss(self, spikes, labels):
        return self._cross_entropy(self.settings.logit_scale * spikes, labels)

    def _with(self, parameters):
        return networks.with_parameters(nnx.merge(self._graph, self._variables), parameters)


def _weights(parameters: Arrays) -> dict[str, bool]:
    return {name: not networks.is_decay(name) for name in parameters}


def _decays(parameters: Arrays) -> dict[str, bool]:
    return {name: networks.is_decay(name) for name in parameters}


def _bound(free: Arrays) -> Arrays:
    """What the optimiser changed, as parameters: logits become decays."""
    return {
        name: jax.nn.sigmoid(jnp.clip(value, *LOGITS)) if networks.is_decay(name) else value
        for name, value in free.items()
    }
