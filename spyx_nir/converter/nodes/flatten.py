"""Flatten: axes start_dim to end_dim become one. They count without the batch axis, as nir's
`calc_flatten_output` does. NIR flattens (C, H, W), Spyx (H, W, C): `layout.flatten_order` has the
permutation, which the next weight or neuron absorbs.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.meaning.equations import shape_flatten


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.Flatten` where the features behind it may be in Spyx's order, else a `FlattenFirst`."""
    import spyx.nn as snn

    from spyx_nir.converter.layers import FlattenFirst

    out = shape_flatten(node, site.shape)
    return snn.Flatten() if site.spyx_flatten and len(out) == 1 else FlattenFirst(site.shape, out)


def export(layer: Any, site: Site) -> Exported:
    """The Flatten of a `spyx.nn.Flatten`: all axes become one."""
    return [("", nir.Flatten({"input": np.array(site.shape)}, start_dim=0, end_dim=-1))]


def export_first(layer: Any, site: Site) -> Exported:
    """Axes start to end became one; equal sizes at both ends tell which."""
    shape, out = layer.shape, layer.out
    if shape != site.shape:
        raise site.refuse(f"it flattens {shape}, but {site.shape} arrives")
    start = 0
    while start < len(out) - 1 and shape[start] == out[start]:
        start += 1
    end = len(shape) - len(out) + start
    return [("", nir.Flatten({"input": np.array(shape)}, start_dim=start, end_dim=end))]


KINDS = [
    Kind(
        "Flatten",
        load,
        {"spyx.nn.Flatten": export, "spyx_nir.converter.layers.FlattenFirst": export_first},
    )
]
