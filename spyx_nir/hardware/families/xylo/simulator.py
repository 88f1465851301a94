"""Xylo's integer rule, as XyloSim computes it (xylosim 0.1.3, XyloIAFNeuron.cpp, XyloLayer.cpp).

Per step, with counts s of spikes, all states 16 bit and saturating:

    i += W s            inputs of this step (at most 15 spikes each) and hidden spikes of the last
                        step, one after the other
    i -= d(i, dash_syn)               d(x, k) = x >> k; where that is 0 and x is not, sign(x)
    v += i - d(v, dash_mem)
    n  = 0; while v >= threshold and n < most: v -= threshold, n += 1
                        most: 31 for hidden neurons, 1 for outputs

Spikes of hidden neurons reach every population, the outputs too, in the next step.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Population, Run, Weight, start


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
    for t in range(steps):
        arriving = {
            name: np.minimum(data[t], profile["neuron.input_spikes_per_step"]).astype(np.int64)
            for name, data in x.items()
        }
        fired = {}
        for population in network.populations:
            name = population.name
            current, clipped = deliver(i[name], network.into(population), arriving | last, bound)
            i[name] = current - leak(current, population.decay_syn)
            v[name], fired[name] = _fire(population, i[name], v[name], most[name], bound, result)
            result.saturated[name] += clipped
            result.spikes[name][t] = fired[name]
            if record:
                result.currents[name][t], result.membranes[name][t] = i[name], v[name]
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
    total = change + i
    change = np.clip(total, -bound, bound - 1)
    u = v + change
    v = np.clip(u, -bound, bound - 1)
    n = np.clip(v // population.threshold, 0, most)
    result.saturated[population.name] += int(((total != change) | (u != v)).sum())
    result.multiple[population.name] += int((n > 1).sum())
    result.ties[population.name] += int((v == population.threshold).sum())
    return v - n * population.threshold, n


def deliver(
    i: np.ndarray, weights: list[Weight], spikes: dict[str, np.ndarray], bound: int
) -> tuple[np.ndarray, int]:
    """Add spike by spike, saturating after each; and how many currents saturated.

    Where no order of additions can reach the bound, the sum is taken at once.
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
        for weight in weights:
            for source in np.flatnonzero(spikes[weight.source][b]):
                w = int(weight.values[j, source])
                for _ in range(int(spikes[weight.source][b, source])):
                    free, at = at + w, min(max(at + w, -bound), bound - 1)
                    met |= free != at
        total[b, j] = at
        clipped += met
    return total, clipped
