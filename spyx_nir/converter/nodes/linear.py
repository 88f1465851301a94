"""Linear and Affine: y = W x (+ b), x (B, in). NIR's W is (out, in), Flax's kernel (in, out).

On a spatial input `nnx.Linear` mixes the channels at every place: that is a convolution with a
kernel of 1, and so it is exported. After a Flatten the columns of W are put into NIR's channels-first
order. A weight of more than two axes, (..., out, in), applies one matrix per leading index.
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layer_cache import assemble, initial_values
from spyx_nir.converter.layout import ENSEMBLE, Site
from spyx_nir.converter.nodes.conv import conv_nodes


def load(node: Node, site: Site) -> Any:
    """An `nnx.Linear`, or a `MatrixPerIndex` for a weight of more than two axes."""
    from spyx_nir.converter.layers import MatrixPerIndex

    weight = np.asarray(node["weight"], np.float32)
    bias = np.asarray(node["bias"], np.float32) if "bias" in node else None
    if weight.ndim > 2:
        return MatrixPerIndex(weight, bias)
    if site.order is not None:
        turned = np.empty_like(weight)
        turned[:, site.order] = weight
        weight = turned
    if bias is not None:
        bias = np.broadcast_to(bias, weight.shape[:1])
    return assemble(_layer, {"kernel": weight.T, "bias": bias}, weight.shape)


def _layer(shape: tuple[int, ...], *, kernel: Any, bias: Any) -> Any:
    from flax import nnx

    return nnx.Linear(shape[1], shape[0], **initial_values(kernel, bias))


def export(layer: Any, site: Site) -> Exported:
    """The Linear or Affine of an `nnx.Linear`; the convolution where (C, L) or (C, H, W) arrives.

    Raises:
        GraphError: another number of features arrives, or it does not compute in float32.
    """
    site.check_arithmetic(layer)
    kernel = np.asarray(layer.kernel[...], np.float32)
    if kernel.ndim != 2:
        raise site.refuse(f"its `kernel` is {kernel.shape}, (in, out) is needed{ENSEMBLE}")
    bias = None if layer.bias is None else np.asarray(layer.bias[...], np.float32)
    if len(site.shape) in (2, 3):
        return _pointwise(kernel, bias, site)
    if site.shape != (kernel.shape[0],):
        raise site.refuse(f"takes {kernel.shape[0]} features, but shape {site.shape} arrives")
    weight = kernel.T if site.order is None else kernel.T[:, site.order]
    weight = np.ascontiguousarray(weight)
    if bias is None:
        return [("", nir.Linear(weight=weight))]
    return [("", nir.Affine(weight=weight, bias=bias))]


def export_matrices(layer: Any, site: Site) -> Exported:
    """The Linear or Affine of a `MatrixPerIndex`, as it was."""
    weight = np.asarray(layer.weight[...])
    if layer.bias is None:
        return [("", nir.Linear(weight))]
    return [("", nir.Affine(weight, np.asarray(layer.bias[...])))]


def _pointwise(kernel: np.ndarray, bias: np.ndarray | None, site: Site) -> Exported:
    """The convolution with a kernel of 1 that does the same."""
    rank = len(site.shape) - 1
    if site.shape[0] != kernel.shape[0]:
        raise site.refuse(f"takes {kernel.shape[0]} channels, but shape {site.shape} arrives")
    weight = np.ascontiguousarray(kernel.T).reshape(*kernel.T.shape, *[1] * rank)
    return conv_nodes(weight, bias, [1] * rank, [(0, 0)] * rank, [1] * rank, site)


KINDS = [
    Kind(
        "Linear",
        load,
        {"flax.nnx.Linear": export, "spyx_nir.converter.layers.MatrixPerIndex": export_matrices},
    ),
    Kind("Affine", load),
]
