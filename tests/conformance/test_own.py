"""Our own importer on the conformance pack."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.conformance import build, own

NAMES = [case.name for case in build.cases()]
# Of each kind of meaning one: a model of Spyx takes a second to compile.
SOME = (
    "lif-per-neuron",
    "if-subtract",
    "conv2d-all",
    "recurrent-nested-bias",
    "two-outputs",
    "delay-per-neuron",
)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "pack"
    build.write(folder)
    return folder / "cases"


def imported(folder: Path) -> None:
    built = build.build_case(next(c for c in build.cases() if c.name == folder.name))
    found = own.importer(str(folder / "model.nir"), built.inputs, built.case.dt)
    assert set(found) == {f"output/{name}" for name in built.outputs}
    for name, expected in built.outputs.items():
        assert found[f"output/{name}"].shape == expected.shape
        assert np.abs(found[f"output/{name}"] - expected).max() <= built.tolerance


@pytest.mark.parametrize("name", SOME)
def test_the_importer_passes(name: str, pack: Path) -> None:
    imported(pack / name)


@pytest.mark.full
@pytest.mark.parametrize("name", NAMES)
def test_the_importer_passes_every_case(name: str, pack: Path) -> None:
    imported(pack / name)
