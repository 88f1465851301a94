"""sc-neurocore 3.16.0, `sc_neurocore.nir_bridge.from_nir(graph, dt=)`, measured:

- Forward Euler in float64; a spike leaves in its step; `v > v_threshold`; reset to `v_reset`.
- r and w_in are used.
- Membranes start at `v_leak`, where NIR's files mean 0.
- The recurrent weight gives nothing in the first step: a bias in it is missing there.
"""

import nir
import numpy as np
from sc_neurocore.nir_bridge import from_nir

from pipeline.interop import protocol


def run(request: protocol.Request) -> protocol.Answer:
    """One sample after the other; every spiking node is watched."""
    graph = nir.read(request.path)
    spikes: dict[str, list[np.ndarray]] = {name: [] for name in request.nodes}
    for sample in request.x:
        network = from_nir(graph, dt=request.dt)
        record = {name: watched(network, name) for name in request.nodes}
        run_steps(network, {network.input_nodes[0]: sample.astype(np.float64)})
        for name, steps in record.items():
            spikes[name].append(np.stack(steps))
    return protocol.Answer({name: np.stack(s).astype(np.uint8) for name, s in spikes.items()})


def watched(network, path):
    """The list of what a node puts out, step by step; a dot in the path leads into a subgraph."""
    *outer, name = path.split(".")
    for part in outer:
        network = network.nodes[part].network
    steps, node = [], network.nodes[name]
    forward = node.forward

    def keep(x):
        steps.append(forward(x))
        return steps[-1]

    node.forward = keep
    return steps


def run_steps(network, inputs):
    """What every Output gives, (T, *shape) each; inputs (T, *shape) by name."""
    steps = len(next(iter(inputs.values())))
    found = [network.step({name: x[t] for name, x in inputs.items()}) for t in range(steps)]
    return {name: np.stack([step[name] for step in found]) for name in network.output_nodes}


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it."""
    network = from_nir(nir.read(path), dt=dt)
    return {f"output/{name}": array for name, array in run_steps(network, inputs).items()}


if __name__ == "__main__":
    protocol.serve(run, "sc-neurocore", "nir", "numpy")
