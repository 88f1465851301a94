"""The harness of NeuroBench 2.3.0 on a torch copy of a NIR graph; run by bench/cost.py.

    python run_neurobench.py REQUEST.npz ANSWER.json

REQUEST.npz: `path` of a .nir file, `dt`, `x` (N, T, *shape), `labels` (N,). The copy has a torch module
for every node of a chain of nodes, nested recurrent graphs included, so that the harness finds layers
and neurons where it looks for them. It runs in float64, as the reference does; what the harness says of
the weights alone it is asked in the file's own width. One sample is a batch.
"""

import json
import sys

import nir
import numpy as np
import snntorch
import torch
from neurobench.benchmarks import Benchmark
from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    ClassificationAccuracy,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import SNNTorchModel
from neurobench.processors.postprocessors import ChooseMaxCount

STATIC = [Footprint, ParameterCount, ConnectionSparsity]
WORKLOAD = [ClassificationAccuracy, ActivationSparsity, MembraneUpdates, SynapticOperations]


class Neuron(snntorch.SpikingNeuron):
    """A NIR neuron under forward Euler; its numbers are buffers, its `mem` is the one after the reset."""

    def __init__(self, node, dt):
        # The harness knows snnTorch's neurons by their class; their own buffers are none of the file's.
        torch.nn.Module.__init__(self)
        self.init_hidden, self.output, self.dt = True, False, dt
        for name, value in vars(node).items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                self.register_buffer(name, torch.from_numpy(value.copy()))
        self.kind = type(node).__name__
        self.forget()

    def forget(self):
        self.mem, self.current = torch.zeros(()), torch.zeros(())

    def forward(self, x):
        if self.kind == "CubaLIF":
            self.current = self.current + self.dt / self.tau_syn * (self.w_in * x - self.current)
            x = self.current
        if self.kind == "IF":
            u = self.mem + self.dt * self.r * x
        else:
            tau = self.tau_mem if self.kind == "CubaLIF" else self.tau
            u = self.mem + self.dt / tau * (self.v_leak - self.mem + self.r * x)
        spikes = (u > self.v_threshold).to(u.dtype)
        self.mem = torch.where(spikes > 0, self.v_reset.expand_as(u), u)
        return spikes


class SumPool(torch.nn.Module):
    def __init__(self, node):
        super().__init__()
        size = [int(n) for n in np.broadcast_to(node.kernel_size, 2)]
        stride, padding = node.stride, node.padding
        assert (np.broadcast_to(stride, 2) == size).all() and not np.any(padding), (
            "sums that overlap"
        )
        self.mean, self.area = torch.nn.AvgPool2d(size), size[0] * size[1]

    def forward(self, x):
        return self.mean(x) * self.area


class Recurrent(torch.nn.Module):
    """A neuron that a weight feeds back to, one step later; the first time it is fed zeros."""

    def __init__(self, graph, dt):
        super().__init__()
        modules = [m for node in graph.nodes.values() if (m := module(node, dt)) is not None]
        (self.neuron,) = (m for m in modules if isinstance(m, Neuron))
        (self.weight,) = (m for m in modules if isinstance(m, torch.nn.Linear))
        self.forget()

    def forget(self):
        self.last = None

    def forward(self, x):
        back = torch.zeros_like(x) if self.last is None else self.last
        self.last = self.neuron(x + self.weight(back))
        return self.last


class Copy(torch.nn.Module):
    """A chain of nodes."""

    def __init__(self, graph, dt):
        super().__init__()
        after = dict(graph.edges)
        assert len(after) == len(graph.edges), "the graph is no chain"
        name, modules = "input", []
        while name in after:
            name = after[name]
            modules.append(module(graph.nodes[name], dt))
        self.chain = torch.nn.Sequential(*(m for m in modules if m is not None))

    def reset(self):
        for part in self.modules():
            if hasattr(part, "forget"):
                part.forget()

    def forward(self, x):
        return self.chain(x), None


def module(node, dt):
    """The torch module of a node; None for an Input or Output."""
    kind = type(node).__name__
    if kind in ("Input", "Output"):
        return None
    if kind == "NIRGraph":
        return Recurrent(node, dt)
    if kind in ("IF", "LIF", "CubaLIF"):
        return Neuron(node, dt)
    if kind == "SumPool2d":
        return SumPool(node)
    if kind == "Flatten":
        return torch.nn.Flatten()
    bias = getattr(node, "bias", None)
    outputs, inputs, *kernel = node.weight.shape
    if kind in ("Linear", "Affine"):
        made = torch.nn.Linear(inputs, outputs, bias=bias is not None)
    elif kind == "Conv2d":
        numbers = {
            key: tuple(int(n) for n in np.broadcast_to(getattr(node, key), 2))
            for key in ("stride", "padding", "dilation")
        }
        made = torch.nn.Conv2d(
            inputs * node.groups,
            outputs,
            kernel,
            groups=node.groups,
            bias=bias is not None,
            **numbers,
        )
    else:
        raise TypeError(f"no torch module for a {kind}")
    made.weight.data = torch.from_numpy(node.weight.copy())
    if bias is not None:
        made.bias.data = torch.from_numpy(np.asarray(bias).copy())
    return made


def main():
    source, target = sys.argv[1:]
    with np.load(source, allow_pickle=False) as request:
        graph, dt = nir.read(str(request["path"])), float(request["dt"])
        x = torch.from_numpy(request["x"].astype(np.float64))
        labels = torch.from_numpy(request["labels"].astype(np.int64))
    model = SNNTorchModel(Copy(graph, dt))
    static = {metric.__name__: metric()(model) for metric in STATIC}
    model.net.double()
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=1)
    with torch.no_grad():
        found = Benchmark(model, data, [], [ChooseMaxCount()], [[], WORKLOAD]).run(quiet=True)
    with open(target, "w") as stream:
        json.dump({**static, **found}, stream, indent=2, sort_keys=True)


if __name__ == "__main__":
    main()
