"""The order of numbers: channels first in NIR, last in Spyx; flatten order; padding; time constants.

NIR shapes have no batch axis and put channels first: (C, H, W), (C, L). Flax and Spyx put them last:
(H, W, C), (L, C). Shapes of any other rank are the same on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.errors import GraphError
from spyx_nir.meaning.equations import ENDLESS, Pair, Shape, outputs


def last(shape: Shape) -> Shape:
    """A NIR shape as Spyx sees it: (C, H, W) -> (H, W, C)."""
    return (*shape[1:], shape[0]) if len(shape) in (2, 3) else tuple(shape)


def to_last(array: Any, rank: int) -> Any:
    """The last `rank` axes of an array from channels first to channels last."""
    return np.moveaxis(array, -rank, -1) if rank in (2, 3) else array


def to_first(array: Any, rank: int) -> Any:
    """The last `rank` axes of an array from channels last to channels first."""
    return np.moveaxis(array, -1, -rank) if rank in (2, 3) else array


def flatten_order(shape: Shape) -> np.ndarray | None:
    """For the flattened NIR shape: position k of NIR's vector is position order[k] of Spyx's.

    None where the two are the same.
    """
    if len(shape) not in (2, 3):
        return None
    index = np.arange(int(np.prod(shape))).reshape(last(shape))
    order = to_first(index, len(shape)).ravel()
    return None if np.array_equal(order, np.arange(order.size)) else order


ENSEMBLE = "; of an ensemble that nnx.vmap made, export one member at a time"


def tau_of(decay: np.ndarray, dt: float) -> np.ndarray:
    """Time constants from decays per step: tau = dt / (1 - decay), in the unit of dt.

    float32 where 1 - dt/tau gives the same float32 decay back, else float64, which always does.
    A decay of 1 has `ENDLESS` steps.
    """
    lost = 1.0 - np.asarray(decay, np.float64)
    tau = dt / np.where(lost > 0, lost, 1 / ENDLESS)
    short = tau.astype(np.float32)
    same = decay_of(short, dt) == np.asarray(decay, np.float32)
    return short if same.all() else tau


def decay_of(tau: Any, dt: float) -> np.ndarray:
    """Decays per step from time constants: 1 - dt/tau in float64, then float32; never below 0."""
    return np.maximum(1.0 - dt / np.asarray(tau, np.float64), 0.0).astype(np.float32)


def gain_of(gain: Any) -> np.ndarray | None:
    """The factor on an input, or None where it is 1.

    r and tau are each rounded to float32 in a file, half a unit of 2^-23 each: a gain within 2^-22
    of 1 is a gain of 1.
    """
    gain = np.asarray(gain, np.float64)
    with np.errstate(over="ignore"):  # the caller refuses what is infinite
        return None if (np.abs(gain - 1.0) <= 2.0**-22).all() else gain.astype(np.float32)


@dataclass
class Site:
    """Where a layer or node is while it is converted.

    `shape` is the NIR shape that arrives. `order` is the order of Spyx's features there after a
    Flatten (see `flatten_order`), None for the same order.

    Of a node that becomes a layer: `node` is its path. `in_sequential` says that the layer is one of a
    `spyx.nn.Sequential`, so it delays a neuron's spike itself, and a Spyx layer is taken where it does
    what the node says; a `GraphModel` delays spikes itself. `spyx_flatten` says that the features
    behind a Flatten may be in Spyx's order.
    """

    where: str
    shape: Shape
    dt: float
    order: np.ndarray | None = None
    node: str | None = None
    in_sequential: bool = False
    spyx_flatten: bool = False

    def refuse(self, text: str, *, field: str | None = None) -> GraphError:
        """The error to raise: names the place."""
        return GraphError(f"{self.where}: {text}", node=self.node, field=field, code="unsupported")

    def to_nir(self, value: Any, name: str) -> np.ndarray:
        """A parameter of a Spyx layer (a scalar, or one that broadcasts) in NIR's shape, float64."""
        array = np.asarray(value, np.float64)
        beyond = array.ndim - len(self.shape)
        if beyond > 0 and array.shape[:beyond] == (1,) * beyond:  # the same for every sample
            array = array.reshape(array.shape[beyond:])
        try:
            array = np.broadcast_to(array, last(self.shape))
        except ValueError:
            remedy = ENSEMBLE if array.ndim > len(self.shape) else ""
            what = f"`{name}` has shape {array.shape}, but {last(self.shape)} arrives{remedy}"
            raise self.refuse(what) from None
        array = to_first(array, len(self.shape))
        return array if self.order is None else array[self.order]

    def decay(self, value: Any, name: str) -> np.ndarray:
        """A Spyx decay in NIR's shape, clipped to [0, 1] as Spyx clips it when it runs."""
        array = self.to_nir(value, name)
        if np.isnan(array).any():
            raise self.refuse(f"`{name}` holds NaN")
        return np.clip(array, 0.0, 1.0)

    def to_spyx(self, value: Any) -> np.ndarray:
        """A NIR parameter in Spyx's order, float32; a single number stays one."""
        array = np.asarray(value, np.float32)
        if array.size == 1 and array.shape != self.shape:
            return array.reshape(())
        array = to_last(array, len(self.shape))
        return np.ascontiguousarray(array if self.order is None else array[np.argsort(self.order)])

    def check_hidden(self, hidden_shape: Any) -> None:
        """A Spyx neuron's `hidden_shape` must be what arrives."""
        own, arrives = tuple(hidden_shape), last(self.shape)
        if own != arrives:
            raise self.refuse(f"`hidden_shape` is {own}, but {arrives} arrives")

    def check_arithmetic(self, layer: Any) -> None:
        """An `nnx.Linear` or `nnx.Conv` must compute in float32, with JAX's own product.

        Raises:
            GraphError: it rounds to another type or multiplies otherwise while it runs, which no field
                of NIR says.
        """
        from flax.nnx.nn.dtypes import promote_dtype
        from jax import lax

        rounds = "NIR cannot say that it rounds while it runs"
        for name in ("dtype", "preferred_element_type"):
            kind = getattr(layer, name)
            # Without JAX's 64-bit mode float64 is float32.
            if kind is not None and np.dtype(kind) not in (np.float32, np.float64):
                raise self.refuse(f"`{name}` is {np.dtype(kind)}: {rounds}; use float32")
        if not _usual_precision(layer.precision):
            raise self.refuse(f"`precision` is {layer.precision}: {rounds}; use None")
        own = {
            "dot_general": lax.dot_general,
            "dot_general_cls": None,
            "conv_general_dilated": lax.conv_general_dilated,
            "promote_dtype": promote_dtype,
        }
        for name, usual in own.items():
            if getattr(layer, name, usual) is not usual:
                raise self.refuse(f"`{name}` is a function of its own, which NIR cannot express")


def _usual_precision(precision: Any) -> bool:
    """Whether a `precision` leaves the choice to the device, as JAX's names for its speeds do.

    An algorithm by name, such as BF16_BF16_F32, rounds its inputs on every device.
    """
    from jax import lax

    if isinstance(precision, tuple):
        return all(map(_usual_precision, precision))
    usual = "default fastest high highest float32 tensorfloat32 bfloat16 bfloat16_3x"
    return precision is None or isinstance(precision, lax.Precision) or precision in usual.split()


def symmetric_padding(
    kernel: np.ndarray,
    sizes: Shape,
    strides: list[int],
    pads: list[Pair],
    dilation: list[int],
    square: bool,
) -> tuple[np.ndarray, list[int], list[int], list[int]]:
    """An equivalent kernel with the same padding on both sides, and square if asked.

    NIR pads both sides alike, and nir 1.0.8 infers a 2-D output from the first kernel dimension only,
    so a kernel must be square to pass its type check. Zero taps change neither: with `a` of them before
    the kernel the padding is p = lo + d*a, and those after it are harmless as long as the number of
    outputs stays what it was. The smallest such kernel is taken; where the given dilation allows none,
    the kernel is written out dense with dilation 1.

    Without a stride the number of taps along each axis is odd or even once and for all; where one is
    odd and the other even, every square kernel gives outputs too many. They come after the wanted ones
    then, at least one along each axis, so that a second convolution can cut them off.

    Args:
        kernel: (C_out, C_in, *spatial).
        sizes, strides, dilation: per spatial axis; pads: (low, high) per spatial axis.

    Returns:
        The kernel, and per axis the padding, the dilation, and the outputs too many at the end: all 0,
        or all 1 or more.
    """
    taps = kernel.shape[2:]
    wanted = [n - 1 for n in outputs(sizes, pads, taps, strides, dilation)]

    def before(axis: int, size: int, step: int, own: int, cut: bool) -> tuple[int, int] | None:
        """Zero taps before a kernel of `own` taps that grows to `size`, and the outputs too many."""
        for zeros in range(size - own + 1):
            room = sizes[axis] + 2 * (pads[axis][0] + step * zeros) - step * (size - 1) - 1
            extra = room // strides[axis] - wanted[axis]
            if extra >= 1 if cut else extra == 0:
                return zeros, extra
        return None

    dense = (_dense(kernel, dilation), [1] * len(sizes))
    for candidate, steps, cut in ((kernel, dilation, False), (*dense, False), (*dense, True)):
        own = candidate.shape[2:]
        longest = max(own) + max(abs(hi - lo) for lo, hi in pads) + max(strides) + 2
        found: list[dict[int, tuple[int, int]]] = []  # per axis: size -> what `before` gives
        for axis, step in enumerate(steps):
            fits = {n: before(axis, n, step, own[axis], cut) for n in range(own[axis], longest)}
            found.append({size: fit for size, fit in fits.items() if fit is not None})
        if square:
            common = set.intersection(*(set(fits) for fits in found))
            found = [{size: fits[size] for size in sorted(common)} for fits in found]
        if not all(found):
            continue
        chosen = [next(iter(fits.items())) for fits in found]
        widths = [(a, size - a - n) for (size, (a, _)), n in zip(chosen, own, strict=True)]
        padding = [lo + d * a for (lo, _), d, (a, _) in zip(pads, steps, widths, strict=True)]
        extras = [extra for _, (_, extra) in chosen]
        return np.pad(candidate, [(0, 0), (0, 0), *widths]), padding, list(steps), extras
    raise AssertionError(f"no kernel for {taps} with padding {pads}")  # not for any that was found


def _dense(kernel: np.ndarray, dilation: list[int]) -> np.ndarray:
    """A dilated kernel with its gaps written out as zeros."""
    sizes = [d * (k - 1) + 1 for k, d in zip(kernel.shape[2:], dilation, strict=True)]
    dense = np.zeros((*kernel.shape[:2], *sizes), kernel.dtype)
    dense[(slice(None), slice(None), *(slice(None, None, d) for d in dilation))] = kernel
    return dense


def block_diagonal(kernel: np.ndarray, groups: int) -> np.ndarray:
    """A grouped kernel (C_out, C_in/groups, ...) as an ungrouped one (C_out, C_in, ...) with zeros."""
    out, inner = kernel.shape[:2]
    full = np.zeros((out, inner * groups, *kernel.shape[2:]), kernel.dtype)
    step = out // groups
    for g in range(groups):
        full[g * step : (g + 1) * step, g * inner : (g + 1) * inner] = kernel[
            g * step : (g + 1) * step
        ]
    return full


def explicit_padding(
    site: Site, padding: Any, kernel: Sequence[int], strides: Sequence[int], dilation: Sequence[int]
) -> list[Pair]:
    """Flax's padding argument as (low, high) per spatial axis of what arrives at `site`.

    "SAME" follows XLA: ceil(size/stride) outputs, the odd one of the padding at the end, with
    "SAME_LOWER" at the start; in any case of letters. An integer pads every side, an integer per axis
    both its sides.

    Raises:
        GraphError: "CIRCULAR", "REFLECT", "CAUSAL" and others that zeros cannot express; a stride or a
            dilation below 1.
    """
    sizes = site.shape[1:]
    if min(*strides, *dilation) < 1:
        raise site.refuse(f"stride {strides}, dilation {dilation}: 1 or more is needed")
    if isinstance(padding, str):
        name = padding.upper()
        if name == "VALID":
            return [(0, 0)] * len(sizes)
        if name in ("SAME", "SAME_LOWER"):
            result = []
            for n, k, s, d in zip(sizes, kernel, strides, dilation, strict=True):
                total = max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0)
                result.append((total // 2, total - total // 2))
            return result if name == "SAME" else [(high, low) for low, high in result]
        if padding == "CAUSAL" and len(sizes) == 1:
            return [(dilation[0] * (kernel[0] - 1), 0)]
        what = f"padding {padding!r} has no equivalent in NIR"
        raise site.refuse(f"{what}; use SAME, VALID or numbers")
    if isinstance(padding, int):
        padding = [padding] * len(sizes)
    pads = [(p, p) if isinstance(p, int) else (int(p[0]), int(p[1])) for p in padding]
    if len(pads) != len(sizes) or min(map(min, pads)) < 0:
        what = f"{len(sizes)} axes take 0 or more on each side"
        raise site.refuse(f"padding {padding!r}: {what}")
    return pads
