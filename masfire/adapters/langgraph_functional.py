"""LangGraph's functional API as messages: what an entrypoint is asked, and what it and its tasks return."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from masfire.adapters.langgraph_board import TaskNote
from masfire.adapters.langgraph_delivery import announce_value
from masfire.adapters.langgraph_offers import Offer, Part
from masfire.adapters.langgraph_writes import pack_content, rebuild, to_plain
from masfire.trace.model import Message
from masfire.trace.payload import unpack

RETURN = "__return__"
END = "__end__"


def _offer(value: Any, to: str) -> Offer:
    part = Part(value, single=True)
    part.plain = to_plain(value)
    return Offer(Message((to,), pack_content(part.plain), "graph"), {"": part}, [], None, wrap=False)


def greeting(note: TaskNote, task: Any) -> list[Offer]:
    """Return the message by which an entrypoint is asked, once; nothing for any other task."""
    view = note.view
    if view.kind != "function" or note.is_call or view.greeted:
        return []
    view.greeted = True
    offer = _offer(task.input, note.agent)
    offer.agent = view.beyond
    return [offer]


def greeted(note: TaskNote, task: Any, made: list[Offer]) -> Any:
    """Return the task with the input that was recorded in place of the one offered."""
    for offer in made:
        value = _outcome(offer)
        if value is not offer.parts[""].values[0]:
            task = replace(task, input=value)
        note.parents = tuple(step.step for step in offer.steps) or note.parents
    return task


def replies(note: TaskNote, task: Any, result: Any) -> list[Offer]:
    """Return the message by which a @task, or an entrypoint, gives its result back."""
    if note.is_call:
        caller = note.caller
        return [_offer(result, caller.agent if caller is not None else note.view.beyond)]
    return [_offer(value, note.view.beyond) for channel, value in task.writes if channel == END]


def carried(note: TaskNote, task: Any, result: Any, made: list[Offer]) -> Any:
    """Make the task's result what was recorded in its place; return it."""
    for offer in made:
        value = _outcome(offer)
        before = offer.parts[""].values[0]
        if note.caller is not None:
            note.caller.produced.extend(step.step for step in offer.steps)
        for step in offer.steps:
            announce_value(note, step, value, offer)
        if value is before:
            continue
        channel = RETURN if note.is_call else END
        writes = [(name, value if name == channel else held) for name, held in task.writes]
        task.writes.clear()
        task.writes.extend(writes)
        result = value if note.is_call else result
    return result


def _outcome(offer: Offer) -> Any:
    """Return the value that arrives: the last one recorded, or None when the message was lost."""
    original = offer.parts[""].values[0]
    bodies = [step.body for step in offer.steps if isinstance(step.body, Message) and step.body.to]
    if not bodies:
        return None
    last = bodies[-1]
    if bytes(last.content) == bytes(offer.body.content):
        return original
    return rebuild(original, unpack(last.content))
