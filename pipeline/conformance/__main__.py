"""`python -m pipeline.conformance`: write the conformance pack (make conformance)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pipeline.conformance import build
from spyx_nir.converter.file import NIR_VERSIONS
from spyx_nir.errors import Parser, exit_status

FOLDER = Path("conformance")


def main(arguments: argparse.Namespace) -> int:
    """Write the pack and say how large it is."""
    built = build.write(arguments.output, arguments.nir_version)
    megabytes = build.size(arguments.output) / 1e6
    print(f"{arguments.output}: {len(built)} cases, {megabytes:.1f} MB")
    return 0


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m pipeline.conformance", description=__doc__)
    parser.add_argument(
        "-o", "--output", type=Path, default=FOLDER, help="default: %(default)s", metavar="FOLDER"
    )
    parser.add_argument(
        "--nir-version",
        choices=NIR_VERSIONS,
        default="1.0.8",
        help="of the files; default: %(default)s",
    )
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(parse())))
