"""Loihi's integer rule, as Lava's fixed-point models compute it (lava-nc 0.10.0, proc/lif, proc/dense).

Per step, with u and v of 24 bits and decays n of n/4096 (n_syn = 4095 - du, n_mem = 4096 - dv):

    a = W s of the step before        a Dense process outputs what it received one step later
    u = sgn(u) * ((|u| * n_syn) >> 12) + (a << 6)        wraps around beyond 2^23
    v = sgn(v) * ((|v| * n_mem) >> 12) + u + bias        clipped to 2^23 - 1
    z = v > threshold << 6;  v = 0 where z

A neuron without a current (IF, LIF) has n_syn = 0, one without leak n_mem = 4096. Every weight delays
by one step, so layer k of a chain is k steps behind NIR's rule; a recurrence is not. A DelayDense
delays by as many steps more as its synapse has. bias = bias_mant << bias_exp.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Run, start

UNITY_BITS = 12


def run(network: IntegerNetwork, x: dict[str, np.ndarray], record: bool = False) -> Run:
    """Simulate.

    Args:
        x: input name -> (T, B, *shape), counts of spikes, graded (at most 255 in a step).
        record: keep the states too.

    Raises:
        GraphError: values the chip cannot hold, or input that does not fit.
    """
    steps, zeros, result = start(network, "lava", x, record)
    bound = 2 ** (network.profile["state.bits"] - 1)
    shift = network.profile["state.threshold_shift"]
    most = network.profile["neuron.input_spikes_per_step"]
    u, v = dict(zeros), dict(zeros)
    silent = zeros | {name: np.zeros(data.shape[1:], np.int64) for name, data in x.items()}
    longest = max((weight.longest_delay for weight in network.weights), default=0)
    past = [silent] * (longest + 1)  # spikes of the step before, of the one before that, ...
    into = {
        p.name: [(w, *part) for w in network.into(p) for part in w.by_delay()]
        for p in network.populations
    }
    for t in range(steps):
        now = {name: np.minimum(data[t], most).astype(np.int64) for name, data in x.items()}
        for population in network.populations:
            name = population.name
            a = np.zeros_like(u[name])
            for weight, delay, values in into[name]:
                arriving = weight.currents(past[delay][weight.source], values)
                a = a + arriving.astype(np.int64).reshape(a.shape)
            current = decay(u[name], population.decay_syn, 0) + (a << shift)
            wrapped = np.where(current > bound, current - 2 * bound, current)
            wrapped = np.where(wrapped <= -bound, current + 2 * bound, wrapped)
            free = decay(v[name], population.decay_mem, 2**UNITY_BITS) + wrapped
            free = free if population.bias is None else free + population.bias
            membrane = np.clip(free, -bound + 1, bound - 1)
            threshold = population.threshold << shift
            z = membrane > threshold
            beyond = (wrapped != current) | (membrane != free) | (z & population.membrane)
            result.saturated[name] += int(beyond.sum())
            result.ties[name] += int((membrane == threshold).sum())
            u[name], v[name] = wrapped, np.where(z, 0, membrane)
            now[name] = z.astype(np.int64)
            result.spikes[name][t] = z
            if record:
                result.currents[name][t] = u[name]
            if name in result.membranes:
                result.membranes[name][t] = v[name]
        past = [now, *past[:-1]]
    return result


def decay(x: np.ndarray, n: np.ndarray | None, without: int) -> np.ndarray:
    """What is left of a state after a step: x * n / 4096, toward zero; n = `without` where None."""
    return np.sign(x) * ((np.abs(x) * (without if n is None else n)) >> UNITY_BITS)
