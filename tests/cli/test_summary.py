"""`summary`: what it reads from bundles, hand-made ones whose numbers are known, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from terminal import shown

from spyx_nir.cli.main import main

Printed = pytest.CaptureFixture[str]


def accuracy(correct: int, n: int, low: float, high: float) -> dict[str, Any]:
    """An entry as bundles have it; its bounds are the test's, to show that they are read."""
    return {"accuracy": correct / n, "correct": correct, "n": n, "wilson95": [low, high]}


FLOAT = accuracy(49, 50, 0.91, 0.99)


def generic(**more: Any) -> dict[str, Any]:
    """manifest.json of a task's bundle for no chip."""
    spikes = {"reimported": 3, "reference": 1200, "entries": 40000}
    return {
        "task": "letters",
        "metrics": {
            "test_accuracy": {"trained": FLOAT, "reimported": accuracy(48, 50, 0.84, 0.96)}
        },
        "parity": {"verdict": "pass", "differing_spikes": spikes},
        **more,
    }


def chip(name: str = "abacus", correct: int = 45) -> dict[str, Any]:
    """manifest.json of a task's bundle for a chip; the generic accuracy in it is not the chip's."""
    found = {"float": FLOAT, "integer": accuracy(correct, 50, 0.75, 0.95)}
    return generic(target={"name": name, "accuracy": found})


def row(resource: str, used: int, limit: int | None) -> dict[str, Any]:
    return {"resource": resource, "used": used, "limit": limit, "source": "this test"}


def fit(*rows: dict[str, Any], verdict: str = "fits", cores: Any = ()) -> dict[str, Any]:
    return {"verdict": verdict, "utilisation": list(rows), "cores": list(cores)}


def put(folder: Path, manifest: Any, fitted: Any = None) -> Path:
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    if fitted is not None:
        (folder / "fit.json").write_text(json.dumps(fitted))
    return folder


def lines(capsys: Printed, *arguments: str | Path) -> list[list[str]]:
    """The cells of every line below the headings."""
    assert main(["summary", *map(str, arguments)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    head, *rows = [line.split("\t") for line in captured.out.splitlines()]
    assert head[:7] == [
        "task", "target", "accuracy (95 %)", "lost", "parity", "fits", "tightest limit"
    ]  # fmt: skip
    assert head[7:] == (["check"] if "--verify" in arguments else [])
    return rows


def test_the_bundles_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    deploy = tmp_path / "models" / "letters" / "deploy"
    put(deploy / "generic", generic())
    put(deploy / "abacus", chip(), fit(row("neurons", 3, 8), row("inputs", 7, None)))
    (deploy / ".abacus-half").mkdir()  # of a `build` that was killed
    (deploy / ".abacus-half" / "manifest.json").write_text("{")
    monkeypatch.chdir(tmp_path)
    # 90 % is 8 points below the 98 % of the float network, 96 % is 2
    abacus = ["letters", "abacus", "90.0 (75.0-95.0)", "8.0", "1,200", "yes", "neurons 38 %"]
    without = ["letters", "generic", "96.0 (84.0-96.0)", "2.0", "1,200", "-", "-"]
    assert lines(capsys) == [abacus, without]
    assert lines(capsys, tmp_path) == [abacus, without]
    assert lines(capsys, deploy) == [abacus, without]
    assert lines(capsys, deploy / "generic", deploy / "abacus") == [without, abacus]


@pytest.mark.parametrize(
    ("fitted", "fits", "tightest"),
    [
        (fit(), "yes", "-"),
        (fit(row("neurons", 3, None)), "yes", "-"),
        (fit(row("neurons", 5, 10), row("fan-in", 9, 10)), "yes", "fan-in 90 %"),
        (fit(row("neurons", 1, 201)), "yes", "neurons < 1 %"),
        (fit(row("multipliers", 0, 8)), "yes", "multipliers 0 %"),
        (fit(row("multipliers", 0, 0)), "yes", "-"),
        (fit(row("neurons", 1, 2), verdict="fits when changed"), "changed", "neurons 50 %"),
        (fit(row("neurons", 3, 2), verdict="refused"), "no", "neurons 150 %"),
        # the small board does not take it, the large one does
        (fit(row("Small: RAM", 3, 2), row("Small: flash", 9, 10), row("Large: RAM", 3, 4)),
         "yes", "RAM 75 %"),
        (fit(cores=[{"core": 0, "kernel": 5, "kernel_memory": 10, "neuron": 2, "neuron_memory": 10},
                    {"core": 1, "kernel": 1, "kernel_memory": 10, "neuron": 8, "neuron_memory": 10}]),
         "yes", "neuron memory 80 %"),
    ],
)  # fmt: skip
def test_the_tightest_limit(
    fitted: Any, fits: str, tightest: str, tmp_path: Path, capsys: Printed
) -> None:
    put(tmp_path / "b", chip(), fitted)
    assert lines(capsys, tmp_path / "b")[0][-2:] == [fits, tightest]


@pytest.mark.parametrize(
    ("correct", "n", "shown", "lost"),
    [
        (50, 50, "100 (75.0-100)", "-2.0"),
        (4999, 5000, "100.0 (75.0-100)", "-2.0"),  # 99.98 %: rounded, and not all are right
        (49, 50, "98.0 (75.0-100)", "0.0"),
        (4901, 5000, "98.0 (75.0-100)", "0.0"),  # -0.02 points
    ],
)
def test_percentages(
    correct: int, n: int, shown: str, lost: str, tmp_path: Path, capsys: Printed
) -> None:
    manifest = chip()
    manifest["target"]["accuracy"]["integer"] = accuracy(correct, n, 0.75, 1.0)
    put(tmp_path / "b", manifest, fit())
    assert lines(capsys, tmp_path / "b")[0][2:4] == [shown, lost]


def test_a_bundle_of_build_without_labels(tmp_path: Path, capsys: Printed) -> None:
    """It has no task, no parity and no accuracy, and says so."""
    manifest = {"name": "mine", "target": {"name": "loihi", "accuracy": {}}}
    put(tmp_path / "out" / "loihi", manifest, fit(row("neurons", 1, 2)))
    assert lines(capsys, tmp_path / "out") == [
        ["mine", "loihi", "-", "-", "-", "yes", "neurons 50 %"]
    ]


def test_a_verdict_that_is_no_pass_is_shown(tmp_path: Path, capsys: Printed) -> None:
    spikes = {"reimported": 70, "reference": 5, "entries": 100}
    put(tmp_path / "b", generic(parity={"verdict": "fail", "differing_spikes": spikes}))
    assert lines(capsys, tmp_path / "b")[0][4] == "70 fail"


def test_json(tmp_path: Path, capsys: Printed) -> None:
    bundle = put(tmp_path / "b", chip(), fit(row("Small: RAM", 1, 4)))
    assert main(["summary", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "bundles": [
            {
                "bundle": str(bundle),
                "task": "letters",
                "target": "abacus",
                "accuracy": accuracy(45, 50, 0.75, 0.95),
                "lost_points": 8.0,
                "parity": {
                    "verdict": "pass", "reimported": 3, "reference": 1200, "entries": 40000
                },
                "fits": "fits",
                "tightest": {"resource": "Small: RAM", "used": 1, "limit": 4, "share": 0.25},
            }
        ]
    }  # fmt: skip


def without(entry: str) -> dict[str, Any]:
    made = chip()
    del made[entry]
    return made


@pytest.mark.parametrize(
    ("manifest", "fitted", "message"),
    [
        (["a list"], fit(), "manifest.json: holds no JSON object; make the bundle again"),
        (without("task"), fit(), "manifest.json: `name` must be a text, got null"),
        (chip() | {"target": 7}, fit(), "manifest.json: `target.name` must be a text, got null"),
        (chip(name=7), fit(), "manifest.json: `target.name` must be a text, got 7"),
        (chip() | {"parity": {"differing_spikes": {"reimported": True}}}, fit(),
         "manifest.json: `parity.differing_spikes.reimported` must be a number, got true"),
        (chip() | {"target": {"name": "x", "accuracy": {"integer": FLOAT}}}, fit(),
         "manifest.json: `target.accuracy.float.accuracy` must be a number, got null"),
        (chip() | {"target": {"name": "x", "accuracy": {"integer": {"wilson95": [0, "1"]}}}}, fit(),
         "manifest.json: `target.accuracy.integer.wilson95` must be two numbers, got [0, '1']"),
        (chip(), None, "fit.json: is not there, and its bundle needs it"),
        (chip(), [], "fit.json: holds no JSON object; make the bundle again"),
        (chip(), {"verdict": "fits"}, "fit.json: `utilisation` must be a list, got null"),
        (chip(), fit(row("neurons", None, 4)),  # type: ignore[arg-type]
         "fit.json: `used` must be a number, got null"),
    ],
)  # fmt: skip
def test_a_broken_bundle_is_one_line(
    manifest: Any, fitted: Any, message: str, tmp_path: Path, capsys: Printed
) -> None:
    put(tmp_path / "a", chip(), fit())
    put(tmp_path / "b", manifest, fitted)
    assert main(["summary", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"error: {tmp_path / 'b'}/{message}\n")


def test_no_bundle_is_one_line(tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "empty").mkdir()
    for name, what in (("empty", "holds no bundle"), ("none", "no such folder")):
        assert main(["summary", str(tmp_path / name)]) == 1
        captured = capsys.readouterr()
        assert captured.out == ""
        told = f"{what}; a bundle is a folder that holds manifest.json"
        assert captured.err == f"error: {tmp_path / name}: {told}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "Expecting value: line 1 column 1 (char 0)"),
        ('{"name": ', "Expecting value: line 1 column 10 (char 9)"),
        ("[" * 100_000, "nested too deep"),
        (
            '{"name": 1' + "0" * 1000 + "}",
            "holds the number 1" + "0" * 19 + ", which float64 has not",
        ),
        (None, "larger than 16777216 bytes"),
    ],
)
def test_a_damaged_manifest_is_one_line(
    content: str | None, said: str, tmp_path: Path, capsys: Printed
) -> None:
    """None: zeros without end, which take no space on the disk."""
    bundle = put(tmp_path / "b", chip(), fit())
    path = bundle / "manifest.json"
    if content is None:
        os.truncate(path, 2**40)
    else:
        path.write_text(content)
    assert main(["summary", str(bundle)]) == 1
    assert capsys.readouterr().err == f"error: {path}: {said}; make the bundle again\n"


def test_verify_checks_and_the_default_does_not(
    tiny_run: Callable[[str, str], Path], tmp_path: Path, capsys: Printed
) -> None:
    made = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
    good, bad = tmp_path / "a", tmp_path / "b"
    shutil.copytree(made, good)
    shutil.copytree(made, bad)
    (bad / "MODEL_CARD.md").write_text("another network\n")
    capsys.readouterr()  # what making it said, where this test is the first to ask for it
    recorded = lines(capsys, tmp_path)
    assert recorded[0] == recorded[1] and recorded[0][:2] == ["braille", "generic"]
    assert lines(capsys, good, "--verify") == [[*recorded[0], "pass"]]
    assert main(["summary", str(tmp_path), "--verify"]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"differs: {bad}: MODEL_CARD.md: SHA-256 ")
    assert captured.out.splitlines()[2] == "\t".join([*recorded[1], "FAIL"])
    (good / "model.nir").write_bytes(b"no HDF5")
    assert main(["summary", str(good), "--verify", "--json"]) == 1
    captured = capsys.readouterr()
    (found,) = json.loads(captured.out)["bundles"]
    (problem,) = found["problems"]
    assert problem.startswith(f"{good}/model.nir: ") and problem in captured.err


def test_on_a_terminal_it_fits_80_columns(tmp_path: Path) -> None:
    """The longest names and numbers that a task of this project has, a line a bundle, not folded."""
    manifest = chip("xylo-audio-2")
    manifest["task"] = "braille"
    core = {"core": 0, "kernel": 10, "kernel_memory": 10}
    put(tmp_path / "a" / "b", manifest, fit(cores=[core]))
    words = ["-m", "spyx_nir", "summary", str(tmp_path / "a")]
    head, only = shown(words, columns=80, kind="dumb").splitlines()
    assert max(len(head), len(only)) <= 80
    names = "task target accuracy (95 %) lost parity fits tightest limit"
    assert " ".join(head.split()) == names
    cells = "braille xylo-audio-2 90.0 (75.0-95.0) 8.0 1,200 yes kernel memory 100 %"
    assert " ".join(only.split()) == cells
