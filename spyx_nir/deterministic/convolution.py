"""2-D convolution with faster gradients, and a faster forward pass for few channels.

XLA's convolutions on the CPU multiply thin matrices: a spiking CNN has 2 to 16 channels. Here a block
of neighbouring columns is computed at once, as one convolution with a wider kernel, a longer stride
and several times the outputs; the wider kernel holds a shifted copy of the kernel per column, zero
elsewhere. The zeros cost half of the arithmetic, the wider matrices win more than that back, and a
sum stays the same sum, for adding zero changes no bit.

XLA's weight gradient takes more than half of a training step. Instead, chunks small enough for the
cache are unfolded into patches (im2col) and multiplied with what the patches meet. With stride 1 the
patches of the output's gradient serve both gradients.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from spyx_nir.deterministic.matmul import matmul

CHUNK_BYTES = 1_000_000  # of patches: among the fastest of 0.2 to 1.6 MB with 1 MB of L2 cache
BLOCK_OUTPUTS = 64  # of a block of columns: among the fastest of 2, 4 and 8 columns


Pair = tuple[int, int]
Padding = tuple[Pair, Pair]  # (before, after) of rows and columns


def fits(layer: object) -> bool:
    """Whether `apply` computes what `layer` does: a plain 2-D convolution in float32 without bias."""
    return (
        isinstance(layer, nnx.Conv)
        and layer.dtype in (None, jnp.float32)
        and layer.conv_general_dilated is jax.lax.conv_general_dilated
        and len(layer.kernel_size) == 2
        and layer.bias is None
        and layer.mask is None
        and layer.feature_group_count == 1
        and {*_pair(layer.kernel_dilation), *_pair(layer.input_dilation)} == {1}
        and not isinstance(layer.padding, str | int)
        and all(isinstance(sides, tuple) for sides in layer.padding)
    )


def apply(layer: Any, x: jax.Array) -> jax.Array:
    """`layer(x)` for an `nnx.Conv` that `fits` and x (N, H, W, C)."""
    return convolve(_pair(layer.strides), tuple(layer.padding), x, layer.kernel[...])


def _pair(value: Any) -> tuple[int, int]:
    if value is None:
        return 1, 1
    return (value, value) if isinstance(value, int) else (value[0], value[-1])


def _xla(strides: Pair, padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    return lax.conv_general_dilated(
        x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _plain(strides: Pair, padding: Padding, x: jax.Array, kernel: jax.Array) -> jax.Array:
    columns, inputs, outputs = kernel.shape[1:]
    width = (x.shape[2] + sum(padding[1]) - columns) // strides[1] + 1
    # A kernel row shorter than a cache line makes XLA's patches slow, outputs that do not fill a
    # vector its product.
    block = _block(width, outputs, BLOCK_OUTPUTS if columns * inputs < 16 else 16)
    if block == 1:
        return _xla(strides, padding, x, kernel)
    wide = _widen(kernel, block, strides[1])
    out = _xla((strides[0], strides[1] * block), padding, x, wide)
    return out.reshape(*out.shape[:2], width, outputs)


convolve = jax.custom_vjp(_plain, nondiff_argnums=(0, 1))


def _forward(
    strides: Pair, padding: Padding, x: jax.Array, kernel: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _plain(strides, padding, x, kernel), (x, kernel)


def _backward(
    strides: Pair, padding: Padding, saved: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = saved
    if strides == (1, 1):
        return _both_gradients(padding, x, kernel, gradient)
    _, pull = jax.vjp(lambda x: _xla(strides, padding, x, kernel), x)
    return *pull(gradient), _weight_gradient(strides, padding, x, gradient, kernel.shape)


convolve.defvjp(_forward, _backward)


def _both_gradients(
    padding: Padding, x: jax.Array, kernel: jax.Array, gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Gradients of input and kernel for stride 1.

    The gradient of x is the convolution of `gradient` with the kernel turned by 180 degrees, inputs
    and outputs exchanged; the weight gradient of that convolution, for x in the place of its
    gradient, is ours, turned.
    """
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    rows, columns, _, inputs = turned.shape
    sides = [
        (size - 1 - before, size - 1 - after, 0)
        for size, (before, after) in zip((rows, columns), padding, strict=True)
    ]
    framed = lax.pad(gradient, jnp.float32(0), [(0, 0, 0), *sides, (0, 0, 0)])
    block = _block(x.shape[2], inputs)
    places = x.shape[1], x.shape[2] // block
    wide = _widen(turned, block, 1)
    window = wide.shape[0], wide.shape[1]
    of_patches = wide.reshape(-1, block * inputs)

    def add(total: jax.Array, piece: Any) -> tuple[jax.Array, jax.Array]:
        x, framed = piece
        patches = _patches(framed, window, (1, block), places)
        of_wide = matmul(x.reshape(-1, block * inputs).T, patches)
        return total + of_wide, matmul(patches, of_patches)

    pieces = _split(of_patches.shape[0] * places[0] * places[1], x, framed)
    total, of_x = lax.scan(add, jnp.zeros_like(of_patches.T), pieces)
    of_turned = _narrow(total.T.reshape(wide.shape), block, 1, columns)
    return of_x.reshape(x.shape), of_turned[::-1, ::-1].swapaxes(2, 3)


def _weight_gradient(
    strides: Pair, padding: Padding, x: jax.Array, gradient: jax.Array, shape: tuple[int, ...]
) -> jax.Array:
    """Sum over samples and places of patch (h, w, in) times output gradient (out): (h, w, in, out).

    x (N, H, W, in), gradient (N, H', W', out).
    """
    rows, columns, inputs, outputs = shape
    height, width = gradient.shape[1:3]
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    block = _block(width, outputs)
    window = rows, (block - 1) * strides[1] + columns
    places = height, width // block
    patch = window[0] * window[1] * inputs

    def add(total: jax.Array, piece: Any) -> tuple[jax.Array, None]:
        x, gradient = piece
        patches = _patches(x, window, (strides[0], strides[1] * block), places)
        return total + matmul(patches.T, gradient.reshape(-1, block * outputs)), None

    pieces = _split(patch * places[0] * places[1], x, gradient)
    total, _ = lax.scan(add, jnp.zeros((patch, block * outputs), jnp.float32), pieces)
    return _narrow(total.reshape(*window, inputs, -1), block, strides[1], columns)


def _block(width: int, outputs: int, wanted: int = BLOCK_OUTPUTS) -> int:
    """How many neighbouring columns are computed at once: a divisor of `width`."""
    most = max(1, wanted // outputs)
    return max(n for n in range(1, min(most, width) + 1) if width % n == 0)


def _widen(kernel: jax.Array, block: int, stride: int) -> jax.Array:
    """Kernel (h, w, in, out) to the one of a block: (h, (block - 1)*stride + w, in, block*out)."""
    rows, _, inputs, outputs = kernel.shape
    copies = [
        jnp.pad(kernel, ((0, 0), (n * stride, (block - 1 - n) * stride), (0, 0), (0, 0)))
        for n in range(block)
    ]
    return jnp.stack(copies, axis=3).reshape(rows, -1, inputs, block * outputs)


def _narrow(wide: jax.Array, block: int, stride: int, columns: int) -> jax.Array:
    """The gradient of a kernel from that of the kernel that `_widen` made of it."""
    wide = wide.reshape(*wide.shape[:3], block, -1)
    total: jax.Array | int = sum(
        wide[:, n * stride : n * stride + columns, :, n] for n in range(block)
    )
    assert not isinstance(total, int)
    return total


def _patches(x: jax.Array, window: Pair, strides: Pair, places: Pair) -> jax.Array:
    """What a kernel of size `window` meets at each of `places` (rows, columns): (N*places, h*w*C)."""
    samples, _, _, channels = x.shape
    (height, width), (rows, columns) = window, places
    last = (rows - 1) * strides[0] + 1
    blocks = []
    for left in range(0, columns * strides[1], strides[1]):
        lines = [
            x[:, top : top + last : strides[0], left : left + width].reshape(samples, rows, -1)
            for top in range(height)
        ]
        blocks.append(jnp.concatenate(lines, axis=-1))
    return jnp.stack(blocks, axis=2).reshape(-1, height * width * channels)


def _split(floats: int, *arrays: jax.Array) -> list[jax.Array]:
    """Arrays (N, ...) as (chunks, n, ...), where n samples of `floats` numbers fit into a chunk."""
    samples = arrays[0].shape[0]
    wanted = max(1, CHUNK_BYTES // (4 * floats))
    chunk = max(n for n in range(1, min(wanted, samples) + 1) if samples % n == 0)
    return [a.reshape(-1, chunk, *a.shape[1:]) for a in arrays]
