"""Bundles of the family `integer`, as far as its programs need them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import graphs
import numpy as np

from spyx_nir.bundle import integers
from spyx_nir.hardware import profile, quantise
from spyx_nir.hardware.families.integer import FAMILY, verify_c
from spyx_nir.hardware.network import IntegerNetwork

CHIP = profile.load("cortex-m")


def written(folder: Path, network: IntegerNetwork, x: np.ndarray) -> Path:
    """A bundle's C, its programs and its integer vectors; x: (T, N, *shape) counts."""
    (folder / "test_data_set_0").mkdir(parents=True, exist_ok=True)
    for name, text in FAMILY.files(network, 1000).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "verify_integers.py").write_text(integers.source(CHIP), encoding="utf-8")
    integers.write(folder / verify_c.VECTORS, network, x)
    return folder


def recurrent_network() -> IntegerNetwork:
    """5 inputs, 9 neurons that feed themselves, 3 at the output."""
    random = np.random.default_rng(1)
    graph = graphs.recurrent(
        random.normal(size=(9, 5)), random.normal(size=(9, 9)), random.normal(size=(3, 9)),
        graphs.cuba(9, 0.5, 0.9), graphs.cuba(3, 0.5, 0.8),
    )  # fmt: skip
    return quantise.quantise(graph, CHIP)


def recurrent(folder: Path) -> Path:
    """The bundle of `recurrent_network`: 40 steps, 3 recordings."""
    x = np.random.default_rng(2).integers(0, 2, (40, 3, 5))
    return written(folder, recurrent_network(), x)


def bring_up(folder: Path, port: str, *options: str) -> subprocess.CompletedProcess[str]:
    """bringup.py of a bundle."""
    command = [sys.executable, str(folder / "bringup.py"), port, *options]
    return subprocess.run(command, capture_output=True, text=True)
