"""Threshold: z = 1 where x > threshold, else 0; x (B, *shape), threshold unitless; no state."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site


def load(node: Node, site: Site) -> Any:
    """A `Threshold` layer."""
    from spyx_nir.converter.layers import Threshold

    return Threshold(site.to_spyx(node["threshold"]))


def export(layer: Any, site: Site) -> Exported:
    """The Threshold of a `Threshold` layer, float32."""
    value = site.to_nir(layer.threshold[...], "threshold").astype(np.float32)
    return [("", nir.Threshold(value))]


KINDS = [Kind("Threshold", load, {"spyx_nir.converter.layers.Threshold": export})]
