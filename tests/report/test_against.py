"""Two revisions side by side: the paired test, what is read from git and DVC's cache, what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from end_to_end import ROOT
from scipy import stats

from pipeline.report import against
from pipeline.report.__main__ import main

Printed = pytest.CaptureFixture[str]
ACCURACY = "Accuracy on the test set; targets in integers"
SIZE = "Size; bytes, and what of a chip is used"


def entry(correct: int, n: int = 10) -> dict[str, Any]:
    return {"accuracy": correct / n, "correct": correct, "n": n, "wilson95": [0.25, 0.75]}


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 1), (5, 0), (3, 3), (1, 8), (40, 61)])
def test_the_paired_test_is_scipys_sign_test(only_a: int, only_b: int) -> None:
    pairs = only_a + only_b
    wanted = stats.binomtest(only_a, pairs, 0.5).pvalue if pairs else 1.0
    assert against.mcnemar(only_a, only_b) == pytest.approx(wanted, rel=1e-12)  # sums of doubles


def test_the_paired_test_by_hand() -> None:
    assert against.mcnemar(5, 0) == 2 / 32  # all five pairs on one side, or on the other
    assert against.mcnemar(8, 1) == 2 * (1 + 9) / 512


@pytest.mark.parametrize("n", [1, 4, 7])
def test_the_range_of_p_is_that_of_all_pairings(n: int) -> None:
    for right_a in range(n + 1):
        for right_b in range(n + 1):
            allowed = [
                stats.binomtest(right_a - both, right_a + right_b - 2 * both, 0.5).pvalue
                if right_a + right_b > 2 * both
                else 1.0
                for both in range(max(0, right_a + right_b - n), min(right_a, right_b) + 1)
            ]
            found = against.p_range(right_a, right_b, n)
            assert found == pytest.approx((min(allowed), max(allowed)), rel=1e-12)


def project(root: Path, answers: str, abacus: int, cells: int, recordings: str = "a" * 32) -> None:
    """A task `letters` with the target `abacus`; `answers` to recordings that are all of class A."""
    metrics = {
        "accuracy": {"integer": entry(abacus)},
        "Footprint": 1000 + cells,
        "SynapticOperations": {"Dense": 5000.0},
        "layers": [{"node": "lif", "entries": 400, "spike_rate": 0.25}],
    }
    parity = {"samples": 10, "layers": [{"node": "lif", "entries": 400, "spike_rate": 0.5}]}
    fit = {"verdict": "fits", "utilisation": [{"resource": "cells", "used": cells}]}
    texts = {
        "models/letters/parity.json": json.dumps(parity),
        "models/letters/confusion.csv": "actual,predicted\n" + "".join(f"A,{x}\n" for x in answers),
        "metrics/letters-generic.json": json.dumps({"Footprint": 4000}),
        "metrics/letters-abacus.json": json.dumps(metrics),
        "models/letters/deploy/abacus/fit.json": json.dumps(fit),
        ".gitignore": "deploy/\n.dvc/\n",
    }
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    inner = [{"relpath": "fit.json", "md5": stored(root, json.dumps(fit))}]
    bundle = stored(root, json.dumps(inner), ".dir")
    outs = [{"path": name, "md5": "0" * 32, "size": len(text)} for name, text in texts.items()]
    outs.append({"path": "models/letters/deploy/abacus", "md5": bundle, "size": 100 * cells})
    outs.append({"path": "data/prepared/letters.h5", "md5": recordings, "size": 1})
    outs = [out for out in outs if not str(out["path"]).endswith(("fit.json", ".gitignore"))]
    lock = {"schema": "2.0", "stages": {"all": {"cmd": "true", "outs": outs}}}
    (root / "dvc.lock").write_text(yaml.safe_dump(lock))


def stored(root: Path, text: str, suffix: str = "") -> str:
    """Put a text where DVC's cache has it: its digest."""
    digest = hashlib.md5(text.encode()).hexdigest() + suffix
    path = root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return digest


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tag `old`, and in the working tree a network that answers otherwise."""
    project(tmp_path, "AAAAAAAABB", abacus=10, cells=50)
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    for command in (
        ("init", "-q"), ("add", "-A"), (*who, "commit", "-qm", "Begin"), ("tag", "old"),
    ):  # fmt: skip
        subprocess.run(("git", "-C", str(tmp_path), *command), check=True)
    project(tmp_path, "BBBBBBAAAA", abacus=7, cells=60)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, revision: str) -> int:
    monkeypatch.setattr(sys, "argv", ["report", "--against", revision])
    return main()


@pytest.fixture
def compared(
    repository: Path, monkeypatch: pytest.MonkeyPatch, read_page: Callable[[Path], Any]
) -> Callable[[], Any]:
    def compare() -> Any:
        assert run(monkeypatch, "old") == 0
        return read_page(repository / "report" / "against.html")

    return compare


def rows(page: Any, caption: str) -> Mapping[str, list[Any]]:
    """By the network, or by the network and what is measured."""
    found = page.tables["against", caption][1:]
    keys = 1 if caption == ACCURACY else 2
    return {", ".join(row[:keys]): row[keys:] for row in found}


def test_two_revisions_side_by_side(compared: Callable[[], Any], capsys: Printed) -> None:
    page = compared()
    found = rows(page, ACCURACY)
    # Of ten recordings the first six are right only at `old`, the last two only in the working tree.
    a, b = (stats.binomtest(k, 10).proportion_ci(method="wilson") for k in (8, 4))
    trained = ["8 of 10", a.low, a.high, "4 of 10", b.low, b.high, -40, 6, 2]
    assert found["letters, trained"][0::3] == [*trained[0::3], stats.binomtest(2, 8, 0.5).pvalue]
    numbers = [cell for cell in found["letters, trained"][:9] if not isinstance(cell, str)]
    assert numbers == pytest.approx([cell for cell in trained if not isinstance(cell, str)])
    # All were right at `old`, so that the three that are wrong now are the only unequal pairs.
    assert found["letters, abacus"][-3:] == ["–", "–", 2 / 2**3]
    size = rows(page, SIZE)
    assert size["letters, abacus, bundle, bytes"] == [5000, 6000, pytest.approx(0.2)]
    assert size["letters, abacus, cells"] == [50, 60, pytest.approx(0.2)]
    assert size["letters, abacus, constraint check"] == ["fits", "fits", 0]
    assert size["letters, trained, Footprint"] == [4000, 4000, 0]
    spikes = rows(page, "Spikes of a layer in a recording, means")
    assert spikes["letters, trained, lif"] == [
        20,
        20,
        0,
    ]  # 400 entries, half of them, 10 recordings
    assert spikes["letters, abacus, lif"] == [10, 10, 0]
    assert page.missing == []
    assert capsys.readouterr().out == (
        "report/against.html: old against the working tree, 2 networks\n"
    )


def test_pairs_that_are_not_known_give_a_range(
    repository: Path, compared: Callable[[], Any]
) -> None:
    project(repository, "BBBBBBAAAA", abacus=7, cells=60)
    shutil.copy("metrics/letters-abacus.json", "kept.json")
    subprocess.run(("git", "checkout", "-q", "old", "--", "."), check=True)
    lesser = json.loads(Path("metrics/letters-abacus.json").read_text())
    lesser["accuracy"]["integer"] = entry(7)
    old = {**lesser, "accuracy": {"integer": entry(9)}}
    Path("metrics/letters-abacus.json").write_text(json.dumps(old))
    who = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(("git", *who, "commit", "-qam", "Nine"), check=True)
    subprocess.run(("git", "tag", "-f", "old"), check=True, stdout=subprocess.DEVNULL)
    Path("metrics/letters-abacus.json").write_text(json.dumps(lesser))
    # 9 and 7 of 10: one recording is wrong at `old`; of it the working tree may be right.
    low, high = (stats.binomtest(k, 2 + 2 * k, 0.5).pvalue for k in (0, 1))
    assert rows(compared(), ACCURACY)["letters, abacus"][-1] == f"{low:.2g} to {high:.2g}"


def test_other_recordings_are_not_paired(repository: Path, compared: Callable[[], Any]) -> None:
    project(repository, "BBBBBBAAAA", abacus=7, cells=60, recordings="b" * 32)
    page = compared()
    assert [row[-3:] for row in rows(page, ACCURACY).values()] == [["–"] * 3] * 2
    (line,) = page.missing
    assert "letters: the recordings of old are others" in line


def test_what_the_cache_lacks_is_named(
    repository: Path, compared: Callable[[], Any], capsys: Printed
) -> None:
    shutil.rmtree(repository / ".dvc")
    page = compared()
    (line,) = page.missing
    assert (
        "models/letters/deploy/abacus/fit.json: not in git, and of old not in DVC's cache" in line
    )
    assert line in capsys.readouterr().out
    assert rows(page, SIZE)["letters, abacus, cells"] == ["–", 60, "–"]


def test_a_metrics_file_of_another_form_is_named(
    repository: Path, compared: Callable[[], Any]
) -> None:
    (repository / "metrics" / "letters-abacus.json").write_text('{"accuracy": 0.5}')
    page = compared()
    assert all("metrics/letters-abacus.json at working tree" in line for line in page.missing)
    assert list(rows(page, ACCURACY)) == ["letters, trained"]


def test_names_are_text(repository: Path, compared: Callable[[], Any]) -> None:
    path = repository / "models/letters/deploy/abacus/fit.json"
    fit = json.loads(path.read_text())
    fit["utilisation"].append({"resource": "<script>\u202e\x1b[2J", "used": 1})
    path.write_text(json.dumps(fit))
    page = compared()
    assert rows(page, SIZE)["letters, abacus, <script>\\u202e\\x1b[2J"] == ["–", 1, "–"]
    text = (repository / "report" / "against.html").read_text(encoding="utf-8")
    assert not {"\u202e", "\x1b"} & set(text) and text.count("<script") == 1  # the page's own


@pytest.mark.parametrize("revision", ["nonsense", "--help", "old:dvc.lock", ""])
def test_a_revision_that_is_none_is_one_line(
    revision: str, repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    monkeypatch.setattr(sys, "argv", ["report", f"--against={revision}"])
    assert main() == 1
    assert capsys.readouterr().err == (
        f"error: AGAINST={revision}: not a revision of this repository; allowed: a commit, branch or "
        "tag that git rev-parse knows\n"
    )
    assert not (repository / "report").exists()


def test_without_git_or_lock_it_is_one_line(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    (repository / "dvc.lock").unlink()
    assert run(monkeypatch, "old") == 1
    assert "dvc.lock: no such file; run make repro" in capsys.readouterr().err
    shutil.rmtree(repository / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(repository.parent))
    assert run(monkeypatch, "old") == 1
    assert "no git checkout" in capsys.readouterr().err


def test_make_passes_the_revision_on() -> None:
    done = subprocess.run(
        ("make", "-n", "-o", ".venv/.ready", "report", "AGAINST=v1"),
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "python -m pipeline.report --against 'v1'" in done.stdout
