"""Random modules: the model, the float64 reference and the re-imported graph give the same.

The fast run is a taste of 15; `make test-full` takes 500.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agree import CLEAR, margin
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from random_modules import INPUT, RandomModule, recipes

from spyx_nir.converter import load, to_nir
from spyx_nir.converter.as_dict import as_dict
from spyx_nir.errors import GraphError
from spyx_nir.meaning import reference

STEPS, BATCH = 6, 2
QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


def by_steps(model, x):
    """A list of outputs (T, B, ...), without compiling the whole."""
    state, rows = model.initial_state(x.shape[1]), []
    for frame in x:
        out, state = model(jnp.asarray(frame), state)
        rows.append([np.asarray(leaf, np.float64) for leaf in jax.tree.leaves(out)])
    return [np.stack(row) for row in zip(*rows, strict=True)]


def clear_input(graph):
    """x (T, B, INPUT) at which no membrane comes near its threshold, and the reference's result."""
    for seed in range(20):
        x = np.random.default_rng(seed).uniform(-0.5, 1.5, (STEPS, BATCH, INPUT)).astype(np.float32)
        result = reference.run(graph, x, 1.0)
        if margin(graph, result) > CLEAR:
            return x, result
    return None


def agrees(recipe, tapped):
    """Compare the three on one module."""
    assume(any(kind != "drop" for kind, *_ in recipe))
    tap = len(recipe) // 2 if tapped else None
    model = RandomModule(recipe, tap)
    sizes = [INPUT, *(row[2] for row in recipe)]
    outputs = {"o0": (sizes[-1],)} | ({} if tap is None else {"o1": (sizes[tap],)})
    try:
        graph = to_nir(model, {"i": (INPUT,)}, outputs, strict=True, check=False)
    except GraphError as error:  # nothing of the input reaches an output
        assume("nothing would be left" not in str(error))
        raise
    found = clear_input(as_dict(graph))
    assume(found is not None)
    x, result = found
    seen = by_steps(model, x)
    loaded = load(graph, 1.0)
    again = by_steps(loaded.model, x)
    for k, name in enumerate(outputs):
        expected = result.outputs[name]
        # float32 sums of a dozen terms, where values add up over six steps.
        bound = 1e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(seen[k], expected, rtol=0, atol=bound, err_msg="the model")
        np.testing.assert_allclose(again[k], expected, rtol=0, atol=bound, err_msg="the import")


@settings(max_examples=15, derandomize=True, **QUIET)
@given(recipes(), st.booleans())
def test_a_random_module_agrees_three_ways(recipe, tapped):
    agrees(recipe, tapped)


@pytest.mark.full
@pytest.mark.timeout(0)
@settings(max_examples=500, derandomize=False, **QUIET)
@given(recipes(), st.booleans())
def test_many_random_modules_agree_three_ways(recipe, tapped):
    agrees(recipe, tapped)
