"""Experiments through DVC, in a clone: a queue of two, compared; recordings that change are seen."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from roads import ROOT

from pipeline import params
from pipeline.report import sources

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout to clone"),
]


@pytest.fixture
def clone(tmp_path: Path) -> tuple[Path, Callable[..., str]]:
    """A clone with a task that trains in seconds, and what runs a command in it."""
    folder, settings = tmp_path / "clone", tmp_path / "settings"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DVC_NO_ANALYTICS": "1",
        "DVC_GLOBAL_CONFIG_DIR": str(settings),  # nobody's own cache or settings
        "DVC_SYSTEM_CONFIG_DIR": str(settings),
    }

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stdout

    document = yaml.safe_load((folder / "params.yaml").read_text())
    task = document["tasks"]["braille"]
    task["data"].update(bins=32, simulated_per_class=8)
    task["train"].update(epochs=2)
    task["deploy"].update(vectors=8)
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    identity = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    run("git", *identity, "commit", "-qam", "Make the task small")
    return folder, run


def test_a_queue_of_two_is_run_and_compared(clone):
    _, run = clone
    for seed in (5, 6):
        run(
            "dvc",
            "exp",
            "run",
            "--queue",
            "-S",
            f"tasks.braille.train.seed={seed}",
            "train@braille",
        )
    assert run("dvc", "queue", "status").count("Queued") >= 2
    run("dvc", "exp", "run", "--run-all", "-j", "2")
    table = json.loads(run("dvc", "exp", "show", "--json"))
    (tried,) = [revision["experiments"] for revision in table if revision["experiments"]]
    found = {}
    for experiment in tried:
        (data,) = [revision["data"] for revision in experiment["revs"]]
        seed = data["params"]["params.yaml"]["data"]["tasks"]["braille"]["train"]["seed"]
        found[seed] = data["metrics"]["models/braille/train.json"]["data"]
    assert set(found) == {5, 6}
    assert all(report["epochs"] == 2 for report in found.values())
    assert found[5]["loss"] != found[6]["loss"]


def test_a_run_that_dvc_remembers_brings_its_own_numbers_back(clone):
    """DVC runs no stage twice with the same parameters: it restores what the stage wrote then."""
    folder, run = clone
    model = folder / "models" / "braille"
    seen = []
    for seed in (5, 6, 5):
        run("dvc", "exp", "run", "-S", f"tasks.braille.train.seed={seed}", "train@braille")
        shown = json.loads(run("dvc", "metrics", "show", "--json"))[""]["data"]
        seen.append(shown["models/braille/train.json"]["data"])
        last = (model / "curves.csv").read_text().splitlines()[seen[-1]["best_epoch"]]
        assert f"{seen[-1]['loss']['validation']:.6g}" == last.split(",")[3]
    assert seen[0] == seen[2] != seen[1]
    # The time of the second training stayed; its digest is not that of the weights that came back.
    timing = json.loads((model / "timing.json").read_text())
    weights = hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest()
    assert timing["weights_sha256"] != weights
    task = params.load("braille", folder / "params.yaml")
    assert sources.read(folder, task).timing is None
    # What users look for is in the table, and nothing that a clock measured.
    assert {"accuracy", "loss", "spike_rate", "best_epoch", "epochs"} == set(seen[0])
    assert all(Path(name).parts[0] in ("models", "metrics") for name in shown)


def test_bundles_verify_where_dvcs_cache_is_linked_to(clone):
    """DVC's own links, as on a file system without reflinks or with the cache on another device."""
    folder, run = clone
    run("dvc", "config", "--local", "cache.type", "symlink")
    run("dvc", "repro", "target@braille-loihi", "deploy@braille")
    bundles = [folder / "models" / "braille" / "deploy" / name for name in ("generic", "loihi")]
    scripts = [script for bundle in bundles for script in sorted(bundle.glob("verify*.py"))]
    assert len(scripts) == 3
    for script in scripts:
        assert script.is_symlink()
        assert run(sys.executable, "-I", str(script)).startswith("pass: ")
    run(sys.executable, "-m", "pipeline", "release", "1.2.3")
    assert len(list((folder / "release").glob("*.tar.gz"))) == 2


def test_a_recording_that_changes_is_prepared_again(clone, tmp_path):
    folder, run = clone
    run("dvc", "repro", "prepare@braille")
    theirs = tmp_path / "theirs"
    shutil.copytree(folder / "data" / "raw" / "braille", theirs)
    document = yaml.safe_load((folder / "params.yaml").read_text())
    document["tasks"]["braille"]["data"].update(source="folder", path=str(theirs))
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    assert "Running stage" in run("dvc", "repro", "prepare@braille")
    assert "up to date" in run("dvc", "repro", "prepare@braille")
    (theirs / "one-more.txt").write_text("anything")
    assert "Running stage" in run("dvc", "repro", "prepare@braille")
