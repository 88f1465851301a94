"""What a network takes of a board's flash, memory and time, from counts, before anything is compiled.

Flash is the weights, the numbers of neurons that differ within a population, and code by a rule of thumb.
RAM is `model_state`, exactly, and a stack. Time is instructions in the worst case: every neuron spikes,
every input has one event. The constants are above what gcc 12.2 -O2 makes for a Cortex-M4 of the default
tasks' networks; `make silicon` counts what runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from spyx_nir.hardware.facts import Check, Profile
from spyx_nir.hardware.families.integer.counts import Counts
from spyx_nir.hardware.findings import Finding, Row, against

CODE, CODE_LINK, CODE_NEURONS = 512, 320, 192  # bytes: interface; each link; each population
STACK = 256  # bytes
PER_SYNAPSE, PER_ROW, PER_NEURON, PER_DECAY = 6, 24, 12, 15  # instructions
FIELDS = {"name": str, "core": str, "flash": int, "ram": int, "clock": int, "source": str}


def is_board(value: Any, fields: Mapping[str, type]) -> bool:
    """Whether a value is a mapping with these fields, none of them empty and no number below 1."""
    return (
        isinstance(value, dict)
        and value.keys() == fields.keys()
        and all(type(value[key]) is kind and bool(value[key]) for key, kind in fields.items())
        and all(value[key] > 0 for key, kind in fields.items() if kind is int)
    )


BOARDS: Check = (
    lambda value: (
        isinstance(value, list) and bool(value) and all(is_board(b, FIELDS) for b in value)
    ),
    f"a list of boards, each with {', '.join(FIELDS)}; flash and ram in bytes, clock in hertz",
)


@dataclass(frozen=True)
class Need:
    """What a network takes: bytes, and instructions of a step in the worst case."""

    flash: int
    ram: int
    instructions: int

    def seconds(self, board: dict[str, Any]) -> float:
        """A step in the worst case, at one instruction a clock."""
        return self.instructions / float(board["clock"])

    def on(self, board: dict[str, Any]) -> str:
        """The share of a board, in words."""
        return (
            f"{board['name']} ({board['core']}, {board['clock'] / 1e6:g} MHz): flash {self.flash} of "
            f"{board['flash']} bytes, RAM {self.ram} of {board['ram']}, a step at most "
            f"{self.instructions} instructions, {1e3 * self.seconds(board):.2f} ms at one a clock"
        )


def need(counts: Counts) -> Need:
    """What a network takes."""
    stored = sum(link.weights for link in counts.links)
    tables = sum(2 * one.tables * one.size for one in counts.neurons)
    code = CODE + CODE_LINK * len(counts.links) + CODE_NEURONS * len(counts.neurons)
    return Need(code + stored + tables, counts.layout.ram + STACK, round(instructions(counts)))


def instructions(counts: Counts, spikes: Mapping[str, float] | None = None) -> float:
    """Instructions of a step; spikes as of `Counts.share`."""
    return (
        sum(
            counts.share(link, spikes) * (PER_SYNAPSE * link.synapses + PER_ROW * link.rows)
            for link in counts.links
        )
        + PER_NEURON * counts.layout.neurons
        + PER_DECAY * sum(one.decays * one.size for one in counts.neurons)
    )


def place(counts: Counts, profile: Profile) -> list[Finding]:
    """A note for each board; an error where the network fits none."""
    needed = need(counts)
    boards = profile["boards.list"]
    fits = [b for b in boards if needed.flash <= b["flash"] and needed.ram <= b["ram"]]
    found = []
    for board in boards:
        why = needed.on(board) if board in fits else f"does not fit {needed.on(board)}"
        found.append(Finding(severity="note", code="board", reason=why, source=board["source"]))
    if not fits:
        largest = max(boards, key=lambda board: board["ram"])
        number = f"flash {needed.flash}, RAM {needed.ram}"
        found.append(
            against(
                profile, "boards.list", "board", "", f"fits no board: {needed.on(largest)}",
                "make layers smaller", number=number, limit=f"{largest['flash']}, {largest['ram']}",
            )
        )  # fmt: skip
    return found


def rows(counts: Counts, profile: Profile) -> list[Row]:
    """Flash and RAM of each board."""
    needed = need(counts)
    return [
        Row(f"{board['name']}: {what}", used, board[key], board["source"])
        for board in profile["boards.list"]
        for what, key, used in (("flash", "flash", needed.flash), ("RAM", "ram", needed.ram))
    ]
