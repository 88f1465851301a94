"""A forward pass that `trainer.Trainer` trains: the protocol, and the network of a task in float32.

The forward pass of quantisation-aware training is in `pipeline.training.qat`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from pipeline.schema import Task
from pipeline.training import decays, engine, networks
from pipeline.training.augmentation import augment
from spyx_nir.errors import UserError

Tree = Any  # a pytree of arrays
Spikes = tuple[jax.Array, dict[str, jax.Array]]  # output (T, B, classes); by layer, (T, B, ...)


class Forward(Protocol):
    """A network as the trainer needs it; parameters and what is free of them are pytrees.

    rate_key: the learning rate's path in params.yaml, for messages.
    shares_batches: whether several devices can share a batch, `most_devices` of a host; None for all.
    """

    rate_key: str
    shares_batches: bool
    most_devices: int | None

    def initial(self) -> Tree:
        """The parameters before the first step, as arrays of NumPy."""

    def decays(self, free: Tree) -> Tree:
        """True for every decay in `free`, False for every weight; may be a prefix of its tree."""

    def run(self, parameters: Tree, events: Any, layers: bool = True) -> Spikes:
        """Run events (B, T, ...), or what `batch` makes of them.

        layers: whether what is not the output is asked for, too.
        """

    def train(self, parameters: Tree, events: Any, layers: bool) -> tuple[Spikes, Tree]:
        """As `run`, in a step of training; and what layers change by themselves, see `changed`."""
        return self.run(parameters, events, layers), {}

    def changed(self, parameters: Tree, changes: Tree) -> Tree:
        """The parameters with what layers changed by themselves in a step of training."""
        return parameters

    def augment(self, events: Any, task: Task, rng: np.random.Generator) -> Any:
        """Training recordings, changed at random."""
        return augment(events, task, rng)

    def batch(self, parameters: Tree, events: Any, size: int) -> Tree:
        """Recordings as `run` takes them: arrays (size, ...), silent behind the last recording."""
        if len(events) == size:
            return events
        return np.pad(events, [(0, size - len(events))] + [(0, 0)] * (events.ndim - 1))

    def quality(self, loss: float, correct: int) -> list[float]:
        """A loss and the right answers of the split that chooses the epoch; larger is better."""

    def free(self, parameters: Tree) -> Tree:
        """What the optimiser changes of the parameters."""
        return parameters

    def bind(self, parameters: Tree, free: Tree) -> Tree:
        """The parameters with what the optimiser changed."""
        return free

    def stored(self, parameters: Tree) -> Tree:
        """The parameters as they are evaluated and stored."""
        return parameters

    def check(self, silent: list[str], epoch: int, split: str) -> None:
        """Raises UserError: the layers `silent` must not be without a spike."""
        return

    def not_finite(self, parameters: Tree, events: np.ndarray) -> str | None:
        """The first layer whose output is not finite."""
        return None


class FloatForward(Forward):
    """The network of a task in float32; parameters are named as by `networks.named_parameters`.

    Decays are trained only with `learn_decays`, within `decays.LOGITS`: NIR's tau = dt / (1 - decay)
    stays finite and above dt.
    """

    shares_batches = True

    def __init__(self, task: Task):
        self.task = task
        self.model = networks.build(task)
        self.rate_key = f"tasks.{task.name}.train.learning_rate"
        # A step of a network without convolutions is many tiny operations: sharing costs more.
        convolutions = any(isinstance(part, nnx.Conv) for _, part in nnx.iter_modules(self.model))
        self.most_devices = None if convolutions else 1
        self._graph, self._variables = nnx.split(self.model)
        found = engine.layers(self.model, networks.one_step(task))
        self._layers = [f"{path} ({type(layer).__name__})" for path, layer in found]
        self._with_state = [
            name
            for name, (_, layer) in zip(self._layers, found, strict=True)
            if hasattr(layer, "initial_state")
        ]
        parts = [part for _, part in nnx.iter_modules(self.model)]
        self._changes = any(isinstance(part, nnx.BatchNorm | nnx.Dropout) for part in parts)
        state = nnx.state(self.model, nnx.BatchStat)
        self._statistics = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(state)}

    def initial(self) -> dict[str, np.ndarray]:
        """Random weights, or those of `train.start_from`.

        Raises:
            UserError: the file is missing or broken, or belongs to another network.
        """
        path = self.task.train.start_from
        model = networks.from_weights(self.task, Path(path)) if path else self.model
        found = networks.named_parameters(model)
        return {name: np.asarray(value[...]) for name, value in found.items()}

    def free(self, parameters: Tree) -> Tree:
        """All weights and, if they are trained, the decays as logits."""
        return {
            name: decays.to_logits(value) if decays.is_decay(name) else jnp.asarray(value)
            for name, value in parameters.items()
            if name not in self._statistics
            and (self.task.train.learn_decays or not decays.is_decay(name))
        }

    def bind(self, parameters: Tree, free: Tree) -> Tree:
        """The parameters with free weights, and with decays from their logits."""
        return parameters | {
            name: decays.from_logits(value) if decays.is_decay(name) else value
            for name, value in free.items()
        }

    def decays(self, free: Tree) -> Tree:
        """Which of the free parameters are decays."""
        return {name: decays.is_decay(name) for name in free}

    def run(self, parameters: Tree, events: jax.Array, layers: bool = True) -> Spikes:
        """As `Forward.run`; layers without state are left out."""
        model, x = self.with_parameters(parameters), networks.to_model_layout(events)
        if not layers:
            return engine.run(model, x)[0], {}
        spikes, traced = engine.trace(model, x)
        return spikes, {
            name: out
            for name, (out, state) in zip(self._layers, traced, strict=True)
            if state is not None
        }

    def train(self, parameters: Tree, events: jax.Array, layers: bool) -> tuple[Spikes, Tree]:
        """As `Forward.train`: a model with BatchNorm or Dropout runs in training mode.

        Dropout's masks depend on `train.seed` and on the events of the batch.
        """
        if not self._changes:
            return self.run(parameters, events, layers), {}
        graph, state = nnx.split(self.with_parameters(parameters))
        drawn = jax.random.key(self.task.train.seed)
        drawn = jax.random.fold_in(drawn, jnp.sum(events, dtype=jnp.uint32))
        flat = [
            (path, variable.replace(drawn) if isinstance(variable, nnx.RngKey) else variable)
            for path, variable in nnx.to_flat_state(state)
        ]
        model = nnx.merge(graph, nnx.from_flat_state(flat))
        model.train()
        out, seen, others = engine.run_changing(model, networks.to_model_layout(events))
        found = {
            ".".join(map(str, path)): variable[...]
            for path, variable in nnx.to_flat_state(others)
            if isinstance(variable, nnx.BatchStat)
        }
        return (out, dict(zip(self._with_state, seen, strict=True))), found

    def changed(self, parameters: Tree, changes: Tree) -> Tree:
        """The parameters with the statistics of BatchNorm after a step."""
        return parameters | changes

    def with_parameters(self, parameters: Tree) -> Any:
        """The model with these parameters."""
        return networks.with_parameters(nnx.merge(self._graph, self._variables), parameters)

    def stored(self, parameters: Tree) -> dict[str, np.ndarray]:
        """Decays and weights as NIR carries them, so that the judged network is the exported one."""
        bits = getattr(self.task.network, "weight_bits", None)
        return decays.snapped(parameters, self.task.export.dt, bits)

    def quality(self, loss: float, correct: int) -> list[float]:
        """Minus the loss: the accuracy of a few dozen recordings takes few values, and epochs tie by
        chance."""
        return [-loss]

    def check(self, silent: list[str], epoch: int, split: str) -> None:
        """Raises UserError: a layer never fires."""
        if silent:
            raise UserError(
                f"epoch {epoch}: {silent[0]} fires no spike on {split}; "
                f"lower tasks.{self.task.name}.network.threshold ({self.task.network.threshold}) "
                f"or {self.rate_key} ({self.task.train.learning_rate})"
            )

    def not_finite(self, parameters: Tree, events: np.ndarray) -> str | None:
        """The first layer, with or without state, whose output is not finite."""
        model = self.with_parameters(parameters)
        _, layers = engine.trace(model, networks.to_model_layout(events))
        for name, (out, _) in zip(self._layers, layers, strict=True):
            if not np.isfinite(out).all():
                return f"the output of {name}"
        return None
