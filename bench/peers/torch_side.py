"""One torch contender of `bench.train`, run by .venv-peers: `python torch_side.py WHO TASK T B`.

The same networks, shapes and loss as ours, in each framework's own idiom: the Braille network (12 -
38 recurrent - 7, current-based neurons) and the spiking CNN of N-MNIST. Answers as `jax_side` does.
"""

from __future__ import annotations

import importlib.metadata
import json
import resource
import sys
import time

import torch
from torch import nn

ALPHA, BETA, ALPHA_OUT, BETA_OUT = 0.55, 0.9, 0.5, 0.55
HIDDEN, TAXELS = 38, 12


class Spike(torch.autograd.Function):
    """Heaviside step with SuperSpike's gradient, as Spyx has it."""

    @staticmethod
    def forward(context, u, slope):
        context.save_for_backward(u)
        context.slope = slope
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(context, gradient):
        (u,) = context.saved_tensors
        return gradient / (1 + context.slope * u.abs()) ** 2, None


class PlainBraille(nn.Module):
    """Torch alone, one step after the other."""

    def __init__(self):
        super().__init__()
        self.inputs = nn.Linear(TAXELS, HIDDEN, bias=False)
        self.back = nn.Linear(HIDDEN, HIDDEN, bias=False)
        self.out = nn.Linear(HIDDEN, 7, bias=False)

    def forward(self, x):
        drive = self.inputs(x)
        zeros = x.new_zeros(x.shape[1], HIDDEN)
        i, v, z = zeros, zeros, zeros
        hidden = []
        for t in range(len(x)):
            i = ALPHA * i + drive[t] + self.back(z)
            u = BETA * v + i
            z = Spike.apply(u - 1, 5.0)
            v = torch.where(u > 1, 0.0, u)
            hidden.append(z)
        drive = self.out(torch.stack(hidden))
        i = v = x.new_zeros(x.shape[1], 7)
        outputs = []
        for t in range(len(x)):
            i = ALPHA_OUT * i + drive[t]
            u = BETA_OUT * v + i
            outputs.append(Spike.apply(u - 1, 5.0))
            v = torch.where(u > 1, 0.0, u)
        return torch.stack(outputs)


def snntorch_braille():
    import snntorch
    from snntorch import surrogate

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            spike = surrogate.fast_sigmoid(slope=5)
            self.inputs = nn.Linear(TAXELS, HIDDEN, bias=False)
            self.hidden = snntorch.RSynaptic(
                ALPHA, BETA, linear_features=HIDDEN, reset_mechanism="zero", spike_grad=spike
            )
            self.out = nn.Linear(HIDDEN, 7, bias=False)
            self.readout = snntorch.Synaptic(
                ALPHA_OUT, BETA_OUT, reset_mechanism="zero", spike_grad=spike
            )

        def forward(self, x):
            state, last = self.hidden.init_rsynaptic(), (None, *self.readout.init_synaptic())
            outputs = []
            for x_t in x:
                state = self.hidden(self.inputs(x_t), *state)
                last = self.readout(self.out(state[0]), *last[1:])
                outputs.append(last[0])
            return torch.stack(outputs)

    return Network()


def norse_braille():
    import norse.torch as norse

    recurrent = norse.LIFRecurrent(TAXELS, HIDDEN)
    return nn.ModuleList(
        [recurrent, nn.Linear(HIDDEN, 7, bias=False), norse.LIF()]
    ), lambda layers, x: layers[2](layers[1](layers[0](x)[0]))[0]


def cnn(neuron, pool, convolution=nn.Conv2d, flat=None, linear=nn.Linear):
    """The layers of the spiking CNN; what a framework wraps is given."""
    return nn.Sequential(
        convolution(2, 16, 5, stride=2, padding=1, bias=False),
        neuron(),
        convolution(16, 16, 3, padding=1, bias=False),
        neuron(),
        pool(),
        convolution(16, 8, 3, padding=1, bias=False),
        neuron(),
        pool(),
        flat or nn.Flatten(),
        linear(128, 256, bias=False),
        neuron(),
        linear(256, 10, bias=False),
        neuron(),
    )


class SumPool(nn.Module):
    def forward(self, x):
        return 4 * nn.functional.avg_pool2d(x, 2)


def spikingjelly_cnn():
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    net = cnn(
        lambda: neuron.IFNode(
            v_reset=0.0, detach_reset=True, surrogate_function=surrogate.ATan(), step_mode="m"
        ),
        lambda: layer.SeqToANNContainer(SumPool()),
        lambda *a, **k: layer.Conv2d(*a, step_mode="m", **k),
        layer.Flatten(step_mode="m"),
        lambda *a, **k: layer.Linear(*a, step_mode="m", **k),
    )

    def forward(net, x):
        functional.reset_net(net)
        return net(x)

    return net, forward


def snntorch_cnn():
    import snntorch
    from snntorch import surrogate, utils

    net = cnn(
        lambda: snntorch.Leaky(
            1.0,
            reset_mechanism="zero",
            spike_grad=surrogate.fast_sigmoid(slope=1),
            init_hidden=True,
        ),
        SumPool,
    )

    def forward(net, x):
        utils.reset(net)
        return torch.stack([net(x_t) for x_t in x])

    return net, forward


def sinabs_cnn(batch):
    import sinabs.layers as sl

    def forward(net, x):
        steps, batch = x.shape[:2]
        for part in net.modules():
            if hasattr(part, "reset_states"):
                part.reset_states()
        return (
            net(x.transpose(0, 1).reshape(steps * batch, *x.shape[2:]))
            .reshape(batch, steps, -1)
            .transpose(0, 1)
        )

    return cnn(lambda: sl.IAFSqueeze(batch_size=batch, min_v_mem=None), SumPool), forward


def plain_cnn():
    class Fire(nn.Module):
        def forward(self, x):
            v, out = torch.zeros_like(x[0]), []
            for x_t in x:
                u = v + x_t
                out.append(Spike.apply(u - 1, 1.0))
                v = torch.where(u > 1, 0.0, u)
            return torch.stack(out)

    net = cnn(Fire, SumPool)

    def forward(net, x):
        for part in net:
            fire = isinstance(part, Fire)
            x = part(x) if fire else part(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return x

    return net, forward


def build(who, task, batch):
    """A module and how it is called on (T, B, ...)."""
    plain = nn.Module.__call__
    if task == "braille":
        if who == "norse":
            return norse_braille()
        return {"torch": PlainBraille, "snntorch": snntorch_braille}[who](), plain
    if who == "sinabs":
        return sinabs_cnn(batch)
    return {"torch": plain_cnn, "snntorch": snntorch_cnn, "spikingjelly": spikingjelly_cnn}[who]()


def main(who, task, steps, batch):
    torch.manual_seed(0)
    net, forward = build(who, task, batch)
    shape = (TAXELS,) if task == "braille" else (2, 34, 34)
    x = (torch.rand(steps, batch, *shape) < 0.05).float()
    labels = torch.randint(0, 7 if task == "braille" else 10, (batch,))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)

    def train():
        optimiser.zero_grad()
        nn.functional.cross_entropy(0.3 * forward(net, x).sum(0), labels).backward()
        optimiser.step()

    @torch.no_grad()
    def infer():
        forward(net, x).sum(0)

    before = time.perf_counter()
    train()
    first = time.perf_counter() - before
    infer()
    names = ("torch",) if who == "torch" else ("torch", who)
    facts = {
        "first_step_s": first,
        "threads": torch.get_num_threads(),
        "versions": {name: importlib.metadata.version(name) for name in names},
    }
    print(json.dumps(facts), flush=True)
    for line in sys.stdin:
        if line.strip() == "memory":
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, flush=True)
            continue
        before = time.perf_counter(), time.process_time()
        train() if line.strip() == "train" else infer()
        print(time.perf_counter() - before[0], time.process_time() - before[1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
