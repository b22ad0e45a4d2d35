"""Shapley blame: how much each agent's repair contributes to saving a run."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import combinations

from masfire.errors import UsageError

Worth = Callable[[frozenset[str]], float]
"""What a run is worth (0 failed, 1 passed) when all deviating steps of these agents are repaired."""

EXACT = 6
"""Up to so many agents all coalitions are run: at most 64 runs."""


def shapley(
    agents: Sequence[str], worth: Worth, *, orders: int = 50, seed: int = 0
) -> tuple[tuple[str, float], ...]:
    """Return each agent's Shapley value, largest first; they sum to worth(all) - worth(none).

    Exact over all coalitions for up to EXACT agents; otherwise the mean marginal contribution over
    `orders` random orders drawn with `seed` (Castro, Gómez and Tejada, 2009), as 2509.08682 does for
    agents. A coalition is asked for once. Raise UsageError for an agent that is named twice.
    """
    if len(set(agents)) < len(agents):
        raise UsageError(f"An agent is named twice: {', '.join(agents)}.")
    known: dict[frozenset[str], float] = {}

    def asked(coalition: frozenset[str]) -> float:
        if coalition not in known:
            known[coalition] = worth(coalition)
        return known[coalition]

    values = _exact(agents, asked) if len(agents) <= EXACT else _sampled(agents, asked, orders, seed)
    return tuple(sorted(values.items(), key=lambda item: (-item[1], agents.index(item[0]))))


def _exact(agents: Sequence[str], worth: Worth) -> dict[str, float]:
    n = len(agents)
    values = {}
    for agent in agents:
        others = [other for other in agents if other != agent]
        total = 0.0
        for size in range(n):
            weight = math.factorial(size) * math.factorial(n - size - 1) / math.factorial(n)
            for chosen in combinations(others, size):
                coalition = frozenset(chosen)
                total += weight * (worth(coalition | {agent}) - worth(coalition))
        values[agent] = total
    return values


def _sampled(agents: Sequence[str], worth: Worth, orders: int, seed: int) -> dict[str, float]:
    draw = random.Random(seed)  # noqa: S311
    totals = dict.fromkeys(agents, 0.0)
    for _ in range(orders):
        order = list(agents)
        draw.shuffle(order)
        coalition: frozenset[str] = frozenset()
        before = worth(coalition)
        for agent in order:
            coalition |= {agent}
            after = worth(coalition)
            totals[agent] += after - before
            before = after
    return {agent: total / orders for agent, total in totals.items()}
