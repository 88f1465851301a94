"""The runner as a framework would use it: its file, NumPy, an adapter; readers that lie or refuse."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline.conformance import build
from pipeline.interop import exported, support
from pipeline.interop.conformance import into
from spyx_nir.errors import UserError
from spyx_nir.meaning import dialects

ADAPTERS = {
    "honest": "return {key: a for key, a in data.items() if not key.startswith('input/')}",
    "alone": "return next(a for key, a in data.items() if key.startswith('output/'))",
    "off": "return {k: a + 0.01 for k, a in data.items() if k.startswith('output/')}",
    "late": "return {k: np.roll(a, 1, 0) for k, a in data.items() if k.startswith('output/')}",
    "shaped": "return {k: a[:, :1] for k, a in data.items() if k.startswith('output/')}",
    "nan": "return {k: a * np.nan for k, a in data.items() if k.startswith('output/')}",
    "fewer": "return {}",
    "more": "return {**{k: a for k, a in data.items() if k.startswith('output/')}, 'spikes/x': dt}",
    "refuser": "raise ValueError('this kind of node is not supported')",
    "reader": "return None",
    "endless": "while True: pass",
}
CASES = ("lif-basic", "li-basic", "two-inputs")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("conformance") / "pack"
    build.write(folder)
    for name, body in ADAPTERS.items():
        text = (
            "import numpy as np\n"
            "def run_nir(path, inputs, dt):\n"
            "    data = dict(np.load(path.replace('model.nir', 'data.npz')))\n"
            f"    {body}\n"
        )
        (folder.parent / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def run(pack: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The runner of the pack, in the folder of the adapters, without this project."""
    program = [sys.executable, str(pack / "run_conformance.py"), *arguments]
    return subprocess.run(program, cwd=pack.parent, capture_output=True, text=True)


def chosen(*names: str) -> list[str]:
    return [word for name in names for word in ("--case", name)]


def test_an_honest_reader_passes_every_case(pack: Path) -> None:
    report = pack.parent / "report.json"
    done = run(pack, "--reader", "honest", "--json", str(report))
    assert done.returncode == 0, done.stdout
    rows = json.loads(report.read_text())["cases"]
    assert {row["result"] for row in rows} == {"pass"}
    assert [row["name"] for row in rows] == build.read_index(pack)
    assert len(done.stdout.splitlines()) > len(rows)


@pytest.mark.parametrize(
    "adapter, result, status, says",
    [
        ("alone", "pass", 0, ""),
        ("off", "FAIL", 1, "first at step 0"),
        ("late", "FAIL", 1, "differ, first at step"),
        ("shaped", "FAIL", 1, "expected is (12, 3)"),
        ("nan", "FAIL", 1, "nan, expected"),
        ("fewer", "FAIL", 1, "output/output: missing"),
        ("more", "FAIL", 1, "spikes/x: no such node"),
        ("refuser", "refused", 0, "ValueError: this kind of node is not supported"),
        ("reader", "read", 0, "nothing to run"),
    ],
)
def test_what_a_reader_does_is_said(
    pack: Path, adapter: str, result: str, status: int, says: str
) -> None:
    done = run(pack, "--reader", adapter, *chosen(*CASES))
    assert done.returncode == status
    lines = done.stdout.splitlines()[: len(CASES)]
    assert [line.split()[:2] for line in lines] == [[result, name] for name in CASES]
    assert says in done.stdout


def test_a_reader_that_never_returns_is_stopped(pack: Path) -> None:
    done = run(pack, "--reader", "endless", "--seconds", "1", "--case", "lif-basic")
    assert done.returncode == 0 and "TimeoutError: no answer within 1 s" in done.stdout


def test_strict_counts_refusals_as_failures(pack: Path) -> None:
    assert run(pack, "--reader", "refuser", "--strict", *chosen(*CASES)).returncode == 1


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["--reader", "nobody"], "--reader nobody: No module named"),
        (["--reader", "honest:walk"], "has no attribute 'walk'"),
        (["--reader", "honest", "--case", "lif"], "--case lif: no such case"),
        (["--reader", "honest", "--pack", "nowhere"], "--pack nowhere: No such file"),
    ],
)
def test_what_cannot_be_run_is_one_line(pack: Path, arguments: list[str], says: str) -> None:
    done = run(pack, *arguments)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1 and says in done.stderr


def test_the_runner_needs_numpy_alone() -> None:
    tree = ast.parse((build.HERE / "run_conformance.py").read_text(encoding="utf-8"))
    names = {
        (node.module if isinstance(node, ast.ImportFrom) else alias.name).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert names <= {"numpy", *sys.stdlib_module_names}


def test_a_pack_is_small_and_has_the_same_bytes_each_time(pack: Path, tmp_path: Path) -> None:
    assert build.size(pack) < 5_000_000
    build.write(tmp_path / "again")
    for path in (tmp_path / "again").rglob("*"):
        if path.is_file():
            same = (pack / path.relative_to(tmp_path / "again")).read_bytes()
            assert path.read_bytes() == same, path.name


def test_every_case_says_what_it_tests(pack: Path) -> None:
    for name in build.read_index(pack):
        about = json.loads((pack / "cases" / name / "about.json").read_text())
        assert about["name"] == name and about["tests"] and about["tolerance"]["why"]
        assert set(about["equation"]) == set(about["kinds"])
        assert (
            about["margin"]["value"] is None
            or about["margin"]["value"] >= build.MARGIN
            or (name.endswith("at-threshold") and about["margin"]["value"] == 0)
        )


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="holds no pack"):
        build.write(tmp_path)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_known_rule_explains_and_another_does_not(pack: Path, tmp_path: Path) -> None:
    """A reader that starts at v_leak, by hand: v_leak 0.375, decay 7/8, gain 1."""
    folder = pack / "cases" / "lif-leak"
    with np.load(folder / "data.npz") as archive:
        x = archive["input/input"].astype(float)
    v, spikes = np.full(3, 0.375), []
    for frame in x:
        v = v + (0.375 - v) / 8 + frame
        spikes.append(v > 1)
        v = np.where(v > 1, 0, v)
    np.savez(tmp_path / "lif-leak.npz", **{"output/output": np.array(spikes, float)})
    row = {"name": "lif-leak", "kinds": ["LIF"], "result": "fail", "why": "differs"}
    known = (dialects.NIR_ALONE, dialects.SC_NEUROCORE)
    assert support.judge(row, folder, tmp_path, known).verdict == "explained"
    assert support.judge(row, folder, tmp_path, (dialects.NIR_ALONE,)).verdict == "wrong"


def test_the_table_counts_and_names_the_smallest_file() -> None:
    rows = [
        support.Row("lif-basic", ("LIF",), "faithful", ""),
        support.Row("chain-lif", ("Linear", "LIF"), "refused", "ValueError: `a` has no b"),
        support.Row("lif-gain", ("LIF",), "refused", "ValueError: `neuron` has no b"),
        support.Row("lif-leak", ("LIF",), "wrong", "3 of 36 differ"),
    ]
    text = support.table({"x": rows}, {"x": "X 1.0"})
    assert "| LIF | faithful 1<br>wrong 1<br>refused 2 |" in text
    assert "| Linear | refused 1 |" in text
    assert "| refused | 2 | LIF, Linear | `lif-gain` | `ValueError: neuron has no b` |" in text
    assert "| wrong | 1 | LIF | `lif-leak` | `3 of 36 differ` |" in text


def test_a_page_without_its_marks_is_refused() -> None:
    marked = (
        "a\n<!-- support: written by `make conformance-peers` -->\nold\n<!-- end of support -->\nb"
    )
    assert "old" not in into(marked, "support", "new") and "\nb" in into(marked, "support", "new")
    with pytest.raises(UserError, match="are missing"):
        into("a", "support", "new")


def test_an_exported_file_is_judged_by_what_its_framework_did(pack: Path) -> None:
    folder = pack / "cases" / "lif-subtract"
    with np.load(folder / "data.npz") as archive:
        x, expected = archive["input/input"], archive["output/output"]
    other = pack / "cases" / "lif-basic" / "model.nir"  # the same neuron, the reset unsaid
    exporter = exported.Exporter("X", 1e-4, resets=("subtract",))
    assert exported.judge(exporter, folder / "model.nir", x, expected)[0] == "faithful"
    verdict, why = exported.judge(exporter, other, x, expected)
    assert verdict == "explained" and "`subtract`" in why
    assert exported.judge(exported.Exporter("X", 1e-4), other, x, expected)[0] == "wrong"
