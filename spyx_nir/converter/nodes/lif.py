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
    contract_metadata,
    decays,
    delayed_threshold,
    fields,
    leak_of,
    leakless,
    load_spiking,
    membrane,
    optional,
    threshold_of,
)
from spyx_nir.converter.nodes import if_


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.LIF` or a `neurons.LIF`; see `load_spiking`."""
    return load_spiking(node, site, "LIF", "LIF", "subtract_after_decay")


def export_spyx(layer: Any, site: Site) -> Exported:
    """The LIF of a `spyx.nn.LIF`, whose spike is delayed by one step; an IF where nothing leaks."""
    site.check_hidden(layer.hidden_shape)
    threshold = delayed_threshold(layer, site)
    (beta,) = decays(layer, site, "beta", clip=True)
    if leakless(layer, beta):
        return [("", if_.node_of(site, 1.0, threshold, 0.0, contract_metadata("subtract", 1)))]
    tau, r = membrane(beta, 1.0, site.dt)
    values = fields(
        site,
        tau=tau,
        r=r,
        v_leak=0.0,
        v_threshold=threshold,
        v_reset=0.0,
    )
    return [("", nir.LIF(**values, metadata=contract_metadata("subtract_after_decay", 1)))]


def export_exact(layer: Any, site: Site) -> Exported:
    """The LIF of a `neurons.LIF`; an IF where nothing leaks."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site, "beta", "v_leak")
    (beta,) = decays(layer, site, "beta", clip=False)
    if leakless(layer, beta):
        return [("", if_.without_leak(layer, site))]
    tau, r = membrane(beta, optional(layer, "gain", site, 1.0), site.dt)
    values = fields(
        site,
        tau=tau,
        r=r,
        v_leak=leak_of(layer, site, beta),
        v_threshold=threshold_of(layer, site),
        v_reset=optional(layer, "v_reset", site, 0.0),
    )
    contract = contract_metadata(layer.reset, 0)
    if layer.start_at_leak:
        contract["v_init"] = "v_leak"
    return [("", nir.LIF(**values, metadata=contract))]


KINDS = [Kind("LIF", load, {"spyx.nn.LIF": export_spyx, "spyx_nir.neurons.LIF": export_exact})]
