"""`release VERSION`: bundles and conformance pack as archives, the same bytes wherever they are made."""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from pipeline import rehash
from pipeline.commands import sbom
from pipeline.conformance import build as conformance
from spyx_nir.bundle import consistency, releases
from spyx_nir.bundle import folder as bundle_folder
from spyx_nir.bundle.releases import BUILD_TYPE, PROVENANCE
from spyx_nir.bundle.templates.verify import MEASURED, SIGNATURE
from spyx_nir.cli import show
from spyx_nir.errors import UsageError, UserError, about
from spyx_nir.files import atomic_folder, sha256, write_json, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("version", help="three numbers such as 1.2.3")
    parser.add_argument(
        "--output", default="release", metavar="FOLDER", help="default: %(default)s"
    )
    parser.add_argument(
        "--key", metavar="PEM", help="sign with this private key; needs `pip install model-signing`"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "Run it in the project's root, after `dvc repro`. FOLDER is made anew, if it holds nothing\n"
        "but a release: TASK-VERSION.tar.gz for every bundle under models/, the conformance\n"
        "pack for readers of NIR as conformance-VERSION.tar.gz, lists of what was used to make\n"
        "them (CycloneDX) as *.cdx.json, provenance.json and SHA256SUMS; with --key a signature\n"
        f"over all of them, {SIGNATURE}. docs/release.md tells how to check it."
    )


def main(arguments: argparse.Namespace) -> int:
    if not re.fullmatch(r"\d+\.\d+\.\d+", arguments.version):
        raise UsageError(f"{arguments.version}: a version has three numbers, such as 1.2.3")
    made = release(Path("."), arguments.version, Path(arguments.output), arguments.key)
    if arguments.json:
        show.as_json({"version": arguments.version, "folder": arguments.output, "sha256": made})
    else:
        for name, digest in made.items():
            show.say(f"{digest}  {Path(arguments.output) / name}")
        signed = " --key PUBLIC_KEY.pem" if arguments.key else ""
        what = "who made it, and that" if arguments.key else "not who made it, but whether"
        show.say(f"a receiver learns {what} its files agree with each other, by")
        show.say(f"    spyx-nir verify {Path(arguments.output)}{signed}")
    return 0


def release(root: Path, version: str, output: Path, key: str | None = None) -> dict[str, str]:
    """Write the archives, their provenance and sums to `output`; returns name to SHA-256.

    Raises:
        UserError: there is no bundle, one does not verify or is not what its stage wrote, dvc.lock does
            not know a task, `output` is no folder or holds something else than a release, or signing is
            asked for and not possible.
    """
    found = bundles(root)
    if output.exists() and not output.is_dir():
        raise UserError(f"--output {output}: is a file; name a folder that is new or empty")
    if strange := _strange(output):
        raise UserError(
            f"--output {output}: {strange}, and all in it would be deleted; name a folder that is new "
            "or empty"
        )
    if key is not None and not Path(key).is_file():
        raise UserError(f"--key {key}: no such file")
    if key is not None and importlib.util.find_spec("model_signing") is None:
        raise UserError("--key: signing needs the package model-signing: pip install model-signing")
    rehash.check_outputs(root, [folder.relative_to(root).as_posix() for folder in found.values()])
    for folder in found.values():
        with about(folder, UserError):
            if problems := consistency.check(folder).problems:
                raise UserError(f"the bundle does not verify: {problems[0]}")
    with atomic_folder(output) as temporary:
        for name, folder in found.items():
            archive = temporary / f"{name}-{version}.tar.gz"
            archive.write_bytes(pack(folder, f"{name}-{version}"))
            write_json(
                temporary / f"{name}-{version}{sbom.SUFFIX}", sbom.of_bundle(folder, name, version)
            )
        pack_name = f"conformance-{version}"
        with tempfile.TemporaryDirectory(dir=temporary) as place:  # swept with it after a kill
            conformance.write(Path(place) / pack_name)
            packed = pack(Path(place) / pack_name, pack_name)
        (temporary / f"{pack_name}.tar.gz").write_bytes(packed)
        write_json(temporary / f"environment-{version}{sbom.SUFFIX}", sbom.of_lock(root, version))
        subjects = {path.name: sha256(path) for path in sorted(temporary.iterdir())}
        write_json(temporary / PROVENANCE, provenance(root, version, subjects, found))
        write_text(temporary / "SHA256SUMS", bundle_folder.sums(temporary))
        if key is not None:
            _sign(temporary, key)
        return {path.name: sha256(path) for path in sorted(temporary.iterdir())}


def _strange(folder: Path) -> str:
    """Why `folder` is no release and not empty, in words; "" where it may be replaced."""
    if not folder.exists() or not any(folder.iterdir()):
        return ""
    if not releases.is_one(folder):
        return f"holds `{min(path.name for path in folder.iterdir())}` and is no release"
    problems = releases.differing(folder)
    return f"is not as a release left it ({problems[0]})" if problems else ""


def bundles(root: Path) -> dict[str, Path]:
    """The bundles of the project in `root`, by the names of their archives.

    models/braille/deploy/generic is `braille`, models/braille/deploy/loihi `braille-loihi`.

    Raises:
        UserError: there is none.
    """
    # Not what a stage that was killed has left: a name with a dot in front.
    found = sorted((root / "models").glob("[!.]*/deploy/[!.]*/manifest.json"))
    if not found:
        raise UserError(f"{root / 'models'}: holds no bundle; run make deploy-artifacts")
    folders = [path.parent for path in found]
    return {f"{f.parts[-3]}-{f.name}".removesuffix("-generic"): f for f in folders}


def pack(folder: Path, name: str) -> bytes:
    """`folder` as a .tar.gz whose only top folder is `name`: sorted, no owner, no time.

    `__pycache__`, which Python makes where somebody imports the bundle's code, and `measured/` are left
    out. The same
    content gives the same bytes with the same version of zlib.
    """
    packed = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=packed, mtime=0) as stream,
        tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive,
    ):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if (
                not path.is_file()
                or path.parent.name == "__pycache__"
                or inside.parts[0] == MEASURED
            ):
                continue
            entry = tarfile.TarInfo(f"{name}/{inside.as_posix()}")
            content = path.read_bytes()
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def provenance(
    root: Path, version: str, subjects: dict[str, str], found: dict[str, Path]
) -> dict[str, Any]:
    """What the archives were made from, in the shape of SLSA v1; nobody has signed it.

    Args:
        subjects: archive to SHA-256.
        found: the bundles, as `bundles` gives them.

    Raises:
        UserError: dvc.lock or a manifest is not readable, or dvc.lock does not know a task.
    """
    revision, dirty = _git(root)
    lock = rehash.read(root)
    manifests = {name: _manifest(folder) for name, folder in found.items()}
    tasks = sorted({manifest["task"] for manifest in manifests.values()})
    if unknown := [task for task in tasks if f"deploy@{task}" not in lock]:
        raise UserError(f"{root / 'dvc.lock'}: has no deploy@{unknown[0]}; run dvc repro")
    recordings = {
        f"{manifest['task']}: {name}": digest
        for manifest in manifests.values()
        for name, digest in manifest["data"].get("files", {}).items()
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": n, "digest": {"sha256": d}} for n, d in sorted(subjects.items())],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {
                    "version": version,
                    "parameters": {n: m["parameters"] for n, m in manifests.items()},
                },
                "internalParameters": {
                    "signed": False,
                    "note": "unsigned: written by whoever ran the release, signed by nobody",
                    "uncommitted_changes": dirty,
                },
                "resolvedDependencies": [
                    {"name": "git", "digest": {"gitCommit": revision}},
                    *_inputs(lock, tasks),
                    *({"name": n, "digest": {"sha256": d}} for n, d in sorted(recordings.items())),
                ],
            },
            "runDetails": {"builder": {"id": "urn:spyx-to-chip:make-release"}},
        },
    }


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        manifest["task"], manifest["parameters"], manifest["data"].get("files")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise UserError(f"{folder / 'manifest.json'}: not a bundle's manifest") from None
    return manifest


def _inputs(lock: dict[str, Any], tasks: list[str]) -> list[dict[str, Any]]:
    """What any stage of the tasks read and no stage wrote, with DVC's digest, by name.

    Of a folder outside the project the last part of its path is the name.
    """
    stages = [stage for name, stage in lock.items() if name.partition("@")[2] in tasks]
    made = {out["path"] for stage in stages for out in stage.get("outs", [])}
    read = {
        Path(dep["path"]).name if Path(dep["path"]).is_absolute() else dep["path"]: dep["md5"]
        for stage in stages
        for dep in stage.get("deps", [])
        if dep["path"] not in made
    }
    return [{"name": name, "digest": {"dvcMd5": digest}} for name, digest in sorted(read.items())]


def _git(root: Path) -> tuple[str, bool | None]:
    """The commit of the project in `root`, and whether files differ from it; "unknown", None."""

    def run(*command: str) -> str:
        done = subprocess.run(("git", "-C", str(root), *command), capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    revision = run("rev-parse", "HEAD") if shutil.which("git") else ""
    if not revision:
        return "unknown", None
    return revision, bool(run("status", "--porcelain", "--untracked-files=no", "--", "."))


def _sign(folder: Path, key: str) -> None:
    """Sign all files of `folder` into `SIGNATURE`."""
    signature = folder / SIGNATURE
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "model_signing", "sign", "key", str(folder)),
            *("--private_key", key, "--signature", str(signature)),
        ],
        stdin=subprocess.DEVNULL,  # a key with a password is refused, not waited for
        capture_output=True,
        text=True,
    )
    if done.returncode != 0 or not signature.is_file():
        said = " ".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-1:])
        raise UserError(f"--key {key}: model-signing refused, so nothing was released: {said}")
