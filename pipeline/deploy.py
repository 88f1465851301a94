"""Stage: the bundle that leaves the house, made only of a file that parity has passed.

model.nir                the graph, byte for byte the one that parity checked
model-nir-1.0.4.nir      the same for toolchains that pin nir 1.0.4
test_data_set_0/         golden vectors: vectors.npz, and nir_data.h5 for nir.read_data
manifest.json            facts for machines
MODEL_CARD.md            facts for people
verify.py                checks all of it with numpy and h5py alone
SHA256SUMS               digests, for sha256sum -c

and metrics/<task>-generic.json: accuracy, and what the network costs (see `spyx_nir.neurobench`).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import schema, stage
from spyx_nir import files
from spyx_nir.errors import UserError


def passed(folder: Path, task: str) -> dict[str, Any]:
    """The parity report of `folder`, if it is a pass for the files that lie there now.

    Raises:
        UserError: no report, no pass, or `model.nir` or the weights are not the ones it checked.
    """
    path = folder / "parity.json"
    again = f"run python -m pipeline.parity {task}"
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        verdict, checked = report["verdict"], report["model_nir"]["sha256"]
        checked_weights = report["weights_sha256"]
        report["differing_samples"], report["accuracy"]["trained"], report["neurobench"][0]
        report["weights"]["trained_here"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; nothing is deployed unchecked, {again}") from None
    except (ValueError, KeyError, TypeError, IndexError):
        raise UserError(f"{path}: not a report of the parity stage; {again}") from None
    if verdict != "pass":
        reasons = "; ".join(map(str, report.get("reasons", [])))
        raise UserError(f"{path}: the verdict is `{verdict}`, `pass` is needed ({reasons})")
    for name, digest in (("model.nir", checked), ("weights.safetensors", checked_weights)):
        file = folder / name
        if not file.is_file():
            raise UserError(f"{file}: no such file; run dvc repro")
        if (now := files.sha256(file)) != digest:
            raise UserError(
                f"{file}: changed after parity (SHA-256 now {now[:12]}..., parity checked "
                f"{digest[:12]}...); {again}"
            )
    return report


def deploy(task: schema.Task, root: Path = Path(".")) -> None:
    """Write `models/<task>/deploy/generic/` and `metrics/<task>-generic.json`.

    Raises:
        UserError: parity has not passed for these files, an input is missing, the test set is too
            small for the vectors, or the file for nir 1.0.4 would mean something else.
    """
    folder = root / "models" / task.name
    report = passed(folder, task.name)

    from pipeline.bundle.folder import Golden, complete
    from pipeline.datasets import prepared
    from spyx_nir import converter
    from spyx_nir.bundle import vectors

    data = prepared.read(root / "data" / "prepared" / f"{task.name}.h5")
    events, labels = data.subset("test")
    chosen = vectors.choose(labels, task.deploy.vectors, report["differing_samples"])
    graph = converter.file.read(folder / "model.nir")
    plan = converter.load(graph, task.export.dt).plan
    answer = golden(task, folder / "weights.safetensors", plan, events[chosen])
    samples = Golden(chosen, labels[chosen], np.swapaxes(events[chosen], 0, 1), **answer)
    target = folder / "deploy" / "generic"
    with files.atomic_folder(target) as bundle:
        shutil.copyfile(folder / "model.nir", bundle / "model.nir")
        complete(bundle, task, graph, plan, report, data.provenance, samples)
    (measured,) = report["neurobench"]
    measured = {**measured, "accuracy": report["accuracy"]["reference"], "seeds": task.seeds}
    files.write_json(root / "metrics" / f"{task.name}-generic.json", measured)
    print(f"{task.name}: {target}: {len(chosen)} vectors, verified")


def golden(task: schema.Task, weights: Path, plan: Any, events: np.ndarray) -> dict[str, Any]:
    """What the trained model answers: `output` (T, N, classes) and `spikes` per node (T, N, ...).

    Args:
        events: (N, T, ...) uint8, channels first.
    """
    from pipeline.evaluation.backends import model_executor, trained_model
    from pipeline.evaluation.rounding_ties import spiking_layers

    model, names = trained_model(task, weights)
    spiking = {layer.name for layer in spiking_layers(plan, names)}
    recording = model_executor(model, names, spiking)(events)
    output = recording.outputs.astype(np.uint8)
    if (output != recording.outputs).any():
        output = recording.outputs
    return {"output": output, "spikes": dict(sorted(recording.spikes.items()))}


if __name__ == "__main__":
    stage.main(deploy, "Write the verified bundle of a task.")
