"""A recorded run as a tape: what the outside answered to each call, before any fault touched it."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec
from msgspec import Struct

from masfire.errors import RefusedValue, UsageError
from masfire.trace.context import expand
from masfire.trace.model import Action, Injection, Observation, Step, Trace
from masfire.trace.payload import unpack

ROUTED = frozenset({"to", "copies"})
"""What the mark of a routing fault tells: where a message went, not what it said."""

_UNCOUNTED = ("stream", "stream_options")
_UNHEARD = {"type": "unheard", "message": "The record ends before the answer.", "status": 0}


class Answer(Struct, frozen=True):
    """What came back from one recorded call.

    `call` is the step index of the action, `outcome` the value it came to, as the outside gave it, and
    `time` when. `again` says that the caller's library repeated the call afterwards. `heard` is false when
    the record ends before the answer.
    """

    call: int
    name: str
    outcome: Any
    ok: bool = True
    time: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    again: bool = False
    heard: bool = True
    whole: Any = None
    """The JSON of the whole reply, where the trace has it."""


class Tape:
    """The answers of one trace, by the step that asked and by what was asked.

    Raise UsageError for a trace that holds no content.
    """

    def __init__(self, trace: Trace) -> None:
        if trace.header.privacy == "content-off":
            raise UsageError(
                f"Run {trace.header.run} was recorded with its content off: there is nothing to answer with.",
                hint="Record it with privacy 'redacted' or 'full' to replay it.",
            )
        self.trace = trace
        self.struck: dict[int, list[Step]] = {}
        """What was injected, by the step that it changed (or the next one, when it took one away)."""
        for mark in trace.injections:
            if isinstance(mark.body, Injection) and mark.body.state == "injected":
                self.struck.setdefault(mark.step, []).append(mark)
        self._results = _results(trace)
        self._originals = {original.call: original.body for original in trace.originals}
        self._asked: dict[tuple[str, str, bytes], deque[int]] | None = None
        self._used: set[int] = set()

    def at(self, call: int) -> Answer | None:
        """Return what the action at step `call` was answered; None when that step is no answered action."""
        steps = self.trace.steps
        if not 0 <= call < len(steps) or not isinstance(steps[call].body, Action):
            return None
        index = self._results.get(call)
        name = getattr(steps[call].body, "name", "")
        if index is None:
            return Answer(call, name, {"error": _UNHEARD}, ok=False, heard=False)
        step = steps[index]
        body = step.body
        if not isinstance(body, Observation):
            return None
        outcome, ok = _value(step), body.ok
        for mark in self.struck.get(index, ()):
            before = unpack(mark.body.before) if isinstance(mark.body, Injection) else None
            if isinstance(before, dict) and set(before) != ROUTED and mark.agent == step.agent:
                outcome, ok = before, "error" not in before
                break
        draw = body.draw
        return Answer(
            call, name, outcome, ok, step.time,
            draw.tokens_in if draw else 0, draw.tokens_out if draw else 0, self._repeated(index),
            whole=unpack(self._originals[call]) if call in self._originals else None,
        )  # fmt: skip

    def find(self, agent: str, kind: str, asked: Any) -> Answer | None:
        """Return the answer to the earliest call of `agent` that asked exactly this and was not found before.

        When nothing asked exactly this, one that differs in the sampling seed alone will do.
        """
        table = self._table()
        for seedless in (False, True):
            waiting = table.get((agent, kind, key_of(asked, seedless=seedless)), deque())
            while waiting:
                call = waiting.popleft()
                if call not in self._used:
                    self._used.add(call)
                    return self.at(call)
        return None

    def nearest(self, agent: str, kind: str) -> int:
        """Return the step of the earliest call of this agent and kind that was not found yet, or -1."""
        for step in self.trace.steps:
            if step.agent == agent and step.kind == kind and step.step not in self._used:
                return step.step
        return -1

    def asked(self, call: int) -> Any:
        """Return what the action at step `call` asked for, references written out."""
        return asked(self.trace.steps, call)

    def nested(self, call: int) -> bool:
        """Return whether further actions happened inside the tool call at step `call`."""
        until = self._results.get(call, call)
        inner = self.trace.steps[call + 1 : until]
        heard = until != call and any(parent > call for parent in self.trace[until].parents)
        return heard or any(call in step.parents and isinstance(step.body, Action) for step in inner)

    def _repeated(self, index: int) -> bool:
        draw = getattr(self.trace[index].body, "draw", None)
        if draw is None:
            return False
        agent = self.trace[index].agent
        for step in self.trace.steps[index + 1 :]:
            later = getattr(step.body, "draw", None)
            if step.agent == agent and later is not None:
                return bool(later.attempt > draw.attempt)
        return False

    def _table(self) -> dict[tuple[str, str, bytes], deque[int]]:
        if self._asked is None:
            table: dict[tuple[str, str, bytes], deque[int]] = {}
            for step in self.trace.steps:
                if step.kind not in ("model_call", "tool_call"):
                    continue
                wanted = self.asked(step.step)
                for seedless in (False, True):
                    key = (step.agent, step.kind, key_of(wanted, seedless=seedless))
                    table.setdefault(key, deque()).append(step.step)
            self._asked = table
        return self._asked


def asked(steps: Any, call: int) -> Any:
    """Return what the action at step `call` asks for: a request written out, or name and arguments."""
    step: Step = steps[call]
    if step.kind == "model_call":
        return expand(steps, call)
    return {"name": getattr(step.body, "name", ""), "asked": _value(step)}


def key_of(value: Any, *, seedless: bool = False) -> bytes:
    """Return bytes that two requests share when they ask the same, streamed or not."""
    if isinstance(value, dict):
        left_out = (*_UNCOUNTED, "seed") if seedless else _UNCOUNTED
        value = {name: item for name, item in value.items() if name not in left_out}
    return (b"~" if seedless else b"=") + msgspec.json.encode(value, order="sorted")


def _results(trace: Trace) -> dict[int, int]:
    found: dict[int, int] = {}
    for step in trace.steps:
        body = step.body
        if isinstance(body, Observation) and body.of >= 0:
            found.setdefault(body.of, step.step)
    return found


def _value(step: Step) -> Any:
    try:
        return unpack(step.payload)
    except RefusedValue as refused:
        return {"error": {"type": "RefusedValue", "message": refused.message}}
