"""Quantisation-aware training (QAT) for a chip that takes events one by one.

The forward pass is the chip's event-driven rule itself, compiled and run on the host before every step of
training; gradients go along what it did, in steps of the task (`families.<family>.qat.run_along`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from pipeline.datasets.recordings import addresses
from pipeline.schema import Task
from pipeline.training.augmentation import augment_events
from pipeline.training.forward import Spikes, Tree
from pipeline.training.qat import QatForward
from spyx_nir.hardware import registry
from spyx_nir.hardware.evaluate_events import THREADS, count_into
from spyx_nir.hardware.network import IntegerNetwork


class EventForward(QatForward):
    """A network of integers that takes recordings as events, `recordings.Events`."""

    unit = "event by event, "

    def __init__(self, network: IntegerNetwork, task: Task, target: str):
        super().__init__(network, task, target)
        (self.shape,) = network.inputs.values()
        self.driven = registry.event_driven(network.profile)

    def augment(self, events: Any, task: Task, rng: np.random.Generator) -> Any:
        """Training recordings, changed at random."""
        return augment_events(events, task, self.shape, rng)

    def batch(self, parameters: Tree, events: Any, size: int) -> Tree:
        """What the chip does with recordings, as `run_along` takes it; silent behind the last one."""
        network = self.quantised(jax.tree.map(np.asarray, parameters))
        program = self.driven.program(network)
        data = self.task.data
        arrays = {"input": np.zeros((size, data.bins, *self.shape), np.uint8)}
        for p in network.populations:
            for kind, dtype in (("spikes", np.uint16), ("membrane", np.int32)):
                arrays[f"{kind}/{p.name}"] = np.zeros((size, data.bins, *p.shape), dtype)

        def fill(row: int) -> None:
            step = events[row]["t"] // data.bin_us
            place = addresses(events[row], self.shape)
            count_into(arrays["input"][row], step, place)
            ends = np.searchsorted(step, np.arange(1, data.bins + 1)).astype(np.int64)
            (name,) = network.inputs
            for population, trains in program.run({name: place}, ends).items():
                count_into(arrays[f"spikes/{population}"][row], step[trains.event], trains.neuron)
                arrays[f"membrane/{population}"][row] = trains.membranes

        with ThreadPoolExecutor(THREADS) as threads:
            list(threads.map(fill, range(len(events))))
        return arrays

    def run(self, parameters: Tree, events: Any, layers: bool = True) -> Spikes:
        """As `Forward.run`; events: what `batch` gives."""
        steepness = self.task.network.surrogate_slope
        spikes = self.driven.run_along(self.on_chip(parameters), events, steepness)
        return spikes[self.output], spikes
