"""Seconds for a chain of tool calls, shared out so that all of it most likely ends in time.

Choose t_i with sum t_i <= B to maximise the product of P(latency_i <= t_i), the chances being those of
recorded latencies (posed as a hypothesis, without results, in arXiv 2603.13417).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

CELLS = 200
"""Into how many parts the budget is cut; shares are multiples of one."""


class Share(Struct, frozen=True):
    """What one call gets: seconds, and how likely it ends within them (None: nothing was recorded)."""

    tool: str
    seconds: float
    chance: float | None


def allocate(
    chain: Sequence[str], latencies: Mapping[str, Sequence[float]], seconds: float
) -> tuple[Share, ...]:
    """Return the shares of a chain of calls, in order; together at most `seconds`.

    A tool without recorded latencies gets an equal part. When no share can give every call a chance,
    or when seconds are left over, what is left is shared equally.

    >>> [share.seconds for share in allocate(["a", "b"], {"a": [1, 1], "b": [3, 3]}, 8)]
    [3.0, 5.0]
    """
    if not chain or seconds <= 0:
        return tuple(Share(tool, 0.0, _chance(latencies.get(tool), 0.0)) for tool in chain)
    known = [tool for tool in chain if latencies.get(tool)]
    budget = seconds * len(known) / len(chain)
    best = _best([sorted(latencies[tool]) for tool in known], budget)
    spare = max(0.0, budget - sum(best)) / len(known) if known else 0.0
    given = iter(best)
    shares: list[Share] = []
    for tool in chain:
        part = next(given) + spare if latencies.get(tool) else seconds / len(chain)
        shares.append(Share(tool, part, _chance(latencies.get(tool), part)))
    return tuple(shares)


def _best(samples: Sequence[Sequence[float]], budget: float) -> list[float]:
    """Return the shares of the best plan by dynamic programming over cells of the budget."""
    cell = budget / CELLS
    score = [0.0] * (CELLS + 1)
    choices: list[list[int]] = []
    for latency in samples:
        needs = sorted({min(CELLS + 1, max(1, math.ceil(value / cell - 1e-9))) for value in latency})
        gains = [(need, _log_chance(latency, need * cell)) for need in needs if need <= CELLS]
        after, choice = [-math.inf] * (CELLS + 1), [0] * (CELLS + 1)
        for left in range(CELLS + 1):
            for need, gain in gains:
                if need <= left and score[left - need] + gain > after[left]:
                    after[left], choice[left] = score[left - need] + gain, need
        score = after
        choices.append(choice)
    if not samples or score[CELLS] == -math.inf:
        return [budget / len(samples)] * len(samples) if samples else []
    left, shares = CELLS, []
    for choice in reversed(choices):
        shares.append(choice[left] * cell)
        left -= choice[left]
    return shares[::-1]


def _log_chance(latency: Sequence[float], seconds: float) -> float:
    within = bisect.bisect_right(latency, seconds + 1e-12)
    return math.log(within / len(latency)) if within else -math.inf


def _chance(latency: Sequence[float] | None, seconds: float) -> float | None:
    if not latency:
        return None
    return sum(value <= seconds + 1e-12 for value in latency) / len(latency)
