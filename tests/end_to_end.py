"""An end-to-end run on a handful of random samples, for the tests of parity and deploy."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np

from pipeline import params, schema

ROOT = Path(__file__).parent.parent
SHAPES = {"braille": (16, 12), "nmnist": (10, 2, 34, 34)}  # (T, ...) of the tiny recordings

# Runs a script and lets it import the standard library, numpy and h5py alone.
GUARD = """
import runpy, sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        top = name.split(".")[0]
        if top not in {*sys.stdlib_module_names, "numpy", "h5py"}:
            raise ImportError(f"{name} must not be imported")
sys.meta_path.insert(0, Guard())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def tiny_task(name: str, reset: str) -> schema.Task:
    """A task of params.yaml with few steps and few vectors."""
    task = params.load(name, ROOT / "params.yaml")
    return dataclasses.replace(
        task,
        data=dataclasses.replace(task.data, bins=SHAPES[name][0]),
        network=dataclasses.replace(task.network, reset=reset),
        deploy=dataclasses.replace(task.deploy, vectors=8),
    )


def tiny_target(name: str, *targets: str) -> schema.Task:
    """The tiny task with one epoch for each of `targets`."""
    chips = {target: schema.Target(target, 1, 1e-3) for target in targets}
    return dataclasses.replace(tiny_task(name, "v_reset"), targets=chips)


def link_to_cache(folder: Path, cache: Path) -> None:
    """Every file of `folder` goes to `cache`, a link in its place: DVC's `cache.type symlink`."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        stored = cache / digest[:2] / digest[2:]
        stored.parent.mkdir(parents=True, exist_ok=True)
        path.replace(stored)
        stored.chmod(0o444)
        path.symlink_to(stored)


def run_stages(task: schema.Task, root: Path) -> Path:
    """Go from prepared data to a bundle in `root`; the network is untrained."""
    from pipeline.datasets import prepared
    from pipeline.deploy import deploy
    from pipeline.export import export
    from pipeline.parity import parity
    from pipeline.training import networks

    n, shape = 30, SHAPES[task.name]
    random = np.random.default_rng(5)
    events = (random.random((n, *shape)) < 0.2).astype(np.uint8)
    labels = np.arange(n) % len(task.data.classes)
    split = np.repeat([0, 1, 2], [6, 4, 20])
    prepared.write(
        root / "data" / "prepared" / f"{task.name}.h5",
        iter(events),
        events.shape,
        labels,
        split,
        {
            "classes": list(task.data.classes),
            "bins": task.data.bins,
            "bin_us": task.data.bin_us,
            "source": task.data.source,
        },
        {"seed": 5, "source": "random events"},
    )
    weights = root / "models" / task.name / "weights.safetensors"
    networks.save_weights(networks.build(task), task, weights)
    export(task, root)
    parity(task, root)
    deploy(task, root)
    return root
