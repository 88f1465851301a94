"""Our integer rules against what XyloSim and Lava did; see golden/SOURCE.md."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from bench.vendors import compare
from spyx_nir.errors import exit_status

GOLDEN = Path(__file__).parent / "golden"


def cases(vendor: str) -> dict[str, dict[str, np.ndarray]]:
    with np.load(GOLDEN / f"{vendor}.npz", allow_pickle=False) as loaded:
        return compare.nested({key: loaded[key] for key in loaded.files})


@pytest.mark.parametrize("vendor", list(compare.PROGRAMS))
def test_every_spike_and_every_state_is_the_vendors(vendor: str) -> None:
    found = cases(vendor)
    assert len(found) == 9
    saturated = several = spikes = 0
    for name, case in found.items():
        run = compare.ours(vendor, case)
        assert set(compare.differing(run, case).values()) == {0}, name
        assert set(case) >= set(compare.RESULTS)
        saturated += sum(run.saturated.values())
        several += sum(run.multiple.values())
        spikes += sum(int(counts.sum()) for counts in run.spikes.values())
    # The cases are no easy ones.
    assert saturated > 50 and spikes > 500
    assert (several > 1000) == (vendor == "xylosim")


def test_a_wrong_rule_would_be_seen() -> None:
    """One decay that is one shift longer changes spikes."""
    case = cases("xylosim")["case00"]
    case["decay_mem"] = case["decay_mem"] + 1
    assert compare.differing(compare.ours("xylosim", case), case)["hidden"] > 0


def test_samples_do_not_see_each_other() -> None:
    for vendor in compare.PROGRAMS:
        case = cases(vendor)["case02"]
        alone = {**case, "input": case["input"][1:]}
        both = compare.ours(vendor, case).spikes["hidden"][:, 1:]
        assert (compare.ours(vendor, alone).spikes["hidden"] == both).all()


def test_a_missing_bundle_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(compare, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["compare", "--python", sys.executable, "--vendor", "sanafe"])
    assert exit_status(compare.main) == 1
    assert "braille: not compared, " in capsys.readouterr().out


def test_without_the_environment_the_comparison_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["compare", "--python", "nowhere/python"])
    assert exit_status(compare.main) == 1
    assert "nowhere/python: no such file; run make vendors-setup" in capsys.readouterr().err
