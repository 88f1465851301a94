"""A quantised network on recordings, event by event, for chips that take events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from spyx_nir.hardware import registry
from spyx_nir.hardware.network import IntegerNetwork


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


def assess_events(network: IntegerNetwork, recordings: Iterable[np.ndarray]) -> EventAssessment:
    """Run recordings by the event-driven rule of the network's chip.

    Args:
        recordings: each (events,), indices into the input's flattened shape, in order of time.

    Raises:
        GraphError: the chip takes no events, or see `families.<family>.event_rule.run_events`.
    """
    program = registry.event_driven(network.profile).program(network)
    found = EventAssessment(layers={p.name: Counter() for p in network.populations})
    (name,) = network.inputs
    (output,) = (p for p in network.populations if p.output)
    for addresses in recordings:
        run = program.run({name: addresses})
        counts = np.bincount(run[output.name].neuron, minlength=int(np.prod(output.shape)))
        found.predicted.append(int(counts.argmax()))
        for path, layer in found.layers.items():
            trains = run[path]
            layer["spikes"] += len(trains.event)
            for what in ("synops", "saturated", "held"):
                layer[what] += getattr(trains, what)
            layer["most_synops"] = max(layer["most_synops"], trains.synops)
    return found


def counts(network: IntegerNetwork, recordings: Iterable[np.ndarray]) -> dict[str, np.ndarray]:
    """How often every neuron spikes in each recording: population -> (N, *shape) int64.

    Args, Raises: as `assess_events`.
    """
    program = registry.event_driven(network.profile).program(network)
    (name,) = network.inputs
    runs = [program.run({name: addresses}) for addresses in recordings]
    return {
        p.name: np.stack(
            [np.bincount(run[p.name].neuron, minlength=int(np.prod(p.shape))) for run in runs]
        ).reshape(len(runs), *p.shape)
        for p in network.populations
    }
