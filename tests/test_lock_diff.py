"""What `make deploy-artifacts` says of bytes that differ from the committed lock."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import lock_diff
from spyx_nir.errors import UserError


def stage(code: str, made: str, **outs: str) -> dict[str, Any]:
    return {
        "cmd": "python -m x",
        "deps": [{"path": "pipeline/x.py", "md5": code}, {"path": "made.h5", "md5": made}],
        "params": {"params.yaml": {"tasks.a": 1}},
        "outs": [
            {"path": path.replace("_json", ".json"), "md5": md5} for path, md5 in outs.items()
        ],
    }


def lock(weights: str, metrics: str, code: str = "c") -> dict[str, Any]:
    return {
        "prepare@a": {"cmd": "p", "outs": [{"path": "made.h5", "md5": "m"}]},
        "train@a": stage(code, "m", weights=weights, train_json=metrics),
    }


def accuracy(correct: int) -> str:
    return json.dumps(
        {"accuracy": {"test": {"accuracy": correct / 1000, "correct": correct, "n": 1000}}}
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository whose last commit has a lock and a metrics file with 975 of 1000 right."""
    write(tmp_path, lock("w", "t"), 975)
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "Begin")):
        subprocess.run(("git", "-C", str(tmp_path), *command), check=True)
    return tmp_path


def write(root: Path, stages: dict[str, Any], correct: int) -> None:
    (root / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))
    (root / "train.json").write_text(accuracy(correct))


def test_the_committed_bytes_are_one_line(project: Path) -> None:
    assert lock_diff.report(project) == [
        "dvc.lock: 2 of 2 stages have the committed inputs and made the committed bytes"
    ]


def test_other_bytes_from_the_same_inputs_are_named_with_their_accuracy(project: Path) -> None:
    write(project, lock("other", "u"), 971)
    first, *lines = lock_diff.report(project)
    assert first.startswith("dvc.lock: 1 of 2 stages")
    assert lines[:2] == [
        "  train@a: weights, train.json",
        "  train.json: accuracy test 971 of 1000 here, 975 of 1000 committed (-0.4 points)",
    ]


def test_a_metrics_file_with_a_single_accuracy_is_read(project: Path) -> None:
    """Those of generic bundles have one entry, without a name."""
    write(project, lock("w", "u"), 971)
    single = json.loads(accuracy(971))["accuracy"]["test"]
    (project / "train.json").write_text(json.dumps({"accuracy": single}))
    assert lock_diff.report(project)[1] == "  train@a: train.json"
    old = json.dumps({"accuracy": {"accuracy": 0.975, "correct": 975, "n": 1000}})
    assert list(lock_diff._accuracies(old, project / "train.json")) == [
        "accuracy test 971 of 1000 here, 975 of 1000 committed (-0.4 points)"
    ]


def test_other_bytes_from_other_code_are_no_news(project: Path) -> None:
    write(project, lock("other", "u", code="changed"), 971)
    assert lock_diff.report(project) == [
        "dvc.lock: 1 of 2 stages have the committed inputs and made the committed bytes; "
        "1 have other code, parameters or recordings"
    ]


def test_other_bytes_behind_a_stage_with_other_parameters_are_no_news(project: Path) -> None:
    stages = lock("w", "t")
    stages["prepare@a"] = {
        "cmd": "p", "params": {"params.yaml": {"bins": 3}}, "outs": [{"path": "made.h5", "md5": "n"}],
    }  # fmt: skip
    stages["train@a"] = stage("c", "n", weights="v", train_json="u")
    write(project, stages, 971)
    (line,) = lock_diff.report(project)
    assert line.startswith("dvc.lock: 0 of 2 stages")


def test_bytes_that_differ_because_those_of_the_stage_before_do_are_named(project: Path) -> None:
    stages = lock("w", "t")
    stages["prepare@a"]["outs"][0]["md5"] = "n"
    stages["train@a"] = stage("c", "n", weights="v", train_json="t")
    write(project, stages, 975)
    assert [line.split(":")[0] for line in lock_diff.report(project)[1:3]] == [
        "  prepare@a", "  train@a",
    ]  # fmt: skip


def test_without_a_commit_it_says_so(tmp_path: Path) -> None:
    write(tmp_path, lock("w", "t"), 975)
    (line,) = lock_diff.report(tmp_path)
    assert "not compared" in line


def test_a_missing_or_broken_lock_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file or directory; run make repro"):
        lock_diff.report(tmp_path)
    (tmp_path / "dvc.lock").write_text("[1, 2]")
    with pytest.raises(UserError, match="not a lock file"):
        lock_diff.report(tmp_path)
