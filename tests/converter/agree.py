"""Three programs on one model: Spyx's own step, the import of its file, and the reference."""

from __future__ import annotations

import jax.numpy as jnp
import nir
import numpy as np

from spyx_nir.converter import export_named, file, load, run
from spyx_nir.converter.graph import as_dict
from spyx_nir.converter.runner import model_input
from spyx_nir.meaning import reference
from spyx_nir.meaning.plan import make_plan

STEPS, BATCH = 9, 2
# float32 membranes of size 1 are known to some 1e-6 after a few steps; data are drawn until the
# reference sees no membrane nearer to its threshold, so that spikes must agree exactly.
CLEAR = 2e-5


def first(array):
    """(T, B, ..., C) to (T, B, C, ...)."""
    return np.moveaxis(array, -1, 2) if array.ndim in (4, 5) else array


def back(array):
    """(T, B, C, ...) to (T, B, ..., C)."""
    return np.moveaxis(array, 2, -1) if array.ndim in (4, 5) else array


def by_steps(model, x):
    """What `spyx.nn.run` scans, step by step: no compilation of the whole."""
    state = model.initial_state(x.shape[1])
    outputs = []
    for frame in x:
        out, state = model(jnp.asarray(frame), state)
        outputs.append(np.asarray(out))
    return np.stack(outputs)


def margin(graph, result):
    """How near any membrane came to its threshold, relative where it is larger than 1."""
    plan = make_plan(graph)
    nearest = np.inf
    for path, u in result.membranes.items():
        node = plan.nodes[path]
        theta = np.asarray(node.get("v_threshold", node.get("threshold")), np.float64)
        nearest = min(nearest, (np.abs(u - theta) / np.maximum(np.abs(u), 1)).min())
    return nearest


def clear_data(graph, shape, dt, draw=None, tries=40):
    """(x channels first, the reference's result), no membrane too near to its threshold."""
    for seed in range(tries):
        rng = np.random.default_rng(seed)
        x = rng.uniform(-0.4, 1.3, (STEPS, BATCH, *shape)) if draw is None else draw(rng)
        x = x.astype(np.float32)
        result = reference.run(graph, x, dt)
        if margin(graph, result) > CLEAR:
            return x, result
    raise AssertionError("every membrane came too near to its threshold")


def close(found, expected, what=""):
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    assert found.shape == expected.shape, what
    if set(np.unique(expected)) <= {0.0, 1.0}:
        assert np.array_equal(found, expected), what
    # 1e-5 is what the product promises, relative where values are larger than 1.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5, err_msg=what)


def three_ways(model, shape, out, path, dt=1.0, order=None, compiled=False, **options):
    """Export, write, read with nir's type check, and compare the three.

    Args:
        shape, out: NIR's, channels first. path: where the file goes.
        compiled: run the import as `from_nir` does; else step by step, which needs no compilation.
        order: where the model ends behind a Flatten: position k of NIR's vector is Spyx's order[k].

    Returns:
        (the graph as read, what `load` made, the reference's result, the names of the layers)
    """
    written, names = export_named(model, {"input": shape}, {"output": out}, dt, **options)
    file.write(path, written)
    graph = nir.read(path)
    assert as_dict(written)["edges"] == [tuple(edge) for edge in graph.edges]
    x, result = clear_data(as_dict(graph), shape, dt)
    loaded = load(graph, dt)
    given = model_input(loaded, back(x))
    outputs = run(loaded.model, given)[0] if compiled else by_steps(loaded.model, given)
    assert loaded.chain
    original = by_steps(model, back(x))
    close(outputs, original, "import against Spyx")
    expected = back(result.output)
    if order is not None:
        expected = expected[..., np.argsort(order)]
    close(original, expected, "Spyx against the reference")
    assert expected.any(), "a silent model proves nothing"
    return graph, loaded, result, names
