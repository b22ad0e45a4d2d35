"""What a LangGraph node gets to see: its own view of the state, and word of it to the witnesses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from masfire.adapters.langgraph_board import Pending, TaskNote, View
from masfire.adapters.langgraph_writes import MISSING, messages_of, simplify, to_plain, value_of
from masfire.trace.model import USER


def enter(note: TaskNote, task: Any) -> Any:
    """Return the task with the input that this agent is to see; tell the witnesses what arrived."""
    board = note.view.board
    hidden = board.hidden.get(note.agent)
    if hidden or board.overrides:
        seen = _view_of(note, task.input, hidden or set())
        if seen is not task.input:
            task = replace(task, input=seen)
    if board.pending and note.view.run.watched:
        _witness(note.view, note.agent, task.input, note.packet)
    return task


def _view_of(note: TaskNote, given: Any, hidden: set[str]) -> Any:
    changed: dict[str, Any] = {}
    dropped: list[str] = []
    for name, value in _items(given):
        found = messages_of(value) if hidden else None
        if found is not None and any(message.id in hidden for message in found):
            changed[name] = [message for message in found if message.id not in hidden]
        override = note.view.board.overrides.pop((note.agent, name), None)
        if override is None or note.packet is not None:
            continue
        view, shared = override
        if shared is MISSING or shared is value or shared == value:
            if view is MISSING:
                dropped.append(name)
            else:
                changed[name] = view
                note.overridden = {**(note.overridden or {}), name: view}
    if not changed and not dropped:
        return given
    return _with(given, changed, dropped)


def _with(given: Any, changed: dict[str, Any], dropped: list[str]) -> Any:
    if isinstance(given, dict):
        return {name: changed.get(name, value) for name, value in given.items() if name not in dropped}
    if hasattr(given, "model_copy"):
        return given.model_copy(update=changed)
    if hasattr(given, "__dataclass_fields__"):
        return replace(given, **changed)
    return changed.get("__root__", given)


def _items(given: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(given, dict):
        yield from list(given.items())
    elif hasattr(given, "model_fields_set"):
        yield from [(name, getattr(given, name)) for name in type(given).model_fields]
    elif hasattr(given, "__dataclass_fields__"):
        yield from [(name, getattr(given, name)) for name in given.__dataclass_fields__]
    else:
        yield "__root__", given


def _witness(view: View, reader: str, given: Any, packet: Any) -> None:
    waiting = view.board.pending.get(reader)
    if not waiting:
        return
    fields = dict(_items(given))
    later: list[Pending] = []
    ids: dict[str, dict[str, Any]] = {}
    for pending in waiting:
        if pending.send is not None and pending.send is not packet:
            later.append(pending)
            continue
        got = _seen(pending, fields, ids)
        if got is MISSING:
            later.append(pending)
            continue
        view.run.received(pending.step, got, by=reader)
    view.board.pending[reader] = later


def _seen(pending: Pending, fields: dict[str, Any], ids: dict[str, dict[str, Any]]) -> Any:
    """Return what of a pending message is in the input, in the shape of its content, or MISSING."""
    if not pending.wrap:
        return to_plain(fields.get("__root__"))
    got: dict[str, Any] = {}
    for name, wanted in pending.ids.items():
        if name not in ids:
            ids[name] = {message.id: message for message in messages_of(fields.get(name)) or ()}
        found = [ids[name][one] for one in wanted if one in ids[name]]
        if found:
            got[name] = [simplify(message) for message in found]
    for name, value in pending.values.items():
        if name in fields and _contains(fields[name], value):
            got[name] = to_plain(value)
    if got or not (pending.ids or pending.values):
        return got
    return MISSING


def _contains(held: Any, value: Any) -> bool:
    try:
        if held is value or held == value:
            return True
        if isinstance(held, list) and isinstance(value, list):
            return all(item in held for item in value)
        return isinstance(held, str) and isinstance(value, str) and value in held
    except (ValueError, TypeError):
        return False


def conclude(view: View) -> None:
    """Tell the witnesses what of the messages to the user is in the state the run ended with."""
    if view.parent is not None or not view.run.watched or not view.board.pending.get(USER):
        return
    fields = {}
    for name, channel in view.loop.channels.items():
        value = value_of(channel)
        if value is not MISSING:
            fields[name] = value
    _witness(view, USER, fields, None)


def settle_conflicts(view: View) -> None:
    """Keep one write per single-valued channel where nodes that a fault woke wrote beside others."""
    last: dict[str, Any] = {}
    for task in view.loop.tasks.values():
        for channel, _ in task.writes:
            spec = view.loop.channels.get(channel)
            if spec is not None and type(spec).__name__.startswith("LastValue"):
                last[channel] = task
    for task in view.loop.tasks.values():
        kept = [w for w in task.writes if last.get(w[0], task) is task]
        if len(kept) != len(task.writes):
            task.writes.clear()
            task.writes.extend(kept)
