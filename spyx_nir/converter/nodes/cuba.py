"""Current-based neurons: a synaptic current before the membrane.

    NIR CubaLIF   i += dt/tau_syn * (-i + w_in*x)
                  v += dt/tau_mem * (v_leak - v + r*i)  with the new i
                  z = v > v_threshold;  where z: v = v_reset
    NIR CubaLI    the same without spike, output v
    exact CubaLIF i' = alpha*i + gain_in*x;  u = beta*v + (1-beta)*v_leak + gain*i'
                  alpha = 1 - dt/tau_syn, gain_in = w_in*dt/tau_syn
                  beta = 1 - dt/tau_mem, gain = r*dt/tau_mem
                  with an exact step gain*i + gain_x*x, see `equations.exact_node`
    Spyx CuBaLIF  s = u > threshold;  i' = alpha*i + x;  u' = beta*(u - threshold*s) + i'
                  w_in = tau_syn/dt, r = tau_mem/dt; reset `subtract`, delayed by one step

x: (B, *shape); time constants in the unit of dt; the rest is unitless.
"""

from __future__ import annotations

from typing import Any

import nir

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import (
    decays,
    exact_layer,
    exact_node,
    leak_of,
    load_spiking,
    membrane,
    optional,
    parts,
    spyx_node,
)


def load_lif(node: Node, site: Site) -> Any:
    """A `spyx.nn.CuBaLIF` or a `neurons.CubaLIF`; see `load_spiking`."""
    # Spyx keeps u and i on the last axis of one array, doubling every axis: flat layers only.
    flat = len(site.shape) == 1
    return load_spiking(node, site, "CubaLIF", "CuBaLIF" if flat else None, "subtract")


def load_li(node: Node, site: Site) -> Any:
    """A `neurons.CubaLI`."""
    return exact_layer("CubaLI", site, parts(node, site))


def _values(layer: Any, site: Site, clip: bool) -> dict[str, Any]:
    alpha, beta = decays(layer, site, "alpha", "beta", clip=clip)
    tau_syn, w_in = membrane(alpha, optional(layer, "gain_in", site, 1.0), site.dt)
    tau_mem, r = membrane(beta, optional(layer, "gain", site, 1.0), site.dt)
    v_leak = leak_of(layer, site, beta)
    return {"tau_syn": tau_syn, "tau_mem": tau_mem, "r": r, "w_in": w_in, "v_leak": v_leak}


def export_spyx(layer: Any, site: Site) -> Exported:
    """The CubaLIF of a `spyx.nn.CuBaLIF`, whose spike is delayed by one step."""
    site.check_hidden(layer.hidden_shape)
    values = _values(layer, site, True)
    return [("", spyx_node(nir.CubaLIF, layer, site, "subtract", **values))]


def export_exact(layer: Any, site: Site) -> Exported:
    """The CubaLIF of a `neurons.CubaLIF`, the CubaLI of a `neurons.CubaLI`."""
    site.check_hidden(layer.hidden_shape)
    if layer.gain_x is not None:
        raise site.refuse("`gain_x` is set, the input's way past the current in an exact step")
    make = nir.CubaLIF if layer.spikes else nir.CubaLI
    return [("", exact_node(make, layer, site, **_values(layer, site, False)))]


KINDS = [
    Kind(
        "CubaLIF",
        load_lif,
        {"spyx.nn.CuBaLIF": export_spyx, "spyx_nir.neurons.CubaLIF": export_exact},
    ),
    Kind("CubaLI", load_li, {"spyx_nir.neurons.CubaLI": export_exact}),
]
