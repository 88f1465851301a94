"""`fit` on networks from the vendors' documentation and tests, see `vendor_graphs`."""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import vendor_graphs
from vendor_graphs import FITS, GRAPHS, REFUSED, VendorGraph

import spyx_nir
from bench.vendors import compare
from spyx_nir.bundle import bringup
from spyx_nir.converter import file
from spyx_nir.hardware import profile, quantise, simulate
from spyx_nir.hardware.findings import Report
from spyx_nir.hardware.network import IntegerNetwork, Run

HERE = Path(__file__).parent
TABLES = {
    "rockpool": vendor_graphs.XYLO,
    "sinabs": vendor_graphs.SPECK,
    "lava": vendor_graphs.LOIHI,
}


def rows(*verdicts: str) -> list[Any]:
    """The rows with these verdicts, by name; the large ones run with `make test-full`."""
    return [
        pytest.param(row, id=row.name, marks=pytest.mark.full if row.large else ())
        for row in GRAPHS
        if row.verdict in verdicts
    ]


def written(row: VendorGraph, folder: Path) -> Path:
    """Its file, as nir writes it."""
    path = folder / "network.nir"
    nir.write(path, row.build())
    return path


def checked(row: VendorGraph, folder: Path) -> Report:
    return spyx_nir.check(written(row, folder), row.target)


def simulated(row: VendorGraph, folder: Path, steps: int = 8) -> tuple[IntegerNetwork, Run]:
    """Its integers, and their run on a random recording."""
    content = file.read_dict(written(row, folder))
    network = quantise.quantise(content, profile.load(row.target))
    (shape,) = network.inputs.values()
    events = np.random.default_rng(0).random((1, steps, *shape)) < 0.3
    return network, simulate.run(network, simulate.padded(network, events))


def instructions(network: IntegerNetwork, run: Run) -> str:
    """BRINGUP.md for it."""
    (output,) = [population for population in network.populations if population.output]
    (inputs,) = network.inputs.values()
    classes = [str(number) for number in range(math.prod(output.shape))]
    about = bringup.Samples(np.zeros(1, int), classes, ["x"] * inputs[0], 1000)
    return bringup.write(network, run, about)


def test_the_table_covers_every_family_and_both_verdicts() -> None:
    assert len({row.name for row in GRAPHS}) == len(GRAPHS) >= 60
    for table in TABLES.values():
        counts = [sum(row.verdict == verdict for row in table) for verdict in (FITS, REFUSED)]
        assert len(table) >= 20 and min(counts) >= 5
        assert all(row.source and row.why for row in table)


@pytest.mark.parametrize("row", rows(FITS))
def test_what_the_vendor_takes_fits_as_it_is(row: VendorGraph, tmp_path: Path) -> None:
    report = checked(row, tmp_path)
    found = [(f.code, f.reason) for f in report.findings if f.severity in ("error", "change")]
    assert (report.verdict, found) == ("fits", []), (row.why, row.source)
    if row.warns:
        assert [f for f in report.findings if f.severity == "warning"], (row.why, row.source)


@pytest.mark.parametrize("row", rows(REFUSED))
def test_what_the_vendor_refuses_does_not_fit_as_it_is(row: VendorGraph, tmp_path: Path) -> None:
    """Or fits when changed; the reason is named."""
    found = [f for f in checked(row, tmp_path).findings if f.severity in ("error", "change")]
    assert found, (row.why, row.source)
    assert all(finding.reason for finding in found)
    assert not row.code or row.code in {finding.code for finding in found}


@pytest.mark.parametrize("row", rows(FITS))
def test_what_fits_also_becomes_integers_that_run(row: VendorGraph, tmp_path: Path) -> None:
    network, run = simulated(row, tmp_path)
    assert set(run.spikes) == {population.name for population in network.populations}
    for population in network.populations:
        assert run.spikes[population.name].shape[1:] == (1, *population.shape)
    text = instructions(network, run)
    assert all(f"`{population.name}`" in text for population in network.populations)


@pytest.mark.full
@pytest.mark.skipif(not compare.PYTHON.exists(), reason="no .venv-vendors: run make vendors-setup")
@pytest.mark.parametrize("program", TABLES)
def test_the_vendors_program_gives_the_verdict_of_the_table(program: str, tmp_path: Path) -> None:
    asked = {row.name: row for row in TABLES[program] if row.asked}
    networks, answers = tmp_path / "networks.json", tmp_path / "answers.json"
    networks.write_text(json.dumps({name: as_data(row) for name, row in asked.items()}))
    done = subprocess.run(
        [str(compare.PYTHON), str(HERE / "ask_vendors.py"), program, str(networks), str(answers)],
        env={**os.environ, "PYTHONPATH": str(compare.ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(answers.read_text())
    assert set(found) == set(asked)
    assert [(n, *found[n]) for n, row in asked.items() if found[n][0] != row.verdict] == []


def as_data(row: VendorGraph) -> dict[str, Any]:
    """A network as JSON-like data, for a program that has another version of nir."""
    content = row.build().to_dict()
    kept = {key: _plain(content[key]) for key in ("nodes", "edges")}
    return {"target": row.target, **kept}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
