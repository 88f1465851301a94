"""A quantised network on recordings, event by event, for chips that take events."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from spyx_nir.hardware import registry, simulate
from spyx_nir.hardware.evaluate import CHUNK, Watch
from spyx_nir.hardware.network import IntegerNetwork, Run

THREADS = 2  # that simulate recordings; what they find does not depend on it


class Stream(NamedTuple):
    """A recording as the chip gets it, by time: `address`, indices into the input's flattened shape, and
    `step`, the step of the task in which each event comes; both (events,) int64."""

    address: np.ndarray
    step: np.ndarray


@dataclass
class EventAssessment:
    """predicted: (N,) the class that spikes most often in a recording, the first one of equals.

    layers: population -> over all recordings `spikes`, `synops` (weights added), `saturated` (states
    beyond the chip's bits), `held` (spikes after which a neuron stayed at or above its threshold), and
    `most_synops` of one recording.
    """

    predicted: list[int] = field(default_factory=list)
    layers: dict[str, Counter[str]] = field(default_factory=dict)

    @property
    def saturated(self) -> dict[str, int]:
        """Population -> how often a state was beyond the chip's bits."""
        return {name: layer["saturated"] for name, layer in self.layers.items()}


def assess_events(
    network: IntegerNetwork, recordings: Sequence[Stream], steps: int, watch: Watch | None = None
) -> EventAssessment:
    """Run recordings by the event-driven rule of the network's chip.

    Args:
        steps: of a recording. watch: is called with every run, its spikes counted by steps.

    Raises:
        GraphError: the chip takes no events, or see `families.<family>.event_rule.run_events`.
    """
    program = registry.event_driven(network.profile).program(network)
    found = EventAssessment(layers={p.name: Counter() for p in network.populations})
    ((name, shape),) = network.inputs.items()
    (output,) = (p for p in network.populations if p.output)
    for first in range(0, len(recordings), CHUNK):
        some = recordings[first : first + CHUNK]
        x = np.zeros((steps, len(some), *shape), np.int64)
        none = {p.name: 0 for p in network.populations}
        seen = Run(
            {
                p.name: np.zeros((steps, len(some), *p.shape), np.uint16)
                for p in network.populations
            },
            saturated=dict(none),
            multiple=dict(none),
            ties=dict(none),
        )
        with ThreadPoolExecutor(THREADS) as threads:
            runs = threads.map(lambda one: program.run({name: one.address}), some)
        for row, (recording, run) in enumerate(zip(some, runs, strict=True)):
            count_into(x[:, row], recording.step, recording.address)
            for path, trains in run.items():
                count_into(seen.spikes[path][:, row], recording.step[trains.event], trains.neuron)
                seen.saturated[path] += trains.saturated
                layer = found.layers[path]
                layer["spikes"] += len(trains.event)
                for what in ("synops", "saturated", "held"):
                    layer[what] += getattr(trains, what)
                layer["most_synops"] = max(layer["most_synops"], trains.synops)
        found.predicted += seen.spikes[output.name].sum(axis=0, dtype=np.int64).argmax(-1).tolist()
        if watch is not None:
            watch(first, {name: x}, seen)
    return found


def in_a_stream(network: IntegerNetwork, recordings: Sequence[Stream]) -> list[int]:
    """The classes of recordings, one behind the other, with no reset in between.

    Raises:
        GraphError: as `assess_events`.
    """
    program = registry.event_driven(network.profile).program(network)
    (name,) = network.inputs
    (output,) = (p for p in network.populations if p.output)
    trains = program.run({name: np.concatenate([one.address for one in recordings])})[output.name]
    number = np.repeat(np.arange(len(recordings)), [len(one.address) for one in recordings])
    counts = np.zeros((len(recordings), *output.shape), np.int64)
    count_into(counts, number[trains.event], trains.neuron)
    return list(map(int, counts.argmax(-1)))


def counts(
    network: IntegerNetwork, recordings: Sequence[np.ndarray], compiled: bool = True
) -> dict[str, np.ndarray]:
    """How often every neuron spikes in each recording: population -> (N, *shape) int64.

    Args:
        recordings: each (events,), as `Stream.address`.
        compiled: whether numba's program runs them, which takes seconds to compile, or NumPy.

    Raises:
        GraphError: as `assess_events`.
    """
    (name,) = network.inputs
    run: Callable[[dict[str, np.ndarray]], dict[str, Any]]
    if compiled:
        run = registry.event_driven(network.profile).program(network).run
    else:
        run = functools.partial(simulate.run_events, network)
    runs = [run({name: addresses}) for addresses in recordings]
    return {
        p.name: np.stack(
            [np.bincount(run[p.name].neuron, minlength=int(np.prod(p.shape))) for run in runs]
        ).reshape(len(runs), *p.shape)
        for p in network.populations
    }


def count_into(counts: np.ndarray, step: np.ndarray, place: np.ndarray) -> None:
    """Add to counts (T, *shape) what happens in each step at each place of the flattened shape."""
    flat = np.bincount(step * counts[0].size + place, minlength=counts.size)
    counts += flat.reshape(counts.shape).astype(counts.dtype)
