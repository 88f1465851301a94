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
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import (
    check_own,
    contract_metadata,
    delayed_threshold,
    factor,
    fields,
    load_spiking,
    optional,
    threshold_of,
)


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.IF` or a `neurons.IF`; see `load_spiking`."""
    return load_spiking(node, site, "IF", "IF", "subtract")


def export_spyx(layer: Any, site: Site) -> Exported:
    """The IF of a `spyx.nn.IF`, whose spike is delayed by one step."""
    site.check_hidden(layer.hidden_shape)
    threshold = delayed_threshold(layer, site)
    return [("", node_of(site, 1.0, threshold, 0.0, contract_metadata("subtract", 1)))]


def export_exact(layer: Any, site: Site) -> Exported:
    """The IF of a `neurons.IF`."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site)
    return [("", without_leak(layer, site))]


def without_leak(layer: Any, site: Site) -> nir.IF:
    """The node of an exact IF, or of an exact LIF whose decays are all 1."""
    gain = optional(layer, "gain", site, 1.0)
    threshold = threshold_of(layer, site)
    v_reset = optional(layer, "v_reset", site, 0.0)
    # Without a decay the two subtractions are the same.
    reset = "v_reset" if layer.reset == "v_reset" else "subtract"
    return node_of(site, gain, threshold, v_reset, contract_metadata(reset, 0))


def node_of(
    site: Site, gain: Any, threshold: Any, v_reset: Any, contract: dict[str, Any]
) -> nir.IF:
    """The NIR node of an IF whose input has the factor `gain`."""
    r = factor(gain, np.full(site.shape, site.dt))
    found = fields(site, r=r, v_threshold=threshold, v_reset=v_reset)
    return nir.IF(**found, metadata=contract)


KINDS = [Kind("IF", load, {"spyx.nn.IF": export_spyx, "spyx_nir.neurons.IF": export_exact})]
