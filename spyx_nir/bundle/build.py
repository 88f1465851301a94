"""From any graph to a chip's bundle, without a task: what `spyx-nir build` does.

For each chip: constraint check, post-training quantisation (PTQ), calibration and quantisation-aware
training (QAT) where there are recordings for them, simulation in integers, bundle. What was done, and
what was not, is in the bundle's manifest and card.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spyx_nir import files
from spyx_nir.bundle import bringup, card, chip, events, manifest, recordings, standalone
from spyx_nir.bundle.folder import Golden, complete
from spyx_nir.bundle.recordings import Recordings
from spyx_nir.confidence import accuracy_of
from spyx_nir.converter import contract
from spyx_nir.errors import GraphError, UserError
from spyx_nir.hardware import calibrate, chip_check, costs, quantise, registry, simulate
from spyx_nir.hardware.evaluate import Assessment, assess
from spyx_nir.hardware.evaluate_events import counts
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.findings import Report
from spyx_nir.hardware.judge import Admission
from spyx_nir.hardware.layer_errors import Agreement
from spyx_nir.hardware.network import IntegerNetwork, Run
from spyx_nir.hardware.topology import PlannedGraph, planned
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import Plan, parse_json, step_dt

THREADS = 2  # that simulate recordings; what they find does not depend on it
AT_ONCE = 10  # recordings of a thread: the windows of a convolution stay in the processor's cache
VECTORS = 4  # golden samples of a bundle
CALIBRATED_ON = 16  # recordings, of small networks
CALIBRATED_STEPS = (
    12_000_000  # of neurons: a convolutional network is calibrated on fewer recordings
)
METRICS = "metrics.json"
PACKAGES = ("spyx-nir", "nir", "numpy", "h5py")
TRAINING = ("jax", "jaxlib", "optax")
BIN_US = 1000


@dataclass(frozen=True)
class Given:
    """A graph and what is known of it.

    name: of its file, without the ending. sha256: of the file. graph: with a contract. dt: None where
    nobody gave it, and then no chip takes the graph. reset: of the command line, None: the file's.
    bin_us: a step of a recording, in microseconds; assumed_bin: whether that is a guess. dialect: its
    `name`, what `differs` from it, one line each, and `agreement`, a line; None: as NIR means it.
    """

    name: str
    sha256: str
    graph: PlannedGraph
    dt: float | None
    reset: str | None
    classes: Sequence[str]
    bin_us: int
    assumed_bin: bool
    dialect: Mapping[str, Any] | None = None

    @property
    def plan(self) -> Plan:
        """The plan of the graph."""
        return self.graph.plan

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one step, channels first."""
        return self.plan.shapes[self.plan.inputs[0]]


@dataclass(frozen=True)
class Data:
    """shown: what the network is calibrated on, measured on, and the golden samples. train: what it is
    fine-tuned on, None: it is not; held: what chooses the epoch."""

    shown: Recordings
    train: Recordings | None = None
    held: Recordings | None = None
    epochs: int = 0


@dataclass(frozen=True)
class Row:
    """What came of one target. report: of the constraint check; `reason`: why there is no bundle."""

    target: str
    report: Report
    metrics: Mapping[str, Any] | None = None
    folder: Path | None = None
    reason: str = ""


def given(
    path: Path,
    graph: PlannedGraph,
    dt: float | None = None,
    reset: str | None = None,
    bin_us: int | None = None,
) -> Given:
    """What a file says, with a contract where it has none.

    Args:
        graph: of the file, with `reset` in it.

    Raises:
        GraphError: not one input and one output of one axis, or `dt` contradicts the contract.
    """
    plan = graph.plan
    for what, names in (("inputs", plan.inputs), ("outputs", plan.outputs)):
        if len(names) != 1:
            named = ", ".join(sorted(names)) or "none"
            raise GraphError(f"{len(names)} {what} ({named}); a bundle has one", code="wiring")
    outputs = plan.shapes[plan.outputs[0]]
    if len(outputs) != 1:
        raise GraphError(f"an output of shape {outputs}; a class for each neuron, (N,), is needed")
    recordings.sensor(plan.shapes[plan.inputs[0]])
    if dt is not None or "dt" in plan.metadata:
        dt = step_dt(plan, dt)
    classes = _classes(plan, outputs[0])
    if dt is not None:
        metadata = graph.content.get("metadata", {})
        spiking = "v_threshold" in plan.nodes[plan.sources[plan.outputs[0]][0][0]]
        readout = "spike_count" if spiking else "max_membrane"
        made = contract.make(dt, classes=classes, readout=readout)
        graph = planned({**graph.content, "metadata": {**made, **metadata}})
    known = plan.metadata.get("input_bin_s")
    if bin_us is None and isinstance(known, float | int | np.number):
        bin_us = max(1, round(float(known) * 1e6))
    return Given(
        path.stem,
        files.sha256(path),
        graph,
        dt,
        reset,
        classes,
        bin_us or BIN_US,
        bin_us is None,
    )


def _classes(plan: Plan, count: int) -> list[str]:
    """The contract's names of the outputs, else their numbers."""
    try:
        names = parse_json(plan.metadata.get("classes", "[]"))
    except (ValueError, TypeError):
        names = []
    if isinstance(names, list) and len(names) == count and all(isinstance(n, str) for n in names):
        return names
    return [str(i) for i in range(count)]


def build(
    source: Given,
    profile: Profile,
    data: Data,
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
) -> Row:
    """Make the bundle of a graph for one chip in the new folder `folder`.

    Args:
        say: is called with lines on the progress.

    Returns:
        A row that says what was made, or why nothing was.
    """
    found = chip_check.admission(source.graph.content, profile, source.dt, source.reset)
    row = Row(profile.name, found.report)
    if not found.report.fits:
        return dataclasses.replace(row, reason=found.report.first_error)
    if found.network is None:
        why = "nothing here computes in its integers: its limits alone were checked"
        return dataclasses.replace(row, reason=why)
    try:
        metrics = _made(source, found, data, folder, say)
    except UserError as error:
        return dataclasses.replace(row, reason=str(error))
    return dataclasses.replace(row, metrics=metrics, folder=folder)


def _made(
    source: Given, found: Admission, data: Data, folder: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    assert found.network is not None and found.start is not None and source.dt is not None
    done = [*_read(source), _changes(found.report), "post-training quantisation"]
    network, fitted, trained = found.network, None, None
    if data.shown.source == "given" or data.train is not None:
        seen = data.shown if data.train is None else data.train
        some = seen.events[seen.spread(_calibrated_on(seen, network))]
        fitted = calibrate.calibrated(found.start, network, source.plan, source.dt, some)
        network = fitted.network
        done.append(_calibration(fitted))
    before = network
    if data.train is not None and data.held is not None:
        trained = _finetuned(network, data, say)
        network = trained.network
        done.append(
            f"quantisation-aware training: {data.epochs} epochs on {len(data.train)} recordings; kept is "
            f"epoch {trained.epoch}, with {max(trained.correct)} of {trained.n} held-out recordings "
            f"right ({trained.correct[0]} before)"
        )
    made = planned(quantise.on_grid(found.start, network, source.dt))
    quantise.check_recovery(made, network)
    shown, agreement, floats = _simulated(source, network, made, data.shown)
    metrics = _metrics(source, network, shown, agreement, floats, data)
    if trained is not None and data.shown.labels is not None:
        ptq = assess(before, None, data.shown.events).predicted
        metrics["accuracy"]["ptq"] = accuracy_of(ptq, data.shown.labels)
    metrics |= {
        "target": network.profile.name,
        "changes": found.report.changes,
        "calibration": None if fitted is None else _as_data(fitted),
        "selection": None if trained is None else {
            "epoch": trained.epoch, "correct": trained.correct, "n": trained.n
        },
        "done": done,
        "not_done": _not_done(source, network, data),
    }  # fmt: skip
    if source.dialect is not None:
        metrics["dialect"] = source.dialect
    _write(folder, source, made, network, metrics, data, trained=bool(trained and trained.epoch))
    return metrics


def _read(source: Given) -> list[str]:
    if source.dialect is None:
        return []
    return ["{name}'s dialect, written with NIR's neurons: {agreement}".format(**source.dialect)]


def _changes(report: Report) -> str:
    if not report.changes:
        return "constraint check: the graph fits as it is"
    return f"constraint check: the graph fits after {', '.join(report.changes)}"


def _calibration(fitted: calibrate.Calibration) -> str:
    clips, moved = len(fitted.clips), len(fitted.thresholds)
    before, after = fitted.distance
    return (
        f"calibration on {fitted.recordings} recordings, without their labels: scales of {clips} and "
        f"thresholds of {moved} populations moved; a neuron's spike count of a recording differs from "
        f"the float network's by {after:.3g} on average ({before:.3g} before)"
    )


def _calibrated_on(seen: Recordings, network: IntegerNetwork) -> int:
    neurons = sum(math.prod(p.shape) for p in network.populations)
    return max(1, min(CALIBRATED_ON, CALIBRATED_STEPS // (seen.steps * neurons)))


def _finetuned(network: IntegerNetwork, data: Data, say: Callable[[str], None]) -> Any:
    from spyx_nir.hardware import finetune

    train, held = (
        finetune.Labelled(one.events, one.labels)
        for one in (data.train, data.held)
        if one is not None and one.labels is not None
    )
    name = network.profile.name
    return finetune.finetuned(
        network, train, held, data.epochs, lambda line: say(f"{name}: {line}")
    )


def _simulated(
    source: Given, network: IntegerNetwork, made: PlannedGraph, shown: Recordings
) -> tuple[Assessment, Agreement, list[int]]:
    """All recordings in integers; how far their spikes are those of the given graph; its classes."""
    nodes = source.plan.nodes
    delays = simulate.accumulated(network, lambda _, to: nodes[to].get("spike_delay", 0))

    def part(recorded: np.ndarray) -> tuple[Assessment, Agreement, list[int]]:
        agreement, floats = Agreement(network), []

        def watch(_: int, x: dict[str, np.ndarray], run: Run) -> None:
            (data,) = x.values()
            theirs = reference.run(source.plan, data, source.dt)
            agreement.add(run.spikes, theirs.spikes, delays, shown.steps)
            floats.extend(theirs.output.sum(axis=0).argmax(-1).tolist())

        return assess(network, made.plan, recorded, watch), agreement, floats

    least = min(THREADS, len(shown))
    parts = np.array_split(shown.events, max(least, math.ceil(len(shown) / AT_ONCE)))
    with ThreadPoolExecutor(THREADS) as threads:
        (found, agreement, floats), *others = threads.map(part, parts)
    for more, agreeing, classes in others:
        found.predicted += more.predicted
        found.as_floats += more.as_floats
        found.counts += more.counts
        floats += classes
        for name, layer in more.layers.items():
            found.layers[name] += layer
        for name, layer in agreeing.layers.items():
            agreement.layers[name] += layer
    simulate.refuse_overflow(network, found.saturated)
    return found, agreement, floats


def _metrics(
    source: Given,
    network: IntegerNetwork,
    found: Assessment,
    agreement: Agreement,
    floats: list[int],
    data: Data,
) -> dict[str, Any]:
    labels = data.shown.labels
    accuracy: dict[str, Any] = {}
    if labels is not None:
        accuracy = {
            "float": accuracy_of(floats, labels),
            "integer": accuracy_of(found.predicted, labels),
            "dequantised": accuracy_of(found.as_floats, labels),
        }
    share = accuracy["integer"]["accuracy"] if accuracy else 0.0
    cost = costs.report(network, found.counts, share)
    if not accuracy:
        del cost["ClassificationAccuracy"]
    layers = agreement.layers
    entries = sum(layer["entries"] for layer in layers.values())
    same = sum(a == b for a, b in zip(floats, found.predicted, strict=True))
    return {
        **cost,
        "recordings": len(data.shown),
        "accuracy": accuracy,
        "same_class": {"n": len(floats), "equal": same},
        "agreement": sum(layer["equal"] for layer in layers.values()) / entries
        if entries
        else None,
        "agreement_by_layer": {
            name: layer["equal"] / layer["entries"] for name, layer in layers.items()
        },
        "saturated": sum(found.saturated.values()),
        "layers": found.rows(),
    }


def _as_data(fitted: calibrate.Calibration) -> dict[str, Any]:
    return {
        "recordings": fitted.recordings,
        "spike_count_distance": dict(zip(("before", "after"), fitted.distance, strict=True)),
        "clips": fitted.clips,
        "threshold_factors": {name: list(pair) for name, pair in fitted.thresholds.items()},
    }


def _not_done(source: Given, network: IntegerNetwork, data: Data) -> list[str]:
    """What a task's bundle has and this one has not, and why."""
    found = [] if source.dialect is None else list(source.dialect["differs"])
    if data.shown.source == "random":
        found.append(
            "no recordings were given: the samples are random events, and classes mean nothing"
        )
        if data.train is None:
            found.append("not calibrated (`--calibrate`)")
    if data.shown.labels is None:
        found.append("no labels were given: no accuracy was measured")
    if data.train is None:
        found.append("no quantisation-aware training (`--finetune`)")
    if source.assumed_bin:
        found.append(
            f"nobody said how long a step of a recording is: {source.bin_us} us are assumed (`--bin-us`)"
        )
    if registry.family(network.profile).run_events is not None:
        found.append(
            "measured in steps, though the chip takes events one by one; of the golden samples alone "
            "is it known how often each neuron then spikes, with times within a step that are made up"
        )
    return [*found, "rates, latency and robustness were not measured; nothing ran on hardware"]


# -------------------------------------------------------------------------------------- the bundle


def _write(
    folder: Path,
    source: Given,
    made: PlannedGraph,
    network: IntegerNetwork,
    metrics: dict[str, Any],
    data: Data,
    trained: bool,
) -> None:
    shown, profile = data.shown, network.profile
    chosen = shown.spread(VECTORS)
    frames = shown.events[chosen]
    labels = None if shown.labels is None else shown.labels[chosen]
    channels = [f"channel {i}" for i in range(recordings.sensor(source.input_shape)[2])]
    encoding = events.Encoding(
        recordings.sensor(source.input_shape),
        source.input_shape,
        channels,
        shown.steps,
        source.bin_us,
        merge=shown.merged,
    )
    samples = bringup.Samples(labels, source.classes, channels, source.bin_us)
    with files.atomic_folder(folder) as place:
        written = chip.write(place, made, network, frames, samples, encoding)
        streams = [events.of_frames(one, encoding) for one in frames]
        more = {}
        if registry.family(profile).run_events is not None:
            where = [events.addresses(one, source.input_shape) for one in streams]
            more = {
                f"count/{name}": count.astype(np.uint32)
                for name, count in counts(network, where, compiled=False).items()
            }
        events.write(place / events.FOLDER, streams, written.addresses, more)
        files.write_json(place / METRICS, metrics)
        entries = {
            "name": source.name,
            "weights": {
                "file": f"{source.name}.nir",
                "sha256": source.sha256,
                "trained_here": False,
                "finetuned_here": trained,
            },
            "data": {
                role: {"source": one.source, "recordings": len(one), "sha256": one.sha256}
                for role, one in (("shown", shown), ("train", data.train), ("held", data.held))
                if one is not None
            },
            "target": {
                "name": profile.name,
                "chip": profile.chip,
                "rule": profile.integer_semantics,
                **metrics,
            },
            "silent_steps": written.silent,
            "events": {
                "folder": events.FOLDER,
                "recordings": f"{events.FOLDER}/{events.RECORDINGS}",
                "times": "made up from counts",
            },
        }
        metadata = made.plan.metadata
        about = manifest.About(
            dt=step_dt(made.plan, source.dt),
            time_unit=str(metadata.get("time_unit", "unit not given")),
            bin_us=source.bin_us,
            steps=shown.steps,
            classes=source.classes,
            channels=channels,
            values="1 where a sensor had an event in the bin, else 0"
            if shown.merged
            else f"counts of the events in the bin, at most {recordings.MOST}",
            packages=PACKAGES + (TRAINING if data.train is not None else ()),
            more=entries,
        )
        golden = Golden(chosen, labels, written.x, written.output, written.spikes)
        template = standalone.TEMPLATES / "given.md.j2"
        complete(
            place,
            written.graph,
            made.plan,
            about,
            golden,
            lambda found: card.write(found, template),
        )
