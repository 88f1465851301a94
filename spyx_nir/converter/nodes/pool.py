"""SumPool2d and AvgPool2d: the sum, or the mean over the whole window, zeros around the edge.

NIR: x (B, C, H, W); kernel_size, stride, padding as (height, width). The mean divides by the size of
the window, padding included (the default of the framework that NIR's pooling follows).
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layer_cache import assemble
from spyx_nir.converter.layout import Site, explicit_padding
from spyx_nir.converter.nodes.conv import conv_nodes
from spyx_nir.meaning.equations import Shape, whole


def load(node: Node, site: Site) -> Any:
    """A `spyx.nn.SumPool` where there is no padding, else a `Pool`."""
    names = ("kernel_size", "stride", "padding")
    kernel, stride, padding = (tuple(whole(node, name, 2)) for name in names)
    return assemble(_layer, {}, kernel, stride, padding, node["type"] == "AvgPool2d")


def _layer(kernel: Shape, stride: Shape, padding: Shape, average: bool) -> Any:
    import spyx.nn as snn

    from spyx_nir.converter.layers import Pool

    if padding == (0, 0) and not average:
        return snn.SumPool(kernel, stride, "VALID")
    return Pool(kernel, stride, padding, average=average)


def _export(
    node_type: type[nir.NIRNode], window: Any, strides: Any, padding: Any, site: Site
) -> Exported:
    if len(site.shape) != 3:
        raise site.refuse(f"pooling takes a (C, H, W) input, but {site.shape} arrives")
    kernel, strides = _spatial(window, site), _spatial(strides, site)
    pads = explicit_padding(site, padding, kernel, list(strides), [1, 1])
    if all(lo == hi for lo, hi in pads):
        even = np.array([lo for lo, _ in pads])
        return [("", node_type(np.array(kernel), np.array(strides), even))]
    # Uneven padding: pooling is a convolution with a kernel of ones on each channel.
    channels = np.arange(site.shape[0])
    weight = np.zeros((channels.size, channels.size, *kernel), np.float32)
    weight[channels, channels] = 1 / np.prod(kernel) if node_type is nir.AvgPool2d else 1
    return conv_nodes(weight, None, list(strides), pads, [1, 1], site)


def _spatial(size: Any, site: Site) -> tuple[int, int]:
    """A window or stride as Spyx takes it: one number, (h, w), or a full (1, h, w, 1)."""
    numbers = (size, size) if isinstance(size, int) else tuple(int(n) for n in size)
    if len(numbers) == 4 and numbers[0] == numbers[3] == 1:
        numbers = numbers[1:3]
    if len(numbers) != 2:
        raise site.refuse(f"window or stride {size!r} is no pair of height and width")
    return numbers


def export_spyx(layer: Any, site: Site) -> Exported:
    """The SumPool2d of a `spyx.nn.SumPool`; a convolution where its padding is uneven."""
    if layer.channel_axis not in (-1, 3):
        raise site.refuse(f"`channel_axis` is {layer.channel_axis}; only the last axis is known")
    return _export(nir.SumPool2d, layer.window_shape, layer.strides, layer.padding, site)


def export_pool(layer: Any, site: Site) -> Exported:
    """The SumPool2d or AvgPool2d of a `Pool`."""
    node_type = nir.AvgPool2d if layer.average else nir.SumPool2d
    return _export(node_type, layer.window, layer.strides, layer.padding, site)


def export_average(layer: Any, site: Site) -> Exported:
    """`functools.partial(nnx.avg_pool, window_shape=..., strides=..., padding=...)`."""
    options = dict(layer.keywords)
    window = options.pop("window_shape", None)
    strides = options.pop("strides", None) or (1, 1)
    padding = options.pop("padding", "VALID")
    counted = options.pop("count_include_pad", True)
    if layer.args or window is None or options or (padding != "VALID" and not counted):
        raise site.refuse(
            "nnx.avg_pool is understood as functools.partial(nnx.avg_pool, window_shape=, strides=, "
            "padding=) that counts the padding"
        )
    return _export(nir.AvgPool2d, tuple(window), tuple(strides), padding, site)


KINDS = [
    Kind(
        "SumPool2d",
        load,
        {"spyx.nn.SumPool": export_spyx, "spyx_nir.converter.layers.Pool": export_pool},
    ),
    Kind("AvgPool2d", load, {"flax.nnx.avg_pool": export_average}),
]
