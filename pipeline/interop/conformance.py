"""`python -m pipeline.interop.conformance`: the support table of docs/conformance.md.

Every reader runs the conformance pack, and every exporter's files are run by the reference.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from pipeline.interop import exported, importers, support
from spyx_nir.errors import Parser, UserError, exit_status
from spyx_nir.files import write_json, write_text

PAGE = Path("docs/conformance.md")
ALL = importers.OTHERS | importers.READERS
BEGIN = "<!-- {}: written by `make conformance-peers` -->"
END = "<!-- end of {} -->"
OURS = ("spyx", "reference")


def main(arguments: argparse.Namespace) -> int:
    """0 if our own readers get every case right."""
    chosen = {name: ALL[name] for name in arguments.reader or ALL}
    for reader in chosen.values():
        reader.check()
    with tempfile.TemporaryDirectory() as folder:
        found = support.run(chosen, Path(folder))
    written = {} if arguments.reader else exports()
    titles = {name: reader.title for name, reader in chosen.items()}
    tables = {"support": support.table(found, titles), "exporters": exported.table(written)}
    if arguments.reader:
        print(tables["support"])
    else:
        page = PAGE.read_text(encoding="utf-8")
        for name, text in tables.items():
            page = into(page, name, text)
        write_text(PAGE, page)
        rows = {name: {row.case: row.verdict for row in rows} for name, rows in written.items()}
        write_json(support.REPORT, {"readers": support.report(found), "exporters": rows})
    own = [row for name in OURS for row in found.get(name, [])]
    return int(any(row.verdict != "faithful" for row in own))


def exports() -> dict[str, list[support.Row]]:
    """The verdicts on every exporter's files."""
    found = {}
    for name in exported.EXPORTERS:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = exported.run(name, Path(folder))
    return found


def into(page: str, name: str, text: str) -> str:
    """A page with one table replaced.

    Raises:
        UserError: the lines around the table are missing.
    """
    begin, end = BEGIN.format(name), END.format(name)
    if begin not in page or end not in page:
        raise UserError(f"{PAGE}: the lines `{begin}` and `{end}` are missing")
    return page.partition(begin)[0] + f"{begin}\n\n{text}\n\n{end}" + page.partition(end)[2]


def parse(given: list[str] | None = None) -> argparse.Namespace:
    parser = Parser(prog="python -m pipeline.interop.conformance", description=__doc__)
    more = "only this one, printed, nothing written; may be repeated"
    parser.add_argument("--reader", action="append", choices=ALL, help=more)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(exit_status(lambda: main(parse())))
