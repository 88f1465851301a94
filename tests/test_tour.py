"""A third task from nothing to a release, as docs/tour.md shows it, and how a task is found."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tour
import yaml
from end_to_end import ROOT

from pipeline import check, params, prepare, schema, tasks
from pipeline.datasets import prepared
from spyx_nir.cli.main import main
from spyx_nir.errors import UserError

PAGE = (ROOT / "docs" / "new-task.md").read_text(encoding="utf-8")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what `new-task` adds to."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "pipeline" / "tasks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(shutil.which("git") is None, reason="the tour commits: no git here")
@pytest.mark.full
def test_the_tour_prints_what_the_page_shows(tmp_path: Path) -> None:
    folder = tmp_path / "spyx-to-chip"
    environment = tour.project(folder)
    blocks = tour.BLOCK.findall((ROOT / "docs" / "tour.md").read_text(encoding="utf-8"))
    assert len(blocks) >= 6
    for block in blocks:
        assert tour.steady(tour.run(block, folder, environment)) == tour.steady(block)


def test_what_is_steady_is_compared() -> None:
    assert tour.steady("3 errors, exit code 1") == "3 errors, exit code 1"
    assert tour.steady(f"{'a1' * 32}  loss 0.1234 in 2.5 s") == "DIGEST  loss NUMBER in MEASURED"


def test_the_page_shows_the_task_that_new_task_writes() -> None:
    module, _ = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    template = (tasks.HERE / "_template.py").read_text(encoding="utf-8")
    assert module == template
    assert len([line for line in template.splitlines() if line.strip()]) < 40


def test_new_task_adds_and_changes_nothing_else(project: Path) -> None:
    before = {n: (ROOT / n).read_text().splitlines() for n in ("params.yaml", "dvc.yaml")}
    assert main(["new-task", "mine"]) == 0
    for name, lines in before.items():
        now = (project / name).read_text().splitlines()
        rest = iter(now)
        assert all(line in rest for line in lines)  # all lines are there, in their order
        old, new = (yaml.safe_load("\n".join(text)) for text in (lines, now))
        assert new != old
    written = yaml.safe_load((project / "params.yaml").read_text())["tasks"]
    assert list(written) == [*params.names(ROOT / "params.yaml"), "mine"]
    stages = yaml.safe_load((project / "dvc.yaml").read_text())
    assert stages["artifacts"]["mine"]["path"] == "models/mine/deploy/generic"
    assert stages["plots"][-3:] == [
        {f"mine {what}": {"x": "epoch", "y": {"models/mine/curves.csv": columns}}}
        for what in ("loss", "accuracy")
        for columns in [[f"train_{what}", f"validation_{what}"]]
    ] + [
        {
            "mine confusion": {
                "template": "confusion",
                "x": "actual",
                "y": {"models/mine/confusion.csv": "predicted"},
            }
        }
    ]


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("My-Task", 2, "My-Task: a task's name has small letters, digits and _, a letter first"),
        ("_x", 2, "a letter first"),
        ("größe", 2, "small letters, digits and _"),
        ("class", 2, "class: is a word of Python's own"),
        ("type", 2, "type: is a word of Python's own or of pipeline/tasks"),
        ("min", 2, "min: is a word of Python's own or of pipeline/tasks"),
        ("find", 2, "find: is a word of Python's own or of pipeline/tasks"),
        ("null", 2, "null: is no text to YAML"),
        ("true", 2, "true: is no text to YAML"),
        ("off", 2, "off: is no text to YAML"),
        ("nmnist", 1, ".yaml: `nmnist` is there already"),
    ],
)
def test_names_that_are_refused(
    name: str, code: int, message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.read_bytes() for p in project.rglob("*") if p.is_file()}
    assert main(["new-task", name]) == code
    assert message in capsys.readouterr().err
    assert {p: p.read_bytes() for p in project.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tasks: {a: {b: 1}}\n", "params.yaml: no list or mapping `tasks` to add to"),
        ("tasks: [\n", "params.yaml: no list or mapping `tasks` to add to"),
        ("other:\n  a: 1\n", "params.yaml: no list or mapping `tasks` to add to"),
    ],
)
def test_params_that_are_laid_out_otherwise(
    text: str, message: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "params.yaml").write_text(text)
    assert main(["new-task", "mine"]) == 1
    assert message in capsys.readouterr().err
    assert not (project / "pipeline" / "tasks" / "mine.py").exists()


def test_outside_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["new-task", "mine"]) == 1
    assert "no such folder; run from the project's root" in capsys.readouterr().err


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder that tasks are found in, for a module called `trial`."""
    monkeypatch.setattr(tasks, "HERE", tmp_path)
    monkeypatch.setattr(tasks, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "pipeline.tasks.trial", raising=False)
    yield tmp_path
    sys.modules.pop("pipeline.tasks.trial", None)
    if hasattr(tasks, "trial"):
        del tasks.trial


GOOD = (tasks.HERE / "_template.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no task `trial` in pipeline/tasks, which has "),
        (GOOD.replace("SENSOR", "Sensor"), "pipeline/tasks/trial.py: `SENSOR` is missing"),
        (
            GOOD.replace("    threshold: float\n", ""),
            "`Network` must be a dataclass with a field `threshold`",
        ),
        (
            GOOD.replace("(12, 1, 1)", "(12, 1)"),
            "`SENSOR` must be (columns, rows, polarities), got (12, 1)",
        ),
        (
            GOOD.replace("(12, 1, 1)", "(12, 1, 0)"),
            "`SENSOR` must be (columns, rows, polarities), got (12, 1, 0)",
        ),
        (GOOD.replace("class Network:", "class Network"), "trial.py:16: expected ':'"),
        (
            GOOD.replace("    surrogate_slope: float\n", ""),
            "`Network` must be a dataclass with a field `surrogate_slope`",
        ),
        (
            GOOD.replace("import numpy as np", "import numpy as np, sys; sys.modules['jax'] = np"),
            "pipeline/tasks/trial.py: imports JAX at its top",
        ),
        (GOOD + "\n\nRANGES = []\n", "pipeline/tasks/trial.py: `RANGES` is not read any more"),
    ],
)
def test_modules_that_are_no_task(
    text: str | None, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jax", None)  # so that it is as it was before afterwards
    monkeypatch.delitem(sys.modules, "jax")
    if text is not None:
        (folder / "trial.py").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        tasks.find("trial")


@pytest.mark.parametrize(
    ("sensor", "merge", "shape"),
    [
        ((12, 1, 2), True, (12,)),
        ((12, 1, 1), False, (12,)),
        ((12, 1, 2), False, (2, 12)),
        ((34, 20, 2), False, (2, 20, 34)),
        ((34, 20, 2), True, (1, 20, 34)),
    ],
)
def test_the_shape_of_a_step_follows_from_the_sensor(
    sensor: tuple[int, int, int], merge: bool, shape: tuple[int, ...], folder: Path
) -> None:
    (folder / "trial.py").write_text(GOOD.replace("SENSOR = (12, 1, 1)", f"SENSOR = {sensor}"))
    block = yaml.safe_load((ROOT / "params.yaml").read_text())["tasks"]["nmnist"]["data"]
    data = schema.Data(**{**block, "merge_polarity": merge})
    assert tasks.input_shape(SimpleNamespace(name="trial", data=data)) == shape


def trial(folder: Path, text: str = GOOD, **data: object) -> schema.Task:
    """The task of the template, with `text` as its module and `data` changed."""
    (folder / "trial.py").write_text(text)
    block = yaml.safe_load((ROOT / "pipeline/tasks/_template.yaml").read_text())
    block["data"].update(data, path="recordings")
    (folder / "params.yaml").write_text(yaml.safe_dump({"tasks": {"trial": block}}))
    return params.load("trial", folder / "params.yaml")


def test_a_chip_that_dvc_does_not_know_of_is_named(folder: Path) -> None:
    task = trial(folder)
    chips = {name: schema.Target(name, 1, 0.1) for name in ("loihi", "speck-2f")}
    task = dataclasses.replace(task, targets=chips)
    stages = folder / "dvc.yaml"
    assert check.without_stage(task, stages) == {}  # no DVC here
    pair = {"task": "trial", "chip": "loihi", "from": "model.nir"}
    stages.write_text(yaml.safe_dump({"stages": {"target": {"foreach": {"trial-loihi": pair}}}}))
    line = "trial-speck-2f: {task: trial, chip: speck-2f, from: model.nir}"
    assert check.without_stage(task, stages) == {"speck-2f": line}
    (folder / "recordings").mkdir()
    message = (
        "tasks.trial.targets.speck-2f: dvc.yaml has no stage for it; write under "
        f"stages.target.foreach: {line}"
    )
    with pytest.raises(UserError, match=f"^{re.escape(message)}$"):
        check.check(task, folder)
    assert not (folder / "data" / "checked").exists()
    shared = schema.SharedTarget("speck-2f", "loihi")
    of_another = dataclasses.replace(task, targets={**chips, "speck-2f": shared})
    line = "trial-speck-2f: {task: trial, chip: speck-2f, from: deploy/loihi}"
    assert check.without_stage(of_another, stages) == {"speck-2f": line}
    pair = {"task": "trial", "chip": "speck-2f", "from": "model.nir"}
    written = {"trial-speck-2f": pair}
    stages.write_text(yaml.safe_dump({"stages": {"target": {"foreach": written}}}))
    assert check.without_stage(of_another, stages)["speck-2f"] == line
    stages.write_text("stages: [1]")
    assert check.without_stage(task, stages) == {}


def test_a_task_without_downloads_says_what_else_there_is(folder: Path) -> None:
    with pytest.raises(
        UserError, match="this task has no `download`; take `folder` or `simulated`"
    ):
        prepare.prepare(trial(folder, source="download"), folder)
    assert not (folder / "data" / "raw" / "trial").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("(12, 1, 1)", "(12, 1, 2)", "recording 0: events without `p`; needed are x, t, p"),
        ("(12, 1, 1)", "(12, 5, 1)", "recording 0: events without `y`; needed are x, t, y"),
        (" 4 * target", " 20 + target", "recording 0: event 0 is at x = 2"),
        ("np.sort(", "-1 - np.sort(", "recording 0: event 0 is at x = "),
    ],
)
def test_events_that_do_not_fit_their_sensor(
    old: str, new: str, message: str, folder: Path
) -> None:
    assert old in GOOD
    with pytest.raises(UserError, match=re.escape(message)):
        prepare.prepare(trial(folder, GOOD.replace(old, new)), folder)


def test_recordings_of_a_published_test_set_stay_test(folder: Path) -> None:
    two = GOOD.replace(
        "datasets=[Touches(str(folder))], names=[names]", "[Touches(str(folder))] * 2, [names] * 2"
    )
    prepare.prepare(trial(folder, two, validation=0.25), folder)
    made = prepared.read(folder / "data" / "prepared" / "trial.h5")
    n = 3 * 80
    assert (made.split[n:] == 2).all() and (made.split[:n] == 1).sum() == n / 4
    # 60 touches on the third of the sensor that the label says; polarities do not exist.
    events, labels = made.subset("test")
    thirds = events.reshape(n, 20, 3, 4).any(axis=(1, 3))
    np.testing.assert_array_equal(thirds, np.eye(3, dtype=bool)[labels])
