"""Accuracy lost on chips, real recordings, several seeds: `make bench-targets DATA=folder`.

Takes the networks that `bench.accuracy` trained below --out (and trains what is missing), exports them,
checks parity and runs the stage `target` for every chip of the task, in the same folders. Lost points
are float minus integer accuracy, the mean over the seeds and each seed; intervals are those of
`bench.accuracy`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

from bench import accuracy
from pipeline import params, schema
from spyx_nir import files
from spyx_nir.errors import UserError

# What differs from the simulated default: recordings are few, and so an epoch is short. On Speck each of
# the two parts has so many.
CHANGES = {
    ("braille", "xylo-audio-2"): {"epochs": 400, "learning_rate": 5.0e-3},
    ("braille", "loihi"): {"epochs": 200, "learning_rate": 5.0e-3},
    ("nmnist", "speck-2f"): {"epochs": 12, "learning_rate": 2.0e-3},
    ("nmnist", "loihi"): {"epochs": 8, "learning_rate": 2.0e-3},
}
KINDS = ("float", "ptq", "integer", "dequantised")


def measure(task: str, chip: str, folders: list[Path]) -> dict:
    """Make the bundle of `chip` in every folder; per kind of run the accuracy over the seeds."""
    targets = yaml.safe_load((accuracy.ROOT / "params.yaml").read_text())["tasks"][task]["targets"]
    targets[chip].update(CHANGES.get((task, chip), {}))
    reports = []
    for folder in folders:
        document = yaml.safe_load((folder / "params.yaml").read_text())
        document["tasks"][task]["targets"] = {chip: targets[chip]}
        text = yaml.safe_dump(document, sort_keys=False)
        report = folder / "metrics" / f"{task}-{chip}.json"
        parameters = folder / f"params-{chip}.yaml"
        if not (report.exists() and parameters.exists() and parameters.read_text() == text):
            report.unlink(missing_ok=True)
            files.write_text(parameters, text)
            with_params = ["--params", parameters.name]
            accuracy.run_stages(
                folder,
                ["export", task, *with_params],
                ["parity", task, *with_params],
                ["target", task, chip, *with_params],
            )
        reports.append(json.loads(report.read_text()))
    return {
        **{
            kind: accuracy.over_seeds([report["accuracy"][kind] for report in reports])
            for kind in KINDS
        },
        "lost_points": [report["lost_points"]["integer"] for report in reports],
        "saturated": [report["saturated"] for report in reports],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.targets", description="Accuracy lost on chips, real recordings."
    )
    parser.add_argument("data", type=Path, help="folder with Braille/ and NMNIST/")
    parser.add_argument("--task", choices=accuracy.FOLDERS, action="append", help="default: both")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--resplit", action="store_true", help="another split for every seed")
    parser.add_argument("--out", type=Path, default=Path("bench/accuracy"), help="where runs stay")
    args = parser.parse_args()
    try:
        for task in args.task or list(accuracy.FOLDERS):
            floats = accuracy.measure(task, args.data, args.seeds, args.out, resplit=args.resplit)
            for chip, settings in params.load(task, accuracy.ROOT / "params.yaml").targets.items():
                if isinstance(settings, schema.SharedTarget):
                    continue  # the same network
                found = measure(task, chip, floats["folders"])
                lost = found["lost_points"]
                by_kind = "; ".join(f"{kind} {accuracy.summary(found[kind])}" for kind in KINDS)
                print(
                    f"{task} on {chip}: {statistics.mean(lost):+.2f} points lost "
                    f"({', '.join(f'{points:+.2f}' for points in lost)}); {by_kind}; states at their "
                    f"bounds {found['saturated']}",
                    flush=True,
                )
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
