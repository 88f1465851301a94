"""From prepared data to a bundle, on tiny recordings; what deploy and verify.py refuse."""

from __future__ import annotations

import dataclasses
import errno
import json
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from end_to_end import GUARD, ROOT, SHAPES, link_to_cache, tiny_task

from pipeline import deploy as stage
from pipeline import schema, tasks
from pipeline.bundle import card, manifest
from pipeline.evaluation import parity_gate
from pipeline.parity import parity
from spyx_nir import files, neurobench
from spyx_nir.bundle import folder as folder_of
from spyx_nir.bundle import standalone, vectors
from spyx_nir.errors import UserError, exit_status

RUNS = [
    ("braille", "v_reset"), ("braille", "subtract"), ("nmnist", "v_reset"),
    pytest.param("nmnist", "subtract", marks=pytest.mark.full),
]  # fmt: skip


@pytest.fixture
def project(tiny_run, tmp_path) -> Path:
    """A copy of the small project that a test may spoil."""
    return Path(shutil.copytree(tiny_run("braille", "v_reset"), tmp_path / "project"))


@pytest.fixture
def bundle(project) -> Path:
    return project / "models" / "braille" / "deploy" / "generic"


def run_verify(folder: Path, cwd: Path | None = None, *arguments: str):
    command = [sys.executable, "-I", "-c", GUARD, str(folder / "verify.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd)


def run_stage(name: str, root: Path):
    """The command that a person or DVC runs."""
    command = [sys.executable, "-m", f"pipeline.{name}", "braille"]
    return subprocess.run(
        [*command, "--params", str(ROOT / "params.yaml")], cwd=root, capture_output=True, text=True
    )


def problems(folder: Path) -> list[str]:
    """What the bundle's verify.py finds, without starting a Python for it."""
    return runpy.run_path(str(folder / "verify.py"), run_name="verify")["check"](folder)


def sign_again(folder: Path) -> None:
    """Make the checksums right, so that only the spikes can tell."""
    (folder / "SHA256SUMS").unlink()
    (folder / "SHA256SUMS").write_text(folder_of.sums(folder))


# -------------------------------------------------------------------------------------------- bundles


@pytest.mark.parametrize(("task", "reset"), RUNS)
def test_metrics_manifest_and_card_say_the_same_cost(tiny_run, task, reset):
    root = tiny_run(task, reset)
    bundle = root / "models" / task / "deploy" / "generic"
    told = json.loads((root / "metrics" / f"{task}-generic.json").read_text())
    manifest = json.loads((bundle / "manifest.json").read_text())
    accuracy, seeds = told.pop("accuracy"), told.pop("seeds")
    assert manifest["metrics"]["neurobench"] == told
    assert seeds == manifest["metrics"]["seeds"] == {"data": 7, "train": 1}  # of params.yaml
    assert accuracy["accuracy"] == told["ClassificationAccuracy"]
    operations = told["SynapticOperations"]
    assert operations["Dense"] == manifest["synapses"] * SHAPES[task][0]
    assert 0 < operations["Effective_ACs"] + operations["Effective_MACs"] < operations["Dense"]
    card = (bundle / "MODEL_CARD.md").read_text()
    assert f"| MembraneUpdates | {told['MembraneUpdates']:.1f} a recording |" in card
    assert "Energy" not in card
    assert "(seed 7 of the data)" in card


@pytest.mark.parametrize(("task", "reset"), RUNS)
def test_both_tasks_give_bundles_with_both_resets(tiny_run, task, reset):
    folder = tiny_run(task, reset) / "models" / task
    report = json.loads((folder / "parity.json").read_text())
    assert report["verdict"] == "pass"
    assert report["differing_spikes"]["reimported"] == 0
    assert report["samples"] == report["accuracy"]["reference"]["n"] == 20
    # A silent network would agree with anything.
    assert all(layer["spike_rate"] > 0 for layer in report["layers"])
    assert (folder / "parity.png").read_bytes().startswith(b"\x89PNG")

    bundle = folder / "deploy" / "generic"
    found = {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}
    assert found == {
        "model.nir",
        "model-nir-1.0.4.nir",
        "test_data_set_0/vectors.npz",
        "test_data_set_0/nir_data.h5",
        "events/recordings.npz",
        "events/address_map.json",
        "events/encode.py",
        "manifest.json",
        "MODEL_CARD.md",
        "SHA256SUMS",
        "verify.py",
    }
    assert (bundle / "model.nir").read_bytes() == (folder / "model.nir").read_bytes()


@pytest.mark.parametrize(("task", "reset"), RUNS)
def test_a_bundle_verifies_with_numpy_and_h5py_alone(tiny_run, tmp_path, task, reset):
    bundle = tiny_run(task, reset) / "models" / task / "deploy" / "generic"
    done = run_verify(bundle, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"pass: {bundle}: digests right, 8 vectors")


@pytest.mark.parametrize(("task", "reset"), RUNS)
def test_vectors_are_test_samples_time_major_and_channels_first(tiny_run, task, reset):
    root = tiny_run(task, reset)
    bundle = root / "models" / task / "deploy" / "generic"
    with np.load(bundle / "test_data_set_0" / "vectors.npz", allow_pickle=False) as archive:
        arrays = dict(archive)
    facts = json.loads((bundle / "manifest.json").read_text())
    with h5py.File(root / "data" / "prepared" / f"{task}.h5") as file:
        test = file["events"][:][file["split"][:] == 2]
        labels = file["labels"][:][file["split"][:] == 2]
    chosen = facts["vectors"]["test_samples"]
    steps, *shape = SHAPES[task]
    assert arrays["input"].shape == (steps, 8, *shape)
    assert (arrays["input"] == np.swapaxes(test[chosen], 0, 1)).all()
    assert facts["vectors"]["labels"] == labels[chosen].tolist()
    assert arrays["output"].any()
    if task == "nmnist":
        # The sizes of the paper's network, channels first.
        sizes = {"if_1": (16, 16, 16), "if_3": (16, 16, 16), "if_6": (8, 8, 8)}
        sizes |= {"if_10": (256,), "if_12": (10,)}
        assert {k: v.shape[2:] for k, v in arrays.items() if k.startswith("if")} == sizes


def test_first_layer_of_the_vectors_follows_the_equation(tiny_run):
    # IF with r = 1, dt = 1 after a convolution, by hand: v += sum(w * x); spike above 1; reset to 0.
    bundle = tiny_run("nmnist", "v_reset") / "models" / "nmnist" / "deploy" / "generic"
    graph = nir.read(bundle / "model.nir")
    with np.load(bundle / "test_data_set_0" / "vectors.npz") as archive:
        x, expected = archive["input"].astype(float), archive["if_1"]
    channel, row, column = 3, 5, 7
    weight = np.asarray(graph.nodes["conv_0"].weight, float)[channel]
    padded = np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 1), (1, 1)))
    patch = padded[..., 2 * row : 2 * row + 5, 2 * column : 2 * column + 5]
    v = np.zeros(x.shape[1])
    for t, current in enumerate((patch * weight).sum(axis=(2, 3, 4))):
        v = v + current
        assert ((v > 1) == expected[t, :, channel, row, column]).all()
        v[v > 1] = 0
    assert expected[:, :, channel].any()


def test_the_file_for_older_readers_lacks_what_they_fail_on(bundle):
    def names(path):
        found: list[str] = []
        with h5py.File(path) as file:
            file.visit(found.append)
            return {name.rsplit("/", 1)[-1] for name in found}

    assert names(bundle / "model.nir") - names(bundle / "model-nir-1.0.4.nir") == {"v_reset"}


@pytest.mark.parametrize(("task", "reset"), [("braille", "subtract"), ("nmnist", "v_reset")])
def test_nir_reads_the_vectors_too(tiny_run, task, reset):
    bundle = tiny_run(task, reset) / "models" / task / "deploy" / "generic"
    data = nir.read_data(bundle / "test_data_set_0" / "nir_data.h5")
    with np.load(bundle / "test_data_set_0" / "vectors.npz") as archive:
        arrays = dict(archive)
    for path, expected in arrays.items():
        node = data
        for name in path.split("."):
            node = node.nodes[name]
        (observable,) = node.observables.values()
        # (samples, steps, neurons), space flattened as (C, H, W)
        flat = np.swapaxes(expected, 0, 1).reshape(8, len(expected), -1)
        assert (observable.data == flat).all()


def test_sha256sum_agrees(bundle):
    if shutil.which("sha256sum") is None:
        pytest.skip("sha256sum is not installed")
    done = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=bundle, capture_output=True)
    assert done.returncode == 0


def test_the_same_inputs_give_the_same_bytes(project, bundle):
    before = {p: p.read_bytes() for p in (project / "models").rglob("*") if p.is_file()}
    task = tiny_task("braille", "v_reset")
    parity(task, project)
    stage.deploy(task, project)
    after = {p: p.read_bytes() for p in (project / "models").rglob("*") if p.is_file()}
    assert {p for p in before.keys() | after.keys() if before.get(p) != after.get(p)} == set()


# ------------------------------------------------------------------------- what the papers with it say


def test_the_manifest_counts_the_paper_network(tiny_run):
    bundle = tiny_run("nmnist", "v_reset") / "models" / "nmnist" / "deploy" / "generic"
    facts = json.loads((bundle / "manifest.json").read_text())
    assert facts["neurons"] == 2 * 16**3 + 8**3 + 256 + 10
    # Rows (and columns) of a kernel that lie on the image, over all positions of a map:
    # 34 wide, kernel 5, stride 2, padding 1: position 0 has 4, positions 1 to 15 have 5.
    # 16 (8) wide, kernel 3, padding 1: the two ends have 2, the others 3.
    first, second, third = 4 + 15 * 5, 2 * 2 + 14 * 3, 2 * 2 + 6 * 3
    connections = 2 * 16 * first**2 + 16 * 16 * second**2 + 16 * 8 * third**2
    assert facts["synapses"] == connections + 128 * 256 + 256 * 10
    assert facts["dt"] == 1.0
    assert facts["time_unit"] == "step"
    assert facts["plain_nir_is_enough"] is True


def test_the_manifest_gives_time_constants_and_limits(tiny_run):
    bundle = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
    facts = json.loads((bundle / "manifest.json").read_text())
    (hidden, out) = [node for node in facts["nodes"] if node["type"] == "CubaLIF"]
    # tau = dt / (1 - decay), decays of params.yaml: 0.55, 0.9 and 0.5, 0.55; float32 in the file.
    for node, alpha, beta in ((hidden, 0.55, 0.9), (out, 0.5, 0.55)):
        assert node["ranges"]["tau_syn"] == pytest.approx([1e-4 / (1 - alpha)] * 2, rel=1e-5)
        assert node["ranges"]["tau_mem"] == pytest.approx([1e-4 / (1 - beta)] * 2, rel=1e-5)
        assert node["ranges"]["v_threshold"] == [1.0, 1.0]
    assert facts["neurons"] == 38 + 7
    assert facts["synapses"] == 12 * 38 + 38 * 38 + 38 * 7
    assert facts["data"]["source"] == "random events"
    assert facts["parity"]["verdict"] == "pass"
    assert facts["versions"]["nir"] == "1.0.8"
    for name, digest in facts["files"].items():
        assert files.sha256(bundle / name) == digest["sha256"]
    assert str(bundle) not in json.dumps(facts)


@pytest.mark.parametrize(("task", "reset"), RUNS)
def test_the_card_warns_where_plain_nir_is_not_enough(tiny_run, task, reset):
    import yaml

    bundle = tiny_run(task, reset) / "models" / task / "deploy" / "generic"
    text = (bundle / "MODEL_CARD.md").read_text()
    facts = json.loads((bundle / "manifest.json").read_text())
    assert ("needs more than plain NIR" in text) == (reset == "subtract")
    assert facts["plain_nir_is_enough"] == (reset == "v_reset")
    assert facts["reset"] == reset
    assert facts["spike_delay"] == (1 if reset == "subtract" else 0)
    head = yaml.safe_load(text.split("---\n")[1])
    assert head["library_name"] == "nir"
    (result,) = head["model-index"][0]["results"]
    accuracy = json.loads((bundle.parent.parent / "parity.json").read_text())["accuracy"]["trained"]
    assert result["metrics"][0]["value"] == accuracy["accuracy"]


def trained_here(bundle: Path) -> dict:
    """The manifest as it is for weights that the stage `train` made."""
    facts = json.loads((bundle / "manifest.json").read_text())
    facts["weights"] |= {"trained_here": True, "started_from": None}
    return facts


def test_the_card_of_simulated_recordings_and_weights_of_this_pipeline(bundle):
    text = card.write(trained_here(bundle))
    assert "license: apache-2.0" in text
    assert "Trained in JAX" in text
    assert "no recording of the original data set is in it" in text
    assert "that training never saw (seeds: 7 of the data, 1 of the training)" in text


def test_the_card_of_real_recordings_carries_their_licence(bundle):
    facts = trained_here(bundle)
    facts["parameters"]["data"]["source"] = "folder"
    text = card.write(facts)
    assert "license: cc-by-4.0" in text
    assert "Müller-Cleve et al." in text
    assert "simulated" not in text
    # Whose recordings lie in a folder nobody recorded; a download is checked against its digests.
    assert "given in a folder" in text and "if they are others" in text
    facts["parameters"]["data"]["source"] = "download"
    assert "given in a folder" not in card.write(facts)


def test_a_task_without_a_simulator_is_not_called_simulated(bundle, monkeypatch):
    """With the default source its own `recordings` reads or makes them: real ones, for all we know."""
    facts = trained_here(bundle)
    assert facts["parameters"]["data"]["source"] == "simulated"  # the default
    monkeypatch.delattr("pipeline.tasks.braille.simulate")
    text = card.write(facts)
    assert "license: cc-by-4.0" in text
    assert "simulate" not in text
    assert "no recording" not in text
    assert "carry its licence" in text
    assert tasks.source("braille", "simulated") == "task"
    assert tasks.source("braille", "folder") == "folder"


@pytest.mark.parametrize("source", ["simulated", "folder"])
@pytest.mark.parametrize("start", [None, "ab" * 32])
def test_a_card_does_not_say_of_given_weights_what_nobody_recorded(bundle, source, start):
    """The small run's weights are written by hand; with `start` training went on from given ones."""
    facts = json.loads((bundle / "manifest.json").read_text())
    assert facts["weights"]["trained_here"] is False
    assert facts["weights"]["sha256"] == files.sha256(bundle.parents[1] / "weights.safetensors")
    facts["parameters"]["data"]["source"] = source
    if start:
        facts["weights"] |= {"trained_here": True, "started_from": start}
    text = card.write(facts)
    assert "license: unknown" in text
    assert "Trained in JAX" not in text
    assert "never saw" not in text
    assert "is in it" not in text
    assert "is not recorded, nor their licence" in text
    assert (start in text) if start else ("not trained by this pipeline" in text)


def test_a_manifest_has_no_path_of_the_machine(project):
    """A profile of one's own and the weights that training started from are files somewhere."""
    task = tiny_task("braille", "v_reset")
    start = str(project / "models" / "braille" / "weights.safetensors")
    task = dataclasses.replace(
        task,
        train=dataclasses.replace(task.train, start_from=start),
        targets={str(project / "mine.yaml"): schema.Target(str(project / "mine.yaml"), 1, 1e-3)},
    )
    told = manifest.parameters(task, files.sha256(start))
    assert str(project) not in json.dumps(told)
    assert told["train"]["start_from"] == files.sha256(start)
    assert told["targets"] == {
        "mine": {"name": "mine", "epochs": 1, "learning_rate": 1e-3, "leak": 0.0}
    }


def test_a_bundle_says_what_the_channels_are(tiny_run):
    """p of an event, which is its channel: tonic's 0 is OFF and 1 is ON; Braille merges both."""
    found = {}
    for task in ("braille", "nmnist"):
        bundle = tiny_run(task, "v_reset") / "models" / task / "deploy" / "generic"
        found[task] = json.loads((bundle / "manifest.json").read_text())
        text = (bundle / "MODEL_CARD.md").read_text()
        assert all(channel in text for channel in found[task]["input_channels"])
        assert found[task]["input_values"] in text
    assert found["nmnist"]["input_channels"] == [
        "events with p = 0 (OFF)",
        "events with p = 1 (ON)",
    ]
    assert found["braille"]["input_channels"] == ["events of any polarity"]
    assert found["braille"]["input_values"].startswith("1 where")


# --------------------------------------------------------------------------------- what deploy refuses


def refused(project: Path, *parts: str) -> None:
    before = files.sha256(project / "models" / "braille" / "deploy" / "generic" / "SHA256SUMS")
    done = run_stage("deploy", project)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    for part in ("error: models/braille/", *parts):
        assert part in done.stderr
    assert (
        files.sha256(project / "models" / "braille" / "deploy" / "generic" / "SHA256SUMS") == before
    )


def test_deploy_refuses_a_file_that_changed_after_parity(project):
    with h5py.File(project / "models" / "braille" / "model.nir", "r+") as file:
        file["node/nodes/linear_0/weight"][0, 0] += 1
    refused(project, "model.nir: changed after parity", "run python -m pipeline.parity braille")


def test_deploy_refuses_weights_that_changed_after_parity(project):
    with open(project / "models" / "braille" / "weights.safetensors", "ab") as stream:
        stream.write(b"\0")
    refused(project, "weights.safetensors: changed after parity")


def test_deploy_refuses_without_parity(project):
    (project / "models" / "braille" / "parity.json").unlink()
    refused(project, "parity.json: no such file", "pipeline.parity braille")


def test_deploy_refuses_a_failed_parity(project):
    path = project / "models" / "braille" / "parity.json"
    report = json.loads(path.read_text())
    path.write_text(json.dumps(report | {"verdict": "fail", "reasons": ["3 spikes differ"]}))
    refused(project, "the verdict is `fail`, `pass` is needed (3 spikes differ)")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"verdict": "pass"}', "\x00"])
def test_deploy_refuses_what_is_no_report(project, text):
    (project / "models" / "braille" / "parity.json").write_text(text)
    with pytest.raises(UserError, match=r"parity\.json: not a report of the parity stage"):
        parity_gate.passed(project / "models" / "braille", "braille")


def test_parity_names_the_stage_that_has_to_run_after_a_change_of_the_step(project):
    task = tiny_task("braille", "v_reset")
    task = dataclasses.replace(task, export=dataclasses.replace(task.export, dt=2e-4))
    said = (
        r"model.nir: made with dt = 0.0001, .*dt is 0.0002; run python -m pipeline.export braille"
    )
    with pytest.raises(UserError, match=said):
        parity(task, project)


def test_a_bundle_that_does_not_verify_is_not_published(project, bundle, monkeypatch):
    before = (bundle / "SHA256SUMS").read_text()
    golden = stage.golden

    def wrong(*arguments):
        answer = golden(*arguments)
        answer["output"][0, 0, 0] ^= 1
        return answer

    monkeypatch.setattr(stage, "golden", wrong)
    with pytest.raises(UserError, match=r"does not verify, so it was not published: .*output"):
        stage.deploy(tiny_task("braille", "v_reset"), project)
    assert (bundle / "SHA256SUMS").read_text() == before


# ----------------------------------------------------------------------------------- parity that fails


def test_a_file_that_means_something_else_fails_parity_and_says_why(project):
    folder = project / "models" / "braille"
    with h5py.File(folder / "model.nir", "r+") as file:
        file["node/nodes/linear_0/weight"][0] *= -1
    with pytest.raises(
        UserError, match=r"parity of braille failed: .* re-imported model; 0 allowed"
    ):
        parity(tiny_task("braille", "v_reset"), project)
    report = json.loads((folder / "parity.json").read_text())
    assert report["verdict"] == "fail"
    assert report["differing_spikes"]["reimported"] > 0
    assert report["ties"]["unexplained"] > 0
    assert report["model_nir"]["sha256"] == files.sha256(folder / "model.nir")
    refused(project, "the verdict is `fail`")


def test_a_file_of_another_network_is_named(project, tiny_run):
    other = tiny_run("braille", "subtract") / "models" / "braille" / "model.nir"
    shutil.copy(other, project / "models" / "braille" / "model.nir")
    with pytest.raises(
        UserError, match=r"spiking node `rcubalif_1\.lif` is no layer of the trained"
    ):
        parity(tiny_task("braille", "v_reset"), project)


@pytest.mark.parametrize(
    ("name", "maker"), [("model.nir", "export"), ("weights.safetensors", "train")]
)
def test_parity_names_what_is_missing_and_who_makes_it(project, name, maker):
    (project / "models" / "braille" / name).unlink()
    done = run_stage("parity", project)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: models/braille/{name}: no such file; run python -m pipeline.{maker} braille\n"
    )


# ------------------------------------------------------------------------------ interrupted, disk full


def listing(project: Path) -> dict[str, str]:
    return {p.as_posix(): files.sha256(p) for p in project.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    ("error", "code"),
    [(KeyboardInterrupt(), 130), (OSError(errno.ENOSPC, "No space left on device", "x"), 1)],
)
@pytest.mark.parametrize("place", ["bundle", "picture"])
def test_an_interrupted_stage_leaves_what_was_there(
    project, monkeypatch, capsys, error, code, place
):
    def stop(*_, **__):
        raise error

    before = listing(project)
    task = tiny_task("braille", "v_reset")
    if place == "bundle":
        monkeypatch.setattr(card, "write", stop)
        status = exit_status(lambda: stage.deploy(task, project))
    else:
        monkeypatch.setattr("matplotlib.figure.Figure.savefig", stop)
        status = exit_status(lambda: parity(task, project))
    assert status == code
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert listing(project) == before


# ------------------------------------------------------------------------------ what verify.py notices


def test_verify_says_which_package_it_lacks(bundle):
    command = [sys.executable, "-S", "-I", str(bundle / "verify.py")]  # -S: no installed packages
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: verify.py needs numpy and h5py: No module named 'h5py'\n"


def test_verify_notices_a_changed_weight_by_its_digest_and_by_its_spikes(bundle):
    with h5py.File(bundle / "model.nir", "r+") as file:
        file["node/nodes/linear_0/weight"][0] *= -1
    done = run_verify(bundle)
    assert done.returncode == 1
    assert "differs: model.nir: SHA-256 is " in done.stderr
    assert "differs: model.nir: not run, " in done.stderr
    assert "model-nir-1.0.4.nir" not in done.stderr
    sign_again(bundle)
    done = run_verify(bundle)
    assert done.returncode == 1
    assert "SHA256SUMS" not in done.stderr and "manifest.json says " in done.stderr
    assert (
        "entries of recurrent_1.lif differ, the first at (step, sample, neuron...)" in done.stderr
    )
    assert "model-nir-1.0.4.nir" not in done.stderr
    assert done.stdout.startswith("FAIL: ")


@pytest.mark.parametrize("key", ["output", "cubalif_3", "recurrent_1.lif"])
def test_verify_notices_a_changed_vector(bundle, key):
    path = bundle / "test_data_set_0" / "vectors.npz"
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays[key][3, 2, 1] ^= 1
    np.savez_compressed(path, **arrays)
    sign_again(bundle)
    found = "\n".join(problems(bundle))
    size = arrays[key].size
    assert f"model.nir: 1 of {size} entries of {key} differ, the first at " in found
    assert "(3, 2, 1)" in found


def test_verify_notices_wrong_missing_and_extra_files(bundle):
    sums = (bundle / "SHA256SUMS").read_text().splitlines()
    sums[0] = "0" * 64 + sums[0][64:]
    (bundle / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    (bundle / "test_data_set_0" / "nir_data.h5").unlink()
    (bundle / "extra.txt").write_text("")
    found = "\n".join(problems(bundle))
    assert "MODEL_CARD.md: SHA-256 is " in found
    assert "test_data_set_0/nir_data.h5: missing" in found
    assert "extra.txt: not listed in SHA256SUMS" in found


def test_verify_ignores_the_folder_measured_and_no_other(bundle, capsys):
    from spyx_nir.cli.main import main

    (bundle / "measured" / "day").mkdir(parents=True)
    (bundle / "measured" / "day" / "power.csv").write_text("1,2\n")
    assert problems(bundle) == []
    assert main(["verify", str(bundle)]) == 0
    capsys.readouterr()
    for other in ("events/measured/a.csv", "measured.csv", "Measured/a.csv"):
        (bundle / other).parent.mkdir(exist_ok=True)
        (bundle / other).write_text("1\n")
        assert problems(bundle) == [f"{other}: not listed in SHA256SUMS"]
        assert main(["verify", str(bundle)]) == 1
        (bundle / other).unlink()


@pytest.mark.parametrize("task", ["braille", "nmnist"])
def test_recordings_of_a_bundle_are_its_input_and_say_where_times_come_from(tiny_run, task):
    """Those of the small project are random counts of no recording."""
    bundle = tiny_run(task, "v_reset") / "models" / task / "deploy" / "generic"
    done = subprocess.run(
        [sys.executable, "-I", "-c", GUARD, bundle / "events" / "encode.py"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads((bundle / "manifest.json").read_text())
    assert facts["events"]["times"] == "made up from counts"
    assert facts["events"]["recordings"] in facts["files"]
    addresses = json.loads((bundle / "events" / "address_map.json").read_text())
    assert [row["class"] for row in addresses["output"]["classes"]] == facts["classes"]
    assert addresses["input"]["shape"] == facts["input_shape"]
    assert [row["what"] for row in addresses["input"]["channels"]] == facts["input_channels"]
    layers = {row["neurons"]: row["shape"] for row in addresses["layers"]}
    told = {row["node"]: row["output_shape"] for row in facts["nodes"] if "neurons" in row}
    assert layers == told
    assert addresses["output"]["neurons"] == [*told][-1]


@pytest.mark.parametrize(
    "name", ["model.nir", "model-nir-1.0.4.nir", "test_data_set_0/vectors.npz", "manifest.json"]
)
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_verify_says_which_file_is_broken(bundle, name, damage):
    path = bundle / name
    whole = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(whole[: len(whole) // 2] if damage == "truncated" else b"")
    assert any(line.startswith(f"{name}: ") for line in problems(bundle))


def test_verify_names_a_line_of_the_sums_that_is_none(bundle):
    (bundle / "SHA256SUMS").write_text("damaged\n" + (bundle / "SHA256SUMS").read_text())
    assert problems(bundle) == ["SHA256SUMS: line 1 is no digest and name"]


def test_the_cards_code_runs_recordings_of_ones_own(bundle):
    """The golden vectors as if they were somebody's own, with what the card says, in its folder."""
    card = (bundle / "MODEL_CARD.md").read_text()
    start = card.index("    from pathlib import Path")
    code = card[start : card.index("\n\n", start)].replace("\n    ", "\n").strip()
    program = f"""
import numpy as np
with np.load("test_data_set_0/vectors.npz") as vectors:
    x, expected = vectors["input"], vectors["output"]
{code}
assert (spikes == expected).all() and expected.any()
assert classes.tolist() == expected.sum(0).argmax(-1).tolist()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=bundle, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_verify_does_not_follow_links_out_of_a_model(bundle):
    with h5py.File(bundle / "model.nir", "r+") as file:
        del file["node/nodes/linear_0/weight"]
        file["node/nodes/linear_0/weight"] = h5py.ExternalLink("elsewhere.h5", "/secret")
    sign_again(bundle)
    found = "\n".join(problems(bundle))
    assert "weight is a link, not data" in found


def test_a_bundle_of_links_to_dvcs_cache_verifies(bundle, tmp_path):
    link_to_cache(bundle, tmp_path / "cache")
    done = run_verify(bundle)
    assert (done.returncode, done.stderr) == (0, "")
    inside = subprocess.run(
        [sys.executable, "verify.py"], cwd=bundle, capture_output=True, text=True
    )
    assert inside.stdout.startswith("pass: .: digests right")
    card = (bundle / "MODEL_CARD.md").resolve()
    card.chmod(0o644)
    card.write_text(card.read_text() + "changed")
    found = problems(bundle)
    assert len(found) == 1 and found[0].startswith("MODEL_CARD.md: SHA-256 is ")
    (bundle / "MODEL_CARD.md").unlink()
    (bundle / "MODEL_CARD.md").symlink_to(tmp_path / "nowhere")
    assert problems(bundle) == [
        f"MODEL_CARD.md: a link to {tmp_path / 'nowhere'}; files are needed"
    ]


def test_verify_explains_itself_and_takes_a_folder(bundle, tmp_path):
    help_text = run_verify(bundle, None, "--help")
    assert help_text.returncode == 0
    assert "golden vectors" in help_text.stdout
    assert run_verify(bundle, tmp_path, str(bundle)).returncode == 0
    inside = subprocess.run(
        [sys.executable, "verify.py"], cwd=bundle, capture_output=True, text=True
    )
    assert inside.stdout.startswith("pass: .: digests right")


# -------------------------------------------------------------------------------------------- its parts


def test_vectors_spread_over_the_classes():
    labels = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    # Round by round, one of each class, lowest index first: 0 5 8, 1 6 9, 2.
    assert vectors.choose(labels, 7).tolist() == [0, 1, 2, 5, 6, 8, 9]
    assert vectors.choose(labels, 3, excluded=[0, 5]).tolist() == [1, 6, 8]


def test_too_few_vectors_are_refused():
    with pytest.raises(
        UserError,
        match=r"deploy\.vectors asks for 9 test samples, 8 are available \(10 in the test set, 2 with",
    ):
        vectors.choose(np.zeros(10, int), 9, excluded=[3, 4])


def test_a_node_may_not_take_a_key_of_the_vectors(tmp_path):
    a = np.zeros((1, 1, 1))
    with pytest.raises(UserError, match="node `output` has a name that"):
        vectors.write_npz(tmp_path / "vectors.npz", a, a, {"output": a})


@pytest.mark.parametrize("padding", [0, 1, (2, 1), "same", "valid"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_synapses_of_a_convolution_are_counted_one_by_one(padding, dilation):
    height, width, kernel, stride = 7, 6, (3, 2), 2 if padding != "same" else 1
    reach = [dilation * (k - 1) for k in kernel]
    if padding == "same":
        starts, out = [-(r // 2) for r in reach], (height, width)
    else:
        pads = (0, 0) if padding == "valid" else np.broadcast_to(padding, 2)
        starts = [-int(p) for p in pads]
        out = tuple(
            (n + 2 * -s - r - 1) // stride + 1
            for n, s, r in zip((height, width), starts, reach, strict=True)
        )
    count = 0
    for i in range(out[0]):
        for j in range(out[1]):
            for a in range(kernel[0]):
                for b in range(kernel[1]):
                    y = starts[0] + stride * i + dilation * a
                    x = starts[1] + stride * j + dilation * b
                    count += 0 <= y < height and 0 <= x < width
    node = {
        "type": "Conv2d",
        "weight": np.ones((5, 3, *kernel)),
        "stride": stride,
        "dilation": dilation,
        "padding": padding,
    }
    assert neurobench.synapses(node, (3, height, width)) == 3 * 5 * count


def test_verify_source_is_one_python_text_with_the_reference_inside():
    text = standalone.source(
        "verify.py", "from __future__ import annotations\nimport numpy as np\ndef run(): ...\n"
    )
    compile(text, "verify.py", "exec")
    assert text.count("from __future__") == 1
    assert "pipeline" not in text.split("def run(): ...")[1]
    assert "from pipeline" not in text
