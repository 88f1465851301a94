"""The signature of a bundle or a release, by the package model-signing: it says who made it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

from spyx_nir.bundle.templates.verify import SIGNATURE
from spyx_nir.errors import UserError


def check(folder: Path, key: Path) -> None:
    """Check the signature `model.sig` in `folder`, over all its other files.

    Args:
        key: the file of a public key (PEM).

    Raises:
        UserError: there is no key, no signature or no package model-signing, or the signature does not
            fit the files and the key.
    """
    if not key.is_file():
        raise UserError(f"--key {key}: no such file")
    if not (folder / SIGNATURE).is_file():
        raise UserError(f"{folder}: has no signature {SIGNATURE}, so nobody says who made it")
    if importlib.util.find_spec("model_signing") is None:
        raise UserError("--key: needs the package model-signing: pip install model-signing")
    done = subprocess.run(
        [
            *(sys.executable, "-P", "-m", "model_signing", "verify", "key", str(folder)),
            *("--public_key", str(key), "--signature", str(folder / SIGNATURE)),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError(
            f"{folder / SIGNATURE}: not a signature of these files by {key}: {' '.join(said)}"
        )
