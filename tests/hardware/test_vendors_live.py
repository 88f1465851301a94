"""`make vendors` in small: the vendors' programs themselves, where their environment is set up."""

from __future__ import annotations

import sys

import pytest

from bench.vendors import compare


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize("vendor", compare.VENDORS)
def test_no_spike_and_no_state_differs(
    vendor: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--vendor", vendor, "--cases", "3", "--samples", "3", "--seed", "2"]
    monkeypatch.setattr(sys, "argv", ["compare", *options])
    assert compare.main() == 0, capsys.readouterr().out
    assert capsys.readouterr().out


def test_without_the_environment_the_comparison_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "--python", "nowhere/python"])
    assert compare.main() == 1
    assert "run make vendors-setup" in capsys.readouterr().err
