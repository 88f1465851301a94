"""Delay: y(t) = x(t - delay), with `delay` in the unit of dt, per element; zeros before the start.

On the grid the delay must be a whole number of steps.
"""

from __future__ import annotations

import nir
import numpy as np

from spyx_nir.converter.registry import Kind
from spyx_nir.errors import GraphError
from spyx_nir.meaning.reference import Equation, same_shape


def delay_steps(delay, dt):
    """Whole steps; a file's float32 may be off by one part in 2^22. A million steps are the most."""
    steps = np.asarray(delay, np.float64) / dt
    rounded = np.round(steps)
    off = np.abs(steps - rounded) > 2.0**-22 * np.maximum(rounded, 1)
    bad = off | (rounded < 0) | (rounded > 1_000_000)
    if bad.any():
        raise GraphError(
            f"`delay` is {float(np.asarray(delay)[bad].flat[0]):g}; a whole number of steps of "
            f"dt = {dt:g} is needed, from 0 to a million"
        )
    return rounded.astype(int)


def step_delay(node, x, state, dt):
    steps = np.broadcast_to(delay_steps(node["delay"], dt), x.shape[1:])
    past = [x, *state.get("past", [])][: steps.max() + 1]
    y = np.zeros_like(x)
    for k, then in enumerate(past):
        y = np.where(steps == k, then, y)
    return y, {"past": past}


def load(node, site, stock):
    from spyx_nir.converter.layers import Delay
    from spyx_nir.converter.layout import last

    try:
        steps = delay_steps(node["delay"], site.dt)
    except GraphError as error:
        raise site.refuse(str(error)) from None
    return Delay(last(site.shape), site.to_spyx(steps).astype(int))


def export(layer, site):
    site.check_hidden(layer.hidden_shape)
    steps = np.reshape(layer.steps, layer.hidden_shape)
    delay = site.to_nir(steps, "steps") * site.dt
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
        {"spyx_nir.converter.layers.Delay": export},
        (delay_steps,),
    )
]
