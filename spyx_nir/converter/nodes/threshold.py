"""Threshold: z = 1 where x > threshold, else 0; no state."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Examples, Exported, Kind, Node
from spyx_nir.converter.layout import Site


def load(node: Node, site: Site) -> Any:
    """A `Threshold` layer."""
    from spyx_nir.converter.layers import Threshold

    return Threshold(site.to_spyx(node["threshold"]))


def export(layer: Any, site: Site) -> Exported:
    """The Threshold of a `Threshold` layer, float32."""
    value = site.to_nir(layer.threshold[...], "threshold").astype(np.float32)
    return [("", nir.Threshold(value))]


def examples(rng: np.random.Generator) -> Examples:
    """Nodes and the shapes that arrive at them; see `Kind.examples`."""
    return [
        (nir.Threshold(rng.uniform(0.2, 0.8, size=(3,)).astype(np.float32)), (3,)),
        (nir.Threshold(rng.uniform(0.2, 0.8, size=(2, 3, 4)).astype(np.float32)), (2, 3, 4)),
    ]


KINDS = [Kind("Threshold", load, examples, {"spyx_nir.converter.layers.Threshold": export})]
