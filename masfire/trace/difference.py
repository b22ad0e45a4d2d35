"""Where two runs part: the first field in which a step, or the end, differs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from masfire.errors import RefusedValue
from masfire.trace.context import expand
from masfire.trace.model import Action, Decision, Message, Observation, Step, Trace
from masfire.trace.payload import Payload, unpack

NOTHING = "(nothing)"
"""What stands for a field or an item that one side does not have."""


class Difference(Struct, frozen=True):
    """One place where two values differ: its path (`messages[2].content`), and what each side has there."""

    path: str
    expected: Any
    got: Any


class StepDifference(Struct, frozen=True):
    """The first difference between two traces: at which step (-1: at the end), whose, and where in it."""

    step: int
    agent: str
    kind: str
    difference: Difference


def value_difference(expected: Any, got: Any, path: str = "") -> Difference | None:
    """Return the first place, in the order of `expected`, where two JSON values differ; None if nowhere."""
    if isinstance(expected, dict) and isinstance(got, dict):
        for name in [*expected, *(name for name in got if name not in expected)]:
            inner = f"{path}.{name}" if path else str(name)
            if name not in expected or name not in got:
                return Difference(inner, expected.get(name, NOTHING), got.get(name, NOTHING))
            found = value_difference(expected[name], got[name], inner)
            if found is not None:
                return found
        return None
    if isinstance(expected, list) and isinstance(got, list):
        for place in range(max(len(expected), len(got))):
            inner = f"{path}[{place}]"
            if place >= len(expected) or place >= len(got):
                return Difference(inner, _item(expected, place), _item(got, place))
            found = value_difference(expected[place], got[place], inner)
            if found is not None:
                return found
        return None
    same = expected == got and isinstance(expected, bool) == isinstance(got, bool)
    return None if same else Difference(path, expected, got)


def step_difference(expected: Sequence[Step], got: Sequence[Step], index: int) -> StepDifference | None:
    """Return how step `index` differs between two runs; None if it says the same.

    Times do not count, nor what is known of a draw but its answer (who gave it, how long it took). Requests
    are compared written out, so that it does not matter which text was stored where.
    """
    here, there = expected[index], got[index]
    found = _fields(here, there)
    if found is None and bytes(here.payload) != bytes(there.payload):
        if here.kind == "model_call":
            values = _request(expected, index), _request(got, index)
        else:
            values = _value(here.payload), _value(there.payload)
        found = value_difference(*values, path=_payload_name(here))
    if found is None and isinstance(here.body, Action) and isinstance(there.body, Action):
        found = (
            value_difference(_value(here.body.proposed), _value(there.body.proposed), "proposed")
            if (here.kind != "model_call" and bytes(here.body.proposed) != bytes(there.body.proposed))
            else None
        )
    return None if found is None else StepDifference(index, here.agent, here.kind, found)


def trace_difference(expected: Trace, got: Trace) -> StepDifference | None:
    """Return the first difference between two runs: steps, then their number, then how they ended.

    Run ids, times, and who answered the models do not count.
    """
    for index in range(min(len(expected), len(got))):
        found = step_difference(expected.steps, got.steps, index)
        if found is not None:
            return found
    if len(expected) != len(got):
        index = min(len(expected), len(got))
        longer = expected if len(expected) > len(got) else got
        step = longer[index]
        told = f"{step.agent}'s {step.kind}"
        sides = (told, NOTHING) if longer is expected else (NOTHING, told)
        return StepDifference(index, step.agent, step.kind, Difference("", *sides))
    if expected.end is None or got.end is None:
        return None
    for name in ("status", "success", "error"):
        here, there = getattr(expected.end, name), getattr(got.end, name)
        if here != there:
            return StepDifference(-1, "", "end", Difference(name, here, there))
    ended = value_difference(_value(expected.end.answer), _value(got.end.answer), "answer")
    return None if ended is None else StepDifference(-1, "", "end", ended)


def _fields(here: Step, there: Step) -> Difference | None:
    for name in ("agent", "kind", "role"):
        if getattr(here, name) != getattr(there, name):
            return Difference(name, getattr(here, name), getattr(there, name))
    for name in _NAMES.get(type(here.body), ()):
        if getattr(here.body, name) != getattr(there.body, name):
            return Difference(name, _plain(getattr(here.body, name)), _plain(getattr(there.body, name)))
    if here.parents != there.parents:
        return Difference("parents", list(here.parents), list(there.parents))
    return None


_NAMES: dict[type, tuple[str, ...]] = {
    Message: ("to", "via"),
    Action: ("name", "id"),
    Observation: ("name", "of", "ok"),
    Decision: ("outcome", "rule", "reason", "of"),
}


def _payload_name(step: Step) -> str:
    body = step.body
    if isinstance(body, Message):
        return "content"
    if isinstance(body, Action):
        return "executed" if body.executed else "proposed"
    return "outcome" if isinstance(body, Observation) else "evidence"


def _request(steps: Sequence[Step], index: int) -> Any:
    try:
        return expand(steps, index)
    except RefusedValue as refused:
        return {"$refused": refused.message}


def _value(payload: Payload) -> Any:
    try:
        return unpack(payload) if bytes(payload) else NOTHING
    except RefusedValue as refused:
        return {"$refused": refused.message}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _item(values: list[Any], place: int) -> Any:
    return values[place] if place < len(values) else NOTHING
