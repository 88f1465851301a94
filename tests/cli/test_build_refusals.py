"""What `spyx-nir build` refuses before it makes anything: one line, an exit code, no file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from small_chain import chain

from spyx_nir.cli.main import main

X = np.ones((6, 10, 3), np.uint8)
Y = np.arange(10) % 2


@pytest.fixture
def model(tmp_path: Path) -> str:
    """Three inputs, two IF neurons."""
    ones = np.ones(2, np.float32)
    neuron = nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones)
    path = tmp_path / "model.nir"
    nir.write(path, chain(np.ones((2, 3), np.float32), neuron))
    return str(path)


def changed(value: float) -> np.ndarray:
    x = X.astype(np.float64)
    x[2, 1, 0] = value
    return x


def refused(arguments: list[str], code: int, message: str, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out"
    try:
        found = main([*arguments, "--dt", "1", "-o", str(out)])
    except SystemExit as ended:  # argparse's own
        found = ended.code
    said = capsys.readouterr()
    assert found == code, said.err
    assert message in said.err
    assert said.err.startswith("error: ") and said.err.count("\n") == 1
    assert said.out == ""
    assert not out.exists()


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X, "z": X}, "holds the arrays x, z; the graph's inputs are input"),
        ({"x": X[0, 0]}, "must be time-major (T, B, 3), got shape (3,)"),
        ({"x": X[..., :2]}, "must be time-major (T, B, 3), got shape (6, 10, 2)"),
        ({"x": X[:0]}, "has no time steps"),
        ({"x": X[:, :0]}, "has no batch"),
        ({"x": X.astype(str)}, "numbers are needed, got dtype <U"),
        ({"x": changed(-1)}, "is -1 at (2, 1, 0) of (T, N, ...); needed are counts"),
        ({"x": changed(np.nan)}, "holds NaN"),
        ({"x": changed(0.5)}, "is 0.5 at (2, 1, 0)"),
        ({"x": changed(256)}, "whole numbers, 0 to 255"),
        ({"x": X, "y": Y[:3]}, "`y` has 3 labels, but `x` is (6, 10, 3)"),
        ({"x": X, "y": Y + 1}, "label 2 is no class; 0 to 1 is allowed"),
        ({"x": X, "y": Y - 1}, "label -1 is no class"),
        ({"x": X, "y": Y + 0.5}, "`y` is float64 (10,); (N,) whole numbers or names"),
        ({"x": X, "y": np.full(10, "left")}, "label 'left' is no class; there are 0, 1"),
    ],
)
def test_recordings_that_cannot_be(
    arrays: dict[str, np.ndarray], message: str, model: str, tmp_path: Path, capsys: Any
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    words = ["build", model, "--target", "loihi", "--calibrate", str(tmp_path / "data.npz")]
    refused(words, 1, message, tmp_path, capsys)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "data.npz: no such file"),
        (b"x" * 40, "no .npy or .npz file"),
        (b"PK\5\6" + bytes(18), "holds the arrays (none)"),
    ],
)
def test_files_that_are_none(
    content: bytes | None, message: str, model: str, tmp_path: Path, capsys: Any
) -> None:
    if content is not None:
        (tmp_path / "data.npz").write_bytes(content)
    words = ["build", model, "--target", "loihi", "--calibrate", str(tmp_path / "data.npz")]
    refused(words, 1, message, tmp_path, capsys)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--target", "loihii"], 2, "unknown target `loihii`; known are "),
        (["--target", "none.yaml"], 2, "none.yaml: no such file"),
        (["--target", "loihi", "--epochs", "2"], 2, "give both, or neither"),
        (["--target", "loihi", "--finetune", "{}"], 2, "give both, or neither"),
        (["--target", "loihi", "--finetune", "{}", "--epochs", "0"], 2, "above 0, got 0"),
        (["--target", "loihi", "--finetune", "{}", "--epochs", "x"], 2, "above 0, got x"),
        (["--target", "loihi", "--bin-us", "0.5"], 2, "microseconds above 0, got 0.5"),
        (
            ["--target", "loihi", "--finetune", "{}", "--epochs", "1"],
            1,
            "has no labels, which --finetune needs",
        ),
    ],
)
def test_a_wrong_command_line(
    more: list[str], code: int, message: str, model: str, tmp_path: Path, capsys: Any
) -> None:
    np.savez(tmp_path / "data.npz", x=X)
    words = [word.format(tmp_path / "data.npz") for word in more]
    refused(["build", model, *words], code, message, tmp_path, capsys)


def test_events_need_a_bin(model: str, tmp_path: Path, capsys: Any) -> None:
    np.save(tmp_path / "e.npy", np.array([(5, 1)], [("t", "i8"), ("x", "i2")]))
    words = ["build", model, "--target", "loihi", "--calibrate", str(tmp_path / "e.npy")]
    refused(words, 2, "recordings of events need --bin-us", tmp_path, capsys)


def test_recordings_of_two_lengths(model: str, tmp_path: Path, capsys: Any) -> None:
    np.savez(tmp_path / "a.npz", x=X)
    np.savez(tmp_path / "b.npz", x=X[:4], y=Y)
    words = ["build", model, "--target", "loihi", "--calibrate", str(tmp_path / "a.npz")]
    words += ["--finetune", str(tmp_path / "b.npz"), "--epochs", "1"]
    message = f"a.npz has recordings of 6 steps, {tmp_path / 'b.npz'} of 4"
    refused(words, 1, message, tmp_path, capsys)


def test_a_folder_that_is_there(model: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "out" / "loihi").mkdir(parents=True)
    words = ["build", model, "--target", "loihi", "--dt", "1", "-o", str(tmp_path / "out")]
    assert main(words) == 1
    assert "loihi: is there already; choose another -o, or remove it" in capsys.readouterr().err
    assert list((tmp_path / "out" / "loihi").iterdir()) == []


def test_a_graph_of_two_outputs(tmp_path: Path, capsys: Any) -> None:
    ones = np.ones(2, np.float32)
    graph = chain(np.ones((2, 3), np.float32), nir.IF(r=ones, v_threshold=ones, v_reset=0 * ones))
    graph.nodes["more"] = nir.Output(np.array([2]))
    graph.edges.append(("n", "more"))
    nir.write(tmp_path / "two.nir", graph)
    words = ["build", str(tmp_path / "two.nir"), "--target", "loihi"]
    refused(words, 1, "two.nir: 2 outputs (more, output); a bundle has one", tmp_path, capsys)
