"""events.npz: the golden vectors' recordings as events, for chips that take events and no frames.

Prepared recordings are counts per bin, so the times within a bin are made up: of n events of a pixel and
channel in a bin the i-th (from 0) comes at the bin's start plus (2 i + 1) / (2 n) of its length, in whole
microseconds, rounded down. Counted by bins they are the frames again.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

NAME = "events.npz"
EVENT = np.dtype([("t", np.int64), ("x", np.int16), ("y", np.int16), ("p", np.int16)])


def write(path: Path, x: np.ndarray, bin_us: int) -> None:
    """Write the file.

    Keys: `events`, all recordings one after the other, each ordered by t, y, x, p, with `t` in
    microseconds and `p` the channel; `start` (N + 1,): recording n is `events[start[n]:start[n + 1]]`;
    `bin_us`; `shape`: (steps, *shape of a step).

    Args:
        x: counts of events, (T, N, W), (T, N, P, W) or (T, N, P, H, W), without silent steps.
    """
    recordings = [of_frames(x[:, n], bin_us) for n in range(x.shape[1])]
    start = np.cumsum([0, *map(len, recordings)])
    shape = np.array([len(x), *x.shape[2:]])
    with open(path, "wb") as stream:
        np.savez_compressed(
            stream,
            allow_pickle=False,
            events=np.concatenate(recordings),
            start=start,
            bin_us=np.int64(bin_us),
            shape=shape,
        )


def of_frames(frames: np.ndarray, bin_us: int) -> np.ndarray:
    """The events of one recording, `EVENT`, from its counts (T, W), (T, P, W) or (T, P, H, W)."""
    width = frames.shape[-1]
    height = frames.shape[-2] if frames.ndim == 4 else 1
    counts = frames.reshape(len(frames), -1, height, width).astype(np.int64)
    step, p, y, x = np.nonzero(counts)
    n = counts[step, p, y, x]
    i = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    events = np.empty(len(i), EVENT)
    for field, values in (("x", x), ("y", y), ("p", p)):
        events[field] = np.repeat(values, n)
    n, step = np.repeat(n, n), np.repeat(step, n)
    events["t"] = step * bin_us + (2 * i + 1) * bin_us // (2 * n)
    return events[np.lexsort((events["p"], events["x"], events["y"], events["t"]))]
