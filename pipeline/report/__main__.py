"""`python -m pipeline.report`: write report/index.html from what the stages left."""

from __future__ import annotations

import sys
from pathlib import Path

from pipeline import stage
from pipeline.report import page
from spyx_nir.errors import Parser, exit_status


def main() -> int:
    """Parse the command line, write the page; returns the exit code."""
    parser = Parser(prog="python -m pipeline.report", description=__doc__)
    parser.add_argument(
        "--output", default="report/index.html", metavar="FILE", help="default: %(default)s"
    )
    output = Path(parser.parse_args().output)
    stage.start_sooner()
    return exit_status(lambda: page.write(Path("."), output))


if __name__ == "__main__":
    sys.exit(main())
