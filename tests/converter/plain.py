"""NIR's equations once more, one number at a time, as the table of the design says them.

Nothing here knows the code under test: no vector tricks, no shared helpers. Slow and short.
"""

from __future__ import annotations

import itertools

import numpy as np


def places(shape):
    return itertools.product(*(range(n) for n in shape))


def spread(value, shape):
    """A parameter for every place; one number counts everywhere."""
    array = np.asarray(value, np.float64)
    return np.full(shape, array.ravel()[0]) if array.size == 1 else array.reshape(shape)


def neuron(kind, fields, x, dt, reset="v_reset", start_at_leak=False):
    """x (T, B, *shape) to (output, how near a membrane came to its threshold)."""
    shape = x.shape[2:]
    p = {name: spread(value, shape) for name, value in fields.items()}
    y = np.zeros(x.shape)
    nearest = np.inf
    for b, place in itertools.product(range(x.shape[1]), places(shape)):
        q = {name: float(value[place]) for name, value in p.items()}
        v, i, owed = (q["v_leak"] if start_at_leak else 0.0), 0.0, 0.0
        for t in range(x.shape[0]):
            drive = float(x[(t, b, *place)])
            if kind in ("CubaLIF", "CubaLI"):
                i = i + dt / q["tau_syn"] * (-i + q["w_in"] * drive)
                v = v + dt / q["tau_mem"] * (q["v_leak"] - v + q["r"] * i)
            elif kind in ("LIF", "LI"):
                v = v + dt / q["tau"] * (q["v_leak"] - v + q["r"] * drive)
            else:
                v = v + dt * q["r"] * drive
            if kind in ("I", "LI", "CubaLI"):
                y[(t, b, *place)] = v
                continue
            v -= owed
            owed = 0.0
            nearest = min(nearest, abs(v - q["v_threshold"]))
            if v > q["v_threshold"]:
                y[(t, b, *place)] = 1.0
                if reset == "v_reset":
                    v = q["v_reset"]
                elif reset == "subtract":
                    v -= q["v_threshold"]
                else:
                    owed = q["v_threshold"]
    return y, nearest


def matrix(weight, x, bias=None):
    """weight (..., out, in) on x (T, B, ..., in)."""
    weight = np.asarray(weight, np.float64)
    y = np.zeros((*x.shape[:2], *weight.shape[:-1]))
    for t, b in places(x.shape[:2]):
        for place in places(weight.shape[:-1]):
            total = 0.0 if bias is None else float(np.asarray(bias)[place])
            for j in range(weight.shape[-1]):
                total += weight[(*place, j)] * x[(t, b, *place[:-1], j)]
            y[(t, b, *place)] = total
    return y


def convolve(weight, x, stride, pads, dilation, groups=1, bias=None):
    """Cross-correlation; weight (C_out, C_in/groups, *kernel), x (T, B, C_in, *sizes)."""
    weight = np.asarray(weight, np.float64)
    outer, inner, *kernel = weight.shape
    sizes = x.shape[3:]
    out = [
        (n + lo + hi - d * (k - 1) - 1) // s + 1
        for n, (lo, hi), k, s, d in zip(sizes, pads, kernel, stride, dilation, strict=True)
    ]
    y = np.zeros((*x.shape[:2], outer, *out))
    for t, b, o in places((*x.shape[:2], outer)):
        first = o // (outer // groups) * inner
        for place in places(out):
            total = 0.0 if bias is None else float(np.ravel(bias)[o % np.size(bias)])
            for c, tap in itertools.product(range(inner), places(kernel)):
                at = [
                    p * s + k * d - lo
                    for p, s, k, d, (lo, _) in zip(place, stride, tap, dilation, pads, strict=True)
                ]
                if all(0 <= a < n for a, n in zip(at, sizes, strict=True)):
                    total += weight[(o, c, *tap)] * x[(t, b, first + c, *at)]
            y[(t, b, o, *place)] = total
    return y


def pool(window, stride, padding, x, average):
    """x (T, B, C, H, W); zeros around count in the average."""
    ones = np.ones((1, 1, *window)) / (np.prod(window) if average else 1)
    pads = [(p, p) for p in padding]
    return np.concatenate(
        [convolve(ones, x[:, :, c : c + 1], stride, pads, [1, 1]) for c in range(x.shape[2])],
        axis=2,
    )


def delayed(steps, x):
    y = np.zeros(x.shape)
    for t, b, *place in places(x.shape):
        then = t - int(spread(steps, x.shape[2:])[tuple(place)])
        y[(t, b, *place)] = x[(then, b, *place)] if then >= 0 else 0.0
    return y


def flattened(start, end, x):
    """Axes start to end (without time and batch) become one; the last axis runs fastest."""
    shape = x.shape[2:]
    start, end = start % len(shape), end % len(shape)
    middle = [
        [x[(slice(None), slice(None), *before, *place)] for place in places(shape[start : end + 1])]
        for before in places(shape[:start])
    ]
    stacked = np.stack([np.stack(row, axis=2) for row in middle], axis=2)
    return stacked.reshape(*x.shape[:2], *shape[:start], -1, *shape[end + 1 :])
