"""`make repro`: which stages run at once, in which order, and what is said when one fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from pipeline.repro import main, plan

# b and c each wait until the other runs: one after the other they would never end.
MEET = "touch {0}.here; for i in $(seq 100); do [ -e {1}.here ] && exit 0; sleep 0.2; done; exit 9"
DIAMOND = {"a": set(), "b": {"a"}, "c": {"a"}, "d": {"b", "c"}, "e": {"d"}}


def stages(jobs: list) -> list[list[str]]:
    return [job.stages for job in jobs]


def test_stages_that_can_only_run_one_after_the_other_are_one_job() -> None:
    jobs = plan(DIAMOND, {"a"})
    assert stages(jobs) == [["a"], ["b"], ["c"], ["d", "e"]]
    assert [job.needs for job in jobs] == [set(), {"a"}, {"a"}, {"b", "c"}]


def test_only_what_changed_and_what_depends_on_it_runs() -> None:
    assert stages(plan(DIAMOND, {"c"})) == [["c", "d", "e"]]
    assert plan(DIAMOND, set()) == []


def test_an_edge_past_a_stage_does_not_part_a_chain() -> None:
    assert stages(plan({"a": set(), "b": {"a"}, "c": {"a", "b"}}, {"a"})) == [["a", "b", "c"]]


def test_the_job_with_most_behind_it_is_first() -> None:
    needs = {"x": set(), "a": set(), "b": {"a"}, "c": {"a"}}
    assert stages(plan(needs, {"x", "a"}))[0] == ["a"]


def project(folder: Path, commands: dict[str, str]) -> Path:
    """A DVC project without git: every stage of the diamond writes its file after its command."""
    made = {
        name: {
            "cmd": f"( {commands.get(name, 'true')} ) && echo {name} > {name}",
            "deps": sorted(DIAMOND[name]),
            "outs": [name],
        }
        for name in DIAMOND
    }
    (folder / "dvc.yaml").write_text(yaml.safe_dump({"stages": made}), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q", "--no-scm"], cwd=folder, check=True)
    return folder


def command(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`python -m pipeline.repro` there, in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipeline.repro", *arguments],
        cwd=folder,
        env={**os.environ, "DVC_NO_ANALYTICS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_stages_run_side_by_side_and_then_all_are_up_to_date(tmp_path: Path) -> None:
    folder = project(tmp_path, {"b": MEET.format("b", "c"), "c": MEET.format("c", "b")})
    run = command(folder, "--jobs", "2")
    out, error = run.communicate(timeout=120)
    assert (run.returncode, error) == (0, "")
    assert out.splitlines()[-1] == "5 stages are up to date now."
    assert {line.partition(":")[0] for line in out.splitlines()[:-1]} == set(DIAMOND)
    assert set(yaml.safe_load((folder / "dvc.lock").read_text())["stages"]) == set(DIAMOND)
    again = command(folder)
    assert again.communicate(timeout=60) == ("Data and pipelines are up to date.\n", "")


def test_a_failure_is_named_and_what_runs_goes_on_to_its_end(tmp_path: Path) -> None:
    folder = project(tmp_path, {"b": "echo no disk; exit 3", "c": "sleep 3"})
    run = command(folder, "--jobs", "2")
    out, error = run.communicate(timeout=120)
    assert run.returncode == 1
    assert error == "error: b failed, see above; not made: d, e\n"
    assert "b: no disk" in out
    assert (folder / "c").read_text() == "c\n"


@pytest.mark.parametrize(
    "number",
    [pytest.param(signal.SIGTERM, marks=pytest.mark.full), signal.SIGINT],
    ids=lambda s: s.name,
)
def test_a_signal_ends_the_stages_too(tmp_path: Path, number: signal.Signals) -> None:
    folder = project(tmp_path, {"a": "echo $$ > pid; sleep 300"})
    run = command(folder, "--jobs", "2")
    while not (pid := folder / "pid").exists() or not pid.read_text().strip():
        assert run.poll() is None
        time.sleep(0.1)
    run.send_signal(number)
    _, error = run.communicate(timeout=60)
    assert run.returncode == 130
    assert error.startswith("interrupted: ")
    stage = int(pid.read_text())
    deadline = time.monotonic() + 30
    while Path(f"/proc/{stage}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{stage}").exists()


@pytest.mark.full
def test_one_job_at_a_time_is_plain_dvc(tmp_path: Path) -> None:
    run = command(project(tmp_path, {"c": "echo no disk; exit 3"}), "--jobs", "1")
    out, error = run.communicate(timeout=60)
    assert "Running stage 'b'" in out and "Running stage 'd'" not in out
    assert run.returncode == 255 and "failed to reproduce 'c'" in error


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_a_wrong_number_of_jobs_is_one_line(
    jobs: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["repro", f"--jobs={jobs}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert f"{jobs!r} is no number of jobs: 1 or more is needed" in capsys.readouterr().err
