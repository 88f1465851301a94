"""A quantised network on recordings, as integers and as floats, and how far they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spyx_nir import neurobench
from spyx_nir.hardware import costs, simulate
from spyx_nir.hardware.network import IntegerNetwork, Run
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan

CHUNK = 50  # recordings at a time: N-MNIST's counts of 50 are 20 MB
STREAMED = 200  # recordings in a stream: N-MNIST's take half a minute on one core

# Called with the first recording of a chunk, the chunk's padded input and what the simulator gave.
Watch = Callable[[int, dict[str, np.ndarray], Run], None]


@dataclass
class Assessment:
    """predicted, as_floats: (N,) class indices by integers, and by NIR's rule on the same graph.

    layers: population -> over as many steps as the input has, from the population's own delay on:
    `entries` (steps of neurons), `agreeing` (of these, both spike equally often), `spikes`,
    `float_spikes`; over all steps: `saturated`, `multiple`, `ties` (see `network.Run`).
    counts: what the integers cost, in parts that together are all recordings; see `costs.report`.
    """

    predicted: list[int] = field(default_factory=list)
    as_floats: list[int] = field(default_factory=list)
    layers: dict[str, Counter[str]] = field(default_factory=dict)
    counts: list[neurobench.Counts] = field(default_factory=list)

    @property
    def saturated(self) -> dict[str, int]:
        """Population -> how often a state saturated."""
        return {name: layer["saturated"] for name, layer in self.layers.items()}

    def rows(self) -> list[dict[str, Any]]:
        """The spiking populations as metrics and manifest have them: rates by entry, and counts."""
        return [
            {
                "node": name,
                "agreement": layer["agreeing"] / layer["entries"],
                "spike_rate": layer["spikes"] / layer["entries"],
                "float_spike_rate": layer["float_spikes"] / layer["entries"],
                "multi_spike": layer["multiple"],
                **{key: layer[key] for key in ("entries", "saturated", "ties")},
            }
            for name, layer in self.layers.items()
            if layer["entries"]  # of a membrane that is read there are none
        ]


def assess(
    network: IntegerNetwork, plan: Plan | None, events: Any, watch: Watch | None = None
) -> Assessment:
    """Simulate all of `events` (N, T, *shape).

    Args:
        plan: of the graph that `quantise.on_grid` made; None leaves the floats and the cost out.
        watch: is called with every run.

    Raises:
        GraphError: see `simulate.run`.
    """
    found = Assessment(layers={p.name: Counter() for p in network.populations})
    (output,) = (p for p in network.populations if p.output)
    delays = simulate.delays(network)
    if plan is not None:
        nodes = plan.nodes
        float_delays = simulate.accumulated(network, lambda _, to: nodes[to].get("spike_delay", 0))
    steps = events.shape[1]
    for start in range(0, len(events), CHUNK):
        x = simulate.padded(network, events[start : start + CHUNK])
        run = simulate.run(network, x, record=plan is not None)
        if watch is not None:
            watch(start, x, run)
        found.predicted += classes(run.shown(output))
        for name, layer in found.layers.items():
            layer["saturated"] += run.saturated[name]
            layer["multiple"] += run.multiple[name]
            layer["ties"] += run.ties[name]
        if plan is None:
            continue
        found.counts.append(costs.counts(network, x, run, steps))
        floats = reference.run(plan, x[next(iter(x))])
        found.as_floats += floats.output.sum(axis=0).argmax(-1).tolist()
        for name, layer in found.layers.items():
            if name not in floats.spikes:
                continue  # its membrane is read
            ours = run.spikes[name][delays[name] :][:steps]
            theirs = floats.spikes[name][float_delays[name] :][:steps]
            layer["entries"] += ours.size
            layer["agreeing"] += int((ours == theirs).sum())
            layer["spikes"] += int(ours.sum(dtype=np.int64))
            layer["float_spikes"] += int(theirs.sum())
    return found


def classes(shown: np.ndarray) -> list[int]:
    """The class of every recording: most spikes, or the highest membrane over all steps.

    shown: (T, B, classes), see `Run.shown`.
    """
    found: list[int] = shown.sum(axis=0, dtype=np.int64).argmax(-1).tolist()
    return found


def in_a_stream(network: IntegerNetwork, events: Any) -> list[int]:
    """The classes of `events` (N, T, *shape), one behind the other, with no reset in between.

    States go on from one recording to the next, as on a chip that nobody resets. Behind each recording
    are the silent steps in which its delayed spikes arrive; what is seen up to there is its answer.

    Raises:
        GraphError: see `simulate.run`.
    """
    (output,) = (p for p in network.populations if p.output)
    ((name, x),) = simulate.padded(network, events).items()
    steps, count = x.shape[:2]
    stream = np.swapaxes(x, 0, 1).reshape(steps * count, 1, *x.shape[2:])
    shown = simulate.run(network, {name: stream}).shown(output)
    return classes(np.swapaxes(shown.reshape(count, steps, *output.shape), 0, 1))
