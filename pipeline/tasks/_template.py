"""Touches on a line of 12 sensors: which third is touched? Put your data set and model in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.schema import Data, Task
from pipeline.tasks import About, Recordings

ABOUT = About(title="Touches", licence="CC0 1.0", id="cc0-1.0", cite="made up by this file")
SENSOR = (12, 1, 1)  # columns, rows, polarities


@dataclass(frozen=True)
class Network:
    hidden: int
    threshold: float
    surrogate_slope: float


def recordings(data: Data, folder: Path) -> Recordings:
    import tonic

    class Touches(tonic.Dataset):
        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            random, target = np.random.default_rng([data.seed, index]), index % 3
            x = 4 * target + random.integers(0, 4, 60)
            t = np.sort(random.integers(0, data.bins * data.bin_us, 60))
            return tonic.io.make_structured_array(t, x, dtype=dtype), target

        def __len__(self) -> int:
            return 3 * data.simulated_per_class

    dtype = np.dtype([("t", np.int64), ("x", np.int64)])
    names = ["left", "middle", "right"] * data.simulated_per_class
    return Recordings(datasets=[Touches(str(folder))], names=[names])


def network(task: Task) -> object:
    import spyx.nn as snn
    from flax import nnx
    from spyx import axn

    from spyx_nir.neurons import LIF  # or snn.LIF: its reset and delay are in the metadata

    rngs, hidden, classes = nnx.Rngs(task.train.seed), task.network.hidden, len(task.data.classes)
    spike, threshold = axn.superspike(task.network.surrogate_slope), task.network.threshold
    return snn.Sequential(
        nnx.Linear(12, hidden, use_bias=False, rngs=rngs),
        LIF((hidden,), beta=0.875, threshold=threshold, activation=spike),
        nnx.Linear(hidden, classes, use_bias=False, rngs=rngs),
        LIF((classes,), beta=0.875, threshold=threshold, activation=spike),
    )
