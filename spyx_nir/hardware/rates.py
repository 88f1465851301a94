"""How busy a chip is: synaptic operations and input events a second, from a simulation's spikes.

A spike makes one operation in every neuron that it reaches, in the step in which it arrives: a step
later than it is sent where the chip delays, and later still where the weight does. As in `Topology.fan`,
a weight of 0 is no connection in a matrix; in a convolution every tap counts that is on the map. Each
spike of a multi-spike neuron counts, and an input of n counts is n spikes, up to the chip's
`neuron.input_spikes_per_step`.

    mean    operations of all recordings / (recordings * steps of the input * length of a step)
    peak    operations of the busiest step of any recording / length of a step

Bursts within a step are not seen. The vendor's formula for Speck is the same without the map's borders,
spikes/s * C_out * kx * ky / (sx * sy) (synsense/sinabs docs/speck/tips_for_training.md).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

import numpy as np

from spyx_nir import neurobench
from spyx_nir.hardware import simulate
from spyx_nir.hardware.network import IntegerNetwork, Run, Weight


@dataclass(frozen=True)
class Rate:
    """A second, in recordings of real time."""

    mean: float
    peak: float


@dataclass(frozen=True)
class Rates:
    """events: of the input. synops: of the whole network. layers: population -> into its neurons."""

    events: Rate
    synops: Rate
    layers: dict[str, Rate]


@dataclass
class RateMeter:
    """Adds up the counts of several runs of one network.

    Fields:
        network: what is run. steps: of the input, without the silent ones. step_s: length of a step, s.
    """

    network: IntegerNetwork
    steps: int
    step_s: float
    recordings: int = 0
    _total: dict[str, int] = field(default_factory=dict)
    _busiest: dict[str, int] = field(default_factory=dict)

    def add(self, x: dict[str, np.ndarray], run: Run) -> None:
        """Count a run: its input, (T, B, *shape) per name, padded, and what the simulator gave."""
        most = self.network.profile["neuron.input_spikes_per_step"]
        sent = {name: np.minimum(data, most) if most else data for name, data in x.items()}
        layers = operations(self.network, {**sent, **run.spikes})
        self._count("events", sum(_flat(data).sum(axis=-1) for data in sent.values()))
        self._count("synops", sum(layers.values()))
        for name, done in layers.items():
            self._count(f"layer {name}", done)
        self.recordings += next(iter(x.values())).shape[1]

    def _count(self, what: str, counts: np.ndarray | int) -> None:
        counts = np.asarray(counts)
        self._total[what] = self._total.get(what, 0) + int(counts.sum())
        self._busiest[what] = max(self._busiest.get(what, 0), int(counts.max(initial=0)))

    def result(self) -> Rates:
        """The rates of all runs that were added.

        Raises:
            ValueError: none was.
        """
        if not self.recordings:
            raise ValueError("no run was added")
        seconds = self.recordings * self.steps * self.step_s
        rates = {
            what: Rate(total / seconds, self._busiest[what] / self.step_s)
            for what, total in self._total.items()
        }
        layers = {p.name: rates[f"layer {p.name}"] for p in self.network.populations}
        return Rates(rates["events"], rates["synops"], layers)


def operations(network: IntegerNetwork, spikes: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Population -> synaptic operations of each step and recording, (T, B) int64.

    spikes: input or population -> (T, B, *shape), what it sends in a step.
    """
    steps, batch = next(iter(spikes.values())).shape[:2]
    done = {p.name: np.zeros((steps, batch), np.int64) for p in network.populations}
    for weight in network.weights:
        # In float64, which holds these sums exactly and multiplies fast.
        sent = _flat(spikes[weight.source]).astype(np.float64)
        for further, values in weight.by_delay():
            part = dataclasses.replace(weight, values=values)
            fan = fan_out(part, spikes[weight.source].shape[2:])
            met = (sent @ fan.ravel()).astype(np.int64)
            delay = further + int(simulate.is_delayed(network, weight.source))
            done[weight.target][delay:] += met[: max(0, steps - delay)]
    return done


def fan_out(weight: Weight, shape: tuple[int, ...]) -> np.ndarray:
    """How many neurons a spike of each source reaches, float64 of the source's `shape`."""
    sizes = [shape]
    for window in weight.pools:
        c, h, w = sizes[-1]
        sizes.append((c, h // window, w // window))
    matrix = weight.values.ndim == 2
    used = weight.values if matrix else np.ones_like(weight.values)
    node = {
        "weight": used,
        "stride": weight.stride,
        "padding": weight.padding,
        "dilation": weight.dilation,
    }
    arrives = (weight.values.shape[1],) if matrix else weight.shape
    fan = neurobench.fan_out(node, arrives).astype(np.float64).reshape(sizes[-1])
    for window, (_, height, width) in zip(
        reversed(weight.pools), reversed(sizes[:-1]), strict=True
    ):
        fan = fan.repeat(window, axis=1).repeat(window, axis=2)
        missing = (0, 0), (0, height - fan.shape[1]), (0, width - fan.shape[2])
        fan = np.pad(fan, missing)  # what the windows leave out reaches nobody
    return fan


def _flat(x: np.ndarray) -> np.ndarray:
    """(T, B, *shape) as (T, B, N)."""
    return x.reshape(*x.shape[:2], -1)
