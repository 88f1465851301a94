"""`spyx-nir build`: from any graph to a chip's bundle, without a task."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import graphs
import nir
import numpy as np
import pytest

from spyx_nir.bundle import build
from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import UserError
from spyx_nir.hardware import profile, quantise, registry
from spyx_nir.hardware.topology import planned

GOLDEN = Path(__file__).parents[1] / "converter" / "golden"


def pass_on(tmp_path: Path, reset: str = "v_reset", told: bool = True) -> str:
    """Two inputs, each to an output of its own: a spike for every event. LIF, decay 1/2."""
    ones = np.ones(2)
    metadata = {"reset": reset, "spike_delay": 0}
    neurons = nir.LIF(
        tau=2 * ones,
        r=2 * ones,
        v_leak=0 * ones,
        v_threshold=ones,
        v_reset=0 * ones,
        metadata=metadata if told else {},
    )
    graph = graphs.chain((2,), ("w", nir.Linear(1.5 * np.eye(2))), ("n", neurons), dt=1.0)
    if not told:
        del graph["metadata"]
    path = tmp_path / "passes.nir"
    file.write(path, file.build(graph))
    return str(path)


def recordings(path: Path, labelled: bool = True, turned: bool = False, n: int = 20) -> str:
    """Events at input 0 or 1 alone; the label is which, or, `turned`, the other one."""
    labels = np.arange(n) % 2
    x = np.zeros((12, n, 2), np.uint8)
    x[:, np.arange(n), labels] = (np.random.default_rng(0).random((12, n)) < 0.5) | (
        np.arange(12) == 3
    )[:, None]
    np.savez(path, x=x, **({"y": 1 - labels if turned else labels} if labelled else {}))
    return str(path)


def rows(out: str) -> dict[str, dict[str, Any]]:
    return {row["target"]: row for row in json.loads(out)["targets"]}


def test_labelled_recordings_give_the_accuracy_that_follows(tmp_path: Path, capsys: Any) -> None:
    """All answers are right by construction, and all wrong with the classes exchanged."""
    model = pass_on(tmp_path)
    for turned, share in ((False, 1.0), (True, 0.0)):
        data = recordings(tmp_path / "data.npz", turned=turned)
        out = tmp_path / str(turned)
        words = ["build", model, "--target", "loihi", "--calibrate", data, "-o", str(out), "--json"]
        assert main(words) == 0
        metrics = rows(capsys.readouterr().out)["loihi"]["metrics"]
        for which in ("float", "integer", "dequantised"):
            assert (metrics["accuracy"][which]["accuracy"], metrics["accuracy"][which]["n"]) == (
                share,
                20,
            )
        assert metrics["agreement"] == 1
        assert json.loads((out / "loihi" / "metrics.json").read_text()) == metrics
        assert main(["verify", str(out / "loihi")]) == 0
        capsys.readouterr()
        manifest = json.loads((out / "loihi" / "manifest.json").read_text())
        assert manifest["vectors"]["predicted"] == [
            label if share else 1 - label for label in manifest["vectors"]["labels"]
        ]


def test_the_bundle_says_what_was_done_and_where_weights_and_data_are_from(
    tmp_path: Path, capsys: Any
) -> None:
    model = pass_on(tmp_path)
    data = recordings(tmp_path / "data.npz", labelled=False)
    bundles = {}
    for name, more in (("random", []), ("given", ["--calibrate", data, "--bin-us", "500"])):
        assert main(["build", model, "--target", "loihi", "-o", str(tmp_path / name), *more]) == 0
        bundles[name] = tmp_path / name / "loihi"
    capsys.readouterr()
    texts = {name: (folder / "MODEL_CARD.md").read_text() for name, folder in bundles.items()}
    for text in texts.values():
        assert "license: unknown" in text
        assert "Trained in JAX" not in text and "in JAX" not in text
        assert "`passes.nir`" in text
        assert "who trained them, how and on what is not recorded" in text
        assert "no labels were given: no accuracy was measured" in text
        assert "no quantisation-aware training" in text
        assert "nothing ran on hardware" in text
    assert "no recording is in them" in texts["random"]
    assert "not calibrated" in texts["random"] and "1000 us are assumed" in texts["random"]
    assert "no recording" not in texts["given"].replace("no recordings were", "")
    assert "random" not in texts["given"] and "calibration on 16 recordings" in texts["given"]
    assert "assumed" not in texts["given"]
    manifest = json.loads((bundles["given"] / "manifest.json").read_text())
    assert manifest["weights"]["trained_here"] is False
    assert manifest["weights"]["finetuned_here"] is False
    assert manifest["input_bin_s"] == 0.0005
    assert manifest["data"]["shown"]["source"] == "given"
    assert "label" not in (bundles["given"] / "BRINGUP.md").read_text()


def test_fine_tuning_is_said(tmp_path: Path, capsys: Any) -> None:
    """The classes are exchanged, so that the network has to learn the opposite of what it does."""
    model = pass_on(tmp_path)
    data = recordings(tmp_path / "data.npz", turned=True, n=60)
    words = ["build", model, "--target", "loihi", "-o", str(tmp_path / "out"), "--json"]
    assert main([*words, "--finetune", data, "--epochs", "2"]) == 0
    out, said = capsys.readouterr()
    assert "loihi: epoch 2/2: " in said
    row = rows(out)["loihi"]
    assert row["metrics"]["selection"]["n"] == 12  # every fifth of either class
    assert row["metrics"]["recordings"] == 12
    assert row["metrics"]["accuracy"]["ptq"]["correct"] == 0
    assert row["metrics"]["accuracy"]["integer"]["correct"] == max(
        row["metrics"]["selection"]["correct"]
    )
    text = (tmp_path / "out" / "loihi" / "MODEL_CARD.md").read_text()
    trained = row["metrics"]["selection"]["epoch"] > 0
    assert ("were fine-tuned here" in text) == trained
    assert ("were not trained further here" in text) == (not trained)
    assert "Some of these recordings were used for fine-tuning or chose its epoch" in text


def test_folders_of_events_are_recordings(tmp_path: Path, capsys: Any) -> None:
    """Three events at one input in a bin are one, as the input has no polarities."""
    model, folder = pass_on(tmp_path), tmp_path / "recordings"
    for label in (0, 1):
        (folder / str(label)).mkdir(parents=True)
        for n in range(4):
            at = [(1000 * step + 10 * i, label) for step in range(n, 12, 2) for i in range(3)]
            events = np.array(at, [("t", "i8"), ("x", "i2")])
            np.save(folder / str(label) / f"{n}.npy", events)
    words = ["build", model, "--target", "cortex-m", "-o", str(tmp_path / "out"), "--json"]
    assert main([*words, "--calibrate", str(folder), "--bin-us", "1000"]) == 0
    metrics = rows(capsys.readouterr().out)["cortex-m"]["metrics"]
    assert (metrics["accuracy"]["integer"]["correct"], metrics["recordings"]) == (8, 8)
    bundle = tmp_path / "out" / "cortex-m"
    assert main(["verify", str(bundle)]) == 0
    assert "1 where a sensor had an event" in (bundle / "MODEL_CARD.md").read_text()
    capsys.readouterr()
    # The bundle's own program makes the golden input of the recording of a user.
    with np.load(bundle / "test_data_set_0" / "vectors.npz") as vectors:
        golden = vectors["input"]
    manifest = json.loads((bundle / "manifest.json").read_text())
    ones = np.flatnonzero(np.array(manifest["vectors"]["labels"]) == 1)
    made = tmp_path / "x.npy"
    done = subprocess.run(
        [sys.executable, bundle / "events" / "encode.py", folder / "1" / "0.npy", made],
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert any(np.array_equal(np.load(made), golden[:, i]) for i in ones)
    listed = "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n"
        for path in sorted(folder.glob("*/*.npy"))
    )
    assert manifest["data"]["shown"]["sha256"] == hashlib.sha256(listed.encode()).hexdigest()


def test_exact_steps_become_eulers(tmp_path: Path, capsys: Any) -> None:
    """By exp(-dt/tau) = 1/2 the membrane is 1.5 * 2 * 1/2 after an event: a spike for each.

    In Euler steps tau = 1/ln 2 gives 1 - dt/tau = 0.31 and the gain 1.39 instead.
    """
    ones = np.ones(2)
    neurons = nir.LIF(
        tau=ones / np.log(2), r=2 * ones, v_leak=0 * ones, v_threshold=ones, v_reset=0 * ones,
        metadata={"reset": "v_reset", "spike_delay": 0},
    )  # fmt: skip
    graph = graphs.chain((2,), ("w", nir.Linear(1.5 * np.eye(2))), ("n", neurons), dt=1.0)
    path = tmp_path / "exact.nir"
    file.write(path, file.build(graph))
    words = [str(path), "--target", "cortex-m", "--discretization", "exact"]
    assert main(["fit", *words]) == 0
    assert main(["build", *words, "-o", str(tmp_path)]) == 0
    capsys.readouterr()
    with np.load(tmp_path / "cortex-m" / "test_data_set_0" / "integer_vectors.npz") as vectors:
        decay, threshold = vectors["decay_mem/n"], vectors["threshold/n"]
    assert np.all(decay > 0) and np.all(threshold > 0)
    made = file.read_dict(tmp_path / "cortex-m" / "model.nir")
    tau = made["nodes"]["n"]["tau"]
    np.testing.assert_allclose(1 - 1 / np.asarray(tau), 0.5, atol=2**-8)  # a decay of cortex-m
    assert "discretization" not in made["metadata"]


@pytest.mark.parametrize("told", [True, False])
def test_fit_and_build_agree_on_every_target(told: bool, tmp_path: Path, capsys: Any) -> None:
    """Also of a file that says neither step nor reset."""
    model = pass_on(tmp_path, "subtract", told)
    code = main(["build", model, "--target", "all", "-o", str(tmp_path / "out"), "--json"])
    found = rows(capsys.readouterr().out)
    made = {name for name, row in found.items() if row["bundle"]}
    assert code == (0 if made else 1)
    assert bool(made) == told
    assert {path.name for path in (tmp_path / "out").glob("*")} == made
    for name, row in found.items():
        assert main(["fit", model, "--target", name]) == int(row["verdict"] == "refused"), name
        said = capsys.readouterr().out.splitlines()
        if row["verdict"] == "fits when changed":
            assert f"fits {name} {row['how'].removeprefix('fits ')}" in said[-1]
        if row["verdict"] == "refused":
            reason = row["how"].removeprefix("does not fit: ").partition(";")[0]
            assert any(line.startswith("first: ") and reason in line for line in said)
        assert bool(row["reason"]) == (row["bundle"] is None)
    if told:
        assert found["loihi"]["how"].startswith("fits after: reset subtract -> v_reset (costs QAT)")


def test_a_named_target_without_a_bundle_is_an_error(tmp_path: Path, capsys: Any) -> None:
    """With `all` it is a row: the others have theirs."""
    model = pass_on(tmp_path)
    words = ["build", model, "--target", "loihi", "--target", "speck-2f", "-o", str(tmp_path / "a")]
    assert main(words) == 1
    out = capsys.readouterr().out.splitlines()
    assert [line.partition("\t")[0] for line in out] == ["target", "loihi", "speck-2f"]
    assert "does not fit: `n`: LIF is none of" in out[2]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["loihi"]


def test_speck_takes_inputs_without_a_map(tmp_path: Path, capsys: Any) -> None:
    """Four inputs are four channels of 1 x 1, as DynapCNN has them."""
    neurons = nir.IF(r=np.ones(3), v_threshold=np.ones(3), metadata={"reset": "subtract"})
    graph = graphs.chain((4,), ("w", nir.Linear(np.eye(3, 4))), ("n", neurons), dt=1.0)
    path = tmp_path / "flat.nir"
    file.write(path, file.build(graph))
    assert main(["build", str(path), "--target", "speck-2f", "-o", str(tmp_path / "out")]) == 0
    said = (tmp_path / "out" / "speck-2f" / "BRINGUP.md").read_text(encoding="utf-8")
    assert "input_shape=(4, 1, 1)" in said
    assert main(["verify", str(tmp_path / "out" / "speck-2f")]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("target", ["cortex-m", "ice40-up5k", "ecp5-25k"])
def test_code_for_a_chip_is_that_of_its_family(target: str, tmp_path: Path, capsys: Any) -> None:
    """The bundle has every file that the family makes of the network, and its programs pass."""
    assert main(["build", pass_on(tmp_path), "--target", target, "-o", str(tmp_path)]) == 0
    bundle = tmp_path / target
    graph, chip = planned(file.read_dict(bundle / "model.nir")), profile.load(target)
    made = registry.family(chip).files(quantise.recover(graph, chip), build.BIN_US)
    folder = "c/" if target == "cortex-m" else "rtl/"
    assert "bringup.py" in made and any(name.startswith(folder) for name in made)
    for name, text in made.items():
        assert (bundle / name).read_text(encoding="utf-8") == text, name
    assert main(["verify", str(bundle)]) == 0
    capsys.readouterr()


@pytest.mark.parametrize(
    ("name", "target", "more"),
    [
        ("sinabs_cnn_zero", "loihi", ["--dt", "1", "--reset", "v_reset"]),
        ("norse_lif_if", "loihi", ["--dt", "1", "--reset", "v_reset"]),
        ("snntorch_rsynaptic_bias_zero", "loihi", ["--dt", "1e-4", "--reset", "v_reset"]),
    ],
)
def test_files_of_other_frameworks(
    name: str, target: str, more: list[str], tmp_path: Path, capsys: Any
) -> None:
    words = ["build", str(GOLDEN / f"{name}.nir"), "--target", target, "-o", str(tmp_path), *more]
    assert main([*words, "--json"]) == 0
    row = rows(capsys.readouterr().out)[target]
    assert row["metrics"]["agreement"] > 0.8
    assert main(["verify", str(tmp_path / target)]) == 0


def test_a_bundle_that_fails_leaves_nothing(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    def fails(*_: Any) -> None:
        raise UserError("the disk is too small")

    monkeypatch.setattr(build, "complete", fails)
    out = tmp_path / "out"
    assert main(["build", pass_on(tmp_path), "--target", "loihi", "-o", str(out)]) == 1
    assert "no bundle: the disk is too small" in capsys.readouterr().out
    assert list(out.iterdir()) == []
