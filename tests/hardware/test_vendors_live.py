"""`make vendors` in small: the vendors' programs themselves, where their environment is set up."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xylo_bundles
from bringup_code import code_of

from bench.vendors import compare, xylo_networks
from pipeline import params, tasks
from spyx_nir.bundle import bringup
from spyx_nir.hardware import profile, registry, simulate
from spyx_nir.hardware.network import IntegerNetwork


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


# A board on which XyloSim runs the configuration that rockpool's own code made for samna.
ON_A_BOARD = """
import importlib
import sys
import warnings

sys.path.insert(0, {tests!r})
import stand_in_samna

warnings.simplefilter("ignore")
stand_in_samna.install()
package = importlib.import_module("rockpool.devices.xylo.{device}")


class XyloSamna:
    def __init__(self, board, config, dt, output_mode):
        self.options = {{"dt": dt, "output_mode": output_mode}}
        self.config = config

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "config":
            self.simulator = package.XyloSim.from_config(value, **self.options)

    def reset_state(self):
        self.simulator.reset_state()

    def __call__(self, x, record=False):
        return self.simulator(x, record=record)


package.XyloSamna = XyloSamna
"""


def large(target: str) -> IntegerNetwork:
    """More hidden neurons than inputs and outputs reach, so that some change their places."""
    random = np.random.default_rng(11)
    network, _ = next(
        drawn
        for drawn in (xylo_networks.draw(9, random) for _ in range(20))
        if not drawn[0].populations[-1].membrane
    )
    return replace(network, profile=profile.load(target))


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize("form", ["plain", "biased", "membrane", "large"])
@pytest.mark.parametrize("target", ["xylo-audio-2", "xylo-audio-3", "xylo-imu"])
def test_rockpool_configures_a_board_by_the_code_in_bringup(
    target: str, form: str, tmp_path: Path
) -> None:
    """Hidden populations with a skip, biases, membranes; samna is a stand-in, rockpool is not."""
    network = (
        large(target)
        if form == "large"
        else xylo_bundles.network(target, biased=form != "plain", membrane=form == "membrane")
    )
    bundle = tmp_path / "bundle"
    code = code_of(xylo_bundles.write(bundle, network)).replace("board = False", "board = True")
    device = network.profile["graph.device"]
    start = ON_A_BOARD.format(device=device, tests=str(Path(__file__).parent))
    script = tmp_path / "bringup.py"
    script.write_text(start + code)
    command = [str(compare.PYTHON), str(script)]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    *lines, classes = done.stdout.splitlines()
    assert classes.startswith("classes: ")
    assert len(lines) > 15 and all(line.endswith(": 0 differ") for line in lines), done.stdout
