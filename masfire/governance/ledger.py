"""What a run and its agents have used up: reservations before, settlements after."""

from __future__ import annotations

from msgspec import Struct

from masfire.governance.capabilities import Limits
from masfire.governance.ruling import Refusal, ToolError


class Cost(Struct, frozen=True, gc=False):
    """What an action uses: one step, tokens (in and out), money in the policy's currency."""

    steps: int = 1
    tokens: int = 0
    money: float = 0.0


class Account:
    """What one agent, or a whole run, has used; the caller holds the run's lock."""

    __slots__ = ("calls", "limits", "money", "name", "since", "steps", "tokens")

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, self.limits = name, limits
        self.steps = self.tokens = 0
        self.money = 0.0
        self.since: float | None = None
        self.calls: dict[str, int] = {}

    def afford(self, cost: Cost, now: float) -> None:
        """Raise Refusal when the cost does not fit what is left; `now` is in seconds, monotonic."""
        limits = self.limits
        if limits.steps is not None and self.steps + cost.steps > limits.steps:
            raise self._spent("steps", limits.steps)
        if limits.tokens is not None and self.tokens + cost.tokens > limits.tokens:
            raise self._spent("tokens", limits.tokens)
        if limits.money is not None and self.money + cost.money > limits.money + 1e-12:
            raise self._spent("money", limits.money)
        if limits.seconds is not None and self.since is not None and now - self.since > limits.seconds:
            raise self._spent("seconds", limits.seconds)

    def add(self, cost: Cost, now: float, sign: int = 1) -> None:
        """Book a cost, or take it back with `sign` -1."""
        if self.since is None:
            self.since = now
        self.steps += sign * cost.steps
        self.tokens += sign * cost.tokens
        self.money += sign * cost.money

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

    def _spent(self, what: str, limit: float) -> Refusal:
        reason = f"The budget of {self.name} of {limit:g} {what} would be exceeded."
        error = ToolError("budget", reason, suggested_action="stop here and report what is done")
        return Refusal(f"budget:{what}", reason, error)


class Reservation(Struct, gc=False):
    """What was set aside for one action until it is settled."""

    accounts: tuple[Account, ...]
    cost: Cost
    counted: str = ""
    """The key under which the agent's calls of this name are counted, or empty."""
