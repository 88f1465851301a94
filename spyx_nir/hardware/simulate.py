"""Integer networks on recordings: the simulator of the chip's family, delays and overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware import registry
from spyx_nir.hardware.network import IntegerNetwork, Run


def run(network: IntegerNetwork, x: dict[str, np.ndarray], record: bool = False) -> Run:
    """Simulate as the network's chip computes; see `families/<family>/simulator.py`.

    Args:
        x: input name -> (T, B, *shape), counts of spikes, channels first.
        record: keep the states too.

    Raises:
        GraphError: no integer semantics, values the chip cannot hold, or input that does not fit.
    """
    return registry.family(network.profile).run(network, x, record)


def run_events(network: IntegerNetwork, addresses: dict[str, np.ndarray]) -> dict[str, Any]:
    """Simulate one recording event by event; see `families/<family>/event_rule.py`.

    Args:
        addresses: input name -> (events,), indices into its flattened shape, in order of time.

    Raises:
        GraphError: the chip takes no events, values it cannot hold, or an address outside the shape.
    """
    rule = registry.family(network.profile).run_events
    if rule is None:
        raise GraphError(f"{network.profile.name} takes counts of a step, and no events")
    return rule(network, addresses)


def refuse_overflow(network: IntegerNetwork, saturated: dict[str, int]) -> None:
    """Raise where a state left the chip's bits and the profile does not say what happens then.

    Raises:
        GraphError: names the population and how often.
    """
    profile = network.profile
    for name, count in saturated.items():
        if count and profile["state.overflow"] == "refuse":
            raise GraphError(
                f"`{name}`: {count} membranes beyond the {profile['state.bits']} bits of "
                f"{profile.name}, and what the chip does then is not known; train with smaller weights"
            )


def delays(network: IntegerNetwork) -> dict[str, int]:
    """Population -> how many steps later than by NIR's rule without delays its spikes come.

    A chip may delay at every weight, or only where neurons lead to another population.
    """
    return accumulated(network, lambda source, _: int(is_delayed(network, source)))


def accumulated(network: IntegerNetwork, step: Callable[[str, str], int]) -> dict[str, int]:
    """Population -> the largest sum of `step(source, target)` on the paths from an input to it."""
    delay = dict.fromkeys(network.inputs, 0)
    for population in network.populations:
        sums = [
            delay[weight.source] + step(weight.source, population.name)
            for weight in network.into(population)
            if weight.source in delay
        ]
        delay[population.name] = max(sums, default=0)
    return {population.name: delay[population.name] for population in network.populations}


def is_delayed(network: IntegerNetwork, source: str) -> bool:
    """Whether what `source` sends arrives in the next step, and not in the same."""
    family = registry.family(network.profile)
    return family.delays_inputs if source in network.inputs else family.delays_neurons


def padded(network: IntegerNetwork, events: np.ndarray) -> dict[str, np.ndarray]:
    """Recordings (B, T, *shape) as a simulator's input (T + largest delay, B, *shape), int64.

    Raises:
        GraphError: the network has several inputs.
    """
    if len(network.inputs) != 1:
        raise GraphError(f"one input is needed, the network has {sorted(network.inputs)}")
    (name,) = network.inputs
    x = np.swapaxes(np.asarray(events, np.int64), 0, 1)
    silence = np.zeros((max(delays(network).values()), *x.shape[1:]), np.int64)
    return {name: np.concatenate([x, silence])}
