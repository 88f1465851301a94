"""Leaky integrate and fire.

    NIR          v += dt/tau * (v_leak - v + r*x);  z = v > v_threshold;  where z: v = v_reset
    exact LIF    u = beta*v + (1-beta)*v_leak + gain*x
                 beta = 1 - dt/tau, gain = r*dt/tau
    Spyx LIF     s = u > threshold;  u' = beta*u + x - threshold*s
                 tau = dt/(1-beta), r = tau/dt, v_leak = 0; the reset comes after the decay
                 (`subtract_after_decay`), the spike is delayed by one step

x: (B, *shape); tau in the unit of dt; the rest is unitless. A beta of exactly 1
for the whole layer is an IF.
"""

from __future__ import annotations

from typing import Any

import nir

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import (
    check_own,
    decays,
    exact_node,
    leak_of,
    leakless,
    load_spiking,
    membrane,
    optional,
    spyx_node,
)
from spyx_nir.converter.nodes import if_


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.LIF` or a `neurons.LIF`; see `load_spiking`."""
    return load_spiking(node, site, "LIF", "LIF", "subtract_after_decay")


def export_spyx(layer: Any, site: Site) -> Exported:
    """The LIF of a `spyx.nn.LIF`, whose spike is delayed by one step; an IF where nothing leaks."""
    site.check_hidden(layer.hidden_shape)
    (beta,) = decays(layer, site, "beta", clip=True)
    if leakless(layer, beta):
        return if_.export_spyx(layer, site)
    tau, r = membrane(beta, 1.0, site.dt)
    node = spyx_node(nir.LIF, layer, site, "subtract_after_decay", tau=tau, r=r, v_leak=0.0)
    return [("", node)]


def export_exact(layer: Any, site: Site) -> Exported:
    """The LIF of a `neurons.LIF`; an IF where nothing leaks."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site, "beta", "v_leak")
    (beta,) = decays(layer, site, "beta", clip=False)
    if leakless(layer, beta):
        return [("", if_.without_leak(layer, site))]
    tau, r = membrane(beta, optional(layer, "gain", site, 1.0), site.dt)
    v_leak = leak_of(layer, site, beta)
    return [("", exact_node(nir.LIF, layer, site, tau=tau, r=r, v_leak=v_leak))]


KINDS = [Kind("LIF", load, {"spyx.nn.LIF": export_spyx, "spyx_nir.neurons.LIF": export_exact})]
