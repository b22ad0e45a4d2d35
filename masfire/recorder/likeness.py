"""How a replay looks at recorded steps: when agents were in parallel, what a text holds, what differs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from masfire.trace.difference import NOTHING
from masfire.trace.model import Action, Message, Observation, Step

_SHOWN = 120
"""Characters of a value that a message quotes."""


def first_overlap(steps: Sequence[Step]) -> int:
    """Return the first step from which on several agents may act at once (the length: none).

    That is after a message to several, or where one acted while another's call was open.
    """
    waiting: dict[int, str] = {}
    for step in steps:
        body = step.body
        if isinstance(body, Observation):
            waiting.pop(body.of, None)
        if any(agent != step.agent for agent in waiting.values()):
            return step.step
        if isinstance(body, Message) and len(body.to) > 1:
            return step.step + 1
        if isinstance(body, Action):
            waiting[step.step] = step.agent
    return len(steps)


def said(value: Any) -> str:
    """Return a message's content as the text that stands in a request."""
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) else json.dumps(value, ensure_ascii=False)


def holds(value: Any, text: str) -> bool:
    """Return whether some string inside a JSON value holds `text`."""
    if isinstance(value, str):
        return text in value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(holds(item, text) for item in inner)


def shown(value: Any, beside: Any) -> str:
    """Return a value as text that fits into a message; of long texts the part where they differ."""
    if isinstance(value, str) and isinstance(beside, str) and len(value) > _SHOWN:
        same = next((at for at, (a, b) in enumerate(zip(value, beside, strict=False)) if a != b), 0)
        start = max(0, same - _SHOWN // 3)
        cut = value[start : start + _SHOWN]
        return ("…" if start else "") + repr(cut) + ("…" if start + _SHOWN < len(value) else "")
    if value == NOTHING:
        return "nothing"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
