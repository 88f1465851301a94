"""`verify FOLDER`: a bundle or a release seen from outside, without running a program from it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spyx_nir.bundle.templates.shared import PASS
from spyx_nir.cli import show
from spyx_nir.errors import painted, printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="a bundle such as models/<task>/deploy/generic, or the folder of a release",
    )
    parser.add_argument(
        "--key",
        metavar="PEM",
        help="check the signature model.sig in the folder with this public key; needs `pip install "
        "model-signing`. Without a signature it fails",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = (
        "Nothing from the bundle is run. Compared are: digests; golden vectors and integers, run again;\n"
        "manifest.json with model.nir; accuracies with their counts; the card with manifest.json; the\n"
        "programs of the bundle with those that this version, or a release before, writes.\n"
        f"{PASS[0].upper()}{PASS[1:]}: that takes --key.\n"
        "exit code 0: everything is as it was made; 1: something differs, and is named"
    )


def problems_of(folder: Path) -> list[str]:
    """What differs in the bundle `folder`, a line each.

    Raises:
        UserError: it is no bundle, or a graph in it cannot be read.
    """
    from spyx_nir.bundle import consistency

    return consistency.check(folder).problems


def main(arguments: argparse.Namespace) -> int:
    from spyx_nir.bundle import consistency, releases, signature

    folder = Path(arguments.folder)
    signed = None
    if arguments.key is not None:
        signature.check(folder, Path(arguments.key))
        signed = True
    verdict = releases.check(folder) if releases.is_one(folder) else consistency.check(folder)
    if signed:
        verdict.seen.append(f"model.sig is a signature by the key {arguments.key}")
    if arguments.json:
        show.as_json(
            {
                "bundle": str(folder),
                "passes": not verdict.problems,
                "problems": verdict.problems,
                "seen": verdict.seen,
                "signed": bool(signed),
            }
        )
        return int(bool(verdict.problems))
    for problem in verdict.problems:
        print(f"{painted('differs:', 'red', sys.stderr)} {printable(problem)}", file=sys.stderr)
    for line in verdict.seen:
        show.say(f"{folder}: {line}")
    count = show.count(len(verdict.problems), "problem")
    said = f"FAIL, {count}" if verdict.problems else "pass" if signed else f"pass; {PASS}"
    show.verdict(f"{folder}: {said}", not verdict.problems)
    return int(bool(verdict.problems))
