"""Lava 0.10.0, floating point (`Loihi2SimCfg(select_tag="floating_pt")`), measured:

- It has no importer for NIR; this bridge is one: a chain of weights and neurons, where a neuron may
  have a weight onto itself. Gains go into the weights, sum pooling into the weight behind it.
- LIF: `u = u*(1-du) + a; v = v*(1-dv) + u; spike where v > vth, then v = 0`; double precision. IF is
  du = 1, dv = 0. One set of parameters per layer; v_leak and v_reset must be 0.
- Sparse and Conv add up in double precision.
- States are set and read number by number: so samples run side by side, and an Extractor reads spikes.
- Every weight outputs its sum one step later: layer k is delayed by k steps. That makes a recurrent
  weight right, and gives it nothing in the first step: a bias would be missing there, so it is refused.
"""

import dataclasses
import math

import nir
import numpy as np
import scipy.sparse

from pipeline.interop import protocol, quirks
from pipeline.interop.protocol import Refused

quirks.share_mutable_defaults()

from lava.magma.core.run_conditions import RunSteps  # noqa: E402
from lava.magma.core.run_configs import Loihi2SimCfg  # noqa: E402
from lava.proc.conv.process import Conv  # noqa: E402
from lava.proc.io.extractor import Extractor, PyLoihiExtractorModel  # noqa: E402
from lava.proc.io.source import RingBuffer as Source  # noqa: E402
from lava.proc.lif.process import LIF  # noqa: E402
from lava.proc.sparse.process import Sparse  # noqa: E402

NEURONS = (nir.IF, nir.LIF, nir.CubaLIF)
AT_ONCE = 32  # samples


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


def link(layer, gain, before, bits, samples):
    """The process that carries `before` (C, H, W) or (n,) of every sample into a layer.

    Where an end is flat it is a Sparse, its columns in the order of the source; else a Conv with a group
    for each sample. NIR's elements are (C, H, W), Lava's images (W, H, samples * C).
    """
    node = layer.weight
    if node is None:
        raise Refused(f"node `{layer.path}`: nothing with a weight leads into it")
    if np.any(getattr(node, "bias", 0)):
        raise Refused(
            f"the weight into `{layer.path}` has a bias, which would be delayed by one step"
        )
    weight = np.asarray(node.weight, float)
    size = math.prod(int(np.ravel(p.kernel_size)[0]) for p in layer.pools)
    for pool in layer.pools:
        if len({*np.ravel(pool.kernel_size), *np.ravel(pool.stride)}) != 1 or np.any(pool.padding):
            raise Refused(f"in front of `{layer.path}`: a pooling whose stride is not its kernel")
    if weight.ndim == 2:
        if len(before) == 3:  # behind a Flatten
            maps = weight.reshape(-1, before[0], before[1] // size, before[2] // size)
            weight = maps.repeat(size, 2).repeat(size, 3).reshape(len(weight), -1)
        matrix = blocks(weight * np.reshape(gain, (-1, 1)), samples)
        columns = laid_out(np.arange(matrix.shape[1]).reshape(samples, *before))
        return Sparse(weights=matrix[:, columns.ravel()], num_message_bits=bits)
    pairs = [np.ravel(getattr(node, k)) for k in ("stride", "padding", "dilation")]
    stride, padding, dilation = ((int(p[0]), int(p[-1])) for p in pairs)
    if size > 1 and dilation != (1, 1):
        raise Refused(f"in front of `{layer.path}`: a pooling, then a dilated kernel")
    rows = gain.reshape(len(weight), -1)
    if np.any(rows != rows[:, :1]):
        raise Refused(f"node `{layer.path}`: gains that differ within a channel")
    weight = weight.repeat(size, 2).repeat(size, 3) * rows[:, :1, None, None]
    weight = weight[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)  # Lava turns kernels around
    channels, height, width = before
    return Conv(
        weight=np.tile(weight, (samples, 1, 1, 1)),
        input_shape=(width, height, samples * channels),
        stride=(stride[1] * size, stride[0] * size),
        padding=(padding[1] * size, padding[0] * size),
        dilation=dilation[::-1],
        groups=samples * int(np.ravel(node.groups)[0]),
        num_message_bits=bits,
    )


def blocks(weight, samples):
    """A weight for every sample, on the diagonal."""
    return scipy.sparse.kron(scipy.sparse.eye(samples), weight, "csr")


def laid_out(values):
    """(N, C, H, W) or (N, n), each perhaps with a last axis of steps, as Lava has them side by side."""
    if values.ndim < 4:
        return values.reshape(-1, *values.shape[2:])
    values = np.moveaxis(values, (3, 2, 0, 1), (0, 1, 2, 3))
    return values.reshape(*values.shape[:2], -1, *values.shape[4:])


def side_by_side(layers, x, dt):
    """Spikes by layer, (N, T + layers, ...), of the samples x, (N, T, ...), that run at the same time."""
    samples, steps, *before = x.shape
    length = steps + len(layers)
    padded = np.zeros((samples, length, *before), float if x.dtype.kind == "f" else int)
    padded[:, :steps] = x
    port, bits, sinks = Source(data=laid_out(np.moveaxis(padded, 1, -1))).s_out, 8, {}
    for layer in layers:
        parameters, gain, shape = population(layer, dt)
        process = link(layer, gain, before, bits, samples)
        if isinstance(process, Sparse) and len(before) == 3:
            port = port.flatten()
        lif = LIF(shape=process.a_out.shape, **parameters)
        port.connect(process.s_in)
        process.a_out.connect(lif.a_in)
        if layer.own is not None:
            if np.any(getattr(layer.own, "bias", 0)):
                raise Refused(f"the weight of `{layer.path}` onto itself has a bias")
            weight = np.asarray(layer.own.weight, float) * np.reshape(gain, (-1, 1))
            own = Sparse(weights=blocks(weight, samples))
            lif.s_out.connect(own.s_in)
            own.a_out.connect(lif.a_in)
        sinks[layer.path] = Extractor(lif.s_out.shape, length)
        lif.s_out.connect(sinks[layer.path].in_port)
        port, before, bits = lif.s_out, shape, 0
    models = {Extractor: PyLoihiExtractorModel}
    config = Loihi2SimCfg(select_tag="floating_pt", exception_proc_model_map=models)
    try:
        lif.run(RunSteps(num_steps=length), config)
        spikes = {}
        for layer in layers:
            found = np.stack([sinks[layer.path].receive().astype(np.uint8) for _ in range(length)])
            shape = np.shape(layer.neuron.v_threshold)
            if found.ndim == 4:  # (T, W, H, N * C)
                found = found.transpose(0, 3, 2, 1)
            spikes[layer.path] = found.reshape(length, samples, *shape).swapaxes(0, 1)
    finally:  # its processes would go on
        lif.stop()
    return spikes


def run(request: protocol.Request) -> protocol.Answer:
    """All samples, so many side by side."""
    layers = chain(nir.read(request.path))
    parts = [
        side_by_side(layers, request.x[start : start + AT_ONCE], request.dt)
        for start in range(0, len(request.x), AT_ONCE)
    ]
    spikes = {name: np.concatenate([part[name] for part in parts]) for name in request.nodes}
    delays = {layer.path: number for number, layer in enumerate(layers, 1)}
    return protocol.Answer(spikes, delays)


def run_nir(path, inputs, dt):
    """As `pipeline/conformance/run_conformance.py` wants it, without the steps that the layers add."""
    (x,) = inputs.values()
    layers = chain(nir.read(path))
    if not layers:
        raise Refused("the bridge needs a neuron")
    if layers[0].weight is None:  # Lava's neurons take no input but a weight's
        layers[0].weight = nir.Linear(np.eye(x[0].size))
    delay = len(layers)
    longer = np.concatenate([x, np.zeros((delay, *x.shape[1:]), x.dtype)])
    return side_by_side(layers, longer[None], dt)[layers[-1].path][0, delay : delay + len(x)]


if __name__ == "__main__":
    protocol.serve(run, "lava-nc", "nir", "numpy")
