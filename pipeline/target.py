"""Stage: a task's network for one chip: check, quantise, train (QAT), simulate, bundle.

Reads models/<task>/model.nir, which parity has passed, and data/prepared/<task>.h5; for a target with
`network_of` the bundle of that other target, instead of training. Writes models/<task>/deploy/<target>/,
a bundle as the deploy stage makes it, with a graph of the chip's numbers and besides

fit.json                              what of the chip is used, and what it does differently
test_data_set_0/integer_vectors.npz   the chip's integers, and its states and spikes on the samples
verify_integers.py                    runs that again, with NumPy alone
BRINGUP.md                            how to load it, what to compare first

what else the chip's family loads a bundle by, such as xylo_specification.json, C or Verilog,

and metrics/<task>-<target>.json, of which metrics/summary/ has the few that `dvc metrics show` lists.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import schema, stage, tasks
from pipeline.evaluation import parity_gate, summary_metrics
from pipeline.progress import bar
from spyx_nir import files
from spyx_nir.confidence import accuracy_of
from spyx_nir.errors import GraphError, UserError

if TYPE_CHECKING:
    from pipeline.datasets.prepared import Prepared
    from pipeline.evaluation.chip_metrics import Probe
    from pipeline.training.qat import QatForward
    from pipeline.training.trainer import Progress, Split
    from spyx_nir.hardware.evaluate import Assessment
    from spyx_nir.hardware.evaluate_events import EventAssessment
    from spyx_nir.hardware.facts import Profile
    from spyx_nir.hardware.network import IntegerNetwork
    from spyx_nir.hardware.topology import PlannedGraph
    from spyx_nir.meaning.plan import Plan

# Recordings that an epoch is judged on, of the training split or event by event: seconds, not a minute.
JUDGED_ON = 500
BALANCED_ON = 64  # training recordings that set the thresholds training starts from


def target(task: schema.Task, name: str, root: Path = Path(".")) -> None:
    """Make the bundle of `task` for the chip `name`.

    Raises:
        UserError: the task has no such target, parity has not passed, the network does not fit, the
            chip cannot do what it needs, or a state overflows and no source says what happens then.
    """
    if name not in task.targets:
        known = ", ".join(task.targets) or "none"
        raise UserError(
            f"tasks.{task.name}.targets: `{name}` is not among them; there are: {known}"
        )
    folder = root / "models" / task.name
    parity = parity_gate.passed(folder, task.name)

    from pipeline.datasets import prepared
    from pipeline.datasets import recordings as sources
    from pipeline.evaluation.chip_metrics import Probe, Recordings, Trained
    from spyx_nir.converter import file
    from spyx_nir.hardware import constraints, profile, quantise, registry
    from spyx_nir.hardware.constrain import added_leak, variant, with_leak
    from spyx_nir.hardware.topology import planned

    chip = profile.load(name)
    data = prepared.read(root / "data" / "prepared" / f"{task.name}.h5")
    settings = task.targets[name]
    if isinstance(settings, schema.SharedTarget):
        share(task, chip, profile.load(settings.network_of), parity, data, root)
        return
    leak = settings.leak
    try:
        trained_model = model = planned(file.read_dict(folder / "model.nir"))
        if leak:
            model = planned(with_leak(model, chip, leak, task.export.dt))
        start = planned(variant(model, chip, task.export.dt))
        for finding in constraints.check_constraints(start, chip, integers=False).findings:
            if finding.code == "zeros":
                print(f"warning: `{finding.layer}`: {finding.reason}", file=sys.stderr)
        rounded = quantise.quantise(start, chip)
        trained, curve = train(task, name, rounded, model.plan, data, root)
        made = planned(quantise.on_grid(start, trained))
        quantise.check_recovery(made, trained)
        by_event = registry.family(chip).event_driven is not None
        recordings = Recordings(
            *data.stream("test"),
            data.bin_us,
            1 if task.data.merge_polarity else 255,
            sources.read(task, data, "test", root) if by_event else None,
        )
        floats = Trained(model.plan)
        shipped = Probe(trained, floats, recordings, shipped=True)
        ptq = Probe(rounded, floats, recordings, shipped=False)
        report, found = measure(shipped, ptq, made.plan, start, parity)
    except GraphError as error:
        raise UserError(f"{task.name} on {name}: {error}; nothing was made") from None
    report |= {"task": task.name, "target": chip.name, "selection": curve, "seeds": task.seeds}
    if leak:
        report["leak"] = added_leak(trained_model.plan, made.plan, task.export.dt)
    publish(task, made, trained, report, parity, data, root)
    accuracy = report["accuracy"]
    print(
        f"{task.name} on {chip.name}: accuracy {accuracy['integer']['accuracy']:.4f} in integers"
        f"{' event by event' if 'integer_in_steps' in accuracy else ''}, "
        f"{accuracy['float']['accuracy']:.4f} as trained, "
        f"{accuracy['ptq']['accuracy']:.4f} by post-training quantisation; saturated "
        f"{sum(found.saturated.values())}"
    )


def share(
    task: schema.Task,
    chip: Profile,
    trained_for: Profile,
    parity: dict[str, Any],
    data: Prepared,
    root: Path,
) -> None:
    """Make the bundle of a chip from the network in another chip's bundle.

    Raises:
        UserError: as `bundle.shared.read`, or the network does not fit.
    """
    from pipeline.bundle import shared

    folder = root / "models" / task.name / "deploy"
    try:
        found = shared.read(folder / trained_for.name, trained_for, chip, parity["weights_sha256"])
    except GraphError as error:
        raise UserError(f"{task.name} on {chip.name}: {error}; nothing was made") from None
    report = {**found.metrics, "target": chip.name, "network_of": trained_for.name}
    publish(task, found.graph, found.network, report, parity, data, root)
    right = report["accuracy"]["integer"]
    print(
        f"{task.name} on {chip.name}: the network of {trained_for.name}, accuracy "
        f"{right['accuracy']:.4f} in integers"
    )


def publish(
    task: schema.Task,
    made: PlannedGraph,
    network: IntegerNetwork,
    report: dict[str, Any],
    parity: dict[str, Any],
    data: Prepared,
    root: Path,
) -> None:
    """Write bundle and metrics of a network on a chip; arguments as of `bundle`."""
    from spyx_nir.hardware import registry

    chip = network.profile
    times = registry.family(chip).times(network, task.data.bin_us, report)
    report |= {"real_time": times} if times else {}
    place = root / "models" / task.name / "deploy" / chip.name
    bundle(task, made, network, report, parity, data, place, root)
    summary_metrics.write(root, f"{task.name}-{chip.name}", report)


def train(
    task: schema.Task,
    name: str,
    network: IntegerNetwork,
    model: Plan,
    data: Prepared,
    root: Path = Path("."),
) -> tuple[IntegerNetwork, dict[str, Any]]:
    """Quantisation-aware training: the network, and what it got right on the split that chose the epoch.

    That is the validation split; where there is none, at most `JUDGED_ON` recordings of the training
    split, which show at least an epoch that diverged. A chip that takes events is judged on as many.

    Args:
        network: after post-training quantisation. model: the plan of the float network.
    """
    from pipeline.training import qat
    from pipeline.training.trainer import Split
    from spyx_nir.hardware import registry
    from spyx_nir.hardware.threshold_balancing import balanced
    from spyx_nir.meaning import reference

    split = Split(*data.stream("train"))
    on = "validation" if task.data.validation else "train"
    judged = Split(*data.stream(on))
    few = slice(None, None, -(-len(judged.labels) // JUDGED_ON))
    if on == "train":
        judged = Split(judged.events[few], judged.labels[few])
    some = split.events[:BALANCED_ON]
    floats = reference.run(model, np.swapaxes(some, 0, 1)).spikes
    rates = {path: float(spikes.mean()) for path, spikes in floats.items()}
    start = balanced(network, some, rates)
    network, curve = fine_tuned(qat.QatForward(start, task, name), task, name, split, judged, on)
    if registry.family(network.profile).event_driven:
        from pipeline.datasets import recordings
        from pipeline.training.event_qat import EventForward

        labels = data.stream(on)[1]
        split = Split(recordings.read(task, data, "train", root), split.labels)
        judged = Split(recordings.read(task, data, on, root)[few], labels[few])
        forward = EventForward(network, task, name)
        network, by_event = fine_tuned(forward, task, name, split, judged, on)
        curve = {**by_event, "start_in_steps": curve["start"], "best_in_steps": curve["best"]}
    return network, {"on": on, "n": len(judged.labels), **curve}


def fine_tuned(
    forward: QatForward, task: schema.Task, name: str, split: Split, judged: Split, on: str
) -> tuple[IntegerNetwork, dict[str, Any]]:
    """Train a network of integers: the best epoch's, and the right answers on `judged`, part of `on`."""
    from pipeline.training.qat import task_for
    from pipeline.training.trainer import Trainer

    training = Trainer(forward, task_for(task, name), len(split.labels))
    epochs = task.trained(name).epochs

    what = f"{task.name} on {name}"
    progress = training.start()
    with bar(what, epochs * training.steps) as shown:

        def say(progress: Progress) -> None:
            if shown.shown or progress.epoch % max(1, epochs // 5) == 0:
                shown.say(
                    f"{what}: {forward.unit}epoch {progress.epoch}/{epochs}, "
                    f"{on} {progress.correct} of {len(judged.labels)}"
                )

        training.judge(progress, split, judged)  # before the first step: training may make it worse
        correct = [progress.correct]
        say(progress)
        for _ in training.epochs(progress, split, judged, lambda: shown.advance(1)):
            correct.append(progress.correct)
            say(progress)
    chosen = progress.best_epoch
    network = forward.quantised(progress.best) if chosen else forward.network
    return network, {"start": correct[0], "best": max(correct), "epoch": chosen}


def measure(
    shipped: Probe,
    ptq: Probe,
    plan: Plan,
    start: PlannedGraph,
    parity: dict[str, Any],
) -> tuple[dict[str, Any], Assessment]:
    """The whole test set in integers: the metrics, and what they were taken from.

    Args:
        shipped: of the network of the bundle. ptq: of the one before quantisation-aware training.
        plan: of the graph with the bundle's integers. start: the graph that was quantised.

    Raises:
        GraphError: a state overflowed.
    """
    from pipeline.evaluation import chip_metrics
    from pipeline.evaluation.second_process import second_process
    from spyx_nir.hardware import costs, simulate
    from spyx_nir.hardware.evaluate import STREAMED, assess, in_a_stream

    network, frames, labels = shipped.network, shipped.recordings.events, shipped.recordings.labels
    by_event = shipped.recordings.streams is not None
    with second_process(0 if by_event else len(labels) * shipped.recordings.steps) as elsewhere:
        if not by_event:
            stream_of = elsewhere.submit(in_a_stream, network, frames[:STREAMED])
            few = shipped.recordings.few()
            disturbed_of = elsewhere.submit(chip_metrics.disturb_all, network, few)
        found = assess(network, plan, frames, None if by_event else shipped)
        simulate.refuse_overflow(network, found.saturated)
        before = assess(ptq.network, None, frames, ptq)

    accuracy = {
        "float": parity["accuracy"]["trained"],
        "integer": accuracy_of(found.predicted, labels),
        "ptq": accuracy_of(before.predicted, labels),
        "dequantised": accuracy_of(found.as_floats, labels),
    }
    shown: Assessment | EventAssessment = found
    report: dict[str, Any] = {}
    if by_event:
        shown, report, streamed = measure_events(shipped)
        disturbed = chip_metrics.disturb_all(network, shipped.recordings)
        accuracy |= {
            "integer": accuracy_of(shown.predicted, labels),
            "integer_in_steps": accuracy_of(found.predicted, labels),
        }
    else:
        streamed, disturbed = stream_of.result(), disturbed_of.result()
    some = labels[:STREAMED]
    stream = {
        **accuracy_of(streamed, some),
        "with_reset": int((np.asarray(shown.predicted[:STREAMED]) == some).sum()),
        "without_leak": network.leakless(),
    }
    lost = {
        which: 100 * (accuracy["float"]["correct"] - accuracy[which]["correct"]) / len(labels)
        for which in ("integer", "ptq")
    }
    report |= {
        **costs.report(network, found.counts, accuracy["integer"]["accuracy"]),
        "accuracy": accuracy,
        "stream": stream,
        "lost_points": lost,
        "saturated": sum(found.saturated.values()),
        "layers": found.rows(),
        **chip_metrics.report(start, (shipped, shown), (ptq, before), disturbed),
    }
    return report, found


def measure_events(shipped: Probe) -> tuple[EventAssessment, dict[str, Any], list[int]]:
    """The whole test set event by event: what came of it, its part of the metrics, classes in a stream.

    Raises:
        GraphError: a state overflowed.
        UserError: the recordings are not those that were prepared.
    """
    from spyx_nir.hardware import simulate
    from spyx_nir.hardware.evaluate import STREAMED
    from spyx_nir.hardware.evaluate_events import assess_events, in_a_stream

    network, recordings = shipped.network, shipped.recordings
    streams = recordings.taken(np.arange(len(recordings.labels)))
    found = assess_events(network, streams, recordings.steps, shipped)
    simulate.refuse_overflow(network, found.saturated)
    report = {
        "input_events": sum(len(one.address) for one in streams) / len(streams),
        "layers": [
            {
                "node": name,
                "spikes": layer["spikes"] / len(streams),
                "synops": layer["synops"] / len(streams),
                "most_synops": layer["most_synops"],
                "held": layer["held"],
            }
            for name, layer in found.layers.items()
        ],
    }
    return found, {"event_by_event": report}, in_a_stream(network, streams[:STREAMED])


def bundle(
    task: schema.Task,
    made: PlannedGraph,
    network: IntegerNetwork,
    report: dict[str, Any],
    parity: dict[str, Any],
    data: Prepared,
    place: Path,
    root: Path = Path("."),
) -> None:
    """Write the bundle of a network on a chip to the folder `place`.

    Args:
        made: the graph with the network's integers.

    Raises:
        UserError: the test set is too small for the vectors, the recordings are not those that were
            prepared, or the bundle does not verify.
    """
    from pipeline.bundle import card, events, manifest
    from pipeline.datasets import recordings
    from spyx_nir.bundle import bringup, vectors
    from spyx_nir.bundle import chip as chips
    from spyx_nir.bundle.folder import Golden, complete
    from spyx_nir.hardware import registry
    from spyx_nir.hardware.evaluate_events import counts
    from spyx_nir.hardware.findings import Finding

    chip = network.profile
    frames, labels = data.subset("test")
    chosen = vectors.choose(labels, task.deploy.vectors)
    about = bringup.Samples(
        labels[chosen], task.data.classes, tasks.channels(task), task.data.bin_us
    )
    notes = [
        Finding(
            severity="note",
            code="leak",
            layer=node,
            number=share,
            limit=0,
            reason=f"loses {share:g} of its membrane in a step; the trained neuron, an IF, does not",
        )
        for node, share in report.get("leak", {}).items()
    ]
    with files.atomic_folder(place) as folder:
        found = chips.write(
            folder, made, network, frames[chosen], about, recordings.encoding(task), notes
        )
        more = {}
        if registry.family(chip).run_events:
            taken = recordings.read(task, data, "test", root)[chosen]
            streams = [recordings.addresses(one, frames.shape[2:]) for one in taken]
            more = {
                f"count/{name}": count.astype(np.uint32)
                for name, count in counts(network, streams).items()
            }
        recorded = events.write(folder, task, data, chosen, found.addresses, root, more)
        entries = {
            "target": {
                "name": chip.name,
                "chip": chip.chip,
                "rule": chip.integer_semantics,
                **report,
            },
            "silent_steps": found.silent,
            "events": recorded,
        }
        complete(
            folder,
            found.graph,
            made.plan,
            manifest.about(task, parity, data.provenance, entries),
            Golden(chosen, labels[chosen], found.x, found.output, found.spikes),
            card.write,
        )
    print(f"{task.name} on {chip.name}: {place}: {len(chosen)} vectors, verified")


def main() -> None:
    chip = {"help": "a target of the task, such as loihi"}
    stage.main(target, "Make the bundle of a task for a chip.", {"name": chip})


if __name__ == "__main__":
    main()
