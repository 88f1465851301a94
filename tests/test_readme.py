"""What the README shows must run as it is written."""

from __future__ import annotations

import json
import re

import nir
from roads import ROOT


def test_the_export_example_runs_and_fits_in_ten_lines(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len([line for line in example.splitlines() if line.strip()]) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "README.md", "exec"), {})
    graph = nir.read(tmp_path / "my_model.nir")
    assert [type(graph.nodes[n]).__name__ for n in sorted(graph.nodes)] == [
        "Input", "LI", "LIF", "Linear", "Linear", "Output",
    ]  # fmt: skip


def test_files_and_targets_that_the_documents_name_exist():
    tree = re.findall(r"`(pipeline/[\w/]+\.?\w*)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert tree
    assert [name for name in tree if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:`|^    )make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    assert {"deploy-artifacts", "test"} <= set(named)
    assert set(named) <= targets


def test_the_results_are_those_of_the_metrics():
    """The rows of the simulated test sets against the files that the stages wrote."""
    lines = (ROOT / "README.md").read_text().splitlines()
    rows = {
        cells[0]: cells[1:]
        for line in lines
        if line.startswith("|")
        for cells in [[cell.strip() for cell in line.strip("|").split("|")]]
    }
    for cell, task in zip(
        rows["test accuracy, simulated recordings"], ("braille", "nmnist"), strict=True
    ):
        found = json.loads((ROOT / "models" / task / "train.json").read_text())["accuracy"]["test"]
        low, high = (100 * bound for bound in found["wilson95"])
        right = f"({found['correct']} of {found['n']}; {low:.1f} to {high:.1f})".replace(
            "100.0", "100"
        )
        assert cell.endswith(right)
    for row, file in (
        ("braille, Xylo Audio 2", "braille-xylo-audio-2"), ("braille, Loihi 2", "braille-loihi"),
        ("nmnist, Speck 2f", "nmnist-speck-2f"), ("nmnist, Loihi 2", "nmnist-loihi"),
    ):  # fmt: skip
        found = json.loads((ROOT / "metrics" / f"{file}.json").read_text())["accuracy"]
        shown = [int(cell.split()[0]) for cell in rows[row]]
        assert shown == [found[key]["correct"] for key in ("float", "rounded_only", "integer")]
