"""Files with a known writer's mistake: said by name, with a remedy that gives that writer's spikes.

Expected are the steps of the other program, written here from its published source.
"""

from __future__ import annotations

import json
from pathlib import Path

import jax.numpy as jnp
import nir
import numpy as np
import pytest
import spyx.nir
import spyx.nn as snn
from flax import nnx
from small_chain import chain

from spyx_nir.cli.main import main
from spyx_nir.converter import file
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

DT = 1e-3
RANDOM = np.random.default_rng(0)
W = (RANDOM.normal(size=(4, 6)) * 2).astype(np.float32)
X = (RANDOM.random((60, 1, 6)) < 0.4).astype(float)
INVERSE = np.array([100.0, 50.0, 200.0, 80.0])
ONE = np.ones(4, np.float32)


def box() -> tuple[nir.NIRNode, np.ndarray]:
    """norse.torch.LIFBoxCell: its file, and its spikes."""
    v, out = np.zeros(4), []
    for x in X[:, 0]:
        v = v + DT * INVERSE * (0 - v + W @ x)
        z = (v > 0.5).astype(float)
        v = v * (1 - z)
        out.append(z)
    tau = (DT / INVERSE).astype(np.float32)
    return nir.LIF(tau, ONE, 0 * ONE, 0.5 * ONE, 0 * ONE), np.array(out)


def cell() -> tuple[nir.NIRNode, np.ndarray]:
    """norse.torch.LIFCell: the current jumps by its input, then moves the membrane, then decays."""
    v, i, out = np.zeros(4), np.zeros(4), []
    for x in X[:, 0]:
        i = i + W @ x
        v = v + DT * INVERSE * (0 - v + i)
        i = i - DT * 2 * INVERSE * i
        z = (v > 1).astype(float)
        v = v * (1 - z)
        out.append(z)
    tau = (DT / INVERSE).astype(np.float32)
    return nir.CubaLIF(tau / 2, tau, ONE, 0 * ONE, ONE, 0 * ONE), np.array(out)


def iaf() -> tuple[nir.NIRNode, np.ndarray]:
    """norse.torch.IAFCell: v += input."""
    v, out = np.zeros(4), []
    for x in X[:, 0]:
        v = v + W @ x
        z = (v > 1).astype(float)
        v = v * (1 - z)
        out.append(z)
    return nir.IF(ONE, ONE, 0 * ONE), np.array(out)


@pytest.mark.parametrize("kind", [box, cell, iaf])
def test_norse_files_run_as_in_norse(
    kind, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    node, expected = kind()
    path, out = str(tmp_path / "a.nir"), str(tmp_path / "up.nir")
    file.write(path, chain(W, node))
    assert main(["upgrade", path, out, "--writer", "norse-1.1.0", "--dt", "1e-3"]) == 0
    assert "norse-1.1.0: `n`: " in capsys.readouterr().out
    found = reference.run(file.read(out).to_dict(), X).output[:, 0]
    assert expected.any() and (found != expected).sum() == 0


def test_the_refusal_names_norse_and_both_remedies(capsys: pytest.CaptureFixture[str]) -> None:
    node, expected = box()
    graph = chain(W, node).to_dict()
    with pytest.raises(GraphError, match=r"Norse 1\.1\.0 .*dt\*dt = 1e-06"):
        reference.run(graph, X, DT)
    assert (reference.run(graph, X, DT * DT).output[:, 0] != expected).sum() == 0


def test_lint_names_norse_where_no_dt_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "a.nir")
    file.write(path, chain(W, box()[0]))
    for more in ([], ["--dt", "1e-6"]):
        main(["lint", path, "--json", *more])
        found = {f["code"] for f in json.loads(capsys.readouterr().out)["findings"]}
        assert "norse-tau" in found
    main(["lint", path, "--json", "--dt", "1e-3"])
    findings = json.loads(capsys.readouterr().out)["findings"]
    (long,) = [f for f in findings if f["code"] == "dt-too-large"]
    assert "norse-1.1.0" in long["remedy"]


@pytest.mark.parametrize("target", ["xylo-audio-2", "loihi"])
def test_fit_does_not_say_to_train_again(
    target: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "a.nir")
    file.write(path, chain(W, cell()[0]))
    assert main(["fit", path, "--target", target, "--dt", "1e-3", "--json"]) == 1
    findings = json.loads(capsys.readouterr().out)["findings"]
    fixes = {f["fix"] for f in findings if f["code"] == "decay" and f["severity"] == "error"}
    assert any("--writer norse-1.1.0 --dt 0.001" in fix for fix in fixes)
    assert not any(fix.startswith("train with tau") for fix in fixes)


@pytest.mark.parametrize(
    ("r", "words"),
    [
        (lambda tau: tau / 1e-4, "if r is tau/dt, as snnTorch writes it, dt = 0.0001 is meant"),
        (lambda tau: 1 - 1e-4 / tau, "as spyx.nir 1.0.0 writes by mistake, dt = 0.0001 is meant"),
        (lambda tau: 7 * tau**2 / 1e-8, "only the dt of the training gives"),
    ],
)
def test_other_writers_steps_are_seen_in_their_gains(r, words: str) -> None:
    tau = np.array([2e-4, 3e-4, 5e-4, 9e-4])
    graph = chain(W, nir.LIF(tau, r(tau), 0 * tau, ONE, 0 * ONE)).to_dict()
    with pytest.raises(GraphError, match=r"largest dt allowed is 0\.0002; ") as caught:
        reference.run(graph, X, 1e-3)
    assert words in str(caught.value)


def test_what_norse_does_not_write_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tau = np.full(4, 1e-2, np.float32)
    path, out = str(tmp_path / "a.nir"), str(tmp_path / "up.nir")
    file.write(path, chain(W, nir.LIF(tau, 2 * ONE, 0 * ONE, ONE, 0 * ONE)))
    norse = ["--writer", "norse-1.1.0"]
    assert main(["upgrade", path, out, *norse, "--dt", "1e-3"]) == 1
    assert "node `n`: Norse writes r and w_in as 1" in capsys.readouterr().err
    assert main(["upgrade", path, out, *norse]) == 2
    assert "needs --dt" in capsys.readouterr().err
    assert not Path(out).exists()


SPYX = {
    "LIF, IF": lambda rngs: [
        nnx.Linear(6, 8, rngs=rngs), snn.LIF((8,), threshold=0.3, rngs=rngs),
        nnx.Linear(8, 4, rngs=rngs), snn.IF((4,), threshold=0.1),
    ],
    "CuBaLIF": lambda rngs: [nnx.Linear(6, 8, rngs=rngs), snn.CuBaLIF((8,), rngs=rngs)],
    "RLIF": lambda rngs: [nnx.Linear(6, 8, rngs=rngs), snn.RLIF((8,), rngs=rngs)],
    "RCuBaLIF": lambda rngs: [nnx.Linear(6, 8, rngs=rngs), snn.RCuBaLIF((8,), rngs=rngs)],
    "PSU_LIF": lambda rngs: [nnx.Linear(6, 8, rngs=rngs), snn.PSU_LIF((8,), rngs=rngs)],
}  # fmt: skip


@pytest.mark.parametrize("name", SPYX)
@pytest.mark.filterwarnings("ignore:.*legacy wiring")
def test_what_spyx_nir_writes_runs_as_in_spyx(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    layers = SPYX[name](nnx.Rngs(1))
    shapes = {"input": np.array([6])}, {"output": np.array(layers[-1].hidden_shape)}
    path, out = str(tmp_path / "a.nir"), str(tmp_path / "b.nir")
    nir.write(path, spyx.nir.to_nir(nnx.Sequential(*layers), *shapes, dt=DT))
    x = 2 * X.repeat(3, axis=1).astype(np.float32)
    expected, _ = snn.run(snn.Sequential(*layers), jnp.asarray(x))
    assert main(["upgrade", path, out, "--dt", str(DT), "--writer", "spyx-1.0.0"]) == 0
    assert "spyx-1.0.0: `layer_1" in capsys.readouterr().out
    found = reference.run(file.read_dict(out), x).output
    assert np.asarray(expected).sum() > 50
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        (chain(W, nir.LIF(0.01 * ONE, ONE, 0 * ONE, ONE)), "spyx.nir writes r as 1 - dt/tau"),
        (chain(W, nir.IF(2 * ONE, ONE)), "spyx.nir writes r as 1, and this one has another"),
        (chain(W, nir.Flatten({"input": np.array([4])}, 0, -1)), "export the model again"),
    ],
)
def test_a_file_that_spyx_did_not_write_is_refused(
    graph: nir.NIRGraph, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "a.nir", tmp_path / "b.nir"
    file.write(path, graph)
    flags = ("--dt", str(DT), "--writer", "spyx-1.0.0")
    assert main(["upgrade", str(path), str(out), *flags]) == 1
    assert words in capsys.readouterr().err
    assert not out.exists()
