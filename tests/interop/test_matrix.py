"""A bundle through readers in processes of their own, one of which lies."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.commands.release import bundles
from pipeline.interop import __main__ as command
from pipeline.interop import importers, matrix, protocol
from pipeline.interop.importers import READERS, Reader
from spyx_nir.errors import UserError, exit_status

TinyRun = Callable[[str, str], Path]


def fake(name: str, profile: str = "") -> Reader:
    """A reader of this folder, run by the Python that runs the tests."""
    return Reader(name, f"tests.interop.{name}", sys.prefix, profile=profile)


def rows(found: dict, key: str = "verdict") -> dict[tuple[str, str], object]:
    return {(row["reader"], row["file"]): row.get(key) for row in found["rows"]}


@pytest.fixture(scope="module")
def report(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> dict:
    root = tiny_run("braille", "v_reset")
    chosen = {"honest": fake("honest", "sinabs"), "liar": fake("liar"), "refuser": fake("refuser")}
    (bundle,) = bundles(root).values()
    return matrix.run(bundle, chosen, root, 2, tmp_path_factory.mktemp("files"))


def test_each_reader_gets_its_verdict(report: dict) -> None:
    assert rows(report) == {
        ("honest", "as shipped"): "faithful",
        ("honest", "sinabs"): "faithful",
        ("liar", "as shipped"): "wrong",
        ("refuser", "as shipped"): "refused",
    }
    assert rows(report, "differing_spikes")["liar", "as shipped"] == 1
    assert rows(report, "profile_differing_spikes")["honest", "sinabs"] == 0
    error = "ValueError: nothing of this"
    assert rows(report, "error")["refuser", "as shipped"] == error


def test_a_lie_or_a_profile_that_changes_spikes_needs_attention(report: dict) -> None:
    assert [command.wrong(row) for row in report["rows"]] == [False, False, True, False]
    assert command.wrong({"verdict": "faithful", "profile_verdict": "wrong"})


def test_the_table_has_a_line_for_every_row(report: dict) -> None:
    lines = matrix.table([report]).splitlines()
    assert lines[0] == f"`{report['bundle']}`, 2 of {report['test_samples']} test samples"
    assert sum(line.startswith("| ") for line in lines) == 1 + len(report["rows"])
    assert "| liar | as shipped | **wrong** |" in "\n".join(lines)
    assert "| `ValueError: nothing of this` |" in "\n".join(lines)


def test_a_row_says_what_ties_and_its_profile_did() -> None:
    row = {"title": "R", "file": "p", "verdict": "faithful", "notes": []}
    ties = {"starts": 3, "unexplained": 0, "largest_distance": 0.0}
    moved = {"profile_differing_spikes": 1200, "profile_verdict": "faithful"}
    table = matrix.table(
        [{"bundle": "b", "samples": 1, "test_samples": 9, "rows": [row | moved | {"ties": ties}]}]
    )
    assert (
        "| 3 ties, exactly at the threshold; in the reference the profile changes 1,200 " in table
    )


def test_samples_are_spread_over_a_test_set() -> None:
    assert matrix.spread(10, 4).tolist() == [0, 2, 5, 7]
    assert matrix.spread(3, 8).tolist() == matrix.spread(3, None).tolist() == [0, 1, 2]


def test_the_table_goes_between_its_marks() -> None:
    page = f"before\n{matrix.BEGIN}\nold\n{matrix.END}\nafter\n"
    assert matrix.into(page, "new") == f"before\n{matrix.BEGIN}\n\nnew\n{matrix.END}\nafter\n"
    with pytest.raises(UserError, match=r"docs/peers\.md: the lines"):
        matrix.into("before", "new")


def test_a_request_and_an_answer_come_back(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.uint8).reshape(1, 3, 2)
    sent = protocol.Request("file.nir", 1e-4, x, ("a.b", "c"))
    protocol.write_request(tmp_path / "request.npz", sent)
    got = protocol.read_request(tmp_path / "request.npz")
    assert (got.path, got.dt, got.nodes) == (sent.path, sent.dt, sent.nodes)
    assert (got.x == x).all()
    answer = protocol.Answer({"a.b": x}, {"a.b": 2}, "", ("said",), {"numpy": "2"})
    protocol.write_answer(tmp_path / "answer.npz", answer)
    back = protocol.read_answer(tmp_path / "answer.npz")
    assert (back.delay, back.notes, back.versions) == (answer.delay, answer.notes, answer.versions)
    assert (back.spikes["a.b"] == x).all()


def test_a_framework_that_is_missing_is_no_refusal() -> None:
    request = protocol.Request("file.nir", 1.0, np.zeros((1, 1, 1), np.uint8), ())
    with pytest.raises(UserError, match=r"reader broken ended with 1: .*no_such_framework"):
        fake("broken").ask(request)


def test_an_environment_that_is_missing_says_how_to_make_it() -> None:
    request = protocol.Request("file.nir", 1.0, np.zeros((1, 1, 1), np.uint8), ())
    with pytest.raises(UserError, match="no such file; run set it up"):
        Reader("nowhere", "nowhere", "nowhere").ask(request)


def test_every_reader_has_an_adapter_and_a_way_to_set_it_up() -> None:
    for reader in READERS.values():
        path = importers.ROOT / Path(*reader.module.split(".")).with_suffix(".py")
        assert "measured:" in path.read_text(encoding="utf-8"), reader.module
        assert reader.environment in importers.SETUP


def test_an_unknown_reader_and_no_samples_are_a_wrong_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.parse(["--reader", "nengo"])
    assert ended.value.code == 2
    assert "invalid choice: 'nengo'" in capsys.readouterr().err
    assert exit_status(lambda: command.main(command.parse(["--samples", "0"]))) == 2
    assert capsys.readouterr().err == "error: --samples 0: 1 or more are needed\n"


def test_what_cannot_be_written_is_said_before_a_reader_runs(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="holds no bundle; run make deploy-artifacts"):
        command.main(command.parse([]))
    shutil.copytree(tiny_run("braille", "v_reset"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "docs").mkdir()
    (tmp_path / command.PAGE).write_text("no marks\n")
    with pytest.raises(UserError, match=r"docs/peers\.md: the lines"):
        command.main(command.parse([]))
