"""Current-based neurons: a synaptic current before the membrane.

    NIR CubaLIF   i += dt/tau_syn * (-i + w_in*x)
                  v += dt/tau_mem * (v_leak - v + r*i)  with the new i
                  z = v > v_threshold;  where z: v = v_reset
    NIR CubaLI    the same without spike, output v
    exact CubaLIF i' = alpha*i + gain_in*x;  u = beta*v + (1-beta)*v_leak + gain*i'
                  alpha = 1 - dt/tau_syn, gain_in = w_in*dt/tau_syn
                  beta = 1 - dt/tau_mem, gain = r*dt/tau_mem
    Spyx CuBaLIF  s = u > threshold;  i' = alpha*i + x;  u' = beta*(u - threshold*s) + i'
                  w_in = tau_syn/dt, r = tau_mem/dt; reset `subtract`, delayed by one step

x: (B, *shape); time constants in the unit of dt; the rest is unitless.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Examples, Exported, Kind, Node
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import (
    contract_metadata,
    decays,
    delayed_threshold,
    exact_layer,
    fields,
    leak_of,
    load_spiking,
    membrane,
    optional,
    parts,
    threshold_of,
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
    return {
        "tau_syn": tau_syn,
        "tau_mem": tau_mem,
        "r": r,
        "w_in": w_in,
        "v_leak": leak_of(layer, site, beta),
    }


def export_spyx(layer: Any, site: Site) -> Exported:
    """The CubaLIF of a `spyx.nn.CuBaLIF`, whose spike is delayed by one step."""
    site.check_hidden(layer.hidden_shape)
    threshold = delayed_threshold(layer, site)
    values = fields(site, **_values(layer, site, True), v_threshold=threshold, v_reset=0.0)
    return [("", nir.CubaLIF(**values, metadata=contract_metadata("subtract", 1)))]


def export_lif(layer: Any, site: Site) -> Exported:
    """The CubaLIF of a `neurons.CubaLIF`."""
    site.check_hidden(layer.hidden_shape)
    values = fields(
        site,
        **_values(layer, site, False),
        v_threshold=threshold_of(layer, site),
        v_reset=optional(layer, "v_reset", site, 0.0),
    )
    contract = contract_metadata(layer.reset, 0)
    if layer.start_at_leak:
        contract["v_init"] = "v_leak"
    return [("", nir.CubaLIF(**values, metadata=contract))]


def export_li(layer: Any, site: Site) -> Exported:
    """The CubaLI of a `neurons.CubaLI`."""
    site.check_hidden(layer.hidden_shape)
    contract = {"v_init": "v_leak"} if layer.start_at_leak else {}
    return [("", nir.CubaLI(**fields(site, **_values(layer, site, False)), metadata=contract))]


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    return {
        "tau_syn": rng.uniform(1.5, 5.0, shape).astype(np.float32),
        "tau_mem": rng.uniform(1.5, 9.0, shape).astype(np.float32),
        "r": rng.uniform(2.0, 6.0, shape).astype(np.float32),
        "v_leak": rng.uniform(-0.1, 0.1, shape).astype(np.float32),
        "w_in": rng.uniform(0.5, 3.0, shape).astype(np.float32),
    }


def lif_examples(rng: np.random.Generator) -> Examples:
    """Nodes and the shapes that arrive at them; see `Kind.examples`."""

    def node(shape: tuple[int, ...]) -> nir.CubaLIF:
        return nir.CubaLIF(
            **_random(rng, shape),
            v_threshold=rng.uniform(0.5, 1.5, shape).astype(np.float32),
            v_reset=rng.uniform(-0.2, 0.2, shape).astype(np.float32),
        )

    return [(node((3,)), (3,)), (node((2, 3, 4)), (2, 3, 4))]


def li_examples(rng: np.random.Generator) -> Examples:
    """Nodes and the shapes that arrive at them; see `Kind.examples`."""
    return [(nir.CubaLI(**_random(rng, shape)), shape) for shape in ((3,), (2, 3, 4))]


KINDS = [
    Kind(
        "CubaLIF",
        load_lif,
        lif_examples,
        {"spyx.nn.CuBaLIF": export_spyx, "spyx_nir.neurons.CubaLIF": export_lif},
    ),
    Kind("CubaLI", load_li, li_examples, {"spyx_nir.neurons.CubaLI": export_li}),
]
