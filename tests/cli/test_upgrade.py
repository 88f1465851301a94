"""`upgrade`: each repair is named, and the result runs as the intact graph does."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import old_files
import pytest
from old_files import INNER, LEGACY, TAU, R, both, clean, put

from spyx_nir.cli.main import main
from spyx_nir.converter import file, hdf5
from spyx_nir.meaning import reference

LIF = "node/nodes/lif"
OUTER = [["input", "fc"], ["fc", "rec"], ["rec", "output"]]


def nested() -> nir.NIRGraph:
    return old_files.recurrent(INNER)


def legacy() -> nir.NIRGraph:
    return old_files.recurrent(LEGACY)


def scalars(shape: tuple[int, ...]) -> Callable[[h5py.File], None]:
    values = {"tau": TAU, "r": R, "v_leak": 0, "v_threshold": 1, "v_reset": 0}
    return both(*(put(f"{LIF}/{n}", np.full(shape, v, "f4")) for n, v in values.items()))


# what is broken -> (graph, change of the file, the line that names the repair)
CASES: dict[str, tuple[Callable[[], nir.NIRGraph], Callable[[h5py.File], None] | None, str]] = {
    "duplicate": (
        clean,
        put("node/edges", [["input", "fc"], ["fc", "lif"], ["lif", "output"], ["fc", "lif"]]),
        r"duplicate-edge: edge \('fc', 'lif'\) is there twice; one removed",
    ),
    "inner edge outside": (
        nested,
        put("node/edges", [*OUTER, ["rec.lif", "rec.w_rec"]]),
        r"dangling-edge: edge \('rec.lif', 'rec.w_rec'\) names .*; edge .* removed",
    ),
    "outer edge to inner node": (
        nested,
        put("node/edges", [["input", "fc"], ["fc", "rec"], ["rec.lif", "output"]]),
        r"dangling-edge: .*; edge \('rec.lif', 'output'\) is now \('rec', 'output'\)",
    ),
    "outer edge to inner port": (
        nested,
        put("node/edges", [["input", "fc"], ["fc", "rec.input"], ["rec", "output"]]),
        r"edge \('fc', 'rec.input'\) is now \('fc', 'rec'\)",
    ),
    "outer edge inside": (
        nested,
        put("node/nodes/rec/edges", [*map(list, INNER), ["fc", "rec.lif"]]),
        r"dangling-edge: `rec`: edge \('fc', 'rec.lif'\) belongs to the graph around this subgraph",
    ),
    "inner names with their path": (
        nested,
        put("node/nodes/rec/edges", [*map(list, INNER[:3]), ["rec.lif", "rec.output"]]),
        r"edge \('rec.lif', 'rec.output'\) is now \('lif', 'output'\)",
    ),
    "legacy wiring": (
        legacy,
        None,
        r"legacy-wiring: `rec`: .*; edge \('input', 'w_rec'\) is now \('input', 'lif'\)",
    ),
    "scalars": (clean, scalars(()), r"scalar-parameter: `lif`: .*shape \(\) .*out to \(2,\)"),
    "scalars (1,)": (clean, scalars((1,)), r"scalar-parameter: `lif`: .*shape \(1,\) where \(2,\)"),
    "scalars (1, 1, 1)": (clean, scalars((1, 1, 1)), r"shape \(1, 1, 1\) where \(2,\) arrives"),
    "one scalar": (
        clean,
        put(f"{LIF}/v_leak", np.zeros(1, "f4")),
        r"scalar-parameter: `lif`: `v_leak` of shape \(1,\) where \(2,\) arrives",
    ),
    "output shape": (
        clean,
        put("node/nodes/output/shape", np.array([1, 1, 2])),
        r"declared-shape: `output`: declares `shape` \(1, 1, 2\), but \(2,\) arrives",
    ),
    "input shape": (
        clean,
        put("node/nodes/input/shape", np.array([1, 3])),
        r"declared-shape: `input`: declares `shape` \(1, 3\), but `fc` takes \(3,\)",
    ),
    "port inside": (
        nested,
        put("node/nodes/rec/nodes/input/shape", np.array([1])),
        r"declared-shape: `rec.input`: declares `shape` \(1,\), but \(2,\) arrives",
    ),
    "types": (
        clean,
        put("node/nodes/lif/output_type", np.array([2])),
        r"declared-type: `lif`: carries `output_type`, .*; field removed",
    ),
}


def spikes(path: str) -> dict[str, np.ndarray]:
    """By the reference, on a fixed input that makes both neurons spike."""
    x = np.random.default_rng(1).integers(0, 3, (40, 2, 3))
    result = reference.run(file.read(path).to_dict(), x)
    assert all(s.any() and not s.all() for s in result.spikes.values())
    return result.spikes


@pytest.mark.parametrize("what", CASES)
def test_repairs(what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, change, line = CASES[what]
    whole = old_files.write(tmp_path / "whole.nir", clean() if graph is clean else nested())
    broken = old_files.write(tmp_path / "broken.nir", graph(), change)
    before = Path(broken).read_bytes()
    out = str(tmp_path / "out.nir")
    assert main(["upgrade", broken, out]) == 0
    printed = capsys.readouterr().out
    assert re.search(line, printed), printed
    assert printed.splitlines()[-1] == f"{out}: 1 change"
    assert Path(broken).read_bytes() == before
    for name, expected in spikes(whole).items():
        assert (spikes(out)[name] == expected).all()
    nir.read(out)  # nir's own type check is content
    assert main(["lint", out, "--strict"]) == 0
    assert main(["diff", whole, out]) == 0
    capsys.readouterr()
    assert main(["upgrade", out, out]) == 0
    assert capsys.readouterr().out == f"{out}: as before\n"


@pytest.mark.parametrize(
    ("graph", "change", "message"),
    [
        (
            clean,
            put("node/edges", [["input", "fc"], ["fc", "skip"], ["fc", "lif"], ["lif", "output"]]),
            r"edge \('fc', 'skip'\) names `skip`, which is no node",
        ),
        (
            nested,
            put("node/edges", [*OUTER, ["rec.w_rec", "output"]]),
            r"names `rec.w_rec`, which is no node",
        ),
        (
            nested,
            put("node/nodes/rec/edges", [*map(list, INNER), ["other", "lif"]]),
            r"subgraph `rec`: edge \('other', 'lif'\) names `other`, which is no node",
        ),
        (clean, put(f"{LIF}/tau", np.array([1.0, -1])), r"`tau` holds -1.0; a time constant"),
        (clean, put(f"{LIF}/gamma", 1.0), r"the field `gamma` has no meaning here"),
        (
            clean,
            put("node/nodes/fc/weight", np.ones((2, 5))),
            r"Linear node `fc`: `weight` of shape \(2, 5\) takes \(5,\), but \(3,\) arrives",
        ),
        (
            clean,
            put("node/nodes/output/shape", np.array([3])),
            r"Output node `output`: it declares shape \(3,\), but \(2,\) arrives",
        ),
    ],
)
def test_leaves_alone_what_it_does_not_understand(
    graph: Callable[[], nir.NIRGraph],
    change: Callable[[h5py.File], None],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = old_files.write(tmp_path / "broken.nir", graph(), change)
    assert main(["upgrade", broken, str(tmp_path / "out.nir")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {broken}: ") and re.search(message, error), error
    assert error.count("\n") == 1 and not (tmp_path / "out.nir").exists()


def test_contract_by_the_caller(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(
        tmp_path / "a.nir", clean(), both(put("node/metadata", None), put(f"{LIF}/metadata", None))
    )
    out = str(tmp_path / "out.nir")
    given = ["--dt", "1e-4", "--reset", "subtract", "--spike-delay", "1"]
    assert main(["upgrade", path, out, *given]) == 0
    printed = capsys.readouterr().out
    assert "contract: contract_version = 1, dt = 0.0001, flatten_order = CHW, time_unit" in printed
    assert "contract: `lif`: reset = subtract\n" in printed
    graph = file.read(out)
    assert graph.metadata["dt"] == 1e-4 and graph.metadata["time_unit"] == "s"
    assert graph.nodes["lif"].metadata == {"reset": "subtract", "spike_delay": 1}
    assert main(["upgrade", out, out, "--dt", "2e-4"]) == 1
    assert "dt = 0.0002 differs from the contract's dt = 0.0001" in capsys.readouterr().err
    assert main(["upgrade", out, out, "--reset", "v_reset"]) == 0
    assert "reset = v_reset (was subtract)" in capsys.readouterr().out
    assert main(["upgrade", path, out, "--dt", "1"]) == 1
    assert "dt = 1 is longer than tau = 0.000488281" in capsys.readouterr().err
    assert main(["upgrade", path, out, "--time-unit", "s"]) == 2


def test_older_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", nested())
    out = str(tmp_path / "out.nir")
    assert main(["upgrade", path, out, "--nir-version", "1.0.4"]) == 0
    assert "nir 1.0.4: `rec.lif`: v_reset left out, it is 0\n" in capsys.readouterr().out
    assert main(["lint", out, "--target", "nir-1.0.4", "--strict"]) == 0
    assert main(["diff", path, out]) == 0
    assert hdf5.read(out)["version"] == "1.0.4"


@pytest.mark.parametrize(
    "out", ["folder.nir", "a.nir/out.nir", "a.nir/deep/out.nir", "n" * 300 + ".nir"]
)
def test_a_place_where_no_file_can_be_is_one_line(
    out: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.nir").mkdir()
    path = old_files.write(Path("a.nir"), nested())
    assert main(["upgrade", path, out]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert not captured.out
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a.nir", "folder.nir"]


@pytest.mark.parametrize("command", [("upgrade",), ("adapt", "--reader", "norse")])
@pytest.mark.parametrize("out", ["", "data.npy"])
def test_other_files_are_not_written_over(
    out: str, command: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = old_files.write(tmp_path / "a.nir", nested())
    (tmp_path / "data.npy").write_text("mine")
    name = out and str(tmp_path / out)
    assert main([command[0], path, name, *command[1:]]) == 2
    assert capsys.readouterr().err == f"error: OUT {name}: the name must end in .nir\n"
    assert (tmp_path / "data.npy").read_text() == "mine"


@pytest.mark.filterwarnings("ignore:.*is infinite")
@pytest.mark.parametrize(("gain", "steps"), [(np.inf, [0.3, 0.6, 0.9]), (4.0, [0, 0, 0])])
def test_infinite_time_constants_become_finite(
    gain: float, steps: list[float], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing leaks: an infinite r counts the input of 0.3 once, a finite one not at all."""
    change = both(
        put(f"{LIF}/tau", np.full(2, np.inf, "f4")), put(f"{LIF}/r", np.full(2, gain, "f4"))
    )
    path, out = old_files.write(tmp_path / "a.nir", clean(), change), str(tmp_path / "b.nir")
    assert main(["upgrade", path, out]) == 0
    assert "infinite: `lif`: tau is infinite; now 2^60 dt" in capsys.readouterr().out
    graph = file.read_dict(out)
    assert all(np.isfinite(graph["nodes"]["lif"][name]).all() for name in ("tau", "r", "v_leak"))
    x = np.zeros((3, 1, 3))
    x[:, 0, 0] = 0.3
    np.testing.assert_array_equal(
        reference.run(graph, x).membranes["lif"],
        reference.run(file.read_dict(path), x).membranes["lif"],
    )
    np.testing.assert_allclose(reference.run(graph, x).membranes["lif"][:, 0, 0], steps)


def test_a_convolution_without_a_bias_gets_zeros(tmp_path: Path) -> None:
    """nir 1.0.8 reads none without."""
    kernel = np.ones((2, 1, 3, 3), np.float32)
    conv = nir.Conv2d((4, 4), kernel, 1, 0, 1, 1, np.zeros(2, np.float32))
    nodes = {
        "input": nir.Input(np.array([1, 4, 4])),
        "c": conv,
        "output": nir.Output(np.array([2, 2, 2])),
    }
    graph = nir.NIRGraph(nodes, [("input", "c"), ("c", "output")], {}, type_check=False)
    path, out = (
        old_files.write(tmp_path / "a.nir", graph, put("node/nodes/c/bias", None)),
        str(tmp_path / "b.nir"),
    )
    with pytest.raises(TypeError):
        nir.read(path)
    assert main(["upgrade", path, out]) == 0
    np.testing.assert_array_equal(nir.read(out).nodes["c"].bias, [0, 0])
