"""Stage: the bundle that leaves the house, made only of a file that parity has passed.

model.nir                the graph, byte for byte the one that parity checked
model-nir-1.0.4.nir      the same for toolchains that pin nir 1.0.4
test_data_set_0/         golden vectors: vectors.npz, and nir_data.h5 for nir.read_data
manifest.json            facts for machines
MODEL_CARD.md            facts for people
verify.py                checks all of it with numpy and h5py alone
SHA256SUMS               digests, for sha256sum -c
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import files, params, stage
from pipeline.errors import UserError

OLD_NIR = "1.0.4"
VECTORS = "test_data_set_0"


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
        report["differing_samples"], report["accuracy"]["trained"]
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; nothing is deployed unchecked, {again}") from None
    except (ValueError, KeyError, TypeError):
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


def deploy(task: params.Task, root: Path = Path(".")) -> None:
    """Write `models/<task>/deploy/`.

    Raises:
        UserError: parity has not passed for these files, an input is missing, the test set is too
            small for the vectors, or the file for nir 1.0.4 would mean something else.
    """
    folder = root / "models" / task.name
    report = passed(folder, task.name)

    from pipeline import converter
    from pipeline.bundle import card, manifest, vectors, verify
    from pipeline.datasets import prepared

    data = prepared.read(root / "data" / "prepared" / f"{task.name}.h5")
    events, labels = data.subset("test")
    chosen = vectors.choose(labels, task.deploy.vectors, report["differing_samples"])
    graph = converter.file.read(folder / "model.nir")
    plan = converter.load(graph, task.export.dt).plan
    answer = golden(task, folder / "weights.safetensors", plan, events[chosen])

    with files.atomic_folder(folder / "deploy") as bundle:
        shutil.copyfile(folder / "model.nir", bundle / "model.nir")
        old = bundle / f"model-nir-{OLD_NIR}.nir"
        converter.file.write(old, graph, nir_version=OLD_NIR)
        (bundle / VECTORS).mkdir()
        x = np.swapaxes(events[chosen], 0, 1)
        vectors.write_npz(bundle / VECTORS / "vectors.npz", x, answer["output"], answer["spikes"])
        vectors.write_nir_data(
            bundle / VECTORS / "nir_data.h5", x, answer["output"], answer["spikes"], task.export.dt
        )
        made = manifest.build(
            task,
            plan=plan,
            contract={k: _plain(v) for k, v in sorted(graph.metadata.items())},
            parity=report,
            provenance=data.provenance,
            digests={
                path.relative_to(bundle).as_posix(): {
                    "sha256": files.sha256(path),
                    **({"content": converter.file.digest(path)} if path.suffix == ".nir" else {}),
                }
                for path in sorted(bundle.rglob("*"))
                if path.is_file()
            },
            vectors={
                "file": f"{VECTORS}/vectors.npz",
                "test_samples": chosen.tolist(),
                "labels": labels[chosen].tolist(),
                "predicted": answer["output"].sum(axis=0, dtype=np.int64).argmax(-1).tolist(),
            },
        )
        files.write_json(bundle / "manifest.json", made)
        files.write_text(bundle / "MODEL_CARD.md", card.write(made))
        files.write_text(bundle / "verify.py", verify.source(converter.reference_source()))
        files.write_text(bundle / "SHA256SUMS", sums(bundle))
        check(bundle)
    print(f"{task.name}: {folder / 'deploy'}: {len(chosen)} vectors, verified")


def golden(task: params.Task, weights: Path, plan: Any, events: np.ndarray) -> dict[str, Any]:
    """What the trained model answers: `output` (T, N, classes) and `spikes` per node (T, N, ...).

    Args:
        events: (N, T, ...) uint8, channels first.
    """
    from pipeline.executors import model_executor, trained_model
    from pipeline.ties import spiking_layers

    model, names = trained_model(task, weights)
    spiking = {layer.name for layer in spiking_layers(plan, names)}
    recording = model_executor(model, names, spiking)(events)
    output = recording.outputs.astype(np.uint8)
    if (output != recording.outputs).any():
        output = recording.outputs
    return {"output": output, "spikes": dict(sorted(recording.spikes.items()))}


def sums(folder: Path) -> str:
    """The text of SHA256SUMS for every file under `folder`, as `sha256sum -c` reads it."""
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return "".join(f"{files.sha256(folder / name)}  {name}\n" for name in names)


def check(bundle: Path) -> None:
    """Run the bundle's own verify.py, in a Python that sees installed packages only.

    Raises:
        UserError: it does not pass.
    """
    done = subprocess.run(
        [sys.executable, "-I", str(bundle / "verify.py")], capture_output=True, text=True
    )
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])
        raise UserError(f"the bundle does not verify, so it was not published: {said}")


def _plain(value: Any) -> Any:
    """A metadata value as JSON has it."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


if __name__ == "__main__":
    stage.main(deploy, "Write the verified bundle of a task.")
