"""The same bytes on other processors: natively and under processors that QEMU emulates.

QEMU 7.2 emulates AVX2 and no AVX-512, and its processors report caches of their own sizes.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from end_to_end import ROOT

QEMU = shutil.which("qemu-x86_64")
PROCESSORS = ("Haswell", "EPYC")
TARGETS = [
    (task, chip)
    for task, block in yaml.safe_load((ROOT / "params.yaml").read_text())["tasks"].items()
    for chip in ("", *block["targets"])
]

pytestmark = [
    pytest.mark.full,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(
        QEMU is None or platform.machine() != "x86_64",
        reason="no qemu-x86_64 (package qemu-user) on an x86-64 machine",
    ),
]


def run(program: str, *arguments: str, processor: str = "") -> list[str]:
    """The lines that a program of tests/ prints, natively or on an emulated processor."""
    before = [str(QEMU), "-cpu", processor] if processor else []
    command = [*before, sys.executable, str(ROOT / "tests" / program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize(("task", "chip"), TARGETS)
def test_a_training_step_has_the_same_bits(task: str, chip: str) -> None:
    """Every product, convolution and gradient of the network in its real shape."""
    native = run("steps_by_processor.py", task, chip)
    assert len(native) > 8
    assert all(float(line.split()[-1]) > 0 for line in native)  # zeros would prove nothing
    for processor in PROCESSORS:
        assert run("steps_by_processor.py", task, chip, processor=processor) == native, processor


@pytest.mark.parametrize(
    ("task", "chip", "processor"),
    [("braille", "xylo-audio-2", "EPYC"), ("nmnist", "speck-2f", "Haswell")],
)
def test_a_small_run_writes_the_same_files(
    task: str, chip: str, processor: str, tmp_path: Path
) -> None:
    """All stages, from simulated recordings to the bundle of a chip."""
    found = []
    for name, emulated in (("native", ""), ("emulated", processor)):
        folder = tmp_path / name
        folder.mkdir()
        run("small_run.py", task, str(folder), chip, processor=emulated)
        found.append(digests(folder))
    native, other = found
    assert {path for path in native if native[path] != other.get(path)} == set()
    assert set(native) == set(other)
    assert any("integer_vectors.npz" in path for path in native)


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of all outputs of stages; how long a training took is none."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for top in ("data", "models", "metrics")
        for path in sorted((folder / top).rglob("*"))
        if path.is_file() and path.name != "timing.json"
    }
