"""The notebooks are stored without outputs and run from top to bottom."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURES = 4  # at least so many are drawn
CHECK = f"\nassert len(plt.get_fignums()) >= {FIGURES}, plt.get_fignums()\n"


def cells(path: Path) -> list[dict]:
    """The code cells of a notebook."""
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["nbformat"] == 4
    return [cell for cell in content["cells"] if cell["cell_type"] == "code"]


def test_there_are_three_and_the_index_has_them() -> None:
    names = [path.name for path in NOTEBOOKS]
    assert names == ["braille.ipynb", "nir-conversion.ipynb", "nmnist.ipynb"]
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    assert [name for name in names if f"]({name})" not in index] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_is_stored_without_outputs(path: Path) -> None:
    found = cells(path)
    assert found
    assert [c["id"] for c in found if c["outputs"] or c["execution_count"] is not None] == []


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_it_runs(path: Path, tmp_path: Path) -> None:
    script = tmp_path / "notebook.py"
    script.write_text("\n\n".join("".join(cell["source"]) for cell in cells(path)) + CHECK)
    done = subprocess.run(
        [sys.executable, script],
        cwd=tmp_path,
        env={**os.environ, "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
