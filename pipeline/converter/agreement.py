"""Does a graph mean its model? Both run on random inputs before the graph is handed out.

The exporters know layers by their classes; this knows nothing of classes. The model runs by
`spyx.nn.run` in float32, the graph by the reference in float64. From the step on in which a membrane of
a sample comes so near to its threshold that float32 may decide otherwise, that sample proves nothing and
is left out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline.converter import reference
from pipeline.converter.layout import to_first, to_last
from pipeline.errors import GraphError

STEPS = 16
SCALES = (0.1, 1.0, 10.0, 1000.0)
# Neurons times steps times samples that are in memory at once, at some 30 bytes each.
MOST_ENTRIES = 20_000_000
# float32 sums of a few thousand terms are known to some 1e-6 of the largest membrane of the layer.
TIE, OUTPUT = 1e-5, 1e-4
HUGE = 1e30  # float32 overflows not far above, float64 does not


def difference(model: Any, plan: reference.Plan, dt: float, order: np.ndarray | None) -> str | None:
    """Where a model and its graph first differ on random inputs; None where they agree.

    Args:
        model: with Spyx's layer contract, `initial_state` included.
        plan: of its graph, see `reference.make_plan`.
        order: where the model ends behind a Flatten: position k of NIR's output is Spyx's order[k].

    Raises:
        GraphError: the model itself does not run, or puts out another shape than the graph.
    """
    x, scales = inputs(plan)
    # A model that overflows is left out below, sample by sample.
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.run(plan, x, dt)
    found = _run(model, {name: to_last(array, array.ndim - 2) for name, array in x.items()})
    sure = _sure(plan, expected)
    for name, right in expected.outputs.items():
        rank = right.ndim - 2
        seen = to_first(found[name] if isinstance(found, dict) else found, rank)
        if seen.shape != right.shape:
            raise GraphError(
                f"the model puts out {seen.shape[2:]} (channels first), its graph {right.shape[2:]}"
            )
        if order is not None:
            seen = seen[..., order]
        axes = tuple(range(2, right.ndim))
        size = np.maximum.accumulate(np.abs(right).max(axis=axes), axis=0)
        held = sure & np.logical_and.accumulate(size < HUGE, axis=0)
        allowed = _spread(OUTPUT * size + 1 / HUGE, rank)
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(seen - right) <= allowed) & _spread(held, rank)
        if wrong.any():
            at = tuple(int(i) for i in np.argwhere(wrong)[0])
            step, sample, *place = at
            return (
                f"on random input of size {scales[sample]:g}, step {step}, output {tuple(place)}: "
                f"{seen[at]:g} by spyx.nn.run, {right[at]:g} by NIR's equations"
            )
    return None


def inputs(plan: reference.Plan) -> tuple[dict[str, np.ndarray], list[float]]:
    """Random inputs by name, (T, B, *shape) float32, channels first, and the size of each sample.

    For each of `SCALES` one sample of both signs at every place, and one that is mostly 0, of one sign.
    Fewer steps and sizes where the graph is too large for all.
    """
    entries = sum(int(np.prod(shape)) for shape in plan.shapes.values())
    steps = int(np.clip(MOST_ENTRIES // (8 * entries), 4, STEPS))
    scales = [1.0, 1000.0] if 8 * steps * entries > MOST_ENTRIES else list(SCALES)
    rng = np.random.default_rng(0)
    x = {}
    for name in plan.inputs:
        shape = (steps, len(scales), *plan.shapes[name])
        dense, sparse = rng.normal(size=shape), rng.random(shape)
        sparse = np.where(rng.random(shape) < 0.3, sparse, 0)
        sizes = _spread(np.array(scales)[None], len(shape) - 2)
        x[name] = np.concatenate([dense * sizes, sparse * sizes], axis=1).astype(np.float32)
    return x, 2 * scales


def _run(model: Any, x: dict[str, np.ndarray]) -> Any:
    """What the model puts out, float64 arrays (T, B, ...), channels last."""
    import jax
    import spyx.nn as snn

    try:
        given = {name: jax.numpy.asarray(array) for name, array in x.items()}
        first, *more = given.values()
        state = model.initial_state(first.shape[1])
        with jax.default_matmul_precision("highest"):
            out, _ = snn.run(model, given if more else first, state)
        return jax.tree.map(lambda a: np.asarray(a, np.float64), out)
    except Exception as error:  # whatever its layers raise
        shapes = ", ".join(str(("batch", *array.shape[2:])) for array in x.values())
        text = " ".join(str(error).split()) or type(error).__name__
        raise GraphError(
            f"the model does not run by spyx.nn.run on inputs of shape {shapes}: {text:.200}"
        ) from None


def _sure(plan: reference.Plan, result: reference.Result) -> np.ndarray:
    """(T, B): whether no membrane of a sample has come near to its threshold up to this step."""
    steps, batch = next(iter(result.outputs.values())).shape[:2]
    near = np.zeros((steps, batch), bool)
    for path, u in result.membranes.items():
        node = plan.nodes[path]
        axes = tuple(range(2, u.ndim))
        theta = reference.uniform(node.get("v_threshold", node.get("threshold")), u.shape[2:])
        size = np.maximum.accumulate(np.abs(u).max(axis=axes), axis=0)
        allowed = _spread(TIE * np.maximum(size, np.abs(theta).max()), len(axes))
        # A membrane of exactly 0 has met no rounding.
        close = (np.abs(u - theta) <= allowed) & (u != 0)
        near |= close.any(axis=axes) | ~(size < HUGE)
    return ~np.logical_or.accumulate(near, axis=0)


def _spread(array: np.ndarray, rank: int) -> np.ndarray:
    """(T, B) with `rank` axes of one more."""
    return array.reshape(*array.shape, *[1] * rank)
