"""What a run and its agents have used up: reservations before, settlements after; what a request may cost."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from masfire.governance.capabilities import Limits
from masfire.governance.ruling import Proposal, Refusal, ToolError

ANSWER = 1_024
"""Tokens set aside for an answer whose request does not limit it."""


class Account:
    """What one agent, or a whole run, has used; the caller holds the run's lock."""

    __slots__ = ("calls", "limits", "money", "name", "shared", "since", "steps", "tokens")

    def __init__(self, name: str, limits: Limits, whole: Account | None = None) -> None:
        self.name, self.limits = name, limits
        self.steps = self.tokens = 0
        self.money = 0.0
        self.since: float | None = None
        self.calls: dict[str, int] = {}
        self.shared: tuple[Account, ...] = (self,) if whole is None else (self, whole)
        """The accounts that pay for what this one's owner does."""

    def afford(self, tokens: int, money: float, now: float) -> None:
        """Raise Refusal when one more step at this cost does not fit; `now` is in seconds, monotonic."""
        limits = self.limits
        if limits.steps is not None and self.steps + 1 > limits.steps:
            raise self._spent("steps", limits.steps)
        if limits.tokens is not None and self.tokens + tokens > limits.tokens:
            asked = f": {self.tokens:,} are used or set aside, and this call sets aside {tokens:,}"
            raise self._spent("tokens", limits.tokens, asked)
        if limits.money is not None and self.money + money > limits.money + 1e-12:
            raise self._spent("money", limits.money)
        if limits.seconds is not None and self.since is not None and now - self.since > limits.seconds:
            raise self._spent("seconds", limits.seconds)

    def add(self, steps: int, tokens: int, money: float, now: float) -> None:
        """Book a cost, or take one back (negative)."""
        if self.since is None:
            self.since = now
        self.steps += steps
        self.tokens += tokens
        self.money += money

    def left(self) -> dict[str, float]:
        """Return what is left of each limited resource but time."""
        limits = self.limits
        return {
            name: limit - used
            for name, limit, used in (
                ("steps", limits.steps, self.steps),
                ("tokens", limits.tokens, self.tokens),
                ("money", limits.money, self.money),
            )
            if limit is not None
        }

    def _spent(self, what: str, limit: float, asked: str = "") -> Refusal:
        reason = f"The budget of {self.name} of {limit:g} {what} would be exceeded{asked}."
        error = ToolError("budget", reason, suggested_action="stop here and report what is done")
        return Refusal(f"budget:{what}", reason, error)


class Reservation(Struct, gc=False):
    """What was set aside for one action until it is settled; its owner's account comes first."""

    accounts: tuple[Account, ...]
    tokens: int
    money: float
    counted: tuple[tuple[str, int], ...] = ()
    """The rules by which the owner's calls of this name are counted."""


def estimate_tokens(proposal: Proposal) -> int:
    """Return a request's tokens, guessed high: a quarter of its bytes, plus what it lets the model write.

    Without `max_tokens` in the request `ANSWER` are assumed for the answer.
    """
    value = proposal.value
    request = value if isinstance(value, dict) else {}
    wanted = _limit_of(request)
    wanted = ANSWER if wanted is None else wanted
    choices = request.get("n")
    many = choices if type(choices) is int and choices > 0 else 1
    return max(0, wanted) * many + len(proposal.payload) // 4


def unlimited(proposal: Proposal) -> bool:
    """Return whether a model call does not say how long its answer may be."""
    value = proposal.value
    return proposal.kind == "model_call" and isinstance(value, dict) and _limit_of(value) is None


def _limit_of(request: dict[str, Any]) -> int | None:
    limits = [request.get(key) for key in ("max_completion_tokens", "max_output_tokens", "max_tokens")]
    return next((limit for limit in limits if type(limit) is int), None)
