"""What `dvc plots show` and `dvc metrics show` print: one task a plot, without a network, few columns."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from end_to_end import ROOT

from pipeline.evaluation import summary_metrics
from pipeline.report import dvc_plots

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))


def dvc(folder: Path, *words: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    ).stdout


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The plots of dvc.yaml, the files that they draw, and DVC's settings; no stage."""
    for path in (ROOT / "models").glob("*/*.csv"):
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"plots": DVC["plots"]}))
    dvc(tmp_path, "init", "-q", "--no-scm")
    settings = (ROOT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = true")
    (tmp_path / ".dvc" / "config").write_text(settings)
    return tmp_path


def test_plots_are_drawn_without_a_network(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["dvc_plots", str(project / ".venv" / "plots.html")])
    assert dvc_plots.main() == 0
    dvc(project, "plots", "show")
    page = (project / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    drawn = re.findall(r"vegaEmbed\('#(\w+)', spec\)", page)
    assert drawn == [next(iter(plot)).replace(" ", "_") for plot in DVC["plots"]]
    assert len(drawn) == 6  # loss, accuracy and confusion of two tasks, and nothing besides
    before, _, library = page.partition('<script type="module">')
    assert not re.search(r"<(script|link|img)[^>]*(src|href)=", before)
    assert len(library) > 500_000  # Vega itself


def test_a_plot_is_of_one_task() -> None:
    for plot in DVC["plots"]:
        ((name, content),) = plot.items()
        assert {Path(file).parts[1] for file in content["y"]} == {name.split()[0]}
    assert not any("plots" in stage["do"] for stage in DVC["stages"].values())


def test_the_metrics_of_stages_are_the_summaries() -> None:
    listed = [
        next(iter(entry))
        for one in DVC["stages"].values()
        for entry in one["do"].get("metrics", ())
    ]
    assert {str(Path(path).parent) for path in listed} == {str(summary_metrics.FOLDER)}
    assert len(listed) == 2  # of deploy and of target


METRICS = {
    "accuracy": {"accuracy": 0.5, "correct": 2, "n": 4, "wilson95": [0.15, 0.85]},
    "Footprint": 100,
    "MembraneUpdates": 12.5,
    "SynapticOperations": {"Dense": 900.0, "Effective_ACs": 30.0, "Effective_MACs": 12.0},
}


def test_a_summary_has_a_dozen_numbers_at_most(tmp_path: Path) -> None:
    target = {
        **METRICS,
        "accuracy": {"integer": METRICS["accuracy"], "float": {}, "ptq": {}},
        "lost_points": {"integer": 25.0, "ptq": 50.0},
        "latency": {"median_ms": 40.0, "accuracy_over_time": [{"accuracy": 0.25}]},
    }
    shared = {
        "accuracy": 0.5, "accuracy_from": 0.15, "accuracy_to": 0.85,
        "footprint": 100, "synops": 42.0, "updates": 12.5,
    }  # fmt: skip
    assert summary_metrics.summary(METRICS) == shared
    of_target = {**shared, "lost_points": 25.0, "latency_ms": 40.0}
    assert summary_metrics.summary(target) == of_target
    undecided = {**target, "latency": {"median_ms": None}}
    assert "latency_ms" not in summary_metrics.summary(undecided)
    summary_metrics.write(tmp_path, "letters-abacus", target)
    read = [
        json.loads((tmp_path / folder / "letters-abacus.json").read_text())
        for folder in ("metrics", summary_metrics.FOLDER)
    ]
    assert read == [target, of_target]
    assert len(of_target) <= 12
