"""Stage 0: params.yaml and dvc.yaml of a task -> data/checked/<task>.txt.

It runs before any other stage when a parameter of the task changes, so that a mistake ends a run in its
first second. DVC compares the folder `data.path` before it starts a command that depends on it. This
stage does not depend on the folder, so a folder that is missing gets a message that says what to do.
"""

from __future__ import annotations

from pathlib import Path

from pipeline import params, schema
from pipeline.stage import left_out, main
from spyx_nir.errors import UserError
from spyx_nir.files import write_text


def check(task: schema.Task, root: str | Path = ".") -> None:
    """Write data/checked/<task>.txt under `root`; its text is always the same.

    Raises:
        UserError: `data.path` is no folder, or a target of the task has no stage in dvc.yaml.
    """
    root = Path(root)
    params.check_folder(task.name, root / task.data.path)
    if missing := left_out(task, root / "dvc.yaml"):
        raise UserError(missing[0])
    write_text(root / "data" / "checked" / f"{task.name}.txt", "checked\n")


if __name__ == "__main__":
    main(check, "Check the parameters of a task before any other stage runs.")
