"""Input and Output: where data enters and leaves. `shape` is without the batch axis."""

from __future__ import annotations

import nir
import numpy as np

from spyx_nir.converter.registry import Kind
from spyx_nir.errors import GraphError
from spyx_nir.meaning.reference import Equation


def step_port(node, x, state, dt):
    return x, state


def shape_port(node, shape):
    declared = tuple(np.ravel(node["shape"]).tolist())
    if declared != tuple(shape):
        raise GraphError(f"it declares shape {declared}, but {tuple(shape)} arrives")
    return declared


def examples(rng):
    return [(nir.Output(np.array([3])), (3,))]


EQUATION = Equation(step_port, shape_port, "shape")
KINDS = [
    Kind("Input", EQUATION, None, lambda rng: []),
    Kind("Output", EQUATION, None, examples),
]
