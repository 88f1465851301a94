"""Matrix products in float32 whose bits do not depend on the processor.

With the flag that `pipeline.environment` sets, XLA's library for products adds in one order on every
instruction set, in two cases excepted, which are avoided here:

- It cuts a long sum into blocks by the sizes of the processor's caches. So long sums are cut here, into
  pieces that are one block each, and the pieces are added in order.
- XLA does not give it products of a transposed matrix, but makes code for the processor at hand. So
  both factors and the product are stored row by row: no transpose of any of them joins the product.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

# Terms of a sum that are added in one product. Sums of 512 terms have the same bits natively
# (AVX-512) and under emulated processors with other caches; sums of 3072 do not.
PIECE = 512
GROUP = 16 * PIECE  # terms whose pieces are in memory at once


@jax.custom_vjp
def matmul(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a @ b` for a (M, K) and b (K, N); its gradients are such products, too."""
    terms = a.shape[1]
    if terms <= PIECE:
        return _by_rows(a, b)
    if terms <= GROUP:
        whole = terms // PIECE * PIECE
        total = _in_pieces(a[:, :whole], b[:whole])
        return total + _by_rows(a[:, whole:], b[whole:]) if whole < terms else total

    def add(n: jax.Array, total: jax.Array) -> jax.Array:
        start = n * GROUP
        left = lax.dynamic_slice_in_dim(a, start, GROUP, 1)
        return total + _in_pieces(left, lax.dynamic_slice_in_dim(b, start, GROUP))

    whole = terms // GROUP * GROUP
    total = lax.fori_loop(1, terms // GROUP, add, _in_pieces(a[:, :GROUP], b[:GROUP]))
    return total + matmul(a[:, whole:], b[whole:]) if whole < terms else total


def _in_pieces(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a @ b` whose sums are a multiple of `PIECE` long."""
    left = a.reshape(a.shape[0], -1, PIECE).swapaxes(0, 1)
    return _by_rows(left, b.reshape(-1, PIECE, b.shape[1])).sum(0)


def _by_rows(a: jax.Array, b: jax.Array) -> jax.Array:
    """`a @ b`, which XLA joins with nothing: no transpose, and no sum with an order of its own."""
    return lax.optimization_barrier(jnp.matmul(*lax.optimization_barrier((a, b))))


def _backward(saved: tuple[jax.Array, jax.Array], ct: jax.Array) -> tuple[jax.Array, jax.Array]:
    a, b = saved
    return matmul(ct, b.T), matmul(a.T, ct)


matmul.defvjp(lambda a, b: (matmul(a, b), (a, b)), _backward)
