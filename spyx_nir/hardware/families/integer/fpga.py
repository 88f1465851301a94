"""What a network takes of an FPGA's memories and time, from counts, before anything is synthesized.

Memories are those of the generated Verilog, its serial port included; a word has LANES numbers side by
side. Each takes as many block RAMs as its shape needs, also where a synthesis program builds a small one
of other cells: the count is the most that they take. Multipliers are those of the decays; what a
synthesis program makes of products of addresses comes on top. Cells are known after synthesis alone: no
rule here predicts them. `make silicon` gives the figures after place and route.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from spyx_nir.hardware.facts import TEXT, Check, Profile, list_of, whole
from spyx_nir.hardware.families.integer.boards import is_board
from spyx_nir.hardware.families.integer.counts import Counts, Link
from spyx_nir.hardware.families.integer.rtl_code import (
    FACTOR_BITS,
    LANES,
    LANES_OF_MANY,
    MANY,
    SUM_BITS,
)
from spyx_nir.hardware.findings import Finding, Row, against

PORT_BYTES = 512  # rtl/uart.v
COUNT_BYTES = 4  # of a class; rtl/classes.v
STEP, PASS, SEND = 4, 6, 4  # clock cycles besides those that are counted
FIELDS = {"name": str, "clock": int, "source": str}
SHAPE: Check = (
    lambda value: isinstance(value, list) and len(value) == 2 and all(map(whole(1)[0], value)),
    "[words, bits of a word]",
)
KEYS: dict[str, Check] = {
    "fpga.device": TEXT,
    "fpga.cells": whole(1),
    "fpga.block_rams": whole(1),
    "fpga.block_ram_shapes": list_of(SHAPE),
    "fpga.large_rams": whole(0),
    "fpga.large_ram_shapes": list_of(SHAPE, empty=True),
    "fpga.multipliers": whole(0),
    "fpga.multiplier_bits": whole(1),
    "fpga.boards": (
        lambda value: (
            isinstance(value, list) and bool(value) and all(is_board(b, FIELDS) for b in value)
        ),
        f"a list of boards, each with {', '.join(FIELDS)}; clock in hertz",
    ),
}


@dataclass(frozen=True)
class Memory:
    """A memory of the Verilog.

    node: what takes most of it; "" for what is of the serial port.
    """

    node: str
    what: str
    words: int
    bits: int

    def __str__(self) -> str:
        return f"{self.what}: {self.words} words of {self.bits} bits"


@dataclass(frozen=True)
class Placed:
    """A memory in so many block RAMs."""

    memory: Memory
    blocks: int

    def __str__(self) -> str:
        return f"{self.memory}, in {self.blocks} block RAM{'s' * (self.blocks > 1)}"


def blocks(memory: Memory, shapes: Sequence[Sequence[int]]) -> int:
    """How many RAMs that can have these shapes, (words, bits), a memory takes."""
    return min(-(-memory.words // words) * -(-memory.bits // bits) for words, bits in shapes)


def lanes_of(counts: Counts) -> int:
    """How many neurons are computed side by side."""
    return LANES_OF_MANY if counts.layout.neurons >= MANY else LANES


def row_words(counts: Counts, link: Link) -> int:
    """Words of a row of weights, of so many lanes each."""
    lanes = lanes_of(counts)
    if len(link.shape) == 2:
        return state_words(counts, link.target)
    features = link.shape[0]
    each = features // link.groups
    return -(-(features if each % lanes else each) // lanes)


def state_words(counts: Counts, name: str) -> int:
    """Words of a population's states: a place of a map begins a word."""
    channels, height, width = counts.layout.places[name].shape
    return height * width * -(-channels // lanes_of(counts))


def memories(counts: Counts, profile: Profile) -> list[Memory]:
    """The memories of the Verilog of a network; `network.v` says where a layer begins in them."""
    lanes, state = lanes_of(counts), profile["state.bits"]
    stored = {link.node: _rows(link) * row_words(counts, link) for link in counts.links}
    words = {one.name: state_words(counts, one.name) for one in counts.neurons}
    largest, all_words = max(words, key=words.__getitem__), sum(words.values())
    most = max(stored, key=stored.__getitem__)
    found = [
        Memory(most, "weights", sum(stored.values()), lanes * profile["weights.bits"]),
        Memory(largest, "sums", all_words, lanes * SUM_BITS),
        Memory(largest, "spikes", all_words, lanes),
    ]
    if any(one.current for one in counts.neurons):
        last = max(number for number, one in enumerate(counts.neurons) if one.current)
        behind = sum(list(words.values())[: last + 1])
        found.append(Memory(largest, "membranes", behind, lanes * state))
    classes = counts.layout.classes
    found.append(Memory("", "bytes that wait at the serial port", PORT_BYTES, 8))
    found.append(Memory("", "counts of the classes", COUNT_BYTES * classes, 8))
    tables = min(2, sum(one.tables for one in counts.neurons))  # of sums and of membranes
    found += [Memory(largest, "decays", all_words, lanes * FACTOR_BITS)] * tables
    return found


def _rows(link: Link) -> int:
    """Rows of weights that are stored."""
    if len(link.shape) == 2:
        return link.shape[1]
    return link.channels * math.prod(link.shape[2:])


def placed(counts: Counts, profile: Profile) -> list[Placed]:
    """Every memory in block RAM: what the bitstream does not fill is not used."""
    shapes = profile["fpga.block_ram_shapes"]
    return [Placed(m, blocks(m, shapes)) for m in memories(counts, profile)]


def loaded_at_start(counts: Counts, profile: Profile) -> tuple[list[Placed], list[Placed]]:
    """An estimate: memories in large RAM and in block RAM, were the large RAM filled at start-up.

    Large RAM has one port, so that a sum is read and written in two cycles, one neuron at a time:
    weights, sums of 32 bits and membranes are in it, all else in block RAM. Nothing here generates that.
    """
    state = profile["state.bits"]
    names = [one.name for one in counts.neurons]
    neurons = sum(math.prod(counts.layout.places[name].shape) for name in names)
    stored = {link.node: _rows(link) * (link.shape[0] // link.groups) for link in counts.links}
    weight_bits = profile["weights.bits"]
    width = max(bits for _, bits in profile["fpga.large_ram_shapes"])
    words = -(-sum(stored.values()) * weight_bits // width)
    large = [Memory(max(stored, key=stored.__getitem__), "weights", words, width)]
    large.append(Memory("", "sums", neurons, SUM_BITS))
    if any(one.current for one in counts.neurons):
        large.append(Memory("", "membranes", neurons, state))
    others = [m for m in memories(counts, profile) if m.what not in {m.what for m in large}]
    small = [replace(m, words=neurons, bits=1) if m.what == "spikes" else m for m in others]
    return (
        [Placed(m, blocks(m, profile["fpga.large_ram_shapes"])) for m in large],
        [Placed(m, blocks(m, profile["fpga.block_ram_shapes"])) for m in small],
    )


def _of_large(counts: Counts, profile: Profile) -> str:
    """Whether the network would fit with large RAM, in words."""
    large, small = loaded_at_start(counts, profile)
    used = {"large": total(large), "block": total(small)}
    has = {kind: profile[f"fpga.{kind}_rams"] for kind in used}
    fits = all(used[kind] <= has[kind] for kind in used)
    return (
        "; large RAM is not used, as the bitstream does not fill it: loaded at start-up, with a neuron "
        f"at a time, the memories would {'fit' if fits else 'not fit'}, by an estimate: "
        + ", ".join(f"{used[kind]} of {has[kind]} {kind} RAMs" for kind in used)
    )


def total(found: Sequence[Placed]) -> int:
    """How many block RAMs are taken."""
    return sum(one.blocks for one in found)


def cycles(counts: Counts, spikes: Mapping[str, float] | None = None) -> float:
    """Clock cycles of a step, at most; spikes as of `Counts.share`.

    Each operation of network.v takes two cycles besides its own; a pass over a population a cycle a word
    and four more; a link three cycles for each spike (a convolution) or one (a matrix), and one a word of
    weights. Two things make it less: spikes are looked for while a link is busy, and at the border of a
    map a spike adds fewer rows.
    """
    sent = counts.sizes if spikes is None else spikes
    order = list(words := {one.name: state_words(counts, one.name) for one in counts.neurons})
    found = float(STEP)
    for one in counts.neurons:
        found += (PASS + words[one.name]) * (2 if one.decays else 1)
    for link in counts.links:
        per_spike = 1 if len(link.shape) == 2 else 3
        rows = link.rows if spikes is None else sent[link.source] * link.most_rows
        found += rows * row_words(counts, link)
        if link.source in words:
            found += SEND + words[link.source] + per_spike * sent[link.source]
        else:
            found += (2 + per_spike) * sent[link.source]
    found += sum((2 * sent[name]) for name in counts.inputs)
    return found + SEND + words[order[-1]] + sent[order[-1]]


def place(counts: Counts, profile: Profile) -> list[Finding]:
    """Where each memory goes, a note for each board's time, and what does not fit."""
    found = placed(counts, profile)
    notes = [
        Finding(
            severity="note",
            code="memory",
            layer=one.memory.node,
            number=one.blocks,
            reason=str(one),
            source="families/integer/fpga.py",
        )
        for one in found
    ]
    worst = round(cycles(counts))
    notes += [
        Finding(
            severity="note",
            code="board",
            number=worst,
            reason=(
                f"{board['name']} ({board['clock'] / 1e6:g} MHz): a step at most {worst} cycles, "
                f"{1e3 * worst / board['clock']:.3g} ms"
            ),
            source=board["source"],
        )
        for board in profile["fpga.boards"]
    ]
    notes.append(
        Finding(
            severity="note",
            code="cells",
            limit=profile["fpga.cells"],
            reason="how many cells it takes is known after synthesis alone",
            source=profile.source("fpga.cells"),
        )
    )
    used, limit = total(found), profile["fpga.block_rams"]
    if used <= limit:
        return notes
    largest = max(found, key=lambda one: one.blocks)
    why = f"{largest}; with all others {used} are needed, the target has {limit}"
    if profile["fpga.large_rams"]:
        why += _of_large(counts, profile)
    return [
        against(
            profile, "fpga.block_rams", "memory", largest.memory.node, why,
            "make this layer smaller, or take an FPGA with more memory", number=used, limit=limit,
        ),
        *notes,
    ]  # fmt: skip


def rows(counts: Counts, profile: Profile) -> list[Row]:
    """Block RAM, large RAM and multipliers, where the FPGA has them."""
    found = placed(counts, profile)
    of_a_lane = -(-profile["state.bits"] // profile["fpga.multiplier_bits"])
    multipliers = lanes_of(counts) * of_a_lane if any(one.decays for one in counts.neurons) else 0
    return [
        Row(what, used, profile[key], profile.source(key))
        for what, used, key in (
            ("block RAMs", total(found), "fpga.block_rams"),
            ("large RAMs", 0, "fpga.large_rams"),
            ("multipliers", multipliers, "fpga.multipliers"),
        )
        if profile[key]
    ]
