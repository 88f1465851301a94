"""dvc.yaml: what a stage depends on, what it runs, and what is left when it fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from imports import ROOT, closure

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = DVC["stages"]
TASKS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tasks"]


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("task", TASKS)
def test_a_stage_depends_on_every_module_that_it_imports(stage: str, task: str) -> None:
    deps = [
        Path(dep.replace("${key}", task).replace("${item.task}", task))
        for dep in STAGES[stage]["do"]["deps"]
    ]
    imported = closure(Path("pipeline") / f"{stage}.py", Path("pipeline/tasks") / f"{task}.py")
    assert len(imported) > 10  # the closure sees more than the stage's own file
    missing = [file for file in imported if not any(file.is_relative_to(dep) for dep in deps)]
    assert sorted(map(str, missing)) == []


@pytest.mark.parametrize("stage", STAGES)
def test_no_stage_depends_on_what_is_gone(stage: str) -> None:
    deps = [dep for dep in STAGES[stage]["do"]["deps"] if dep.startswith("pipeline/")]
    assert [dep for dep in deps if "$" not in dep and not (ROOT / dep).exists()] == []


def test_every_bundle_is_an_artifact() -> None:
    wanted = {task: f"models/{task}/deploy/generic" for task in TASKS}
    wanted |= {
        name: f"models/{pair['task']}/deploy/{pair['chip']}"
        for name, pair in STAGES["target"]["foreach"].items()
    }
    assert {name: entry["path"] for name, entry in DVC["artifacts"].items()} == wanted


def test_the_closure_sees_imports_in_functions_and_by_string() -> None:
    found = {str(file) for file in closure(Path("pipeline/train.py"))}
    assert "pipeline/datasets/prepared.py" in found  # imported in a function
    assert "spyx_nir/converter/nodes/lif.py" in found  # found by pkgutil, imported by string
    assert "pipeline/report/page.py" not in found
