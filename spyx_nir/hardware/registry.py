"""The table of chip families; found by looking into `families/`."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from spyx_nir.errors import GraphError
from spyx_nir.hardware import families as folder
from spyx_nir.hardware.facts import Profile
from spyx_nir.hardware.family import EventDriven, Family


@functools.cache
def families() -> dict[str, Family]:
    """Every family by name.

    Raises:
        RuntimeError: two folders claim the same name.
    """
    table: dict[str, Family] = {}
    for module in pkgutil.iter_modules(folder.__path__):
        found = importlib.import_module(f"{folder.__name__}.{module.name}").FAMILY
        if found.name in table:
            raise RuntimeError(f"families/{module.name}: `{found.name}` is claimed twice")
        table[found.name] = found
    return dict(sorted(table.items()))


def register(family: Family) -> None:
    """Add a family that is in no folder of `families/`, for as long as the program runs.

    Raises:
        ValueError: there is one of that name.
    """
    if family.name in families():
        raise ValueError(f"the chip family `{family.name}` is there already")
    families()[family.name] = family


def family(profile: Profile) -> Family:
    """The family of a chip.

    Raises:
        GraphError: the profile names none.
    """
    if profile.integer_semantics not in families():
        raise GraphError(
            f"target {profile.name} has no integer semantics: `fit` checks its limits, nothing here "
            "quantises or simulates it"
        )
    return families()[profile.integer_semantics]


def event_driven(profile: Profile) -> EventDriven:
    """The event-driven rule of a chip's family.

    Raises:
        GraphError: the profile names no family, or one that takes counts of a step.
    """
    give = family(profile).event_driven
    if give is None:
        raise GraphError(f"target {profile.name} takes counts of a step, not events one by one")
    return give()
