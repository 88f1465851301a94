"""Make the golden files: networks by other frameworks, exported by them, and what they did there.

    .venv-peers/bin/python tests/converter/golden/make.py     (after `make peers-setup`)
    PYTHONPATH=. .venv-vendors/bin/python tests/converter/golden/make.py rockpool_chain
                                                              (after `make vendors-setup`)

Each case is `<name>.nir`, as the framework's own exporter wrote it, and `<name>.npz`: `input`
(T, B, ...), uint8, and for every spiking layer, in order, what it put out in that framework,
`spikes_0` ... (T, B, ...), uint8; all channels first. Networks are random but seeded; SOURCE.md says
what each one is for.
"""

import sys
from pathlib import Path

import nir
import numpy as np
import torch

HERE = Path(__file__).parent
STEPS, BATCH = 40, 2


def events(*shape, rate=0.3):
    """Input events (STEPS, BATCH, *shape), 0 and 1."""
    return (torch.rand(STEPS, BATCH, *shape) < rate).float()


def save(name, graph, x, spikes):
    """Write a case; every layer must fire somewhere and be silent somewhere."""
    arrays = {f"spikes_{i}": np.asarray(s, np.uint8) for i, s in enumerate(spikes)}
    for key, array in arrays.items():
        rate = array.mean()
        assert 0.005 < rate < 0.95, f"{name} {key}: fires at {rate}"
        print(f"{name} {key}: {array.shape}, {int(array.sum())} spikes")
    for node in graph.nodes.values():  # nir.write takes no torch tensors and no None
        for field, value in vars(node).items():
            if isinstance(value, torch.Tensor):
                setattr(node, field, value.numpy())
    if any(getattr(node, "input_shape", 0) is None for node in graph.nodes.values()):
        graph.infer_types()
    nir.write(HERE / f"{name}.nir", graph)
    np.savez_compressed(HERE / f"{name}.npz", input=np.asarray(x, np.uint8), **arrays)


# ------------------------------------------------------------------------------------------ sinabs


def sinabs_cnn(name, reset, hooked_pool, bias=True):
    """Convolutions (stride, padding, `bias` of the second), IF neurons, sum pooling, Flatten, Linear."""
    import sinabs.layers as sl
    from sinabs.activation import SingleSpike
    from sinabs.nir import to_nir

    def neuron():
        return sl.IAFSqueeze(
            batch_size=BATCH,
            spike_threshold=torch.tensor(1.0),
            spike_fn=SingleSpike,
            reset_fn=reset,
        )

    pool = [sl.SumPool2d(2)] if hooked_pool else []
    side = 3 if hooked_pool else 6
    layers = [
        torch.nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        neuron(),
        torch.nn.Conv2d(4, 6, 3, padding=1, bias=bias),
        neuron(),
        *pool,
        torch.nn.Flatten(),
        torch.nn.Linear(6 * side * side, 5, bias=False),
        neuron(),
    ]
    network = torch.nn.Sequential(*layers)
    with torch.no_grad():
        for layer in layers:
            if hasattr(layer, "weight"):
                layer.weight *= 4 if isinstance(layer, torch.nn.Linear) else 1.5 if bias else 2.5
    x = events(2, 12, 12)
    flat = x.transpose(0, 1).reshape(BATCH * STEPS, *x.shape[2:])  # squeezed layers want B first
    spikes = []
    for layer in layers:
        if isinstance(layer, sl.IAFSqueeze):
            layer.register_forward_hook(lambda _, __, out: spikes.append(out.detach()))
    with torch.no_grad():
        network(flat)
    recorded = [s.reshape(BATCH, STEPS, *s.shape[1:]).transpose(0, 1) for s in spikes]
    spikes = []
    graph = to_nir(network, flat)
    save(name, graph, x, recorded)


# ------------------------------------------------------------------------------------------- norse


def norse_for_chips(name):
    """Leaky neurons, one tau a layer, no leak and no bias."""
    import norse.torch as norse
    from norse.torch.utils.export_nir import to_nir

    def leaky(threshold, size):
        parameters = norse.LIFBoxParameters(
            tau_mem_inv=torch.full((size,), 80.0),
            v_leak=torch.zeros(size),
            v_th=torch.full((size,), threshold),
            v_reset=torch.zeros(size),
        )
        return norse.LIFBoxCell(parameters, dt=0.001)

    layers = [
        torch.nn.Linear(12, 20, bias=False),
        leaky(0.05, 20),
        torch.nn.Linear(20, 6, bias=False),
        leaky(0.04, 6),
    ]
    network, x, spikes = norse.SequentialState(*layers), events(12), [[], []]
    for number, index in enumerate((1, 3)):
        network[index].register_forward_hook(
            lambda _, __, out, number=number: spikes[number].append(out[0].detach())
        )
    state = None
    with torch.no_grad():
        for x_t in x:
            _, state = network(x_t, state)
    recorded = [torch.stack(s) for s in spikes]
    save(name, to_nir(network, x[0, 0], dt=1000.0), x, recorded)


def norse_chain(name, sizes):
    """Leaky neurons with a leak that is not 0, and integrate-and-fire; `sizes` of the parameters."""
    import norse.torch as norse
    from norse.torch.utils.export_nir import to_nir

    def leaky(threshold, *size):
        return norse.LIFBoxCell(
            norse.LIFBoxParameters(
                tau_mem_inv=torch.linspace(60, 120, size[0]) if size else torch.tensor(80.0),
                v_leak=torch.full(size, 0.1),
                v_th=torch.full(size, threshold),
            ),
            dt=0.001,
        )

    layers = [
        leaky(0.15, *sizes[0]),
        torch.nn.Linear(20, 10),
        norse.IAFCell(norse.IAFParameters(v_th=torch.full(sizes[1], 0.5))),
        torch.nn.Linear(10, 6, bias=False),
        leaky(0.12, *sizes[2]),
    ]
    network = norse.SequentialState(torch.nn.Linear(12, 20), *layers)
    x = events(12)
    spikes = [[], [], []]
    cells = [i for i, layer in enumerate(network) if hasattr(layer, "p")]
    for number, index in enumerate(cells):
        network[index].register_forward_hook(
            lambda _, __, out, number=number: spikes[number].append(out[0].detach())
        )
    # Norse starts at v_leak; a file cannot say that, and NIR's membranes start at 0.
    state = [None] * len(network)
    for index, width in ((1, 20), (5, 6)):
        state[index] = norse.LIFBoxFeedForwardState(v=torch.zeros(BATCH, width))
    with torch.no_grad():
        for x_t in x:
            _, state = network(x_t, state)
    recorded = [torch.stack(s) for s in spikes]
    # It writes tau = dt / tau_mem_inv, so 1/0.001 makes steps of it, and r = 1 of IF what it ran. The
    # sample has no batch axis: it would become a part of Input's shape.
    graph = to_nir(network, x[0, 0], dt=1000.0)
    save(name, graph, x, recorded)


# ---------------------------------------------------------------------------------------- snntorch


def snntorch_recurrent(name, kind, reset, bias, at_once):
    """A recurrent layer with a weight among all neurons, then a layer with a beta per neuron.

    `at_once`: the reset follows the spike at once, as in NIR, and not in the next step, where "zero"
    also loses that step's input. The current-based layers of snnTorch 1.0.0 cannot do it by
    themselves, so their membranes are set to 0 from outside.
    """
    import snntorch
    from snntorch.export_nir import export_to_nir

    options = {"reset_mechanism": reset, "init_hidden": True, "reset_delay": True}
    beta, thresholds = torch.linspace(0.5, 0.95, 7), torch.full((7,), 0.8)

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.fc1 = torch.nn.Linear(12, 16)
            self.fc2 = torch.nn.Linear(16, 7)
            if kind == "RSynaptic":
                self.lif1 = snntorch.RSynaptic(0.7, 0.85, linear_features=16, **options)
                self.lif2 = snntorch.Synaptic(
                    torch.linspace(0.2, 0.6, 7), beta, threshold=thresholds, **options
                )
            else:
                options["reset_delay"] = not at_once
                self.lif1 = snntorch.RLeaky(0.85, linear_features=16, **options)
                self.lif2 = snntorch.Leaky(beta, threshold=thresholds, **options)
            if not bias:
                self.lif1.recurrent = torch.nn.Linear(16, 16, bias=False)

        def forward(self, x):
            return self.lif2(self.fc2(self.lif1(self.fc1(x))))

    def zero(layer, _, out):
        layer.mem = layer.mem * (1 - out)

    network = Network()
    with torch.no_grad():
        network.lif1.recurrent.weight *= 1.5
        if bias:
            network.lif1.recurrent.bias.copy_(torch.linspace(-0.3, 0.3, 16))
    x = events(12)
    spikes = [[], []]
    for number, layer in enumerate((network.lif1, network.lif2)):
        layer.register_forward_hook(
            lambda _, __, out, number=number: spikes[number].append(out.detach())
        )
        if kind == "RSynaptic" and at_once:
            layer.register_forward_hook(zero)
    with torch.no_grad():
        network(x[0])  # the first call makes the states
        for layer in (network.lif1, network.lif2):
            layer.reset_mem()
        for record in spikes:
            record.clear()
        for x_t in x:
            network(x_t)
    recorded = [torch.stack(s) for s in spikes]
    graph = export_to_nir(network, x[0], ignore_dims=[0])
    save(name, graph, x, recorded)


def snntorch_for_chips(name):
    """A recurrent leaky layer and a leaky one, one beta a layer, no bias; reset to 0 at once."""
    import snntorch
    from snntorch.export_nir import export_to_nir

    options = {"reset_mechanism": "zero", "init_hidden": True, "reset_delay": False}
    hidden = snntorch.RLeaky(0.875, linear_features=16, threshold=torch.full((16,), 0.5), **options)
    hidden.recurrent = torch.nn.Linear(16, 16, bias=False)
    out = snntorch.Leaky(torch.full((7,), 0.75), threshold=torch.full((7,), 0.4), **options)
    network = torch.nn.Sequential(
        torch.nn.Linear(12, 16, bias=False), hidden, torch.nn.Linear(16, 7, bias=False), out
    )
    x, spikes = events(12), [[], []]
    for number, layer in enumerate((hidden, out)):
        layer.register_forward_hook(
            lambda _, __, out, number=number: spikes[number].append(out.detach())
        )
    with torch.no_grad():
        network(x[0])  # the first call makes the states
        hidden.reset_mem(), out.reset_mem()
        for record in spikes:
            record.clear()
        for x_t in x:
            network(x_t)
    recorded = [torch.stack(s) for s in spikes]
    save(name, export_to_nir(network, x[0], ignore_dims=[0]), x, recorded)


# ------------------------------------------------------------------------------------ spikingjelly


def spikingjelly_for_chips(name):
    """A convolution, IF, LIF whose input does not decay; no bias, no pooling, reset to 0."""
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    network = torch.nn.Sequential(
        layer.Conv2d(2, 4, 3, stride=2, padding=1, bias=False),
        neuron.IFNode(v_threshold=0.7, v_reset=0.0),
        layer.Flatten(),
        layer.Linear(4 * 6 * 6, 5, bias=False),
        neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.3, v_reset=0.0),
    )
    functional.set_step_mode(network, "m")
    with torch.no_grad():
        network[0].weight *= 2
        network[3].weight *= 4
    x, spikes = events(2, 12, 12), []
    for part in network:
        if isinstance(part, neuron.BaseNode):
            part.register_forward_hook(lambda _, __, out: spikes.append(out.detach()))
    with torch.no_grad():
        network(x)
    recorded, spikes[:] = list(spikes), []
    functional.reset_net(network)
    save(name, export_to_nir(network, x, dt=1e-3), x, recorded)


def spikingjelly_cnn(name):
    """Convolutions, IF, decaying LIF with inputs that decay and that do not, average pooling."""
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    network = torch.nn.Sequential(
        layer.Conv2d(2, 4, 3, padding=1, dilation=1, bias=False),
        neuron.IFNode(v_threshold=0.7, v_reset=0.1),
        layer.AvgPool2d(2),
        layer.Conv2d(4, 4, (3, 3), stride=(2, 1), padding=1),
        neuron.LIFNode(tau=3.0, decay_input=True, v_threshold=0.1, v_reset=0.0),
        layer.Flatten(),
        layer.Linear(4 * 3 * 6, 6),
        neuron.LIFNode(tau=5.0, decay_input=False, v_threshold=0.2, v_reset=-0.1),
        layer.Linear(6, 5, bias=False),
        neuron.CUBALIFNode(c_decay=0.4, v_decay=0.7, v_threshold=0.2, v_reset=0.0),
    )
    functional.set_step_mode(network, "m")
    with torch.no_grad():
        for part in network:
            if hasattr(part, "weight"):
                part.weight *= 2
    x = events(2, 12, 12)
    spikes = []
    for part in network:
        if isinstance(part, neuron.BaseNode):
            part.register_forward_hook(lambda _, __, out: spikes.append(out.detach()))
            part.v = 0.0  # it starts at v_reset, which a file cannot say
    with torch.no_grad():
        network(x)
    recorded, spikes[:] = list(spikes), []
    functional.reset_net(network)
    graph = export_to_nir(network, x, dt=1e-3)
    save(name, graph, x, recorded)


# ---------------------------------------------------------------------------------------- rockpool


def rockpool_chain(name, uniform=False):
    """Current-based leaky neurons, two layers, each with a tau and a threshold; spikes are counts.

    `uniform`: one tau and one threshold a layer, no bias.
    """
    from pipeline.interop import quirks

    quirks.leave_out_samna()
    from rockpool.nn.combinators import Sequential
    from rockpool.nn.modules.torch import LIFTorch, LinearTorch
    from rockpool.nn.modules.torch.nir import to_nir

    def between(first, last, width):
        return torch.full((width,), last) if uniform else torch.linspace(first, last, width)

    def neurons(width):
        return LIFTorch(
            width,
            tau_mem=between(0.004, 0.012, width),
            tau_syn=between(0.002, 0.005, width).reshape(width, 1),
            threshold=between(0.6, 1.2, width),
            bias=torch.zeros(width),
            dt=1e-3,
        )

    layers = [
        LinearTorch((12, 16), has_bias=False),
        neurons(16),
        LinearTorch((16, 5), has_bias=not uniform),
        neurons(5),
    ]
    with torch.no_grad():
        layers[0].weight *= 0.5
        if not uniform:
            layers[2].bias.copy_(torch.linspace(-0.05, 0.05, 5))
    x = events(12)
    recorded, now = [], x.transpose(0, 1)  # Rockpool's modules take (B, T, ...)
    with torch.no_grad():
        for layer in layers:
            now = layer(now)[0]
            if isinstance(layer, LIFTorch):
                recorded.append(now.transpose(0, 1))
    network = Sequential(*layers)
    save(name, to_nir(network), x, recorded)


def sinabs_case(name, reset, pooled, bias=True):
    """`reset` is the name of one of sinabs' reset functions."""
    import sinabs.activation

    sinabs_cnn(name, getattr(sinabs.activation, reset)(), pooled, bias)


CASES = {
    "sinabs_cnn_zero": (sinabs_case, "MembraneReset", True),
    "sinabs_cnn_subtract": (sinabs_case, "MembraneSubtract", False),
    "norse_lif_if": (norse_chain, ((20,), (10,), (6,))),
    "norse_scalars": (norse_chain, ((), (), ())),
    "snntorch_rsynaptic_bias_zero": (snntorch_recurrent, "RSynaptic", "zero", True, True),
    "snntorch_rsynaptic_subtract": (snntorch_recurrent, "RSynaptic", "subtract", False, False),
    "snntorch_rleaky_bias_zero": (snntorch_recurrent, "RLeaky", "zero", True, True),
    "snntorch_rleaky_subtract": (snntorch_recurrent, "RLeaky", "subtract", True, False),
    "spikingjelly_cnn": (spikingjelly_cnn,),
    "chips_sinabs": (sinabs_case, "MembraneReset", True, False),
    "chips_norse": (norse_for_chips,),
    "chips_snntorch": (snntorch_for_chips,),
    "chips_spikingjelly": (spikingjelly_for_chips,),
}
IN_VENDORS = {
    "rockpool_chain": (rockpool_chain,),
    "chips_rockpool": (rockpool_chain, True),
}  # Rockpool lives in the other environment


def main():
    for name in sys.argv[1:] or CASES:
        torch.manual_seed(0)
        make, *options = (CASES | IN_VENDORS)[name]
        make(name, *options)


if __name__ == "__main__":
    main()
