"""The fuzz targets of bench/ on a few cases, without JAX: they work, and find nothing."""

from __future__ import annotations

import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from bench import bundles, fuzz, guided


def test_a_few_cases(tmp_path: Path) -> None:
    good = fuzz.seeds()
    raw = []
    for graph in good:
        fuzz.write(tmp_path / "seed.nir", graph)
        raw.append((tmp_path / "seed.nir").read_bytes())
        assert fuzz.check(tmp_path / "seed.nir", False, np.random.default_rng(0)) == "ran"
    fates: Counter[str] = Counter()
    for case in range(80):
        fuzz.make(tmp_path / "case.nir", 7, case, good, raw)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="subgraph .* legacy wiring")
            fates[fuzz.check(tmp_path / "case.nir", False, np.random.default_rng(case))] += 1
    assert fates["ran"] and fates["refused"] and fates["refused to run"], fates


def test_the_cases_that_coverage_found(tmp_path: Path) -> None:
    """A part of the corpus of `bench.guided`, and the cases that once ended in a traceback."""
    cases = guided.Cases(tmp_path)
    lines = (Path(__file__).parent / "guided_cases.txt").read_text().splitlines()
    fates: Counter[str] = Counter()
    for line in lines:
        fates.update(cases.run(bytes.fromhex(line)))
    for name in ("inspect", "upgrade", "fit", "adapt", "run"):
        assert fates[f"{name} 0"] and fates[f"{name} 1"] + fates[f"{name} 2"], fates
    assert fates["diff 0"] + fates["diff 1"] == len(lines), fates
    assert fates["lint 1"], fates  # no seed has a contract, so `--contract` finds something in each


def test_damaged_bundles_end_in_a_verdict(tmp_path: Path) -> None:
    """Cases of `bench.guided --bundles`; three asked for gigabytes, the fourth was a traceback."""
    cases = bundles.Bundles(tmp_path)
    for good in cases.good:
        cases.write(good)
        assert cases.check()[0] == "verify 0"
    lines = (Path(__file__).parent / "bundle_cases.txt").read_text().splitlines()
    fates: Counter[str] = Counter()
    for line in lines:
        fates.update(cases.run(bytes.fromhex(line)))
    assert fates["verify 1"] and fates["verify 0"] + fates["verify 1"] == len(lines), fates
