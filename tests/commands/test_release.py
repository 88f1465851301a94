"""`release`: the same bytes from two clones, provenance that says what went in, signing, refusals."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from end_to_end import link_to_cache

from pipeline import rehash
from spyx_nir.cli.main import main

LOCK = {
    "schema": "2.0",
    "stages": {
        "prepare@braille": {
            "deps": [
                {"path": "pipeline/prepare.py", "md5": "a" * 32},
                {"path": "/home/me/letters", "md5": "f" * 32},
            ],
            "outs": [{"path": "data/prepared/braille.h5", "md5": "b" * 32}],
        },
        "deploy@braille": {
            "deps": [
                {"path": "data/prepared/braille.h5", "md5": "b" * 32},
                {"path": "requirements.lock", "md5": "c" * 32},
            ],
            "outs": [{"path": "models/braille/deploy/generic", "md5": "d" * 32}],
        },
        "deploy@other": {"deps": [{"path": "other.py", "md5": "e" * 32}]},
    },
}


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=dev", "-c", "user.email=dev@localhost")
    done = subprocess.run(
        ("git", "-C", str(folder), *identity, *arguments),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.fixture
def clones(
    tmp_path: Path, once: Callable[..., Path], tiny_run: Callable[[str, str], Path]
) -> list[Path]:
    """Two copies of one checkout and its bundle."""

    def make(folder: Path) -> None:
        folder.mkdir()
        git(folder, "init", "-q")
        bundle = tiny_run("braille", "v_reset") / "models" / "braille" / "deploy" / "generic"
        lock = {**LOCK, "stages": {**LOCK["stages"]}}
        outs = [{"path": "models/braille/deploy/generic", "md5": rehash.digest(bundle)}]
        lock["stages"]["deploy@braille"] = {**LOCK["stages"]["deploy@braille"], "outs": outs}
        (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
        (folder / "requirements.lock").write_text("numpy==2.4.6 \\\n    --hash=sha256:00\n")
        git(folder, "add", "-A")
        git(folder, "commit", "-q", "-m", "Begin")
        shutil.copytree(bundle, folder / "models" / "braille" / "deploy" / "generic")

    made = once("clone", make)
    return [Path(shutil.copytree(made, tmp_path / name)) for name in ("one", "a longer name")]


@pytest.fixture
def released(
    once: Callable[..., Path], clones: list[Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of a release, made once, in the folder where it was made."""

    def make(folder: Path) -> None:
        assert release(clones[0], monkeypatch) == 0
        shutil.copytree(clones[0] / "release", folder)

    made = once("release", make)
    monkeypatch.chdir(clones[0])
    return Path(shutil.copytree(made, clones[0] / "release", dirs_exist_ok=True))


def release(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.chdir(folder)
    return main(["release", "1.2.3", *arguments])


def test_two_clones_make_the_same_bytes(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Seen by nobody: times, modes and the order in which a folder lists its files.
    for path in clones[1].rglob("deploy/*/*"):
        path.chmod(0o755)
        path.touch()
    made = []
    for clone in clones:
        assert release(clone, monkeypatch) == 0
        made.append({p.name: p.read_bytes() for p in (clone / "release").iterdir()})
    assert made[0] == made[1]
    assert sorted(made[0]) == [
        "SHA256SUMS",
        "braille-1.2.3.cdx.json",
        "braille-1.2.3.tar.gz",
        "conformance-1.2.3.tar.gz",
        "environment-1.2.3.cdx.json",
        "provenance.json",
    ]
    for line in made[0]["SHA256SUMS"].decode().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256(made[0][name]).hexdigest() == digest


def test_an_archive_is_the_bundle_and_verifies(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = clones[0] / "models" / "braille" / "deploy" / "generic"
    names = {p.relative_to(bundle) for p in bundle.rglob("*") if p.is_file()}
    (bundle / "__pycache__").mkdir()  # somebody imported verify.py
    (bundle / "__pycache__" / "verify.cpython-311.pyc").write_bytes(b"")
    (bundle / "measured").mkdir()  # somebody measured with it
    (bundle / "measured" / "power.csv").write_bytes(b"1")
    assert release(clones[0], monkeypatch) == 0
    with tarfile.open(clones[0] / "release" / "braille-1.2.3.tar.gz") as archive:
        assert {m.mtime for m in archive} == {0} == {m.uid for m in archive}
        archive.extractall(tmp_path / "out", filter="data")
    out = tmp_path / "out" / "braille-1.2.3"
    assert {p.relative_to(out) for p in out.rglob("*") if p.is_file()} == names
    assert all((out / name).read_bytes() == (bundle / name).read_bytes() for name in names)
    done = subprocess.run([sys.executable, "-I", out / "verify.py"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("pass: ")


def test_a_bundle_of_links_to_dvcs_cache_is_released_as_its_files(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    link_to_cache(clones[1] / "models" / "braille" / "deploy" / "generic", tmp_path / "cache")
    made = []
    for clone in clones:
        assert release(clone, monkeypatch) == 0
        made.append((clone / "release" / "braille-1.2.3.tar.gz").read_bytes())
    assert made[0] == made[1]
    assert main(["verify", "models/braille/deploy/generic"]) == 0


def test_provenance_says_what_went_in(clones: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    release(clones[0], monkeypatch)
    told = json.loads((clones[0] / "release" / "provenance.json").read_text())
    assert told["predicateType"] == "https://slsa.dev/provenance/v1"
    archives = [
        "braille-1.2.3.cdx.json",
        "braille-1.2.3.tar.gz",
        "conformance-1.2.3.tar.gz",
        "environment-1.2.3.cdx.json",
    ]
    assert [subject["name"] for subject in told["subject"]] == archives
    build = told["predicate"]["buildDefinition"]
    assert build["internalParameters"]["signed"] is False
    assert build["internalParameters"]["uncommitted_changes"] is False
    inputs = {d["name"]: d["digest"] for d in build["resolvedDependencies"]}
    assert inputs == {  # the prepared file is made by a stage, other.py belongs to another task
        "git": {"gitCommit": git(clones[0], "rev-parse", "HEAD")},
        "letters": {"dvcMd5": "f" * 32},
        "pipeline/prepare.py": {"dvcMd5": "a" * 32},
        "requirements.lock": {"dvcMd5": "c" * 32},
    }
    assert build["externalParameters"]["parameters"]["braille"]["network"]["hidden"] == 38

    lock = yaml.safe_load((clones[0] / "dvc.lock").read_text())
    (clones[0] / "dvc.lock").write_text(yaml.safe_dump({**lock, "changed": 1}))
    release(clones[0], monkeypatch)
    told = json.loads((clones[0] / "release" / "provenance.json").read_text())
    inside = told["predicate"]["buildDefinition"]["internalParameters"]
    assert inside["uncommitted_changes"] is True


def test_every_bundle_gets_a_name_of_its_own(tmp_path: Path) -> None:
    from pipeline.commands.release import bundles

    models = tmp_path / "models"
    names = ("braille/deploy/generic", "braille/deploy/loihi", "nmnist/deploy/generic")
    for name in (*names, "braille/deploy/.loihi-1x2y", "nmnist/checkpoint"):
        (models / name).mkdir(parents=True)
        (models / name / "manifest.json").touch()
    found = dict(
        zip(("braille", "braille-loihi", "nmnist"), map(models.joinpath, names), strict=True)
    )
    assert bundles(tmp_path) == found


@pytest.mark.parametrize(
    ("damage", "arguments", "message"),
    [
        (lambda c: shutil.rmtree(c / "models"), (), "models: holds no bundle; run make deploy"),
        (
            lambda c: (c / "models/braille/deploy/generic/model.nir").write_bytes(b"x"),
            (),
            "models/braille/deploy/generic: its MD5 is ",
        ),
        (lambda c: (c / "dvc.lock").unlink(), (), "dvc.lock: not readable; run dvc repro"),
        (
            lambda c: (c / "dvc.lock").write_text("stages: {}"),
            (),
            "dvc.lock: does not know models/braille/deploy/generic; run dvc repro",
        ),
        (lambda c: None, ("--key", "nowhere.pem"), "--key nowhere.pem: no such file"),
        (
            lambda c: None,
            ("--output", "models"),
            "--output models: holds `braille` and is no release",
        ),
        (lambda c: None, ("--output", "dvc.lock"), "--output dvc.lock: is a file; name a folder"),
    ],
)
def test_refusals_leave_the_last_release_alone(
    damage: Callable[[Path], object],
    arguments: tuple[str, ...],
    message: str,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert release(clones[0], monkeypatch) == 0
    before = {p.name: p.read_bytes() for p in (clones[0] / "release").iterdir()}
    damage(clones[0])
    capsys.readouterr()
    assert release(clones[0], monkeypatch, *arguments) == 1
    assert message in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in (clones[0] / "release").iterdir()} == before
    assert not list(clones[0].glob(".release*"))
    assert (clones[0] / ".git" / "HEAD").exists()


def test_a_folder_of_other_files_is_left_alone(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release(clones[0], monkeypatch) == 0
    (clones[0] / "release" / "notes.txt").write_text("mine")
    assert release(clones[0], monkeypatch) == 1
    assert (
        "--output release: is not as a release left it (notes.txt: not listed in SHA256SUMS)"
        in capsys.readouterr().err
    )
    assert (clones[0] / "release" / "notes.txt").read_text() == "mine"
    (clones[0] / "release" / "notes.txt").unlink()
    assert release(clones[0], monkeypatch) == 0


def test_a_version_is_three_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "v1"]) == 2
    assert "a version has three numbers" in capsys.readouterr().err


def test_signing_without_its_package_is_one_line(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (clones[0] / "key.pem").touch()
    assert release(clones[0], monkeypatch, "--key", "key.pem") == 1
    assert "pip install model-signing" in capsys.readouterr().err


def test_a_signature_comes_from_the_program(
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stand-in for model-signing that has its command line, see `model_signing sign key -h`."""
    (tmp_path / "model_signing").mkdir()
    (tmp_path / "model_signing" / "__init__.py").touch()
    (tmp_path / "model_signing" / "__main__.py").write_text(
        "import argparse, os, sys\n"
        "p = argparse.ArgumentParser()\n"
        "for name in ('sign', 'key', 'folder', '--private_key', '--signature'):\n"
        "    p.add_argument(name)\n"
        "a = p.parse_args()\n"
        "open(a.private_key).read() == 'good' or sys.exit('Invalid key')\n"
        "names = ' '.join(sorted(os.listdir(a.folder)))\n"
        "open(a.signature, 'w').write(names)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (clones[0] / "key.pem").write_text("bad")
    assert release(clones[0], monkeypatch, "--key", "key.pem") == 1
    assert "nothing was released: Invalid key" in capsys.readouterr().err
    assert not (clones[0] / "release").exists()
    (clones[0] / "key.pem").write_text("good")
    assert release(clones[0], monkeypatch, "--key", "key.pem") == 0
    signed = (clones[0] / "release" / "model.sig").read_text()
    assert signed.split() == [
        "SHA256SUMS",
        "braille-1.2.3.cdx.json",
        "braille-1.2.3.tar.gz",
        "conformance-1.2.3.tar.gz",
        "environment-1.2.3.cdx.json",
        "provenance.json",
    ]


# ------------------------------------------------------------------------- what is not a release


def listed(folder: Path) -> None:
    """Write a right SHA256SUMS of all files of a folder."""
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    lines = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n"
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    (folder / "SHA256SUMS").write_text("".join(lines))


def test_somebody_s_folder_with_sums_of_its_own_is_not_deleted(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder of downloads often has a SHA256SUMS that names all of them."""
    folder = clones[0] / "downloads"
    folder.mkdir()
    (folder / "thesis.tex").write_text("mine")
    listed(folder)
    assert release(clones[0], monkeypatch, "--output", "downloads") == 1
    assert "--output downloads: holds `SHA256SUMS` and is no release" in capsys.readouterr().err
    assert (folder / "thesis.tex").read_text() == "mine"


def test_a_release_that_somebody_changed_is_not_deleted(
    released: Path,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = clones[0] / "release"
    (folder / "braille-1.2.3.tar.gz").write_bytes(b"my own work")
    assert release(clones[0], monkeypatch) == 1
    assert "braille-1.2.3.tar.gz: SHA-256 is " in capsys.readouterr().err
    listed(folder)
    assert release(clones[0], monkeypatch) == 1
    assert "not the file that provenance.json was written for" in capsys.readouterr().err
    assert (folder / "braille-1.2.3.tar.gz").read_bytes() == b"my own work"


def test_a_bundle_that_was_exchanged_is_neither_packed_nor_run(
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bundle = clones[0] / "models" / "braille" / "deploy" / "generic"
    program = f"open({str(tmp_path / 'ran')!r}, 'w')\n"
    (bundle / "verify.py").write_text(program + (bundle / "verify.py").read_text())
    listed(bundle)
    assert release(clones[0], monkeypatch) == 1
    assert "models/braille/deploy/generic: its MD5 is " in capsys.readouterr().err
    lock = yaml.safe_load((clones[0] / "dvc.lock").read_text())
    lock["stages"]["deploy@braille"]["outs"][0]["md5"] = rehash.digest(bundle)
    (clones[0] / "dvc.lock").write_text(yaml.safe_dump(lock))
    assert release(clones[0], monkeypatch) == 1
    assert "the bundle does not verify: verify.py: not ours" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists() and not (clones[0] / "release").exists()


# ------------------------------------------------------------------------------ what is in a release


def test_the_lists_of_what_was_used_follow_the_published_schema(
    released: Path, clones: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_6)
    found = {}
    for path in (clones[0] / "release").glob("*.cdx.json"):
        assert validator.validate_str(path.read_text()) is None
        found[path.name.partition("-")[0]] = json.loads(path.read_text())
    (numpy,) = found["environment"]["components"]
    assert (numpy["name"], numpy["version"]) == ("numpy", "2.4.6")
    # What NumPy 2.4 declares in its own metadata.
    assert numpy["licenses"] == [
        {"expression": "BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0"}
    ]
    bundle = clones[0] / "models" / "braille" / "deploy" / "generic"
    files = {
        c["name"]: c["hashes"][0]["content"]
        for c in found["braille"]["components"]
        if c["type"] == "file"
    }
    assert files == {
        path.relative_to(bundle).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in bundle.rglob("*")
        if path.is_file()
    }
    packages = {c["name"] for c in found["braille"]["components"]} - set(files)
    assert {"jax", "nir", "spyx", "hdf5"} <= packages


def test_a_receiver_verifies_a_release_by_the_line_that_is_printed(
    clones: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert release(clones[0], monkeypatch) == 0
    line = capsys.readouterr().out.splitlines()[-1].split()
    assert line == ["spyx-nir", "verify", "release"]
    assert main(line[1:]) == 0
    said = capsys.readouterr().out
    assert "braille-1.2.3.tar.gz: digests right, 8 vectors reproduced" in said
    assert "conformance-1.2.3.tar.gz: digest right; no bundle, so nothing was run" in said
    assert said.splitlines()[-1].startswith("release: pass; a pass says")


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("../out", tarfile.REGTYPE, "its member '../out' is no file in the folder braille-1.2.3"),
        ("braille-1.2.3/../../out", tarfile.REGTYPE, "its member 'braille-1.2.3/../../out' is no"),
        ("/out", tarfile.REGTYPE, "its member '/out' is no file"),
        ("braille-1.2.3/link", tarfile.SYMTYPE, "its member 'braille-1.2.3/link' is no file"),
        ("braille-1.2.3/hard", tarfile.LNKTYPE, "its member 'braille-1.2.3/hard' is no file"),
        ("braille-1.2.3/pipe", tarfile.FIFOTYPE, "its member 'braille-1.2.3/pipe' is no file"),
        ("braille-1.2.3/disk", tarfile.BLKTYPE, "its member 'braille-1.2.3/disk' is no file"),
        ("braille-1.2.3/a\x1bb", tarfile.REGTYPE, "its member 'braille-1.2.3/a\\x1bb' is no file"),
        ("other/file", tarfile.REGTYPE, "its member 'other/file' is no file in the folder"),
        ("", b"", "no readable archive"),
    ],
)
def test_archives_that_leave_their_folder(
    name: str,
    kind: bytes,
    said: str,
    released: Path,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = clones[0] / "release"
    path = folder / "braille-1.2.3.tar.gz"
    if name:
        with tarfile.open(path, "w:gz") as archive:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            archive.addfile(entry)
    else:
        path.write_bytes(b"\x1f\x8b\x08\x00" + bytes(20))
    told = json.loads((folder / "provenance.json").read_text())
    for subject in told["subject"]:
        subject["digest"]["sha256"] = hashlib.sha256(
            (folder / subject["name"]).read_bytes()
        ).hexdigest()
    (folder / "provenance.json").write_text(json.dumps(told))
    listed(folder)
    capsys.readouterr()
    assert main(["verify", "release"]) == 1
    assert f"differs: braille-1.2.3.tar.gz: {said}" in capsys.readouterr().err
    assert not list(tmp_path.rglob("out"))


def test_an_archive_that_unpacks_to_gigabytes_is_refused(
    released: Path,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("spyx_nir.bundle.templates.shared.FILE_BYTES", 1 << 20)
    monkeypatch.setattr("spyx_nir.bundle.templates.verify.FILE_BYTES", 1 << 30)
    assert main(["verify", "release"]) == 1
    assert "conformance-1.2.3.tar.gz: unpacks to more than 1048576 bytes" in capsys.readouterr().err


# ----------------------------------------------------------------------------------- signatures


def test_a_key_without_a_signature_fails(
    released: Path,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (clones[0] / "public.pem").touch()
    assert main(["verify", "release", "--key", "public.pem"]) == 1
    assert "release: has no signature model.sig, so nobody says who" in capsys.readouterr().err
    assert main(["verify", "release", "--key", "none.pem"]) == 1
    assert "--key none.pem: no such file" in capsys.readouterr().err
    (clones[0] / "release" / "model.sig").touch()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["verify", "release", "--key", "public.pem"]) == 1
    assert "needs the package model-signing" in capsys.readouterr().err


def test_a_signature_is_checked_by_the_program(
    released: Path,
    clones: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A stand-in for model-signing with its command line, see `model_signing verify key -h`."""
    (tmp_path / "model_signing").mkdir()
    (tmp_path / "model_signing" / "__init__.py").touch()
    (tmp_path / "model_signing" / "__main__.py").write_text(
        "import argparse, os, sys\n"
        "p = argparse.ArgumentParser()\n"
        "for name in ('verify', 'key', 'folder', '--public_key', '--signature'):\n"
        "    p.add_argument(name)\n"
        "a = p.parse_args()\n"
        "assert (a.verify, a.key, a.folder) == ('verify', 'key', 'release')\n"
        "if open(a.public_key).read() != open(a.signature).read():\n"
        "    print('progress'); sys.exit('Verification failed: signature verification failed')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    (clones[0] / "release" / "model.sig").write_text("a")
    (clones[0] / "public.pem").write_text("a")
    capsys.readouterr()
    assert main(["verify", "release", "--key", "public.pem"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "release: pass"
    assert "release: model.sig is a signature by the key public.pem" in out
    (clones[0] / "public.pem").write_text("b")
    assert main(["verify", "release", "--key", "public.pem"]) == 1
    said = capsys.readouterr().err
    assert "release/model.sig: not a signature of these files by public.pem" in said
    assert said.endswith("signature verification failed\n") and said.count("\n") == 1
