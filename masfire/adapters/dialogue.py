"""Messages between agents that share no framework: what one said turns up in another's request."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from masfire.adapters import provenance
from masfire.adapters.codec import SYSTEM_ROLES, Codec, Slot, ToolReturn
from masfire.adapters.effects import Steps, Submit, Wait
from masfire.recorder import Actor
from masfire.trace.model import USER, Action, Message, Observation, Step
from masfire.trace.payload import pack, unpack

if TYPE_CHECKING:
    from masfire.recorder import Recorder

VIA = "request"
"""How these messages travel: inside the receiver's next model request."""

_MIN_IN_SYSTEM = 24
"""Shorter matches (characters) in a system prompt are its own vocabulary."""


class Fix(msgspec.Struct, eq=False):
    """What became of one message: the texts to deliver in its place, one per recorded step."""

    original: str
    texts: list[str] = []
    steps: list[int] = []
    ready: threading.Event = msgspec.field(default_factory=threading.Event)


class _Letter(msgspec.Struct, frozen=True):
    sender: str
    text: str
    step: int


class Delivery(msgspec.Struct, eq=False):
    """What reading one request amounted to: its causes, the messages in it, whether it was edited."""

    parents: set[int] = msgspec.field(default_factory=set)
    expected: list[tuple[int, str]] = []
    changed: bool = False


class Dialogue:
    """Guards one run's messages between plain Python agents (see the module's sentence).

    A request is read once: texts that another agent said and this one has not yet received become
    Message steps, and what the recorder returns for them is written into the request: now and, for
    the same message, in every later request of this agent.
    """

    def __init__(self, run: Recorder) -> None:
        self.index = provenance.of(run)
        self.tool_call_steps: dict[str, int] = {}
        """Step of the model reply that asked for a tool call, by tool_call_id."""
        self._tool_ids: set[str] = run.notes.setdefault("tool_ids", set())
        self._fixes: dict[tuple[str, int, str], Fix] = {}
        self._returns: dict[tuple[str, str, str, str], Fix] = {}
        self._task: Fix | None = None
        self._known_tasks = sorted(_texts(unpack(run.header.task)), key=len, reverse=True)
        self._mail: dict[str, list[_Letter]] = {}
        self._last_mail: dict[str, list[_Letter]] = {}
        self._seen: set[tuple[int, str]] = set()
        self._lock = threading.Lock()

    def read(self, body: dict[str, Any], codec: Codec, actor: Actor, attempt: int) -> Steps[Delivery]:
        """Find, record and deliver the messages and tool results in request `body` (edited in place)."""
        delivery = Delivery()
        slots = codec.slots(body)
        if "tool" in [slot.role for slot in slots]:
            for found in codec.tool_returns(body):
                yield from self._tool_return(found, actor, delivery)
            slots = codec.slots(body)
        if actor.framework:
            delivery.parents.update(self.index.parents([slot.text for slot in slots], reader=actor.agent))
            return delivery
        if self._task is None or not self._task.ready.is_set():
            yield from self._find_task(slots, actor)
        for slot in slots:
            spans = self.index.find(slot.text, reader=actor.agent, own=slot.role == "assistant")
            if spans:
                yield from self._slot(slot, spans, body, codec, actor, delivery)
        if self._mail or self._last_mail:
            self._insert_mail(body, codec, actor.agent, attempt, delivery)
        return delivery

    def arrived(
        self, body: dict[str, Any], codec: Codec, reader: str, delivery: Delivery
    ) -> Iterator[tuple[int, str]]:
        """Yield (step, text) of each expected message that request `body`, as sent, really holds."""
        texts = [slot.text for slot in codec.slots(body)] if delivery.expected else []
        left: dict[str, int] = {}
        for step, text in delivery.expected:
            if text not in left:
                left[text] = sum(held.count(text) for held in texts) if text else 0
            if left[text] > 0:
                left[text] -= 1
                if (step, reader) not in self._seen:
                    self._seen.add((step, reader))
                    yield step, text

    def _slot(
        self,
        slot: Slot,
        spans: list[provenance.Span],
        body: dict[str, Any],
        codec: Codec,
        actor: Actor,
        delivery: Delivery,
    ) -> Steps[None]:
        edits: list[tuple[int, int, Fix]] = []
        for span in spans:
            if slot.role in SYSTEM_ROLES and span.end - span.start < _MIN_IN_SYSTEM:
                continue
            text = slot.text[span.start : span.end]
            if span.agent == actor.agent:
                delivery.parents.add(span.step)
            elif span.agent == USER:
                if self._task is not None and text == self._task.original:
                    edits.append((span.start, span.end, self._task))
                else:
                    delivery.parents.add(span.step)
            else:
                fix = yield from self._message(span, text, actor)
                edits.append((span.start, span.end, fix))
        if edits:
            _apply(edits, slot, body, codec, delivery)

    def _message(self, span: provenance.Span, text: str, actor: Actor) -> Steps[Fix]:
        key = (f"{actor.agent}\0{actor.path}", span.step, text)
        with self._lock:
            known = self._fixes.get(key)
            fix = known or self._fixes.setdefault(key, Fix(text))
        if known is not None:
            if not known.ready.is_set():
                yield Wait(known.ready)
            return known
        yield from self._submit(fix, span.agent, actor.agent, (span.step,))
        return fix

    def _submit(self, fix: Fix, sender: str, reader: str, parents: tuple[int, ...]) -> Steps[None]:
        try:
            steps = yield Submit(sender, Message((reader,), pack(fix.original), VIA), "", parents)
            self._enact(fix, steps, reader)
        except BaseException:
            fix.texts = [fix.original]
            raise
        finally:
            fix.ready.set()

    def _enact(self, fix: Fix, steps: Sequence[Step], reader: str) -> None:
        for step in steps:
            if not isinstance(step.body, Message):
                continue
            text = text_of(step.value)
            if text != fix.original:
                self.index.add(step.step, step.agent, text)
            for recipient in dict.fromkeys(step.body.to):
                if recipient == reader:
                    fix.texts.append(text)
                    fix.steps.append(step.step)
                elif recipient != USER:
                    with self._lock:
                        self._mail.setdefault(recipient, []).append(_Letter(step.agent, text, step.step))

    def _find_task(self, slots: list[Slot], actor: Actor) -> Steps[None]:
        text = self._task_text(slots, actor.agent)
        with self._lock:
            mine = self._task is None and bool(text)
            if mine:
                self._task = Fix(text)
            task = self._task
        if task is not None and mine:
            yield from self._submit(task, USER, actor.agent, ())
            self.index.add(task.steps[0] if task.steps else 0, USER, text, pinned=True)
        elif task is not None and not task.ready.is_set():
            yield Wait(task.ready)

    def _task_text(self, slots: list[Slot], reader: str) -> str:
        for known in self._known_tasks:
            if any(known in slot.text for slot in slots):
                return known
        users = [slot for slot in slots if slot.role == "user" and slot.text.strip()]
        if users and not self.index.find(users[-1].text, reader=reader):
            return users[-1].text.strip()
        return ""

    def _insert_mail(
        self, body: dict[str, Any], codec: Codec, reader: str, attempt: int, delivery: Delivery
    ) -> None:
        with self._lock:
            if attempt == 0:
                self._last_mail[reader] = self._mail.pop(reader, [])
            letters = self._last_mail.get(reader, [])
        item = None
        for letter in letters:
            item = codec.add(body, f"{letter.sender}: {letter.text}", after=item)
            delivery.parents.add(letter.step)
            delivery.expected.append((letter.step, letter.text))
            delivery.changed = True

    def _tool_return(self, found: ToolReturn, actor: Actor, delivery: Delivery) -> Steps[None]:
        asked = self.tool_call_steps.get(found.id)
        if asked is not None:
            delivery.parents.add(asked)  # the model's own request stands in its history
        if found.id in self._tool_ids:
            return
        key = (f"{actor.agent}\0{actor.path}", found.id, found.arguments, found.slot.text)
        with self._lock:
            known = self._returns.get(key)
            fix = known or self._returns.setdefault(key, Fix(found.slot.text))
        if known is None:
            try:
                yield from self._record_tool(found, actor, fix)
            finally:
                fix.ready.set()
        elif not known.ready.is_set():
            yield Wait(known.ready)
        delivery.parents.update(fix.steps)
        text = fix.texts[0] if fix.texts else ""
        if text != found.slot.text:
            found.slot.replace(text)
            delivery.changed = True

    def _record_tool(self, found: ToolReturn, actor: Actor, fix: Fix) -> Steps[None]:
        fix.texts = [fix.original]  # whatever happens, the request keeps its result
        asked = self.tool_call_steps.get(found.id)
        action = Action("tool_call", found.name, pack({"args": _arguments(found.arguments)}), id=found.id)
        calls = yield Submit(actor.agent, action, actor.role, () if asked is None else (asked,))
        of = calls[-1].step if calls else -1
        result = Observation("tool_result", found.name, of, pack({"value": fix.original}))
        steps = yield Submit(actor.agent, result, actor.role, (of,) if calls else ())
        fix.texts = []
        for step in steps:
            value = step.value
            text = text_of(value.get("value", value.get("error", "")) if isinstance(value, dict) else value)
            fix.texts.append(text)
            fix.steps.append(step.step)
            self.index.add(step.step, actor.agent, text)


def of(run: Recorder) -> Dialogue:
    """Return the dialogue of this run, made at first use."""
    dialogue = run.notes.get("dialogue")
    if dialogue is None:
        dialogue = run.notes.setdefault("dialogue", Dialogue(run))
    return dialogue  # type: ignore[no-any-return]


def text_of(value: Any) -> str:
    """Return a message's content as the text that is written into a request."""
    if isinstance(value, dict) and isinstance(value.get("content"), str):
        value = value["content"]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _apply(
    edits: list[tuple[int, int, Fix]], slot: Slot, body: dict[str, Any], codec: Codec, delivery: Delivery
) -> None:
    original = text = slot.text
    copies: list[str] = []
    for start, end, fix in reversed(edits):
        first = fix.texts[0] if fix.texts else ""
        text = text[:start] + first + text[end:]
        around = (original[:start], original[end:]) if slot.role == "user" else ("", "")
        copies += [around[0] + more + around[1] for more in fix.texts[1:]]
        delivery.parents.update(fix.steps)
        delivery.expected += zip(fix.steps, fix.texts, strict=False)
    item = slot.item if slot.role == "user" else None
    for copy in copies:
        item = codec.add(body, copy, after=item)
    if text != original:
        if text.strip():
            slot.replace(text)
        else:
            codec.remove(body, slot)
    delivery.changed = delivery.changed or bool(copies) or text != original


def _texts(task: Any) -> set[str]:
    if isinstance(task, str):
        return {task.strip()} if len(task.strip()) > 1 else set()
    if isinstance(task, dict):
        task = list(task.values())
    if isinstance(task, list):
        return {text for item in task for text in _texts(item) if len(text) >= provenance.MIN_LINE}
    return set()


def _arguments(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text
