"""DynapCNN's integer rule in steps, as sinabs simulates it (sinabs 3.1.3, layers/functional/lif.py).

Per step, layer by layer within the step, with counts s of spikes and one threshold a layer:

    v += W s                                    pooling sums counts
    n  = v // threshold where v >= threshold    any number of spikes in a step
    v -= n * threshold                          reset `v_reset`: v = 0 where n
    v  = max(v, -threshold)                     where the profile's `state.floor` says so

The chip itself works event by event; what it does with the order of events in a step is not modelled.
Its state has 16 bits and what happens beyond is not documented: such a run is counted as saturated.
"""

from __future__ import annotations

import numpy as np

from spyx_nir.hardware.network import IntegerNetwork, Run, start


def run(network: IntegerNetwork, x: dict[str, np.ndarray], record: bool = False) -> Run:
    """Simulate.

    Args:
        x: input name -> (T, B, C, H, W) or (T, B, channels), counts of spikes.
        record: keep the membranes too.

    Raises:
        GraphError: values the chip cannot hold, or input that does not fit.
    """
    steps, v, result = start(network, "dynapcnn", x, record)
    bound = 2 ** (network.profile["state.bits"] - 1)
    floored = network.profile["state.floor"] == "threshold"
    for t in range(steps):
        now = {name: data[t] for name, data in x.items()}
        for population in network.populations:
            name, threshold = population.name, population.threshold
            u = v[name]
            for weight in network.into(population):
                u = u + weight.currents(now[weight.source]).astype(np.int64).reshape(u.shape)
            n = np.where(u >= threshold, u // threshold, 0)
            result.saturated[name] += int(((u < -bound) | (u > bound - 1)).sum())
            result.multiple[name] += int((n > 1).sum())
            result.ties[name] += int((u == threshold).sum())
            left = u - n * threshold if population.reset == "subtract" else np.where(n, 0, u)
            v[name] = np.maximum(left, -threshold) if floored else left
            now[name] = n
            result.spikes[name][t] = n
            if record:
                result.membranes[name][t] = v[name]
    return result
