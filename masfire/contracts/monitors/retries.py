"""How failed calls are repeated: the monitor of `retry_policy`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.monitors.local import absent, globbed
from masfire.contracts.monitors.repetition import digest
from masfire.contracts.view import View

Answer = tuple[StepStatus, str, Sequence[Witness]]


_LONGEST_WAIT = 1e12
"""Milliseconds (some 30 years); more is no time to wait."""


class Attempts(Struct, frozen=True):
    """What came of one call so far: how often it was tried, and its latest failure.

    `failed` is the step of that failure (-1: none, or it succeeded since), at `time` in seconds;
    `wait` is how long to wait then, in seconds; `final` why it must not be tried again.
    """

    tries: int = 0
    failed: int = -1
    time: float = 0.0
    wait: float = 0.0
    final: str = ""


class Retries:
    """Follows each (agent, tool, arguments) until it succeeds.

    An error says what it is by `type`, `retryable` (false: never again) and `retry_after_ms`.
    """

    def __init__(self, tools: tuple[str, ...], *, final: tuple[str, ...], max_attempts: int) -> None:
        self._tools, self._final, self._most = tools, final, max_attempts
        self._live: dict[str, Attempts] = {}
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at a call that repeats a failed one against its error's word, or once too often."""
        kind = view.kind
        if kind not in ("tool_call", "tool_result") or not self._concerned(view):
            return StepStatus.VACUOUS, "", ()
        args = view.get(("args",))
        if absent(args):
            cause = "the call of this result was not recorded" if kind == "tool_result" else "args are absent"
            return StepStatus.INCONCLUSIVE, cause, ()
        key = digest([view.step.agent, view.get(("name",)), args])
        so_far = self._live.get(key, Attempts())
        if kind == "tool_result":
            if commit:
                self._settle(key, so_far, view)
            return StepStatus.VACUOUS, "", ()
        wrong = self._wrong(so_far, view.time)
        if commit:
            self._applied = True
            self._live[key] = Attempts(
                so_far.tries + 1, so_far.failed, so_far.time, so_far.wait, so_far.final
            )
        if not wrong:
            return StepStatus.PASS, "", ()
        return StepStatus.FAIL, wrong, (Witness(so_far.failed, "the failure that was retried"),)

    def _concerned(self, view: View) -> bool:
        return any(globbed(tool).fullmatch(view.name) for tool in self._tools)

    def _wrong(self, so_far: Attempts, now: float) -> str:
        if so_far.failed < 0:
            return ""
        if so_far.final:
            return f"retried although {so_far.final}"
        if so_far.tries >= self._most:
            return f"attempt {so_far.tries + 1} of at most {self._most}"
        waited = now - so_far.time
        if waited < so_far.wait:
            return f"retried after {waited * 1000:.0f} ms instead of {so_far.wait * 1000:.0f} ms"
        return ""

    def _settle(self, key: str, so_far: Attempts, view: View) -> None:
        if view.get(("ok",)) is True:
            self._live.pop(key, None)
            return
        error = view.get(("error",))
        said = error if isinstance(error, dict) else {}
        final = ""
        if said.get("retryable") is False:
            final = "the error is not retryable"
        elif said.get("type") in self._final:
            final = f"{said['type']} is never retried"
        seconds = _milliseconds(said.get("retry_after_ms")) / 1000
        self._live[key] = Attempts(max(so_far.tries, 1), view.index, view.time, seconds, final)

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when there was a call."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        live = {key: [a.tries, a.failed, a.time, a.wait, a.final] for key, a in self._live.items()}
        return {"live": live, "applied": self._applied}

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._live = {key: Attempts(*fields) for key, fields in state["live"].items()}
        self._applied = state["applied"]


def _milliseconds(value: Any) -> float:
    """Return how long an error asks to wait; 0 when it does not say so sensibly."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return float(value) if number and 0 <= value <= _LONGEST_WAIT else 0.0
