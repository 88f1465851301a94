"""A chip's facts, as its profile in `profiles/*.yaml` states them, and the checks of single values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "profiles"
NO_INTEGERS = "none"  # `integer_semantics` of a chip of which only the limits are known


@dataclass(frozen=True)
class Entry:
    """One fact: its value, who says so, and what others say: (value, source), ..."""

    value: Any
    source: str
    also: tuple[tuple[Any, str], ...] = ()


@dataclass(frozen=True)
class Profile:
    """One target. `profile["limits.inputs"]` is a value, `profile.source("limits.inputs")` its source.

    integer_semantics: the name of the chip family that simulates it, or `none`. Facts that only one
    family reads, such as `cores.*`, exist only in profiles of that family.
    """

    name: str
    chip: str
    integer_semantics: str
    facts: dict[str, Entry] = field(repr=False)

    def __getitem__(self, key: str) -> Any:
        return self.facts[key].value

    def __contains__(self, key: str) -> bool:
        return key in self.facts

    def source(self, key: str) -> str:
        """Who says so."""
        return self.facts[key].source

    @property
    def has_integers(self) -> bool:
        """Whether a family quantises for the chip and simulates it."""
        return self.integer_semantics != NO_INTEGERS


def names() -> list[str]:
    """The targets that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


# Whether a value is allowed, and what is allowed in words.
Check = tuple[Callable[[Any], bool], str]


def whole(low: int) -> Check:
    """An integer of `low` or more."""

    def test(value: Any) -> bool:
        return type(value) is int and value >= low

    return test, f"a whole number of {low} or more"


def or_null(check: Check) -> Check:
    """What `check` allows, or null."""
    return (lambda value: value is None or check[0](value)), f"{check[1]}, or null"


def one_of(*words: str) -> Check:
    """One of some words."""
    return (lambda value: isinstance(value, str) and value in words), f"one of {', '.join(words)}"


def list_of(check: Check, empty: bool = False) -> Check:
    """A list whose items `check` allows; `empty`: also one without items."""

    def test(value: Any) -> bool:
        return isinstance(value, list) and (empty or bool(value)) and all(map(check[0], value))

    return test, f"a list, each {check[1]}"


TEXT: Check = (lambda value: isinstance(value, str) and bool(value.strip())), "text"
FLAG: Check = (lambda value: isinstance(value, bool)), "true or false"
POSITIVE: Check = (
    lambda value: type(value) in (int, float) and 0 < value < float("inf"),
    "a number above 0",
)
