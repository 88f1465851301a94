"""What a part of the page consists of, and how numbers are written on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

ALL, PICTURES, NOTHING = "all", "pictures", "nothing"


@dataclass(frozen=True)
class Number:
    """A number as a machine and as a person read it: `<data value="0.964">96.4 %</data>`."""

    value: float
    text: str


@dataclass(frozen=True)
class Table:
    """Rows of text, `Number` or None (nothing to say); the first cell of a row is its heading.

    folded: shown when the reader asks for it, as what a chart shows already.
    words: the cells are sentences, not numbers.
    """

    caption: str
    head: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    folded: bool = False
    words: bool = False


@dataclass(frozen=True)
class Chart:
    """A Vega-Lite specification and a text for readers who do not see it.

    wide: it takes the whole width of the page, and no other chart is beside it.
    """

    id: str
    label: str
    spec: dict[str, Any]
    wide: bool = False


@dataclass(frozen=True)
class Choice:
    """A drop-down that sets the signal `name` in every chart of its part."""

    name: str
    label: str
    options: list[tuple[str, str]]  # (value, text)


@dataclass(frozen=True)
class Picture:
    """A PNG image, embedded; `alt` says what is on it."""

    alt: str
    base64: str


@dataclass(frozen=True)
class Block:
    """What has a template of its own, templates/blocks/<kind>.html, and what that shows."""

    kind: str
    content: dict[str, Any]


@dataclass(frozen=True)
class Part:
    """A section of the page.

    missing: sentences about what is not there, each with the command that makes it.
    target: the chip that the part is about, for the filter; "" where it is about none.
    printed: what of it is on paper, `ALL`, `PICTURES` or `NOTHING`.
    """

    id: str
    title: str
    text: list[str] = field(default_factory=list)
    choices: list[Choice] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    target: str = ""
    printed: str = ALL


def percent(fraction: float) -> Number:
    """A share with two decimals, without those that are 0; neither 0 nor 100 % for what is near it."""
    if 0 < fraction < 1e-4:
        return Number(fraction, "< 0.01 %")
    if 1 - 1e-4 < fraction < 1:
        return Number(fraction, "> 99.99 %")
    return Number(fraction, f"{100 * fraction:.2f}".rstrip("0").rstrip(".") + " %")


def count(n: int) -> Number:
    """A whole number with thousands apart."""
    return Number(n, f"{n:,}".replace(",", "\u202f"))


def small(value: float) -> Number:
    """A measured number with three significant digits."""
    return Number(value, f"{value:.3g}")


def measured(value: Any) -> Any:
    """A value of any kind: numbers from 1000 on as whole ones, smaller ones with four digits."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    if isinstance(value, int) or abs(value) >= 1000:
        return Number(value, count(round(value)).text)
    return Number(value, f"{value:.4g}")


def interval(entry: dict[str, Any]) -> tuple[Any, ...]:
    """The cells of an accuracy: value, right ones of all, interval's ends. See `metrics.py`."""
    low, high = entry["wilson95"]
    right = f"{count(entry['correct']).text} of {count(entry['n']).text}"
    return percent(entry["accuracy"]), right, percent(low), percent(high)


def absent(path: Any, command: str) -> str:
    """The sentence for an input that is not there."""
    return f"{path} is not there: run {command}"
