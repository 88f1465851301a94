"""`event_rule`, compiled by numba, for whole test sets.

The library does not require numba: only who runs test sets event by event imports this module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numba
import numpy as np

from spyx_nir.hardware.families.speck.event_rule import (
    Trains,
    check_addresses,
    cube,
    merged,
    tap_of,
)
from spyx_nir.hardware.network import IntegerNetwork

NO_MARKS = np.empty(0, np.int64)


class Program:
    """A network, laid out once for many recordings."""

    def __init__(self, network: IntegerNetwork):
        """Raises as `event_rule.run_events`."""
        self.network = network
        self.taps = {
            p.name: [tap_of(network, p, weight) for weight in network.into(p)]
            for p in network.populations
        }
        # (C, height, width, F): what one event needs lies together.
        self.kernels: dict[str, Any] = {}
        for name, taps in self.taps.items():
            self.kernels[name] = numba.typed.List(
                [np.ascontiguousarray(tap.kernel.transpose(1, 2, 3, 0), np.int32) for tap in taps]
            )
        self.shapes = {
            name: np.array(
                [(*tap.sends[1:], tap.pool, *tap.stride, *tap.padding) for tap in taps], np.int64
            )
            for name, taps in self.taps.items()
        }

    def run(
        self, addresses: Mapping[str, np.ndarray], marks: np.ndarray = NO_MARKS
    ) -> dict[str, Trains]:
        """As `event_rule.run_events`; marks: rising input events before which membranes are shown."""
        sent = check_addresses(self.network, addresses)
        bound = 2 ** (self.network.profile["state.bits"] - 1)
        floored = self.network.profile["state.floor"] == "threshold"
        found: dict[str, Trains] = {}
        for p in self.network.populations:
            threshold = int(np.ravel(p.threshold)[0])
            event, source, place = merged(sent, self.taps[p.name])
            made = _compiled(
                event,
                source,
                place,
                self.kernels[p.name],
                self.shapes[p.name],
                cube(p.shape),
                marks,
                threshold,
                -threshold if floored else -(2**31),
                p.reset == "subtract",
                bound,
            )
            membranes = np.moveaxis(made[5], -1, 1).reshape(len(marks), *p.shape)
            found[p.name] = Trains(*made[:5], membranes)
            sent[p.name] = made[:2]
        return found


def _core(
    events: Any,
    sources: Any,
    places: Any,
    kernels: Any,
    shapes: Any,
    leaves: tuple[int, int, int],
    marks: Any,
    threshold: int,
    floor: int,
    subtract: bool,
    bound: int,
) -> tuple[Any, Any, int, int, int, Any]:
    """One population on one recording, see `event_rule.run_events`; shapes: a row for each tap."""
    count, rows, columns = leaves
    v = np.zeros((rows, columns, count), np.int32)
    event, neuron = np.empty(1024, np.int64), np.empty(1024, np.int64)
    made = synops = saturated = held = 0
    least, lowest = np.int32(threshold), np.int32(floor)
    smallest, largest = np.int32(-bound), np.int32(bound - 1)
    seen = np.zeros((len(marks), rows, columns, count), np.int32)
    mark = 0
    for k in range(len(events)):
        while mark < len(marks) and marks[mark] <= events[k]:
            seen[mark] = v
            mark += 1
        height, width, pool, down, right, top, before = shapes[sources[k]]
        kernel = kernels[sources[k]]
        place = places[k]
        c, y, x = place // (height * width), place // width % height // pool, place % width // pool
        if y >= height // pool or x >= width // pool:
            continue
        y += top
        x += before
        tall, wide = kernel.shape[1], kernel.shape[2]
        for row in range(max(0, -((tall - 1 - y) // down)), min(rows - 1, y // down) + 1):
            for column in range(
                max(0, -((wide - 1 - x) // right)), min(columns - 1, x // right) + 1
            ):
                weights = kernel[c, y - row * down, x - column * right]
                states = v[row, column]
                synops += count
                # Without branches this loop becomes vector instructions.
                above: Any = False
                beyond: Any = False
                for f in range(count):
                    u = np.int32(states[f] + weights[f])
                    states[f] = max(u, lowest)
                    above |= u >= least
                    beyond |= (u > largest) | (u < smallest)
                if beyond:
                    saturated += ((states > bound - 1) | (states < -bound)).sum()
                if not above:
                    continue
                for f in range(count):
                    if states[f] < least:
                        continue
                    states[f] = states[f] - least if subtract else 0
                    held += states[f] >= least
                    if made == len(event):
                        event = np.concatenate((event, np.empty_like(event)))
                        neuron = np.concatenate((neuron, np.empty_like(neuron)))
                    event[made], neuron[made] = events[k], (f * rows + row) * columns + column
                    made += 1
    seen[mark:] = v
    return event[:made].copy(), neuron[:made].copy(), synops, saturated, held, seen


_compiled = numba.njit(_core, nogil=True)
