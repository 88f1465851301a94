"""Delay: y(t) = x(t - delay), with `delay` in the unit of dt, per element; zeros before the start.

x: (B, *shape). The delay must be a whole number of steps.
"""

from __future__ import annotations

import math
from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.errors import GraphError
from spyx_nir.limits import check_limit
from spyx_nir.meaning.equations import delay_steps


def load(node: Node, site: Site) -> Any:
    """A `Delay` layer.

    Raises:
        GraphError: the delay is no whole number of steps, or keeps too many values.
    """
    from spyx_nir.converter.layers import Delay
    from spyx_nir.converter.layout import last

    try:
        steps = delay_steps(node["delay"], site.dt)
    except GraphError as error:
        raise site.refuse(str(error)) from None
    kept = int(steps.max()) * math.prod(site.shape)
    claims = f"{site.where}: a delay of {steps.max()} steps keeps {kept} values a sample"
    check_limit("delay", kept, claims, site.node)
    return Delay(last(site.shape), site.to_spyx(steps).astype(int))


def export(layer: Any, site: Site) -> Exported:
    """The Delay of a `Delay` layer: steps * dt."""
    site.check_hidden(layer.hidden_shape)
    steps = np.reshape(layer.steps, layer.hidden_shape)
    delay = site.to_nir(steps, "steps") * site.dt
    return [("", nir.Delay(delay))]


KINDS = [Kind("Delay", load, {"spyx_nir.converter.layers.Delay": export})]
