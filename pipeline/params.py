"""The one reader of params.yaml: a wrong or missing key is an error that names its path."""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline import tasks
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import facts


@dataclass(frozen=True)
class Data:
    """Where recordings come from and how events become bins."""

    source: Literal["simulated", "folder", "download"]
    path: str
    seed: int
    classes: tuple[str, ...]
    bins: int
    bin_us: int
    merge_polarity: bool
    simulated_per_class: int
    validation: float
    test: float

    @property
    def bin_s(self) -> float:
        """How long a bin lasts, in seconds: the float nearest to it."""
        return self.bin_us / 1e6


@dataclass(frozen=True)
class Train:
    """How the network is trained.

    logit_scale: what one output spike adds to its class's logit in the cross-entropy.
    weight_decay: of AdamW, for weights alone. learn_decays: whether the neurons' decays are trained,
    with `decay_rate` times the learning rate, also on a chip's grid of n / 2^bits. average: how much
    of the running average of the parameters a step keeps; the average is what is evaluated and stored,
    0 switches it off.
    silence, sparsity: weights of the penalties on neurons with fewer than `min_spikes` and on layers
    with more than `max_spikes` spikes per recording.
    warm_up: share of all steps in which the learning rate rises from zero.
    max_rotation to drop_events: augmentation, see `pipeline.training.augmentation`.
    start_from: weights.safetensors of an earlier training of the same network, to go on from; None
    for random weights.
    """

    seed: int
    start_from: str | None
    epochs: int
    batch_size: int
    learning_rate: float
    warm_up: float
    logit_scale: float
    label_smoothing: float
    weight_decay: float
    learn_decays: bool
    decay_rate: float
    average: float
    silence: float
    min_spikes: float
    sparsity: float
    max_spikes: float
    max_rotation: float
    max_zoom: float
    max_slant: float
    max_shift: int
    max_bend: float
    max_stretch: float
    max_delay: int
    drop_events: float


@dataclass(frozen=True)
class Export:
    """The step that turns decays into time constants, and its unit."""

    dt: float
    time_unit: Literal["s", "step"]


@dataclass(frozen=True)
class Parity:
    """How far float32 may be from the float64 reference.

    At most `max_differing_fraction` of all spike entries may differ, and where a difference starts,
    the reference's membrane lies within `max_tie_distance` thresholds of the threshold.
    """

    max_differing_fraction: float
    max_tie_distance: float


@dataclass(frozen=True)
class Deploy:
    """What goes into a bundle."""

    vectors: int


@dataclass(frozen=True)
class Target:
    """A chip that a task goes to, and how the network is trained on its grid; the rest is `Train`'s."""

    name: str
    epochs: int
    learning_rate: float


@dataclass(frozen=True)
class Task:
    """One block of params.yaml. targets: chips by name; `generic`, plain NIR, needs no entry."""

    name: str
    data: Data
    network: Any  # the `Network` of pipeline/tasks/<name>.py
    train: Train
    export: Export
    parity: Parity
    deploy: Deploy
    targets: dict[str, Target]

    @property
    def seeds(self) -> dict[str, int]:
        """What an accuracy depends on besides the settings: the seed of the data (simulation, splits)
        and that of the training (weights, order, augmentation)."""
        return {"data": self.data.seed, "train": self.train.seed}


# What no type can say: (path inside the task, test, what is allowed).
_RANGES: list[tuple[str, Any, str]] = [
    ("data.bins", lambda v: v >= 1, "at least 1"),
    ("data.bin_us", lambda v: v >= 1, "at least 1 (microseconds)"),
    ("data.simulated_per_class", lambda v: v >= 4, "at least 4"),
    ("data.validation", lambda v: 0 <= v < 0.5, "0 or a fraction below 0.5"),
    ("data.test", lambda v: 0 < v < 0.9, "a fraction above 0 and below 0.9"),
    (
        "data.classes",
        lambda v: len(v) >= 2 and len(set(v)) == len(v),
        "at least 2 different classes",
    ),
    ("network.threshold", lambda v: v > 0, "above 0"),
    ("network.surrogate_slope", lambda v: v > 0, "above 0"),
    ("train.epochs", lambda v: v >= 1, "at least 1"),
    ("train.batch_size", lambda v: v >= 1, "at least 1"),
    ("data.seed", lambda v: v >= 0, "at least 0"),
    ("train.seed", lambda v: v >= 0, "at least 0"),
    ("train.learning_rate", lambda v: v > 0, "above 0"),
    ("train.warm_up", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("train.label_smoothing", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("train.logit_scale", lambda v: v > 0, "above 0"),
    *(
        (f"train.{key}", lambda v: v >= 0, "at least 0")
        for key in ("weight_decay", "silence", "min_spikes", "sparsity", "max_spikes")
    ),
    ("train.decay_rate", lambda v: v > 0, "above 0"),
    ("train.average", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("train.max_rotation", lambda v: 0 <= v <= 180, "from 0 to 180 (degrees)"),
    *(
        (f"train.{key}", lambda v: 0 <= v <= 0.5, "from 0 to 0.5")
        for key in ("max_zoom", "max_slant", "max_stretch")
    ),
    *(
        (f"train.{key}", lambda v: 0 <= v <= 16, "from 0 to 16 (pixels)")
        for key in ("max_shift", "max_bend")
    ),
    ("train.max_delay", lambda v: v >= 0, "at least 0 (bins)"),
    ("train.drop_events", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("export.dt", lambda v: v > 0, "above 0"),
    ("parity.max_differing_fraction", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("parity.max_tie_distance", lambda v: 0 <= v < 1, "from 0 to below 1"),
    ("deploy.vectors", lambda v: v >= 1, "at least 1"),
]


def load(task: str, path: str | Path = "params.yaml") -> Task:
    """Read and check the block `tasks.<task>` of a params file.

    Raises:
        UserError: the file is missing or no YAML, the task is unknown, or a key is missing,
            unknown, of the wrong type or out of range. The message gives the key's path and value.
    """
    blocks = _document(path)
    if task not in blocks:
        raise UserError(f"unknown task `{task}`; {path} has {', '.join(sorted(blocks))}")
    where = f"tasks.{task}"
    block = blocks[task]
    if not isinstance(block, dict):
        raise UserError(f"{path}: {where} must be a mapping, got {block!r}")
    module = tasks.find(task)
    hints = {**typing.get_type_hints(Task), "network": module.Network}
    del hints["name"]
    result = Task(name=task, **_fields(hints, block, f"{path}: {where}"))
    own = [(f"network.{key}", *rest) for key, *rest in getattr(module, "RANGES", [])]
    _check_ranges(result, [*_RANGES, *own], f"{path}: {where}")
    return result


def check_folders(path: str | Path = "params.yaml") -> None:
    """`check_folder` of every task of a params file.

    Raises:
        UserError: as `load`, or the folder of a task is missing.
    """
    for name, block in _document(path).items():
        folder = block["data"].get("path") if _has_data(block) else None
        if isinstance(folder, str) and folder:
            check_folder(name, Path(folder))


def check_folder(task: str, folder: Path) -> None:
    """Refuse a `data.path` that is missing: DVC compares it before any command, and says `[Errno 2]`.

    Raises:
        UserError: there is no such folder.
    """
    if not folder.exists():
        raise UserError(
            f"tasks.{task}.data.path: {folder}: no such folder; DVC compares it whatever the `source`: "
            "make it, or name one that exists"
        )


def _has_data(block: Any) -> bool:
    return isinstance(block, dict) and isinstance(block.get("data"), dict)


def names(path: str | Path = "params.yaml") -> list[str]:
    """The tasks that a params file holds, in its order."""
    return list(_document(path))


def _document(path: str | Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), dict):
        raise UserError(f"{path}: the key `tasks` is missing or no mapping")
    return document["tasks"]


def _fields(hints: dict[str, Any], block: Any, where: str) -> dict[str, Any]:
    if not isinstance(block, dict):
        raise UserError(f"{where} must be a mapping, got {block!r}")
    if unknown := sorted(map(str, set(block) - set(hints))):
        raise UserError(f"{where}.{unknown[0]}: unknown key; allowed are {', '.join(hints)}")
    if missing := [name for name in hints if name not in block]:
        raise UserError(f"{where}.{missing[0]}: the key is missing")
    return {name: _value(hint, block[name], f"{where}.{name}") for name, hint in hints.items()}


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(**_fields(typing.get_type_hints(hint), value, where))
    if origin is Literal:
        allowed = typing.get_args(hint)
        if value not in allowed:
            raise UserError(f"{where} must be one of {', '.join(map(str, allowed))}, got {value!r}")
        return value
    if origin is types.UnionType:
        if value is None:
            return None
        (inner,) = (arg for arg in typing.get_args(hint) if arg is not type(None))
        return _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, got {value!r}")
        return tuple(_value(str, item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a mapping, got {value!r}")
        _, inner = typing.get_args(hint)
        hints = typing.get_type_hints(inner)
        del hints["name"]
        return {
            str(key): inner(name=str(key), **_fields(hints, block, f"{where}.{key}"))
            for key, block in value.items()
        }
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
        advice = ""
        if hint in (float, int) and isinstance(value, str) and _is_number(value):
            advice = " (text to YAML: write floats as 1.0e-3 or 1.0e+3, without quotes)"
        raise UserError(f"{where} must be {words[hint]}, got {value!r}{advice}")
    if hint is float and not (abs(value) < float("inf")):
        raise UserError(f"{where} must be a finite number, got {value!r}")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_ranges(task: Task, ranges: Sequence[Any], where: str) -> None:
    for path, test, allowed in ranges:
        section, key = path.split(".")
        block = getattr(task, section)
        if hasattr(block, key) and not test(getattr(block, key)):
            raise UserError(f"{where}.{path} must be {allowed}, got {getattr(block, key)!r}")
    for name, target in task.targets.items():
        if name not in (known := facts.names()) and Path(name).suffix != ".yaml":
            raise UserError(
                f"{where}.targets.{name}: unknown target; known are {', '.join(known)}, or the path "
                "of a .yaml file"
            )
        if target.epochs < 1:
            raise UserError(
                f"{where}.targets.{name}.epochs must be at least 1, got {target.epochs}"
            )
        if target.learning_rate <= 0:
            raise UserError(
                f"{where}.targets.{name}.learning_rate must be above 0, got {target.learning_rate}"
            )
    if task.data.validation + task.data.test >= 1:
        raise UserError(f"{where}.data: validation + test leave nothing to train on")
    if not task.data.path:
        raise UserError(f"{where}.data.path: must name a folder; DVC watches it")


if __name__ == "__main__":  # before `dvc repro`
    sys.exit(exit_status(check_folders))
