"""Accuracy on real recordings, several seeds: `make bench-accuracy DATA=folder`.

DATA holds `Braille/` and `NMNIST/` as `source: folder` reads them. For every task and seed the stages
prepare and train run in a folder of their own with the parameters of params.yaml and `CHANGES` on top;
what a run trained before stays there and is not trained again. Test accuracies are those of the epoch
that was best on the validation split; the interval of the mean is Wilson's over the recordings of
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

from pipeline import files, metrics

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
            "learn_decays": True,
            "average": 0.98,
            "silence": 1.0e-4,
            "drop_events": 0.05,
        },
    },
    "nmnist": {"train": {"epochs": 20}},
}
# Fine-tuning of the weights of the simulated default.
FINE_TUNED: dict[str, dict[str, Any]] = {
    "train": {"epochs": 12, "learning_rate": 1.0e-3, "average": 0.98}
}


def measure(task: str, data: Path, seeds: list[int], out: Path, start_from: Path | None) -> dict:
    """Train `task` once per seed below `out`; the accuracies, their mean and Wilson's interval."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    block = document["tasks"][task]
    changes = copy.deepcopy(FINE_TUNED if start_from else CHANGES[task])
    changes["data"] = {"source": "folder", "path": str((data / FOLDERS[task]).resolve())}
    if start_from:
        changes["train"]["start_from"] = str(start_from.resolve())
    for section, values in changes.items():
        block[section].update(values)
    for other in document["tasks"].values():
        other["targets"] = {}  # no part of what is trained here
    found = []
    for seed in seeds:
        folder = out / f"{task}{'-fine-tuned' if start_from else ''}-{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        block["train"]["seed"] = seed
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


def run_stages(folder: Path, *stages: list[str]) -> None:
    """Run stages, each a name and its arguments, in `folder`."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for stage, *arguments in stages:
        command = [sys.executable, "-m", f"pipeline.{stage}", *arguments]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)


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
    args = parser.parse_args()
    tasks = args.task or list(FOLDERS)
    for task in tasks:
        if not (args.data / FOLDERS[task]).is_dir():
            parser.error(f"{args.data / FOLDERS[task]}: no such folder")
    if args.start_from and len(tasks) > 1:
        parser.error("--start-from needs one --task: the weights belong to one network")
    try:
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


if __name__ == "__main__":
    main()
