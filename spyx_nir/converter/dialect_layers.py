"""The layers of a graph that is read by a dialect, see `meaning.dialects`."""

from __future__ import annotations

from typing import Any

import numpy as np

from spyx_nir.converter.kind import Node, load_layer
from spyx_nir.converter.layer_cache import assemble
from spyx_nir.converter.layout import Site, last
from spyx_nir.meaning.equations import Shape


def dialect_layer(dialect: str, node: Node, site: Site) -> Any:
    """The layer of a node as `dialect` reads it; one that it reads as NIR does as `load_layer`.

    Norse: r = 1. snnTorch: steps of 1e-4. sinabs and Rockpool: `neurons.MultiSpike`.
    """
    kind, dt = node["type"], site.dt
    if dialect == "norse" and kind in ("IF", "LIF"):
        return load_layer({**node, "r": np.ones_like(node["r"])}, site)
    if dialect == "snntorch" and kind == "LIF":
        return load_layer({**node, "tau": np.asarray(node["tau"], np.float64) * dt / 1e-4}, site)
    if dialect == "sinabs" and kind == "IF":
        return _multi_spike(node, site, lowest=-1.0)
    if dialect == "sinabs" and kind == "LIF":
        return _multi_spike(node, site, beta=_decay(node["tau"], 1.0))
    if dialect == "rockpool" and kind == "CubaLIF":
        alpha, beta = (_decay(node[tau], dt) for tau in ("tau_syn", "tau_mem"))
        return _multi_spike(node, site, alpha=alpha, gain_in=alpha, beta=beta, bias=node["v_leak"])
    return load_layer(node, site)


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
