"""A small recurrent network for N-MNIST as C on an emulated Cortex-M4.

The sort of network that Boretti et al. (ISCAS 2023) put on a Cortex-M4: down-sampled pixels, one
recurrent hidden layer, a readout. `pipeline.training` trains it on the prepared recordings of `nmnist`,
or with --data on those of a folder; it is exported, quantised and fine-tuned as `spyx-nir build` does,
and its C runs the whole test set as `bench.silicon.cortex_m` does. A down-sampled recording is 1 where a
cell had an event of a polarity in a step, else 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from bench.silicon import cortex_m
from pipeline import environment, params, schema, tasks
from pipeline.datasets import prepared
from spyx_nir import files
from spyx_nir.errors import UserError, exit_status

PIXELS, TASK, CORE = 34, "nmnist", "cortex-m4"
QAT_EPOCHS = 2
# What differs from the task's training: a small network, and first decays that are only a guess.
TRAIN: dict[str, Any] = {
    "batch_size": 32, "learning_rate": 0.006, "learn_decays": True, "ema_decay": 0.97,
    "max_rotation": 6.0, "max_scale": 0.1, "max_shear": 0.05, "max_shift": 1, "elastic_alpha": 0.5,
}  # fmt: skip
THEIR_CYCLES = 27_072  # of their worst step: 150.4 us at 180 MHz


@dataclass(frozen=True)
class Network:
    """2 x size x size inputs - recurrent LIF - LIF. Decays are first ones, of a step, and are trained."""

    size: int
    hidden: int
    decay: float = 0.8
    threshold: float = 1.0
    surrogate_slope: float = 2.0


def downsampled(events: np.ndarray, size: int) -> np.ndarray:
    """Counts (N, T, 2, 34, 34) to 0 or 1 (N, T, 2 size size) uint8: pixel y is in row y size // 34."""
    first = np.searchsorted(np.arange(PIXELS) * size // PIXELS, np.arange(size))
    rows = np.maximum.reduceat(events, first, axis=3)
    cells = np.maximum.reduceat(rows, first, axis=4) > 0
    return cells.astype(np.uint8).reshape(*events.shape[:2], -1)


def network(task: schema.Task) -> Any:
    """The untrained network, as a task module has it."""
    import jax.numpy as jnp
    import spyx.nn as snn
    from flax import nnx
    from spyx import axn

    from pipeline.training.decays import snap_decay
    from spyx_nir import neurons

    made, classes = task.network, len(task.data.classes)
    random, rngs = np.random.default_rng(task.train.seed), nnx.Rngs(task.train.seed)
    spike = axn.superspike(made.surrogate_slope)

    def lif(n: int) -> Any:
        decays = np.full(n, snap_decay(made.decay, task.export.dt), np.float32)
        layer = neurons.LIF((n,), 0.0, threshold=made.threshold, activation=spike, rngs=rngs)
        layer.beta = nnx.Param(jnp.asarray(decays))
        return layer

    def linear(inputs: int, outputs: int) -> Any:
        first = tasks.normal(random, 1.0)
        return nnx.Linear(inputs, outputs, use_bias=False, kernel_init=first, rngs=rngs)

    recurrent = neurons.Recurrent(lif(made.hidden), rngs=rngs)
    return snn.Sequential(
        linear(2 * made.size**2, made.hidden), recurrent, linear(made.hidden, classes), lif(classes)
    )


def trained(task: schema.Task, data: prepared.Prepared, place: Path) -> Path:
    """Train on all but the test's recordings; the exported graph, a file in `place`."""
    from pipeline.training import forward, networks, trainer
    from spyx_nir.converter import file

    class Downsampled(forward.FloatForward):
        """Images are augmented at full resolution, and down-sampled in the batch."""

        def batch(self, parameters: Any, events: Any, size: int) -> Any:
            return super().batch(parameters, downsampled(events, task.network.size), size)

        def not_finite(self, parameters: Any, events: np.ndarray) -> str | None:
            return super().not_finite(parameters, downsampled(events, task.network.size))

    module = SimpleNamespace(SENSOR=(2 * task.network.size**2, 1, 1), network=network)
    split = trainer.Split(*data.subset("train"))
    with mock.patch.object(tasks, "find", return_value=module):  # no task of the project's
        training = trainer.Trainer(Downsampled(task), task, len(split.labels))
        progress = training.start()
        none = trainer.Split(split.events[:0], split.labels[:0])
        for _ in training.epochs(progress, split, none, lambda: None):
            row = progress.rows[-1]
            if row["epoch"] % 5 == 0:
                print(
                    "epoch {epoch}: train accuracy {train_accuracy:.4f}".format(**row), flush=True
                )
        model = networks.with_parameters(networks.build(task), progress.best)
        file.write(place / "small.nir", networks.to_graph(task, model))
    return place / "small.nir"


def built(task: schema.Task, data: prepared.Prepared, graph: Path) -> dict[str, Any]:
    """Quantise and fine-tune for Cortex-M; the bundle's metrics. The bundle is beside the graph.

    Raises:
        UserError: no bundle was made.
    """
    from spyx_nir.bundle import build, recordings
    from spyx_nir.converter import file
    from spyx_nir.hardware import finetune, profile
    from spyx_nir.hardware.topology import planned

    def given(name: str) -> recordings.Recordings:
        events, labels = data.subset(name)
        return recordings.Recordings(downsampled(events, task.network.size), labels, "given")

    train = given("train")
    parts = [train.part(chosen) for chosen in finetune.split(train.labels)]
    source = build.given(graph, planned(file.read_dict(graph)))
    row = build.build(
        source,
        profile.load("cortex-m"),
        build.Data(given("test"), parts[0], parts[1], QAT_EPOCHS),
        graph.parent / "bundle",
        lambda line: print(line, flush=True),
    )
    if row.metrics is None:
        raise UserError(f"no bundle: {row.reason}")
    return dict(row.metrics)


def emulated(x: np.ndarray, bundle: Path, place: Path) -> dict[str, Any]:
    """The bundle's C on the emulated core with recordings x, (N, T, inputs), beside the integer rule."""
    from spyx_nir.bundle import integers
    from spyx_nir.bundle.templates import verify_integers
    from spyx_nir.hardware import profile, simulate
    from spyx_nir.hardware.families.integer import verify_c

    with np.load(bundle / verify_c.VECTORS, allow_pickle=False) as loaded:
        read = verify_integers.network_of(dict(loaded))
    made = dataclasses.replace(read, profile=profile.load("cortex-m"))
    (place / verify_c.VECTORS).parent.mkdir(parents=True)
    (frames,) = simulate.padded(made, x).values()
    integers.write(place / verify_c.VECTORS, made, frames)
    (place / "c").symlink_to(bundle / "c")
    return cortex_m.measure(place, CORE, cortex_m.CORES[CORE], len(x))


def measure(task: schema.Task, data: prepared.Prepared) -> dict[str, Any]:
    """Train, quantise, emulate the whole test set."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        graph = trained(task, data, place)
        metrics = built(task, data, graph)
        test = downsampled(data.subset("test")[0], task.network.size)
        core = emulated(test, place / "bundle", place / "emulated")
    return {
        "size": task.network.size,
        "hidden": task.network.hidden,
        "seed": task.train.seed,
        "source": data.source,
        "accuracy": metrics["accuracy"],
        "events_per_step": {
            "mean": float(test.sum(2).mean()), "most": int(test.sum(2).max()),
        },
        **core,
    }  # fmt: skip


def task_with(made: Network, seed: int, epochs: int) -> schema.Task:
    """The task of params.yaml with this network and `TRAIN`."""
    task = params.load(TASK, cortex_m.ROOT / "params.yaml")
    train = dataclasses.replace(task.train, **TRAIN, seed=seed, epochs=epochs)
    return dataclasses.replace(task, network=made, train=train)


def real(folder: Path, place: Path) -> prepared.Prepared:
    """Recordings of a folder with Train/ and Test/, binned as the simulated ones.

    Raises:
        UserError: as `pipeline.prepare.prepare`.
    """
    from pipeline.prepare import prepare

    task = params.load(TASK, cortex_m.ROOT / "params.yaml")
    data = dataclasses.replace(task.data, source="folder", path=str(folder.resolve()))
    prepare(dataclasses.replace(task, data=data), place)
    return prepared.read(place / "data" / "prepared" / f"{TASK}.h5")


def line(found: dict[str, Any]) -> str:
    """A row of the table in docs/deploy-microcontroller.md."""
    right = [found["accuracy"][kind]["correct"] for kind in ("float", "ptq", "integer")]
    steps = found["instructions_per_step"]
    return (
        f"| {found['size']} x {found['size']} x 2 | {found['hidden']} | {found['seed']} "
        f"| {right[0]}, {right[1]}, {right[2]} of {found['accuracy']['integer']['n']} "
        f"| {steps['mean']:,.0f}, {steps['most']:,.0f} | {steps['most'] / THEIR_CYCLES:.2f} "
        f"| {found['flash']:,}, {found['ram']:,} "
        f"| {found['spike_entries']:,}, {found['state_entries']:,}, {found['differing']} |"
    )


def _network(text: str) -> tuple[int, int]:
    size, _, hidden = text.partition("x")
    allowed = size.isdecimal() and hidden.isdecimal()
    if not allowed or not 1 <= int(size) <= PIXELS or not 1 <= int(hidden) <= 1024:
        raise argparse.ArgumentTypeError(
            f"must be SIZExHIDDEN, 1 to {PIXELS} cells and 1 to 1024 neurons, got {text}"
        )
    return int(size), int(hidden)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.silicon.small_nmnist", description=__doc__
    )
    parser.add_argument(
        "--networks", type=_network, nargs="+", default=[(9, 56), (12, 44)], metavar="SIZExHIDDEN"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--data", type=Path, help="folder of N-MNIST; default: data/prepared")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets all figures")
    given = parser.parse_args(arguments)
    if given.epochs < 1 or min(given.seeds) < 0:
        parser.error(f"--epochs must be at least 1, got {given.epochs}; --seeds at least 0")
    if lines := cortex_m.absent():
        raise UserError(lines[0])
    environment.settle()
    os.environ["JAX_NUM_CPU_DEVICES"] = "1"
    found = []
    with tempfile.TemporaryDirectory() as folder:
        data = (
            real(given.data, Path(folder))
            if given.data
            else prepared.read(cortex_m.ROOT / "data" / "prepared" / f"{TASK}.h5")
        )
        for size, hidden in given.networks:
            for seed in given.seeds:
                found.append(measure(task_with(Network(size, hidden), seed, given.epochs), data))
                print(line(found[-1]), flush=True)
                if given.json:
                    files.write_json(given.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(exit_status(main))
