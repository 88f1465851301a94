"""`make setup` writes its own environment and nothing else, whatever a shell and settings say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
from child import CTRL_C_ENDS, after
from end_to_end import ROOT

# Variables that lead Python, pip or uv elsewhere, each with a value that would do so.
HOSTILE = {
    "UV_SYSTEM_PYTHON": "1",
    "UV_PYTHON": "3.12",
    "UV_PROJECT_ENVIRONMENT": "/nowhere",
    "UV_TARGET": "/nowhere",
    "UV_PREFIX": "/nowhere",
    "UV_BREAK_SYSTEM_PACKAGES": "1",
    "UV_EXCLUDE_NEWER": "2020-01-01",
    "PIP_USER": "1",
    "PIP_TARGET": "/nowhere",
    "PIP_PREFIX": "/nowhere",
    "PIP_ROOT": "/nowhere",
    "PIP_PYTHON": "/nowhere",
    "PIP_DRY_RUN": "1",
    "PIP_REQUIRE_VIRTUALENV": "1",
    "PIP_NO_BINARY": ":all:",
    "PYTHONHOME": "/nowhere",
    "PYTHONPATH": "/nowhere",
    "PYTHONUSERBASE": "/nowhere",
    "PYTHONSAFEPATH": "1",
    "VIRTUAL_ENV": "/nowhere",
    "CONDA_PREFIX": "/nowhere",
}
# Where packages come from and how it is reached: the user's.
THEIRS = {
    "PIP_INDEX_URL": "https://index.test/simple",
    "PIP_CERT": "/certificates.pem",
    "PIP_CONFIG_FILE": "/dev/null",
    "PIP_PROXY": "http://proxy.test",
    "UV_INDEX": "https://index.test/simple",
    "UV_INDEX_COMPANY_PASSWORD": "secret",
    "UV_DEFAULT_INDEX": "https://index.test/simple",
    "UV_NATIVE_TLS": "1",
    "UV_HTTP_TIMEOUT": "180",
    "HTTPS_PROXY": "http://proxy.test",
    "SSL_CERT_FILE": "/certificates.pem",
}
# Stands for python and for uv: writes down how it was called; makes what `venv` and `compile` make.
STUB = """#!{python} -I
import json, os, pathlib, shutil, sys, time
words = sys.argv[1:]
with open({log!r}, "a") as log:
    log.write(json.dumps([[sys.argv[0], *words], dict(os.environ)]) + "\\n")
if words[:2] == ["-m", "venv"]:
    folder = pathlib.Path(words[-1], "bin")
    shutil.rmtree(folder.parent, ignore_errors=True)
    folder.mkdir(parents=True)
    command = f"command = {{sys.argv[0]}} -m venv --clear {{folder.parent.absolute()}}\\n"
    (folder.parent / "pyvenv.cfg").write_text(command)
    for name in ("python", "uv"):
        shutil.copy(sys.argv[0], folder / name)
if "install" in words and (hang := pathlib.Path({log!r}).with_name("hang")).exists():
    pathlib.Path(".venv", "half").touch()
    hang.rename(hang.with_name("hangs"))
    time.sleep(600)
if "--output-file" in words:
    pathlib.Path(words[words.index("--output-file") + 1]).write_text("made\\n")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make setup` reads, in a folder of its own, and `python`, which stands for Python."""
    return lay_out(tmp_path)


def lay_out(root: Path) -> Path:
    folder = root / "a checkout"
    folder.mkdir()
    for name in ("Makefile", "pyproject.toml", "requirements.lock", ".ci"):
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy)(ROOT / name, folder / name)
    (folder / "pipeline").mkdir()
    shutil.copy(ROOT / "pipeline" / "pyproject.toml", folder / "pipeline")
    for name in ("peers", "vendors", "silicon"):
        (folder / "bench" / name).mkdir(parents=True)
        shutil.copy(ROOT / "bench" / name / "requirements.lock", folder / "bench" / name)
    stub = root / "python"
    stub.write_text(STUB.format(python=sys.executable, log=str(root / "log")))
    stub.chmod(0o755)
    return folder


def make(checkout: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", f"PYTHON={checkout.parent / 'python'}", *words],
        cwd=checkout,
        env={**os.environ, **HOSTILE, **THEIRS},
        capture_output=True,
        text=True,
    )


def calls(checkout: Path) -> list[tuple[list[str], dict[str, str]]]:
    return [tuple(json.loads(line)) for line in (checkout.parent / "log").read_text().splitlines()]


@pytest.mark.parametrize(
    ("target", "folder"),
    [
        ("setup", ".venv"),
        ("peers-setup", ".venv-peers"),
        ("vendors-setup", ".venv-vendors"),
        ("silicon-setup", ".venv-silicon"),
    ],
)
def test_every_tool_is_told_the_environment_by_name(target, folder, checkout):
    done = make(checkout, target)
    assert done.returncode == 0, done.stderr
    assert (checkout / folder / ".ready").exists()
    made = calls(checkout)
    assert any("pip" in words for words, _ in made)
    for (program, *words), environment in made:
        assert not set(HOSTILE) & set(environment)
        assert THEIRS.items() <= environment.items()
        if program == str(checkout.parent / "python"):
            assert words[0] == "-c" or words == ["-m", "venv", "--clear", folder]
        elif program == f"{folder}/bin/uv":
            assert words[words.index("--python") + 1] == f"{folder}/bin/python"
        else:
            assert [program, *words[:4]] == [f"{folder}/bin/python", "-I", "-m", "pip", "install"]


def test_the_lock_is_made_for_the_environment(checkout):
    assert make(checkout, "lock").returncode == 0
    (words, environment), *_ = [call for call in calls(checkout) if "compile" in call[0]]
    assert words[0] == ".venv/bin/uv"
    assert words[words.index("--python") + 1] == ".venv/bin/python"
    assert not set(HOSTILE) & set(environment)
    assert (checkout / "requirements.lock").read_text() == "made\n"


@pytest.mark.parametrize("newer", [False, True])
def test_an_environment_of_another_folder_is_refused(newer, checkout):
    other = checkout.parent / "other"
    other.mkdir()
    (other / "theirs").write_text("kept")
    if newer:  # as after a set-up in the other folder
        (other / ".ready").touch()
    (checkout / ".venv").symlink_to(other)
    done = make(checkout, "setup")
    assert done.returncode == 2
    assert done.stderr.startswith("error: .venv is a link to the environment of another folder")
    assert (other / "theirs").read_text() == "kept"
    assert not (checkout.parent / "log").exists()


@pytest.mark.parametrize("other", [".venv", ".venv-peers", ".venv-vendors", ".venv-silicon"])
def test_an_environment_that_was_moved_is_set_up_anew(other, checkout):
    target = {".venv": "setup"}.get(other, f"{other.removeprefix('.venv-')}-setup")
    assert make(checkout, target).returncode == 0
    (checkout / other / "old").touch()
    shutil.copytree(checkout, checkout.parent / "a copy")
    checkout.rename(checkout.parent / "moved")
    for folder in (checkout.parent / "a copy", checkout.parent / "moved"):
        line = f"{other} was set up in another folder: it is set up anew\n"
        assert make(folder, target).stdout.count(line) == 1
        assert not (folder / other / "old").exists()
        (folder / other / "new").touch()
        assert line not in make(folder, target).stdout
        assert (folder / other / "new").exists()


@pytest.mark.parametrize("number", ["SIGTERM", "SIGHUP", "SIGINT", "SIGKILL"])
@pytest.mark.parametrize("before", [False, True])
def test_the_next_set_up_mends_one_that_was_killed(before, number, checkout):
    """In the middle of pip; `before`: an environment was there and the lock is newer."""
    if before:
        assert make(checkout, "setup").returncode == 0
        os.utime(checkout / READY, (0, 0))
    first = in_pip(checkout)
    os.killpg(first.pid, getattr(signal, number))
    assert first.wait() != 0
    assert (checkout / ".venv" / "half").exists() and not (checkout / READY).exists()
    assert make(checkout, "setup").returncode == 0
    assert (checkout / READY).exists() and not (checkout / ".venv" / "half").exists()


def test_of_two_set_ups_at_once_the_second_waits(checkout):
    first = in_pip(checkout)
    command = ["make", f"PYTHON={checkout.parent / 'python'}", "setup"]
    second = subprocess.Popen(command, cwd=checkout, stdout=subprocess.PIPE, text=True)
    assert second.stdout is not None
    assert second.stdout.readline() == "another make sets up .venv here: waiting for it\n"
    made = len(calls(checkout))
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert second.communicate()[0] == "setting up .venv (about a minute)\n"
    assert second.returncode == 0
    assert len(calls(checkout)) > made
    assert (checkout / READY).exists() and not (checkout / ".venv" / "half").exists()


READY = Path(".venv", ".ready")


def in_pip(checkout: Path) -> subprocess.Popen[bytes]:
    """A `make setup`, in a session of its own, whose first `pip install` has begun and does not end."""
    (checkout.parent / "hang").touch()
    command = after(CTRL_C_ENDS, "make", f"PYTHON={checkout.parent / 'python'}", "setup")
    process = subprocess.Popen(
        command,
        cwd=checkout,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (checkout.parent / "hangs").exists():
        assert process.poll() is None
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("said", ["target = {}", "prefix = {}", "root = {}", "user = true"])
@pytest.mark.parametrize("section", ["global", "install"])
def test_settings_of_pip_lead_nowhere_else(section, said, own_pip, tmp_path):
    """The user's pip.conf against the one in the environment, with a package of one file."""
    python, wheel = own_pip
    settings = tmp_path / "settings" / "pip"
    settings.mkdir(parents=True)
    (settings / "pip.conf").write_text(f"[{section}]\n{said.format(tmp_path / 'elsewhere')}\n")
    subprocess.run(
        [python, "-I", "-m", "pip", "install", "-q", "--no-index", "--force-reinstall", wheel],
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(settings.parent),
        },
        check=True,
    )
    assert len(list(python.parent.parent.rglob("only_file.py"))) == 1
    assert list(tmp_path.rglob("only_file.py")) == []
    next(python.parent.parent.rglob("only_file.py")).unlink()


@pytest.fixture(scope="module")
def own_pip(tmp_path_factory) -> tuple[Path, Path]:
    """The Python of an environment that has the pip.conf which the Makefile writes; a wheel."""
    root = tmp_path_factory.mktemp("pip")
    environment = root / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    folder = lay_out(root)
    assert make(folder, "setup").returncode == 0
    shutil.copy(folder / ".venv" / "pip.conf", environment)
    wheel = root / "one-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("only_file.py", "")
        archive.writestr(
            "one-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: one\nVersion: 1.0\n"
        )
        archive.writestr(
            "one-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(
            "one-1.0.dist-info/RECORD",
            "only_file.py,,\none-1.0.dist-info/METADATA,,\none-1.0.dist-info/WHEEL,,\none-1.0.dist-info/RECORD,,\n",
        )
    return environment / "bin" / "python", wheel
