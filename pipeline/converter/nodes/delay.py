"""Delay: y(t) = x(t - delay), with `delay` in the unit of dt, per element; zeros before the start.

On the grid the delay must be a whole number of steps.
"""

from __future__ import annotations

import nir
import numpy as np

from pipeline.converter.node import Kind
from pipeline.converter.reference import Equation, same_shape
from pipeline.errors import GraphError


def delay_steps(delay, dt):
    """Whole steps; a file's float32 may be off by one part in 2^22."""
    steps = np.asarray(delay, np.float64) / dt
    whole = np.round(steps)
    if (whole < 0).any() or (np.abs(steps - whole) > 2.0**-22 * np.maximum(whole, 1)).any():
        raise GraphError(
            f"Delay: {np.asarray(delay).ravel()[:3]} is no whole number of steps of dt = {dt:g}"
        )
    return whole.astype(int)


def step_delay(node, x, state, dt):
    steps = np.broadcast_to(delay_steps(node["delay"], dt), x.shape[1:])
    past = [x, *state.get("past", [])][: steps.max() + 1]
    y = np.zeros_like(x)
    for k, then in enumerate(past):
        y = np.where(steps == k, then, y)
    return y, {"past": past}


def load(node, site, stock):
    from pipeline.converter.layers import Delay
    from pipeline.converter.layout import last

    try:
        steps = delay_steps(node["delay"], site.dt)
    except GraphError as error:
        raise site.refuse(str(error)) from None
    return Delay(last(site.shape), site.to_spyx(steps).astype(int))


def export(layer, site):
    delay = site.to_nir(layer.steps, "steps") * site.dt
    return [("", nir.Delay(delay))]


def examples(rng):
    return [
        (nir.Delay(rng.integers(0, 4, size=(3,)).astype(np.float32)), (3,)),
        (nir.Delay(rng.integers(0, 3, size=(2, 3, 4)).astype(np.float32)), (2, 3, 4)),
    ]


KINDS = [
    Kind(
        "Delay",
        Equation(step_delay, same_shape, "delay", stateful=True),
        load,
        examples,
        {"pipeline.converter.layers.Delay": export},
        (delay_steps,),
    )
]
