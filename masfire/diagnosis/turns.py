"""A trace as turns: what each step said, who could be blamed for it, and what followed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from msgspec import Struct

from masfire.errors import RefusedValue
from masfire.trace.model import USER, Action, Decision, Message, Observation, Step, Trace
from masfire.trace.payload import unpack

MAX_TEXT = 20_000
"""Characters of one turn that are looked at; what follows is ignored, so cost stays linear."""

_TOKEN = re.compile(r"\d+(?:[.,:/]\d+)*|[^\W\d_][\w'-]*")
_NUMBER_OR_NAME = re.compile(r"[\dA-Z](?<!\w[\dA-Z])(?:(?<=\d)\d*(?:[.,:/]\d+)*\b|(?<=[A-Z])[\w'-]+)")
"""A number or a capitalised word, each at the beginning of a word; so written that a search for the first
character finds where to look."""
_TOOL = re.compile(r"terminal|executor|\btool\b|interpreter", re.IGNORECASE)


class Turn(Struct, frozen=True):
    """One step read for diagnosis.

    `blamable` is False for machines that only answer (tools, terminals) and, in foreign logs, for the
    task's author; in runs that masfire recorded the task and the requests to models are blamable, too.
    `words` are its lower-cased tokens, `salient` its numbers and capitalised words (what facts are
    made of), `failed` whether it is an observation that reports an error.
    """

    step: int
    agent: str
    role: str
    kind: str
    text: str
    words: frozenset[str]
    salient: frozenset[str]
    blamable: bool
    failed: bool = False


_latest: tuple[tuple[Step, ...], list[Turn]] = ((), [])
"""The last trace that was read: every layer asks for the same one. Steps are frozen, so identity will do."""


def turns_of(trace: Trace) -> list[Turn]:
    """Return one turn a step, in order; linear in the size of the trace."""
    global _latest
    steps, turns = _latest
    if steps is not trace.steps:
        recorded = any(step.kind == "model_call" for step in trace.steps)
        turns = [_turn(step, recorded=recorded) for step in trace.steps]
        _latest = trace.steps, turns
    return list(turns)


def question_of(trace: Trace) -> str:
    """Return the task's text, as far as the header holds it."""
    return text_of(_decoded(trace.header.task))


def text_of(value: Any) -> str:
    """Return the scalars of a JSON value, joined: what it says, without its punctuation."""
    if isinstance(value, str):
        return value
    parts: list[str] = []
    _gather((value,), parts, MAX_TEXT)
    return " ".join(parts)


def _gather(items: Iterable[Any], parts: list[str], budget: int) -> int:
    """Append the scalars of JSON values while `budget` characters are left; return how many are."""
    for item in items:
        if budget <= 0:
            break
        if type(item) is str:
            parts.append(item)
            budget -= len(item) + 1
        elif isinstance(item, dict):
            budget = _gather(item.values(), parts, budget)
        elif isinstance(item, (list, tuple)):
            budget = _gather(item, parts, budget)
        elif item is not None:
            parts.append(str(item))
            budget -= len(parts[-1]) + 1
    return budget


def words_of(text: str) -> frozenset[str]:
    """Return the lower-cased tokens of a text."""
    if text.isascii():  # whose letters change their case one by one, wherever they stand
        return frozenset(_TOKEN.findall(text.lower()))
    return frozenset(map(str.lower, set(_TOKEN.findall(text))))


def salient_of(text: str) -> frozenset[str]:
    """Return the numbers and capitalised words of a text, lower-cased."""
    return frozenset(map(str.lower, set(_NUMBER_OR_NAME.findall(text))))


def _turn(step: Step, *, recorded: bool) -> Turn:
    text = text_of(_decoded(step.payload))[:MAX_TEXT]
    body = step.body
    machine = isinstance(body, (Observation, Decision)) and body.kind not in ("model_reply", "decision")
    failed = isinstance(body, Observation) and not body.ok
    said = isinstance(body, (Message, Action)) or (isinstance(body, Observation) and not machine)
    tool = isinstance(body, Message) and (step.role == "tool" or bool(_TOOL.search(step.agent)))
    # A log names speakers only; in a recorded run the task and each request can be at fault as well.
    asked = recorded or (step.agent != USER and step.kind != "model_call")
    return Turn(
        step=step.step, agent=step.agent, role=step.role, kind=step.kind, text=text,
        words=words_of(text), salient=salient_of(text), failed=failed,
        blamable=said and not tool and asked and step.agent != "system",
    )  # fmt: skip


def _decoded(payload: Any) -> Any:
    try:
        return unpack(payload) if payload else None
    except RefusedValue:
        return ""
