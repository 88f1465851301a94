"""The command line for .nir files: `python -m pipeline`, also installed as `spyx-nir`."""

from __future__ import annotations

import argparse
import importlib
import sys
import warnings
from collections.abc import Iterable, Sequence
from types import ModuleType

from pipeline.errors import Parser, exit_status

COMMANDS = {
    "inspect": "what a file holds: nodes, shapes, ranges, time constants, contract, digest",
    "lint": "what is wrong or doubtful in a file, why, and what to do",
    "upgrade": "repair what is understood in an older file, add a contract",
    "adapt": "rewrite a file for a reader that cannot say it all, spikes unchanged",
    "run": "run a file on recorded data",
    "diff": "compare two files node by node, number by number",
    "fit": "does a graph fit a chip: limits, placement on cores, utilisation",
    "verify": "check a deploy bundle: digests and golden vectors",
    "new-task": "make a task of your own: data set, network, parameters, all stages",
    "release": "archives of all bundles, with digests and provenance",
    "completion": "print the completion of this command line for a shell",
}

EPILOG = """exit codes:
  0  done, nothing wrong
  1  refused with one line on stderr; lint: an error was found; diff: the files differ;
     fit: it does not; verify: the bundle differs
  2  wrong command line, or something outside this machine cannot be had
  130  interrupted; 141  the reader of the output went away
"""


def build_parser(commands: Iterable[str]) -> argparse.ArgumentParser:
    """The command line, with the arguments of `commands`; the others are not even imported."""
    parser = Parser(
        prog="spyx-nir",
        description="Tools for .nir files. `spyx-nir COMMAND --help` explains each.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version)
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in COMMANDS.items():
        sub = subparsers.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        sub.formatter_class = argparse.RawDescriptionHelpFormatter
        if name in commands:
            _tool(name).add_arguments(sub)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)

    def command() -> int:
        parsed = build_parser(given[:1]).parse_args(given)
        code: int = _tool(parsed.command).main(parsed)
        sys.stdout.flush()
        return code

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = _warn  # type: ignore[assignment]
        return exit_status(command)


def _tool(command: str) -> ModuleType:
    return importlib.import_module(f"pipeline.tools.{command.replace('-', '_')}")


def _warn(message: Warning | str, *_: object) -> None:
    print(f"warning: {message}", file=sys.stderr)


class _Version(argparse.Action):
    """`--version`: of this program and of the contract it writes."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="print the version and exit")

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        from pipeline.converter import contract

        try:
            own = version("spyx-to-chip")
        except PackageNotFoundError:
            own = "(not installed)"
        print(f"spyx-to-chip {own}, contract {contract.VERSION}")
        parser.exit()


if __name__ == "__main__":
    sys.exit(main())
