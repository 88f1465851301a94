"""`event_rule`, compiled by numba, for whole test sets.

The library does not require numba: only who runs test sets event by event imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from spyx_nir.hardware.families.speck.event_rule import (
    Tap,
    Trains,
    check_network,
    cube,
    merged,
    sent_by_input,
    tap_of,
)
from spyx_nir.hardware.network import IntegerNetwork

BLOCK = 16  # states that are looked at together
NO_MARKS = np.empty(0, np.int64)


@dataclass(frozen=True)
class Table:
    """A population as its events need it, without a division.

    weights: of all taps, int32, see `lines`. reach: a row for each address of each source, one tap behind
    the other: the first row of neurons that an event there reaches, the row behind the last one, the
    first state of a row and the one behind the last, where their weights begin, and by how much further
    they begin in the next row. first: of each tap, where its addresses begin. addresses: of each state.
    """

    weights: np.ndarray
    reach: np.ndarray
    first: np.ndarray
    addresses: np.ndarray


class Program:
    """A network, laid out once for many recordings."""

    def __init__(self, network: IntegerNetwork):
        """Raises as `event_rule.run_events`."""
        check_network(network)
        self.network = network
        self.taps = {
            p.name: [tap_of(network, p, weight) for weight in network.into(p)]
            for p in network.populations
        }
        self.tables = {p.name: table(self.taps[p.name], cube(p.shape)) for p in network.populations}

    def run(
        self, addresses: Mapping[str, np.ndarray], marks: np.ndarray = NO_MARKS
    ) -> dict[str, Trains]:
        """As `event_rule.run_events`; marks: rising input events before which membranes are shown."""
        sent = sent_by_input(self.network, addresses)
        bound = 2 ** (self.network.profile["state.bits"] - 1)
        floored = self.network.profile["state.floor"] == "threshold"
        found: dict[str, Trains] = {}
        for p in self.network.populations:
            threshold = int(np.ravel(p.threshold)[0])
            event, source, place = merged(sent, self.taps[p.name])
            laid = self.tables[p.name]
            made = _compiled(
                event,
                laid.first[source] + place,
                laid.weights,
                laid.reach,
                laid.addresses,
                marks,
                threshold,
                -threshold if floored else -(2**31),
                p.reset == "subtract",
                bound,
            )
            count, rows, columns = cube(p.shape)
            states = made[5].reshape(len(marks), rows, columns, count)
            membranes = np.moveaxis(states, -1, 1).reshape(len(marks), *p.shape)
            found[p.name] = Trains(*made[:5], membranes)
            sent[p.name] = made[:2]
        return found


def table(taps: list[Tap], leaves: tuple[int, int, int]) -> Table:
    """What events of `taps` do to a population (F, H, W)."""
    count, rows, columns = leaves
    weights, reaches, first = [], [], [0]
    behind = 0
    for tap in taps:
        laid = lines(tap)
        reach = _reach(tap, laid.shape)
        reach[:, 4] += behind
        behind += laid.size
        weights.append(laid.ravel())
        reaches.append(reach)
        first.append(first[-1] + len(reach))
    numbers = np.arange(count * rows * columns).reshape(leaves)
    return Table(
        np.concatenate(weights),
        np.concatenate(reaches),
        np.array(first[:-1], np.int64),
        numbers.transpose(1, 2, 0).reshape(rows, -1).copy(),
    )


def lines(tap: Tap) -> np.ndarray:
    """A tap's kernel as events read it: (C, right, height, most, F) int32, right the stride.

    An event at x (padded) meets the taps x % right, x % right + right, ... of a line of the kernel, the
    last one first: neighbouring neurons, whose states are side by side. `most` is the largest number of
    them.
    """
    count, channels, tall, wide = tap.kernel.shape
    right = tap.stride[1]
    found = np.zeros((channels, right, tall, -(-wide // right), count), np.int32)
    for phase in range(min(right, wide)):
        met = tap.kernel[..., phase::right][..., ::-1]
        found[:, phase, :, : met.shape[-1]] = met.transpose(1, 2, 3, 0)
    return found


def _reach(tap: Tap, laid: tuple[int, ...]) -> np.ndarray:
    """`Table.reach` of one tap. laid: the shape of its `lines`."""
    _, height, width = tap.sends
    _, right, tall, most, count = laid
    wide, down = tap.kernel.shape[3], tap.stride[0]
    _, rows, columns = tap.leaves
    c, y, x = np.indices(tap.sends).reshape(3, -1)
    y, x = y // tap.pool, x // tap.pool
    there = (y < height // tap.pool) & (x < width // tap.pool)
    y, x = y + tap.padding[0], x + tap.padding[1]
    top, bottom = np.maximum(0, -((tall - 1 - y) // down)), np.minimum(rows - 1, y // down)
    phase = x % right
    left = x // right - (wide - 1 - phase) // right  # the column of a line's first tap
    begin, end = np.maximum(0, left), np.minimum(columns - 1, x // right)
    there &= (top <= bottom) & (begin <= end)
    at = ((c * right + phase) * tall + y - top * down) * most + begin - left
    rows_of = np.stack(
        [
            top,
            bottom + 1,
            begin * count,
            (end + 1) * count,
            at * count,
            0 * at - down * most * count,
        ],
        axis=1,
    )
    rows_of[~there] = 0
    return rows_of


def _add_all(
    v: Any,
    row: int,
    start: int,
    stop: int,
    weights: Any,
    at: int,
    least: Any,
    lowest: Any,
    smallest: Any,
    largest: Any,
) -> tuple[Any, Any]:
    """Add weights to the states of a row; whether one is at its threshold, and one beyond its bits."""
    states, added = v[row, start:stop], weights[at : at + stop - start]
    above: Any = False
    beyond: Any = False
    # Without branches this loop becomes vector instructions.
    for n in range(len(states)):
        u = np.int32(states[n] + added[n])
        states[n] = max(u, lowest)
        above |= u >= least
        beyond |= (u > largest) | (u < smallest)
    return above, beyond


def _first_above(v: Any, row: int, start: int, stop: int, least: Any) -> int:
    """The first state of a row, from `start` on, that is at its threshold; `stop` where none is."""
    states = v[row, start:stop]
    for block in range(0, len(states), BLOCK):
        some = states[block : block + BLOCK]
        highest = least - np.int32(1)
        for n in range(len(some)):
            highest = max(some[n], highest)
        if highest >= least:
            for n in range(len(some)):
                if some[n] >= least:
                    return start + block + n
    return stop


_add = numba.njit(_add_all, nogil=True)
_first = numba.njit(_first_above, nogil=True)


def _core(
    events: Any,
    places: Any,
    weights: Any,
    reach: Any,
    addresses: Any,
    marks: Any,
    threshold: int,
    floor: int,
    subtract: bool,
    bound: int,
) -> tuple[Any, Any, int, int, int, Any]:
    """One population on one recording, see `event_rule.run_events`; the arrays are those of `Table`."""
    v = np.zeros(addresses.shape, np.int32)
    event, neuron = np.empty(1024, np.int64), np.empty(1024, np.int64)
    made = synops = saturated = held = 0
    least, lowest = np.int32(threshold), np.int32(floor)
    smallest, largest = np.int32(-bound), np.int32(bound - 1)
    seen = np.zeros((len(marks), *addresses.shape), np.int32)
    mark = 0
    for k in range(len(events)):
        while mark < len(marks) and marks[mark] <= events[k]:
            seen[mark] = v
            mark += 1
        top, bottom, start, stop, at, further = reach[places[k]]
        for row in range(top, bottom):
            above, beyond = _add(v, row, start, stop, weights, at, least, lowest, smallest, largest)
            at += further
            synops += stop - start
            if beyond:
                states = v[row, start:stop]
                saturated += ((states > largest) | (states < smallest)).sum()
            if not above:
                continue
            n = _first(v, row, start, stop, least)
            while n < stop:
                v[row, n] = v[row, n] - least if subtract else 0
                held += v[row, n] >= least
                if made == len(event):
                    event = np.concatenate((event, np.empty_like(event)))
                    neuron = np.concatenate((neuron, np.empty_like(neuron)))
                event[made], neuron[made] = events[k], addresses[row, n]
                made += 1
                n = _first(v, row, n + 1, stop, least)
    seen[mark:] = v
    return event[:made].copy(), neuron[:made].copy(), synops, saturated, held, seen


_compiled = numba.njit(_core, nogil=True)
