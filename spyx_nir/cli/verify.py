"""`verify BUNDLE`: the checks of a bundle's own verify.py, without running code from the bundle."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from spyx_nir.cli import show
from spyx_nir.converter import file
from spyx_nir.errors import UserError, painted


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", help="a folder such as models/<task>/deploy/generic")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.epilog = "exit code 0: everything is as it was made; 1: something differs, and is named"


def problems_of(folder: Path) -> list[str]:
    """What differs in the bundle `folder`, a line each.

    Raises:
        UserError: it is no bundle, or a graph in it cannot be read.
    """
    from spyx_nir.bundle.templates import verify

    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such folder; a bundle is the folder that holds manifest.json"
        )
    if not any((folder / name).exists() for name in ("manifest.json", "SHA256SUMS")):
        raise UserError(f"{folder}: no bundle, which is a folder that holds manifest.json")
    for name in verify.MODELS:
        if (folder / name).exists():
            file.read(folder / name)  # refuses what verify.py's short reader trusts
    return verify.check(folder)


def main(arguments: argparse.Namespace) -> int:
    folder = Path(arguments.bundle)
    problems = problems_of(folder)
    if arguments.json:
        show.as_json({"bundle": str(folder), "passes": not problems, "problems": problems})
        return int(bool(problems))
    for problem in problems:
        print(f"{painted('differs:', 'red', sys.stderr)} {problem}", file=sys.stderr)
    verdict = f"FAIL, {show.count(len(problems), 'problem')}" if problems else "pass"
    show.verdict(f"{folder}: {verdict}", not problems)
    return int(bool(problems))
