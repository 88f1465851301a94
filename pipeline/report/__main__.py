"""`python -m pipeline.report`: write report/index.html from what the stages left."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import stage, start
from pipeline.report import against, page
from spyx_nir.errors import Parser, exit_status


def main() -> int:
    """Parse the command line, write the page; returns the exit code."""
    parser = Parser(prog="python -m pipeline.report", description=__doc__)
    parser.add_argument(
        "--output", metavar="FILE", help=f"default: report/index.html, or {against.OUTPUT}"
    )
    parser.add_argument(
        "--against", metavar="REV", help="compare this revision with the working tree instead"
    )
    given = parser.parse_args()
    stage.start_sooner()

    def write() -> None:
        if busy := start.running(Path(".")):
            print(f"note: {busy}: the page shows what is there now", file=sys.stderr)
        if given.against is not None:
            against.write(Path("."), given.against, Path(given.output or against.OUTPUT))
        else:
            page.write(Path("."), Path(given.output or "report/index.html"))

    return exit_status(write)


if __name__ == "__main__":
    sys.exit(main())
