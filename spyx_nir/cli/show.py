"""What the subcommands share: tables on a terminal, plain lines in a pipe, and what --dt takes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TextIO

import numpy as np

from spyx_nir.errors import UsageError, painted, printable
from spyx_nir.limits import LIMITS
from spyx_nir.meaning.dialects import DIALECTS
from spyx_nir.meaning.equations import DISCRETIZATIONS

OF_A_FILE = ("bytes", "ratio", "nodes", "edges", "depth", "cycles", "text")
# The colours of verdicts: words that a cell of such a column is, or begins with.
VERDICTS = ("severity", "fits", "check")
SHADES = {
    **dict.fromkeys(("error", "no", "does not fit", "FAIL"), "red"),
    **dict.fromkeys(("warning", "changed", "change"), "yellow"),
    **dict.fromkeys(("yes", "fits", "pass"), "green"),
}


def say(text: str = "", file: TextIO | None = None) -> None:
    """Print one line; what is not printable in names from elsewhere is shown as its escape."""
    print(printable(text), file=file)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()
) -> None:
    """A table on a terminal with rich; else the headings and each row as a line, tabs between cells.

    A table that is wider than the terminal has one space between columns instead of two.

    Args:
        right: the columns that are aligned to the right.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    if not rows:
        return
    if not sys.stdout.isatty() or importlib.util.find_spec("rich") is None:
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left")
    for row in rows:
        made.add_row(
            *(
                Text(cell, _shade(cell) if name in VERDICTS else "")
                for name, cell in zip(columns, row, strict=True)
            )
        )
    console = Console()
    free = console.options.update(max_width=10_000)
    made.collapse_padding = console.measure(made, options=free).maximum > console.width
    console.print(made)


def _shade(cell: str) -> str:
    """The colour of a verdict, "" for other text."""
    whole = (
        shade
        for words, shade in SHADES.items()
        if f"{cell} ".startswith((f"{words} ", f"{words}:"))
    )
    return next(whole, "")


def verdict(text: str, good: bool) -> None:
    """Print the line that a command ends with, on a terminal in green or in red."""
    print(painted(printable(text), "green" if good else "red", sys.stdout))


def as_json(value: Any) -> None:
    """`value` as indented JSON; NaN and infinity, which JSON lacks, as text."""
    print(json.dumps(_plain(value), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return str(value)
    return value


def number(value: float) -> str:
    """A number in as few digits as say what it is to six places."""
    return f"{float(value):.6g}"


def shape(value: Sequence[int] | None) -> str:
    """A shape as text, "?" where it is not known."""
    return "?" if value is None else f"({', '.join(map(str, value))})"


def count(n: int, one: str, many: str = "") -> str:
    """`1 error`, `2 errors`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def share(fraction: float, digits: int = 0) -> str:
    """A percentage that rounding takes neither to 0 nor to 100: `< 0.1 %`, `> 99.9 %` with 1 digit."""
    text, least = f"{100 * fraction:.{digits}f}", 10**-digits
    if fraction > 0 and float(text) == 0:
        return f"< {least:g} %"
    return f"> {100 - least:g} %" if fraction < 1 and float(text) >= 100 else f"{text} %"


def add_discretization(parser: argparse.ArgumentParser, what: str = "") -> None:
    """The flag --discretization; `what` is its help."""
    said = what or "how a step follows from the equations, whatever the file says"
    parser.add_argument("--discretization", choices=DISCRETIZATIONS, help=said)


def add_dialect(parser: argparse.ArgumentParser, what: str) -> None:
    """The flag --dialect; `what` is what is done with the file."""
    said = f"{what} as that framework reads it, see docs/convert.md; its own reset and step"
    parser.add_argument("--dialect", choices=sorted(DIALECTS), help=said)


def add_limits(parser: argparse.ArgumentParser, *names: str) -> None:
    """A flag --max-NAME for each of these limits, and for those of reading a .nir file."""
    group = parser.add_argument_group(
        "limits", "what a file may cost; a number replaces the default"
    )
    for name in (*OF_A_FILE, *names):
        said = f"{LIMITS[name].what}; default: {LIMITS[name].most}"
        group.add_argument(f"--max-{name}", type=_limit, metavar="N", help=said)


def _limit(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:20]) < 2**63 or len(text) > 19:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 2^63, got {text:.40}")
    return int(text)


def check_dialect(arguments: argparse.Namespace) -> None:
    """Refuse --dialect beside --reset or --discretization."""
    if arguments.dialect and (arguments.reset or arguments.discretization):
        raise UsageError(
            "--dialect has its own reset and step: leave --reset and --discretization out"
        )


def step(text: str) -> float:
    """The value of --dt, for `add_argument(type=)`."""
    if not 0 < (dt := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a finite number above 0, got {text}")
    return dt
