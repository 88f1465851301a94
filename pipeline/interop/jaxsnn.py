"""jaxsnn 0.3.0, `jaxsnn.event.from_nir(graph, config)`, measured:

- Event by event in continuous time, not forward Euler. Time constants count milliseconds.
- Linear and CubaLIF only, no subgraph; one set of parameters per layer; r and w_in are ignored.
- A weight is (out, in) in NIR and (in, out) there, and is not transposed: a square one is wrong, another
  one an error.
"""

import jax
import jax.numpy as jnp
import nir
import numpy as np
from jaxsnn.event import ConversionConfig, from_nir
from jaxsnn.event.types import Spike

from pipeline.interop import protocol
from pipeline.interop.protocol import Refused

MILLI = 1e-3
MOST_EVENTS = 200  # of a layer, in a case of 12 steps


def simulate(path, x, dt):
    """Spikes by CubaLIF node, (T, neurons), counts, of one sample x (T, inputs) of zeros and ones."""
    graph = nir.read(path)
    (source,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Input))
    layers = [name for name, node in graph.nodes.items() if isinstance(node, nir.CubaLIF)]
    steps, unit = len(x), dt * MILLI
    config = ConversionConfig(t_max=steps * unit, n_steps=dict.fromkeys(layers, MOST_EVENTS))
    init, apply = from_nir(graph, config).done()
    if not np.isin(x, (0, 1)).all():
        raise Refused("its inputs are events, which have no size")
    when, which = np.nonzero(x.reshape(steps, -1))
    count = len(when)
    events = Spike(
        jnp.array(when * unit)[None], jnp.array(which)[None], jnp.zeros((1, count)),
        jnp.zeros((1, count), int), jnp.zeros((1, count), bool),
    )  # fmt: skip
    found = apply({source: events}, init(jax.random.PRNGKey(0)))
    spikes = {}
    for name in layers:
        out = np.zeros((steps, np.size(graph.nodes[name].tau_mem)))
        own = np.asarray(found[name].internal[0])
        times, neurons = (np.asarray(a[0])[own] for a in (found[name].time, found[name].idx))
        inside = np.isfinite(times) & (times < steps * unit) & (neurons >= 0)
        np.add.at(out, (np.floor(times[inside] / unit).astype(int), neurons[inside]), 1)
        spikes[name] = out
    return spikes


def run(request: protocol.Request) -> protocol.Answer:
    """One sample after the other."""
    samples = [simulate(request.path, x, request.dt) for x in request.x]
    spikes = {name: np.stack([s[name] for s in samples]) for name in request.nodes}
    return protocol.Answer({name: s.astype(np.int32) for name, s in spikes.items()})


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it."""
    if len(inputs) != 1:
        raise Refused(f"its model takes one input here, the graph has {len(inputs)}")
    graph = nir.read(path)
    (x,) = inputs.values()
    spikes = simulate(path, x, dt)
    ends = {t: s for s, t in graph.edges if isinstance(graph.nodes[t], nir.Output)}
    if set(ends.values()) - set(spikes):
        raise Refused("an Output gets something else than spikes")
    return {f"output/{name}": spikes[source] for name, source in ends.items()}


if __name__ == "__main__":
    protocol.serve(run, "jaxsnn", "jax", "nir", "numpy")
