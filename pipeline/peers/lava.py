"""Lava 0.10.0, floating point (`Loihi2SimCfg(select_tag="floating_pt")`), measured:

- It has no importer for NIR; this bridge is one: a chain of weights and neurons, where a neuron may
  have a weight onto itself. Gains go into the weights, sum pooling into the weight behind it.
- LIF: `u = u*(1-du) + a; v = v*(1-dv) + u; spike where v > vth, then v = 0`; double precision. IF is
  du = 1, dv = 0. One set of parameters per layer; v_leak and v_reset must be 0.
- Dense adds up in double precision, Conv (through torch) in single.
- Every weight hands on its sum one step later: layer k is k steps late. That makes a recurrent weight
  right, and gives it nothing in the first step: a bias would be missing there, so none is accepted.
"""

import dataclasses
import math

import nir
import numpy as np

from pipeline.peers import protocol, quirks
from pipeline.peers.protocol import Refused

quirks.share_mutable_defaults()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.dense.process import Dense  # noqa: E402
from lava.proc.io.sink import RingBuffer as Sink  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402

NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)


@dataclasses.dataclass
class Layer:
    """A population and what leads into it: pooling, a weight, and perhaps a weight onto itself."""

    path: str
    neuron: object
    weight: object
    pools: list
    own: object = None


def chain(graph, prefix=""):
    """The layers of a graph, from its Input on.

    Raises:
        Refused: it is no chain of weights and neurons.
    """
    after: dict[str, list[str]] = {}
    for source, target in graph.edges:
        after.setdefault(source, []).append(target)
    (at,) = [name for name, node in graph.nodes.items() if isinstance(node, nir.Input)]
    layers, weight, pools = [], None, []
    while not isinstance(graph.nodes[at], nir.Output):
        following = [t for t in after.get(at, []) if at not in after.get(t, [])]
        if len(following) != 1:
            raise Refused(f"node `{prefix}{at}` leads to {len(following)} nodes; a chain is needed")
        (at,) = following
        node = graph.nodes[at]
        path = f"{prefix}{at}"
        if isinstance(node, (nir.Linear, nir.Affine, nir.Conv2d)):
            if weight is not None:
                raise Refused(f"node `{path}`: a second weight without a neuron in between")
            weight = node
        elif isinstance(node, nir.SumPool2d):
            pools.append(node)
        elif isinstance(node, nir.Flatten):
            continue
        elif isinstance(node, NEURONS):
            own = [graph.nodes[t] for t in after[at] if at in after.get(t, [])]
            layers.append(Layer(path, node, weight, pools, *own))
            weight, pools = None, []
        elif isinstance(node, nir.NIRGraph):
            inner = chain(node, f"{path}.")
            if len(inner) != 1 or inner[0].weight is not None:
                raise Refused(f"subgraph `{path}` is more than a neuron with a weight onto itself")
            inner[0].weight, inner[0].pools = weight, pools
            layers += inner
            weight, pools = None, []
        elif not isinstance(node, nir.Output):
            raise Refused(f"node `{path}`: the bridge knows no {type(node).__name__}")
    return layers


def single(path, name, value):
    """The one value of a layer's parameter."""
    values = np.unique(value)
    if values.size != 1:
        raise Refused(f"node `{path}`: `{name}` has {values.size} values; Lava's LIF has one")
    return float(values[0])


def population(layer, dt):
    """(parameters of a LIF process, gain of each input element, shape)."""
    node, path = layer.neuron, layer.path
    for name in ("v_leak", "v_reset"):
        if np.any(getattr(node, name, 0)):
            raise Refused(f"node `{path}`: `{name}` is not 0, as Lava's LIF has it")
    du, dv, gain = 1.0, 0.0, np.asarray(node.r, float)
    if isinstance(node, nir.IF):
        gain = gain * dt
    elif isinstance(node, nir.LIF):
        dv = dt / single(path, "tau", node.tau)
        gain = gain * dv
    else:
        du, dv = (dt / single(path, key, getattr(node, key)) for key in ("tau_syn", "tau_mem"))
        gain = gain * np.asarray(node.w_in, float) * du * dv
    shape = tuple(np.shape(node.v_threshold))
    threshold = single(path, "v_threshold", node.v_threshold)
    return {"du": du, "dv": dv, "vth": threshold}, np.broadcast_to(gain, shape), shape


def link(layer, gain, before, bits):
    """The process that carries `before` (C, H, W) or (n,) into a layer.

    Elements are ordered as NIR flattens them, (C, H, W); Lava's images are (W, H, C).
    """
    node = layer.weight
    if node is None:
        raise Refused(f"node `{layer.path}`: nothing with a weight leads into it")
    if np.any(getattr(node, "bias", 0)):
        raise Refused(f"the weight into `{layer.path}` has a bias, which would be one step late")
    weight = np.asarray(node.weight, float)
    if len(before) == 1:
        return Dense(weights=weight * np.reshape(gain, (-1, 1)), num_message_bits=bits)
    size = math.prod(int(np.ravel(p.kernel_size)[0]) for p in layer.pools)
    for pool in layer.pools:
        if len({*np.ravel(pool.kernel_size), *np.ravel(pool.stride)}) != 1 or np.any(pool.padding):
            raise Refused(f"in front of `{layer.path}`: a pooling whose stride is not its kernel")
    if weight.ndim == 2:  # behind a Flatten: a kernel as large as the map
        weight = weight.reshape(-1, before[0], before[1] // size, before[2] // size)
        stride, padding, dilation, groups = (1, 1), (0, 0), (1, 1), 1
    else:
        pairs = [np.ravel(getattr(node, k)) for k in ("stride", "padding", "dilation")]
        stride, padding, dilation = ((int(p[0]), int(p[-1])) for p in pairs)
        groups = int(np.ravel(node.groups)[0])
    if size > 1 and dilation != (1, 1):
        raise Refused(f"in front of `{layer.path}`: a pooling, then a dilated kernel")
    rows = gain.reshape(len(weight), -1)
    if np.any(rows != rows[:, :1]):
        raise Refused(f"node `{layer.path}`: gains that differ within a channel")
    weight = weight.repeat(size, 2).repeat(size, 3) * rows[:, :1, None, None]
    return Conv(
        weight=weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1),  # Lava turns kernels around
        input_shape=before[::-1],
        stride=(stride[1] * size, stride[0] * size),
        padding=(padding[1] * size, padding[0] * size),
        dilation=dilation[::-1],
        groups=groups,
        num_message_bits=bits,
    )


def run(request: protocol.Request) -> protocol.Answer:
    """All samples, one after the other, with every state set to 0 in between."""
    samples, steps, *shape = request.x.shape
    layers = chain(nir.read(request.path))
    late = {layer.path: number for number, layer in enumerate(layers, 1)}
    length = steps + len(layers)
    images = len(shape) == 3
    data = request.x.transpose(0, 1, *range(4, 1, -1)) if images else request.x
    padded = np.zeros((samples, length, *data.shape[2:]), int)
    padded[:, :steps] = data
    source = Source(data=np.moveaxis(padded.reshape(-1, *data.shape[2:]), 0, -1))
    port, before, bits = source.s_out, tuple(shape), 8
    sinks, states = {}, []
    for layer in layers:
        parameters, gain, size = population(layer, request.dt)
        process = link(layer, gain, before, bits)
        image = isinstance(process, Conv)
        lif = LIF(shape=process.output_shape if image else (math.prod(size),), **parameters)
        port.connect(process.s_in)
        process.a_out.connect(lif.a_in)
        states += [lif.u, lif.v, process.a_buf if image else process.a_buff]
        if layer.own is not None:
            if np.any(getattr(layer.own, "bias", 0)):
                raise Refused(f"the weight of `{layer.path}` onto itself has a bias")
            own = Dense(weights=np.asarray(layer.own.weight, float) * np.reshape(gain, (-1, 1)))
            lif.s_out.connect(own.s_in)
            own.a_out.connect(lif.a_in)
            states.append(own.a_buff)
        sink = Sink(shape=lif.s_out.shape, buffer=samples * length)
        lif.s_out.connect(sink.a_in)
        sinks[layer.path] = sink
        port, before, bits = lif.s_out, tuple(size), 0
        if image and len(size) == 1:  # (1, 1, n) behind a whole-map kernel
            port = lif.s_out.flatten()
    config = Loihi2SimCfg(select_tag="floating_pt")
    for _ in range(samples):
        lif.run(condition=RunSteps(num_steps=length), run_cfg=config)
        for state in states:
            state.set(np.zeros(state.shape))
    spikes = {}
    for layer in layers:
        found = np.moveaxis(sinks[layer.path].data.get(), -1, 0)  # (samples * length, ...)
        if found.ndim == 4:
            found = found.transpose(0, 3, 2, 1)
        size = np.shape(layer.neuron.v_threshold)
        spikes[layer.path] = found.reshape(samples, length, *size).astype(np.uint8)
    lif.stop()
    return protocol.Answer({name: spikes[name] for name in request.nodes}, late)


if __name__ == "__main__":
    protocol.serve(run, "lava-nc", "nir", "numpy")
