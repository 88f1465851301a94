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
    imported_names,
    model_backend,
    reference_backend,
    trained_model,
)
from pipeline.evaluation.rounding_ties import Layer, Ties, explain, spiking_layers
from pipeline.progress import track
from pipeline.training import safetensors
from spyx_nir import files, neurobench
from spyx_nir.confidence import accuracy_of
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


class Comparison:
    """What the backends did, chunk by chunk.

    picture: the index of one sample, the first with a difference, else the first of all, and each
    backend's recording of it. costs: what the reference cost. differing: indices of samples.
    """

    picture: tuple[int, dict[str, Recording]]

    def __init__(self, layers: list[Layer], limits: schema.Parity):
        self.layers, self.limits = layers, limits
        self.tallies = {layer.name: Tally() for layer in layers}
        self.ties = Ties()
        self.predictions: dict[str, list[np.ndarray]] = {name: [] for name in BACKENDS}
        self.costs: list[neurobench.Counts] = []
        self.differing: list[int] = []

    def add(self, start: int, done: Mapping[str, Recording]) -> None:
        """Count a chunk, whose first sample has the index `start`."""
        trained, reference = done["trained"], done["reference"]
        for name, recording in done.items():
            self.predictions[name].append(recording.predictions())
        self.costs.append(reference.counts)
        for name, tally in self.tallies.items():
            tally.entries += trained.spikes[name].size
            tally.spikes += int(trained.spikes[name].sum(dtype=np.int64))
        touched = np.any([self._count(trained, done[other], other) for other in OTHERS], axis=0)
        largest, membranes = self.limits.max_tie_distance, reference.membranes
        self.ties.add(explain(self.layers, trained.spikes, reference.spikes, membranes, largest))
        if start == 0 or (touched.any() and not self.differing):
            sample = int(np.argmax(touched))
            one = {name: recording.one(sample) for name, recording in done.items()}
            self.picture = start + sample, one
        self.differing += (start + np.nonzero(touched)[0]).tolist()

    def _count(self, trained: Recording, recording: Recording, other: str) -> np.ndarray:
        """Count the differences between two backends; whether a sample has one, (B,)."""
        differs = {name: trained.spikes[name] != recording.spikes[name] for name in self.tallies}
        touched = np.any([_per_sample(different) for different in differs.values()], axis=0)
        for name, tally in self.tallies.items():
            tally.differing[other] += int(differs[name].sum())
            # After a differing spike membranes are whole thresholds apart: no rounding error.
            gap = _largest_gap(trained, recording, name, ~touched)
            tally.membrane[other] = max(tally.membrane[other], gap)
        return np.asarray(touched)


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
        the picture (see `Comparison`), and what the reference cost.
    """
    found = Comparison(layers, limits)
    starts = range(0, len(events), chunk)
    for start in track(starts, len(starts), "comparing"):
        size = min(chunk, len(events) - start)
        x = np.zeros((chunk, *events.shape[1:]), events.dtype)
        x[:size] = events[start : start + size]
        found.add(start, {name: run(x).samples(size) for name, run in backends.items()})
    return _report(found, labels), found.picture[1], found.costs


def _per_sample(differs: np.ndarray) -> np.ndarray:
    return np.asarray(differs.any(axis=tuple(a for a in range(differs.ndim) if a != 1)))


def _largest_gap(a: Recording, b: Recording, name: str, same: np.ndarray) -> float:
    if name not in a.membranes or name not in b.membranes or not same.any():
        return 0.0
    gap = np.abs(a.membranes[name][:, same] - b.membranes[name][:, same])
    known = gap[~np.isnan(gap)]
    return float(known.max(initial=0.0))


def _report(found: Comparison, labels: np.ndarray) -> dict[str, Any]:
    classes = {name: np.concatenate(parts) for name, parts in found.predictions.items()}
    tallies, ties = found.tallies.values(), found.ties
    entries = sum(tally.entries for tally in tallies)
    differing = {other: sum(tally.differing[other] for tally in tallies) for other in OTHERS}
    report: dict[str, Any] = {
        "samples": len(labels),
        "accuracy": {name: accuracy_of(predicted, labels) for name, predicted in classes.items()},
        "differing_predictions": {
            other: int((classes["trained"] != classes[other]).sum()) for other in OTHERS
        },
        "differing_spikes": {
            **differing,
            "entries": entries,
            "reference_fraction": differing["reference"] / entries,
            "reference_fraction_limit": found.limits.max_differing_fraction,
        },
        "ties": {
            "starts": ties.starts,
            "following": ties.following,
            "unexplained": ties.unexplained,
            # JSON has no infinity: a spike before any crossing is as far away as can be said.
            "largest_distance": ties.largest_distance
            if np.isfinite(ties.largest_distance)
            else None,
            "distance_limit": found.limits.max_tie_distance,
        },
        "layers": [
            {
                "node": name,
                "entries": tally.entries,
                "spike_rate": tally.spikes / tally.entries,
                "differing_spikes": tally.differing,
                "max_membrane_difference": tally.membrane,
            }
            for name, tally in found.tallies.items()
        ],
        "differing_samples": found.differing,
        "picture_sample": found.picture[0],
    }
    reasons = [*_reasons(report, ties)]
    return {"verdict": "fail" if reasons else "pass", "reasons": reasons, **report}


def _reasons(report: dict[str, Any], ties: Ties) -> Iterator[str]:
    """Why the verdict is `fail`."""
    differing, limit = report["differing_spikes"], report["ties"]["distance_limit"]
    if differing["reimported"]:
        yield (
            f"{differing['reimported']} of {differing['entries']} spike entries differ between the "
            "trained and the re-imported model; 0 allowed"
        )
    for other, count in report["differing_predictions"].items():
        if count:
            yield (
                f"{count} of {report['samples']} predicted classes differ between the trained model "
                f"and the {other} one; 0 allowed"
            )
    if ties.unexplained:
        yield (
            f"{ties.unexplained} differences from the reference start farther from threshold than "
            f"max_tie_distance {limit:g} (largest {ties.largest_distance:.3g}): not rounding"
        )
    fraction, limit = differing["reference_fraction"], differing["reference_fraction_limit"]
    if fraction > limit:
        yield (
            f"a fraction {fraction:.3g} of the spike entries differs from the reference, more than "
            f"max_differing_fraction {limit:g}"
        )


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
    if odd := sorted(in_file - (set(names) & set(imported_names(loaded)))):
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
            "reimported": model_backend(loaded.model, imported_names(loaded), spiking),
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
