"""Braille letters: twelve taxels, a recurrent network of current-based neurons.

Sizes and decays are those of the NIR paper (Pedersen et al. 2024, doi 10.1038/s41467-024-52259-9).
No layer has a bias. `reset: v_reset` builds the neurons of `spyx_nir.neurons`, which plain NIR
expresses exactly; `reset: subtract` builds stock Spyx neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from pipeline.schema import Data, Task, at_least, between, from_to_below
from pipeline.tasks import About, Recordings, normal
from spyx_nir.errors import UserError
from spyx_nir.files import sha256

if TYPE_CHECKING:
    import jax
    import spyx.nn as snn

ABOUT = About(
    title="Braille letters read by a 12-taxel fingertip",
    licence="CC BY 4.0",
    id="cc-by-4.0",
    cite=(
        "Müller-Cleve et al., Braille letter reading: A benchmark for spatio-temporal pattern "
        "recognition on neuromorphic hardware, Frontiers in Neuroscience 16, 2022"
    ),
)
SENSOR = (12, 1, 2)  # taxels; ON and OFF
Decay = Annotated[float, from_to_below(0, 1, "a decay per step ")]


@dataclass(frozen=True)
class Network:
    """12 inputs - recurrent current-based LIF - current-based LIF; decays are per step.

    decays: one per layer (`shared`) or one per neuron. decay_spread: how far the neurons'
    first decays are from the layer's, as the standard deviation of their logits.
    """

    hidden: Annotated[int, at_least(1)]
    reset: Literal["v_reset", "subtract"]
    alpha_hidden: Decay
    beta_hidden: Decay
    alpha_out: Decay
    beta_out: Decay
    decays: Literal["shared", "neuron"]
    decay_spread: Annotated[float, between(0, 3)]
    threshold: float
    surrogate_slope: float


def recordings(data: Data, folder: Path) -> Recordings:
    from pipeline.datasets.braille import Braille, candidates

    _check_letters(data.classes)
    dataset = Braille(folder, window_us=data.bins * data.bin_us)
    print(f"reading {dataset.file.name}: {len(dataset)} recordings")
    for other in candidates(folder)[1:]:
        print(f"not read, the one above comes first: {other.name}")
    return Recordings(
        datasets=[dataset],
        names=[[dataset.classes[target] for target in dataset.targets]],
        files={dataset.file.name: sha256(dataset.file)},
        encoder=dataset.encoder,
        classes=dataset.classes,
    )


def simulate(data: Data, folder: Path) -> None:
    from pipeline.datasets import simulate_braille

    _check_letters(data.classes)
    simulate_braille.write(folder, data.classes, data.simulated_per_class, data.seed)


def download(folder: Path, keep: Path) -> None:
    from pipeline.datasets import download

    download.fetch("braille", folder, keep)


def network(task: Task) -> snn.Sequential:
    import spyx.nn as snn
    from flax import nnx
    from spyx import axn

    from spyx_nir import neurons

    settings, classes = task.network, len(task.data.classes)
    random, rngs = np.random.default_rng(task.train.seed), nnx.Rngs(task.train.seed)
    spike = axn.superspike(settings.surrogate_slope)
    shared: dict[str, Any] = {"threshold": settings.threshold, "activation": spike, "rngs": rngs}
    size = (settings.hidden,)
    cell: Any
    recurrent: Any
    if settings.reset == "v_reset":
        cell = neurons.CubaLIF(size, 0.0, 0.0, **shared)
        recurrent = neurons.Recurrent(cell, rngs=rngs)
        readout: Any = neurons.CubaLIF((classes,), 0.0, 0.0, **shared)
    else:
        cell = recurrent = snn.RCuBaLIF(size, 0.0, 0.0, **shared)
        # Spyx draws from a unit normal, which makes a network of this size fire at every step.
        recurrent.recurrent_w[...] *= 0.5 / np.sqrt(settings.hidden).astype(np.float32)
        readout = snn.CuBaLIF((classes,), 0.0, 0.0, **shared)
    spread = np.random.default_rng([task.train.seed, 1])
    for layer, alpha, beta in (
        (cell, settings.alpha_hidden, settings.beta_hidden),
        (readout, settings.alpha_out, settings.beta_out),
    ):
        layer.alpha = nnx.Param(_decays(alpha, layer.hidden_shape, task, spread))
        layer.beta = nnx.Param(_decays(beta, layer.hidden_shape, task, spread))
    linear = partial(nnx.Linear, use_bias=False, kernel_init=normal(random, 1.0), rngs=rngs)
    return snn.Sequential(
        linear(SENSOR[0], settings.hidden), recurrent, linear(settings.hidden, classes), readout
    )


def _decays(
    decay: float, size: tuple[int, ...], task: Task, random: np.random.Generator
) -> jax.Array:
    """First decays of a layer: one for all, or one per neuron around `decay`, from 0.02 to 0.993.

    Those of the neurons are the quantiles of a normal distribution of logits, dealt at random.
    """
    import jax.numpy as jnp

    from pipeline.training.decays import snapped

    values = np.asarray(decay)
    if task.network.decays == "neuron":
        values = np.full(size, decay)
    if task.network.decays == "neuron" and task.network.decay_spread:
        n = values.size
        # Not drawn one by one: few neurons may then all be fast, or all slow.
        normals = [NormalDist().inv_cdf((i + 0.5) / n) for i in range(n)]
        spread = task.network.decay_spread * random.permutation(normals).reshape(size)
        logits = np.log(decay / (1 - decay)) + spread
        values = 1 / (1 + np.exp(-logits.clip(-4, 5)))
    return jnp.asarray(snapped({"alpha": values}, task.export.dt)["alpha"])


def _check_letters(classes: tuple[str, ...]) -> None:
    from pipeline.datasets.braille import Braille

    if unknown := [name for name in classes if name not in Braille.classes]:
        raise UserError(f"data.classes: unknown letter `{unknown[0]}`; known are Space, A to Z")
