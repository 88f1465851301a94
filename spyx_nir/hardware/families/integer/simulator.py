"""NIR's rule on integers, as the generated C computes it.

Per step, with states u (current) and v (membrane) of the profile's bits, decays n of n / 4096, s the
profile's `state.threshold_shift`, and a the weights of the spikes that arrive:

    u = u * n_syn / 4096 + (a << s)     toward zero; saturates
    v = v * n_mem / 4096 + u            toward zero; saturates
    z = v > threshold << s              in the same step
    v = 0 where z, or v - (threshold << s)

Without a current (IF, LIF) u is a << s, which is no state and does not saturate; without leak (IF) v
stays as it is. A population's spikes arrive in the same step at those behind it, and one step later
where they close a cycle. States saturate at -2^(bits - 1) and 2^(bits - 1) - 1. Behind every weight
Lava takes a step more; its arithmetic (lava-nc 0.10.0, proc/lif) is the same, but currents wrap around
there.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Run, start

UNITY_BITS = 12


def run(network: IntegerNetwork, x: dict[str, np.ndarray], record: bool = False) -> Run:
    """Simulate.

    Args:
        x: input name -> (T, B, *shape), counts of spikes; above the profile's
            `neuron.input_spikes_per_step` they count as that.
        record: keep the states too.

    Raises:
        GraphError: values the chip cannot hold, or input that does not fit.
    """
    steps, zeros, result = start(network, "nir-integer", x, record)
    bound = 2 ** (network.profile["state.bits"] - 1)
    shift = network.profile["state.threshold_shift"]
    most = network.profile["neuron.input_spikes_per_step"]
    u, v, last = dict(zeros), dict(zeros), dict(zeros)
    for t in range(steps):
        now = {name: np.minimum(data[t], most).astype(np.int64) for name, data in x.items()}
        for population in network.populations:
            name, threshold = population.name, population.threshold << shift
            a = np.zeros_like(v[name])
            for weight in network.into(population):
                spikes = now[weight.source] if weight.source in now else last[weight.source]
                a = a + weight.currents(spikes).astype(np.int64).reshape(a.shape)
            free = (a << shift) + decay(u[name], population.decay_syn, 0)
            current = free if population.decay_syn is None else np.clip(free, -bound, bound - 1)
            whole = decay(v[name], population.decay_mem, 2**UNITY_BITS) + current
            membrane = np.clip(whole, -bound, bound - 1)
            z = membrane > threshold
            result.saturated[name] += int(((free != current) | (whole != membrane)).sum())
            result.ties[name] += int((membrane == threshold).sum())
            left = 0 if population.reset == "v_reset" else membrane - threshold
            u[name], v[name] = current, np.where(z, left, membrane)
            now[name] = z.astype(np.int64)
            result.spikes[name][t] = z
            if record:
                result.currents[name][t], result.membranes[name][t] = u[name], v[name]
        last = now
    return result


def decay(x: np.ndarray, n: np.ndarray | None, without: int) -> np.ndarray:
    """What is left of a state after a step: x * n / 4096, toward zero; n = `without` where None."""
    return np.sign(x) * ((np.abs(x) * (without if n is None else n)) >> UNITY_BITS)
