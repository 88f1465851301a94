"""The networks of the two tasks, as `spyx.nn.Sequential` of Flax layers and neurons.

Sizes and decays are those of the NIR paper (Pedersen et al. 2024, doi 10.1038/s41467-024-52259-9).
No layer has a bias. `reset: v_reset` builds the neurons of `pipeline.neurons`, which plain NIR
expresses exactly; `reset: subtract` builds stock Spyx neurons.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import spyx.nn as snn
from flax import nnx
from spyx import axn

from pipeline import neurons, weights
from pipeline.errors import UserError
from pipeline.params import BrailleNetwork, NmnistNetwork, Task

TAXELS = 12
EVENT_FRAME = (2, 34, 34)  # polarity, height, width of N-MNIST


def build(task: Task) -> snn.Sequential:
    """The untrained network of `task`; its weights depend on `task.train.seed` alone."""
    network, classes = task.network, len(task.data.classes)
    random, rngs = np.random.default_rng(task.train.seed), nnx.Rngs(task.train.seed)
    if isinstance(network, BrailleNetwork):
        return _braille(task, network, classes, random, rngs)
    return _nmnist(network, classes, random, rngs)


def input_shape(task: Task) -> tuple[int, ...]:
    """Shape of one time step of one sample in NIR's order: (taxels,) or (C, H, W)."""
    return (TAXELS,) if isinstance(task.network, BrailleNetwork) else EVENT_FRAME


def output_shape(task: Task) -> tuple[int, ...]:
    """Shape of one time step of the output: (classes,)."""
    return (len(task.data.classes),)


def to_model_layout(events: Any) -> jax.Array:
    """Prepared events (N, T, ...) in NIR's order to what a network takes.

    Returns:
        (T, N, taxels) or (T, N, H, W, C), float32: time first, channels last.
    """
    events = jnp.asarray(events)
    order = (1, 0, 2) if events.ndim == 3 else (1, 0, 3, 4, 2)
    return events.transpose(order).astype(jnp.float32)


def snap_decay(decay: float, dt: float) -> float:
    """The float32 decay next to `decay` that survives the way through NIR's time constant.

    NIR stores tau = dt / (1 - decay) as float32 and a reader computes 1 - dt / tau. This applies
    that way, `dt` in the unit of tau, until the decay comes back unchanged, so that the exported
    and re-imported network is the trained one, bit for bit.

    Raises:
        ValueError: `decay` is not in [0, 1).
    """
    if not 0 <= decay < 1:
        raise ValueError(f"`decay` must be from 0 to below 1, got {decay!r}")
    snapped = np.float32(decay)
    for _ in range(100):
        tau = np.float32(dt / (1.0 - float(snapped)))
        back = np.float32(1.0 - dt / float(tau))
        if back == snapped:
            return float(snapped)
        snapped = back
    raise ValueError(f"`decay` {decay!r} does not settle for dt = {dt!r}")


def snapped(parameters: Mapping[str, Any], dt: float) -> dict[str, np.ndarray]:
    """`parameters`, named as by `named_parameters`, with every decay taken through `snap_decay`."""
    snap = np.vectorize(lambda decay: snap_decay(float(decay), dt), otypes=[np.float32])
    return {
        name: snap(value) if is_decay(name) else np.asarray(value)
        for name, value in parameters.items()
    }


def is_decay(name: str) -> bool:
    """Whether the parameter of this dotted name is a neuron's decay and no weight."""
    return name.rsplit(".", 1)[-1] in ("alpha", "beta")


def named_parameters(model: nnx.Module) -> dict[str, nnx.Param]:
    """Every parameter of `model` by its dotted path, such as `layers.0.kernel`, in sorted order."""
    flat = nnx.to_flat_state(nnx.state(model, nnx.Param))
    return dict(sorted((_dotted(path), parameter) for path, parameter in flat))


def save_weights(
    model: nnx.Module, task: Task, path: str | os.PathLike[str], **facts: object
) -> None:
    """Write the parameters of `model` with the task, its network and `facts` as metadata."""
    arrays = {name: np.asarray(value[...]) for name, value in named_parameters(model).items()}
    texts = {key: json.dumps(value) for key, value in facts.items()}
    weights.write(path, arrays, {"task": task.name, "network": _definition(task), **texts})


def from_weights(task: Task, path: str | os.PathLike[str]) -> snn.Sequential:
    """The network of `task` with the weights that `save_weights` wrote.

    Raises:
        UserError: the file is missing or broken, or belongs to another network.
    """
    arrays, metadata = weights.read(path)
    if metadata.get("network") != _definition(task):
        raise UserError(f"{path}: trained with other network parameters; run `dvc repro`")
    model = build(task)
    parameters = named_parameters(model)
    if arrays.keys() != parameters.keys():
        odd = sorted(arrays.keys() ^ parameters.keys())[0]
        raise UserError(f"{path}: `{odd}` is in the file or in the network, not in both")
    for name, parameter in parameters.items():
        if arrays[name].shape != parameter.shape or arrays[name].dtype != parameter.dtype:
            raise UserError(
                f"{path}: `{name}` is {arrays[name].dtype}{arrays[name].shape}, "
                f"the network has {parameter.dtype}{parameter.shape}"
            )
    return with_parameters(model, arrays)


def with_parameters(model: snn.Sequential, arrays: Mapping[str, Any]) -> snn.Sequential:
    """A copy of `model` with the parameters `arrays`, named as by `named_parameters`."""
    graph, state = nnx.split(model)
    flat = [
        (path, variable.replace(jnp.asarray(arrays[_dotted(path)])))
        if isinstance(variable, nnx.Param)
        else (path, variable)
        for path, variable in nnx.to_flat_state(state)
    ]
    return nnx.merge(graph, nnx.from_flat_state(flat))


def _dotted(path: tuple[Any, ...]) -> str:
    return ".".join(map(str, path))


def _definition(task: Task) -> str:
    """What of the parameters decides which function the weights stand for."""
    network = dataclasses.asdict(task.network)
    return json.dumps({**network, "outputs": len(task.data.classes)}, sort_keys=True)


def _braille(
    task: Task,
    network: BrailleNetwork,
    classes: int,
    random: np.random.Generator,
    rngs: nnx.Rngs,
) -> snn.Sequential:
    spike = axn.superspike(network.surrogate_slope)
    shared: dict[str, Any] = {"threshold": network.threshold, "activation": spike, "rngs": rngs}
    size = (network.hidden,)
    cell: Any
    recurrent: Any
    if network.reset == "v_reset":
        cell = neurons.CubaLIF(size, 0.0, 0.0, **shared)
        recurrent = neurons.Recurrent(cell, rngs=rngs)
        readout: Any = neurons.CubaLIF((classes,), 0.0, 0.0, **shared)
    else:
        cell = recurrent = snn.RCuBaLIF(size, 0.0, 0.0, **shared)
        # Spyx draws from a unit normal, which makes a network of this size fire at every step.
        recurrent.recurrent_w[...] *= 0.5 / np.sqrt(network.hidden).astype(np.float32)
        readout = snn.CuBaLIF((classes,), 0.0, 0.0, **shared)
    spread = np.random.default_rng([task.train.seed, 1])
    for layer, alpha, beta in (
        (cell, network.alpha_hidden, network.beta_hidden),
        (readout, network.alpha_out, network.beta_out),
    ):
        layer.alpha = nnx.Param(_decays(alpha, layer.hidden_shape, task, spread))
        layer.beta = nnx.Param(_decays(beta, layer.hidden_shape, task, spread))
    return snn.Sequential(
        nnx.Linear(
            TAXELS, network.hidden, use_bias=False, kernel_init=_normal(random, 1.0), rngs=rngs
        ),
        recurrent,
        nnx.Linear(
            network.hidden, classes, use_bias=False, kernel_init=_normal(random, 1.0), rngs=rngs
        ),
        readout,
    )


def _decays(
    decay: float, size: tuple[int, ...], task: Task, random: np.random.Generator
) -> jax.Array:
    """First decays of a layer: one for all, or one per neuron around `decay`, from 0.02 to 0.993."""
    network = task.network
    assert isinstance(network, BrailleNetwork)
    values = np.asarray(decay)
    if network.decays == "neuron":
        values = np.full(size, decay)
    if network.decays == "neuron" and network.decay_spread:
        logits = np.log(decay / (1 - decay)) + network.decay_spread * random.normal(size=size)
        values = 1 / (1 + np.exp(-logits.clip(-4, 5)))
    return jnp.asarray(snapped({"alpha": values}, task.export.dt)["alpha"])


def _nmnist(
    network: NmnistNetwork, classes: int, random: np.random.Generator, rngs: nnx.Rngs
) -> snn.Sequential:
    spike = axn.superspike(network.surrogate_slope)

    def fire(*shape: int) -> nnx.Module:
        neuron = neurons.IF if network.reset == "v_reset" else snn.IF
        return neuron(shape, threshold=network.threshold, activation=spike, rngs=rngs)

    def conv(inputs: int, outputs: int, size: int, stride: int, gain: float) -> nnx.Conv:
        return nnx.Conv(
            inputs,
            outputs,
            (size, size),
            strides=stride,
            padding=((1, 1), (1, 1)),
            use_bias=False,
            kernel_init=_normal(random, gain),
            rngs=rngs,
        )

    def linear(inputs: int, outputs: int, gain: float) -> nnx.Linear:
        return nnx.Linear(
            inputs, outputs, use_bias=False, kernel_init=_normal(random, gain), rngs=rngs
        )

    return snn.Sequential(
        conv(2, 16, size=5, stride=2, gain=4.0),
        fire(16, 16, 16),
        conv(16, 16, size=3, stride=1, gain=4.0),
        fire(16, 16, 16),
        snn.SumPool((2, 2), (2, 2), "VALID"),
        conv(16, 8, size=3, stride=1, gain=2.0),
        fire(8, 8, 8),
        snn.SumPool((2, 2), (2, 2), "VALID"),
        snn.Flatten(),
        linear(128, 256, gain=2.0),
        fire(256),
        linear(256, classes, gain=2.0),
        fire(classes),
    )


def _normal(random: np.random.Generator, gain: float) -> Any:
    """Normal initialisation with variance gain / fan_in (LeCun's for gain 1).

    Spikes are sparse, so a layer's input is small and gain 1 leaves the deeper layers silent. The
    gains in this file were chosen so that every layer fires before training. NumPy draws the
    numbers: JAX would compile a program per shape, a second each.
    """

    def draw(key: jax.Array, shape: tuple[int, ...], dtype: Any, *_: Any, **__: Any) -> jax.Array:
        return jnp.asarray(random.normal(0.0, np.sqrt(gain / np.prod(shape[:-1])), shape), dtype)

    return draw
