"""Recurrent layers: a neuron and a weight from its output back to its input.

    input -> lif, lif -> w_rec, w_rec -> lif, lif -> output

x: (B, N). The weight sees the spikes of the step before; its bias acts from the first step on. Spyx's
`recurrent_w` is (source, target), NIR's weight (target, source). A Spyx layer's spike is
delayed by one step for everybody, so its own feedback is on time.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Exporter, Kind, Node, exporter, load_layer
from spyx_nir.converter.layer_cache import GIVEN, assemble
from spyx_nir.converter.layout import Site
from spyx_nir.converter.neuron_fields import parts, spyx_layer
from spyx_nir.converter.nodes import cuba, if_, lif

SPIKING = (nir.IF, nir.LIF, nir.CubaLIF)
NEURONS = (*SPIKING, nir.I, nir.LI, nir.CubaLI)
SPYX_LAYERS = {"IF": "RIF", "LIF": "RLIF", "CubaLIF": "RCuBaLIF"}


def export_spyx(export_cell: Exporter) -> Exporter:
    """The exporter of a Spyx recurrent layer whose cell is exported by `export_cell`."""

    def export(layer: Any, site: Site) -> Exported:
        ((_, cell),) = export_cell(layer, site)
        return _subgraph(cell, layer.recurrent_w[...], None, site)

    return export


def export_exact(layer: Any, site: Site) -> Exported:
    """The subgraph of a `neurons.Recurrent`."""
    _, cell = _held(layer.cell, site, NEURONS)
    bias = None if layer.recurrent_b is None else layer.recurrent_b[...]
    return _subgraph(cell, layer.recurrent_w[...], bias, site)


def export_delayed(layer: Any, site: Site) -> Exported:
    """A neuron, or a recurrent layer of one, whose spike is delayed by one step."""
    suffix, node = _held(layer.neuron, site, (*SPIKING, nir.NIRGraph))
    cell = node.nodes["lif"] if isinstance(node, nir.NIRGraph) else node
    cell.metadata = {**cell.metadata, "spike_delay": 1}
    return [(suffix, node)]


def _held(layer: Any, site: Site, kinds: tuple[type[nir.NIRNode], ...]) -> tuple[str, nir.NIRNode]:
    """Suffix and node of a layer that another layer holds: one of `kinds`, without delay of its own.

    Raises:
        GraphError: it is none; with the delay of a Spyx neuron the other layer's own would make
            two steps, which NIR cannot say.
    """
    export = exporter(layer)
    made = export(layer, site) if export else []
    node: Any = made[0][1] if len(made) == 1 else None
    cell = node.nodes["lif"] if isinstance(node, nir.NIRGraph) else node
    if not isinstance(node, kinds) or cell.metadata.get("spike_delay"):
        raise site.refuse(
            f"it holds {type(layer).__name__}, which is none of the neurons of spyx_nir.neurons that "
            "fit there"
        )
    return made[0]


def _subgraph(cell: nir.NIRNode, weight: Any, bias: Any, site: Site) -> Exported:
    weight = np.asarray(weight, np.float32)
    if len(site.shape) != 1 or weight.ndim != 2:
        raise site.refuse(f"recurrent layers take a flat input, but shape {site.shape} arrives")
    if weight.shape != site.shape * 2:
        raise site.refuse(f"`recurrent_w` is {weight.shape}, but {site.shape} arrives")
    weight = weight.T
    bias = None if bias is None else np.asarray(bias, np.float32)
    if site.order is not None:
        weight = weight[site.order][:, site.order]
        bias = None if bias is None else bias[site.order]
    weight = np.ascontiguousarray(weight)
    shape = np.array(site.shape)
    nodes = {
        "input": nir.Input(shape),
        "lif": cell,
        "w_rec": nir.Linear(weight) if bias is None else nir.Affine(weight, bias),
        "output": nir.Output(shape),
    }
    edges = [("input", "lif"), ("lif", "output"), ("lif", "w_rec"), ("w_rec", "lif")]
    return [("", nir.NIRGraph(nodes, edges, type_check=False))]


def load_recurrent(
    cell: Node, weight: Node, site: Site, load: Callable[[Node, Site], Any] = load_layer
) -> Any:
    """The layer of a neuron node and the Linear or Affine that leads from it back to it.

    `load` makes the layer of the neuron.
    """
    from spyx_nir.converter.layers import SpikeDelay

    w = np.asarray(weight["weight"], np.float32)
    bias = np.asarray(weight["bias"], np.float32) if "bias" in weight else None
    bias = None if bias is None else np.broadcast_to(bias, w.shape[:1])
    if site.order is not None:
        back = np.argsort(site.order)
        w, bias = w[back][:, back], None if bias is None else bias[back]
    delayed = bool(cell.get("spike_delay")) and site.in_sequential
    layer = load(cell, site) if delayed else None
    if delayed and not isinstance(layer, SpikeDelay) and (bias is None or not bias.any()):
        return spyx_layer(
            SPYX_LAYERS[cell["type"]], cell, site, {**parts(cell, site), "recurrent_w": w.T}
        )
    inside = dataclasses.replace(site, in_sequential=False)
    arrays = {"cell": load(cell, inside), "weight": w.T, "bias": bias}
    return assemble(_exact, arrays, delayed)


def _exact(delayed: bool, *, cell: Any, weight: Any, bias: Any) -> Any:
    from flax import nnx

    from spyx_nir import neurons
    from spyx_nir.converter.layers import SpikeDelay

    layer = neurons.Recurrent(cell, bias=bias is not None, rngs=GIVEN)
    layer.recurrent_w = nnx.Param(weight)
    if bias is not None:
        layer.recurrent_b = nnx.Param(bias)
    return SpikeDelay(layer) if delayed else layer


KINDS = [
    Kind(
        "NIRGraph",
        None,
        {
            "spyx.nn.RIF": export_spyx(if_.export_spyx),
            "spyx.nn.RLIF": export_spyx(lif.export_spyx),
            "spyx.nn.RCuBaLIF": export_spyx(cuba.export_spyx),
            "spyx_nir.neurons.Recurrent": export_exact,
            "spyx_nir.converter.layers.SpikeDelay": export_delayed,
        },
    )
]
