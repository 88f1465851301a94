"""Input and Output: where data enters and leaves. `shape` is without the batch axis."""

from __future__ import annotations

import nir
import numpy as np

from spyx_nir.converter.kind import Examples, Kind


def examples(rng: np.random.Generator) -> Examples:
    """Nodes and the shapes that arrive at them; see `Kind.examples`."""
    return [(nir.Output(np.array([3])), (3,))]


KINDS = [
    Kind("Input", None, lambda rng: []),
    Kind("Output", None, examples),
]
