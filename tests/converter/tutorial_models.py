"""Models written as the public tutorials of Spyx and Flax write them: classes with their own `__call__`.

EXPORTED: name -> (model, shape of the input, shape of the output), channels first; tuples of shapes for
several outputs. REFUSED: the same, and the source line (text of the class) that the error must point at.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from flax import nnx
from spyx import axn

from spyx_nir import neurons

RNGS = nnx.Rngs(3)
RANDOM = np.random.default_rng(3)


def dense(inner, outer, gain=2.0, kind=nnx.Linear, **options):
    def draw(_, shape, dtype):
        return jnp.asarray(RANDOM.normal(0.3, gain / np.sqrt(shape[0]), shape), dtype)

    return kind(inner, outer, kernel_init=draw, rngs=RNGS, **options)


def conv(inner, outer, size=3, **options):
    def draw(_, shape, dtype):
        return jnp.asarray(RANDOM.normal(0.1, 0.6, shape), dtype)

    return nnx.Conv(inner, outer, (size, size), kernel_init=draw, rngs=RNGS, **options)


def lif(*shape, **options):
    return snn.LIF(shape, 0.8, rngs=RNGS, **options)


def trained_norm(size):
    """A BatchNorm in eval mode with the statistics of some training."""
    norm = nnx.BatchNorm(size, use_running_average=True, rngs=RNGS)
    norm.mean[...] = jnp.asarray(RANDOM.normal(0, 0.3, size), jnp.float32)
    norm.var[...] = jnp.asarray(RANDOM.uniform(0.3, 2, size), jnp.float32)
    norm.scale[...] = jnp.asarray(RANDOM.uniform(0.5, 2, size), jnp.float32)
    norm.bias[...] = jnp.asarray(RANDOM.normal(0.1, 0.2, size), jnp.float32)
    return norm


# ------------------------------------------------------------------- over all steps, batch first


class CoreInside(nnx.Module):
    """The surrogate gradient tutorial of Spyx."""

    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), lif(8), dense(8, 4), snn.LI((4,), rngs=RNGS))

    def __call__(self, x_BTC):
        x_TBC = jnp.transpose(x_BTC, (1, 0, 2))
        traces, _ = snn.run(self.core, x_TBC)
        return jnp.transpose(traces, (1, 0, 2))


class BatchMajor(nnx.Module):
    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), snn.RLIF((8,), 0.7, rngs=RNGS), dense(8, 4))

    def __call__(self, x):
        return snn.run(self.core, x, batch_major=True)[0]


class TimeMajor(nnx.Module):
    def __init__(self):
        self.net = snn.Sequential(dense(6, 8), snn.CuBaLIF((8,), 0.5, 0.8, rngs=RNGS))

    def __call__(self, x_TBC):
        return snn.run(self.net, x_TBC)


class SpikeTaps(nnx.Module):
    """The SHD template of Spyx: a loop of its own, and the spikes of the hidden layers as outputs."""

    def __init__(self):
        self.l1, self.lif1 = dense(6, 8), lif(8)
        self.l2, self.lif2 = dense(8, 8), lif(8)
        self.l3, self.li = dense(8, 4), snn.LI((4,), rngs=RNGS)

    def __call__(self, x_BTC):
        x_TBC = jnp.transpose(x_BTC, (1, 0, 2))
        batch = x_TBC.shape[1]
        start = tuple(part.initial_state(batch) for part in (self.lif1, self.lif2, self.li))

        def step(carry, x_t):
            s1, s2, s3 = carry
            sp1, s1 = self.lif1(self.l1(x_t), s1)
            sp2, s2 = self.lif2(self.l2(sp1), s2)
            v, s3 = self.li(self.l3(sp2), s3)
            return (s1, s2, s3), (sp1, sp2, v)

        _, (sp1, sp2, v) = jax.lax.scan(step, start, x_TBC)
        return jnp.transpose(v, (1, 0, 2)), [
            jnp.transpose(sp1, (1, 0, 2)),
            jnp.transpose(sp2, (1, 0, 2)),
        ]


class LayerByLayer(nnx.Module):
    """Weights over all steps at once, neurons one after the other."""

    def __init__(self):
        self.fc1, self.lif1 = dense(6, 8), lif(8)
        self.fc2, self.lif2 = dense(8, 4), lif(4)

    def __call__(self, x_TBC):
        spikes, _ = snn.run(self.lif1, self.fc1(x_TBC))
        spikes, _ = snn.run(self.lif2, self.fc2(spikes))
        return spikes


class Jitted(nnx.Module):
    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), lif(8))

    @nnx.jit
    def __call__(self, x):
        return snn.run(self.core, x)[0]


# ----------------------------------------------------------------------------- one step at a time


class Stepping(nnx.Module):
    """Attributes and one state for each neuron."""

    def __init__(self):
        self.fc1, self.lif1 = dense(6, 8), lif(8)
        self.fc2, self.lif2 = dense(8, 4), lif(4)

    def initial_state(self, batch):
        return self.lif1.initial_state(batch), self.lif2.initial_state(batch)

    def __call__(self, x, state):
        s1, s2 = state
        x, s1 = self.lif1(self.fc1(x), s1)
        x, s2 = self.lif2(self.fc2(x), s2)
        return x, (s1, s2)


class NamedStates(nnx.Module):
    def __init__(self):
        self.encoder, self.hidden, self.head = dense(6, 8), lif(8), dense(8, 4)

    def initial_state(self, batch):
        return {"hidden": self.hidden.initial_state(batch), "steps": jnp.zeros(())}

    def __call__(self, x, state):
        z, hidden = self.hidden(self.encoder(x), state["hidden"])
        return self.head(z), {"hidden": hidden, "steps": state["steps"] + 1}


class CoreStepping(nnx.Module):
    """No `initial_state` of its own: that of its only part."""

    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), lif(8))

    def __call__(self, x, state):
        return self.core(x, state)


class Residual(nnx.Module):
    def __init__(self):
        self.inner, self.neuron = dense(6, 6), lif(6)
        self.head, self.out = dense(6, 4), lif(4)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch), self.out.initial_state(batch)

    def __call__(self, x, state):
        y, first = self.neuron(self.inner(x), state[0])
        y, second = self.out(self.head(x + y), state[1])
        return y, (first, second)


class ResidualCurrent(nnx.Module):
    """Two currents into one neuron."""

    def __init__(self):
        self.direct, self.a, self.lif_a, self.b = dense(6, 4), dense(6, 8), lif(8), dense(8, 4)
        self.out = lif(4)

    def initial_state(self, batch):
        return [self.lif_a.initial_state(batch), self.out.initial_state(batch)]

    def __call__(self, x, state):
        hidden, first = self.lif_a(self.a(x), state[0])
        current = self.direct(x) + self.b(hidden)
        spikes, second = self.out(current, state[1])
        return spikes, [first, second]


class TwoHeads(nnx.Module):
    def __init__(self):
        self.trunk, self.neuron = dense(6, 8), lif(8)
        self.policy, self.value = dense(8, 3), dense(8, 1)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        z, state = self.neuron(self.trunk(x), state)
        return {"policy": self.policy(z), "value": self.value(z)}, state


class Shared(nnx.Module):
    """One weight in two places."""

    def __init__(self):
        self.fc, self.first, self.second = dense(6, 6), lif(6), lif(6)

    def initial_state(self, batch):
        return self.first.initial_state(batch), self.second.initial_state(batch)

    def __call__(self, x, state):
        x, a = self.first(self.fc(x), state[0])
        x, b = self.second(self.fc(x), state[1])
        return x, (a, b)


class Twice(nnx.Module):
    """The same spikes added to themselves."""

    def __init__(self):
        self.fc, self.neuron, self.head = dense(6, 8), lif(8), dense(8, 4)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        z, state = self.neuron(self.fc(x), state)
        return self.head(z + z), state


class Blocks(nnx.Module):
    """A list of blocks, each a module of its own."""

    def __init__(self):
        self.blocks = nnx.List([Stepping(), Block(4, 6), Block(6, 3)])

    def initial_state(self, batch):
        return [block.initial_state(batch) for block in self.blocks]

    def __call__(self, x, states):
        after = []
        for block, state in zip(self.blocks, states, strict=True):
            x, state = block(x, state)
            after.append(state)
        return x, after


class Block(nnx.Module):
    def __init__(self, inner, outer):
        self.weight, self.neuron = dense(inner, outer), lif(outer)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.weight(x), state)


class DenseNet(nnx.Module):
    """Skip connections by concatenation."""

    def __init__(self):
        self.a, self.b, self.c = Block(6, 5), Block(11, 4), Block(15, 3)

    def initial_state(self, batch):
        return tuple(part.initial_state(batch) for part in (self.a, self.b, self.c))

    def __call__(self, x, state):
        a, first = self.a(x, state[0])
        x = jnp.concatenate([x, a], axis=-1)
        b, second = self.b(x, state[1])
        c, third = self.c(jnp.concatenate([x, b], axis=-1), state[2])
        return c, (first, second, third)


class Split(nnx.Module):
    """Excitatory and inhibitory halves, of which one is subtracted."""

    def __init__(self):
        self.cells = Block(6, 8)
        self.excite, self.inhibit, self.out = dense(4, 3), dense(4, 3), lif(3)

    def initial_state(self, batch):
        return self.cells.initial_state(batch), self.out.initial_state(batch)

    def __call__(self, x, state):
        z, first = self.cells(x, state[0])
        current = self.excite(z[:, :4]) - self.inhibit(z[:, 4:])
        z, second = self.out(current, state[1])
        return z, (first, second)


class OwnWeight(nnx.Module):
    """The first module of Flax's documentation: a matrix and a bias of its own."""

    def __init__(self):
        self.w = nnx.Param(jnp.asarray(RANDOM.normal(0.2, 0.8, (6, 8)), jnp.float32))
        self.b = nnx.Param(jnp.asarray(RANDOM.normal(0, 0.2, 8), jnp.float32))
        self.neuron = lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(x @ self.w + self.b, state)


class Masked(nnx.Module):
    """A sparse weight: the product of a kernel and a mask."""

    def __init__(self):
        self.w = nnx.Param(jnp.asarray(RANDOM.normal(0.2, 0.8, (6, 8)), jnp.float32))
        self.mask = jnp.asarray(RANDOM.integers(0, 2, (6, 8)), jnp.float32)
        self.neuron = lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(jnp.dot(x, self.w[...] * self.mask), state)


class Gains(nnx.Module):
    """Constants between the layers: NIR's Scale."""

    def __init__(self):
        self.fc, self.neuron = dense(6, 8), lif(8)
        self.gain = nnx.Param(jnp.linspace(0.5, 1.5, 8))

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        z, state = self.neuron(self.gain * self.fc(x) / 2.0, state)
        return -z, state


class Normed(nnx.Module):
    def __init__(self):
        self.fc, self.norm, self.drop = dense(6, 8), trained_norm(8), nnx.Dropout(0.5, rngs=RNGS)
        self.neuron, self.head = lif(8), dense(8, 4)
        self.eval()

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        z, state = self.neuron(self.norm(self.fc(x)), state)
        return self.head(self.drop(z)), state


class NormedFirst(nnx.Module):
    """A BatchNorm on the input: nothing is before it."""

    def __init__(self):
        self.norm, self.fc, self.neuron = trained_norm(6), dense(6, 8), lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        x = self.norm(x, use_running_average=True)
        return self.neuron(self.fc(x), state)


class NormedSum(nnx.Module):
    """A BatchNorm between a sum and a neuron."""

    def __init__(self):
        self.a, self.b, self.norm, self.neuron = dense(6, 8), dense(6, 8), trained_norm(8), lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.norm(self.a(x) + self.b(x)), state)


class Lora(nnx.Module):
    def __init__(self):
        self.fc = dense(6, 8, kind=functools.partial(nnx.LoRALinear, lora_rank=2))
        self.fc.lora.lora_b[...] = jnp.asarray(RANDOM.normal(0, 0.4, (2, 8)), jnp.float32)
        self.head = nnx.LoRA(8, 2, 4, base_module=dense(8, 4), rngs=RNGS)
        self.head.lora_b[...] = jnp.asarray(RANDOM.normal(0, 0.4, (2, 4)), jnp.float32)
        self.neuron, self.out = lif(8), lif(4)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch), self.out.initial_state(batch)

    def __call__(self, x, state):
        z, first = self.neuron(self.fc(x), state[0])
        z, second = self.out(self.head(z), state[1])
        return z, (first, second)


class WeightNormed(nnx.Module):
    def __init__(self):
        self.fc = nnx.WeightNorm(dense(6, 8), scale_init=nnx.initializers.constant(3.0), rngs=RNGS)
        self.neuron = lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.fc(x), state)


class Closure(nnx.Module):
    """A layer that is a lambda over another attribute."""

    def __init__(self):
        self.fc, self.neuron = dense(6, 8), lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        layers = [lambda x: self.fc(x), lambda x: x * 0.5]
        for layer in layers:
            x = layer(x)
        return self.neuron(x, state)


class Exact(nnx.Module):
    """The neurons of spyx_nir.neurons, recurrent."""

    def __init__(self):
        self.fc = dense(6, 8)
        self.cell = neurons.Recurrent(neurons.CubaLIF((8,), 0.5, 0.875), rngs=RNGS)

    def initial_state(self, batch):
        return self.cell.initial_state(batch)

    def __call__(self, x, state):
        return self.cell(self.fc(x), state)


class CountsSpikes(nnx.Module):
    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), lif(8), snn.ActivityRegularization((8,)))

    def initial_state(self, batch):
        return self.core.initial_state(batch)

    def __call__(self, x, state):
        return self.core(x, state)


class Inputs(nnx.Module):
    """Two inputs by name."""

    def __init__(self):
        self.eye, self.ear, self.neuron = dense(6, 8), dense(5, 8), lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.eye(x["eye"]) + self.ear(x["ear"]), state)


class Stateless(nnx.Module):
    def __init__(self):
        self.a, self.b = dense(6, 8), dense(8, 4)

    def __call__(self, x):
        return self.b(self.a(x))


# ----------------------------------------------------------------------------------------- images


class Cnn(nnx.Module):
    """The CNN of Flax's tutorial with neurons in the place of ReLU."""

    def __init__(self):
        self.conv1, self.lif1 = conv(2, 4), lif(8, 8, 4)
        self.conv2, self.lif2 = conv(4, 3), lif(4, 4, 3)
        self.pool = functools.partial(nnx.avg_pool, window_shape=(2, 2), strides=(2, 2))
        self.linear = dense(12, 5)

    def initial_state(self, batch):
        return self.lif1.initial_state(batch), self.lif2.initial_state(batch)

    def __call__(self, x, state):
        x, first = self.lif1(self.conv1(x), state[0])
        x, second = self.lif2(self.conv2(self.pool(x)), state[1])
        x = self.pool(x)
        x = x.reshape(x.shape[0], -1)
        return self.linear(x), (first, second)


class GlobalPool(nnx.Module):
    def __init__(self):
        self.conv, self.neuron, self.head = conv(2, 4), lif(8, 8, 4), dense(4, 5)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        x, state = self.neuron(self.conv(x), state)
        return self.head(jnp.mean(x, axis=(1, 2))), state


class ResNet(nnx.Module):
    """A residual block with BatchNorm, as in spiking ResNets."""

    def __init__(self):
        self.stem, self.norm0, self.lif0 = conv(2, 4), trained_norm(4), lif(8, 8, 4)
        self.conv1, self.norm1, self.lif1 = conv(4, 4), trained_norm(4), lif(8, 8, 4)
        self.pool, self.flat, self.head = (
            snn.SumPool((4, 4), (4, 4), "VALID"),
            snn.Flatten(),
            dense(16, 5),
        )

    def initial_state(self, batch):
        return self.lif0.initial_state(batch), self.lif1.initial_state(batch)

    def __call__(self, x, state):
        x, first = self.lif0(self.norm0(self.stem(x)), state[0])
        y, second = self.lif1(self.norm1(self.conv1(x)) + x, state[1])
        return self.head(self.flat(self.pool(x + y))), (first, second)


class NormedImage(nnx.Module):
    """A BatchNorm before a convolution with padding, which cannot take it."""

    def __init__(self):
        self.norm, self.conv, self.neuron = trained_norm(2), conv(2, 3), lif(8, 8, 3)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.conv(self.norm(x)), state)


class NormedValid(nnx.Module):
    def __init__(self):
        self.norm, self.conv = trained_norm(2), conv(2, 3, padding="VALID")
        self.neuron = lif(6, 6, 3)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        return self.neuron(self.conv(self.norm(x)), state)


class SamePool(nnx.Module):
    """Pooling with uneven padding, written in the call."""

    def __init__(self):
        self.conv, self.neuron, self.head = conv(2, 3), lif(8, 8, 3), dense(27, 4)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        x, state = self.neuron(self.conv(x), state)
        x = nnx.avg_pool(x, (3, 3), strides=(3, 3), padding="SAME")
        return self.head(jnp.reshape(x, (x.shape[0], -1))), state


def with_lambdas():
    """A Sequential whose reshapes and pooling are lambdas, as in Flax's tutorials."""
    return snn.Sequential(
        conv(2, 3),
        snn.IF((8, 8, 3)),
        lambda x: nnx.avg_pool(x, (4, 4), strides=(4, 4)),
        lambda x: x.reshape(x.shape[0], -1),
        dense(12, 4),
    )


EXPORTED = {
    "a core": (CoreInside, (6,), (4,)),
    "batch first": (BatchMajor, (6,), (4,)),
    "time first, with the last state": (TimeMajor, (6,), (8,)),
    "taps of hidden spikes": (SpikeTaps, (6,), ((4,), (8,), (8,))),
    "layer by layer": (LayerByLayer, (6,), (4,)),
    "under nnx.jit": (Jitted, (6,), (8,)),
    "attributes": (Stepping, (6,), (4,)),
    "states by name": (NamedStates, (6,), (4,)),
    "a core for one step": (CoreStepping, (6,), (8,)),
    "a residual sum": (Residual, (6,), (4,)),
    "two currents": (ResidualCurrent, (6,), (4,)),
    "two heads": (TwoHeads, (6,), {"policy": (3,), "value": (1,)}),
    "a shared weight": (Shared, (6,), (6,)),
    "a value twice": (Twice, (6,), (4,)),
    "blocks in a list": (Blocks, (6,), (3,)),
    "skips by concatenation": (DenseNet, (6,), (3,)),
    "halves": (Split, (6,), (3,)),
    "a weight of its own": (OwnWeight, (6,), (8,)),
    "a masked weight": (Masked, (6,), (8,)),
    "constant gains": (Gains, (6,), (8,)),
    "BatchNorm and Dropout": (Normed, (6,), (4,)),
    "BatchNorm first": (NormedFirst, (6,), (8,)),
    "BatchNorm of a sum": (NormedSum, (6,), (8,)),
    "LoRA": (Lora, (6,), (4,)),
    "WeightNorm": (WeightNormed, (6,), (8,)),
    "a lambda over an attribute": (Closure, (6,), (8,)),
    "exact neurons": (Exact, (6,), (8,)),
    "counted spikes": (CountsSpikes, (6,), (8,)),
    "two inputs": (Inputs, {"eye": (6,), "ear": (5,)}, (8,)),
    "no neuron": (Stateless, (6,), (4,)),
    "a CNN": (Cnn, (2, 8, 8), (5,)),
    "a mean over space": (GlobalPool, (2, 8, 8), (5,)),
    "a ResNet": (ResNet, (2, 8, 8), (5,)),
    "BatchNorm before padding": (NormedImage, (2, 8, 8), (3, 8, 8)),
    "BatchNorm before a convolution": (NormedValid, (2, 8, 8), (3, 6, 6)),
    "uneven pooling": (SamePool, (2, 8, 8), (4,)),
    "lambdas in a row": (with_lambdas, (2, 8, 8), (4,)),
}


# ---------------------------------------------------------------------------------------- refused


class Relu(Block):
    def __call__(self, x, state):
        x = jax.nn.relu(self.weight(x))
        return self.neuron(x, state)


class Softmax(Block):
    def __call__(self, x, state):
        z, state = self.neuron(self.weight(x), state)
        return jax.nn.softmax(z), state


class Gate(Block):
    def __call__(self, x, state):
        y = self.weight(x)
        return self.neuron(y * y, state)


class MaxPool(nnx.Module):
    def __init__(self):
        self.neuron = lif(4, 4, 2)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        x = nnx.max_pool(x, (2, 2), strides=(2, 2))
        return self.neuron(x, state)


class OwnNeuron(nnx.Module):
    """A neuron written out, as in Spyx's tutorial on neurons of one's own."""

    def __init__(self):
        self.weight, self.spike = dense(6, 8), axn.superspike()

    def initial_state(self, batch):
        return jnp.zeros((batch, 8))

    def __call__(self, x, v):
        z = self.spike(v - 1.0)
        v = 0.9 * v + self.weight(x) - z
        return z, v


class Adaptive(Block):
    def __init__(self, inner, outer):
        self.weight, self.neuron = dense(inner, outer), snn.ALIF((outer,), rngs=RNGS)

    def __call__(self, x, state):
        return self.neuron(self.weight(x), state)


class Normalised(Block):
    def __init__(self, inner, outer):
        super().__init__(inner, outer)
        self.norm = nnx.LayerNorm(outer, rngs=RNGS)

    def __call__(self, x, state):
        return self.neuron(self.norm(self.weight(x)), state)


class Training(Block):
    def __init__(self, inner, outer):
        super().__init__(inner, outer)
        self.norm = nnx.BatchNorm(outer, rngs=RNGS)

    def __call__(self, x, state):
        return self.neuron(self.norm(self.weight(x)), state)


class Rates(nnx.Module):
    """The class of a whole recording, not of a step."""

    def __init__(self):
        self.core = snn.Sequential(dense(6, 8), lif(8))

    def __call__(self, x):
        spikes, _ = snn.run(self.core, x)
        return spikes.mean(axis=0)


class PythonLoop(nnx.Module):
    def __init__(self):
        self.weight, self.neuron = dense(6, 8), lif(8)

    def __call__(self, x):
        state, outputs = self.neuron.initial_state(x.shape[1]), []
        for x_t in x:
            z, state = self.neuron(self.weight(x_t), state)
            outputs.append(z)
        return jnp.stack(outputs)


class Forgetful(Block):
    """Starts anew at every step."""

    def __call__(self, x, state):
        z, _ = self.neuron(self.weight(x), self.neuron.initial_state(x.shape[0]))
        return z, state


class Reset(Block):
    """Changes the membrane behind the neuron's back."""

    def __call__(self, x, state):
        z, state = self.neuron(self.weight(x), state)
        return z, state * (1 - z)


class Charged(Block):
    def initial_state(self, batch):
        return self.neuron.initial_state(batch) + 0.5


class Substeps(Block):
    """Two steps of the neuron in one."""

    def __call__(self, x, state):
        current = self.weight(x)
        _, state = self.neuron(current, state)
        return self.neuron(current, state)


class Backwards(nnx.Module):
    def __init__(self):
        self.neuron = lif(6)

    def __call__(self, x):
        def step(state, x_t):
            z, state = self.neuron(x_t, state)
            return state, z

        return jax.lax.scan(step, self.neuron.initial_state(x.shape[1]), x, reverse=True)[1]


class Ensemble(nnx.Module):
    def __init__(self):
        @nnx.vmap
        def members(key):
            return nnx.Linear(6, 8, rngs=nnx.Rngs(key))

        self.members = members(jax.random.split(jax.random.key(0), 4))
        self.neuron = lif(8)

    def initial_state(self, batch):
        return self.neuron.initial_state(batch)

    def __call__(self, x, state):
        run = nnx.vmap(lambda member, x: member(x), in_axes=(0, None))
        return self.neuron(run(self.members, x).sum(0), state)


class Feedback(Block):
    """A recurrence by hand, through the state."""

    def initial_state(self, batch):
        return self.neuron.initial_state(batch), jnp.zeros((batch, 6))

    def __call__(self, x, state):
        inner, before = state
        z, inner = self.neuron(self.weight(x + before), inner)
        return z, (inner, z)


class Constant(Block):
    def __call__(self, x, state):
        return self.neuron(self.weight(x) + self.neuron.initial_state(1) + 0.3 + x.sum() * 0, state)


class Half(Block):
    def __call__(self, x, state):
        return self.neuron(self.weight(x).astype(jnp.float16).astype(jnp.float32), state)


class Noise(Block):
    """A constant drawn once for every sample of the batch."""

    def __call__(self, x, state):
        noise = jax.random.normal(jax.random.key(0), (x.shape[0], 8))
        return self.neuron(self.weight(x) + noise, state)


class Attention(Block):
    def __call__(self, x, state):
        y = self.weight(x)
        scores = y @ y.T
        return self.neuron(scores @ y, state)


def block(kind, inner=6, outer=8):
    return lambda: kind(inner, outer)


REFUSED = {
    "ReLU": (block(Relu), (6,), (8,), "`max`", "jax.nn.relu("),
    "softmax": (block(Softmax), (6,), (8,), "jax.nn.softmax", "jax.nn.softmax("),
    "a product of signals": (block(Gate), (6,), (8,), "`mul`", "y * y"),
    "max pooling": (MaxPool, (2, 8, 8), (2, 4, 4), "SumPool", "nnx.max_pool("),
    "a neuron of its own": (OwnNeuron, (6,), (8,), "state", "self.spike(v"),
    "ALIF": (block(Adaptive), (6,), (8,), "train with", "self.neuron(self.weight(x), state)"),
    "LayerNorm": (block(Normalised), (6,), (8,), "BatchNorm", "self.norm(self.weight(x))"),
    "BatchNorm in training": (
        block(Training),
        (6,),
        (8,),
        "model.eval()",
        "self.norm(self.weight(x))",
    ),
    "a mean over time": (Rates, (6,), (8,), "`reduce_sum`", "spikes.mean("),
    "a loop in Python": (PythonLoop, (6,), (8,), "time", "for x_t in x"),
    "a state that is not carried": (
        block(Forgetful),
        (6,),
        (8,),
        "a state that is not",
        "self.neuron(self.weight(x), self.neuron",
    ),
    "a state that is changed": (
        block(Reset),
        (6,),
        (8,),
        "does not get the state",
        "self.neuron(self.weight(x), state)",
    ),
    "a charged start": (
        block(Charged),
        (6,),
        (8,),
        "does not start",
        "self.neuron(self.weight(x), state)",
    ),
    "two steps in one": (
        block(Substeps),
        (6,),
        (8,),
        "a state that is not",
        "return self.neuron(current",
    ),
    "time backwards": (Backwards, (6,), (6,), "`scan`", "jax.lax.scan("),
    "an ensemble": (Ensemble, (6,), (8,), "axis of 4", "member(x)"),
    "feedback by hand": (
        block(Feedback, 6, 6),
        (6,),
        (6,),
        "`add` on a neuron's state",
        "x + before",
    ),
    "a constant": (block(Constant), (6,), (8,), "`add`", "+ 0.3"),
    "half precision": (block(Half), (6,), (8,), "`convert_element_type`", "jnp.float16"),
    "noise": (block(Noise), (6,), (8,), "`add`", "+ noise"),
    "attention": (block(Attention), (6,), (8,), "no node", "y @ y.T"),
}
