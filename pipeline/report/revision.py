"""What the stages left at a revision: files from git, other outputs from DVC's cache.

The digests of the outputs are those of dvc.lock at the revision.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from spyx_nir.errors import UserError

LOCK = "dvc.lock"


@dataclass(frozen=True)
class Revision:
    """A commit, or the working tree.

    name: for a column's head. about: the commit in words. outs: what dvc.lock says of every output: its
    path below the project -> `md5` and `size` (bytes). content: the bytes of a file by its path; raises
    UserError, which says why it cannot be read.
    """

    name: str
    about: str
    outs: Mapping[str, Mapping[str, Any]]
    content: Callable[[str], bytes]

    def digest(self, path: str) -> str | None:
        """Of an output as dvc.lock has it, None where no stage made it."""
        return self.outs.get(path, {}).get("md5")

    def size(self, path: str) -> int | None:
        """Bytes of an output, a folder's in total; None where no stage made it."""
        return self.outs.get(path, {}).get("size")


def committed(root: Path, given: str) -> Revision:
    """The revision `given`, whatever git knows by that name, of the project in `root`.

    Raises:
        UserError: there is no git, no such revision, or no dvc.lock in it.
    """
    if _git(root, "rev-parse", "--git-dir") is None:
        raise UserError(f"{root.resolve()}: no git checkout, so no revision to compare with")
    found = _git(
        root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{given}^{{commit}}"
    )
    if found is None:
        raise UserError(
            f"AGAINST={given}: not a revision of this repository; allowed: a commit, branch or tag "
            "that git rev-parse knows"
        )
    commit = found.decode().strip()
    text = _git(root, "show", f"{commit}:./{LOCK}")
    if text is None:
        raise UserError(f"AGAINST={given}: has no {LOCK}, so no stage was run there")
    outs = _outs(text, f"{LOCK} at {given}")
    about = _git(root, "log", "-1", "--format=%h, %cs, %s", commit) or b""

    folder = functools.cache(cache)  # DVC takes a second to say

    def content(path: str) -> bytes:
        stored = _git(root, "show", f"{commit}:./{path}")
        return _cached(folder(root), outs, path, given) if stored is None else stored

    return Revision(given, about.decode("utf-8", "replace").strip(), outs, content)


def working_tree(root: Path) -> Revision:
    """The files of the project in `root` as they are.

    Raises:
        UserError: it has no dvc.lock.
    """
    try:
        outs = _outs((root / LOCK).read_bytes(), str(root / LOCK))
    except FileNotFoundError:
        raise UserError(f"{root / LOCK}: no such file; run make repro") from None
    head = (_git(root, "log", "-1", "--format=%h, %cs, %s") or b"no commit").decode().strip()
    changed = "with changes" if _git(root, "status", "--porcelain", "-uno") else "without changes"

    def content(path: str) -> bytes:
        try:
            return (root / path).read_bytes()
        except OSError as error:
            raise UserError(f"{root / path}: {error.strerror}; run make repro") from None

    return Revision("working tree", f"{head}, {changed}", outs, content)


def cache(root: Path) -> Path:
    """The folder of DVC's cache of a project, as its configuration says."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "cache", "dir"], cwd=root, capture_output=True, text=True
    )
    said = done.stdout.strip()
    return root / said if done.returncode == 0 and said else root / ".dvc" / "cache"


def _cached(folder: Path, outs: Mapping[str, Any], path: str, revision: str) -> bytes:
    """A file of the cache: an output, or in a folder that is one."""
    out = next((one for one in (path, *map(str, Path(path).parents)) if one in outs), None)
    if out is None:
        raise UserError(f"{path}: neither in git nor an output at {revision}")
    digest = str(outs[out].get("md5"))
    try:
        if digest.endswith(".dir"):
            entries = json.loads(_object(folder, digest).read_bytes())
            inner = Path(path).relative_to(out).as_posix()
            digest = {entry["relpath"]: entry["md5"] for entry in entries}.get(inner, "")
            if not digest:
                raise UserError(f"{path}: not in the folder {out} at {revision}")
        return _object(folder, digest).read_bytes()
    except OSError:
        raise UserError(
            f"{path}: not in git, and of {revision} not in DVC's cache (md5 {digest})"
        ) from None


def _object(folder: Path, digest: str) -> Path:
    return folder / "files" / "md5" / digest[:2] / digest[2:]


def _outs(text: bytes, what: str) -> dict[str, Mapping[str, Any]]:
    try:
        stages = yaml.safe_load(text)["stages"] or {}
        return {out["path"]: out for stage in stages.values() for out in stage.get("outs", [])}
    except (yaml.YAMLError, KeyError, TypeError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{what}: not a lock file of DVC") from None


def _git(root: Path, *arguments: str) -> bytes | None:
    """What git prints, None where it fails or is not there."""
    try:
        done = subprocess.run(("git", "-C", str(root), *arguments), capture_output=True)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None
