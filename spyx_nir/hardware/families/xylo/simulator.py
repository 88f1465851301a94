"""Xylo's integer rule, as XyloSim computes it (xylosim 0.1.3, XyloIAFNeuron.cpp, XyloLayer.cpp).

Per step, with counts s of spikes, all states 16 bit and saturating:

    i += W s            inputs of this step (at most 15 spikes each) and hidden spikes of the last
                        step, one after the other
    i -= d(i, dash_syn)               d(x, k) = x >> k; where that is 0 and x is not, sign(x)
    v += i - d(v, dash_mem) + bias
    n  = 0; while v >= threshold and n < most: v -= threshold, n += 1
                        most: 31 for hidden neurons, 1 for outputs

Spikes of hidden neurons reach every population, the outputs too, in the next step. Spikes are added one
after the other: those of inputs first, then those of hidden neurons in the chip's order.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.hardware.network import IntegerNetwork, Population, Run, Weight, start

# Keys of a profile: how many hidden neurons inputs, and outputs, reach.
REACHES = ("limits.input_reach", "limits.output_reach")


def run(network: IntegerNetwork, x: dict[str, np.ndarray], record: bool = False) -> Run:
    """Simulate.

    Args:
        x: input name -> (T, B, channels), counts of spikes.
        record: keep the states too.

    Raises:
        GraphError: values the chip cannot hold, or input that does not fit.
    """
    steps, zeros, result = start(network, "xylo", x, record)
    profile = network.profile
    bound = 2 ** (profile["state.bits"] - 1)
    most = {
        p.name: profile["neuron.output_spikes_per_step" if p.output else "neuron.spikes_per_step"]
        for p in network.populations
    }
    i, v, last = dict(zeros), dict(zeros), dict(zeros)
    order = ranks(network)
    for t in range(steps):
        arriving = {
            name: np.minimum(data[t], profile["neuron.input_spikes_per_step"]).astype(np.int64)
            for name, data in x.items()
        }
        fired = {}
        for population in network.populations:
            name = population.name
            weights = network.into(population)
            current, clipped = deliver(i[name], weights, arriving | last, bound, order)
            i[name] = current - leak(current, population.decay_syn)
            v[name], fired[name] = _fire(population, i[name], v[name], most[name], bound, result)
            result.saturated[name] += clipped
            result.spikes[name][t] = fired[name]
            if record:
                result.currents[name][t] = i[name]
            if name in result.membranes:
                result.membranes[name][t] = v[name]
        last = fired
    return result


def leak(x: np.ndarray, dash: np.ndarray | None) -> np.ndarray:
    """d(x, dash): by how much a state decays in a step; 0 where `dash` is None."""
    if dash is None:
        return np.zeros_like(x)
    shifted = x >> dash
    return np.where(shifted == 0, np.sign(x), shifted)


def _fire(
    population: Population, i: np.ndarray, v: np.ndarray, most: int, bound: int, result: Run
) -> tuple[np.ndarray, np.ndarray]:
    change = -leak(v, population.decay_mem)
    change = np.where(change == bound, -bound, change)  # int16: -(-32768) is -32768
    saturated = np.zeros(change.shape, bool)
    for more in (i, population.bias):
        if more is not None:
            total = change + more
            change = np.clip(total, -bound, bound - 1)
            saturated |= total != change
    u = v + change
    v = np.clip(u, -bound, bound - 1)
    n = np.clip(v // population.threshold, 0, most)
    saturated |= (u != v) | (population.membrane & (n > 0))
    result.saturated[population.name] += int(saturated.sum())
    result.multiple[population.name] += int((n > 1).sum())
    result.ties[population.name] += int((v == population.threshold).sum())
    return v - n * population.threshold, n


def deliver(
    i: np.ndarray,
    weights: list[Weight],
    spikes: dict[str, np.ndarray],
    bound: int,
    order: dict[str, np.ndarray],
) -> tuple[np.ndarray, int]:
    """Add spike by spike, saturating after each; and how many currents saturated.

    Where no order of additions can reach the bound, the sum is taken at once. order: see `ranks`.
    """
    up, down = np.zeros_like(i), np.zeros_like(i)
    for weight in weights:
        s = spikes[weight.source]
        up = up + weight.currents(s, np.maximum(weight.values, 0)).astype(np.int64)
        down = down + weight.currents(s, np.minimum(weight.values, 0)).astype(np.int64)
    total = i + up + down
    risky = (i + up > bound - 1) | (i + down < -bound)
    clipped = 0
    for b, j in np.argwhere(risky):
        at = int(i[b, j])
        met = False
        arriving = sorted(
            (order[w.source][k], int(w.values[j, k]), int(spikes[w.source][b, k]))
            for w in weights
            for k in np.flatnonzero(spikes[w.source][b])
        )
        for _, value, count in arriving:
            for _ in range(count):
                free, at = at + value, min(max(at + value, -bound), bound - 1)
                met |= free != at
        total[b, j] = at
        clipped += met
    return total, clipped


def ranks(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """Input or hidden population -> when the spikes of its elements are added: in order of these."""
    found, start = {}, 0
    for name, shape in network.inputs.items():
        found[name] = np.arange(start, start + shape[0])
        start += shape[0]
    return found | {name: start + ids for name, ids in hidden_ids(network).items()}


def hidden_ids(network: IntegerNetwork) -> dict[str, np.ndarray]:
    """Hidden population -> which hidden neurons of the chip its neurons are, (neurons,).

    They are in the order of the populations, unless inputs and outputs would not reach all neurons then.

    Raises:
        GraphError: no order lets them.
    """
    hidden = [p for p in network.populations if not p.output]
    if not hidden:
        return {}
    names, sizes = [p.name for p in hidden], [p.shape[0] for p in hidden]
    fed, read = (
        {name: np.zeros(n, bool) for name, n in zip(names, sizes, strict=True)} for _ in range(2)
    )
    for weight in network.weights:
        if weight.source in network.inputs and weight.target in fed:
            fed[weight.target] |= (weight.values != 0).any(axis=1)
        elif weight.source in read and weight.target not in fed:
            read[weight.source] |= (weight.values != 0).any(axis=0)
    chip, total = network.profile, sum(sizes)
    reach = [chip[key] if key in chip else None for key in REACHES]  # noqa: SIM401
    neurons = ordered(
        np.concatenate([*fed.values()]),
        np.concatenate([*read.values()]),
        *(total if n is None else min(n, total) for n in reach),
    )
    if neurons is None:
        raise GraphError(
            "in no order do inputs reach all hidden neurons that they feed, and outputs"
        )
    ids = np.empty(total, np.int64)
    ids[neurons] = np.arange(total)
    parts = np.split(ids, np.cumsum(sizes)[:-1])
    return dict(zip(names, parts, strict=True))


def ordered(fed: np.ndarray, read: np.ndarray, first: int, last: int) -> np.ndarray | None:
    """All neurons in an order in which `fed` ones are among the first, `read` ones among the last.

    Args:
        fed, read: (neurons,), whether inputs feed a neuron, and outputs read it. first, last: how many
            neurons inputs reach from the front, and outputs from the back.

    Returns:
        The neurons' indices, those in front first: as they come, where that will do; None: no order
        will.
    """
    count = len(fed)
    if not (fed[first:].any() or read[: count - last].any()):
        return np.arange(count)
    both = fed & read
    if fed.sum() > first or read.sum() > last or both.sum() > max(0, first + last - count):
        return None
    only_fed, only_read, neither = (
        np.flatnonzero(which) for which in (fed & ~read, read & ~fed, ~fed & ~read)
    )
    before = max(0, count - last - len(only_fed))
    parts = only_fed, neither[:before], np.flatnonzero(both), neither[before:], only_read
    return np.concatenate(parts)
