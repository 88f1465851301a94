"""Integrate and fire.

    NIR          v += dt * r * x;  z = v > v_threshold;  where z: v = v_reset
    exact IF     u = v + gain*x                        r = gain/dt
    Spyx IF      s = u > threshold;  u' = u - threshold*s + x
                 r = 1/dt, reset `subtract`, the spike is delayed by one step

x: (B, *shape); v, thresholds: unitless; r: 1/unit of dt.
"""

from __future__ import annotations

from typing import Any

import nir

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import (
    check_own,
    endless,
    exact_node,
    load_spiking,
    optional,
    spyx_node,
)


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.IF` or a `neurons.IF`; see `load_spiking`."""
    return load_spiking(node, site, "IF", "IF", "subtract")


def export_spyx(layer: Any, site: Site) -> Exported:
    """The IF of a `spyx.nn.IF`, whose spike is delayed by one step."""
    site.check_hidden(layer.hidden_shape)
    return [("", spyx_node(nir.IF, layer, site, "subtract", r=endless(1.0, site)))]


def export_exact(layer: Any, site: Site) -> Exported:
    """The IF of a `neurons.IF`."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site)
    return [("", without_leak(layer, site))]


def without_leak(layer: Any, site: Site) -> nir.NIRNode:
    """The node of an exact IF, or of an exact LIF whose decays are all 1."""
    # Without a decay the two subtractions are the same.
    reset = "subtract" if layer.reset == "subtract_after_decay" else layer.reset
    r = endless(optional(layer, "gain", site, 1.0), site)
    return exact_node(nir.IF, layer, site, reset, r=r)


KINDS = [Kind("IF", load, {"spyx.nn.IF": export_spyx, "spyx_nir.neurons.IF": export_exact})]
