"""`diff`: nodes matched by structure where names differ, and two files on the same data."""

from __future__ import annotations

import json
from pathlib import Path

import nir
import numpy as np
import pytest
from old_files import INNER, clean, recurrent, write

from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.converter.adapt import flat
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.converter.match import match
from spyx_nir.meaning.plan import make_plan


def renamed(graph: nir.NIRGraph, names: dict[str, str]) -> nir.NIRGraph:
    nodes = {names.get(name, name): node for name, node in graph.nodes.items()}
    edges = [
        (names.get(source, source), names.get(target, target)) for source, target in graph.edges
    ]
    return nir.NIRGraph(nodes, edges, graph.metadata, type_check=False)


def diff(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = main(["diff", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_other_names_are_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = {"fc": "0", "lif": "1", "input": "in", "output": "out"}
    a = write(tmp_path / "a.nir", clean())
    b = write(tmp_path / "b.nir", renamed(clean(), names))
    code, found = diff(capsys, a, b)
    assert (code, found["differences"], found["matched"]) == (0, [], names)
    changed = renamed(clean(), names)
    changed.nodes["0"].weight[1, 2] = 0.75
    c = write(tmp_path / "c.nir", changed)
    code, found = diff(capsys, a, c)
    (row,) = found["differences"]
    assert (code, row["where"], row["what"]) == (1, "fc", "weight")
    assert "the first at (1, 2): 0.5, 0.75" in row["difference"]


def test_a_nested_and_a_flat_graph_are_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nested = recurrent(INNER)
    dissolved = file.build(flat(as_dict(nested)))
    dissolved = renamed(dissolved, {"rec.lif": "cell", "rec.w_rec": "back"})
    a, b = write(tmp_path / "a.nir", nested), write(tmp_path / "b.nir", dissolved)
    code, found = diff(capsys, a, b)
    assert (code, found["differences"]) == (0, [])
    assert found["matched"]["rec.lif"] == "cell" and found["matched"]["rec.w_rec"] == "back"


def branches(scales: tuple[float, float], names: tuple[str, str]) -> nir.NIRGraph:
    """input -> two Scales -> output, which adds them."""
    ones = np.ones(2, np.float32)
    nodes = {"input": nir.Input(np.array([2])), "output": nir.Output(np.array([2]))}
    nodes |= {name: nir.Scale(scale * ones) for name, scale in zip(names, scales, strict=True)}
    edges = [(a, b) for n in names for a, b in (("input", n), (n, "output"))]
    return nir.NIRGraph(nodes, edges, {}, type_check=False)


def test_equal_branches_are_matched_by_their_parameters() -> None:
    one, other = branches((1.0, 2.0), ("a", "b")), branches((2.0, 1.0), ("c", "d"))
    found = match(make_plan(as_dict(one)), make_plan(as_dict(other)))
    assert found == {"a": "d", "b": "c", "input": "input", "output": "output"}
    chain = nir.NIRGraph(
        other.nodes, [("input", "c"), ("c", "d"), ("d", "output"), ("input", "d")], type_check=False
    )
    assert match(make_plan(as_dict(one)), make_plan(as_dict(chain))) is None


def test_another_structure_is_told_by_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "a.nir", clean())
    b = write(tmp_path / "b.nir", recurrent(INNER))
    code, found = diff(capsys, a, b)
    assert code == 1 and "matched" not in found
    assert {row["where"] for row in found["differences"]} >= {"lif", "rec"}


def test_the_first_difference_on_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Decay 0.75: an input of 0.5 gives membranes 0.5, 0.875, 1.156; one of 0.75 gives 0.75, 1.3125."""
    graph = clean()
    a = write(tmp_path / "a.nir", graph)
    other = clean()
    other.nodes["fc"].weight[1] = [0, 1.5, 0.5]
    b = write(tmp_path / "b.nir", renamed(other, {"lif": "neurons"}))
    data = str(tmp_path / "x.npy")
    x = np.zeros((4, 2, 3), np.float32)
    x[:, 1, 1] = 0.5
    np.save(data, x)
    code, found = diff(capsys, a, b, "--data", data)
    assert code == 1
    first = found["runs"]["first"]
    place = (first["node"], first["step"], first["sample"], first["neuron"])
    assert place == ("lif", 1, 1, [1]) and (first["a"], first["b"]) == (0, 1)
    assert "membranes 0.875, 1.3125" in first["why"]
    # One spikes in step 2, the other in steps 1 and 3.
    assert found["runs"]["nodes"]["lif"] == {"differing": 3, "entries": 16}
    assert main(["diff", a, b, "--data", data]) == 1
    assert "first: `lif`, step 1, sample 1, neuron (1,): 0, 1 spikes; membranes 0.875, 1.3125" in (
        capsys.readouterr().out
    )
    assert main(["diff", a, a, "--data", data]) == 0
    assert capsys.readouterr().out.endswith("on the data: the same\n")
