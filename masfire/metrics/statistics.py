"""Intervals and exact tests of proportions, for samples as small as campaigns have."""

from __future__ import annotations

import math
from statistics import NormalDist

from msgspec import Struct


class Proportion(Struct, frozen=True):
    """How often something succeeded: `successes` of `n`, with a confidence interval.

    `rate`, `low` and `high` are in 0..1 and None when n is 0: no data is not 0 %.
    """

    successes: int
    n: int
    rate: float | None = None
    low: float | None = None
    high: float | None = None


def wilson(successes: int, n: int, *, confidence: float = 0.95) -> Proportion:
    """Return the proportion with its Wilson score interval (Wilson, JASA 22, 1927).

    Raise ValueError unless 0 ≤ successes ≤ n and 0 < confidence < 1.

    >>> p = wilson(8, 10)
    >>> round(p.low, 3), round(p.high, 3)
    (0.49, 0.943)
    """
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials is no proportion.")
    if not 0 < confidence < 1:
        raise ValueError(f"A confidence of {confidence} is not between 0 and 1.")
    if n == 0:
        return Proportion(0, 0)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends the formula is exactly 0 or 1; floating point is not.
    low = 0.0 if successes == 0 else max(0.0, centre - reach)
    high = 1.0 if successes == n else min(1.0, centre + reach)
    return Proportion(successes, n, rate, low, high)


def mcnemar(lost: int, won: int) -> float:
    """Return the exact two-sided p-value of McNemar's test on discordant pairs.

    `lost` pairs succeeded without the treatment and failed with it, `won` the other way round. With no
    discordant pair the p-value is 1. Raise ValueError for negative counts.

    >>> mcnemar(6, 0)
    0.03125
    """
    if lost < 0 or won < 0:
        raise ValueError("Counts of pairs cannot be negative.")
    n = lost + won
    if n == 0:
        return 1.0
    tail = sum(math.comb(n, k) for k in range(min(lost, won) + 1))
    return float(min(1.0, 2 * tail / 2**n))
