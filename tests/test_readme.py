"""What the README shows must run as it is written."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
import sys
import tomllib

import nir
import pytest
import yaml
from end_to_end import ROOT

from spyx_nir.cli.main import main

sys.path.insert(0, str(ROOT / "docs"))
import picture

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 120


def test_the_export_example_runs_and_fits_the_chip_in_ten_lines(tmp_path, monkeypatch, capsys):
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 10
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    graph = nir.read(tmp_path / "my_model.nir")
    assert [type(graph.nodes[n]).__name__ for n in sorted(graph.nodes)] == [
        "Input", "LIF", "LIF", "Linear", "Linear", "Output",
    ]  # fmt: skip
    (command,) = re.findall(r"^    spyx-nir (fit .+)$", README, re.MULTILINE)
    assert main(command.split()) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert f"ends in `{last}`" in README


def test_files_and_targets_that_the_documents_name_exist():
    pages = ["CONTRIBUTING.md", "docs/architecture.md", "docs/deploy.md", "docs/extend.md"]
    text = "".join((ROOT / page).read_text(encoding="utf-8") for page in pages)
    tree = re.findall(r"`((?:pipeline|spyx_nir|tests|bench)/[\w/]+(?:\.\w+)?/?)`", text)
    assert len(tree) > 5
    assert [name for name in tree if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", README, re.M)
    assert {"deploy-artifacts", "test"} <= set(named)
    assert set(named) <= targets


def rows(text: str) -> dict[str, list[str]]:
    """The cells of all tables, by the first cell of their row."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def measured(path: str, *keys: str):
    """A value of a file that a stage wrote."""
    found = json.loads((ROOT / path).read_text(encoding="utf-8"))
    for key in keys:
        found = found[key]
    return found


TASKS = ("braille", "nmnist")
KEYS = ("float", "ptq", "integer")


def test_the_results_are_those_of_the_metrics():
    """The README's rows of the simulated test sets against the files that the stages wrote."""
    table = rows(README)
    for place, task in enumerate(TASKS):
        found = measured(f"models/{task}/train.json", "accuracy", "test")
        shown = f"{100 * found['accuracy']:.1f} % ({found['correct']} of {found['n']})"
        cell = table["test accuracy, simulated recordings"][place]
        assert cell == shown.replace("100.0", "100")
        spikes = measured(f"models/{task}/parity.json", "differing_spikes")
        (differing,) = {spikes["reimported"], spikes["reference"]}
        cell = table["differing spikes: trained, re-imported, float64 reference"][place]
        assert cell == f"{differing} of {spikes['entries']:,}"
    chips = {row.partition(",")[0]: cells for row, cells in table.items() if "right answers" in row}
    for chip, file, place in (
        ("Xylo Audio 2", "braille-xylo-audio-2", 0), ("Loihi 2", "braille-loihi", 0),
        ("Cortex-M (C)", "braille-cortex-m", 0), ("Cortex-M (C)", "nmnist-cortex-m", 1),
        ("FPGAs (Verilog)", "braille-ice40-up5k", 0), ("FPGAs (Verilog)", "braille-ecp5-25k", 0),
        ("FPGAs (Verilog)", "nmnist-ecp5-25k", 1),
        ("Speck 2f", "nmnist-speck-2f", 1), ("Loihi 2", "nmnist-loihi", 1),
    ):  # fmt: skip
        found = measured(f"metrics/{file}.json", "accuracy")
        shown = ", ".join(str(found[key]["correct"]) for key in KEYS)
        cell = chips[chip][place]
        assert cell == f"{shown} of {found['float']['n']}"


def test_the_results_in_full_are_those_of_the_metrics():
    """The same for docs/accuracy.md."""
    table = rows((ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8"))
    for cell, task in zip(table["test accuracy, simulated recordings"], TASKS, strict=True):
        found = measured(f"models/{task}/train.json", "accuracy", "test")
        low, high = (100 * bound for bound in found["wilson95"])
        right = f"({found['correct']} of {found['n']}; {low:.1f} to {high:.1f})"
        assert cell.endswith(right.replace("100.0", "100"))
    for row, file in (
        ("braille, Xylo Audio 2", "braille-xylo-audio-2"), ("braille, Loihi 2", "braille-loihi"),
        ("braille, Cortex-M", "braille-cortex-m"), ("nmnist, Cortex-M", "nmnist-cortex-m"),
        ("braille, both FPGAs", "braille-ice40-up5k"), ("braille, both FPGAs", "braille-ecp5-25k"),
        ("nmnist, ECP5-25", "nmnist-ecp5-25k"),
        ("nmnist, Speck 2f, event by event", "nmnist-speck-2f"),
        ("nmnist, Loihi 2, with a leak of 1/4 a step", "nmnist-loihi"),
    ):  # fmt: skip
        found = measured(f"metrics/{file}.json", "accuracy")
        shown = [int(cell.split()[0]) for cell in simulated(row)]
        assert shown == [found[key]["correct"] for key in KEYS]


def simulated(name: str) -> list[str]:
    """A row of the table of chips on the simulated test sets; a later table has the same names."""
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8")
    return rows(page[: page.index("## Real recordings on chips")])[name]


def test_the_output_that_is_shown_counts_the_stages_of_the_lock():
    stages = yaml.safe_load((ROOT / "dvc.lock").read_text(encoding="utf-8"))["stages"]
    assert f"dvc.lock: {len(stages)} of {len(stages)} stages" in README


def test_the_rows_of_bundles_that_are_shown_are_those_of_the_metrics():
    """Where the bundles were built, the row is compared as a whole."""
    shown = re.findall(rf"^    ((?:{'|'.join(TASKS)}) .+)$", README, re.MULTILINE)
    assert len(shown) == 2
    for cells in (re.split(r" {2,}", line) for line in shown):
        task, target = cells[:2]
        found = measured(f"metrics/{task}-{target}.json", "accuracy")
        low, high = (100 * bound for bound in found["integer"]["wilson95"])
        share, before = (100 * found[key]["accuracy"] for key in ("integer", "float"))
        spikes = measured(f"models/{task}/parity.json", "differing_spikes")
        differing = max(spikes["reimported"], spikes["reference"])
        expected = [f"{share:.1f} ({low:.1f}-{high:.1f})", f"{before - share:.1f}", str(differing)]
        assert cells[2:5] == expected
        bundle = ROOT / "models" / task / "deploy" / target
        if bundle.exists():
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                assert main(["summary", str(bundle)]) == 0
            assert printed.getvalue().splitlines()[1:] == ["\t".join(cells)]


def test_the_picture_shows_the_committed_numbers():
    """`make picture` draws it; a picture of other numbers is not current."""
    from PIL import Image

    with Image.open(picture.PICTURE) as image:
        shown = json.loads(image.info["Source"])
    chips = {
        file: {k: [v[k]["correct"], v[k]["n"]] for k in KEYS}
        for file in sorted(path.stem for path in (ROOT / "metrics").glob("*-*.json"))
        if not file.endswith("-generic")
        for v in [measured(f"metrics/{file}.json", "accuracy")]
    }
    assert shown["chips"] == chips
    for task in TASKS:
        found = measured(f"models/{task}/parity.json", "differing_spikes")
        assert shown["spikes"][task] == [found[k] for k in ("reimported", "reference", "entries")]
    assert picture.PICTURE.stat().st_size < 200_000


def test_the_hooks_are_the_checks_of_make():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    (recipe,) = re.findall(r"^check: .*\n\t@(.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert " && ".join(h["entry"] for h in hooks) == recipe.replace("$(BIN)", ".venv/bin")


def test_the_project_files_are_read_by_their_programs():
    """Version and licence are those of the package; the workflow runs what is there."""
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    commands = [s["run"] for s in workflow["jobs"]["run"]["steps"] if "run" in s]
    assert commands == [".ci/run"] and os.access(ROOT / ".ci" / "run", os.X_OK)
    for path in (ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.md"):
        head = yaml.safe_load(path.read_text(encoding="utf-8").split("---")[1])
        assert {"name", "about"} <= set(head), path


def test_the_picture_is_drawn_from_bundles(tiny_run, tmp_path):
    shutil.copytree(ROOT / "metrics", tmp_path / "metrics")
    for task in TASKS:
        project = tiny_run(task, "v_reset")
        shutil.copytree(project / "models" / task, tmp_path / "models" / task)
    for name in ("first.png", "second.png"):
        picture.draw(tmp_path, tmp_path / name)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
    assert picture.tasks(tmp_path) == list(TASKS)
    with pytest.raises(SystemExit, match="no such bundle; run make deploy-artifacts"):
        picture.main(tmp_path / "models")
