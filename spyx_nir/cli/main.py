"""The command line for .nir files: `spyx-nir`, or `python -m spyx_nir`.

Other distributions add subcommands through the entry point group `spyx_nir.commands`: each entry is a
mapping of names to `Command`.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import os
import sys
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from spyx_nir.errors import Parser, exit_status, painted, printable
from spyx_nir.limits import LIMITS, raised_limits
from spyx_nir.memory import keep_memory

COMMANDS = {
    "inspect": "what a file holds: nodes, shapes, ranges, time constants, contract, digest",
    "lint": "what is wrong or doubtful in a file, why, and what to do",
    "upgrade": "repair what is understood in an older file, add a contract",
    "adapt": "rewrite a file for a reader that cannot say it all, spikes unchanged",
    "run": "run a file on recorded data",
    "diff": "compare two files node by node, number by number",
    "draw": "a picture of a graph (SVG): nodes, shapes, parameters, edges",
    "fit": "does a graph fit a chip: limits, placement on cores, utilisation",
    "build": "verified bundles for chips from any graph: quantise, calibrate, fine-tune, simulate",
    "verify": "check a deploy bundle: digests and golden vectors",
    "summary": "a row for each bundle: accuracy, parity, fit, tightest limit",
    "completion": "print the completion of this command line for a shell",
}

GROUP = "spyx_nir.commands"

EPILOG = """exit codes:
  0  done, nothing wrong
  1  refused with one line on stderr; lint: an error was found; diff: the files differ;
     fit: it does not; build: a target has no bundle; verify: the bundle differs;
     summary: there is no bundle, or with --verify one differs
  2  wrong command line, or something outside this machine cannot be had
  129, 130, 143  interrupted; 141  the reader of the output went away
"""


@dataclass(frozen=True)
class Command:
    """A subcommand: what it does, in a line, and the module that has `add_arguments` and `main`."""

    text: str
    module: str


def commands(wanted: Collection[str] = ()) -> dict[str, Command]:
    """The subcommands by name; other distributions are asked unless all of `wanted` are our own."""
    found = {name: Command(text, f"spyx_nir.cli.{name}") for name, text in COMMANDS.items()}
    if not wanted or not found.keys() >= set(wanted):
        for entry in importlib.metadata.entry_points(group=GROUP):
            found |= entry.load()
    return found


def build_parser(complete: Iterable[str], known: Mapping[str, Command]) -> argparse.ArgumentParser:
    """The command line, with the arguments of the subcommands in `complete`; no other is imported."""
    parser = Parser(
        prog="spyx-nir",
        description="Tools for .nir files. `spyx-nir COMMAND --help` explains each.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, command in known.items():
        text = command.text
        sub = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        if name in complete:
            importlib.import_module(command.module).add_arguments(sub)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """The command line with the arguments of every subcommand."""
    known = commands()
    return build_parser(known, known)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code.

    Args:
        arguments: instead of the command line's.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)

    def command() -> int:
        if given[:1] == ["build"] and "numpy" not in sys.modules:
            # NumPy reads it when it is imported. Threads of OpenBLAS and of `build` wait for each other.
            os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
            keep_memory()
        known = commands(given[:1])
        parsed = build_parser(given[:1], known).parse_args(given)
        parsed.whole_parser = whole_parser  # for the completion of all commands
        tool = importlib.import_module(known[parsed.command].module)
        with raised_limits(**_given_limits(parsed)):
            code: int = tool.main(parsed)
        sys.stdout.flush()
        return code

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _warn  # type: ignore[assignment]
        return exit_status(command)


def _given_limits(parsed: argparse.Namespace) -> dict[str, int]:
    """The limits that the command line gives by --max-NAME, by name."""
    given = {name: getattr(parsed, f"max_{name}", None) for name in LIMITS}
    return {name: most for name, most in given.items() if most is not None}


def _warn(message: Warning | str, *_: object) -> None:
    print(f"{painted('warning:', 'yellow', sys.stderr)} {printable(message)}", file=sys.stderr)


class _Version(argparse.Action):
    """`--version`: of this program and of the contract it writes."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from spyx_nir.meaning.plan import CONTRACT_VERSION

        try:
            own = importlib.metadata.version("spyx-nir")
        except importlib.metadata.PackageNotFoundError:
            own = "(not installed)"
        print(f"spyx-nir {own}, contract {CONTRACT_VERSION}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
