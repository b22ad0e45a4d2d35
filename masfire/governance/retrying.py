"""The two built-in contracts about retries: final errors stay final, and waits are waited."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import Struct

from masfire.governance.ruling import Refusal, ToolError
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import Payload, unpack

FINAL = "masfire.no-retry-of-final-errors"
"""An error that says `retryable: false` is not retried with the same arguments."""
WAITS = "masfire.retry-waits"
"""A retry with the same arguments waits at least the error's `retry_after_ms`."""

MAX_OPEN = 65_536
"""Calls whose results are awaited at once; the arguments of older ones are forgotten."""
_LONGEST_WAIT = 1e12
_order = msgspec.json.Encoder(order="deterministic").encode


class Failure(Struct, frozen=True, gc=False):
    """The latest failure of one call: its step, time and wait in seconds, and whether it was final."""

    step: int
    time: float
    wait: float
    final: bool


class Retries:
    """Follows failed calls of each (agent, tool, arguments) until one succeeds.

    While nothing has failed a call costs no more than being remembered until its result comes.
    """

    def __init__(self) -> None:
        self._open: OrderedDict[int, tuple[str, str, Payload]] = OrderedDict()
        self._failed: dict[bytes, Failure] = {}

    def require(self, agent: str, name: str, payload: Payload, now: float) -> None:
        """Raise Refusal when this call repeats a failed one against its error's word."""
        if not self._failed:
            return
        failure = self._failed.get(_key(agent, name, payload))
        if failure is None:
            return
        if failure.final:
            raise _refused(FINAL, "retried although the error is not retryable", failure)
        left = failure.wait - (now - failure.time)
        if left > 0:
            reason = (
                f"retried after {(now - failure.time) * 1000:.0f} ms instead of {failure.wait * 1000:.0f} ms"
            )
            raise _refused(WAITS, reason, failure, left)

    def called(self, index: int, agent: str, name: str, payload: Payload) -> None:
        """Remember a call that is carried out, until its result."""
        self._open[index] = (agent, name, payload)
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)

    def ended(self, index: int, step: int, time: float, *, error: Any = None, ok: bool) -> None:
        """Note what came of the call at `index`; the result is step `step`, `error` what it says."""
        call = self._open.pop(index, None)
        if call is None or (ok and not self._failed):
            return
        key = _key(*call)
        if ok:
            self._failed.pop(key, None)
            return
        said = error if isinstance(error, dict) else {}
        wait = said.get("retry_after_ms")
        if not (isinstance(wait, (int, float)) and type(wait) is not bool and 0 <= wait <= _LONGEST_WAIT):
            wait = 0
        final = said.get("retryable") is False
        self._failed[key] = Failure(step, time, wait / 1000, final)

    def take(self, step: Step) -> None:
        """Take note of a recorded step."""
        body = step.body
        if isinstance(body, Action):
            if body.kind == "tool_call":
                self.called(step.step, step.agent, body.name, body.executed or body.proposed)
        elif isinstance(body, Observation) and body.kind == "tool_result":
            error = None if body.ok else _error(step)
            self.ended(body.of, step.step, step.time, error=error, ok=body.ok)


def _error(step: Step) -> Any:
    try:
        value = unpack(step.payload)
    except Exception:  # hostile bytes; that it failed is known
        return None
    return value.get("error") if isinstance(value, dict) else None


def _key(agent: str, name: str, payload: Payload) -> bytes:
    """Return what a call and its repetition share; the order of an object's keys does not matter."""
    value = unpack(payload)
    args = value.get("args", value) if isinstance(value, dict) else value
    try:
        text = _order([agent, name, args])
    except UnicodeEncodeError:  # half a character, which only escapes can hold
        text = json.dumps([agent, name, args], sort_keys=True).encode()
    return hashlib.sha256(text).digest()


def _refused(contract: str, reason: str, failure: Failure, left: float = 0.0) -> Refusal:
    action = "wait, then try again" if left else "try something else: this error is final"
    error = ToolError("contract", reason, left > 0, int(left * 1000) + (left > 0), action)
    evidence = (f"step {failure.step}: the failure that was retried",)
    return Refusal(f"contract:{contract}", reason, error, evidence)
