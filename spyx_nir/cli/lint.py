"""`lint FILE`: what is wrong or doubtful in a file, why, and what to do about it."""

from __future__ import annotations

import argparse
import dataclasses

from spyx_nir.cli import show
from spyx_nir.converter.lint import CODES, SEVERITIES, TARGETS, lint
from spyx_nir.errors import GraphError, UsageError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", help="a .nir file")
    parser.add_argument("--target", choices=TARGETS, default="generic", help="default: %(default)s")
    parser.add_argument(
        "--dt", type=show.step, help="the step to judge by; default: the contract's"
    )
    show.add_discretization(parser)
    parser.add_argument(
        "--contract",
        action="store_true",
        help="also judge the metadata, key by key, by the specification in docs/contract.md",
    )
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    parser.add_argument("--json", action="store_true", help="print JSON")
    show.add_limits(parser)
    codes = "\n".join(f"  {code:17} {text}" for code, text in CODES.items())
    parser.epilog = (
        f"codes:\n{codes}\n\nexit code 0: no error; 1: an error (--strict: or a warning)"
    )


def main(arguments: argparse.Namespace) -> int:
    try:
        findings = lint(
            arguments.file,
            arguments.dt,
            arguments.target,
            discretization=arguments.discretization,
            strictly=arguments.contract,
        )
    except GraphError as error:
        if error.code == "dt":
            raise UsageError(f"--dt: {error}") from None
        raise
    counts = {s: sum(f.severity == s for f in findings) for s in SEVERITIES}
    if arguments.json:
        head = {"file": arguments.file, "target": arguments.target, "counts": counts}
        show.as_json({**head, "findings": [dataclasses.asdict(f) for f in findings]})
    else:
        rows = [(f.severity, f.code, f.node or "graph", f.reason, f.remedy) for f in findings]
        show.table(("severity", "code", "node", "reason", "remedy"), rows)
        summary = ", ".join(show.count(n, severity) for severity, n in counts.items())
        show.say(f"{arguments.file}: {summary if findings else 'nothing found'}")
    return int(bool(counts["error"] or (arguments.strict and counts["warning"])))
