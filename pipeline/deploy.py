"""Stage: the bundle that is published, made only of a file that parity has passed.

model.nir                the graph, byte for byte the one that parity checked
model-nir-1.0.4.nir      the same for toolchains that pin nir 1.0.4
test_data_set_0/         golden vectors: vectors.npz, and nir_data.h5 for nir.read_data
events/                  their recordings as events, address map, encode.py
manifest.json            facts for machines
MODEL_CARD.md            facts for people
verify.py                checks all of it with numpy and h5py alone
SHA256SUMS               digests, for sha256sum -c

and metrics/<task>-generic.json: accuracy, and what the network costs (see `spyx_nir.neurobench`);
metrics/summary/ has the few of these that `dvc metrics show` lists.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema, stage
from pipeline.evaluation import parity_gate, summary_metrics
from spyx_nir import files


def deploy(task: schema.Task, root: Path = Path(".")) -> None:
    """Write `models/<task>/deploy/generic/` and the metrics `<task>-generic.json`.

    Raises:
        UserError: parity has not passed for these files, an input is missing, the test set is too
            small for the vectors, the recordings are not those that were prepared, or the file for
            nir 1.0.4 would mean something else.
    """
    folder = root / "models" / task.name
    report = parity_gate.passed(folder, task.name)

    from pipeline.bundle import card, events, manifest
    from pipeline.datasets import prepared, recordings
    from spyx_nir import converter
    from spyx_nir.bundle import vectors
    from spyx_nir.bundle.events import address_map
    from spyx_nir.bundle.folder import Golden, complete
    from spyx_nir.bundle.manifest import along_the_edges

    data = prepared.read(root / "data" / "prepared" / f"{task.name}.h5")
    frames, labels = data.subset("test")
    chosen = vectors.choose(labels, task.deploy.vectors, report["differing_samples"])
    graph = converter.file.read(folder / "model.nir")
    plan = converter.load(graph, task.export.dt).plan
    answer = golden(task, folder, plan, frames[chosen])
    samples = Golden(chosen, labels[chosen], np.swapaxes(frames[chosen], 0, 1), **answer)
    target = folder / "deploy" / "generic"
    with files.atomic_folder(target) as bundle:
        shutil.copyfile(folder / "model.nir", bundle / "model.nir")
        how = recordings.encoding(task)
        neurons = {
            name: plan.shapes[name] for name in along_the_edges(plan) if name in answer["spikes"]
        }
        addresses = address_map(how, neurons, {}, task.data.classes)
        recorded = events.write(bundle, task, data, chosen, addresses, root)
        about = manifest.about(task, report, data.provenance, {"events": recorded})
        complete(bundle, graph, plan, about, samples, card.write)
    (measured,) = report["neurobench"]
    measured = {**measured, "accuracy": report["accuracy"]["reference"], "seeds": task.seeds}
    summary_metrics.write(root, f"{task.name}-generic", measured)
    print(f"{task.name}: {target}: {len(chosen)} vectors, verified")


def golden(task: schema.Task, folder: Path, plan: Any, events: np.ndarray) -> dict[str, Any]:
    """What the trained model answers: `output` (T, N, classes) and `spikes` per node (T, N, ...).

    Args:
        events: (N, T, ...) uint8, channels first.
    """
    from pipeline.evaluation.backends import model_backend, trained_model
    from pipeline.evaluation.rounding_ties import spiking_layers

    model, names = trained_model(task, folder)
    spiking = {layer.name for layer in spiking_layers(plan, names)}
    recording = model_backend(model, names, spiking)(events)
    output = recording.outputs.astype(np.uint8)
    if (output != recording.outputs).any():
        output = recording.outputs
    return {"output": output, "spikes": dict(sorted(recording.spikes.items()))}


if __name__ == "__main__":
    stage.main(deploy, "Write the verified bundle of a task.")
