"""Scale: y = s * x, element by element."""

from __future__ import annotations

import nir
import numpy as np

from spyx_nir.converter.kind import Kind


def load(node, site, stock):
    from spyx_nir.converter.layers import Scale

    return Scale(site.to_spyx(node["scale"]))


def export(layer, site):
    return [("", nir.Scale(site.to_nir(layer.scale[...], "scale").astype(np.float32)))]


def examples(rng):
    return [
        (nir.Scale(rng.normal(size=(3,)).astype(np.float32)), (3,)),
        (nir.Scale(rng.normal(size=(2, 3, 4)).astype(np.float32)), (2, 3, 4)),
    ]


KINDS = [Kind("Scale", load, examples, {"spyx_nir.converter.layers.Scale": export})]
