"""`snir.lint`, `snir.upgrade` and `snir.check`: what the subcommands do, and what errors carry."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import old_files
import pytest

import spyx_nir as snir
from spyx_nir.converter import file
from spyx_nir.errors import GraphError, UsageError
from spyx_nir.meaning.plan import make_plan


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "model.nir"
    old_files.write(made, old_files.clean())
    return made


@pytest.fixture(params=["path", "graph", "dictionary"])
def source(request: pytest.FixtureRequest, path: Path) -> Any:
    """The same network as every kind of argument."""
    return {"path": path, "graph": snir.read(path), "dictionary": file.read_dict(path)}[
        request.param
    ]


def test_lint_takes_a_file_a_graph_or_its_dictionary(source: Any) -> None:
    assert [finding.code for finding in snir.lint(source, target="nir-1.0.4")] == ["older-nir"]
    assert snir.lint(source) == []


def test_check_takes_a_file_a_graph_or_its_dictionary(source: Any) -> None:
    """Two neurons with a membrane reset to 0; Xylo subtracts the threshold."""
    report = snir.check(source, "xylo-audio-2")
    assert [f.layer for f in report.findings if f.code == "reset"] == ["lif"]
    subtracting = snir.check(source, "xylo-audio-2", reset="subtract")
    assert "reset" not in {finding.code for finding in subtracting.findings}


def test_upgrade_takes_a_file_a_graph_or_its_dictionary(source: Any, path: Path) -> None:
    graph, changes = snir.upgrade(source, dt=old_files.DT, spike_delay=1)
    assert isinstance(graph, nir.NIRGraph)
    assert graph.nodes["lif"].metadata["spike_delay"] == 1
    assert changes == ["contract: `lif`: spike_delay = 1 (was 0)"]
    assert snir.read(path).nodes["lif"].metadata["spike_delay"] == 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda path: snir.lint(path, target="chip"), "`target` must be one of generic, nir-1.0.4"),
        (lambda path: snir.upgrade(path, writer="norse-1.1.0"), "need `dt`"),
        (lambda path: snir.upgrade(path, time_unit="s"), "need `dt`"),
        (lambda path: snir.upgrade(path, dt=1.0, writer="mine"), "must be one of norse-1.1.0"),
    ],
)
def test_what_a_function_does_not_know_is_refused(call, words: str, path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        call(path)


def test_an_error_names_the_file_where_one_was_given(path: Path) -> None:
    with pytest.raises(GraphError, match=f"^{path}: dt = ") as caught:
        snir.upgrade(path, dt=2 * old_files.DT)
    assert (caught.value.node, caught.value.field, caught.value.code) == ("", "dt", "dt")


Change = Callable[[dict[str, Any]], object]


def node(name: str) -> Callable[..., Change]:
    """`node(name)(field=value, ...)`: a change of a node's fields; None takes one away."""

    def fields(**values: Any) -> Change:
        def change(graph: dict[str, Any]) -> None:
            found = graph["nodes"][name]
            found.update(values)
            graph["nodes"][name] = {k: v for k, v in found.items() if v is not None}

        return change

    return fields


lif, fc = node("lif"), node("fc")
FIELDS: dict[str, tuple[Change, tuple[str | None, str | None, str]]] = {
    "a type": (lif(type="ALIF"), ("lif", "type", "unknown-type")),
    "a field too many": (lif(gamma=np.ones(2)), ("lif", "gamma", "unknown-field")),
    "a field too few": (lif(tau=None), ("lif", "tau", "missing-field")),
    "text for numbers": (lif(tau="fast"), ("lif", "tau", "field-value")),
    "no numbers": (lif(tau=np.zeros(0)), ("lif", "tau", "empty-field")),
    "too few axes": (fc(weight=np.ones(2, np.float32)), ("fc", "weight", "field-value")),
    "another field of the graph": (
        lambda graph: graph.update(gamma=np.ones(1)),
        ("", "gamma", "unknown-field"),
    ),
}
MEANING: dict[str, tuple[Change, tuple[str | None, str | None, str]]] = {
    "NaN": (lif(tau=np.full(2, np.nan)), ("lif", "tau", "field-value")),
    "a reset": (lif(metadata={"reset": "soft"}), ("lif", "reset", "contract")),
    "another shape": (lif(tau=np.ones(3)), ("lif", "tau", "shape-mismatch")),
    "another weight": (fc(weight=np.ones((2, 4), np.float32)), ("fc", "weight", "shape-mismatch")),
    "no such node": (
        lambda graph: graph["edges"].append(("lif", "gone")),
        ("", "edges", "dangling-edge"),
    ),
    "an edge twice": (
        lambda graph: graph["edges"].append(("fc", "lif")),
        ("", "edges", "duplicate-edge"),
    ),
    "no edge in": (lambda graph: graph["edges"].remove(("fc", "lif")), ("fc", None, "unconnected")),
}


@pytest.mark.parametrize("name", FIELDS)
def test_an_error_of_fields_names_node_field_and_code(name: str, path: Path) -> None:
    change, expected = FIELDS[name]
    graph = file.read_dict(path)
    change(graph)
    with pytest.raises(GraphError) as caught:
        file.build(graph)
    assert (caught.value.node, caught.value.field, caught.value.code) == expected
    (found,) = [f for f in snir.lint(graph) if f.code == "bad-node"]
    assert found.node == expected[0]


@pytest.mark.parametrize("name", MEANING)
def test_an_error_of_meaning_names_node_field_and_code(name: str, path: Path) -> None:
    change, expected = MEANING[name]
    graph = file.read_dict(path)
    change(graph)
    with pytest.raises(GraphError) as caught:
        make_plan(graph)
    assert (caught.value.node, caught.value.field, caught.value.code) == expected


def test_a_place_in_front_keeps_what_an_error_carries() -> None:
    error = GraphError("`tau` is 0", field="tau", code="field-value").within("LIF", node="lif")
    assert str(error) == "LIF: `tau` is 0"
    again = error.within("model.nir", node="other")
    assert str(again) == "model.nir: LIF: `tau` is 0"
    assert (again.node, again.field, again.code) == ("lif", "tau", "field-value")


@pytest.mark.parametrize("own", [None, "3"])
def test_openblas_has_one_thread_in_build_unless_the_user_says_more(own: str | None) -> None:
    code = (
        "import os, sys; from spyx_nir.cli.main import main; assert 'numpy' not in sys.modules; "
        "assert main(['build', 'no.nir', '--target', 'loihi', '-o', 'no']) == 1; "
        "assert 'numpy' in sys.modules; print(os.environ['OPENBLAS_NUM_THREADS'])"
    )
    told = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
    told |= {"OPENBLAS_NUM_THREADS": own} if own else {}
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=told)
    assert found.stdout == f"{own or 1}\n", found.stderr
