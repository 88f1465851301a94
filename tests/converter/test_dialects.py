"""Dialects, `reset: none` and parameters per channel: by hand, by both engines, on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from small_graphs import chain, cuba, full, graph, li, lif, linear

import spyx_nir as snir
from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import dialects, reference

IF = nir.IF(full(1.0), full(1.0), full(0.0))
GRAPHS: dict[str, nir.NIRGraph] = {
    "norse": chain(
        linear(),
        lif(r=2.0, v_leak=0.25, v_reset=0.5),
        nir.IF(full(3.0), full(0.4), full(0.5)),
        cuba(v_threshold=0.4),
    ),
    "rockpool": chain(linear(), cuba(v_leak=0.1)),
    "sinabs": chain(linear(), IF, linear(), lif(tau=3.0)),
    "snntorch": chain(
        linear(),
        lif(tau=1e-3, r=10.0, v_reset=0.5),
        cuba(tau_syn=2e-4, tau_mem=4e-4, v_threshold=0.9),
    ),
    "spikingjelly": chain(linear(), lif(v_leak=-0.25, v_reset=-0.25), IF, cuba()),
}
DT = {"norse": 0.5, "rockpool": 0.5, "sinabs": None, "snntorch": 1e-3, "spikingjelly": 1.0}


@pytest.mark.parametrize("name", GRAPHS)
def test_both_engines_read_a_dialect_alike(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32) * 3
    expected = dialects.run(as_dict(GRAPHS[name]), x, name, DT[name])
    assert expected.output.any()
    _, outputs = snir.from_nir(GRAPHS[name], x, DT[name], dialect=name)
    np.testing.assert_array_equal(outputs, expected.output)


@pytest.mark.parametrize("name", ["rockpool", "sinabs"])
def test_both_engines_integrate_alike(name: str) -> None:
    x = np.random.default_rng(0).normal(size=(20, 4, 3)).astype(np.float32)
    graph = chain(li(tau=3.0, r=7.0, v_leak=0.5))
    expected = dialects.run(as_dict(graph), x, name, 0.5)
    _, outputs = snir.from_nir(graph, x, 0.5, dialect=name)
    # float32: 20 steps of numbers below 8.
    np.testing.assert_allclose(outputs, expected.output, atol=1e-5)


@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_a_membrane_at_the_threshold_spikes_in_spikingjelly(engine: str) -> None:
    """0.5 a step meets 1 in every second step; NIR's neuron needs more than 1, in every third."""
    x = np.full((6, 1, 3), 0.5, np.float32)
    assert run_by(engine, chain(IF), x, "spikingjelly") == [0, 1, 0, 1, 0, 1]
    assert reference.run(as_dict(chain(IF)), x, 1.0).output[:, 0, 0].tolist() == [0, 0, 1, 0, 0, 1]


@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_a_dialect_does_not_read_of_exact_steps(engine: str) -> None:
    """sinabs, 0.5 a step, tau 2: 0.5, 0.803 and 0.987 by exp(-1/2). With tau of an exact step, 0.837."""
    exact = {"contract_version": 2, "dt": 1.0, "time_unit": "step", "discretization": "exact"}
    x = np.full((3, 1, 3), 0.5, np.float32)
    given = chain(lif(tau=2.0, r=2.0, v_threshold=0.82), metadata=exact)
    assert run_by(engine, given, x, "sinabs") == [0, 0, 1]


@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_a_recurrent_bias_is_missing_in_norses_first_step(engine: str) -> None:
    """Bias 0.5, no input: NIR's membrane is 0.5, 1, 1.5 and spikes then; Norse's a step later."""
    names = {"in": nir.Input(np.array([3])), "if": IF, "out": nir.Output(np.array([3]))}
    names["rec"] = nir.Affine(np.zeros((3, 3), np.float32), full(0.5))
    edges = [("in", "if"), ("if", "out"), ("if", "rec"), ("rec", "if")]
    x, ring = np.zeros((5, 1, 3), np.float32), graph(names, edges)
    assert reference.run(as_dict(ring), x, 1.0).output[:, 0, 0].tolist() == [0, 0, 1, 0, 0]
    assert run_by(engine, ring, x, "norse") == [0, 0, 0, 1, 0]


def run_by(engine: str, nir_graph: nir.NIRGraph, x: np.ndarray, name: str) -> list[float]:
    """The first neuron's output."""
    if engine == "jax":
        outputs = snir.from_nir(nir_graph, x, 1.0, dialect=name)[1]
    else:
        outputs = dialects.run(as_dict(nir_graph), x, name, 1.0).output
    return np.asarray(outputs)[:, 0, 0].tolist()


@pytest.mark.parametrize(
    ("neuron", "name", "words"),
    [
        (cuba(v_leak=0.5), "norse", "CubaLIF node `n0`: .* relaxes to a `v_leak` that is not 0"),
        (IF, "snntorch", "IF node `n0`: .* subtracts twice"),
        (
            nir.IF(full(1.0), full(1.0), full(0.5)),
            "spikingjelly",
            "starts at a `v_reset` that is neither 0 nor `v_leak`",
        ),
    ],
)
def test_what_only_the_reference_steps_is_refused_as_a_model(
    neuron: nir.NIRNode, name: str, words: str
) -> None:
    x = np.ones((2, 1, 3), np.float32)
    assert dialects.run(as_dict(chain(neuron)), x, name, 1.0).output.shape == (2, 1, 3)
    with pytest.raises(GraphError, match=words):
        snir.load(chain(neuron), 1.0, dialect=name)


def test_several_spikes_leave_in_a_step_and_the_membrane_has_a_floor() -> None:
    """sinabs' IF: 3.5 fires 3 and leaves 0.5; -9 stops at -1, so 1.5 more gives 0.5, which is silent."""
    graph = chain(IF)
    x = np.array([3.5, -9.0, 1.5, 0.5])[:, None, None] * np.ones((4, 1, 3))
    found = dialects.run(as_dict(graph), x, "sinabs")
    assert found.output[:, 0, 0].tolist() == [3, 0, 0, 1]


@pytest.mark.parametrize(
    ("graph", "dialect", "words"),
    [
        (
            chain(IF),
            "lava",
            "`dialect` must be one of norse, rockpool, sinabs, spikingjelly, snntorch, got 'lava'",
        ),
        (chain(cuba()), "sinabs", "CubaLIF node `n0`: how sinabs steps it is not known here"),
        (chain(lif()), "rockpool", "its dialect has CubaLIF, LI"),
    ],
)
def test_what_a_dialect_does_not_know_is_refused(
    graph: nir.NIRGraph, dialect: str, words: str
) -> None:
    with pytest.raises(GraphError, match=words):
        dialects.run(as_dict(graph), np.zeros((1, 1, 3)), dialect, 1.0)
    with pytest.raises(GraphError, match=words):
        snir.load(graph, 1.0, dialect=dialect)


@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_an_integrator_that_never_resets(engine: str) -> None:
    """0.4 a step: above 1 from the third step on, and then for good."""
    graph = chain(nir.IF(full(1.0), full(1.0), full(0.0), metadata={"reset": "none"}))
    x = np.full((6, 1, 3), 0.4, np.float32)
    if engine == "jax":
        model, outputs = snir.from_nir(graph, x, 1.0)
        again = snir.to_nir(model, {"input": (3,)}, {"output": (3,)}, dt=1.0)
        assert [n.metadata["reset"] for n in again.nodes.values() if "reset" in n.metadata] == [
            "none"
        ]
    else:
        outputs = reference.run(as_dict(graph), x, 1.0).output
    assert np.asarray(outputs)[:, 0, 0].tolist() == [0, 0, 1, 1, 1, 1]


def test_parameters_for_a_channel_are_read_as_they_are() -> None:
    """(2, 1, 1): the second channel's threshold is never met."""
    fields = {"r": [1.0, 1.0], "v_threshold": [0.5, 9.0], "v_reset": [0.0, 0.0]}
    arrays = {name: np.array(value).reshape(2, 1, 1) for name, value in fields.items()}
    graph = chain(nir.IF(**arrays), shape=(2, 3, 4))
    x = np.ones((2, 1, 2, 3, 4), np.float32)
    expected = reference.run(as_dict(graph), x, 1.0).output
    assert expected[:, 0, 0].all() and not expected[:, 0, 1].any()
    _, outputs = snir.from_nir(graph, np.moveaxis(x, 2, -1), 1.0)
    np.testing.assert_array_equal(np.moveaxis(np.asarray(outputs), -1, 2), expected)
    wrong = chain(nir.IF(**{n: a.reshape(1, 2, 1) for n, a in arrays.items()}), shape=(2, 3, 4))
    with pytest.raises(GraphError, match=r"has shape \(1, 2, 1\), but \(2, 3, 4\) arrives"):
        reference.run(as_dict(wrong), x, 1.0)


@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_the_command_line_runs_a_dialect(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, data = str(tmp_path / "a.nir"), str(tmp_path / "x.npy")
    file.write(path, chain(IF))
    np.save(data, np.full((2, 3), 2.5))
    flags: Any = ("--dialect", "sinabs", "--engine", engine, "--json")
    assert main(["run", path, data, *flags]) == 0
    # 2.5 fires 2; the rest with 2.5 more is 3.0, which fires 3; three neurons.
    assert json.loads(capsys.readouterr().out)["outputs"]["output"]["sum"] == 15
    assert main(["run", path, data, *flags, "--reset", "none"]) == 2
    assert "--dialect has its own reset" in capsys.readouterr().err
