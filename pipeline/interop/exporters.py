"""`python -m pipeline.interop.exporters FRAMEWORK FOLDER`: tiny networks by a framework's own exporter.

Each network becomes FOLDER/<name>.nir and <name>.npz: `input` (T, *shape) and `output` (T, *shape), what
the framework itself computed; or <name>.txt, what its exporter raised. Nothing is adapted to NIR.
"""

import sys
import warnings
from pathlib import Path

import numpy as np

from pipeline.interop.protocol import described

STEPS = 24


def events(*shape):
    """Spikes of an input, (T, *shape), 0 and 1."""
    return (np.random.default_rng(5).random((STEPS, *shape)) < 0.4).astype(np.float32)


def dense(torch, layer):
    """A weight of multiples of 1/8."""
    with torch.no_grad():
        rng = np.random.default_rng(6)
        for parameter in torch.nn.Module.parameters(layer):
            values = rng.integers(-3, 6, tuple(parameter.shape)) / 8
            parameter.copy_(torch.from_numpy(values.astype(np.float32)))
    return layer


def write(graph, path):
    """`nir.write`, which takes no tensors of torch and no shape that is missing."""
    import nir

    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRNode):
            raise TypeError(
                f"node `{name}` of the graph is a {type(node).__name__}, no node of NIR"
            )
        for field, value in vars(node).items():
            if hasattr(value, "detach"):
                setattr(node, field, value.detach().numpy())
    if any(getattr(node, "input_shape", 0) is None for node in graph.nodes.values()):
        graph.infer_types()
    nir.write(path, graph)


def snntorch():
    """Name -> (x, run); run returns what the network gave and its graph."""
    import snntorch as snn
    import torch
    from snntorch.export_nir import export_to_nir

    def network(make, shape):
        def run(x):
            model = torch.nn.Sequential(*make())
            frames = torch.from_numpy(x)[:, None]
            with torch.no_grad():
                model(frames[0])
                for layer in model:
                    if hasattr(layer, "reset_mem"):
                        layer.reset_mem()
                found = torch.stack([model(frame)[0] for frame in frames])
            return found.numpy(), export_to_nir(model, frames[0], ignore_dims=[0])

        return events(*shape), run

    def linear(**options):
        return dense(torch, torch.nn.Linear(3, 3, **options))

    def conv(**options):
        return dense(torch, torch.nn.Conv2d(1, 2, 3, **options))

    def recurrent(layer):
        dense(torch, layer.recurrent)
        return layer

    hidden = {"init_hidden": True}
    each = {"threshold": torch.full((3,), 1.03), **hidden}
    zero = {"reset_mechanism": "zero", **each}
    beta, alpha = torch.full((3,), 0.9), torch.full((3,), 0.7)
    at_once = {"reset_delay": False, **zero}
    return {
        "affine": network(lambda: [linear(), linear()], (3,)),
        "linear": network(lambda: [linear(bias=False), linear(bias=False)], (3,)),
        "leaky-scalar": network(lambda: [linear(), snn.Leaky(0.9, **hidden)], (3,)),
        "leaky-subtract": network(lambda: [linear(), snn.Leaky(beta, **each)], (3,)),
        "leaky-zero": network(lambda: [linear(), snn.Leaky(beta, **zero)], (3,)),
        "leaky-zero-at-once": network(lambda: [linear(), snn.Leaky(beta, **at_once)], (3,)),
        "synaptic-subtract": network(lambda: [linear(), snn.Synaptic(alpha, beta, **each)], (3,)),
        "synaptic-zero": network(lambda: [linear(), snn.Synaptic(alpha, beta, **zero)], (3,)),
        "rleaky-subtract": network(
            lambda: [linear(), recurrent(snn.RLeaky(0.9, linear_features=3, **hidden))], (3,)
        ),
        "conv2d": network(lambda: [conv(), torch.nn.Flatten()], (1, 6, 6)),
        "conv2d-padding": network(lambda: [conv(padding=1), torch.nn.Flatten()], (1, 6, 6)),
        "avgpool2d": network(lambda: [conv(), torch.nn.AvgPool2d(2)], (1, 6, 6)),
    }


def norse():
    """As `snntorch`."""
    import norse.torch as norse
    import torch
    from norse.torch.utils.export_nir import to_nir

    def network(make, shape):
        def run(x):
            model, state = norse.SequentialState(*make()), None
            frames, found = torch.from_numpy(x), []
            with torch.no_grad():
                for frame in frames:
                    out, state = model(frame[None], state)
                    found.append(out[0])
            return torch.stack(found).numpy(), to_nir(model, frames[0])

        return events(*shape), run

    def linear(**options):
        return dense(torch, torch.nn.Linear(3, 3, **options))

    def conv(**options):
        return dense(torch, torch.nn.Conv2d(1, 2, 3, **options))

    def three(value):
        return torch.full((3,), value)

    def box(leak):
        return norse.LIFBoxParameters(three(100.0), three(leak), three(0.1))

    return {
        "affine": network(lambda: [linear()], (3,)),
        "linear": network(lambda: [linear(bias=False)], (3,)),
        "lifbox": network(lambda: [linear(), norse.LIFBoxCell(box(0.0))], (3,)),
        "lifbox-leak": network(lambda: [linear(), norse.LIFBoxCell(box(0.05))], (3,)),
        "lif": network(
            lambda: [
                linear(),
                norse.LIFCell(
                    norse.LIFParameters(three(200.0), three(100.0), three(0.0), three(0.1))
                ),
            ],
            (3,),
        ),
        "libox": network(
            lambda: [linear(), norse.LIBoxCell(norse.LIBoxParameters(three(100.0), three(0.0)))],
            (3,),
        ),
        "iaf": network(
            lambda: [linear(), norse.IAFCell(norse.IAFParameters(v_th=three(1.0)))], (3,)
        ),
        "conv2d": network(lambda: [conv()], (1, 6, 6)),
        "conv2d-no-bias": network(lambda: [conv(bias=False)], (1, 6, 6)),
        "flatten": network(lambda: [conv(), torch.nn.Flatten()], (1, 6, 6)),
    }


def spikingjelly():
    """As `snntorch`."""
    import torch
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    def network(make, shape):
        def run(x):
            model = torch.nn.Sequential(*make())
            functional.set_step_mode(model, "m")
            frames = torch.from_numpy(x)[:, None]
            with torch.no_grad():
                found = model(frames)[:, 0].numpy()
            functional.reset_net(model)
            return found, export_to_nir(model, frames, dt=1e-3)

        return events(*shape), run

    def linear(**options):
        return dense(torch, layer.Linear(3, 3, **options))

    def conv(**options):
        return dense(torch, layer.Conv2d(1, 2, 3, **options))

    return {
        "affine": network(lambda: [linear()], (3,)),
        "linear": network(lambda: [linear(bias=False)], (3,)),
        "if": network(lambda: [linear(), neuron.IFNode(v_threshold=1.03, v_reset=0.0)], (3,)),
        "if-v-reset": network(
            lambda: [linear(), neuron.IFNode(v_threshold=1.03, v_reset=0.3)], (3,)
        ),
        "if-subtract": network(
            lambda: [linear(), neuron.IFNode(v_threshold=1.03, v_reset=None)], (3,)
        ),
        "lif": network(lambda: [linear(), neuron.LIFNode(tau=4.0, v_threshold=0.23)], (3,)),
        "lif-input": network(
            lambda: [linear(), neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=1.03)], (3,)
        ),
        "cubalif": network(
            lambda: [linear(), neuron.CUBALIFNode(0.4, 0.7, v_threshold=1.03)], (3,)
        ),
        "conv2d": network(lambda: [conv()], (1, 6, 6)),
        "conv2d-padding": network(lambda: [conv(padding=1)], (1, 6, 6)),
        "avgpool2d": network(lambda: [conv(), layer.AvgPool2d(2)], (1, 6, 6)),
        "flatten": network(lambda: [conv(), layer.Flatten()], (1, 6, 6)),
    }


def sinabs():
    """As `snntorch`."""
    import sinabs.layers as sl
    import torch
    from sinabs.nir import to_nir

    def network(make, shape):
        def run(x):
            model = torch.nn.Sequential(*make())
            with torch.no_grad():
                found = model(torch.from_numpy(x)).numpy()
            return found, to_nir(model, torch.from_numpy(x))

        return events(*shape), run

    def linear(**options):
        return dense(torch, torch.nn.Linear(3, 3, **options))

    def conv(**options):
        return dense(torch, torch.nn.Conv2d(1, 2, 3, **options))

    single, tau = {"batch_size": 1}, torch.full((3,), 4.0)
    return {
        "affine": network(lambda: [linear()], (3,)),
        "linear": network(lambda: [linear(bias=False)], (3,)),
        "iaf": network(
            lambda: [linear(), sl.IAFSqueeze(spike_threshold=torch.tensor(1.03), **single)], (3,)
        ),
        "lif": network(
            lambda: [
                linear(),
                sl.LIFSqueeze(tau_mem=tau, spike_threshold=torch.full((3,), 0.53), **single),
            ],
            (3,),
        ),
        "expleak": network(lambda: [linear(), sl.ExpLeakSqueeze(tau_mem=tau, **single)], (3,)),
        "conv1d": network(lambda: [dense(torch, torch.nn.Conv1d(1, 2, 3))], (1, 6)),
        "conv2d": network(lambda: [conv()], (1, 6, 6)),
        "conv2d-padding": network(lambda: [conv(padding=1)], (1, 6, 6)),
        "sumpool2d": network(lambda: [conv(), sl.SumPool2d(2)], (1, 6, 6)),
        "flatten": network(lambda: [conv(), torch.nn.Flatten()], (1, 6, 6)),
    }


def rockpool():
    """As `snntorch`."""
    from pipeline.interop import quirks

    quirks.leave_out_samna()
    import torch
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules.torch import ExpSynTorch, LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    def network(make, shape):
        def run(x):
            layers = make()
            now = torch.from_numpy(x)[None]
            with torch.no_grad():
                for layer in layers:
                    now = layer(now)[0]
            model = Sequential(*layers) if len(layers) > 1 else layers[0]
            return now[0].numpy(), to_nir(model)

        return events(*shape), run

    def linear(bias=True):
        return dense(torch, LinearTorch((3, 3), has_bias=bias))

    def neurons(**options):
        times = {"tau_mem": torch.full((3,), 0.008), "tau_syn": torch.full((3, 1), 0.004)}
        fixed = {"threshold": torch.full((3,), 1.03), "bias": torch.zeros(3), "dt": 1e-3}
        return LIFTorch(3, **times, **fixed, **options)

    return {
        "affine": network(lambda: [linear(), neurons()], (3,)),
        "linear": network(lambda: [linear(False), neurons()], (3,)),
        "recurrent": network(
            lambda: [linear(False), dense_recurrent(torch, neurons(has_rec=True))], (3,)
        ),
        "expsyn": network(
            lambda: [linear(False), ExpSynTorch(3, tau=torch.full((3,), 0.004), dt=1e-3)], (3,)
        ),
    }


def dense_recurrent(torch, layer):
    """A recurrent weight of multiples of 1/8."""
    with torch.no_grad():
        values = np.random.default_rng(8).integers(-4, 5, tuple(layer.w_rec.shape)) / 8
        layer.w_rec.copy_(torch.from_numpy(values.astype(np.float32)))
    return layer


FRAMEWORKS = {
    "snntorch": snntorch, "norse": norse, "spikingjelly": spikingjelly, "sinabs": sinabs,
    "rockpool": rockpool,
}  # fmt: skip


def main(framework, folder):
    """Export every network; what one raises is its result."""
    for name, (x, run) in FRAMEWORKS[framework]().items():
        try:
            found, graph = run(x)
            write(graph, folder / f"{name}.nir")
        except Exception as error:
            (folder / f"{name}.nir").unlink(missing_ok=True)
            (folder / f"{name}.txt").write_text(described(error), encoding="utf-8")
            continue
        np.savez(folder / f"{name}.npz", input=x, output=found)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(sys.argv[1], Path(sys.argv[2]))
