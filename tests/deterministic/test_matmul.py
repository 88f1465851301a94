"""Matrix products that are cut into pieces: the right numbers, and what XLA makes of them."""

from __future__ import annotations

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from end_to_end import tiny_task

from pipeline.training import engine, networks
from spyx_nir.deterministic.matmul import GROUP, PIECE, matmul

TERMS = [1, 38, PIECE, PIECE + 1, 3 * PIECE, GROUP - 5, GROUP, 2 * GROUP + PIECE + 7]


@pytest.mark.parametrize("terms", TERMS)
def test_products_and_gradients_of_whole_numbers_are_exact(terms: int) -> None:
    """Small whole numbers: float32 adds them without rounding, so NumPy's integers must come out."""
    random = np.random.default_rng(terms)
    a, b, ct = (random.integers(-3, 4, shape) for shape in ((5, terms), (terms, 7), (5, 7)))
    float32 = [jnp.asarray(x, jnp.float32) for x in (a, b, ct)]
    product, pull = jax.jit(lambda a, b: jax.vjp(matmul, a, b))(*float32[:2])
    np.testing.assert_array_equal(product, a @ b)
    for found, expected in zip(pull(float32[2]), (ct @ b.T, a.T @ ct), strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["braille", "nmnist"])
def test_no_product_of_a_training_step_is_of_a_transposed_matrix(name: str) -> None:
    """XLA makes code for the processor at hand of those; all others sum the left factor's last axis."""
    task = tiny_task(name, "v_reset")
    model = networks.build(task)
    events = np.zeros((4, task.data.bins, *networks.input_shape(task)), np.uint8)
    x = networks.to_model_layout(events)

    def loss(parameters: dict[str, jax.Array]) -> jax.Array:
        return engine.run(networks.with_parameters(model, parameters), x)[0].sum()

    values = {k: jnp.asarray(v[...]) for k, v in networks.named_parameters(model).items()}
    text = jax.jit(jax.grad(loss)).lower(values).compile().as_text()
    products = re.findall(r"dot\(.*lhs_contracting_dims={(\d)}.*rhs_contracting_dims={(\d)}", text)
    assert len(products) > 3
    assert set(products) <= {("1", "0"), ("2", "1")}
