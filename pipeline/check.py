"""Stage 0: params.yaml and dvc.yaml of a task -> data/checked/<task>.txt.

It runs before any other stage when a parameter of the task changes, so that a mistake ends a run in its
first second. DVC compares the folder `data.path` before it starts a command that depends on it. This
stage does not depend on the folder, so a folder that is missing gets a message that says what to do.
"""

from __future__ import annotations

from pathlib import Path

import yaml

from pipeline import params, schema
from pipeline.stage import main
from spyx_nir.errors import UserError
from spyx_nir.files import write_text


def check(task: schema.Task, root: str | Path = ".") -> None:
    """Write data/checked/<task>.txt under `root`; its text is always the same.

    Raises:
        UserError: `data.path` is no folder, or a target of the task has no stage in dvc.yaml, or one that
            takes another network.
    """
    root = Path(root)
    params.check_folder(task.name, root / task.data.path)
    if missing := without_stage(task, root / "dvc.yaml"):
        chip, line = next(iter(missing.items()))
        raise UserError(
            f"tasks.{task.name}.targets.{chip}: dvc.yaml has no stage for it; write under "
            f"stages.target.foreach: {line}"
        )
    write_text(root / "data" / "checked" / f"{task.name}.txt", "checked\n")


def without_stage(task: schema.Task, file: Path) -> dict[str, str]:
    """The targets of `task` that `file`, dvc.yaml, has no stage for, each with the line that it lacks.

    DVC cannot loop over the targets of every task under one stage name, so dvc.yaml lists the pairs.
    """
    if not task.targets or not file.is_file():
        return {}
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
        stages = list(content["stages"]["target"]["foreach"].values())
        pairs = [(stage["task"], stage["chip"], stage.get("from")) for stage in stages]
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return {}  # stages of another layout
    return {
        chip: f"{task.name}-{Path(chip).stem}: {{task: {task.name}, chip: {chip}, from: {given}}}"
        for chip, given in ((name, comes_from(target)) for name, target in task.targets.items())
        if (task.name, chip, given) not in pairs
    }


def comes_from(target: schema.Target | schema.SharedTarget) -> str:
    """What below models/<task>/ the stage of a target takes its network from."""
    if isinstance(target, schema.SharedTarget):
        return f"deploy/{Path(target.network_of).stem}"
    return "model.nir"


if __name__ == "__main__":
    main(check, "Check the parameters of a task before any other stage runs.")
