"""The run's answer to what a LangGraph task sends, carried out in its writes."""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from masfire.adapters import provenance
from masfire.adapters.langgraph_board import PARENTS, Pending, TaskNote, View, join_target
from masfire.adapters.langgraph_offers import Offer, same
from masfire.adapters.langgraph_writes import (
    BRANCH,
    JOIN,
    MISSING,
    TASKS,
    align,
    copy_message,
    holds_one,
    is_control,
    new_message,
    rebuild,
    simplify,
    texts,
    to_plain,
    value_of,
)
from masfire.trace.model import USER, Message, Step
from masfire.trace.payload import unpack

_SHARED = 64
"""How many earlier copies a copy is compared with to find that they say the same."""


class Again:
    """A further copy of a message that its receiver has to be woken once more for."""

    __slots__ = ("offer", "reader", "step", "values")

    def __init__(self, step: Step, reader: str, values: dict[str, Any], offer: Offer) -> None:
        self.step, self.reader, self.values, self.offer = step, reader, values, offer


def parents_of(note: TaskNote) -> tuple[int, ...]:
    """Return the steps that what this task sends is made from."""
    if note.produced:
        return tuple(sorted(set(note.produced))[-PARENTS:])
    return note.parents


def carry_out(note: TaskNote, task: Any, made: list[Offer]) -> None:
    """Make the task's writes say what the run recorded in place of what was offered."""
    if note.overridden:
        _restore(note, task)
    for offer in made:
        steps = offer.steps
        if len(steps) == 1 and steps[0].body is offer.body:
            _untouched(note, task, offer, steps[0])
        elif offer.send is not None:
            _carry_send(note, task, offer)
        else:
            _carry_state(note, task, offer)
    redeliver = note.view.board.redeliver
    queue = redeliver.get(note.name) if redeliver else None
    if queue and note.packet is None:
        _wake_again(note, task, queue.popleft())


def _untouched(note: TaskNote, task: Any, offer: Offer, step: Step) -> None:
    view, index = note.view, step.step
    board = view.board
    plain = offer.plain
    if offer.send is not None:
        board.sends[id(offer.send)] = (offer.send, index)
    else:
        wakers = board.wakers
        for node in offer.targets:
            wakers.setdefault(node, []).append(index)
        board.wrote(offer.parts if plain is None else plain, view.loop.step, index)
    run = view.run
    announced = run.watched or run.calls or note.agent == USER
    if plain is not None and not announced:
        return
    stems = view.state.stems
    for name, part in offer.parts.items():
        if part.converted and offer.send is None:  # the reducer would make others, under other ids
            kept = [write for write in task.writes if write[0] != name]
            task.writes.clear()
            task.writes.extend([(name, part.known + (part.messages or [])), *kept])
        for message in part.messages or ():
            stems(message, index)
            board.known[message.id] = message
            if getattr(message, "tool_calls", None):
                _claim_unasked(note, message)
    if not announced:
        return
    messages = {name: part.messages for name, part in offer.parts.items() if part.messages}
    values = {name: part.values[-1] for name, part in offer.parts.items() if part.messages is None}
    _announce(note, step, messages, values, offer, offer.send)


def _claim_unasked(note: TaskNote, message: Any) -> None:
    """Keep tool calls that no model asked for (handing back to a supervisor) from being taken for calls."""
    run = note.view.run
    asked = b" ".join(bytes(run.steps[index].payload) for index in note.produced[-PARENTS:])
    for call in message.tool_calls:
        if call.get("id") and call["id"].encode() not in asked:
            run.notes.setdefault("tool_ids", set()).add(call["id"])


def _announce(
    note: TaskNote,
    step: Step,
    messages: dict[str, list[Any]],
    values: dict[str, Any],
    offer: Offer,
    send: Any,
) -> None:
    """Register a delivery for the witnesses and the text for the provenance index."""
    view = note.view
    run = view.run
    if run.calls or note.agent == USER:
        index = provenance.of(run)
        for text in texts(unpack(step.payload)):
            index.add(step.step, step.agent, text)
    if not run.watched:
        return
    body = step.body
    if not isinstance(body, Message):
        return
    ids = {name: [message.id for message in found] for name, found in messages.items()}
    board = view.board
    for reader in body.to:
        board.pending.setdefault(reader, []).append(Pending(step.step, ids, values, send, offer.wrap))


class Copy:
    """One recorded message on its way: what it puts into which channel (`fresh`: what is not there yet)."""

    __slots__ = ("fresh", "messages", "step", "to", "values")

    def __init__(
        self, step: Step, to: tuple[str, ...], messages: dict[str, list[Any]], values: dict[str, Any]
    ) -> None:
        self.step, self.to, self.messages, self.values = step, to, messages, values
        self.fresh: set[str] = {*messages, *values}

    def share(self, earlier: Copy) -> None:
        """Use what an earlier copy for other recipients put into the state, where it is the same."""
        if not self.fresh or not set(self.to).isdisjoint(earlier.to):
            return
        for name, found in self.messages.items():
            there = earlier.messages.get(name) if name in self.fresh else None
            if there is not None and list(map(simplify, found)) == list(map(simplify, there)):
                self.messages[name] = there
                self.fresh.discard(name)
        for name, value in self.values.items():
            if name in self.fresh and same(earlier.values.get(name, MISSING), value):
                self.fresh.discard(name)


def _carry_state(note: TaskNote, task: Any, offer: Offer) -> None:
    view, board = note.view, note.view.board
    copies: list[Copy] = []
    for step in offer.steps:
        if isinstance(step.body, Message) and (step.body.to or not offer.body.to):
            copies.append(Copy(step, step.body.to, *_realize(view, offer, step, len(copies))))
    wanted = {reader for copy in copies for reader in copy.to}
    if len(wanted) > 1:
        for number, copy in enumerate(copies):
            for earlier in copies[:number][:_SHARED]:
                copy.share(earlier)
    if copies:
        _route(note, task, offer, {node for node in map(view.node_of, wanted) if node is not None})
    _write_state(task, view, offer, copies)
    _hide(view, offer, copies, wanted | set(offer.body.to))
    roomy = any(part.messages is not None or not part.single for part in offer.parts.values())
    seen: dict[str, int] = {}
    for copy in copies:
        index = copy.step.step
        for found in copy.messages.values():
            for message in found:
                view.state.stems(message, index)
                board.known[message.id] = message
        for name in offer.parts:
            board.writers[name] = (view.loop.step, (index,))
        for reader in copy.to:
            node = view.node_of(reader)
            seen[reader] = seen.get(reader, 0) + 1
            if node is not None and seen[reader] > 1 and not roomy:
                again = Again(copy.step, reader, copy.values, offer)
                board.redeliver.setdefault(node, deque()).append(again)
                continue
            if node is not None:
                board.wakers.setdefault(node, []).append(index)
            _override(view, board, reader, copy.values, copies[0].values)
            _announce_to(note, copy.step, reader, copy.messages, copy.values, offer)


def _hide(view: View, offer: Offer, copies: list[Copy], readers: set[str]) -> None:
    """Keep what was not addressed to a reader out of its sight, then and later."""
    if not copies or len(readers) < 2:
        return
    audience: dict[str, set[str]] = {}
    for copy in copies:
        for found in copy.messages.values():
            for message in found:
                audience.setdefault(message.id, set()).update(copy.to)
    for reader in readers:
        hidden = {one for one, listeners in audience.items() if reader not in listeners}
        if hidden:
            view.board.hidden.setdefault(reader, set()).update(hidden)
    losers = set(offer.body.to) - {reader for copy in copies for reader in copy.to}
    for reader in losers:
        for name, part in offer.parts.items():
            if part.messages is None and part.single:
                before = value_of(view.loop.channels.get(name))
                view.board.overrides[reader, name] = (before, copies[0].values.get(name, MISSING))


def _announce_to(
    note: TaskNote,
    step: Step,
    reader: str,
    messages: dict[str, list[Any]],
    values: dict[str, Any],
    offer: Offer,
) -> None:
    body = msgspec.structs.replace(step.body, to=(reader,))
    _announce(note, msgspec.structs.replace(step, body=body), messages, values, offer, None)


def _route(note: TaskNote, task: Any, offer: Offer, nodes: set[str]) -> None:
    """Change which nodes run next; a join still gets its signal, or it would wait forever."""
    view = note.view
    kept = []
    have = set()
    for channel, value in task.writes:
        if channel.startswith(BRANCH):
            node = channel[len(BRANCH) :]
            if node not in nodes:
                continue
            have.add(node)
        elif channel.startswith(JOIN):
            have.add(join_target(channel))
        kept.append((channel, value))
    extra = sorted(nodes - have)
    if extra:
        view.board.forced = True
    task.writes.clear()
    task.writes.extend(kept)
    task.writes.extend((BRANCH + node, None) for node in extra)


def _realize(
    view: View, offer: Offer, step: Step, number: int
) -> tuple[dict[str, list[Any]], dict[str, Any]]:
    """Return the messages and values, per channel, that `step` delivers (copies under new ids)."""
    altered = bytes(step.payload) != bytes(offer.body.content)
    content = unpack(step.payload) if altered else None
    if altered and not isinstance(content, dict):
        content = _spread(offer, content)
    messages: dict[str, list[Any]] = {}
    values: dict[str, Any] = {}
    for name, part in offer.parts.items():
        if content is not None and name not in content:
            continue
        plain = part.plain if content is None else content[name]
        if part.messages is not None:
            found = part.messages if content is None else align(part.messages, part.plain, plain)
            messages[name] = [copy_message(message) for message in found] if number else list(found)
        elif content is None or plain == to_plain(part.plain):
            values[name] = part.values[-1]
        else:
            values[name] = rebuild(part.values[-1], plain)
    for name, plain in (content or {}).items():
        if name not in offer.parts and name in view.loop.channels and not is_control(name):
            if name == "messages" and isinstance(plain, list):
                messages[name] = [new_message(item) for item in plain]
            else:
                values[name] = plain
    return messages, values


def _spread(offer: Offer, content: Any) -> dict[str, Any]:
    """Return content that is mere text as the content of the channel that held text before."""
    for name, part in offer.parts.items():
        if part.messages is not None:
            return {name: [{**part.plain[-1], "content": content}] if part.plain else []}
        if isinstance(part.plain, type(content)):
            return {name: content}
    return {}


def _write_state(task: Any, view: View, offer: Offer, copies: list[Copy]) -> None:
    """Put the delivered messages and values in the place of the offered ones."""
    rest = [(c, v) for c, v in task.writes if c not in offer.parts]
    front: list[tuple[str, Any]] = []
    for name in dict.fromkeys([*offer.parts, *(name for copy in copies for name in copy.fresh)]):
        part = offer.parts.get(name)
        fresh = [copy for copy in copies if name in copy.fresh]
        messages = [message for copy in fresh for message in copy.messages.get(name, ())]
        if part is not None and part.messages is not None and (messages or part.known):
            front.append((name, part.known + messages))
        elif messages:
            front.append((name, messages))
        values = [copy.values[name] for copy in fresh if name in copy.values]
        channel = view.loop.channels.get(name)
        if values and channel is not None:
            front += [(name, value) for value in (values[:1] if holds_one(channel) else values)]
    task.writes.clear()
    task.writes.extend(front + rest)


def _override(view: View, board: Any, reader: str, values: dict[str, Any], shared: dict[str, Any]) -> None:
    for name, value in values.items():
        common = shared.get(name, MISSING)
        channel = view.loop.channels.get(name)
        if common is not value and not same(common, value) and channel is not None and holds_one(channel):
            board.overrides[reader, name] = (value, common)
        else:
            board.overrides.pop((reader, name), None)


def _carry_send(note: TaskNote, task: Any, offer: Offer) -> None:
    """Replace one Send by those that the recorded steps ask for (none: the packet is lost)."""
    view = note.view
    made: list[Any] = []
    send_class = type(offer.send)
    for number, step in enumerate(offer.steps):
        if not isinstance(step.body, Message):
            continue
        messages, values = _realize(view, offer, step, number)
        if not offer.wrap:
            arg = (messages or values).get("", offer.send.arg)
        else:
            arg = {**offer.send.arg, **values}
            for name, found in messages.items():
                arg[name] = offer.parts[name].known + found if name in offer.parts else found
        for reader in step.body.to:
            node = view.node_of(reader)
            if node is None:
                continue
            if node != offer.send.node and isinstance(arg, dict):
                arg = {**view.state_for(node), **arg}
                view.board.forced = True
            packet = send_class(node, arg)
            made.append((TASKS, packet))
            view.board.sends[id(packet)] = (packet, step.step)
            _announce(note, step, messages, values, offer, packet)
    rest = [write for write in task.writes if write[1] is not offer.send]
    task.writes.clear()
    task.writes.extend(rest + made)


def _wake_again(note: TaskNote, task: Any, again: Again) -> None:
    """Activate the node once more, for the next copy of what its state has room for only one of.

    As many copies are delivered as were recorded: the run's own budget bounds them, so the superstep
    that a copy takes does not count against the graph's recursion limit.
    """
    board = note.view.board
    note.view.loop.stop += 1
    for name, value in again.values.items():
        board.overrides[note.agent, name] = (value, MISSING)
    board.wakers.setdefault(note.name, []).append(again.step.step)
    board.forced = True
    _announce_to(note, again.step, again.reader, {}, again.values, again.offer)
    if not any(channel == BRANCH + note.name for channel, _ in task.writes):
        task.writes.append((BRANCH + note.name, None))


def _restore(note: TaskNote, task: Any) -> None:
    """Keep a reader's own view out of the shared state when it hands its whole input back."""
    seen = note.overridden or {}
    kept = [(c, v) for c, v in task.writes if not (c in seen and same(seen[c], v))]
    if len(kept) != len(task.writes):
        task.writes.clear()
        task.writes.extend(kept)
    note.overridden = None


def announce_value(note: TaskNote, step: Step, value: Any, offer: Offer) -> None:
    """Register the delivery of a bare value (a result handed back, an entrypoint's input)."""
    _announce(note, step, {}, {"": value}, offer, None)
