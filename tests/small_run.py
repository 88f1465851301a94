"""All stages of a small task: `python tests/small_run.py TASK FOLDER [CHIP]`.

Recordings are simulated, few and short; two epochs of training and one of quantisation-aware training.
test_processors.py runs it natively and under an emulated processor and compares what FOLDER then holds.
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def main(name: str, folder: str, chip: str) -> None:
    from pipeline import deploy, export, params, parity, prepare, target, train

    task = params.load(name, ROOT / "params.yaml")
    bins = {"braille": 64, "nmnist": task.data.bins}[name]
    longer = task.data.bins * task.data.bin_us // bins
    chips = {
        key: dataclasses.replace(value, epochs=1) if hasattr(value, "epochs") else value
        for key, value in task.targets.items()
    }
    task = dataclasses.replace(
        task,
        data=dataclasses.replace(task.data, bins=bins, bin_us=longer, simulated_per_class=12),
        train=dataclasses.replace(task.train, epochs=2, warm_up=0.0),
        deploy=dataclasses.replace(task.deploy, vectors=8),
        targets=chips,
    )
    os.chdir(folder)
    for step in (prepare.prepare, train.command, export.export, parity.parity, deploy.deploy):
        step(task)
    target.target(task, chip)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    from pipeline import environment

    environment.settle()  # before NumPy
    main(*sys.argv[1:])
