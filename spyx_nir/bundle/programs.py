"""Whether the programs in a bundle are those that this program writes; nothing of the bundle is run."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

from spyx_nir.bundle import events, integers, standalone
from spyx_nir.hardware import registry
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.network import IntegerNetwork
from spyx_nir.meaning.source import reference_source

RELEASED = Path(__file__).parent / "released.json"  # version -> program -> SHA-256, or several
SUFFIXES = (".py", ".sh", ".c", ".h", ".v", ".ino")


def written(chip: Profile | None) -> dict[str, str]:
    """The texts of the programs that a bundle of this version has, by name; chip: of the bundle."""
    encode = (standalone.TEMPLATES / events.PROGRAM).read_text(encoding="utf-8")
    found = {
        "verify.py": standalone.source("verify.py", reference_source()),
        f"{events.FOLDER}/{events.PROGRAM}": encode,
    }
    if chip is not None:
        found["verify_integers.py"] = integers.source(chip)
    return found


def foreign(
    digests: Mapping[str, str],
    chip: Profile | None,
    network: IntegerNetwork | None,
    bin_us: int,
    version: str,
    plain: bool,
) -> list[str]:
    """A line for each program of a bundle that neither this version nor a released one writes.

    Args:
        digests: file -> SHA-256 of the bundle's files. chip, network: of the bundle; None where the
            chip is not known here. bin_us: a step, in microseconds. version: of spyx-nir that made it.
            plain: the bundle is for no chip.
    """
    own = importlib.metadata.version("spyx-nir")
    known = {name: {_sha256(text)} for name, text in written(chip).items()}
    for programs in json.loads(RELEASED.read_text(encoding="utf-8")).values():
        for name, found in programs.items():
            known.setdefault(name, set()).update([found] if isinstance(found, str) else found)
    generated = {}
    if chip is not None and network is not None and version == own:
        files = registry.family(chip).files(network, bin_us)
        generated = {name: {_sha256(text)} for name, text in files.items()}
    problems = []
    for name, digest in sorted(digests.items()):
        if name in known or name in generated:
            if digest not in known.get(name, set()) | generated.get(name, set()):
                problems.append(
                    f"{name}: not ours: neither spyx-nir {own} nor a release before writes this text "
                    f"(SHA-256 {digest})"
                )
        elif name.endswith(SUFFIXES) and (plain or network is not None) and version == own:
            problems.append(f"{name}: not ours: a program that spyx-nir {own} does not write")
    return problems


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
