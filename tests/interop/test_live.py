"""The readers themselves, where their environments are set up."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.commands.release import bundles
from pipeline.interop import matrix, verdict
from pipeline.interop.__main__ import wrong
from pipeline.interop.importers import READERS
from pipeline.interop.protocol import Request
from spyx_nir.converter import adapt, file
from spyx_nir.meaning import dialects
from spyx_nir.meaning.plan import make_plan

pytestmark = pytest.mark.full
ABSENT = {name for name, reader in READERS.items() if not reader.python.exists()}
DT = 1e-4
TinyRun = Callable[[str, str], Path]


def needs(*names: str) -> None:
    """Skip where a reader's environment is not set up."""
    if missing := sorted(READERS[n].environment for n in names if n in ABSENT):
        pytest.skip(f"no {missing[0]}: run make peers-setup and make vendors-setup")


def awkward(rng: np.random.Generator) -> dict[str, Any]:
    """Thresholds that differ in a layer, a recurrent bias, a LIF whose gain is not 1."""

    def leaky(size: int, kind: str) -> dict[str, Any]:
        steps = {"tau_syn": 2, "tau_mem": 8, "tau": 8, "w_in": 2 / DT, "r": 8 / DT}
        names = ("tau_syn", "tau_mem", "w_in", "r") if kind == "CubaLIF" else ("tau", "r")
        told = {name: np.full(size, steps[name] * DT, np.float32) for name in names}
        zero = np.zeros(size, np.float32)
        theta = (2.0 ** rng.integers(-1, 2, size)).astype(np.float32)
        return {"type": kind, **told, "v_leak": zero, "v_reset": zero, "v_threshold": theta}

    def weights(*shape: int) -> np.ndarray:
        return rng.normal(0.2, 0.5, shape).astype(np.float32)

    inner = {
        "input": {"type": "Input", "shape": np.array([8])},
        "lif": leaky(8, "CubaLIF"),
        "w": {"type": "Affine", "weight": weights(8, 8) / 4, "bias": np.abs(weights(8)) / 4},
        "output": {"type": "Output", "shape": np.array([8])},
    }
    edges = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")]
    nodes = {
        "input": {"type": "Input", "shape": np.array([6])},
        "l1": {"type": "Linear", "weight": weights(8, 6)},
        "rec": {"type": "NIRGraph", "nodes": inner, "edges": edges, "metadata": {}},
        "l2": {"type": "Linear", "weight": weights(4, 8)},
        "lif": leaky(4, "LIF"),
        "output": {"type": "Output", "shape": np.array([4])},
    }
    told = {"dt": DT, "time_unit": "s", "contract_version": 1}
    names = list(nodes)
    ring = list(itertools.pairwise(names))
    return {"type": "NIRGraph", "nodes": nodes, "edges": ring, "metadata": told}


def verdict_on(name: str, graph: dict[str, Any], folder: Path) -> dict[str, Any]:
    path = folder / "it.nir"
    file.write(path, file.build(graph))
    plan = make_plan(file.read_dict(path))
    x = (np.random.default_rng(3).random((5, 60, 6)) < 0.3).astype(np.uint8)
    reader = READERS[name]
    answer = reader.ask(Request(str(path), DT, x, verdict.spiking(plan)))
    found = verdict.judge(plan, DT, x, np.zeros(5, int), {name: answer}, {name: reader.known})
    return found[name]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["norse", "spikingjelly", "snntorch"])
def test_a_profile_makes_a_reader_faithful(name: str, seed: int, tmp_path: Path) -> None:
    needs(name)
    graph = awkward(np.random.default_rng(seed))
    assert verdict_on(name, graph, tmp_path)["verdict"] != "faithful"
    told = verdict_on(name, adapt.dialect(graph, name), tmp_path)
    assert told["verdict"] == "faithful", told
    assert told["differing_spikes"] == 0


@pytest.mark.parametrize("name", ["norse", "spikingjelly", "snntorch"])
def test_a_recurrent_bias_is_missing_in_the_first_step(name: str, tmp_path: Path) -> None:
    """Everything of the profile but the bias: that rule explains what is left."""
    needs(name)
    graph = adapt.unit_threshold(awkward(np.random.default_rng(0)))
    graph = adapt.unit_gain(graph) if name == "norse" else graph
    told = verdict_on(name, graph, tmp_path)
    assert told["verdict"] == "explained", told
    assert "its bias is missing" in told["rule"]
    assert told["by_rule"]["differing_spikes"] == 0


def test_a_contract_that_readers_do_not_read_is_noticed(tiny_run: TinyRun, tmp_path: Path) -> None:
    names = ("norse", "spikingjelly", "snntorch", "lava")
    needs(*names)
    root, chosen = tiny_run("braille", "subtract"), {name: READERS[name] for name in names}
    (bundle,) = bundles(root).values()
    found = matrix.run(bundle, chosen, root, 4, tmp_path)
    assert {row["verdict"] for row in found["rows"]} == {"explained"}
    assert all(row["rule"] == dialects.NIR_ALONE.text for row in found["rows"])
    assert all(row["differing_spikes"] for row in found["rows"])


@pytest.mark.parametrize("task", ["braille", "nmnist"])
def test_nothing_in_the_matrix_is_wrong(task: str, tiny_run: TinyRun, tmp_path: Path) -> None:
    needs(*READERS)
    root = tiny_run(task, "v_reset")
    (bundle,) = bundles(root).values()
    found = matrix.run(bundle, READERS, root, 4, tmp_path)
    assert not [row for row in found["rows"] if wrong(row)]
    verdicts = {(row["reader"], row["file"]): row["verdict"] for row in found["rows"]}
    for name in ("norse", "spikingjelly", "lava"):
        assert verdicts[name, matrix.AS_SHIPPED] == "faithful"
    files = [matrix.AS_SHIPPED] if task == "braille" else ["snntorch"]
    assert {verdicts["snntorch", name] for name in files} == {"faithful"}
