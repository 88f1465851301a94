"""`spyx-nir build`: from any graph to a chip's bundle, without a task."""

from __future__ import annotations

import json
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
    assert [line.partition("\t")[0] for line in out] == ["loihi", "speck-2f"]
    assert "does not fit: `n`: LIF is none of" in out[1]
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["loihi"]


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
