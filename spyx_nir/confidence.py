"""How sure a measured accuracy is."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution: two-sided 95 %


def wilson(k: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval, without continuity correction, for k of n.

    Source: Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3.
    k may be a mean of several counts, and so no whole number.

    Raises:
        ValueError: not 0 <= k <= n or n = 0.
    """
    if not (n > 0 and 0 <= k <= n):
        raise ValueError(f"`k` of `n` must be 0 <= k <= n with n > 0, got {k} of {n}")
    p, z2 = k / n, Z95**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    # At the ends the interval touches 0 or 1 exactly; rounding must not step outside.
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def accuracy_entry(k: int, n: int) -> dict[str, object]:
    """k right of n, as the metrics files have it: accuracy, n, correct, wilson95.

    Raises:
        ValueError: not 0 <= k <= n or n = 0.
    """
    interval = list(wilson(k, n))
    return {"accuracy": k / n, "n": n, "correct": k, "wilson95": interval}


def accuracy_of(predicted: ArrayLike, labels: np.ndarray) -> dict[str, object]:
    """The entry of predicted classes (N,) beside the right ones (N,), at least one."""
    return accuracy_entry(int((np.asarray(predicted) == labels).sum()), len(labels))


def over_seeds(correct: Sequence[int], n: int) -> dict[str, object]:
    """Several trainings that answered the same n recordings, `correct[s]` of them right.

    `accuracy`: the mean over seeds. `n`: recordings, however many seeds there are. `spread`: the lowest
    and the highest accuracy; `deviation`: of the seeds, the sample's (0 for a single seed). `wilson95`:
    Wilson's interval of the mean count of n recordings. Answers to one recording are no independent
    ones: with f_i the share of seeds that are right on recording i and p the mean of all f_i, the
    variance of f is at most p (1 - p), for 0 <= f_i <= 1, and that is what Wilson's interval takes.
    So it is never too narrow for want of answers that were counted twice.

    Raises:
        ValueError: no seeds, or a count that is not 0 to n.
    """
    if not correct:
        raise ValueError("`correct` must have a count for at least one seed")
    for k in correct:
        wilson(k, n)
    shares = [k / n for k in correct]
    return {
        "accuracy": sum(correct) / (len(correct) * n),
        "n": n,
        "correct": list(correct),
        "spread": [min(shares), max(shares)],
        "deviation": statistics.stdev(shares) if len(shares) > 1 else 0.0,
        "wilson95": list(wilson(sum(correct) / len(correct), n)),
    }
