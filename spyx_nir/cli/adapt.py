"""`adapt FILE OUT --reader NAME`: the same network, written so that one reader reads it right."""

from __future__ import annotations

import argparse
from typing import Any

import nir

from spyx_nir.cli import check_name, mendable, show
from spyx_nir.converter import adapt, file


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("out", help="where to write, a .nir file; replaced if it is there")
    parser.add_argument("--reader", required=True, choices=sorted(adapt.DIALECTS))
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser)


def main(arguments: argparse.Namespace) -> int:
    check_name(arguments.out, ".nir", "OUT")

    def rewrite(content: dict[str, Any]) -> tuple[nir.NIRGraph, bool]:
        rewritten = adapt.dialect(content, arguments.reader)
        same = file.content_digest(rewritten) == file.content_digest(content)
        return file.build(rewritten), same

    built, same = mendable(arguments.file, rewrite)
    file.write(arguments.out, built)
    if arguments.json:
        show.as_json({"file": arguments.out, "reader": arguments.reader, "rewritten": not same})
    else:
        show.say(f"{arguments.out}: {'as before' if same else f'rewritten for {arguments.reader}'}")
    return 0
