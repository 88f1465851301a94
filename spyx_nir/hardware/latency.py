"""How soon a network has decided: from what is read of its output, step by step.

The decision after a step is the class with most spikes so far, or with the highest sum of its membrane
where that is read; the first of equals, and none before the first that is not 0. A recording is decided
in the first step from which on the decision is the final one until the end. Steps count from 1, the first
of the recording, and include those in which delayed spikes arrive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

SHARES = tuple(tenth / 10 for tenth in range(1, 11))  # of a recording's steps
UNDECIDED = -1


@dataclass(frozen=True)
class Latency:
    """Steps by which half, and 95 %, of the decided recordings are decided; None where none is.

    undecided: recordings without an output spike.
    """

    median: int | None
    p95: int | None
    undecided: int


def decisions(output: np.ndarray) -> np.ndarray:
    """The decision after each step, (T, B, classes) to (T, B); `UNDECIDED` where nothing was read."""
    so_far = output.cumsum(axis=0, dtype=np.int64)
    return np.where(so_far.any(axis=-1), so_far.argmax(axis=-1), UNDECIDED)


def decided_in(output: np.ndarray) -> np.ndarray:
    """The step in which each recording is decided, 0 where it never is: (T, B, classes) to (B,)."""
    decided = decisions(output)
    other = decided != decided[-1]
    last = len(decided) - other[::-1].argmax(axis=0)  # steps up to the last other decision
    steps = np.where(other.any(axis=0), last, 0) + 1
    return np.where(decided[-1] == UNDECIDED, 0, steps)


def summary(steps: np.ndarray) -> Latency:
    """Nearest-rank percentiles of what `decided_in` gave, (N,)."""
    decided = np.sort(steps[steps > 0])

    def rank(share: float) -> int | None:
        return int(decided[math.ceil(share * len(decided)) - 1]) if len(decided) else None

    return Latency(rank(0.5), rank(0.95), len(steps) - len(decided))


def input_steps(steps: int) -> list[int]:
    """The steps of a recording that are `SHARES` of it, rounded up."""
    return [math.ceil(tenth * steps / 10) for tenth in range(1, 11)]


def over_time(output: np.ndarray, steps: int) -> np.ndarray:
    """The class with most spikes after each of `SHARES` of a recording.

    Args:
        output: (T, B, classes), T - `steps` of which are silent steps behind the recording: after k
            steps of it the spikes of k + T - `steps` steps count, so that all of it gives the answer.
        steps: of the recording.

    Returns:
        (10, B) class indices, the first of equals.
    """
    so_far = output.cumsum(axis=0, dtype=np.int64)
    behind = len(output) - steps
    return so_far[[k + behind - 1 for k in input_steps(steps)]].argmax(axis=-1)
