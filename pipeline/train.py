"""Train the network of a task: `python -m pipeline.train <task>`.

Reads data/prepared/<task>.h5. Writes to models/<task>/: weights.safetensors (the epoch with the
lowest validation loss; the last one where `data.validation` is 0), train.json, curves.csv,
confusion.csv, and timing.json, how long it took on this machine. While it runs, every epoch is
stored in checkpoint/; a training that was killed continues from there and ends with the same bytes.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import functools
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import schema, stage, tasks
from pipeline.progress import bar
from spyx_nir import confidence, files
from spyx_nir.errors import GraphError, UsageError, UserError

if TYPE_CHECKING:
    import jax

    from pipeline.datasets import prepared
    from pipeline.training import checkpoint, trainer

FORMULA = ("=", "+", "-", "@", "\t", "\r", "'")  # what a spreadsheet's formula may start with
SPLITS = ("train", "validation", "test")
# The modules behind a training, as dvc.yaml lists them; the task's own besides.
CODE = (
    *(
        f"pipeline/{name}.py"
        for name in ("__init__", "environment", "params", "progress", "rehash", "schema")
    ),
    *("pipeline/stage.py", "pipeline/train.py", "pipeline/tasks/__init__.py"),
    *("pipeline/datasets", "pipeline/training"),
    *(f"spyx_nir/{name}.py" for name in ("__init__", "confidence", "errors", "files", "limits")),
    *(f"spyx_nir/{name}.py" for name in ("memory", "neurons", "yaml_file")),
    *("spyx_nir/hardware/__init__.py", "spyx_nir/hardware/facts.py"),
    *("spyx_nir/converter", "spyx_nir/deterministic", "spyx_nir/meaning"),
)
# What says that several hosts train together, and the variable that says it where the flag does not.
HOSTS = {
    "--coordinator": "JAX_COORDINATOR_ADDRESS",
    "--processes": "JAX_NUM_PROCESSES",
    "--process": "JAX_PROCESS_ID",
}


def train(
    task: schema.Task, root: Path = Path("."), *, fast: bool = False, devices: int | None = None
) -> None:
    """Train `task` in the project folder `root`.

    `fast` says that JAX was started with as many threads as there are cores: the bytes may differ
    from machine to machine, and a checkpoint made without it is not used. At most `devices` of
    each host share a batch. With several hosts, the first one writes and prints for all.

    Raises:
        UserError: the prepared file is missing, broken or made with other parameters, the network
            cannot be exported or its last layer does not spike, another process trains the task here,
            the loss is not finite, a layer never fires, `train.start_from` is no file of this network,
            or the hosts differ or cannot share a batch.
    """
    from pipeline.datasets import prepared

    source, target = root / "data" / "prepared" / f"{task.name}.h5", root / "models" / task.name
    data = prepared.read(source)
    from pipeline.training import (  # seconds of imports: only once the data is there
        checkpoint,
        distributed,
        forward,
        trainer,
    )

    splits = _splits(task, data, source)
    network = forward.FloatForward(task)
    training = trainer.Trainer(network, task, len(splits["train"].labels), devices)
    _check_network(task, network.model)
    first = training.start()
    digest = _digest(task, source, training.devices, fast)
    distributed.check_alike(digest)
    with (
        files.alone(root, "train", task.name)
        if distributed.is_first()
        else contextlib.nullcontext()
    ):
        stored = checkpoint.Checkpoint(target, digest)
        progress, seconds = _train(task, training, splits, first, stored)
        found = {
            name: training.evaluate(progress.best, split)
            for name, split in splits.items()
            if len(split.labels)
        }
        if distributed.is_first():
            _write(task, target, progress, found, splits["test"].labels)
            _write_timing(target, seconds, training.steps * training.batch * task.train.epochs)
            stored.remove()
            right, n = found["test"].correct, len(splits["test"].labels)
            print(
                f"{task.name}: test accuracy {right / n:.4f} ({right} of {n}), "
                f"weights of epoch {progress.best_epoch}"
            )


def _train(
    task: schema.Task,
    training: trainer.Trainer,
    splits: dict[str, trainer.Split],
    first: trainer.Progress,
    stored: checkpoint.Checkpoint,
) -> tuple[trainer.Progress, float]:
    """Train from the checkpoint, or from `first` without one: the last progress, and all seconds."""
    from pipeline.training import distributed

    progress, before = stored.load() or (first, 0.0)
    say = functools.partial(print, flush=True) if distributed.is_first() else lambda text: None
    say(
        f"{task.name}: batches of {training.batch} on {len(training.devices)} x "
        f"{training.devices[0].device_kind}"
    )
    if progress.epoch:
        say(f"{task.name}: going on after epoch {progress.epoch}")
    else:
        for layer in training.evaluate(progress.parameters, training.few(splits["train"])).silent:
            say(
                f"{task.name}: {layer} fires no spike yet; training stops after an epoch without; "
                f"try a lower tasks.{task.name}.network.threshold ({task.network.threshold})"
            )
    began = time.perf_counter() - before
    with _display(task, training.steps, progress.epoch, say) as (on_step, on_epoch):
        for _ in training.epochs(progress, splits["train"], splits["validation"], on_step):
            if distributed.is_first():
                stored.save(progress, time.perf_counter() - began)
            on_epoch(progress.rows[-1])
    return progress, time.perf_counter() - began


def _write(
    task: schema.Task,
    target: Path,
    progress: trainer.Progress,
    found: dict[str, trainer.Evaluation],
    actual: np.ndarray,
) -> None:
    """The stage's outputs: train.json, curves.csv, confusion.csv and the weights.

    Args:
        found: what the best network does on each split. actual: the labels of the test split.
    """
    from pipeline.training import networks

    report = {
        "accuracy": {
            name: confidence.accuracy_entry(seen.correct, len(seen.predicted))
            for name, seen in found.items()
        },
        "loss": {name: seen.loss for name, seen in found.items()},
        "spike_rate": found["test"].spike_rate,
        "best_epoch": progress.best_epoch,
        "epochs": task.train.epochs,
    }
    files.write_json(target / "train.json", report)
    curves = ([f"{value:.6g}" for value in row.values()] for row in progress.rows)
    files.write_text(target / "curves.csv", _table(progress.rows[0], curves))
    names = np.array(task.data.classes)
    pairs = zip(names[actual], names[found["test"].predicted], strict=True)
    files.write_text(target / "confusion.csv", _table(("actual", "predicted"), pairs))
    start = task.train.start_from
    networks.save_weights(
        networks.with_parameters(networks.build(task), progress.best),
        task,
        target / "weights.safetensors",
        epoch=progress.best_epoch,
        validation_accuracy=progress.rows[progress.best_epoch - 1].get("validation_accuracy"),
        **({"started_from": files.sha256(start)} if start else {}),
    )


def _write_timing(target: Path, seconds: float, samples: int) -> None:
    """How long `samples` took: this machine's, so no output, which DVC would restore on another's."""
    digest = files.sha256(target / "weights.safetensors")
    timing = {"weights_sha256": digest, "seconds": seconds, "samples_per_s": samples / seconds}
    files.write_json(target / "timing.json", timing)


def _splits(task: schema.Task, data: prepared.Prepared, source: Path) -> dict[str, trainer.Split]:
    """The three splits, after a check that they fit the task's parameters."""
    from pipeline.training import networks, trainer

    shape = data.shape[1:]
    expected = (task.data.bins, *networks.input_shape(task))
    if shape != expected or tuple(data.classes) != task.data.classes:
        raise UserError(
            f"{source}: holds samples of shape {shape} in the classes {', '.join(data.classes)}; "
            f"the parameters say {expected} and {', '.join(task.data.classes)}; run `dvc repro`"
        )
    splits = {name: trainer.Split(*data.stream(name)) for name in SPLITS}
    for name, split in splits.items():
        if not len(split.labels) and (name != "validation" or task.data.validation):
            raise UserError(f"{source}: the {name} split is empty; raise its share in the data")
    return splits


def _check_network(task: schema.Task, model: Any) -> None:
    """Refuse before training what a later stage would refuse after it."""
    import spyx.nn as snn

    from pipeline.training import networks

    where = f"the network of pipeline/tasks/{task.name}.py"
    try:
        graph = networks.to_graph(task, model)
    except GraphError as error:
        raise UserError(f"{where}: {error}") from None
    if isinstance(model, snn.Sequential):
        last = model.layers[-1]
        spikes = hasattr(getattr(last, "cell", last), "threshold")
        name = f"its last layer, {type(last).__name__},"
    else:
        ends = [source for source, target in graph.edges if target == "output"]
        nodes = [
            getattr(graph.nodes[end], "nodes", {"lif": graph.nodes[end]})["lif"] for end in ends
        ]
        spikes = len(nodes) == 1 and hasattr(nodes[0], "v_threshold")
        name = f"its output, {' + '.join(ends)},"
    if not spikes:
        raise UserError(
            f"{where}: {name} does not spike; the class is the one "
            "with the most spikes: end it in a spiking neuron"
        )


def _digest(
    task: schema.Task, source: Path, devices: Sequence[jax.Device], fast: bool = False
) -> str:
    """What a checkpoint belongs to: parameters that training reads, data, code, devices, libraries.

    Devices count by their hosts: gradients are summed in another order over other hosts.
    """
    sections = {
        "network": dataclasses.asdict(task.network),
        "train": dataclasses.asdict(task.train),
        "dt": task.export.dt,
        "data": files.sha256(source),
        "code": code(task.name),
        "start": files.sha256(task.train.start_from) if task.train.start_from else None,
        "devices": [device.process_index for device in devices],
        "fast": fast,
        "versions": [version(name) for name in ("jax", "flax", "optax", "spyx")],
    }
    return hashlib.sha256(json.dumps(sections, sort_keys=True).encode()).hexdigest()


def code(task: str) -> dict[str, str]:
    """The SHA-256 of every module of the project that this stage may import, by its path."""
    root = Path(__file__).parents[1]
    found: list[Path] = []
    for name in CODE:
        found += (root / name).rglob("*.py") if (root / name).is_dir() else [root / name]
    digests = {path.relative_to(root).as_posix(): files.sha256(path) for path in found}
    return digests | {f"pipeline/tasks/{task}.py": files.sha256(tasks.HERE / f"{task}.py")}


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """CSV; a name that a spreadsheet would take for a formula has an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_no_formula(cell) for cell in row] for row in (head, *rows))
    return text.getvalue()


def _no_formula(cell: str) -> str:
    with contextlib.suppress(ValueError):
        float(cell)
        return cell
    return f"'{cell}" if cell.startswith(FORMULA) else cell


@contextlib.contextmanager
def _display(
    task: schema.Task, steps: int, done: int, say: Callable[[str], None]
) -> Iterator[tuple[Callable[[], None], Callable[[dict[str, float]], None]]]:
    """What to call after a step and after an epoch: a bar on a terminal, plain lines in a pipe.

    The results of an epoch scroll above the bar, which keeps its share and the time that is left.
    """
    epochs = task.train.epochs

    def text(row: dict[str, float]) -> str:
        results = ", ".join(
            f"{words}loss {row[f'{name}_loss']:.4f}, accuracy {row[f'{name}_accuracy']:.3f}"
            for name, words in (("train", ""), ("validation", "validation "))
            if f"{name}_loss" in row
        )
        return f"{task.name}: epoch {row['epoch']}/{epochs}, {results}"

    with bar(task.name, epochs * steps, done * steps) as shown:

        def on_epoch(row: dict[str, float]) -> None:
            if shown.shown:
                shown.say(text(row))
            elif row["epoch"] % max(1, epochs // 10) == 0 or row["epoch"] == epochs:
                say(text(row))

        yield functools.partial(shown.advance, 1), on_epoch


def command(
    task: schema.Task,
    fast: bool = False,
    devices: int | None = None,
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
) -> None:
    """Choose threads and devices, which JAX reads when it is imported, connect the hosts, train.

    Raises:
        UsageError: a flag is missing or out of range.
        Unavailable: another host cannot be reached.
        UserError: as `train`.
    """
    if devices is not None and devices < 1:
        raise UsageError(f"--devices: must be at least 1, got {devices}")
    hosts = _hosts(coordinator, processes, process)
    # Two devices that share a batch use two cores where there are two; their number is fixed, as that of
    # XLA's threads is (`environment`), or the bytes would depend on the number of cores.
    count = devices or 2
    if fast:
        os.environ.pop("NPROC", None)
        count = devices or os.cpu_count() or 1
        print(
            f"{task.name}: --fast: all cores; the bytes may differ on another machine", flush=True
        )
    os.environ["JAX_NUM_CPU_DEVICES"] = str(count)
    work = functools.partial(train, task, fast=fast, devices=devices)
    if not hosts:
        work()
        return
    from pipeline.training import distributed

    distributed.run_among_hosts(work, *hosts)


def _hosts(
    coordinator: str | None, processes: int | None, process: int | None
) -> tuple[str, int, int] | None:
    """Coordinator, count and index, from flags or else the environment; None for a single host.

    Raises:
        UsageError: one of the three is missing, malformed or out of range.
    """
    given = zip(HOSTS.items(), (coordinator, processes, process), strict=True)
    values = {flag: os.environ.get(name) if v is None else v for (flag, name), v in given}
    if all(value is None for value in values.values()):
        return None
    if missing := [f"{flag} ({HOSTS[flag]})" for flag, value in values.items() if value is None]:
        raise UsageError(f"several hosts need {', '.join(HOSTS)}; missing: {', '.join(missing)}")
    address, _, port = str(values["--coordinator"]).rpartition(":")
    if not (address and port.isdecimal()):
        raise UsageError(f"--coordinator: must be ADDRESS:PORT, got {values['--coordinator']}")
    try:
        count, index = int(str(values["--processes"])), int(str(values["--process"]))
    except ValueError as error:
        raise UsageError(f"--processes, --process: must be whole numbers ({error})") from None
    if not 0 <= index < count:
        raise UsageError(f"--process: must be from 0 to --processes - 1, got {index} of {count}")
    return f"{address}:{port}", count, index


def main() -> None:
    options: dict[str, dict[str, Any]] = {
        "--fast": {"action": "store_true", "help": "use all cores; the bytes may then differ"},
        "--devices": {"type": int, "metavar": "N", "help": "devices of this host to share a batch"},
        "--coordinator": {"metavar": "ADDRESS:PORT", "help": "host 0, as the others reach it"},
        "--processes": {"type": int, "metavar": "N", "help": "how many hosts train together"},
        "--process": {"type": int, "metavar": "I", "help": "which of them this is, from 0"},
    }
    stage.main(command, "Train the network of a task on its prepared data.", options)


if __name__ == "__main__":
    main()
