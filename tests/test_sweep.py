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
from end_to_end import ROOT

from pipeline import params
from pipeline.report import sources

pytestmark = [
    pytest.mark.full,
    pytest.mark.skipif(not (ROOT / ".git").exists(), reason="this is no git checkout to clone"),
]


def change(folder: Path, section: str, **values: object) -> None:
    """Write parameters of a section of the task braille, such as `targets.loihi`."""
    document = yaml.safe_load((folder / "params.yaml").read_text())
    place = document["tasks"]["braille"]
    for key in section.split("."):
        place = place[key]
    place.update(values)
    (folder / "params.yaml").write_text(yaml.safe_dump(document, sort_keys=False))


def content(folder: Path) -> dict[str, str]:
    """SHA-256 of every file that stages write."""
    files = [
        p for part in ("data/prepared", "models", "metrics") for p in folder.glob(f"{part}/**/*")
    ]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.is_file()
    }


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

    def run(*command: str, fails: bool = False) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        assert (done.returncode != 0) == fails, done.stdout[-2000:] + done.stderr[-2000:]
        return done.stderr if fails else done.stdout

    change(folder, "data", bins=32, simulated_per_class=8)
    change(folder, "train", epochs=2)
    change(folder, "deploy", vectors=8)
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


def test_numbers_belong_to_the_weights_that_are_there(clone):
    """Of a run, of the same parameters again, and of weights that come back from a commit."""
    folder, run = clone
    model, identity = folder / "models" / "braille", ("-c", "user.name=t", "-c", "user.email=t@l")

    def shown() -> dict[str, dict]:
        return json.loads(run("dvc", "metrics", "show", "--json"))[""]["data"]

    seen = []
    for seed in (6, 5, 6):
        run("dvc", "exp", "run", "-S", f"tasks.braille.train.seed={seed}", "train@braille")
        seen.append(shown()["models/braille/train.json"]["data"])
        last = (model / "curves.csv").read_text().splitlines()[seen[-1]["best_epoch"]]
        assert f"{seen[-1]['loss']['validation']:.6g}" == last.split(",")[3]
        if seed == 5:
            run("git", *identity, "commit", "-qam", "Seed 5")
    assert seen[0] == seen[2] != seen[1]
    run("git", "checkout", "-q", "HEAD", "--", "params.yaml", "dvc.lock", "models", "metrics")
    run("dvc", "checkout", "-q", "models/braille/weights.safetensors")
    assert shown()["models/braille/train.json"]["data"] == seen[1]
    # The time is that of the last training; its digest is not that of the weights that came back.
    timing = json.loads((model / "timing.json").read_text())
    weights = hashlib.sha256((model / "weights.safetensors").read_bytes()).hexdigest()
    assert timing["weights_sha256"] != weights
    task = params.load("braille", folder / "params.yaml")
    assert sources.read(folder, task).timing is None
    # What users look for is in the table, and nothing that a clock measured.
    assert {"accuracy", "loss", "spike_rate", "best_epoch", "epochs"} == set(seen[0])
    assert all(Path(name).parts[0] in ("models", "metrics") for name in shown())


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
    change(folder, "data", source="folder", path=str(theirs))
    assert "Running stage" in run("dvc", "repro", "prepare@braille")
    assert "up to date" in run("dvc", "repro", "prepare@braille")
    (theirs / "one-more.txt").write_text("anything")
    assert "Running stage" in run("dvc", "repro", "prepare@braille")


def test_a_folder_that_is_missing_is_named_before_dvc_looks_for_it(clone):
    folder, run = clone
    run("dvc", "repro", "prepare@braille")
    change(folder, "data", path="data/nowhere")
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "repro"], cwd=folder, capture_output=True, text=True
    )
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Errno" not in said
    assert "error: tasks.braille.data.path: data/nowhere: no such folder" in said


def test_a_stage_that_fails_leaves_what_it_made_before(clone):
    """DVC removes a stage's outputs before it runs, unless they are `persist`."""
    folder, run = clone
    change(folder, "targets.loihi", epochs=1)
    run("dvc", "repro", "deploy@braille", "target@braille-loihi")
    good, parameters = content(folder), (folder / "params.yaml").read_text()
    bundle = "models/braille/deploy/loihi/model.nir"
    assert {"models/braille/weights.safetensors", "models/braille/curves.csv", bundle} <= set(good)
    for stage, section, values, words in (
        ("prepare@braille", "data", {"bins": 2}, "holds one sample"),
        ("train@braille", "network", {"threshold": 1e6}, "fires no spike"),
        ("export@braille", "export", {"dt": 1e30}, "dt"),
        ("parity@braille", "parity", {"max_tie_distance": -1.0}, "max_tie_distance"),
        ("deploy@braille", "deploy", {"vectors": 10**6}, "vectors"),
        ("target@braille-loihi", "deploy", {"vectors": 10**6}, "vectors"),
    ):
        change(folder, section, **values)
        assert words in run("dvc", "repro", "-s", stage, fails=True), stage
        assert content(folder) == good, stage
        (folder / "params.yaml").write_text(parameters)
    assert "up to date" in run("dvc", "status", "deploy@braille", "target@braille-loihi")
