"""`draw FILE`: a graph as a picture, SVG."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path

from spyx_nir.cli import check_name, mendable, show
from spyx_nir.files import atomic


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument(
        "-o", "--output", metavar="OUT.svg", help="where to write; default: standard output"
    )
    parser.add_argument("--json", action="store_true", help="print JSON; needs --output")
    show.add_limits(parser)
    parser.epilog = (
        "Subgraphs are dissolved. A + is where several edges add up. Dashed edges close a cycle: they\n"
        "carry the output of the step before. Any browser shows the picture."
    )


def main(arguments: argparse.Namespace) -> int:
    from spyx_nir.converter.draw import draw
    from spyx_nir.errors import UsageError

    if arguments.output:
        check_name(arguments.output, ".svg", "--output")
    elif arguments.json:
        raise UsageError("--json needs --output: the picture itself goes to standard output")
    with warnings.catch_warnings(action="ignore"):  # `lint` reports these
        picture = mendable(arguments.file, lambda graph: draw(graph, Path(arguments.file).name))
    if not arguments.output:
        sys.stdout.write(picture)
        return 0
    with atomic(arguments.output) as temporary:
        Path(temporary).write_text(picture, encoding="utf-8")
    nodes = picture.count("<g><title>")
    if arguments.json:
        show.as_json({"file": arguments.file, "out": arguments.output, "nodes": nodes})
    else:
        show.say(f"{arguments.output}: {show.count(nodes, 'node')}")
    return 0
