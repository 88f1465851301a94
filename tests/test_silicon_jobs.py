"""`make silicon`: what it runs, two at a time, and what it says of what is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.silicon import __main__ as silicon
from bench.silicon import cortex_m, fpga
from spyx_nir.errors import UserError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for module in (cortex_m, fpga):
        monkeypatch.setattr(module, "ROOT", tmp_path)
        monkeypatch.setattr(module, "missing", list)
    return tmp_path


def test_every_bundle_has_a_process(root: Path) -> None:
    """Without a bundle for an FPGA, that of cortex-m is simulated."""
    for name in ("braille/deploy/cortex-m", "nmnist/deploy/cortex-m", "nmnist/deploy/ecp5-25k"):
        (root / "models" / name).mkdir(parents=True)
    assert silicon.jobs() == [
        ["bench.silicon.fpga", "--only", "nmnist-ecp5-25k"],
        ["bench.silicon.cortex_m", "--only", "nmnist"],
        ["bench.silicon.cortex_m", "--only", "braille"],
        ["bench.silicon.fpga", "--only", "braille-ice40-up5k"],
        ["bench.silicon.fpga", "--only", "braille-ecp5-25k"],
    ]


def test_no_bundle(root: Path) -> None:
    with pytest.raises(UserError, match="run make repro"):
        silicon.jobs()


def test_all_that_is_missing_is_said_at_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cortex_m, "missing", lambda: ["qemu-system-arm"])
    monkeypatch.setattr(
        fpga, "missing", lambda: ["verilator: not installed; apt-get install verilator"]
    )
    with pytest.raises(UserError) as error:
        silicon.jobs()
    assert str(error.value) == (
        "qemu-system-arm: not installed; apt-get install qemu-system-arm; "
        "verilator: not installed; apt-get install verilator"
    )
