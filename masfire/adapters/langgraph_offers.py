"""What a finished LangGraph task sends, as messages offered to the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from masfire.adapters.langgraph_board import EDGE, SENDS, STATE, Channel, TaskNote, View
from masfire.adapters.langgraph_writes import (
    SCALARS,
    as_messages,
    messages_of,
    pack_content,
    simplify,
    to_plain,
    value_of,
)
from masfire.trace.model import USER, Message, Step


class Part:
    """The part of a delta that goes to one channel.

    `converted`: the messages were made here from text or dicts, and have to be written as such.
    """

    __slots__ = ("converted", "known", "messages", "plain", "single", "values")

    def __init__(self, value: Any, single: bool) -> None:
        self.values = [value]
        self.single = single
        self.known: list[Any] = []
        self.messages: list[Any] | None = None
        self.plain: Any = value
        self.converted = False


class Offer:
    """One message a task sends: its body, and what is needed to change it on the way.

    `plain` are single values that need no conversion; they become parts when somebody asks.
    """

    __slots__ = ("_parts", "agent", "body", "plain", "send", "steps", "targets", "wrap")

    def __init__(
        self,
        body: Message,
        parts: dict[str, Part],
        targets: list[str],
        send: Any,
        wrap: bool,
        plain: dict[str, Any] | None = None,
    ) -> None:
        self.body, self._parts, self.targets, self.send, self.wrap = body, parts, targets, send, wrap
        self.plain = plain
        self.steps: Sequence[Step] = ()
        self.agent = ""

    @property
    def parts(self) -> dict[str, Part]:
        """Return what goes to which channel."""
        if self.plain:
            self._parts = {name: Part(value, single=True) for name, value in self.plain.items()} | self._parts
            self.plain = None
        return self._parts


def offers(note: TaskNote, task: Any) -> list[Offer]:
    """Return the messages that the finished `task` sends, in the order in which they are to be offered."""
    view = note.view
    if note.internal:
        return _final_of_agent(note, task)
    if note.name == "__start__" and view.parent is not None:
        _take_over(view, task)
        return []
    state: list[tuple[str, Any, Channel]] = []
    targets: list[str] = []
    sends: list[Any] = []
    channels = view.channels
    for name, value in task.writes:
        channel = channels.get(name) or view.learn(name)
        kind = channel.kind
        if kind == STATE:
            state.append((name, value, channel))
        elif kind == EDGE:
            targets.append(channel.node)
        elif kind == SENDS:
            sends.append(value)
    plain = _plain_values(view, state)
    parts = delta(view, state) if plain is None else {}
    if len(targets) > 1:
        targets.sort()  # LangGraph keeps edges in a set: their order differs from process to process
    if not sends:
        if targets:
            prefix = view.prefix
            to = (prefix + targets[0],) if len(targets) == 1 else tuple([prefix + node for node in targets])
            return [_offer(parts, to, targets, None, plain)]
        if (parts or plain) and note.name != "__start__":
            return [_offer(parts, (view.beyond,), [], None, plain)]
        return []
    made = [_offer_send(view, send) for send in sends]
    if targets or parts or plain:
        made.append(_offer(parts, tuple([view.name_of(node) for node in targets]), targets, None, plain))
    return made


def _take_over(view: View, task: Any) -> None:
    """Remember the messages that a subgraph starts from: they are not what its nodes say."""
    for _, value in task.writes:
        for message in as_messages(value) or ():
            view.board.known[message.id] = message


def delta(view: View, items: Sequence[tuple[str, Any, Channel]]) -> dict[str, Part]:
    """Return what `items` add to the state: new or changed messages, and changed values."""
    parts: dict[str, Part] = {}
    for name, value, channel in items:
        simple = type(value) in SCALARS and not channel.merges
        found = None if simple else as_messages(value, converting=channel.merges)
        if found is not None:
            _add_messages(view, parts, name, channel, value, found)
        elif name in parts:
            parts[name].values.append(value)
            parts[name].plain = [to_plain(item) for item in parts[name].values]
        elif not (channel.single and value_of(view.loop.channels[name]) is value):
            parts[name] = Part(value, channel.single)
    return parts


def _add_messages(
    view: View, parts: dict[str, Part], name: str, channel: Channel, value: Any, found: list[Any]
) -> None:
    there = view.board.known
    known: list[Any] = []
    new: list[Any] = []
    for message in found:
        before = there.get(message.id)
        fresh = before is None or (before is not message and before.content != message.content)
        (new if fresh else known).append(message)
    part = parts.get(name)
    if part is None:
        if not new:
            return
        part = parts[name] = Part(value, channel.single)
        part.messages = new
    else:
        part.values.append(value)
        part.messages = (part.messages or []) + new
    part.plain = [simplify(message) for message in part.messages]
    part.known += known
    if found and found is not value and found[0] is not value:
        part.converted = True


def same(old: Any, new: Any) -> bool:
    """Return whether two values are the same as far as a comparison can safely tell."""
    if old is new:
        return True
    if type(new) in SCALARS:
        return type(old) is type(new) and bool(old == new)
    if type(old) is not type(new) or not isinstance(new, (str, int, float, bool, list, dict)):
        return False
    try:
        return bool(old == new)
    except (ValueError, TypeError, RecursionError):
        return False


def _plain_values(view: View, state: Sequence[tuple[str, Any, Channel]]) -> dict[str, Any] | None:
    """Return the new values if all are mere text and numbers for channels of one value; else None."""
    channels = view.loop.channels
    plain: dict[str, Any] = {}
    for name, value, channel in state:
        if type(value) not in SCALARS or not channel.single or name in plain:
            return None
        if value_of(channels[name]) is not value:
            plain[name] = value
    return plain


def _offer(
    parts: dict[str, Part],
    to: tuple[str, ...],
    targets: list[str],
    send: Any,
    plain: dict[str, Any] | None = None,
) -> Offer:
    content = plain if plain is not None else {name: part.plain for name, part in parts.items()}
    return Offer(Message(to, pack_content(content), "graph"), parts, targets, send, True, plain)


def _offer_send(view: View, send: Any) -> Offer:
    arg = send.arg
    if type(arg) is dict:
        items = [(n, v, view.channels.get(n) or view.learn(n)) for n, v in arg.items()]
        offer = _offer(
            delta(view, items),
            (view.name_of(send.node),),
            [send.node],
            send,
        )
        offer.wrap = True
        return offer
    part = Part(arg, single=False)
    found = messages_of(arg)
    if found is not None:
        part.messages, part.plain = found, [simplify(message) for message in found]
    body = Message((view.name_of(send.node),), pack_content(part.plain), "graph")
    return Offer(body, {"": part}, [send.node], send, wrap=False)


def _final_of_agent(note: TaskNote, task: Any) -> list[Offer]:
    """Return what a stand-alone agent graph begins or ends with; its inner nodes send nothing."""
    view = note.view
    if view.parent is not None:
        return []
    known = [(name, value, view.channels.get(name) or view.learn(name)) for name, value in task.writes]
    state = [write for write in known if write[2].kind == STATE]
    if note.name == "__start__":
        parts = delta(view, state)
        if not parts:
            return []
        asked = _offer(parts, (view.agent,), [], None)
        asked.agent = USER
        return [asked]
    if any(write[2].kind in (EDGE, SENDS) for write in known):
        return []
    parts = {name: part for name, part in delta(view, state).items() if part.messages or name != "messages"}
    if "messages" not in parts:
        held = messages_of(value_of(view.loop.channels.get("messages")))
        if held:
            last = parts["messages"] = Part([held[-1]], single=False)
            last.messages, last.plain = [held[-1]], [simplify(held[-1])]
            task.writes.append(("messages", [held[-1]]))
    return [_offer(parts, (USER,), [], None)] if parts else []
