"""Leaky integrator and integrator: no spike, the output is the membrane.

    NIR LI       v += dt/tau * (v_leak - v + r*x)
    NIR I        v += dt * r * x
    Spyx LI      v' = beta*v + x          tau = dt/(1-beta), r = tau/dt, v_leak = 0
    exact LI, I  v' = beta*v + (1-beta)*v_leak + gain*x;  v' = v + gain*x
    Spyx PSU_LIF v' = beta*v + x, s = v' > threshold: an LI, then a Threshold; no delay

x: (B, *shape); tau in the unit of dt. A beta of exactly 1 for the whole layer is an I with
r = 1/dt.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layer_cache import GIVEN, assemble
from spyx_nir.converter.layout import Site, last
from spyx_nir.converter.neuron_fields import (
    check_own,
    decays,
    endless,
    exact_layer,
    fields,
    leak_of,
    leakless,
    membrane,
    optional,
    parts,
    threshold_of,
)


def load_li(node: Node, site: Site) -> Any:
    """A `spyx.nn.LI` in a Sequential where it does what the node says, else a `neurons.LI`."""
    found = parts(node, site)
    if site.in_sequential and set(found) == {"beta"}:
        return assemble(_spyx, found, last(site.shape))
    return exact_layer("LI", site, found)


def _spyx(shape: tuple[int, ...], *, beta: Any) -> Any:
    import spyx.nn as snn
    from flax import nnx

    layer = snn.LI(shape, 0.5, rngs=GIVEN)
    layer.beta = nnx.Param(beta)
    return layer


def load_i(node: Node, site: Site) -> Any:
    """A `neurons.I`."""
    return exact_layer("I", site, parts(node, site))


def _export(layer: Any, site: Site, *, gain: Any, clip: bool) -> nir.I | nir.LI:
    (beta,) = decays(layer, site, "beta", clip=clip)
    if leakless(layer, beta):
        return nir.I(**fields(site, r=endless(gain, site)))
    tau, r = membrane(beta, gain, site.dt)
    values = fields(site, tau=tau, r=r, v_leak=leak_of(layer, site, beta))
    contract = {"v_init": "v_leak"} if getattr(layer, "start_at_leak", False) else {}
    return nir.LI(**values, metadata=contract)


def export_spyx(layer: Any, site: Site) -> Exported:
    """The LI of a `spyx.nn.LI`; an I where nothing leaks."""
    site.check_hidden(layer.layer_shape)
    return [("", _export(layer, site, gain=1.0, clip=True))]


def export_psu(layer: Any, site: Site) -> Exported:
    """The LI and the Threshold of a `spyx.nn.PSU_LIF`."""
    site.check_hidden(layer.hidden_shape)
    threshold = threshold_of(layer, site).astype(np.float32)
    return [
        (".li", _export(layer, site, gain=1.0, clip=True)),
        (".threshold", nir.Threshold(threshold)),
    ]


def export_exact(layer: Any, site: Site) -> Exported:
    """The LI of a `neurons.LI`; an I where nothing leaks."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site, "beta", "v_leak")
    gain = optional(layer, "gain", site, 1.0)
    return [("", _export(layer, site, gain=gain, clip=False))]


def export_i(layer: Any, site: Site) -> Exported:
    """The I of a `neurons.I`."""
    site.check_hidden(layer.hidden_shape)
    check_own(layer, site)
    r = endless(optional(layer, "gain", site, 1.0), site)
    return [("", nir.I(**fields(site, r=r)))]


KINDS = [
    Kind(
        "LI",
        load_li,
        {
            "spyx.nn.LI": export_spyx,
            "spyx.nn.PSU_LIF": export_psu,
            "spyx_nir.neurons.LI": export_exact,
        },
    ),
    Kind("I", load_i, {"spyx_nir.neurons.I": export_i}),
]
