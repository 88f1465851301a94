"""Our own readers as the runner takes them: the reference, and Spyx models by `from_nir`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from spyx_nir.converter import file
from spyx_nir.meaning import reference as interpreter

Arrays = dict[str, np.ndarray]


def reference(path: str, inputs: Arrays, dt: float) -> Arrays:
    """By the float64 reference: outputs, spikes and membranes."""
    result = interpreter.run(file.read_dict(path), {n: x[:, None] for n, x in inputs.items()}, dt)
    found = {"output": result.outputs, "spikes": result.spikes, "membrane": result.membranes}
    return {
        f"{part}/{name}": a[:, 0] for part, arrays in found.items() for name, a in arrays.items()
    }


def importer(path: str, inputs: Arrays, dt: float) -> Arrays:
    """By the Spyx model that `from_nir` makes of the file."""
    from spyx_nir.converter import from_nir, load

    nir_graph = file.read(path)
    data = {name: x[:, None] for name, x in inputs.items()}
    _, found = from_nir(nir_graph, data if len(data) > 1 else next(iter(data.values())), dt)
    plan = load(nir_graph, dt).plan
    outputs = found if isinstance(found, Mapping) else {plan.outputs[0]: found}
    return {f"output/{n}": _first(np.asarray(a)[:, 0], plan.shapes[n]) for n, a in outputs.items()}


def _first(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(T, ..., C) as (T, C, ...): Spyx runs channels last."""
    return np.moveaxis(array, -1, 1) if len(shape) > 1 else array
