"""Conv1d and Conv2d: cross-correlation, NIR's x (B, C, *axes), Flax's (B, *axes, C).

NIR weight (C_out, C_in/groups, *kernel); Flax kernel (*kernel, C_in/groups, C_out). What nir 1.0.8
cannot carry is written as an exact equivalent that it can: groups as a block-diagonal kernel (its
type inference takes C_in from the weight), uneven padding and oblong kernels with rows of zeros (see
`layout.symmetric_padding`), a missing bias as zeros. Where zeros cannot make a kernel square, a second
convolution cuts off what the first gives too much (`conv_nodes`).
"""

from __future__ import annotations

from typing import Any

import nir
import numpy as np

from spyx_nir.converter.kind import Exported, Kind, Node
from spyx_nir.converter.layer_cache import assemble, initial_values
from spyx_nir.converter.layout import (
    ENSEMBLE,
    Site,
    block_diagonal,
    explicit_padding,
    symmetric_padding,
)
from spyx_nir.meaning.equations import Pair, Shape, conv_numbers


def load(node: Node, site: Site) -> Any:
    """An `nnx.Conv` with the node's numbers; a bias of zeros is left out."""
    weight = np.asarray(node["weight"], np.float32)
    rank = weight.ndim - 2
    stride, dilation, pads = conv_numbers(node, rank)
    groups = int(np.ravel(node["groups"])[0])
    bias = node.get("bias")
    if bias is not None and not np.any(bias):
        bias = None
    if bias is not None:
        bias = np.broadcast_to(np.asarray(bias, np.float32).ravel(), weight.shape[:1])
    kernel = np.moveaxis(weight, (0, 1), (-1, -2))
    numbers = weight.shape, tuple(stride), tuple(pads), tuple(dilation), groups
    return assemble(_layer, {"kernel": kernel, "bias": bias}, *numbers)


def _layer(
    shape: Shape,
    stride: Shape,
    pads: tuple[tuple[int, int], ...],
    dilation: Shape,
    groups: int,
    *,
    kernel: Any,
    bias: Any,
) -> Any:
    from flax import nnx

    return nnx.Conv(
        shape[1] * groups,
        shape[0],
        kernel_size=shape[2:],
        strides=stride,
        padding=pads,
        kernel_dilation=dilation,
        feature_group_count=groups,
        **initial_values(kernel, bias),
    )


def export(layer: Any, site: Site) -> Exported:
    """The convolution, or two in a row, of an `nnx.Conv` over one or two axes.

    Raises:
        GraphError: another shape arrives, or NIR has no equivalent (more axes, an input dilation, a
            padding that zeros cannot express, arithmetic that is not float32).
    """
    site.check_arithmetic(layer)
    kernel = np.asarray(layer.kernel[...], np.float32)
    rank = len(layer.kernel_size)
    if kernel.ndim != rank + 2 or kernel.shape[:rank] != tuple(layer.kernel_size):
        wanted = ", ".join(map(str, layer.kernel_size))
        raise site.refuse(
            f"its `kernel` is {kernel.shape}, ({wanted}, in, out) is needed{ENSEMBLE}"
        )
    if rank not in (1, 2):
        raise site.refuse(f"a convolution over {rank} axes has no node in NIR; 1 and 2 have")
    if len(site.shape) != rank + 1:
        raise site.refuse(f"a convolution over {rank} axes, but shape {site.shape} arrives")
    if layer.mask is not None:
        kernel = kernel * np.asarray(layer.mask, np.float32)
    if any(n != 1 for n in _each(layer.input_dilation, rank)):
        raise site.refuse(f"`input_dilation` is {layer.input_dilation}; NIR has none")
    weight = np.ascontiguousarray(np.moveaxis(kernel, (-1, -2), (0, 1)))
    groups = int(layer.feature_group_count)
    if weight.shape[1] * groups != site.shape[0]:
        raise site.refuse(f"takes {weight.shape[1] * groups} channels, but {site.shape} arrives")
    if groups > 1:
        weight = block_diagonal(weight, groups)
    strides, dilation = _each(layer.strides, rank), _each(layer.kernel_dilation, rank)
    pads = explicit_padding(site, layer.padding, weight.shape[2:], strides, dilation)
    bias = None if layer.bias is None else np.asarray(layer.bias[...], np.float32)
    return conv_nodes(weight, bias, strides, pads, dilation, site)


def conv_nodes(
    weight: np.ndarray,
    bias: np.ndarray | None,
    strides: list[int],
    pads: list[Pair],
    dilation: list[int],
    site: Site,
) -> Exported:
    """One Conv1d or Conv2d, or two in a row, for an ungrouped weight (C_out, C_in, *kernel).

    Padding (low, high) becomes the same on both sides. Where the kernel of a Conv2d cannot be square,
    the first one gives too much, and a second one cuts it off. It keeps every channel as it is: a kernel
    of 2x2 whose only tap, 1, is the first one. Its dilation is the number of rows and columns that it
    cuts off.
    """
    square = weight.ndim == 4
    weight, padding, dilation, extras = symmetric_padding(
        weight, site.shape[1:], strides, pads, dilation, square
    )
    channels = weight.shape[0]
    zeros = np.zeros(channels, np.float32)
    bias = zeros if bias is None else bias
    if not square:
        node = nir.Conv1d(site.shape[1], weight, strides[0], padding[0], dilation[0], 1, bias)
        return [("", node)]
    node = nir.Conv2d(
        tuple(site.shape[1:]), weight, tuple(strides), tuple(padding), tuple(dilation), 1, bias
    )
    if not any(extras):
        return [("", node)]
    first = np.zeros((channels, channels, 2, 2), np.float32)
    first[np.arange(channels), np.arange(channels), 0, 0] = 1
    given = tuple(int(n) for n in node.output_type["output"][1:])
    cut = nir.Conv2d(given, first, (1, 1), (0, 0), tuple(extras), 1, zeros)
    return [(".conv", node), (".cut", cut)]


def _each(value: Any, rank: int) -> list[int]:
    if value is None or isinstance(value, int):
        return [1 if value is None else value] * rank
    return [int(n) for n in value]


KINDS = [Kind("Conv1d", load), Kind("Conv2d", load, {"flax.nnx.Conv": export})]
