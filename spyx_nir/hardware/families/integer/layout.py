"""Where the generated C keeps a network's states and weights, from shapes alone.

Populations are side by side in the order in which a step runs. A map is channels last there, so that a
spike of a convolution adds whole rows of weights: neuron (c, y, x) is number (y * width + x) * channels +
c. A vector of n neurons is a map of n channels and one place.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

WORD = 32  # bits of a word of spikes
Map = tuple[int, int, int]  # (channels, height, width)


@dataclass(frozen=True)
class Place:
    """A population: its map, and the first of its neurons, of its currents and of its words of spikes."""

    shape: Map
    neuron: int
    current: int | None
    word: int

    @property
    def size(self) -> int:
        """How many neurons."""
        return math.prod(self.shape)

    @property
    def words(self) -> int:
        """How many words its spikes take."""
        return -(-self.size // WORD)


@dataclass(frozen=True)
class Layout:
    """All populations, and what they take together."""

    places: Mapping[str, Place]
    neurons: int
    currents: int
    words: int
    classes: int

    @property
    def ram(self) -> int:
        """Bytes of `model_state`: states, spikes, counts of the classes, and two numbers more."""
        return 4 * (self.neurons + self.currents + self.words + self.classes + 2)


def layout(populations: Iterable[tuple[str, tuple[int, ...], bool, bool]]) -> Layout:
    """Place populations, each (name, shape, whether it has a current, whether it is the output)."""
    places: dict[str, Place] = {}
    neurons = currents = words = classes = 0
    for name, shape, has_current, output in populations:
        place = Place(as_map(shape), neurons, currents if has_current else None, words)
        places[name] = place
        neurons, words = neurons + place.size, words + place.words
        currents += place.size if has_current else 0
        classes += place.size if output else 0
    return Layout(places, neurons, currents, words, classes)


def as_map(shape: tuple[int, ...]) -> Map:
    """(n,), (C, W) or (C, H, W) as (channels, height, width)."""
    channels, *rest = shape
    height, width = [1] * (2 - len(rest)) + rest
    return channels, height, width


def pooled(shape: Map, pools: tuple[int, ...]) -> tuple[int, Map]:
    """The window that pools one after the other are, and the map behind it."""
    window = math.prod(pools)
    channels, height, width = shape
    return window, (channels, height // window, width // window)
