"""DynapCNN event by event: what the chip does, where `simulator` adds up what a step brings.

A core waits for an event (channel, y, x), adds the weights that lead from there to its neurons, and each
neuron that it reaches does, once (sinabs 3.1.3, docs/speck/faqs/tips_for_training.md):

    v += w
    a spike where v >= threshold            one, however far above
    v -= threshold                          where it spiked; reset `v_reset`: v = 0
    v  = max(v, -threshold)                 where the profile's `state.floor` says so

A neuron that stays at or above its threshold spikes again with the next event that reaches it, even
where the weight is negative or 0. The spikes are events of the next core. Pooling divides their
coordinates: a sum, event by event. Nothing depends on time but the order.

The order of the spikes that one event causes is that of their addresses: y, then x, then the channel
(sinabs 3.1.3, backend/dynapcnn/io.py, calculate_neuron_address); the order in which the chip really
scans is not published. In a chain of cores each has its events from one core only, and whether an event
runs through all cores before the next enters (depth first) or not (breadth first) changes nothing. Where
two sources lead to one core, it takes the spikes that one input event caused in the first, then those in
the second.

This is the rule in NumPy, for `verify_integers.py` and for tests; `event_kernel` is compiled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.network import IntegerNetwork, Population, Weight


@dataclass(frozen=True)
class Tap:
    """A weight as a convolution. A matrix is one whose kernel is the whole map.

    kernel: (F, C, height, width), int64. sends: (C, H, W) of the source. pool: by which its coordinates
    are divided. leaves: (F, H, W) of the target. stride, padding: (vertical, horizontal).
    """

    source: str
    kernel: np.ndarray
    sends: tuple[int, int, int]
    pool: int
    leaves: tuple[int, int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Trains:
    """The spikes of a population, in order: `event`, the index of the input event that caused each, and
    `neuron`, its index in the flattened shape (F, H, W); both (spikes,) int64.

    synops: how often a weight was added. saturated: how often a membrane left the chip's bits. held: how
    often a neuron stayed at or above its threshold after a spike.
    """

    event: np.ndarray
    neuron: np.ndarray
    synops: int
    saturated: int
    held: int
    membranes: np.ndarray | None = None


def cube(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape as (C, H, W): (n,) is (n, 1, 1), (P, W) is (P, 1, W)."""
    if len(shape) == 3:
        return (shape[0], shape[1], shape[2])
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], 1, 1)


def tap_of(network: IntegerNetwork, population: Population, weight: Weight) -> Tap:
    """A weight into a population, as a convolution.

    Raises:
        GraphError: its source comes later in the network: a cycle, which DynapCNN has not.
    """
    shapes = dict(network.inputs)
    for known in network.populations:
        if known.name == population.name:
            break
        shapes[known.name] = known.shape
    if weight.source not in shapes:
        raise GraphError(
            f"`{population.name}` is fed by `{weight.source}`, which comes behind it: DynapCNN has no "
            "recurrence",
            node=weight.node,
        )
    sends = channels, height, width = cube(shapes[weight.source])
    pool = int(np.prod(weight.pools, dtype=np.int64))
    kernel = np.asarray(weight.values, np.int64)
    if kernel.ndim == 2:
        kernel = kernel.reshape(len(kernel), channels, height // pool, width // pool)
    leaves = cube(population.shape)
    return Tap(weight.source, kernel, sends, pool, leaves, weight.stride, weight.padding)


def run_events(network: IntegerNetwork, addresses: Mapping[str, np.ndarray]) -> dict[str, Trains]:
    """One recording, event by event.

    Args:
        addresses: of the one input -> (events,), indices into its flattened shape, in order of time.

    Raises:
        GraphError: several inputs, a cycle, or an address outside the input.
    """
    check_network(network)
    sent = sent_by_input(network, addresses)
    bound = 2 ** (network.profile["state.bits"] - 1)
    floored = network.profile["state.floor"] == "threshold"
    found: dict[str, Trains] = {}
    for population in network.populations:
        taps = [tap_of(network, population, weight) for weight in network.into(population)]
        event, source, place = merged(sent, taps)
        threshold = int(np.ravel(population.threshold)[0])
        v = np.zeros(cube(population.shape), np.int64)
        numbers = np.arange(v.size).reshape(v.shape)
        events: list[int] = []
        neurons: list[int] = []
        synops = saturated = held = 0
        for k in range(len(event)):
            reached = patch(taps[source[k]], int(place[k]))
            if reached is None:
                continue
            rows, columns, weights = reached
            u = v[:, rows, columns] + weights
            if floored:
                u = np.maximum(u, -threshold)
            saturated += int(((u < -bound) | (u > bound - 1)).sum())
            fired = u >= threshold
            left = (
                u - threshold * fired if population.reset == "subtract" else np.where(fired, 0, u)
            )
            held += int((fired & (left >= threshold)).sum())
            v[:, rows, columns] = left
            synops += u.size
            order = fired.transpose(1, 2, 0)
            spiking = numbers[:, rows, columns].transpose(1, 2, 0)[order]
            events += [int(event[k])] * len(spiking)
            neurons += spiking.tolist()
        found[population.name] = Trains(
            np.array(events, np.int64), np.array(neurons, np.int64), synops, saturated, held
        )
        sent[population.name] = (found[population.name].event, found[population.name].neuron)
    return found


def check_network(network: IntegerNetwork) -> None:
    """Raises GraphError: values that the chip cannot hold, or a bias."""
    network.check()
    for population in network.populations:
        if population.bias is not None:
            raise GraphError(f"`{population.name}`: no event adds a bias", node=population.name)


def sent_by_input(
    network: IntegerNetwork, addresses: Mapping[str, np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """What the input sends, as `merged` takes it: its name -> numbers of the events, and addresses.

    Raises:
        GraphError: not the one input of the network, or an address outside it.
    """
    if len(network.inputs) != 1 or set(addresses) != set(network.inputs):
        raise GraphError(
            f"one input is needed: the network has {sorted(network.inputs)}, given {sorted(addresses)}"
        )
    ((name, given),) = addresses.items()
    place = np.asarray(given, np.int64)
    size = int(np.prod(network.inputs[name]))
    if place.ndim != 1 or (place.size and (place.min() < 0 or place.max() >= size)):
        raise GraphError(f"input `{name}`: addresses (events,) from 0 to {size - 1} are needed")
    return {name: (np.arange(len(place)), place)}


def merged(
    sent: Mapping[str, tuple[np.ndarray, np.ndarray]], taps: list[Tap]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What arrives at a population, in order: input event, index of the tap, address at its source."""
    events = np.concatenate([sent[tap.source][0] for tap in taps])
    sources = np.repeat(np.arange(len(taps)), [len(sent[tap.source][0]) for tap in taps])
    places = np.concatenate([sent[tap.source][1] for tap in taps])
    order = np.argsort(events, kind="stable")
    return events[order], sources[order], places[order]


def patch(tap: Tap, place: int) -> tuple[slice, slice, np.ndarray] | None:
    """The neurons that an event at the address `place` of the source reaches, and the weights to them.

    None where it reaches none: at the edge that pooling leaves out, or between strides.
    """
    _, height, width = tap.sends
    c, y, x = (
        place // (height * width),
        place // width % height // tap.pool,
        place % width // tap.pool,
    )
    if y >= height // tap.pool or x >= width // tap.pool:
        return None
    rows, up = _reached(y + tap.padding[0], tap.kernel.shape[2], tap.stride[0], tap.leaves[1])
    columns, left = _reached(x + tap.padding[1], tap.kernel.shape[3], tap.stride[1], tap.leaves[2])
    if not len(up) or not len(left):
        return None
    return rows, columns, tap.kernel[:, c][:, up][:, :, left]


def _reached(at: int, size: int, stride: int, count: int) -> tuple[slice, np.ndarray]:
    """Along one axis: which of `count` neurons see the padded position `at`, and with which tap."""
    first, last = max(0, -((size - 1 - at) // stride)), min(count - 1, at // stride)
    outs = np.arange(first, last + 1)
    return slice(first, max(first, last + 1)), at - outs * stride
