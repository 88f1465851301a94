"""How sure a measured accuracy is."""

from __future__ import annotations

import math

Z95 = 1.959963984540054  # the 97.5 % point of the normal distribution: two-sided 95 %


def wilson(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval, without continuity correction, for k of n.

    Source: Newcombe 1998, "Two-sided confidence intervals for the single proportion", method 3.

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
    """k right of n, as it stands in the metrics files: accuracy, n, correct, wilson95."""
    return {"accuracy": k / n, "n": n, "correct": k, "wilson95": list(wilson(k, n))}
