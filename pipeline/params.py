"""The one reader of params.yaml: a wrong or missing key is an error that names its path."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pipeline import tasks
from pipeline.schema import SharedTarget, Task
from spyx_nir.errors import UserError, exit_status
from spyx_nir.hardware import facts

# Keys that had another name before: old -> new, in every section.
RENAMED = {
    "max_slant": "max_shear",
    "max_bend": "elastic_alpha",
    "max_zoom": "max_scale",
    "max_delay": "max_time_shift",
    "max_stretch": "max_time_warp",
    "drop_events": "event_drop_rate",
    "silence": "min_rate_penalty",
    "sparsity": "max_rate_penalty",
    "average": "ema_decay",
    "decay_rate": "decay_lr_multiplier",
}


def load(task: str, path: str | Path = "params.yaml") -> Task:
    """Read and check the block `tasks.<task>` of a params file.

    Raises:
        UserError: the file is missing or no YAML, the task is unknown, or a key is missing,
            unknown, of the wrong type or out of range. The message gives the key's path and value.
    """
    blocks = _document(path)
    if task not in blocks:
        raise UserError(f"unknown task `{task}`; {path} has {', '.join(sorted(blocks))}")
    where, block = f"{path}: tasks.{task}", blocks[task]
    if not isinstance(block, dict):
        raise UserError(f"{where} must be a mapping, got {block!r}")
    hints = {**_hints(Task), "network": tasks.find(task).Network}
    del hints["name"]
    result = Task(name=task, **_fields(hints, block, where))
    _check_together(result, where)
    return result


def check_folders(path: str | Path = "params.yaml") -> None:
    """`check_folder` of every task of a params file.

    Raises:
        UserError: as `load`, or the folder of a task is missing.
    """
    for name, block in _document(path).items():
        match block:
            case {"data": {"path": str(folder)}} if folder:
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


def names(path: str | Path = "params.yaml") -> list[str]:
    """The tasks that a params file holds, in its order."""
    return list(_document(path))


def _document(path: str | Path) -> dict[str, Any]:
    from spyx_nir import yaml_file

    try:
        document = yaml_file.read(Path(path))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; run from the project's root") from None
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), dict):
        raise UserError(f"{path}: the key `tasks` is missing or no mapping")
    return document["tasks"]


def _fields(
    hints: dict[str, Any], block: Any, where: str, defaults: dict[str, Any] | None = None
) -> dict[str, Any]:
    if not isinstance(block, dict):
        raise UserError(f"{where} must be a mapping, got {block!r}")
    if unknown := sorted(map(str, set(block) - set(hints))):
        if (new := RENAMED.get(unknown[0])) in hints:
            raise UserError(f"{where}.{unknown[0]}: the key is called `{new}` now")
        raise UserError(f"{where}.{unknown[0]}: unknown key; allowed are {', '.join(hints)}")
    block = {**(defaults or {}), **block}
    if missing := [name for name in hints if name not in block]:
        raise UserError(f"{where}.{missing[0]}: the key is missing")
    return {name: _value(hint, block[name], f"{where}.{name}") for name, hint in hints.items()}


def _hints(schema: type) -> dict[str, Any]:
    """The types of a schema's keys, with their ranges."""
    return typing.get_type_hints(schema, include_extras=True)


def _value(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` has it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        found = _value(inner[0], value, where)
        for rule in inner[1:]:
            if not rule.holds(found):
                raise UserError(f"{where} must be {rule.allowed}, got {found!r}")
        return found
    if dataclasses.is_dataclass(hint):
        assert isinstance(hint, type)
        return hint(**_fields(_hints(hint), value, where))
    if origin is Literal:
        if value not in inner:
            raise UserError(f"{where} must be one of {', '.join(map(str, inner))}, got {value!r}")
        return value
    if origin in (Union, types.UnionType):
        (other,) = (arg for arg in inner if arg is not type(None))
        return None if value is None else _value(other, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where} must be a list, got {value!r}")
        return tuple(_value(str, item, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a mapping, got {value!r}")
        return {str(key): _named(inner[1], str(key), b, where) for key, b in value.items()}
    return _plain(hint, value, where)


def _named(hint: Any, name: str, block: Any, where: str) -> Any:
    """An entry of a mapping from names: of the first of several types, or of a later one that it says."""
    first, *others = typing.get_args(hint) or (hint,)
    keys = set(block) if isinstance(block, dict) else set()
    kind = next(
        (other for other in others if keys & (set(_hints(other)) - set(_hints(first)))), first
    )
    hints = _hints(kind)
    del hints["name"]  # the key in the mapping
    fields = dataclasses.fields(kind)
    given = {f.name: f.default for f in fields if f.default is not dataclasses.MISSING}
    return kind(name=name, **_fields(hints, block, f"{where}.{name}", given))


def _plain(hint: Any, value: Any, where: str) -> Any:
    """A number, text, true or false."""
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        words = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}
        advice = ""
        if hint in (float, int) and isinstance(value, str):
            with contextlib.suppress(ValueError):
                float(value)
                advice = " (text to YAML: write floats as 1.0e-3 or 1.0e+3, without quotes)"
        raise UserError(f"{where} must be {words[hint]}, got {value!r}{advice}")
    if hint is str and not value.isprintable():
        raise UserError(f"{where} must be text without control characters, got {value!r}")
    if hint is float and not (abs(value) < float("inf")):
        raise UserError(f"{where} must be a finite number, got {value!r}")
    return value


def _check_together(task: Task, where: str) -> None:
    """What the type of a single key cannot say."""
    for key in tasks.EVERY_NETWORK:
        if not (value := getattr(task.network, key)) > 0:
            raise UserError(f"{where}.network.{key} must be above 0, got {value!r}")
    own = [name for name, chip in task.targets.items() if not isinstance(chip, SharedTarget)]
    for name, chip in task.targets.items():
        if isinstance(chip, SharedTarget) and chip.network_of not in own:
            raise UserError(
                f"{where}.targets.{name}.network_of: `{chip.network_of}` is no target of the task with "
                f"a training of its own; there are: {', '.join(own) or 'none'}"
            )
        if name == "generic":
            raise UserError(f"{where}.targets.generic: is always made, as the bundle of plain NIR")
        if name not in (known := facts.names()):
            raise UserError(
                f"{where}.targets.{name}: unknown target; known are {', '.join(known)}. A chip of "
                "your own is a file in spyx_nir/hardware/profiles/, which DVC watches; leave .yaml out"
            )
    if task.data.validation + task.data.test >= 1:
        raise UserError(f"{where}.data: validation + test leave nothing to train on")
    if not task.data.path:
        raise UserError(f"{where}.data.path: must name a folder; DVC watches it")


if __name__ == "__main__":  # before `dvc repro`
    sys.exit(exit_status(check_folders))
