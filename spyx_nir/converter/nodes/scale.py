"""Scale: y = s * x, element by element; x (B, *shape), s unitless."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site


def load(node: Node, site: Site) -> Any:
    """A `Scale` layer."""
    from spyx_nir.converter.layers import Scale

    return Scale(site.to_spyx(node["scale"]))


def export(layer: Any, site: Site) -> Exported:
    """The Scale of a `Scale` layer, float32."""
    return [("", nir.Scale(site.to_nir(layer.scale[...], "scale").astype(np.float32)))]


KINDS = [Kind("Scale", load, {"spyx_nir.converter.layers.Scale": export})]
