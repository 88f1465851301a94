"""The layers of a graph that is read by a dialect, see `meaning.dialects`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from spyx_nir.converter.kind import Node, load_layer
from spyx_nir.converter.layer_cache import assemble
from spyx_nir.converter.layout import Site, last
from spyx_nir.errors import GraphError
from spyx_nir.meaning import dialects
from spyx_nir.meaning.equations import Shape


def dialect_layer(dialect: str, node: Node, site: Site) -> Any:
    """The layer of a node as `dialect` reads it; one that it reads as NIR does as `load_layer`.

    sinabs and Rockpool: `neurons.MultiSpike`. The others: NIR's neuron with other numbers.

    Raises:
        GraphError: no layer here steps as the dialect does, where `dialects.run` can.
    """
    kind = node["type"]
    if kind not in dialects.DIALECTS[dialect].steps:
        return load_layer(node, site)
    return LAYERS[dialect](node, site)


def _norse(node: Node, site: Site) -> Any:
    """r = 1, and 1/dt for IF, which adds its input."""
    if node["type"] == "CubaLIF":
        if np.any(node["v_leak"]):
            raise _refuse(site, "whose current relaxes to a `v_leak` that is not 0")
        return load_layer(node, site)
    r = np.ones_like(node["r"], np.float64)
    return load_layer({**node, "r": r / site.dt if node["type"] == "IF" else r}, site)


def _snntorch(node: Node, site: Site) -> Any:
    """Steps of 1e-4."""
    if node["type"] == "IF":
        raise _refuse(
            site, "IF, which subtracts twice where the membrane stays above the threshold"
        )
    taus = [name for name in ("tau", "tau_mem", "tau_syn") if name in node]
    own: Node = {name: np.asarray(node[name], np.float64) * site.dt / 1e-4 for name in taus}
    return load_layer({**node, **own}, site)


def _spikingjelly(node: Node, site: Site) -> Any:
    """The next lower threshold in float32, so that a membrane equal to the threshold spikes."""
    made = {
        **node,
        "v_threshold": np.nextafter(np.float32(node["v_threshold"]), np.float32(-np.inf)),
    }
    if np.any(node["v_reset"]):
        if "v_leak" not in node or np.any(node["v_leak"] != node["v_reset"]):
            raise _refuse(site, "which starts at a `v_reset` that is neither 0 nor `v_leak`")
        made["v_init"] = "v_leak"
    return load_layer(made, site)


def _sinabs(node: Node, site: Site) -> Any:
    if node["type"] == "IF":
        return _multi_spike(node, site, lowest=-1.0)
    if node["type"] == "LI":
        return _integrator(node, site, gain=1.0)
    return _multi_spike(node, site, beta=_decay(node["tau"], 1.0))


def _rockpool(node: Node, site: Site) -> Any:
    if node["type"] == "LI":
        return _integrator(node, site, gain=_decay(node["tau"], 1.0))
    alpha, beta = (_decay(node[tau], site.dt) for tau in ("tau_syn", "tau_mem"))
    return _multi_spike(node, site, alpha=alpha, gain_in=alpha, beta=beta, bias=node["v_leak"])


LAYERS: dict[str, Callable[[Node, Site], Any]] = {
    "norse": _norse,
    "rockpool": _rockpool,
    "sinabs": _sinabs,
    "snntorch": _snntorch,
    "spikingjelly": _spikingjelly,
}


def _refuse(site: Site, what: str) -> GraphError:
    return site.refuse(f"no layer here steps it as the dialect does, {what}; `dialects.run` does")


def _integrator(node: Node, site: Site, gain: Any) -> Any:
    """v = exp(-1/tau) * v + gain * x, as NIR's LI of the time constant and r that say so."""
    leak = -np.expm1(-1 / np.asarray(node["tau"], np.float64))
    numbers = {"tau": site.dt / leak, "r": gain / leak, "v_leak": np.zeros_like(node["v_leak"])}
    return load_layer({**node, **numbers}, site)


def _decay(tau: Any, dt: float) -> np.ndarray:
    return np.exp(-dt / np.asarray(tau, np.float64))


def _multi_spike(node: Node, site: Site, lowest: float | None = None, **values: Any) -> Any:
    arrays = {"threshold": node["v_threshold"], **values}
    turned = {name: site.to_spyx(np.asarray(value, np.float32)) for name, value in arrays.items()}
    return assemble(_made, turned, last(site.shape), lowest)


def _made(shape: Shape, lowest: float | None, **arrays: Any) -> Any:
    from spyx_nir import neurons

    activation = neurons.surrogate()
    return neurons.MultiSpike(shape, activation=activation, lowest=lowest, **arrays)
