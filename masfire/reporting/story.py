"""A trace told step by step, safe to print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from masfire.analysis import Report
from masfire.errors import RefusedValue
from masfire.reporting.printable import printable
from masfire.trace.context import MAX_EXPANDED, expand_measured, stored
from masfire.trace.model import Action, Decision, Injection, Message, Observation, Step, Trace
from masfire.trace.payload import REFUSED, unpack

WIDTH = 100
"""Characters of a payload that one line shows."""

MAX_TOLD = 256 * 1024 * 1024
"""Bytes of requests that are written out for one trace."""

KEPT = 64
"""Requests that are kept split while a run is told."""

PARENTS = 20
"""Parents of a step that one line names; of more than these, their number is told."""


def story(trace: Trace, report: Report, *, truth: bool = False) -> Iterator[str]:
    """Yield the lines that tell a run: what it was, each step, how it ended.

    With `truth` the marks of injected faults are shown where they struck. Control characters of
    recorded text are written as escapes, so a trace cannot play tricks on a terminal.
    """
    header = trace.header
    system = printable(header.system) or "(unnamed)"
    yield f"run      {printable(header.run)}   system {system}   seed {header.seed}"
    if truth and header.faults:
        yield f"faults   {printable(', '.join(header.faults))}"
    yield f"agents   {printable(', '.join(report.agents)) or 'none'}"
    marks: dict[int, list[Step]] = {}
    for mark in trace.injections if truth else ():
        marks.setdefault(mark.step, []).append(mark)
    messages = Messages(trace.steps)
    yield from map(_marked, marks.get(-1, []))
    for step in trace:
        yield from map(_marked, marks.get(step.step, []))
        yield told(step, messages)
    yield _ending(trace)


class Messages:
    """The messages of a run, each recorded once and referred to by later requests.

    Requests of more than `MAX_TOLD` bytes in all are not looked into: few references can ask for much.
    """

    def __init__(self, steps: Sequence[Step]) -> None:
        self._steps = steps
        self._split: dict[int, Any] = {}
        self._left = MAX_TOLD

    def written(self, item: Any, index: int) -> Any:
        """Return an item of the request at step `index` written out; itself when it refers to nothing."""
        match item:
            case {"$ref": [int(source), *_]} if 0 <= source < index and source not in self._split:
                if self._left < 0:
                    return item
                self._left -= len(bytes(self._steps[source].payload))
                if len(self._split) >= KEPT:
                    self._split.clear()
        try:
            found = stored(self._steps, index, item, self._split)
            return item if found is None else unpack(found)
        except RefusedValue:
            return item


def told(step: Step, messages: Messages | None = None) -> str:
    """Return one step as a line: index, agent, what it did, parents.

    `messages` are those of its run: the trace holds a message once, and later requests refer to it.
    """
    named = ", ".join(f"#{parent}" for parent in step.parents[:PARENTS])
    more = len(step.parents) - PARENTS
    parents = f"  ← {named}{f' and {more} more' if more > 0 else ''}" if named else ""
    agent = printable(step.agent, limit=24)
    return f"#{step.step:<5} {agent:<16} {_what(step, messages)}{parents}"


def as_json(trace: Trace, report: Report, *, truth: bool = False) -> dict[str, Any]:
    """Return the whole trace as plain JSON values, requests written out; truth only when asked for.

    Beyond `MAX_TOLD` bytes of requests the rest stay as recorded, with references.
    """
    shown = trace if truth else trace.blind()
    left = MAX_TOLD
    steps = []
    for step in shown:
        item = msgspec.to_builtins(step, enc_hook=_raw)
        if step.kind == "model_call":
            item["body"]["proposed"], size = _request(trace, step, left)
            left -= size
        steps.append(item)
    found = {
        "header": msgspec.to_builtins(shown.header, enc_hook=_raw),
        "report": msgspec.to_builtins(report),
        "steps": steps,
        "end": msgspec.to_builtins(shown.end, enc_hook=_raw),
    }
    if truth:
        found["injections"] = [msgspec.to_builtins(mark, enc_hook=_raw) for mark in trace.injections]
    return found


def _request(trace: Trace, step: Step, left: int) -> tuple[Any, int]:
    """Return a request written out, within `left` bytes, and its size; else as it was recorded."""
    try:
        return expand_measured(trace.steps, step.step, limit=min(left, MAX_EXPANDED))
    except RefusedValue:
        return _raw(step.payload), 0


def _raw(value: Any) -> Any:
    if not isinstance(value, msgspec.Raw):
        raise TypeError(f"{type(value).__name__} is no part of a trace")
    try:
        unpack(value)  # knows the limits, and what hides in an envelope
        return msgspec.json.decode(value)
    except RefusedValue as refused:
        return {REFUSED: refused.message}


def _value(step: Step) -> Any:
    """Return what a step carries, or what is wrong with it: no single payload hides the rest of a run."""
    try:
        return step.value
    except RefusedValue as refused:
        return {REFUSED: refused.message}


def _what(step: Step, messages: Messages | None) -> str:
    body = step.body
    if isinstance(body, Message):
        return f"says to {printable(', '.join(body.to), limit=40) or 'nobody'}: {_payload(_value(step))}"
    kind = printable(body.kind, limit=40)
    if isinstance(body, Action):
        if body.kind == "model_call":
            return f"asks {printable(body.name, limit=40)}: {_question(step, messages)}"
        return f"{kind} {printable(body.name, limit=40)} {_payload(_value(step))}"
    if isinstance(body, Observation):
        failed = "" if body.ok else " FAILED"
        known = body.draw and body.draw.source != "live"
        source = f" ({printable(body.draw.source, limit=40)})" if body.draw and known else ""
        return f"{kind} of #{body.of}{failed}{source}: {_payload(_value(step))}"
    if isinstance(body, Decision):
        outcome, rule = printable(body.outcome, limit=40), printable(body.rule, limit=80)
        return f"decision on #{body.of}: {outcome} by {rule} {printable(body.reason, limit=WIDTH)}"
    return kind


def _question(step: Step, messages: Messages | None) -> str:
    request = _value(step)
    if not isinstance(request, dict):
        return _payload(request)
    items = request.get("messages") or request.get("input") or []
    last = items[-1] if isinstance(items, list) and items else items
    last = messages.written(last, step.step) if messages is not None else last
    content = last.get("content", last) if isinstance(last, dict) else last
    count = f"{len(items)} items, last " if isinstance(items, list) else ""
    return f"{count}{_payload(content)}"


def _payload(value: Any) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(_encodable(value)).decode()
    return printable(text, limit=WIDTH)


def _encodable(value: Any) -> Any:
    """Return the value with text that UTF-8 cannot hold made plain."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {str(_encodable(key)): _encodable(item) for key, item in value.items()}
    return [_encodable(item) for item in value] if isinstance(value, list) else value


def _marked(mark: Step) -> str:
    body = mark.body
    if not isinstance(body, Injection):
        return ""
    reason = f" ({printable(body.reason, limit=WIDTH)})" if body.reason else ""
    at = f" at step #{mark.step}, agent {printable(mark.agent)}" if mark.agent else ""
    return f"  ! {printable(body.address)} {printable(body.state)}{at}{reason}"


def _ending(trace: Trace) -> str:
    end = trace.end
    if end is None:
        return "end      none: the writer died before the run was over"
    verdict = {True: "solved", False: "not solved", None: "not judged"}[end.success]
    error = f": {printable(end.error, limit=300)}" if end.error else ""
    status = printable(end.status, limit=40)
    return f"end      {status}, {verdict}, {end.steps} steps in {end.seconds:.2f} s{error}"
