"""What the README shows must run as it is written."""

from __future__ import annotations

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
