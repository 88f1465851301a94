"""Whether files are still what a stage wrote, by their bytes: `python -m pipeline.rehash`.

DVC takes a file for unchanged while its time and size are: a bit that flipped on a disk, or in its cache,
would go through all stages into a verified bundle. Each stage that DVC starts hashes its inputs, and
`make deploy-artifacts` hashes all outputs; both compare with dvc.lock.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from spyx_nir.errors import Parser, UserError, exit_status

LOCK = "dvc.lock"
STAGE = "DVC_STAGE"  # which DVC sets for the command of a stage
ORDER = ("check", "prepare", "train", "export", "parity")  # deploy and target read what these wrote
IGNORED = ("__pycache__", "measured")  # .dvcignore; what somebody measured with a bundle


def digest(path: Path) -> str:
    """DVC's digest: the MD5 of a file, of a folder that of the list of its files."""
    if path.is_file():
        with open(path, "rb") as stream:
            md5 = partial(hashlib.md5, usedforsecurity=False)
            return hashlib.file_digest(stream, md5).hexdigest()
    entries = [
        {"md5": digest(file), "relpath": file.relative_to(path).as_posix()}
        for file in path.rglob("*")
        if file.is_file() and not set(file.relative_to(path).parts) & set(IGNORED)
    ]
    entries.sort(key=lambda entry: entry["relpath"])
    text = json.dumps(entries, sort_keys=True).encode()
    return hashlib.md5(text, usedforsecurity=False).hexdigest() + ".dir"


def check_inputs(root: Path = Path(".")) -> None:
    """Refuse inputs of the stage that DVC started that are not as the stage before wrote them.

    Raises:
        UserError: names the first one.
    """
    name = os.environ.get(STAGE, "").rpartition(":")[2]
    if not name or not (root / LOCK).is_file():
        return
    lock = read(root)
    made = _outputs(lock, set(lock) - {name})
    for path in sorted(_inputs(lock, name) & set(made)):
        _refuse(root, path, made[path])


def check_outputs(root: Path = Path("."), paths: Iterable[str] = ()) -> int:
    """Refuse outputs, all or those in `paths`, that are not as dvc.lock says; how many it knows.

    Raises:
        UserError: names the first one.
    """
    lock = read(root)
    made = _outputs(lock, set(lock))
    for path in sorted(set(paths) or set(made)):
        if path not in made:
            raise UserError(f"{root / LOCK}: does not know {path}; run dvc repro")
        _refuse(root, path, made[path])
    return len(made)


def _refuse(root: Path, path: str, expected: tuple[str, str]) -> None:
    stage, due = expected
    file = root / path
    if not file.exists():
        raise UserError(f"{path}: is not there; run dvc repro")
    if (found := digest(file)) != due:
        raise UserError(
            f"{path}: its MD5 is {found}, {LOCK} has {due} from {stage}: it is damaged, in DVC's cache "
            f"too where that is linked; remove it and run `dvc repro -f {stage}`"
        )


def read(root: Path) -> dict[str, Any]:
    """The stages of dvc.lock.

    Raises:
        UserError: it is missing or no lock file.
    """
    import yaml

    try:
        text = (root / LOCK).read_text(encoding="utf-8")
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a tenth of the time
        return dict(yaml.load(text, loader)["stages"])
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        raise UserError(f"{root / LOCK}: not readable; run dvc repro") from None


def _outputs(lock: Mapping[str, Any], stages: Iterable[str]) -> dict[str, tuple[str, str]]:
    """Path -> the stage that wrote it, and its digest."""
    return {
        out["path"]: (name, out["md5"])
        for name in stages
        for out in lock[name].get("outs", [])
        if "md5" in out
    }


def _inputs(lock: Mapping[str, Any], name: str) -> set[str]:
    """What the stage `name` may read: outputs of its task's stages before it, and its known inputs."""
    stage, _, rest = name.partition("@")
    task = rest.partition("-")[0]
    before = ORDER[: ORDER.index(stage)] if stage in ORDER else ORDER
    found = {dep["path"] for dep in lock.get(name, {}).get("deps", [])}
    for other in before:
        found |= {out["path"] for out in lock.get(f"{other}@{task}", {}).get("outs", [])}
    return found


def main() -> int:
    """Hash all outputs; returns the exit code."""
    Parser(prog="python -m pipeline.rehash", description=__doc__).parse_args()

    def check() -> None:
        print(f"{check_outputs()} outputs are as {LOCK} says, by their bytes")

    return exit_status(check)


if __name__ == "__main__":
    sys.exit(main())
