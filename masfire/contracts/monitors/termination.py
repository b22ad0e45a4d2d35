"""A run that ends legitimately and in time: the monitor of `terminates`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.view import View
from masfire.trace.model import Observation

Answer = tuple[StepStatus, str, Sequence[Witness]]


class Limits(Struct, frozen=True):
    """What a run may use: steps, seconds from its first step, model calls, tokens; None: no limit."""

    steps: int | None = None
    seconds: float | None = None
    calls: int | None = None
    tokens: int | None = None


class Termination:
    """Counts what a run uses; fails once, at the step that goes beyond a limit, or at a bad end."""

    def __init__(self, ends: tuple[str, ...], limits: Limits) -> None:
        self._ends, self._limits = ends, limits
        self._limited = limits != Limits()
        self._start: float | None = None
        self._steps = self._calls = self._tokens = 0
        self._over = ""

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at the step with which a limit is exceeded for the first time."""
        start = view.time if self._start is None else self._start
        steps = self._steps + 1
        calls = self._calls + (view.kind == "model_call")
        tokens = self._tokens + _tokens(view)
        over = ""
        if self._limited and not self._over:
            over = self._exceeded(steps, view.time - start, calls, tokens)
        if commit:
            self._start, self._steps, self._calls, self._tokens = start, steps, calls, tokens
            self._over = self._over or over
        return (StepStatus.FAIL, over, ()) if over else (StepStatus.PASS, "", ())

    def _exceeded(self, steps: int, seconds: float, calls: int, tokens: int) -> str:
        limits = self._limits
        for name, used, most in (
            ("steps", steps, limits.steps), ("seconds", seconds, limits.seconds),
            ("model calls", calls, limits.calls), ("tokens", tokens, limits.tokens),
        ):  # fmt: skip
            if most is not None and used > most:
                return f"more than {most} {name}"
        return ""

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied for a legitimate end; pending when the run has no end.

        A limit that was exceeded is told once, at its step: the end adds nothing.
        """
        if self._over:
            return Status.SATISFIED, "", ()
        if not ended:
            return Status.PENDING, "the run has no end", ()
        if ended not in self._ends:
            return Status.VIOLATED, f"the run ended as {ended!r}, not as {' or '.join(self._ends)}", ()
        return Status.SATISFIED, "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return [self._start, self._steps, self._calls, self._tokens, self._over]

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._start, self._steps, self._calls, self._tokens, self._over = state


def _tokens(view: View) -> int:
    body = view.step.body
    draw = body.draw if isinstance(body, Observation) else None
    return draw.tokens_in + draw.tokens_out if draw is not None else 0
