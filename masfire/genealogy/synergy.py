"""Topology advisor: does this team amplify the signal or the error, and does it pay?

Source: budgeted multi-agent synergy, arXiv 2601.17311 (binary tasks, majority vote, odd fan-in).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from msgspec import Struct

from masfire.errors import UsageError


class Advice(Struct, frozen=True):
    """What the theory says about a tree of majority votes with fan-in `fan_in`.

    `alpha` is γ[ρ + (1-ρ) f'(0)]: above 1 a small signal grows from layer to layer. `s` = log_b α is the
    team's exponent; it beats one agent under the same budget iff s exceeds that agent's own exponent
    `beta`, from a budget share `break_even` on (None when it never pays).
    """

    fan_in: int
    correlation: float
    fidelity: float
    alpha: float
    s: float
    beta: float
    amplifies: bool
    pays: bool
    break_even: float | None

    @property
    def sentence(self) -> str:
        """Return in one sentence what to do."""
        grows = "the signal grows" if self.amplifies else "errors are shared too much for the signal to grow"
        if self.pays and self.break_even is not None:
            pays = f"a team of fan-in {self.fan_in} pays from x* = {self.break_even:.3g} on"
            return f"α = {self.alpha:.2f}: {grows}; {pays}."
        return f"α = {self.alpha:.2f}: {grows}; one agent with the whole budget does better (s ≤ β)."


def slope(fan_in: int) -> float:
    """Return f_b'(0) = b·C(b-1, (b-1)/2) / 2^(b-1): how a majority of b votes magnifies a small bias.

    >>> [slope(b) for b in (3, 5, 7)], round(slope(9), 4)
    ([1.5, 1.875, 2.1875], 2.4609)
    """
    if fan_in < 1 or fan_in % 2 == 0:
        raise UsageError(f"A fan-in of {fan_in} cannot vote.", hint="A majority needs an odd number.")
    return float(fan_in * math.comb(fan_in - 1, (fan_in - 1) // 2) / 2 ** (fan_in - 1))


def advise(
    fan_in: int, *, correlation: float, fidelity: float, beta: float = 0.5, message: float = 1.0
) -> Advice:
    """Return whether a tree with this fan-in amplifies signal or error.

    `correlation` is ρ, the correlation of the agents' errors; `fidelity` γ(m), the chance that a message
    arrives as it was meant; `beta` the exponent with which one agent improves with budget; `message` the
    cost m of a message in the budget's unit (c₀ = 2mb/(b-1), x* = βc₀/(s-β)).
    """
    for name, share in (("correlation", correlation), ("fidelity", fidelity)):
        if not 0 <= share <= 1:
            raise UsageError(f"{name} = {share} is no share.", hint="Give a number between 0 and 1.")
    if fan_in < 3:
        raise UsageError("A team needs a fan-in of at least 3.")
    alpha = fidelity * (correlation + (1 - correlation) * slope(fan_in))
    s = math.log(alpha, fan_in) if alpha > 0 else -math.inf
    fixed = 2 * message * fan_in / (fan_in - 1)
    pays = s > beta
    return Advice(
        fan_in, correlation, fidelity, alpha, s, beta, alpha > 1, pays,
        beta * fixed / (s - beta) if pays else None,
    )  # fmt: skip


def widest(window: int, message: int, *, shape: str = "tree") -> int:
    """Return the context limit: agents of a star (N·m ≤ W), or the fan-in of a tree (b·m ≤ W).

    Both count whole messages of `message` tokens in a window of `window` tokens; a tree's fan-in is odd.
    """
    most = window // message if message > 0 else 0
    return most if shape == "star" else most - (most + 1) % 2


def error_correlation(errors: Mapping[str, Sequence[bool]]) -> float | None:
    """Return ρ: the mean correlation of two agents' errors over the same runs; None when undefined.

    `errors` maps each agent to whether it erred, run by run. Pairs of which one never or always errs
    say nothing and are left out.
    """
    names = list(errors)
    found = []
    for at, one in enumerate(names):
        for other in names[at + 1 :]:
            value = _correlation(errors[one], errors[other])
            if value is not None:
                found.append(value)
    return sum(found) / len(found) if found else None


def _correlation(one: Sequence[bool], other: Sequence[bool]) -> float | None:
    n = min(len(one), len(other))
    if n == 0:
        return None
    p, q = sum(one[:n]) / n, sum(other[:n]) / n
    both = sum(a and b for a, b in zip(one[:n], other[:n], strict=True)) / n
    spread = math.sqrt(p * (1 - p) * q * (1 - q))
    return (both - p * q) / spread if spread else None


__all__ = ["Advice", "advise", "error_correlation", "slope", "widest"]
