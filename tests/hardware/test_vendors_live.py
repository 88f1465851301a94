"""`make vendors` in small: the vendors' programs themselves, where their environment is set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

from bench.vendors import compare
from pipeline import params, tasks
from spyx_nir.bundle import bringup
from spyx_nir.hardware import registry, simulate


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize("vendor", compare.VENDORS)
def test_no_spike_and_no_state_differs(
    vendor: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not (compare.ROOT / "models" / "nmnist" / "deploy" / "loihi" / "SHA256SUMS").exists():
        pytest.skip("no bundles: run make repro")
    options = ["--vendor", vendor, "--cases", "3", "--samples", "3", "--seed", "2"]
    monkeypatch.setattr(sys, "argv", ["compare", *options])
    assert compare.main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize(
    ("task", "target"),
    [("braille", "xylo-audio-2"), ("braille", "loihi"), ("nmnist", "loihi")],
)
def test_the_code_in_bringup_loads_the_shipped_integers(
    task: str, target: str, tmp_path: Path
) -> None:
    bundle = compare.ROOT / "models" / task / "deploy" / target
    if not (bundle / "SHA256SUMS").exists():
        pytest.skip(f"no {bundle.relative_to(compare.ROOT)}: run make repro")
    _, network, _ = compare.shipped(task, target, 1)
    with np.load(bundle / compare.VECTORS / compare.integers.NAME, allow_pickle=False) as loaded:
        x = loaded["input"].astype(np.int64)
    (source,) = network.inputs
    run = simulate.run(network, {source: x})
    settings = params.load(task, compare.ROOT / "params.yaml")
    zeros, data = np.zeros(x.shape[1], int), settings.data
    about = bringup.Samples(zeros, data.classes, tasks.channels(settings), data.bin_us)
    text = bringup.write(network, run, about)
    loading = text.split("## Load")[1].split("## Compare")[0].splitlines()
    code = textwrap.dedent("\n".join(x for x in loading if x.startswith("    ") or not x))
    # Lava's dataclasses need their shim on Python 3.11, which the text says.
    shim = "from pipeline.interop import quirks\nquirks.share_mutable_defaults()\n"
    # In a copy of the bundle: its lines save what they found beside it.
    folder = tmp_path / "bundle"
    shutil.copytree(bundle / "test_data_set_0", folder / "test_data_set_0")
    for name, content in registry.family(network.profile).files(network, data.bin_us).items():
        (folder / name).write_text(content)
    script = folder / "bringup.py"
    script.write_text((shim if target == "loihi" else "") + code)
    done = subprocess.run(
        [str(compare.PYTHON), str(script)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(compare.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line for line in done.stdout.splitlines() if line.endswith(" differ")]
    assert lines and all(": 0 " in line for line in lines), done.stdout
