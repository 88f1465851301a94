"""`python -m pipeline.interop`: every bundle through every reader; writes the report and its table."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipeline.commands import release
from pipeline.interop import importers, matrix
from pipeline.progress import bar
from spyx_nir.errors import Parser, UsageError, exit_status
from spyx_nir.files import write_json, write_text

PAGE = Path("docs/peers.md")


def main(arguments: argparse.Namespace) -> int:
    """0 if no reader reads a bundle wrongly without our knowing why."""
    root = Path()
    chosen = {name: importers.READERS[name] for name in arguments.reader or importers.READERS}
    if arguments.samples is not None and arguments.samples < 1:
        raise UsageError(f"--samples {arguments.samples}: 1 or more are needed")
    bundles = release.bundles(root).values()
    page = (root / PAGE).read_text(encoding="utf-8")
    matrix.into(page, "")  # refused before the readers have run for minutes
    report = []
    with bar("importers", len(bundles)) as shown:
        for bundle in bundles:
            with tempfile.TemporaryDirectory() as folder:
                found = matrix.run(
                    bundle, chosen, root, arguments.samples, Path(folder), shown.advance
                )
            report.append(found)
            shown.say(matrix.table([found]))
    if arguments.reader is None and arguments.samples is None:
        write_json(root / matrix.REPORT, report)
        write_text(root / PAGE, matrix.into(page, matrix.table(report)))
    return int(any(wrong(row) for entry in report for row in entry["rows"]))


def wrong(row: dict[str, Any]) -> bool:
    """Whether a row needs somebody's attention."""
    return "wrong" in (row["verdict"], row.get("profile_verdict"))


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m pipeline.interop", description=__doc__)
    more = "only this one; may be repeated"
    parser.add_argument("--reader", action="append", choices=importers.READERS, help=more)
    parser.add_argument("--samples", type=int, help="at most so many of each test set")
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(parse())))
