"""What a value is while a jaxpr is read: known, a signal of the graph, a state, or nothing of NIR's."""

from __future__ import annotations

import linecache
import os
from dataclasses import dataclass
from typing import Any, TypeAlias

import flax
import jax
import numpy as np
import spyx
from jax._src import source_info_util

from spyx_nir import converter
from spyx_nir.errors import GraphError

Shape: TypeAlias = tuple[int, ...]

UNKNOWN = "the model"  # in the place of a line that no file of the author has
# Frames in these folders are no lines of the model's author.
_INTERNAL = tuple(
    os.path.join(folder, "")
    for package in (jax, flax, spyx, converter)
    for folder in package.__path__
)


@dataclass(frozen=True)
class Known:
    """An array that does not depend on the input."""

    value: Any


@dataclass(frozen=True)
class Signal:
    """A sum of outputs of steps.

    terms: the steps, by index; -1 - k is input k. lead: the names of the axes before `shape`, of which
    one is the batch and one may be time. shape: of one sample in one step, channels last.
    """

    terms: tuple[int, ...]
    lead: tuple[str, ...]
    shape: Shape

    @property
    def rank(self) -> int:
        """The number of all axes."""
        return len(self.lead) + len(self.shape)


@dataclass(frozen=True)
class Held:
    """Array `index` of the state that a scan carries, which starts as `start`."""

    scan: int
    index: int
    start: Any


@dataclass(frozen=True)
class Next:
    """Array `index` of the state that the layer of a step puts out."""

    step: int
    index: int


@dataclass(frozen=True)
class Final:
    """The state after the last step of time."""


@dataclass(frozen=True)
class Foreign:
    """What no node computes. `operation` is named with the line that does it."""

    operation: str
    line: str
    remedy: str = ""

    def error(self) -> GraphError:
        """The error to raise where a layer or an output depends on it."""
        what = f"{self.line}: {self.operation} between layers has no node in NIR"
        code = linecache.getline(*place_of(self.line)).strip()
        parts = [what, f"in {code!r}" if code else "", self.remedy]
        return GraphError("; ".join(filter(None, parts)), code="untraceable")


Value: TypeAlias = Known | Signal | Held | Next | Final | Foreign


def line_of(source_info: Any) -> str:
    """File and line of the model's source that an equation comes from, as `file.py:12`."""
    for frame in source_info_util.user_frames(source_info.traceback):
        if not internal(frame.file_name):
            return f"{frame.file_name}:{frame.start_line}"
    return UNKNOWN


def place_of(line: str) -> tuple[str, int]:
    """File and number of what `line_of` gives."""
    name, _, number = line.rpartition(":")
    return name, int(number) if number.isdigit() else 0


def internal(name: str) -> bool:
    """Whether a file is one of JAX, Flax, Spyx or this package."""
    return name.startswith(_INTERNAL)


def constant_over(value: Any, lead: int, rank: int) -> np.ndarray | None:
    """A known array without its `lead` axes, of which it may not depend; None if it does.

    Args:
        rank: of the signal that it is combined with.
    """
    array = np.asarray(value)
    array = array.reshape((1,) * (rank - array.ndim) + array.shape)
    first = array[(0,) * lead]
    same = np.array_equal(np.broadcast_to(first, array.shape), array)
    return first if same else None
