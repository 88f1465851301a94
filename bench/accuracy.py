"""Accuracy on real recordings, several seeds: `make bench-accuracy DATA=folder`.

DATA holds `Braille/` and `NMNIST/` as `source: folder` reads them. For every task and seed the stages
prepare and train run in a folder of their own with the parameters of params.yaml and `CHANGES` on top;
what a run trained before stays there and is not trained again. Test accuracies are those of the epoch
with the lowest validation loss; the interval of the mean is Wilson's over the recordings of
all seeds together, which takes the same recordings for new ones and is therefore somewhat narrow.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from pipeline import files, metrics, params
from pipeline.datasets import prepared
from pipeline.errors import UserError

ROOT = Path(__file__).parent.parent
FOLDERS = {"braille": "Braille", "nmnist": "NMNIST"}

# What differs from the simulated default. 168 recordings of a fingertip are few: decays of their own
# spread over many time scales, an average over steps and a penalty on silence make up for it.
CHANGES: dict[str, dict[str, dict[str, Any]]] = {
    "braille": {
        "network": {"decays": "neuron", "decay_spread": 1.0, "beta_out": 0.9},
        "train": {
            "epochs": 200,
            "batch_size": 28,
            "learning_rate": 3.0e-3,
            "warm_up": 0.1,
            "learn_decays": True,
            "average": 0.98,
            "silence": 1.0e-4,
            "drop_events": 0.05,
        },
    },
    "nmnist": {"train": {"epochs": 80, "average": 0.98, "max_bend": 1.5}},
}
# Fine-tuning of the weights of the simulated default.
FINE_TUNED: dict[str, dict[str, Any]] = {
    "train": {
        "epochs": 20,
        "learning_rate": 1.0e-3,
        "average": 0.98,
        "max_rotation": 15.0,
        "max_zoom": 0.15,
        "max_slant": 0.15,
        "max_bend": 0.0,
    }
}


def parameters_for(task: str, data: Path, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The document of params.yaml with `changes` to `task` and the recordings below `data`."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    source = {"source": "folder", "path": str((data / FOLDERS[task]).resolve())}
    for section, values in {**changes, "data": source}.items():
        document["tasks"][task][section].update(values)
    for other in document["tasks"].values():
        other["targets"] = {}  # no part of what is trained here
    return document


def run_stages(folder: Path, *stages: list[str]) -> None:
    """Run stages, each a name and its arguments, in `folder`."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for stage, *arguments in stages:
        command = [sys.executable, "-m", f"pipeline.{stage}", *arguments]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)


def measure(task: str, data: Path, seeds: list[int], out: Path, start_from: Path | None) -> dict:
    """Train `task` once per seed below `out`; the accuracies, their mean and Wilson's interval."""
    changes = copy.deepcopy(FINE_TUNED if start_from else CHANGES[task])
    if start_from:
        changes["train"]["start_from"] = str(start_from.resolve())
    document = parameters_for(task, data, changes)
    found = []
    for seed in seeds:
        folder = out / f"{task}{'-fine-tuned' if start_from else ''}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        document["tasks"][task]["train"]["seed"] = seed
        text = yaml.safe_dump(document, sort_keys=False)
        report, parameters = folder / "models" / task / "train.json", folder / "params.yaml"
        if not (report.exists() and parameters.exists() and parameters.read_text() == text):
            report.unlink(missing_ok=True)
            files.write_text(parameters, text)
            run_stages(folder, ["prepare", task], ["train", task])
        entry = json.loads(report.read_text())["accuracy"]["test"]
        found.append({"seed": seed, "correct": entry["correct"], "n": entry["n"]})
    correct, n = (sum(entry[key] for entry in found) for key in ("correct", "n"))
    return {"seeds": found, **metrics.accuracy_entry(correct, n)}


def untouched(task: str, data: Path, out: Path, weights: Path) -> dict:
    """Accuracy of `weights`, trained with the network of params.yaml, on the test recordings."""
    folder = out / f"{task}-untouched"
    folder.mkdir(parents=True, exist_ok=True)
    parameters = folder / "params.yaml"
    files.write_text(parameters, yaml.safe_dump(parameters_for(task, data, {}), sort_keys=False))
    run_stages(folder, ["prepare", task])
    from pipeline import fit, networks

    settings = params.load(task, parameters)
    split = fit.Split(*prepared.read(folder / "data" / "prepared" / f"{task}.h5").subset("test"))
    model = networks.from_weights(settings, weights)
    arrays = {name: value[...] for name, value in networks.named_parameters(model).items()}
    n = len(split.labels)
    return metrics.accuracy_entry(fit.Fit(settings, n).evaluate(arrays, split).correct, n)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy", description="Accuracy on real recordings."
    )
    parser.add_argument("data", type=Path, help="folder with Braille/ and NMNIST/")
    parser.add_argument("--task", choices=FOLDERS, action="append", help="default: both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("bench/accuracy"), help="where runs stay")
    parser.add_argument(
        "--start-from",
        type=Path,
        help="fine-tune these weights, such as models/nmnist/weights.safetensors",
    )
    parser.add_argument(
        "--untouched", type=Path, metavar="WEIGHTS", help="train nothing, test these weights"
    )
    args = parser.parse_args()
    tasks = args.task or list(FOLDERS)
    for task in tasks:
        if not (args.data / FOLDERS[task]).is_dir():
            parser.error(f"{args.data / FOLDERS[task]}: no such folder")
    if (args.start_from or args.untouched) and len(tasks) > 1:
        parser.error("weights belong to one network: name one --task")
    try:
        if args.untouched:
            (task,) = tasks
            entry = untouched(task, args.data, args.out, args.untouched)
            low, high = entry["wilson95"]
            print(f"{task}: {entry['correct']} of {entry['n']}, {low:.1%} to {high:.1%}")
            return
        for task in tasks:
            result = measure(task, args.data, args.seeds, args.out, args.start_from)
            each = ", ".join(f"{e['correct'] / e['n']:.1%}" for e in result["seeds"])
            low, high = result["wilson95"]
            print(
                f"{task}: {result['accuracy']:.1%} ({low:.1%} to {high:.1%}) over seeds: {each}; "
                f"{result['seeds'][0]['n']} recordings each",
                flush=True,
            )
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
