"""Fixtures that several test files share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline import params

ROOT = Path(__file__).parent.parent
SHAPES = {"braille": (16, 12), "nmnist": (6, 2, 34, 34)}  # (T, ...) of the tiny recordings


def tiny_task(name: str, reset: str) -> params.Task:
    """A task of params.yaml with few steps and few vectors."""
    task = params.load(name, ROOT / "params.yaml")
    return dataclasses.replace(
        task,
        data=dataclasses.replace(task.data, bins=SHAPES[name][0]),
        network=dataclasses.replace(task.network, reset=reset),
        deploy=dataclasses.replace(task.deploy, vectors=8),
    )


@pytest.fixture(scope="session")
def tiny_road(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """`tiny_road(task, reset)`: a project folder that went from prepared data to a bundle.

    Recordings are random events and the network is untrained, for what is tested is the road. Made
    once per task and reset: copy it before changing anything in it.
    """
    made: dict[tuple[str, str], Path] = {}

    def road(name: str, reset: str) -> Path:
        if (name, reset) not in made:
            made[name, reset] = _walk(tiny_task(name, reset), tmp_path_factory.mktemp(name))
        return made[name, reset]

    return road


def _walk(task: params.Task, root: Path) -> Path:
    from pipeline import networks
    from pipeline.datasets import prepared
    from pipeline.deploy import deploy
    from pipeline.export import export
    from pipeline.parity import parity

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
