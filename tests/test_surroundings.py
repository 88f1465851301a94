"""`make repro` where there is no git checkout, no name for the user, or no home that can be used."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from end_to_end import ROOT

NOBODY = 54321  # no user has it, see `without_name`
STAGES = (
    'stages:\n  one:\n    cmd: printf "%s\\n" "$HOME" "$XDG_CACHE_HOME" > made\n    outs: [made]\n'
)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A project with one stage, not in a git checkout, and what the Makefile asks for."""
    folder = tmp_path / "an archive"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "pipeline").mkdir()
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "pipeline/pyproject.toml",
                 ".dvc/config"):  # fmt: skip
        shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.yaml").write_text(STAGES)
    (folder / "params.yaml").write_text("tasks: {}\n")
    (folder / "ready").touch()
    for above in folder.parents:
        if (above / ".git").exists():
            pytest.skip("temporary folders lie in a git checkout here")
    return folder


def repro(
    folder: Path, *before: str, **environment: str | None
) -> subprocess.CompletedProcess[str]:
    """`make repro` in the environment that the tests run in; a variable that is None is not set."""
    settings = {"DVC_GLOBAL_CONFIG_DIR": "", "DVC_SYSTEM_CONFIG_DIR": "", **environment}
    kept = {name: value for name, value in os.environ.items() if name not in settings}
    programs = Path(sys.executable).parent
    return subprocess.run(
        [*before, "make", f"BIN={programs}", "READY=ready", "repro"],
        cwd=folder,
        env=kept | {name: value for name, value in settings.items() if value},
        capture_output=True,
        text=True,
    )


def without_name() -> list[str]:
    """What runs a command as a user without a passwd entry.

    Skips where the system cannot.
    """
    command = ["unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"]
    try:
        subprocess.run([*command, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this system maps no users: unshare --user --map-user")
    with pytest.raises(KeyError):
        pwd.getpwuid(NOBODY)
    return command


def test_an_archive_without_git_is_built(archive):
    done = repro(archive)
    assert done.returncode == 0, done.stderr
    assert "no git checkout: DVC works without, by core.no_scm in .dvc/config.local" in done.stdout
    assert (archive / "made").exists()
    assert "no_scm = true" in (archive / ".dvc" / "config.local").read_text()
    assert "no git checkout" not in repro(archive).stdout  # said once


def test_a_shell_that_is_not_there_runs_no_stage(archive):
    """SHELL of the machine outside, in a container that lacks it."""
    done = repro(archive, SHELL="/usr/bin/a-shell-that-nobody-has")
    assert done.returncode == 0, done.stderr
    assert (archive / "made").exists()


def test_a_checkout_above_is_what_dvc_uses(archive):
    subprocess.run(["git", "init", "-q", str(archive.parent)], check=True)
    assert repro(archive).returncode == 0
    assert "no_scm" not in (archive / ".dvc" / "config.local").read_text()


@pytest.mark.parametrize("home", [None, "/nowhere", "writable", "read-only"])
def test_a_user_without_a_name_can_build(home, archive):
    names = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"))
    if own := home in ("writable", "read-only"):
        folder = archive.parent / home
        folder.mkdir()
        folder.chmod(0o755 if home == "writable" else 0o555)
        home = str(folder)
    done = repro(archive, *without_name(), HOME=home, XDG_CACHE_HOME=None, **names)
    assert done.returncode == 0, done.stderr
    used, cache = (archive / "made").read_text().splitlines()
    assert used == (home if own else str(archive / ".cache" / "home"))
    assert cache == (str(archive / ".cache") if used.endswith("read-only") else "")
    assert not (archive / "~").exists()  # where programs write that do not look
