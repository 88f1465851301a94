"""What metrics/<task>-<target>.json says of a chip's network beyond accuracy and cost.

Rates and latency are of the whole test set; robustness, and the comparison with the trained network, of
up to `SAMPLES` recordings, evenly spread over it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.datasets.recordings import addresses
from spyx_nir import confidence
from spyx_nir.hardware import latency, perturb, registry, simulate
from spyx_nir.hardware.evaluate import Assessment, classes
from spyx_nir.hardware.evaluate_events import EventAssessment, Stream, assess_events
from spyx_nir.hardware.layer_errors import Agreement, layer_errors
from spyx_nir.hardware.network import IntegerNetwork, Run
from spyx_nir.hardware.rates import Rate, RateMeter, Rates
from spyx_nir.hardware.topology import PlannedGraph, analyse
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan

SAMPLES = 100
SEED = 17
PART = 25  # recordings that share their flipped bits and their hot channels
LOST = (0.01, 0.05, 0.1)  # probability of each event
JITTER = 1  # steps
FLIPPED = (1e-5, 1e-4)  # probability of each bit of a weight
HOT = 100  # one input channel of so many, and at least one


# (times in microseconds, addresses) of a recording's events -> the same, changed, in any order.
Change = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Recordings:
    """The test set as a chip gets it.

    events: (N, T, *shape) counts. labels: (N,) class indices. step_us: length of a step. most: the
    largest count that an input can have. streams: the same as events in order of time, for a chip that
    takes them one by one; see `recordings.read`.
    """

    events: Any
    labels: np.ndarray
    step_us: int
    most: int
    streams: Any = None

    @property
    def steps(self) -> int:
        """T."""
        return int(self.events.shape[1])

    @property
    def channels(self) -> int:
        """Inputs of a step."""
        return int(np.prod(self.events.shape[2:]))

    def few(self) -> Recordings:
        """The chosen recordings alone, as counts that another process can be given."""
        chosen = self.chosen
        return Recordings(self.events[chosen], self.labels[chosen], self.step_us, self.most)

    def taken(
        self, chosen: np.ndarray, changed: Change = lambda time, address: (time, address)
    ) -> list[Stream]:
        """Recordings as a chip that takes events gets them; changed: what becomes of their events."""
        shape = self.events.shape[2:]
        found = []
        for one in self.streams[chosen]:
            time, address = changed(one["t"].astype(np.int64), addresses(one, shape))
            order = np.argsort(time, kind="stable")
            found.append(Stream(address[order], time[order] // self.step_us))
        return found

    @property
    def chosen(self) -> np.ndarray:
        """Up to `SAMPLES` indices, evenly spread, rising."""
        count = min(SAMPLES, len(self.labels))
        return np.arange(count) * len(self.labels) // count


class Trained:
    """The trained float network, whose spikes several probes compare with; each run is done once."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._spikes: dict[int, dict[str, np.ndarray]] = {}

    def spikes(self, first: int, x: np.ndarray) -> dict[str, np.ndarray]:
        """Neuron -> spikes (T, B, *shape) of the recordings `x` from `first` on, time-major."""
        if first not in self._spikes:
            spikes = reference.run(self.plan, x).spikes
            self._spikes[first] = {name: array.astype(np.uint8) for name, array in spikes.items()}
        return self._spikes[first]


class Probe:
    """Sees the runs of `assess`: agreement with the trained network; if `shipped`, rates and output."""

    def __init__(
        self, network: IntegerNetwork, trained: Trained, recordings: Recordings, shipped: bool
    ) -> None:
        self.shipped = shipped
        self.network, self.trained, self.recordings = network, trained, recordings
        self.meter = RateMeter(network, recordings.steps, recordings.step_us / 1e6)
        self.agreement = Agreement(network)
        self._outputs: list[np.ndarray] = []
        (self._output,) = (p for p in network.populations if p.output)
        nodes = trained.plan.nodes
        self._delays = simulate.accumulated(network, lambda _, to: nodes[to].get("spike_delay", 0))

    def __call__(self, first: int, x: dict[str, np.ndarray], run: Run) -> None:
        """See a run of recordings from `first` on, time-major."""
        if self.shipped:
            self.meter.add(x, run)
            self._outputs.append(run.shown(self._output))
        (data,) = x.values()
        chosen = self.recordings.chosen - first
        chosen = chosen[(chosen >= 0) & (chosen < data.shape[1])]
        if len(chosen):
            floats = self.trained.spikes(first, data[:, chosen])
            spikes = {name: array[:, chosen] for name, array in run.spikes.items()}
            self.agreement.add(spikes, floats, self._delays, self.recordings.steps)

    @property
    def output(self) -> np.ndarray:
        """What is read of the output, (T with silent steps, N, classes); see `Run.shown`."""
        return np.concatenate(self._outputs, axis=1)


def report(
    start: PlannedGraph,
    shipped: tuple[Probe, Assessment | EventAssessment],
    ptq: tuple[Probe, Assessment],
    disturbed: list[Disturbed],
) -> dict[str, Any]:
    """`rates`, `latency`, `robustness` and `quantisation` of a network's metrics.

    Args:
        start: the trained graph as it was quantised. shipped: the network of the bundle. ptq: the one
            before quantisation-aware training. disturbed: what `disturb_all` gave.
    """
    probe, found = shipped
    recordings = probe.recordings
    return {
        "rates": rate_metrics(probe.meter.result(), probe.network, start, recordings),
        "latency": latency_metrics(probe.output, recordings),
        "robustness": robustness_metrics(recordings, found.predicted, disturbed),
        "quantisation": [
            row
            for which, (seen, runs) in (("ptq", ptq), ("integer", shipped))
            for row in quantisation_metrics(which, start, seen, runs.saturated)
        ],
    }


def rate_metrics(
    rates: Rates, network: IntegerNetwork, start: PlannedGraph, recordings: Recordings
) -> dict[str, Any]:
    """Rates as the metrics file has them; `limit_per_s` is None where no source has a number."""
    profile = network.profile
    rows, _ = registry.family(profile).place(analyse(start.plan), profile)
    cores = {row["layer"]: row["core"] for row in rows}
    limits = [profile[key] for key in ("cores.synops_per_s",) if key in profile]

    def both(rate: Rate) -> dict[str, float]:
        return {"mean_per_s": rate.mean, "peak_per_s": rate.peak}

    return {
        "step_ms": recordings.step_us / 1000,
        "events": both(rates.events),
        "synops": both(rates.synops),
        "layers": [
            {
                "node": name,
                "core": cores.get(name),
                **both(rate),
                "limit_per_s": next(iter(limits), None),
            }
            for name, rate in rates.layers.items()
        ],
    }


def latency_metrics(output: np.ndarray, recordings: Recordings) -> dict[str, Any]:
    """Latency as the metrics file has it. output: (T with silent steps, N, classes)."""
    found = latency.summary(latency.decided_in(output))
    predicted = latency.over_time(output, recordings.steps)
    times = zip(latency.input_steps(recordings.steps), predicted, strict=True)

    def ms(steps: int | None) -> float | None:
        return None if steps is None else steps * recordings.step_us / 1000

    return {
        "median_steps": found.median,
        "p95_steps": found.p95,
        "median_ms": ms(found.median),
        "p95_ms": ms(found.p95),
        "recording_steps": recordings.steps,
        "undecided": found.undecided,
        "accuracy_over_time": [
            {"steps": steps, "ms": ms(steps), **confidence.accuracy_of(answers, recordings.labels)}
            for steps, answers in times
        ],
    }


@dataclass(frozen=True)
class Disturbance:
    """kind: `lost_events`, `jitter_steps`, `flipped_bits` or `hot_channels`. level: in its unit."""

    kind: str
    level: float


def disturbances(channels: int) -> list[Disturbance]:
    """Those that are measured of a network with so many input channels."""
    return [
        *(Disturbance("lost_events", share) for share in LOST),
        Disturbance("jitter_steps", JITTER),
        *(Disturbance("flipped_bits", share) for share in FLIPPED),
        Disturbance("hot_channels", max(1, channels // HOT)),
    ]


def apply(
    disturbance: Disturbance,
    network: IntegerNetwork,
    x: np.ndarray,
    most: int,
    generator: np.random.Generator,
) -> tuple[IntegerNetwork, np.ndarray, int]:
    """Network and input (B, T, *shape) as disturbed, and how many bits were flipped."""
    level = disturbance.level
    match disturbance.kind:
        case "lost_events":
            return network, perturb.lose_events(x, level, generator), 0
        case "jitter_steps":
            return network, perturb.jitter(x, int(level), generator, most), 0
        case "hot_channels":
            return network, perturb.hot_channels(x, int(level), generator), 0
        case "flipped_bits":
            flipped, bits = perturb.flip_bits(network, level, generator)
            return flipped, x, bits
    raise ValueError(f"unknown disturbance `{disturbance.kind}`")


@dataclass(frozen=True)
class Disturbed:
    """Answers under a disturbance, (n,) class indices; saturated states; flipped bits of all parts."""

    predicted: np.ndarray
    saturated: int
    flipped_bits: int


def changes(
    disturbance: Disturbance, recordings: Recordings, generator: np.random.Generator
) -> Change:
    """What a disturbance of the input makes of a recording that is sent event by event."""
    level, end = disturbance.level, recordings.steps * recordings.step_us
    count = int(level) if disturbance.kind == "hot_channels" else 0
    hot = generator.choice(recordings.channels, count, False)

    def changed(time: np.ndarray, address: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if disturbance.kind == "lost_events":
            kept = generator.random(len(time)) >= level
            return time[kept], address[kept]
        if disturbance.kind == "jitter_steps":
            moved = generator.integers(-int(level), int(level) + 1, len(time)) * recordings.step_us
            return np.clip(time + moved, 0, end - 1), address
        more = np.arange(recordings.steps) * recordings.step_us + recordings.step_us // 2
        return (
            np.concatenate([time, np.tile(more, len(hot))]),
            np.concatenate([address, np.repeat(hot, recordings.steps)]),
        )

    return changed


def disturb(network: IntegerNetwork, recordings: Recordings, disturbance: Disturbance) -> Disturbed:
    """Run the chosen recordings under a disturbance, with a generator for each `PART` of them."""
    (output,) = (p for p in network.populations if p.output)
    predicted: list[int] = []
    saturated = flipped = 0
    chosen = recordings.chosen
    for first in range(0, len(chosen), PART):
        some = chosen[first : first + PART]
        seed = f"{SEED} {disturbance.kind} {disturbance.level:g} {first}".encode()
        generator = np.random.default_rng(list(seed))
        if recordings.streams is None:
            x = recordings.events[some]
            chip, x, bits = apply(disturbance, network, x, recordings.most, generator)
            run = simulate.run(chip, simulate.padded(chip, x))
            predicted += classes(run.shown(output))
            saturated += sum(run.saturated.values())
        else:
            chip, bits = network, 0
            if disturbance.kind == "flipped_bits":
                chip, bits = perturb.flip_bits(network, disturbance.level, generator)
                streams = recordings.taken(some)
            else:
                streams = recordings.taken(some, changes(disturbance, recordings, generator))
            found = assess_events(chip, streams, recordings.steps)
            predicted += found.predicted
            saturated += sum(found.saturated.values())
        flipped += bits
    return Disturbed(np.asarray(predicted), saturated, flipped)


def disturb_all(network: IntegerNetwork, recordings: Recordings) -> list[Disturbed]:
    """The chosen recordings under each of `disturbances`."""
    every = disturbances(recordings.channels)
    return [disturb(network, recordings, disturbance) for disturbance in every]


def robustness_metrics(
    recordings: Recordings, predicted: list[int], disturbed: list[Disturbed]
) -> dict[str, Any]:
    """Robustness as the metrics file has it.

    Args:
        predicted: answers to all recordings, undisturbed. disturbed: what `disturb_all` gave.
    """
    chosen = recordings.chosen
    labels = recordings.labels[chosen]
    rows = [
        {
            "kind": "none",
            "level": 0,
            **confidence.accuracy_of(np.asarray(predicted)[chosen], labels),
        }
    ]
    for disturbance, found in zip(disturbances(recordings.channels), disturbed, strict=True):
        rows.append(
            {
                "kind": disturbance.kind,
                "level": disturbance.level,
                **confidence.accuracy_of(found.predicted, labels),
                "saturated": found.saturated,
                **({"flipped": found.flipped_bits} if disturbance.kind == "flipped_bits" else {}),
            }
        )
    return {"n": len(chosen), "seed": SEED, "disturbances": rows}


def quantisation_metrics(
    which: str, start: PlannedGraph, probe: Probe, saturated: dict[str, int]
) -> Iterator[dict[str, Any]]:
    """A row for each population. which: "ptq" or "integer". saturated: states, by population."""
    for name, error in layer_errors(start, probe.network).items():
        spikes = probe.agreement.layers.get(name)  # none where the membrane is read
        yield {
            "numbers": which,
            "node": name,
            "weight_snr_db": error.weight_snr_db,
            "threshold_error": error.threshold_error,
            "threshold_error_max": error.threshold_error_max,
            "weights_at_bound": error.at_bound,
            "saturated_states": saturated[name],
            "equal_entries": spikes["equal"] / spikes["entries"] if spikes else None,
            "equal_counts": spikes["equal_counts"] / spikes["neurons"] if spikes else None,
        }
