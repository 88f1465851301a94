"""Bytes that are hashed again, no trace of the machine in outputs, licences, rights of files."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from end_to_end import ROOT
from packaging.requirements import Requirement

from pipeline import rehash
from pipeline.commands import sbom
from spyx_nir.errors import UserError

# ------------------------------------------------------------------------------- bytes, hashed again

STAGES = {
    "stages": {
        "prepare": {
            "foreach": ["touch"],
            "do": {"cmd": "echo data > prepared.txt", "outs": ["prepared.txt"]},
        },
        "train": {
            "foreach": ["touch"],
            "do": {
                "cmd": f"{sys.executable} train.py",
                "deps": ["prepared.txt"],
                "outs": ["weights.txt", "folder"],
            },
        },
    }
}
TRAIN = """
import os, sys
sys.path.insert(0, os.environ["CHECKOUT"])
from pipeline import rehash
rehash.check_inputs()
open("weights.txt", "w").write("weights")
os.makedirs("folder/inner")
open("folder/a", "w").write("a")
open("folder/inner/b", "w").write("b")
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project of DVC with two stages, of which the second one hashes its input."""
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
    (tmp_path / "train.py").write_text(TRAIN)
    dvc(tmp_path, "init", "--no-scm", "-q")
    return tmp_path


def dvc(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    # `init` wants to make .dvc itself.
    site = folder / ("before" if words[0] == "init" else ".dvc") / "site"
    (site / "repo").mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "DVC_SITE_CACHE_DIR": str(site), "CHECKOUT": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=folder,
        env={**environment, "DVC_NO_ANALYTICS": "1"},
        capture_output=True,
        text=True,
    )


def test_a_flipped_bit_stops_the_next_stage(project: Path) -> None:
    """The file keeps its time and size, so that DVC does not look at it."""
    assert dvc(project, "repro", "-q").returncode == 0
    assert rehash.check_outputs(project) == 3
    path = project / "prepared.txt"
    before = path.stat()
    path.chmod(0o644)
    path.write_text("dbta\n")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    done = dvc(project, "repro", "-f", "-s", "train@touch")
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "prepared.txt: its MD5 is " in said and "from prepare@touch" in said
    with pytest.raises(UserError, match=r"^prepared\.txt: its MD5 is .* it is damaged"):
        rehash.check_outputs(project, ["prepared.txt"])


def test_a_folder_has_dvcs_own_digest(project: Path) -> None:
    assert dvc(project, "repro", "-q").returncode == 0
    lock = rehash.read(project)
    digests = {out["path"]: out["md5"] for out in lock["train@touch"]["outs"]}
    assert digests["folder"].endswith(".dir")
    assert rehash.digest(project / "folder") == digests["folder"]
    (project / "folder" / "measured").mkdir()
    (project / "folder" / "measured" / "power.csv").write_text("1")
    assert rehash.digest(project / "folder") == digests["folder"]
    (project / "folder" / "c").write_text("")
    with pytest.raises(UserError, match=r"^folder: its MD5 is "):
        rehash.check_outputs(project, ["folder"])
    with pytest.raises(UserError, match="does not know other"):
        rehash.check_outputs(project, ["other"])
    (project / "weights.txt").unlink()
    with pytest.raises(UserError, match=r"^weights\.txt: is not there; run dvc repro"):
        rehash.check_outputs(project, ["weights.txt"])


def test_a_stage_that_nobody_started_by_dvc_reads_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dvc.lock").write_text("no lock")
    monkeypatch.delenv(rehash.STAGE, raising=False)
    rehash.check_inputs(tmp_path)
    monkeypatch.setenv(rehash.STAGE, "train@touch")
    with pytest.raises(UserError, match="not readable; run dvc repro"):
        rehash.check_inputs(tmp_path)


def test_dvcs_database_is_in_the_project_and_nobody_else_s(project: Path) -> None:
    """Its values are pickles: who can write it runs code at the next `dvc`."""
    assert dvc(project, "repro", "-q").returncode == 0
    found = [project / ".dvc" / "site", *(project / ".dvc" / "site").rglob("*")]
    assert any(path.name == "cache.db" for path in found)
    assert [path for path in found if path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH)] == []


def make(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (folder / "Makefile").write_text((ROOT / "Makefile").read_text())
    command = ["make", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_make_gives_dvc_a_folder_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "ask.mk").write_text("include Makefile\nask: ; @echo $$DVC_SITE_CACHE_DIR\n")
    done = make(tmp_path, "-s", "-f", "ask.mk", "ask")
    assert done.stdout == f"{tmp_path}/.dvc/site\n"
    recipe = make(tmp_path, "-n", "-o", ".venv/.ready", "site").stdout
    assert "mkdir -p .dvc/site/repo && chmod go-w .dvc/site .dvc/site/repo" in recipe


@pytest.mark.parametrize(
    "text",
    [
        "1.2'; touch pwned; '",
        "$(shell touch pwned)",
        "1.2.3\ntouch pwned",
        "`touch pwned`",
        '1.2.3"; touch pwned',
        "1.2.3; touch pwned",
        "$$(touch pwned)",
    ],
)
@pytest.mark.parametrize("by_environment", [False, True])
def test_a_version_is_not_run(text: str, by_environment: bool, tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    done = subprocess.run(
        ["make", "version", *([] if by_environment else [f"VERSION={text}"])],
        cwd=tmp_path,
        env={**os.environ, **({"VERSION": text} if by_environment else {})},
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "three numbers are needed: make release VERSION=1.2.3" in done.stderr
    assert not (tmp_path / "pwned").exists()


def test_a_right_version_is_taken(tmp_path: Path) -> None:
    assert make(tmp_path, "version", "VERSION=1.2.3").returncode == 0


# ------------------------------------------------------------------------------ traces of the machine


def contents(path: Path) -> bytes:
    """A file's bytes, those of an archive's members, and those of HDF5 data sets, unpacked."""
    found = path.read_bytes()
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as archive:
            found += b"".join(archive.read(name) for name in archive.namelist())
    return found


@pytest.mark.full
def test_nothing_that_a_stage_writes_says_who_made_it_where_and_when(tmp_path: Path) -> None:
    """All stages of a small task, by a user and in folders with names that occur nowhere else."""
    home, place = tmp_path / "home-xq7zk", tmp_path / "place-xq7zk"
    home.mkdir()
    place.mkdir()
    names = dict.fromkeys(("USER", "LOGNAME", "LNAME", "USERNAME"), "quentin-xq7zk")
    environment = {**os.environ, **names, "HOME": str(home), "HOSTNAME": "host-xq7zk"}
    command = [sys.executable, str(ROOT / "tests" / "small_run.py"), "braille", str(place), "loihi"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = [
        path
        for path in place.rglob("*")
        if path.is_file() and ".cache" not in path.parts and path.name != "timing.json"
    ]
    assert len(written) >= 40
    here = re.escape(socket.gethostname().encode())
    # A day as ISO 8601 has it, a time of day, and seconds since 1970 of this decade.
    times = re.compile(rb"\b20[2-4]\d-[01]\d-[0-3]\d\b|\b[0-2]\d:[0-5]\d:[0-5]\d\b|\b1[789]\d{8}\b")
    for path in written:
        found = contents(path)
        assert b"xq7zk" not in found and str(tmp_path).encode() not in found, path
        assert str(ROOT).encode() not in found, path
        if path.suffix in (".json", ".md", ".csv", ".py", ""):
            assert not re.search(rb"\b" + here + rb"\b", found), path
            assert not times.search(found), (path, times.search(found))


# ---------------------------------------------------------------------------------------- licences

COPYLEFT = re.compile(r"GPL|GNU|MPL|Mozilla|EPL|Eclipse|CDDL|EUPL|OSL|CC-BY-SA", re.IGNORECASE)
# Of optional packages, each with the extra that brings it: files of theirs that are changed stay under
# the MPL; nothing of ours does.
KNOWN = {"shtab": "MPL-2.0", "tqdm": "MPL-2.0 AND MIT"}
# Not in the lock, and declared by its wheel: LGPLv3.0. Who reads camera formats installs `[events]`.
ABSENT = {"faery"}
EXTRAS = ("", "cli", "spyx", "board", "events", "report")


def needs(name: str, extras: tuple[str, ...] = ("",)) -> dict[str, set[str]]:
    """Every package that `name` installs with these extras -> the licences that it declares."""
    found: dict[str, set[str]] = {}
    waiting = [(name, extras)]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while waiting:
        if (one := waiting.pop()) in seen:
            continue
        seen.add(one)
        try:
            package = importlib.metadata.distribution(one[0])
        except importlib.metadata.PackageNotFoundError:
            found[one[0]] = set()
            continue
        found[one[0]] = set(sbom.licences(one[0]))
        for need in map(Requirement, package.requires or []):
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in one[1]):
                waiting.append((need.name, ("", *sorted(need.extras))))
    return found


def test_the_library_needs_nothing_under_copyleft() -> None:
    """Without extras nothing at all; with them what is named above. A new one fails here: decide."""
    assert set(needs("spyx-nir")) >= {"numpy", "h5py", "nir", "pyyaml"}
    assert not [n for n, said in needs("spyx-nir").items() if any(map(COPYLEFT.search, said))]
    optional = needs("spyx-nir", EXTRAS)
    found = {n: said for n, said in optional.items() if any(map(COPYLEFT.search, said))}
    assert found == {name: {licence} for name, licence in KNOWN.items()}
    undeclared = {name for name, said in optional.items() if not said}
    assert undeclared <= ABSENT


def test_the_check_sees_copyleft() -> None:
    assert "tonic" in (found := needs("spyx-nir", ("pipeline",)))
    assert any(map(COPYLEFT.search, found["tonic"]))


# ---------------------------------------------------------------------------------- rights of files


@pytest.mark.parametrize(
    ("umask", "file", "folder"), [("077", 0o600, 0o700), ("002", 0o664, 0o775)]
)
def test_files_have_the_rights_of_the_umask(
    umask: str, file: int, folder: int, tmp_path: Path
) -> None:
    program = (
        "from spyx_nir import files\n"
        "files.write_text('a.txt', 'a')\n"
        "with files.atomic_folder('folder') as place: (place / 'b').touch()\n"
    )
    command = f'umask {umask}; exec {sys.executable} -c "{program}"'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment, check=True)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == file
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == folder
