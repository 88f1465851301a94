"""Samples to events: the sigma-delta encoder of Müller-Cleve et al. 2022."""

from __future__ import annotations

import numpy as np

EVENT = np.dtype([("t", np.int64), ("x", np.int64), ("p", np.int64)])


def encode(samples: np.ndarray, period_us: float, threshold: float = 1.0) -> np.ndarray:
    """Events at the crossings of a signal that is linear between its samples.

    A reference starts at the first sample. Wherever the signal has moved by `threshold` from it,
    an event (p = 1 up, p = 0 down) is emitted and the reference follows by `threshold`. Times
    are interpolated: a rise by 47 in one period at threshold 10 gives events after 10/47, 20/47,
    30/47 and 40/47 of it, as in the published recordings (doi:10.3389/fnins.2022.951164).

    Args:
        samples: (T, taxels), any real type.
        period_us: time between two samples in microseconds.
        threshold: in units of the samples.

    Returns:
        Events of dtype `EVENT` (t in microseconds, x taxel, p 0 OFF or 1 ON), ordered by time,
        then taxel.

    Raises:
        ValueError: `samples` is not two-dimensional or `threshold` not above 0.
    """
    signal = np.asarray(samples, dtype=np.float64)
    if signal.ndim != 2:
        raise ValueError(f"`samples` must be (T, taxels), got shape {signal.shape}")
    if not threshold > 0:
        raise ValueError(f"`threshold` must be above 0, got {threshold!r}")
    reference = signal[0].copy() if len(signal) else np.zeros(signal.shape[1])
    parts = []
    for step in range(1, len(signal)):
        before, after = signal[step - 1], signal[step]
        crossings = np.trunc((after - reference) / threshold).astype(np.int64)
        counts = np.abs(crossings)
        taxel = np.repeat(np.arange(signal.shape[1]), counts)
        if not len(taxel):
            continue
        # 1, 2, ..., count for each taxel, one after the other.
        rank = np.arange(1, len(taxel) + 1) - np.repeat(np.cumsum(counts) - counts, counts)
        sign = np.sign(crossings)[taxel]
        level = reference[taxel] + sign * threshold * rank
        fraction = (level - before[taxel]) / (after - before)[taxel]
        events = np.empty(len(taxel), EVENT)
        events["t"] = np.rint((step - 1 + fraction) * period_us)
        events["x"] = taxel
        events["p"] = sign > 0
        parts.append(events)
        reference += crossings * threshold
    if not parts:
        return np.empty(0, EVENT)
    events = np.concatenate(parts)
    return events[np.lexsort((events["x"], events["t"]))]
