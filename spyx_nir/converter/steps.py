"""What a model does in one step: layers, and where each one gets its input from.

`graph.py` writes steps as nodes. A `Sequential` is a row of them; `trace/` finds them in any other
module.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Run = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True, eq=False)
class Step:
    """One layer that runs once in a step of time.

    layer: what is written as nodes.
    sources: the earlier steps whose outputs are summed into its input, by index; -1 - k is input k.
    runs: the layers of the model that `layer` does the work of, in order.
    place: where the model calls it, for messages; "" in a Sequential.
    note: what of its node is not a copy of one layer; "" if nothing.
    """

    layer: Any
    sources: tuple[int, ...]
    runs: tuple[Any, ...]
    place: str = ""
    note: str = ""


@dataclass(frozen=True)
class Program:
    """The steps of a model in the order in which they run.

    outputs: for each output of the model the steps (or inputs) whose sum it is.
    run: the model itself: from arrays (T, B, ...), channels last, by input name to the outputs in the
    same order, each (T, B, ...). None: the layers in a row.
    """

    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, ...], ...]
    run: Run | None = None


def label(layer: Any) -> str:
    """The name of a layer's class or function."""
    function = layer.func if isinstance(layer, functools.partial) else layer
    return getattr(function, "__name__", type(layer).__name__).strip("<>")


def reachable(program: Program) -> Program:
    """The program without the steps that no output depends on."""
    used: set[int] = set()
    todo = [source for output in program.outputs for source in output]
    while todo:
        index = todo.pop()
        if index >= 0 and index not in used:
            used.add(index)
            todo += program.steps[index].sources
    return _renumbered(program, sorted(used))


def _renumbered(program: Program, kept: list[int]) -> Program:
    at = {old: new for new, old in enumerate(kept)}

    def moved(sources: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(at.get(source, source) for source in sources)

    steps = [program.steps[index] for index in kept]
    return Program(
        tuple(Step(s.layer, moved(s.sources), s.runs, s.place, s.note) for s in steps),
        tuple(map(moved, program.outputs)),
        program.run,
    )
