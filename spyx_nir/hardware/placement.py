"""Which core takes which layer: a matching that finds an assignment whenever there is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def place(fits: Mapping[str, Sequence[int]]) -> tuple[dict[str, int], list[str]]:
    """Give every layer a core of its own.

    Augmenting paths (Kuhn 1955): a layer may push another to a different core, so the search fails
    only if no assignment exists.

    Args:
        fits: layer -> the cores it fits on, in order of preference.

    Returns:
        layer -> core, and, where that is incomplete, the layers that compete: together they fit on
        fewer cores than they are (Hall's condition); empty otherwise.
    """
    taken: dict[int, str] = {}
    for layer in fits:
        seen: dict[int, str] = {}
        if not _push(layer, fits, taken, seen):
            rivals = {layer, *(taken[core] for core in seen)}
            return {name: core for core, name in taken.items()}, [n for n in fits if n in rivals]
    return {name: core for core, name in taken.items()}, []


def _push(
    layer: str, fits: Mapping[str, Sequence[int]], taken: dict[int, str], seen: dict[int, str]
) -> bool:
    for core in fits[layer]:
        if core not in seen:
            seen[core] = layer
            if core not in taken or _push(taken[core], fits, taken, seen):
                taken[core] = layer
                return True
    return False
