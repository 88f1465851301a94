"""Accuracy on real recordings, several seeds: `make bench-accuracy DATA=folder`.

DATA holds `Braille/` and `NMNIST/` as `source: folder` reads them. For every task and seed the stages
prepare and train run in a folder of their own with the parameters of params.yaml and `CHANGES` on top;
what a run trained before stays there and is not trained again. All recordings but the test's are
trained on, for as many epochs as folds of them asked for. Said are the mean over the seeds, each seed,
and Wilson's interval of the mean for as many recordings as the test set has, whatever the number of seeds
(`metrics.over_seeds`); with --resplit every seed deals the Braille recordings anew, so that they are
others in part (the test set of N-MNIST is the published one).
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

from pipeline import params
from pipeline.datasets import prepared
from spyx_nir import confidence, files
from spyx_nir.errors import UserError

ROOT = Path(__file__).parent.parent
FOLDERS = {"braille": "Braille", "nmnist": "NMNIST"}

# With these first weights the settings below were chosen for digits; the default's are smaller.
FIRST_WEIGHTS = {"first_gain": 1.0}
# What differs from the simulated default. 210 recordings of a fingertip are few: decays of their own
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
            "ema_decay": 0.98,
            "min_rate_penalty": 1.0e-4,
            "event_drop_rate": 0.05,
        },
    },
    "nmnist": {
        "network": FIRST_WEIGHTS,
        "train": {"epochs": 80, "ema_decay": 0.98, "elastic_alpha": 1.5},
    },
}
# Simulated recordings to go on from: of other images than those of the real ones
# (`simulate_nmnist.image_indices`), in about as many steps as the default makes.
SIMULATED: dict[str, dict[str, Any]] = {
    "data": {"simulated_per_class": 383, "validation": 0.0},
    "network": FIRST_WEIGHTS,
    "train": {"epochs": 36},
}
# Fine-tuning of what was trained on them.
FINE_TUNED: dict[str, dict[str, Any]] = {
    "network": FIRST_WEIGHTS,
    "train": {
        "epochs": 20,
        "learning_rate": 1.0e-3,
        "ema_decay": 0.98,
        "max_rotation": 15.0,
        "max_scale": 0.15,
        "max_shear": 0.15,
        "elastic_alpha": 0.0,
    },
}


def parameters_for(task: str, changes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The document of params.yaml with `changes` to `task`."""
    document = yaml.safe_load((ROOT / "params.yaml").read_text())
    for section, values in changes.items():
        document["tasks"][task][section].update(values)
    for other in document["tasks"].values():
        other["targets"] = {}  # no part of what is trained here
    return document


def real(task: str, data: Path) -> dict[str, Any]:
    """The section `data` of a task whose recordings lie below `data`; all but the test's train."""
    path = str((data / FOLDERS[task]).resolve())
    return {"source": "folder", "path": path, "validation": 0.0}


def run_stages(folder: Path, *stages: list[str]) -> None:
    """Run stages, each a name and its arguments, in `folder`."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    for stage, *arguments in stages:
        command = [sys.executable, "-m", f"pipeline.{stage}", *arguments]
        subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, check=True)


def trained(folder: Path, task: str, document: dict[str, Any]) -> dict[str, Any]:
    """The report of a training in `folder` with the parameters `document`; trained if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(document, sort_keys=False)
    report, parameters = folder / "models" / task / "train.json", folder / "params.yaml"
    if not (report.exists() and parameters.exists() and parameters.read_text() == text):
        report.unlink(missing_ok=True)
        files.write_text(parameters, text)
        run_stages(folder, ["prepare", task], ["train", task])
    return json.loads(report.read_text())


def measure(
    task: str,
    data: Path,
    seeds: list[int],
    out: Path,
    start_from: Path | None = None,
    resplit: bool = False,
) -> dict:
    """Train `task` once per seed below `out`; the mean accuracy and its interval, and the `folders`.

    `resplit`: the seed deals the recordings to the splits, too.
    """
    changes = copy.deepcopy(FINE_TUNED if start_from else CHANGES[task])
    changes["data"] = real(task, data)
    if start_from:
        changes["train"]["start_from"] = str(start_from.resolve())
    document = parameters_for(task, changes)
    folders, found = [], []
    for seed in seeds:
        document["tasks"][task]["train"]["seed"] = seed
        if resplit:
            document["tasks"][task]["data"]["seed"] = seed
        kind = "-fine-tuned" if start_from else "-resplit" if resplit else ""
        folder = out / f"{task}{kind}-{seed}"
        found.append(trained(folder, task, document)["accuracy"]["test"])
        folders.append(folder)
    return {"folders": folders, **over_seeds(found)}


def over_seeds(entries: list[dict[str, Any]]) -> dict[str, Any]:
    """`metrics.over_seeds` of accuracy entries, one for each seed, of test sets of one size."""
    (n,) = {entry["n"] for entry in entries}
    return confidence.over_seeds([entry["correct"] for entry in entries], n)


def simulated(task: str, out: Path) -> Path:
    """Weights that were trained on simulated recordings."""
    trained(out / f"{task}-simulated", task, parameters_for(task, SIMULATED))
    return out / f"{task}-simulated" / "models" / task / "weights.safetensors"


def untouched(task: str, data: Path, out: Path, weights: Path) -> dict:
    """Accuracy of `weights`, trained on simulated recordings, on the test recordings."""
    folder = out / f"{task}-untouched"
    folder.mkdir(parents=True, exist_ok=True)
    parameters = folder / "params.yaml"
    changes = {"data": real(task, data), "network": SIMULATED["network"]}
    document = parameters_for(task, changes)
    files.write_text(parameters, yaml.safe_dump(document, sort_keys=False))
    run_stages(folder, ["prepare", task])
    from pipeline.training import forward, networks, trainer

    settings = params.load(task, parameters)
    split = trainer.Split(
        *prepared.read(folder / "data" / "prepared" / f"{task}.h5").subset("test")
    )
    model = networks.from_weights(settings, weights)
    arrays = {name: value[...] for name, value in networks.named_parameters(model).items()}
    n = len(split.labels)
    training = trainer.Trainer(forward.FloatForward(settings), settings, n)
    return confidence.over_seeds([training.evaluate(arrays, split).correct], n)


def summary(result: dict) -> str:
    """An accuracy over seeds in words."""
    low, high = result["wilson95"]
    seeds = ", ".join(map(str, result["correct"]))
    return (
        f"{result['accuracy']:.1%} ({low:.1%} to {high:.1%}), by seed {seeds} of {result['n']}, "
        f"deviation {100 * result['deviation']:.1f} points"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.accuracy", description="Accuracy on real recordings."
    )
    parser.add_argument("data", type=Path, help="folder with Braille/ and NMNIST/")
    parser.add_argument("--task", choices=FOLDERS, action="append", help="default: both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("bench/accuracy"), help="where runs stay")
    parser.add_argument("--resplit", action="store_true", help="another split for every seed")
    parser.add_argument(
        "--transfer",
        action="store_true",
        help="train nmnist on simulated recordings, test that as it is and fine-tuned",
    )
    args = parser.parse_args()
    tasks = args.task or (["nmnist"] if args.transfer else list(FOLDERS))
    for task in tasks:
        if not (args.data / FOLDERS[task]).is_dir():
            parser.error(f"{args.data / FOLDERS[task]}: no such folder")
    if args.transfer and tasks != ["nmnist"]:
        parser.error("--transfer is for --task nmnist: no other simulation shows real images")
    try:
        for task in tasks:
            weights = None
            if args.transfer:
                weights = simulated(task, args.out)
                found = untouched(task, args.data, args.out, weights)
                print(f"{task}, simulated only: {summary(found)}", flush=True)
            what = f"{task}, fine-tuned" if weights else task
            found = measure(task, args.data, args.seeds, args.out, weights, args.resplit)
            print(f"{what}: {summary(found)}", flush=True)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
