"""Layers put together quickly: flax's constructors look at every attribute of every layer.

One `nnx.Conv` takes two milliseconds, most of them checks that come out the same for every
convolution with the same options, and an `nnx.Rngs` as much again for random numbers that a given
weight replaces. So a layer is constructed once per structure; every further one is that structure
with other arrays in it, which JAX does in some ten microseconds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np


class _Given:
    """In the place of `nnx.Rngs` where every initial value is given: nothing is drawn from it."""

    def params(self) -> np.ndarray:
        """A key as JAX's raw ones are; not random."""
        return np.zeros(2, np.uint32)


GIVEN: Any = _Given()


def initial_values(kernel: Any, bias: Any) -> dict[str, Any]:
    """What makes an `nnx.Linear` or `nnx.Conv` hold this kernel, and this bias or none."""
    return {
        "use_bias": bias is not None,
        "kernel_init": lambda *_: kernel,
        "bias_init": lambda *_: bias,
        "rngs": GIVEN,
    }


def assemble(
    make: Callable[..., Any], parts: dict[str, Any], *options: Hashable, place: bool = False
) -> Any:
    """`make(*options, **parts)`, which is called once for all parts and options of one structure.

    The layer holds the arrays as they are given, or with `place` as JAX's, copied there all at once.

    Args:
        make: a function of a module (its identity is half the key of the cache) that constructs a
            layer and puts every array of `parts` into it as it is, without computing.
        parts: arrays, layers, lists of layers, or None, by name.
        options: whatever else decides what the layer is.
    """
    import jax

    leaves, inner = jax.tree.flatten(parts)
    structure, order = _structure(make, inner, options)
    if place:
        leaves = _placed(leaves)
    return jax.tree.unflatten(structure, [leaves[i] for i in order])


def placed(model: Any) -> Any:
    """A model whose arrays are JAX's, copied there all at once."""
    import jax

    leaves, structure = jax.tree.flatten(model)
    return jax.tree.unflatten(structure, _placed(leaves))


def _placed(leaves: list[Any]) -> list[Any]:
    import jax

    return jax.device_put([np.array(x) if isinstance(x, np.ndarray) else x for x in leaves])


@functools.lru_cache(maxsize=1024)
def _structure(
    make: Callable[..., Any], inner: Any, options: tuple[Hashable, ...]
) -> tuple[Any, list[int]]:
    """The structure of the layer that `make` constructs, and which part is which of its leaves."""
    import jax

    marks = [np.asarray(i, np.float32) for i in range(inner.num_leaves)]
    leaves, structure = jax.tree.flatten(make(*options, **jax.tree.unflatten(inner, marks)))
    order = [int(leaf) for leaf in leaves]
    assert sorted(order) == list(range(len(marks))), f"{make} changes or loses a part"
    return structure, order
