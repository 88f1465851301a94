"""Stage: does the file mean what was trained? The whole test set through three backends.

    trained     the network from its weights, run by the engine that trained it (float32)
    reimported  the network that the converter builds from `model.nir` on disk (float32)
    reference   the NumPy interpreter of NIR's equations on the same file (float64)

Spikes of every neuron layer, membranes and predicted classes are compared. Trained and re-imported
must agree in every spike. Against the reference a spike may differ only because float32 put a
membrane on the other side of the threshold than float64 did (a tie), or as a consequence of a tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import schema, stage
from pipeline.evaluation.backends import (
    Backend,
    Recording,
    model_backend,
    reference_backend,
    trained_model,
)
from pipeline.evaluation.rounding_ties import Layer, Ties, explain, spiking_layers
from pipeline.training import safetensors
from spyx_nir import files, neurobench
from spyx_nir.errors import UserError

# Neurons times steps that are in memory at once; at some 100 bytes each, all backends together.
CHUNK_ENTRIES = 5_000_000
LARGEST_CHUNK = 64
if TYPE_CHECKING:
    from pipeline.datasets.prepared import Events

OTHERS = ("reimported", "reference")
BACKENDS = ("trained", *OTHERS)


@dataclass
class Tally:
    """Counts of one neuron layer over the test set."""

    entries: int = 0
    spikes: int = 0
    differing: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OTHERS, 0))
    membrane: dict[str, float] = field(default_factory=lambda: dict.fromkeys(OTHERS, 0.0))


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def compare(
    backends: Mapping[str, Backend],
    layers: list[Layer],
    events: np.ndarray | Events,
    labels: np.ndarray,
    limits: schema.Parity,
    chunk: int,
) -> tuple[dict[str, Any], dict[str, Recording], list[neurobench.Counts]]:
    """Run all samples through the three backends and count.

    Args:
        backends: `trained`, `reimported` and `reference`.
        events: (N, T, ...) uint8, channels first. labels: (N,).
        chunk: samples at a time; the last chunk is filled up with zeros, so that there is one shape
            to compile and float32 rounds the same way everywhere.

    Returns:
        The report (without names and digests of files), each backend's recording of one sample for
        the picture (the first with a difference, else the first), and what the reference cost.
    """
    tallies = {layer.name: Tally() for layer in layers}
    ties = Ties()
    predictions: dict[str, list[np.ndarray]] = {name: [] for name in BACKENDS}
    counted: list[neurobench.Counts] = []
    differing_samples: list[int] = []
    shown: tuple[int, dict[str, Recording]] | None = None

    for part in chunks(len(events), chunk):
        size = part.stop - part.start
        x = np.zeros((chunk, *events.shape[1:]), events.dtype)
        x[:size] = events[part]
        done = {name: execute(x).samples(size) for name, execute in backends.items()}
        for name, recording in done.items():
            predictions[name].append(recording.predictions())
        counted.append(done["reference"].counts)
        differs = {
            other: {
                layer.name: done["trained"].spikes[layer.name] != done[other].spikes[layer.name]
                for layer in layers
            }
            for other in OTHERS
        }
        touched = {
            other: np.any([_per_sample(d) for d in differs[other].values()], axis=0)
            for other in OTHERS
        }
        for layer in layers:
            tally = tallies[layer.name]
            spikes = done["trained"].spikes[layer.name]
            tally.entries += spikes.size
            tally.spikes += int(spikes.sum(dtype=np.int64))
            for other in OTHERS:
                tally.differing[other] += int(differs[other][layer.name].sum())
                # After a differing spike membranes are whole thresholds apart: no rounding error.
                same = ~touched[other]
                gap = _largest_gap(done["trained"], done[other], layer.name, same)
                tally.membrane[other] = max(tally.membrane[other], gap)
        ties.add(
            explain(
                layers,
                done["trained"].spikes,
                done["reference"].spikes,
                done["reference"].membranes,
                limits.max_tie_distance,
            )
        )
        any_touched = np.any(list(touched.values()), axis=0)
        differing_samples += (part.start + np.nonzero(any_touched)[0]).tolist()
        picture = int(np.argmax(any_touched))
        if shown is None or (any_touched.any() and shown[0] not in differing_samples):
            one = {name: _one(recording, picture) for name, recording in done.items()}
            shown = part.start + picture, one

    assert shown is not None
    classes = {name: np.concatenate(p) for name, p in predictions.items()}
    report = _report(tallies, ties, classes, labels, differing_samples, limits)
    report["picture_sample"] = shown[0]
    return report, shown[1], counted


def _per_sample(differs: np.ndarray) -> np.ndarray:
    return np.asarray(differs.any(axis=tuple(a for a in range(differs.ndim) if a != 1)))


def _largest_gap(a: Recording, b: Recording, name: str, same: np.ndarray) -> float:
    if name not in a.membranes or name not in b.membranes or not same.any():
        return 0.0
    gap = np.abs(a.membranes[name][:, same] - b.membranes[name][:, same])
    known = gap[~np.isnan(gap)]
    return float(known.max(initial=0.0))


def _one(recording: Recording, sample: int) -> Recording:
    return Recording(
        recording.outputs[:, sample : sample + 1],
        {name: a[:, sample : sample + 1].copy() for name, a in recording.spikes.items()},
        {},
    )


def _report(
    tallies: dict[str, Tally],
    ties: Ties,
    classes: dict[str, np.ndarray],
    labels: np.ndarray,
    differing_samples: list[int],
    limits: schema.Parity,
) -> dict[str, Any]:
    from pipeline.evaluation.confidence import accuracy_entry

    entries = sum(t.entries for t in tallies.values())
    differing = {other: sum(t.differing[other] for t in tallies.values()) for other in OTHERS}
    fraction = differing["reference"] / entries
    changed = {other: int((classes["trained"] != classes[other]).sum()) for other in OTHERS}
    distance = ties.largest_distance
    reasons = []
    if differing["reimported"]:
        reasons.append(
            f"{differing['reimported']} of {entries} spike entries differ between the trained and "
            "the re-imported model; 0 allowed"
        )
    for other, count in changed.items():
        if count:
            reasons.append(
                f"{count} of {len(labels)} predicted classes differ between the trained model and "
                f"the {other} one; 0 allowed"
            )
    if ties.unexplained:
        reasons.append(
            f"{ties.unexplained} differences from the reference start farther from threshold than "
            f"max_tie_distance {limits.max_tie_distance:g} (largest {distance:.3g}): not rounding"
        )
    if fraction > limits.max_differing_fraction:
        reasons.append(
            f"a fraction {fraction:.3g} of the spike entries differs from the reference, more than "
            f"max_differing_fraction {limits.max_differing_fraction:g}"
        )
    return {
        "verdict": "fail" if reasons else "pass",
        "reasons": reasons,
        "samples": len(labels),
        "accuracy": {
            name: accuracy_entry(int((predicted == labels).sum()), len(labels))
            for name, predicted in classes.items()
        },
        "differing_predictions": changed,
        "differing_spikes": {
            **differing,
            "entries": entries,
            "reference_fraction": fraction,
            "reference_fraction_limit": limits.max_differing_fraction,
        },
        "ties": {
            "starts": ties.starts,
            "following": ties.following,
            "unexplained": ties.unexplained,
            # JSON has no infinity: a spike before any crossing is as far away as can be said.
            "largest_distance": distance if np.isfinite(distance) else None,
            "distance_limit": limits.max_tie_distance,
        },
        # A list, so that `dvc metrics show` keeps to the few numbers above.
        "layers": [
            {
                "node": name,
                "entries": t.entries,
                "spike_rate": t.spikes / t.entries,
                "differing_spikes": t.differing,
                "max_membrane_difference": t.membrane,
            }
            for name, t in tallies.items()
        ],
        "differing_samples": differing_samples,
    }


def parity(task: schema.Task, root: Path = Path(".")) -> None:
    """Compare the three backends on the test set; write `parity.json` and `parity.png`.

    Raises:
        UserError: an input is missing or broken, or the verdict is `fail` (the report is written
            first, so that it can be read).
    """
    folder = root / "models" / task.name
    model_path, weights_path = folder / "model.nir", folder / "weights.safetensors"
    for path, maker in ((weights_path, "train"), (model_path, "export")):
        if not path.is_file():
            raise UserError(f"{path}: no such file; run python -m pipeline.{maker} {task.name}")

    from pipeline.datasets import prepared
    from pipeline.evaluation import raster_plot
    from spyx_nir import converter

    digest = files.sha256(model_path)
    graph = converter.file.read(model_path)
    events, labels = prepared.read(root / "data" / "prepared" / f"{task.name}.h5").stream("test")
    if not len(labels):
        raise UserError(f"tasks.{task.name}.data.test: the test set is empty")

    trained, names = trained_model(task, folder)
    if (dt := graph.metadata.get("dt")) is not None and float(dt) != task.export.dt:
        raise UserError(
            f"{model_path}: made with dt = {float(dt):g}, tasks.{task.name}.export.dt is "
            f"{task.export.dt:g}; run python -m pipeline.export {task.name}"
        )
    loaded = converter.load(graph, task.export.dt)
    plan = loaded.plan
    in_file = {name for name, node in plan.nodes.items() if "v_threshold" in node}
    if odd := sorted(in_file - (set(names) & set(loaded.names))):
        raise UserError(
            f"{model_path}: spiking node `{odd[0]}` is no layer of the trained network; "
            f"run python -m pipeline.export {task.name}"
        )
    layers = spiking_layers(plan, names)
    spiking = {layer.name for layer in layers}
    size = events.shape[1] * sum(int(np.prod(plan.shapes[name])) for name in spiking)
    chunk = max(1, min(LARGEST_CHUNK, len(events), CHUNK_ENTRIES // size))

    report, recordings, counted = compare(
        {
            "trained": model_backend(trained, names, spiking),
            "reimported": model_backend(loaded.model, loaded.names, spiking),
            "reference": reference_backend(plan, task.export.dt),
        },
        layers,
        events,
        labels,
        task.parity,
        chunk,
    )
    accuracy = report["accuracy"]["reference"]["accuracy"]
    report |= {
        "task": task.name,
        "dt": task.export.dt,
        "model_nir": {"sha256": digest, "content": converter.file.digest(model_path)},
        "weights_sha256": files.sha256(weights_path),
        "weights": safetensors.origin(weights_path),
        # A list, because `dvc metrics show` has these from metrics/, where deploy writes them.
        "neurobench": [neurobench.report(neurobench.of_graph(plan), counted, accuracy)],
    }
    raster_plot.write(
        folder / "parity.png", task.name, recordings, [layer.name for layer in layers]
    )
    files.write_json(folder / "parity.json", report)
    differing = report["differing_spikes"]
    print(
        f"{task.name}: parity {report['verdict']}: {report['samples']} samples, differing spikes "
        f"{differing['reimported']} (re-imported) and {differing['reference']} (reference) "
        f"of {differing['entries']}"
    )
    if report["verdict"] != "pass":
        raise UserError(f"parity of {task.name} failed: {'; '.join(report['reasons'])}")


if __name__ == "__main__":
    stage.main(parity, "Compare trained, re-imported and reference model on the whole test set.")
