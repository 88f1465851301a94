"""Training on the grid: a network's integer weights, moved until the chip's own rule gives the answers.

The forward pass is the chip's (`in_jax`): weights are rounded and clipped in every step, neurons spike,
reset and round as they do there. Behind every integer weight stands a float, integer * 2^-exponent at
the start, which the optimiser moves; with `learn_decays`, a logit behind every decay n / 2^bits, too.
Shifts lie too far apart for that: they stay where they are, as thresholds do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from spyx import fn

from pipeline.schema import Target, Task
from pipeline.training.augmentation import augment
from pipeline.training.prefetch import ahead
from pipeline.training.trainer import LOGITS, Split
from spyx_nir.errors import UserError
from spyx_nir.hardware import qat, registry, simulate, straight_through
from spyx_nir.hardware.network import IntegerNetwork

# `weights`: one array for each of the network's; `decays`: population -> its field -> logits.
Floats = dict[str, Any]


class Tuning:
    """A network on a chip's grid, its loss and its optimiser, compiled once.

    Loss and optimiser are those of `pipeline.training.trainer`; rate and epochs those of the target.
    """

    def __init__(self, network: IntegerNetwork, task: Task, target: Target, samples: int):
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
        profile = network.profile
        learns = task.train.learn_decays and profile["neuron.decay"] == "fraction"
        self.decays = ("decay_syn", "decay_mem") if learns else ()
        steps = target.epochs * self.steps
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, target.learning_rate, int(task.train.warm_up * steps), steps
        )
        weights, decays = ({"weights": w, "decays": not w} for w in (True, False))
        self.optimiser = optax.chain(
            optax.clip_by_global_norm(1.0),
            optax.adamw(schedule, weight_decay=task.train.weight_decay, mask=weights),
            optax.masked(optax.scale(task.train.decay_lr_multiplier), decays),
        )
        self._cross_entropy = fn.integral_crossentropy(task.train.label_smoothing, time_axis=0)
        self._silence = fn.silence_reg(task.train.min_spikes)
        self._sparsity = fn.sparsity_reg(task.train.max_spikes)
        self._step = jax.jit(self._train_step)
        self._judged = jax.jit(self._judge)

    def start(self) -> Floats:
        """The floats behind the network's integers."""
        weights = [
            (w.values / scale).astype(np.float32)
            for w, scale in zip(self.network.weights, self.scales, strict=True)
        ]
        decays = {
            p.name: {
                key: self._logits(getattr(p, key))
                for key in self.decays
                if getattr(p, key) is not None
            }
            for p in self.network.populations
        }
        return {"weights": weights, "decays": decays}

    def _logits(self, integers: np.ndarray) -> jax.Array:
        share = integers / 2.0 ** self.network.profile["neuron.decay_bits"]
        return jnp.clip(jax.scipy.special.logit(jnp.asarray(share, jnp.float32)), *LOGITS)

    def on_chip(self, floats: Floats) -> IntegerNetwork:
        """The network with floats on the grid, in float32 with straight-through gradients."""
        profile = self.network.profile
        bits, step = profile["weights.bits"], profile["weights.step"]

        def decay(logits: Any) -> Any:
            share = jax.nn.sigmoid(jnp.clip(logits, *LOGITS))
            return straight_through.fake_fraction(share, profile["neuron.decay_bits"])

        values: list[Any] = [
            straight_through.fake_weights(value, scale, bits, step)
            for value, scale in zip(floats["weights"], self.scales, strict=True)
        ]
        training = registry.family(profile).training()
        values = [training.weights(value, bits, step) for value in values]
        decays = jax.tree.map(decay, floats["decays"])
        return dataclasses.replace(
            self.network,
            weights=tuple(
                dataclasses.replace(weight, values=value)
                for weight, value in zip(self.network.weights, values, strict=True)
            ),
            populations=tuple(
                dataclasses.replace(p, **decays[p.name]) for p in self.network.populations
            ),
        )

    def rounded(self, floats: Floats) -> IntegerNetwork:
        """The network with the integers of floats."""
        found = self.on_chip(floats)

        def whole(item: Any, *names: str) -> Any:
            values = {name: np.asarray(getattr(item, name)).astype(np.int64) for name in names}
            return dataclasses.replace(item, **values)

        weights = tuple(whole(weight, "values") for weight in found.weights)
        populations = tuple(whole(p, *floats["decays"][p.name]) for p in found.populations)
        return dataclasses.replace(found, weights=weights, populations=populations)

    def epochs(
        self, train: Split, judged: Split, on_epoch: Callable[[dict[str, float]], None]
    ) -> IntegerNetwork:
        """Train; the network of the epoch that was best on the split `judged`, the start included.

        Raises:
            UserError: the loss is not finite.
        """
        floats = average = self.start()
        state = self.optimiser.init(floats)
        best, quality = self.network, self.judge(floats, judged)
        on_epoch({"epoch": 0, "loss": float("nan"), "right": quality[0], "kept": True})
        for epoch in range(1, self.target.epochs + 1):
            losses = 0.0
            for events, labels in ahead(self._batches(train, epoch)):
                floats, average, state, loss = self._step(floats, average, state, events, labels)
                losses += float(loss)
            if not np.isfinite(losses):
                raise UserError(
                    f"epoch {epoch}: the loss is not a finite number; lower "
                    f"tasks.{self.task.name}.targets.{self.target.name}.learning_rate "
                    f"({self.target.learning_rate})"
                )
            here = self.judge(average, judged)
            kept = here > quality
            if kept:
                best, quality = self.rounded(average), here
            on_epoch({"epoch": epoch, "loss": losses / self.steps, "right": here[0], "kept": kept})
        return best

    def judge(self, floats: Floats, split: Split) -> tuple[int, float]:
        """How many recordings of a split the chip's rule tells right, and minus the mean loss."""
        correct, losses = 0, []
        for start in range(0, len(split.labels), self.batch):
            events = split.events[start : start + self.batch]
            labels = split.labels[start : start + self.batch]
            short = self.batch - len(labels)  # filled up to the compiled shape
            events = np.pad(events, [(0, short)] + [(0, 0)] * (events.ndim - 1))
            counts, loss = self._judged(floats, self._input(events), np.pad(labels, (0, short)))
            predicted = np.asarray(counts).argmax(-1)[: len(labels)]
            correct += int((predicted == labels).sum())
            losses.append(np.asarray(loss)[: len(labels)])
        return correct, -float(np.concatenate(losses).mean(dtype=np.float64))

    def _batches(self, train: Split, epoch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        rng = np.random.default_rng([self.task.train.seed, epoch])
        order = rng.permutation(len(train.labels))
        for step in range(self.steps):
            chosen = np.sort(order[step * self.batch : (step + 1) * self.batch])
            events = augment(train.events[chosen], self.task, rng)
            yield self._input(events), train.labels[chosen]

    def _input(self, events: np.ndarray) -> np.ndarray:
        """Events (B, T, ...) as what the chip's rule takes: (T + its delay, B, ...), uint8."""
        (x,) = simulate.padded(self.network, events).values()
        return x.astype(np.uint8)

    def _train_step(self, floats, average, state, events, labels):
        loss, gradients = jax.value_and_grad(self._loss)(floats, events, labels)
        updates, state = self.optimiser.update(gradients, state, floats)
        floats = optax.apply_updates(floats, updates)
        average = optax.incremental_update(floats, average, 1.0 - self.task.train.ema_decay)
        return floats, average, state, loss

    def _loss(self, floats, events, labels):
        settings = self.task.train
        trace = self._run(floats, events)
        loss = self._cross_entropy(settings.logit_scale * trace.spikes[self.output], labels)
        counts = [spikes.sum(0) for spikes in trace.spikes.values()]
        if settings.min_rate_penalty:
            loss += settings.min_rate_penalty * self._silence(counts)
        if settings.max_rate_penalty:
            loss += settings.max_rate_penalty * self._sparsity(counts)
        return loss

    def _run(self, floats, events):
        steepness = self.task.network.surrogate_slope
        return qat.run(self.on_chip(floats), events, steepness)

    def _judge(self, floats, events, labels):
        """Spikes (B, classes) and the loss of every recording by itself (B,)."""
        spikes = self._run(floats, events).spikes[self.output]
        scaled = self.task.train.logit_scale * spikes
        one = jax.vmap(lambda s, l: self._cross_entropy(s[:, None], l[None]), (1, 0))
        return spikes.sum(0), one(scaled, labels)


def _output(network: IntegerNetwork) -> str:
    (name,) = (population.name for population in network.populations if population.output)
    return name
