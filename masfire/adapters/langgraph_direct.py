"""The short way for what most nodes send: values and messages that nobody changes or watches on the way."""

from __future__ import annotations

from typing import Any

from masfire.adapters import provenance
from masfire.adapters.langgraph_board import EDGE, PARENTS, SENDS, STATE, TaskNote, View
from masfire.adapters.langgraph_writes import MISSING, SCALARS, as_messages, pack_content, simplify, texts
from masfire.recorder import Recorder
from masfire.trace.model import Message
from masfire.trace.payload import pack_flat


def tell(recorder: Recorder, note: TaskNote, task: Any) -> bool:
    """Record what a finished task sends, if it can be done shortly; return whether it was done.

    It cannot for other reducers than LangGraph's for messages, tool calls, Send packets, agents made of
    several nodes, and runs in which an interceptor or a witness is asked. The step is the one that
    `offers` and `carry_out` would lead to.
    """
    view = note.view
    if not view.direct or note.name == "__start__":
        return False
    channels, held = view.channels, view.loop.channels
    plain: dict[str, Any] = {}
    targets: list[str] = []
    said: list[Any] = []
    for name, value in task.writes:
        channel = channels.get(name) or view.learn(name)
        kind = channel.kind
        if kind == STATE:
            if name in plain:
                return False
            if channel.merges:
                new = _new_messages(view, value)
                if new is None:
                    return False
                plain[name] = [simplify(message) for message in new]
                said += new
            elif type(value) not in SCALARS or not channel.single:
                return False
            elif getattr(held[name], "value", MISSING) is not value:
                plain[name] = value
        elif kind == EDGE:
            targets.append(channel.node)
        elif kind == SENDS:
            return False
    to: tuple[str, ...]
    if len(targets) == 1:
        to = (view.prefix + targets[0],)
    elif targets:
        targets.sort()  # LangGraph keeps edges in a set
        to = tuple([view.prefix + node for node in targets])
    elif plain:
        to = (view.beyond,)
    else:
        return True
    parents = tuple(sorted(set(note.produced))[-PARENTS:]) if note.produced else note.parents
    body = Message(
        to, ((not said or _is_mere_text(said)) and pack_flat(plain)) or pack_content(plain), "graph"
    )
    index = recorder.submit(note.agent, body, parents=parents)[0].step
    board = view.board
    wakers = board.wakers
    for node in targets:
        if node in wakers:
            wakers[node].append(index)
        else:
            wakers[node] = [index]
    board.wrote(plain, view.loop.step, index)
    for message in said:
        view.state.stems(message, index)
        board.known[message.id] = message
    if recorder.calls:
        known = provenance.of(recorder)
        for text in texts(plain):
            known.add(index, note.agent, text)
    if view.heard is not None and not note.shares_parent:
        view.heard.append(index)
    return True


def _is_mere_text(said: list[Any]) -> bool:
    """Return whether messages (that ask for no tool) are of plain strings, which JSON keeps as they are."""
    return all(type(m.content) is str and (m.name is None or type(m.name) is str) for m in said)


def _new_messages(view: View, value: Any) -> list[Any] | None:
    """Return the messages of a write if all are new to the state and ask for no tool, else None."""
    found = as_messages(value)
    if not found:
        return None
    known = view.board.known
    for message in found:
        if message.id in known or message.type == "remove" or getattr(message, "tool_calls", None):
            return None
    return found
