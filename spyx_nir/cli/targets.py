"""`--target`: the chips that `fit` and `build` judge, one or several."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

from spyx_nir.errors import UsageError, UserError
from spyx_nir.hardware import facts, profile
from spyx_nir.hardware.facts import Profile

ALL = "all"


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Add `--target`; `chips` takes what it collects."""
    parser.add_argument(
        "--target",
        required=True,
        action="append",
        help=f"one of {', '.join(facts.names())}, a profile of your own (a .yaml file), or {ALL}; can be "
        "given several times",
    )


def chips(names: Iterable[str]) -> list[Profile]:
    """The targets, each once, in the order given.

    Raises:
        UsageError: there is no such target.
        UserError: a profile is not readable.
    """
    wanted = [n for name in names for n in (facts.names() if name == ALL else [name])]
    found: dict[str, Profile] = {}
    for name in wanted:
        try:
            chip = profile.load(name)
        except UserError as error:
            if Path(name).exists():
                raise
            raise UsageError(f"--target: {error}") from None
        found.setdefault(chip.name, chip)
    return list(found.values())
