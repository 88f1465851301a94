"""Does a graph mean its model? Both run on random inputs before the graph is returned.

The exporters know layers by their classes; this knows nothing of classes. The model runs by
`spyx.nn.run` in float32, the graph by the reference in float64. From the step on in which a membrane
comes so near to its threshold that float32 may decide otherwise, what depends on it proves nothing and
is left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from spyx_nir.converter.layout import to_first, to_last
from spyx_nir.errors import GraphError, one_line
from spyx_nir.meaning import reference
from spyx_nir.meaning.equations import uniform
from spyx_nir.meaning.plan import Plan

STEPS = 16
SCALES = (0.1, 1.0, 10.0, 1000.0)
# Neurons times steps times samples that are in memory at once, at some 40 bytes each.
MOST_ENTRIES = 20_000_000
# float32 sums of a few thousand terms are known to some 1e-6 of the largest membrane of the layer.
TIE, OUTPUT = 1e-5, 1e-4
HUGE = 1e30  # float32 overflows not far above, float64 does not


@dataclass(frozen=True)
class Row:
    """A layer of a model and what it is in the graph.

    where: how messages call it. layers: the model's layers that it stands for, in a row; () for none.
    path: the node whose output is the layer's; None where the layer has no node. order: position k of
    that output in NIR is Spyx's order[k], see `layout.flatten_order`. arrives: the nodes whose outputs
    are summed into its input, None where that is not known; before: the order of their features.
    """

    where: str
    layers: tuple[Any, ...]
    path: str | None
    order: np.ndarray | None = None
    arrives: tuple[str, ...] | None = None
    before: np.ndarray | None = None

    @property
    def layer(self) -> Any:
        """The only layer of the row, or the last one."""
        return self.layers[-1]


def check(
    run_model: Callable[[dict[str, Any]], Any], name: str, rows: list[Row], plan: Plan, dt: float
) -> None:
    """Refuse a graph that does something else than its model on random inputs.

    First every layer runs alone on what arrives at it in the graph: there a membrane near its threshold
    hides one neuron, not the whole sample. Then the model runs.

    Args:
        run_model: the model, from arrays (T, B, ...), channels last, by input name to its outputs: an
            array, a mapping by name, or a list in the order of the graph's outputs.
        name: of the model's class.
        rows: the layers in the order in which they run.
        plan: of its graph, see `meaning.plan.make_plan`.

    Raises:
        GraphError: a layer or the model does not run, or puts out something else; names the first.
    """
    import spyx.nn as snn

    x, scales = inputs(plan)
    wanted = {path for row in rows if row.arrives is not None for path in (*row.arrives, row.path)}
    left: dict[str, list[np.ndarray]] = {path: [] for path in wanted if path}

    def watch(path: str, arrives: Any, leaves: np.ndarray, state: Any) -> None:
        if path in left:
            left[path].append(leaves.astype(np.float32))

    # A model that overflows is left out below, sample by sample.
    with np.errstate(over="ignore", invalid="ignore"):
        expected = reference.run(plan, x, dt, watch=watch)
    near = {path: _near(plan, path, u) for path, u in expected.membranes.items()}
    never = np.zeros(next(iter(x.values())).shape[:2], bool)
    sure = ~np.any([never, *map(_any, near.values())], axis=0)
    steps = {path: np.stack(found) for path, found in left.items() if found} | x
    for row in rows:
        if row.arrives is None or not row.layers:
            continue
        first, *more = (steps[path] for path in row.arrives)
        arriving = sum(more, first)
        leaving = steps[row.path] if row.path else arriving
        held = ~near[row.path] if row.path in near else np.array(True)
        alone = functools.partial(run, snn.Sequential(*row.layers))
        found = _run(row, alone, {"input": _to_spyx(arriving, row.before)})
        _compare(row, found, leaving, row.order, held, scales)
    whole = Row(f"the model ({name})", (), "")
    found = _run(whole, run_model, {name: _to_spyx(array, None) for name, array in x.items()})
    order = rows[-1].order if len(expected.outputs) == 1 and rows else None
    for place, (output, right) in enumerate(expected.outputs.items()):
        seen = found[output] if isinstance(found, dict) else found
        seen = seen[place] if isinstance(seen, list) else seen
        _compare(whole, seen, right, order, _spread(sure, right.ndim - 2), scales)


def _compare(
    row: Row,
    seen: np.ndarray,
    right: np.ndarray,
    order: np.ndarray | None,
    held: np.ndarray,
    scales: list[float],
) -> None:
    """Refuse outputs, (T, B, ...) and channels last, that differ from the graph's, channels first.

    Args:
        held: where they must agree; broadcasts against the graph's.

    Raises:
        GraphError: they differ in shape, or where `held` by more than rounding explains.
    """
    rank = right.ndim - 2
    seen = to_first(seen, rank)
    if seen.shape != right.shape:
        what = f"puts out {seen.shape[2:]} (channels first), its graph {right.shape[2:]}"
        raise _refused(row, what, "disagreement")
    seen = seen if order is None else seen[..., order]
    size = np.abs(right).max(axis=tuple(range(2, right.ndim)))
    held = held & _spread(np.logical_and.accumulate(size < HUGE, axis=0), rank)
    # Of all steps: in a single one the terms of a sum may cancel, and their rounding does not.
    largest = np.where(size < HUGE, size, 0).max(axis=0, keepdims=True)
    with np.errstate(invalid="ignore"):
        wrong = ~(np.abs(seen - right) <= _spread(OUTPUT * largest + 1 / HUGE, rank)) & held
    if wrong.any():
        at = tuple(int(i) for i in np.argwhere(wrong)[0])
        step, sample, *place = at
        where = f"on random input of size {scales[sample]:g}, step {step}, output {tuple(place)}"
        numbers = f"{seen[at]:g} by spyx.nn.run, {right[at]:g} by NIR's equations"
        what = f"does something else than the graph written for it; {where}: {numbers}"
        raise _refused(row, what, "disagreement")


def _refused(row: Row, what: str, code: str) -> GraphError:
    return GraphError(f"{row.where} {what}", node=row.path, code=code)


def inputs(plan: Plan) -> tuple[dict[str, np.ndarray], list[float]]:
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


def run(model: Any, x: dict[str, Any]) -> Any:
    """What a model with Spyx's layer contract puts out, for arrays (T, B, ...) by input name."""
    import spyx.nn as snn

    first, *more = x.values()
    return snn.run(model, x if more else first, model.initial_state(first.shape[1]))[0]


def _run(row: Row, run_model: Callable[[dict[str, Any]], Any], x: dict[str, np.ndarray]) -> Any:
    """What a model puts out, float64 or complex arrays (T, B, ...), channels last."""
    import jax

    try:
        given = {name: jax.numpy.asarray(array) for name, array in x.items()}
        with jax.default_matmul_precision("highest"):
            out = run_model(given)
        return jax.tree.map(lambda a: np.asarray(a, np.result_type(a.dtype, np.float64)), out)
    except Exception as error:  # whatever its layers raise
        shapes = ", ".join(str(("batch", *array.shape[2:])) for array in x.values())
        what = f"does not run by spyx.nn.run on inputs of shape {shapes}: {one_line(error)}"
        raise _refused(row, what, "not-run") from None


def _near(plan: Plan, path: str, u: np.ndarray) -> np.ndarray:
    """Where a membrane u (T, B, *shape) has come near to its threshold up to this step.

    In a recurrent layer one neuron's spike reaches all of them: (T, B, 1).
    """
    node, axes = plan.nodes[path], tuple(range(2, u.ndim))
    theta = uniform(node.get("v_threshold", node.get("threshold")), u.shape[2:])
    size = np.maximum.accumulate(np.abs(u).max(axis=axes), axis=0)
    allowed = _spread(TIE * np.maximum(size, np.abs(theta).max()), len(axes))
    # A membrane of exactly 0 has met no rounding.
    near = (np.abs(u - theta) <= allowed) & (u != 0) | _spread(~(size < HUGE), len(axes))
    near = np.logical_or.accumulate(near, axis=0)
    recurrent = len(plan.sources[path]) > 1
    return _spread(_any(near), len(axes)) if recurrent else near


def _any(array: np.ndarray) -> np.ndarray:
    """(T, B): whether anything is true in a (T, B, ...)."""
    return np.asarray(array.any(axis=tuple(range(2, array.ndim))))


def _to_spyx(array: np.ndarray, order: np.ndarray | None) -> np.ndarray:
    """A graph's (T, B, *shape) as Spyx's layers take it, float32."""
    turned = np.empty_like(array)
    turned[..., slice(None) if order is None else order] = array
    return to_last(turned, array.ndim - 2)


def _spread(array: np.ndarray, rank: int) -> np.ndarray:
    """(T, B) with `rank` axes of one more."""
    return array.reshape(*array.shape, *[1] * rank)
