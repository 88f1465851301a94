"""The command line itself, and `inspect`, `run`, `diff` and `verify`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import old_files
import pytest
from old_files import clean, put
from terminal import shown

from spyx_nir.bundle.templates.shared import PASS
from spyx_nir.cli import show
from spyx_nir.cli.main import COMMANDS, main

LIF = "node/nodes/lif"
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "graphs"


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A file of the clean graph."""
    return old_files.write(tmp_path / "a.nir", clean())


def outside(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """`python -m spyx_nir ...` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "spyx_nir", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd or ROOT,
        check=False,
    )


# ------------------------------------------------------------------------------------ command line


def test_help_names_every_command_and_the_exit_codes() -> None:
    done = outside("--help")
    assert done.returncode == 0
    assert all(f"\n    {name}" in done.stdout for name in COMMANDS)
    assert "exit codes:" in done.stdout
    for name in COMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize(
    "name", ["check", "prepare", "train", "export", "parity", "deploy", "target"]
)
def test_help_says_how_a_stage_is_started(name: str) -> None:
    command = [sys.executable, "-m", f"pipeline.{name}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.startswith(f"usage: python -m pipeline.{name} [-h]")


def test_version() -> None:
    done = outside("--version")
    assert done.stdout.startswith("spyx-nir ") and done.stdout.endswith(", contract 2\n")


@pytest.mark.parametrize(
    "arguments", [[], ["nonsense"], ["lint"], ["diff", "a"], ["lint", "a", "--target", "abacus"]]
)
def test_usage_errors_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.endswith(" --help\n") and error.count("\n") == 1


def test_interrupted_while_a_tool_is_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("importlib.import_module", interrupt)
    assert main(["inspect", "a.nir"]) == 130
    assert capsys.readouterr().err.startswith("interrupted: ")


@pytest.mark.parametrize("command", ["inspect", "lint", "upgrade", "run", "diff"])
def test_broken_files_are_one_line(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.nir"
    bad.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    more = {"upgrade": ["out.nir"], "run": ["x.npy"], "diff": [str(bad)]}.get(command, [])
    assert main([command, str(bad), *more]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {bad}: ") and captured.err.count("\n") == 1
    assert captured.out == ""


def test_start_without_jax(path: str, tiny_run: Callable[[str, str], Path]) -> None:
    """These commands never import JAX, nor Flax, Spyx or tonic, nor DVC or Matplotlib."""
    bundle = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
    program = (
        "import sys\nfrom spyx_nir.cli.main import main\n"
        f"for arguments in (['inspect', {path!r}], ['lint', {path!r}], ['diff', {path!r}, {path!r}],"
        f" ['verify', {str(bundle)!r}], ['summary', {str(bundle)!r}],"
        f" ['fit', {path!r}, '--target', 'xylo-audio-2']):\n"
        "    assert main(arguments) == (arguments[0] == 'fit'), arguments\n"
        "print(sorted({'jax', 'flax', 'spyx', 'tonic', 'dvc', 'rich', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize(
    ("package", "install", "arguments"),
    [
        ("yaml", "spyx-nir", ["fit", "{path}", "--target", "xylo-audio-2"]),
        ("yaml", "spyx-nir", ["new-task", "mine"]),
        ("shtab", "spyx-nir[cli]", ["completion", "bash"]),
        ("nir", "spyx-nir", ["inspect", "{path}"]),
    ],
)
def test_a_package_that_is_missing_is_one_line(
    path: str, package: str, install: str, arguments: list[str]
) -> None:
    program = (
        f"import sys\nsys.modules[{package!r}] = None\nfrom spyx_nir.cli.main import main\n"
        f"sys.exit(main({[a.format(path=path) for a in arguments]!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: the package `{package}` is not installed in ")
    assert f': pip install "{install}"' in done.stderr
    assert done.stderr.count("\n") == 1


def test_table_on_a_terminal(path: str) -> None:
    """On a terminal there is a table with a header; markup in a file's names is shown as it is."""
    made = old_files.clean()
    made.nodes["[red]lif"] = made.nodes.pop("lif")
    made.edges = [("input", "fc"), ("fc", "[red]lif"), ("[red]lif", "output")]
    old_files.write(Path(path), made)
    printed = shown(["-m", "spyx_nir", "inspect", path], columns=120)
    assert "[red]lif" in printed and "values" in printed and "\t" not in printed


def test_a_closed_pipe_is_silent(path: str) -> None:
    done = subprocess.run(
        f"{sys.executable} -m pipeline inspect {path} | true",
        shell=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "Traceback" not in done.stderr


# ----------------------------------------------------------------------------------------- inspect


def test_inspect(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", path]) == 0
    printed = capsys.readouterr().out
    assert "3 edges, 16 parameters" in printed  # 2x3 weights, 5 fields of 2 neurons
    assert "lif\tLIF\t(2) -> (2)\t10\ttau 0.000488281, r 4, v_leak 0" in printed.replace(
        "r 4, tau 0.000488281", "tau 0.000488281, r 4"
    )
    assert "decay 0.75; reset v_reset, spike_delay 0" in printed


def test_inspect_json(path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [node["path"] for node in found["nodes"]] == ["input", "fc", "lif", "output"]
    assert found["contract"]["dt"] == old_files.DT and found["nir_version"] == "1.0.8"
    assert found["nodes"][2]["fields"]["tau"]["dtype"] == "float32"
    assert found["nodes"][1]["fields"]["weight"] == {
        "shape": [2, 3],
        "dtype": "float32",
        "min": 0.0,
        "max": 1.0,
    }


def test_inspect_follows_the_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A spike that leaves a step late was decided before; its neuron still stands behind its input."""
    graph = old_files.recurrent(old_files.INNER)
    graph.nodes["rec"].nodes["lif"].metadata["spike_delay"] = 1
    path = old_files.write(tmp_path / "a.nir", graph)
    assert main(["inspect", path, "--json"]) == 0
    found = [node["path"] for node in json.loads(capsys.readouterr().out)["nodes"]]
    inner = ["rec.input", "rec.lif", "rec.output", "rec.w_rec"]
    assert found == ["input", "fc", *inner, "output"]


@pytest.mark.parametrize("dt", ["0", "-1", "nan", "inf"])
@pytest.mark.parametrize(
    "command", ["inspect A", "lint A", "upgrade A B", "run A B", "fit A --target loihi"]
)
def test_what_is_no_step_is_refused(
    command: str, dt: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command.split(), f"--dt={dt}"])
    assert ended.value.code == 2
    error = f"error: argument --dt: must be a finite number above 0, got {dt}; "
    assert capsys.readouterr().err == f"{error}see spyx-nir {command.split()[0]} --help\n"


def test_inspect_shows_what_cannot_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", clean(), put(f"{LIF}/tau", np.array([np.nan, 1])))
    assert main(["inspect", path]) == 0
    printed = capsys.readouterr().out
    assert "cannot be run: LIF node `lif`: `tau` holds nan at (0,)" in printed
    assert main(["inspect", path, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["nodes"][2]["fields"]["tau"]["min"] == "nan"


# --------------------------------------------------------------------------------------------- run


def by_hand(x: np.ndarray) -> np.ndarray:
    """The clean graph: u = 0.75 v + W x, spike above 1, v back to 0. x is (T, B, 3)."""
    weight = np.array([[1, 0, 0.5], [0, 1, 0.5]])
    v = np.zeros((x.shape[1], 2))
    spikes = []
    for x_t in x:
        u = 0.75 * v + x_t @ weight.T
        spikes.append(u > 1)
        v = np.where(u > 1, 0, u)
    return np.array(spikes, float)


@pytest.mark.parametrize("engine", ["reference", "jax"])
@pytest.mark.parametrize("form", ["npy", "npz", "one sample"])
def test_run(
    engine: str, form: str, path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(2).integers(0, 2, (12, 3, 3)).astype(np.uint8)
    expected = by_hand(x)
    data = tmp_path / ("x.npz" if form == "npz" else "x.npy")
    if form == "npz":
        np.savez(data, input=x, label=np.arange(3))
    else:
        np.save(data, x if form == "npy" else x[:, 0])
    expected = expected if form != "one sample" else expected[:, :1]
    out = tmp_path / "out.npz"
    assert main(["run", path, str(data), "--engine", engine, "-o", str(out)]) == 0
    with np.load(out, allow_pickle=False) as found:
        assert (found["output"] == expected).all()
        assert set(found.files) == ({"output", "lif"} if engine == "reference" else {"output"})
    printed = capsys.readouterr().out
    assert f"output: ({', '.join(map(str, expected.shape))}), sum {expected.sum():g}\n" in printed


def test_run_gives_channels_first_from_both_engines(tmp_path: Path) -> None:
    """A model that itself puts out channels last (`output_order`) included."""
    shape = (2, 3, 4)
    nodes = {
        "input": nir.Input(np.array(shape)),
        "flat": nir.Flatten({"input": np.array(shape)}, 0, -1),
        "output": nir.Output(np.array([24])),
    }
    graph = old_files.chain(**nodes)
    graph.metadata["output_order"] = "HWC"
    path = old_files.write(tmp_path / "a.nir", graph)
    x = np.random.default_rng(3).integers(0, 9, (5, 2, *shape)).astype(np.uint8)
    np.save(tmp_path / "x.npy", x)
    for engine in ("reference", "jax"):
        out = tmp_path / f"{engine}.npz"
        command = ["run", path, str(tmp_path / "x.npy"), "--engine", engine, "-o", str(out)]
        assert main(command) == 0
        with np.load(out) as found:
            assert (found["output"] == x.reshape(5, 2, 24)).all()


def test_run_names_classes(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with h5py.File(path, "r+") as f:
        f["node/metadata/classes"] = '["left", "right"]'
        f["node/metadata/readout"] = "spike_count"
    x = np.zeros((10, 2, 3), np.uint8)
    x[:, 0, 1] = x[:, 1, 0] = 2
    np.save(tmp_path / "x.npy", x)
    assert main(["run", path, str(tmp_path / "x.npy")]) == 0
    assert capsys.readouterr().out.endswith("classes: right, left\n")


def test_run_refuses_broken_classes(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(path, "r+") as f:
        f["node/metadata/classes"] = "[1"
    np.save(tmp_path / "x.npy", np.ones((2, 1, 3)))
    assert main(["run", path, str(tmp_path / "x.npy")]) == 1
    error = f"error: {path}: the contract's `classes` is no JSON list of names\n"
    assert capsys.readouterr().err == error


def test_run_warns_of_legacy_wiring(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = old_files.write(tmp_path / "a.nir", old_files.recurrent(old_files.LEGACY))
    np.save(tmp_path / "x.npy", np.ones((4, 1, 3)))
    assert main(["run", path, str(tmp_path / "x.npy")]) == 0
    error = capsys.readouterr().err
    assert error.startswith("warning: subgraph `rec` has the legacy wiring input -> w_rec")


def test_run_refuses_data(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w") as archive:
        archive.writestr("input.npy", b"")
    raw = bytearray(bomb.read_bytes())
    place = raw.index(b"PK\x01\x02") + 24  # the unpacked size in the table of contents
    raw[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    bomb.write_bytes(raw)
    np.save(tmp_path / "object.npy", np.array([{}], object), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.full((2, 1, 3), np.nan))
    np.save(tmp_path / "wide.npy", np.ones((2, 1, 4)))
    np.savez(tmp_path / "two.npz", a=np.ones((2, 1, 3)), b=np.ones((2, 1, 3)))
    (tmp_path / "text.npy").write_text("1,2,3")
    cut = tmp_path / "cut.npy"
    np.save(cut, np.ones((200, 1, 3)))
    cut.write_bytes(cut.read_bytes()[:500])
    for name, message in {
        "bomb.npz": "unpacks to 4294967294 bytes; at most 2147483648 are allowed",
        "object.npy": "no .npy or .npz file of numbers: ",
        "nan.npy": "input `input` holds NaN or infinite values",
        "wide.npy": "input `input` must be time-major (T, B, 3), got shape (2, 1, 4)",
        "two.npz": "holds the arrays a, b; the graph's inputs are input: one array of",
        "text.npy": "no .npy or .npz file of numbers: ",
        "cut.npy": "no .npy or .npz file of numbers: ",
        "a.nir": "no .npy or .npz file of numbers: it begins like neither",
        "none.npy": "no such file",
    }.items():
        assert main(["run", path, str(tmp_path / name)]) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / name}: {message}"), error
        assert error.count("\n") == 1
    np.save(tmp_path / "x.npy", np.ones((2, 1, 3)))
    assert main(["run", path, str(tmp_path / "x.npy"), "-o", "out.txt"]) == 2
    captured = capsys.readouterr()
    assert captured.err == "error: --output out.txt: the name must end in .npz\n"
    assert not captured.out
    assert main(["run", path, str(tmp_path / "x.npy"), "--dt", "1"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""  # both are said before anything is printed
    assert captured.err.startswith(f"error: {path}: --dt: dt = 1 differs from")


@pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/graphs is not here")
@pytest.mark.parametrize("engine", ["reference", "jax"])
def test_run_reproduces_a_published_recording(engine: str, tmp_path: Path) -> None:
    """The spikes that Spyx recorded for the Braille sample of the NIR paper, one step late."""
    out = tmp_path / "out.npz"
    name = SHARED / "braille_noDelay_noBias_subtract.nir"
    sample = SHARED / "braille_test_sample_0.npy"
    given = ["--dt", "1e-4", "--reset", "subtract", "--engine", engine, "-o", str(out)]
    assert main(["run", str(name), str(sample), *given]) == 0
    with np.load(out) as found:
        if engine == "reference":
            recorded = np.load(SHARED / "spyx_activity_noDelay_noBias_subtract.npy")
            assert (found["lif1.lif"][:-1, 0] == recorded[1:]).all()
        assert found["output"].sum() == 156  # by the reference rule of the published graphs


# -------------------------------------------------------------------------------------------- diff


def test_diff(path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = old_files.clean()
    other.nodes["fc"].weight[1, 2] += 0.25
    other.metadata["dt"] = 2e-4
    other.nodes["lif"].metadata["reset"] = "subtract"
    other.nodes["more"] = old_files.lif()
    other.edges.append(("lif", "more"))
    b = old_files.write(tmp_path / "b.nir", other)
    assert main(["diff", path, path]) == 0
    assert capsys.readouterr().out == f"{path} and {path}: equal\n"
    assert main(["diff", path, b]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "where\twhat\tdifference",
        "graph\tedge lif -> more\tonly in B",
        "graph\tcontract dt\t0.000122070312, 0.0002",
        "fc\tweight\t1 of 6 values, by at most 0.25; the first at (1, 2): 0.5, 0.75",
        "lif\tcontract reset\t'v_reset', 'subtract'",
        "more\tLIF node\tonly in B",
        f"{path} and {b}: 5 differences",
    ]


def test_diff_tolerance_and_json(
    path: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = old_files.clean()
    other.nodes["fc"].weight = other.nodes["fc"].weight.astype(np.float64) + 1e-6
    b = old_files.write(tmp_path / "b.nir", other)
    assert main(["diff", path, b, "--tolerance", "2e-6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["differences"] == []
    assert main(["diff", path, b, "--tolerance", "1e-7", "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["differences"]
    assert found["where"] == "fc" and found["difference"].startswith("6 of 6 values")
    assert main(["diff", path, b, "--tolerance", "-1"]) == 2


# ------------------------------------------------------------------------------------------ verify


def test_verify(
    tiny_run: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
    bundle = tmp_path / "deploy"
    shutil.copytree(made, bundle)
    capsys.readouterr()  # what making it said, where this test is the first to ask for it
    assert main(["verify", str(bundle)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert first.startswith(
        f"{bundle}: digests right, 8 vectors reproduced by model.nir and model-nir"
    )
    assert last == f"{bundle}: pass; {PASS}"
    with h5py.File(bundle / "model.nir", "r+") as f:
        f["node/nodes/linear_0/weight"][...] *= 2
    assert main(["verify", str(bundle)]) == 1
    captured = capsys.readouterr()
    assert "differs: model.nir: SHA-256 is " in captured.err
    assert captured.out.startswith(f"{bundle}: FAIL, ")
    with h5py.File(bundle / "model.nir", "r+") as f:
        f["node/nodes/again"] = f["node"]
    assert main(["verify", str(bundle)]) == 1
    assert "are one object: a cycle" in capsys.readouterr().err
    assert main(["verify", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["verify", str(tmp_path / "empty")]) == 1
    told = f"error: {tmp_path / 'empty'}: no bundle, which is a folder that holds manifest.json\n"
    assert capsys.readouterr().err == told


def test_verify_runs_nothing_from_the_bundle(
    tiny_run: Callable[[str, str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "deploy"
    shutil.copytree(
        tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic", bundle
    )
    (bundle / "verify.py").write_text("raise SystemExit('was run')\n")
    assert main(["verify", str(bundle)]) == 1
    assert "differs: verify.py: SHA-256" in capsys.readouterr().err


# ---------------------------------------------------------------------------- --json and completion


def test_json_says_what_the_lines_say(
    path: str,
    tmp_path: Path,
    tiny_run: Callable[[str, str], Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "x.npy", np.ones((4, 2, 3), np.uint8))
    bundle = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"

    def told(*arguments: str) -> dict:
        assert main([*arguments, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    ran = told("run", path, str(tmp_path / "x.npy"))
    assert main(["run", path, str(tmp_path / "x.npy")]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name, count in ran["spikes"].items():
        assert any(line.startswith(f"{name}: ") and f" {count} spike" in line for line in lines)
    (output,) = ran["outputs"].values()
    assert output["shape"][:2] == [4, 2]
    upgraded = told("upgrade", path, str(tmp_path / "b.nir"), "--reset", "subtract")
    assert any("reset = subtract" in change for change in upgraded["changes"])
    adapted = str(tmp_path / "c.nir")
    assert told("adapt", path, adapted, "--reader", "spikingjelly")["file"] == adapted
    verdict = told("verify", str(bundle))
    assert len(verdict.pop("seen")) == 1
    expected = {"bundle": str(bundle), "passes": True, "problems": [], "signed": False}
    assert verdict == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_commands_and_flags() -> None:
    done = outside("completion", "bash")
    asked = "COMP_WORDS=(spyx-nir {words}); COMP_CWORD={last}; {function}; echo ${{COMPREPLY[@]}}\n"
    function = done.stdout.split("complete ")[-1].split("-F ")[1].split()[0]
    script = done.stdout + "".join(
        asked.format(words=words, last=len(words.split()), function=function)
        for words in ("li", "lint --j", "completion z", "fit --target lo", "lint --target n")
    )
    ran = subprocess.run(["bash"], input=script, capture_output=True, text=True)
    assert ran.stdout.splitlines() == ["lint", "--json", "zsh", "loihi", "nir-1.0.4"]


@pytest.mark.parametrize(
    ("fraction", "digits", "said"),
    [
        (0, 1, "0.0 %"),
        (19 / 1_000_000, 1, "< 0.1 %"),  # 0.0019 %
        (0.0005, 1, "0.1 %"),
        (0.9996, 1, "> 99.9 %"),
        (1, 1, "100.0 %"),
        (1.2, 1, "120.0 %"),
        (0.004, 0, "< 1 %"),
        (0.996, 0, "> 99 %"),
    ],
)
def test_rounding_takes_no_share_to_nothing_or_all(fraction, digits, said):
    assert show.share(fraction, digits) == said
