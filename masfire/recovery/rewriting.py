"""Values that notes say get lost, put right: a slot that conflicts with what the user or a tool stated."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from masfire.errors import RefusedValue
from masfire.knowledge.model import ACCEPTED, MistakeNote
from masfire.knowledge.notebook import ADVICE, Notebook
from masfire.trace.model import USER, Header, Message, Observation, Step
from masfire.trace.payload import pack, unpack

if TYPE_CHECKING:
    from masfire.governance.ruling import Proposal

SIGNS = ("claim:conflict", "claim:new-number", "claim:new-name", "claim:new-value")
FAULTS = frozenset({"hallucination", "parameter_filling_error", "memory_loss", "blind_trust", *SIGNS})
"""Kinds of error that a rewriter can cure: a value that its source does not state."""
KINDS = frozenset({"tool_call", "message"})
MOST_RUNS = 10_000
MAX_STEPS = 2_000
"""Steps of a run that are looked at for a source, the latest."""
_DEPTH = 8
_MAX_TEXT = 20_000


class Rewriting(Struct, frozen=True):
    """What a rewriter did: at `key` it put `right` (stated at the 0-based step `source`) for `wrong`."""

    run: str
    agent: str
    key: str
    wrong: Any
    right: Any
    source: int
    note: str


class Rewriter:
    """Puts right what an agent proposes, where an accepted note says that such values go wrong.

    Deterministic, without a model. Only a slot is changed (a keyed scalar of a tool call's arguments or
    of JSON inside a message), only when its own value is stated neither by the user nor by a successful
    tool result, and only when exactly one other value of that key is *confirmed*: some earlier message
    or call gave it, and the user or a tool states it. Otherwise the proposal stays as it is, for the
    contracts to judge. It never renames a tool and never adds a field.

    Use it twice: as an interceptor before the governor, by which it follows the run, and as the
    governor's `rewrite`::

        right = rewriter(notebook)
        session.run(interceptors=[right.follow, Governor(policy, rewrite=right)])

    `right.always` is an interceptor that rewrites without waiting for a contract to object. `done` lists
    what it did.
    """

    def __init__(self, notes: Iterable[MistakeNote]) -> None:
        self._notes = [note for note in notes if note.status == ACCEPTED and _curable(note)]
        self._histories: dict[str, Sequence[Step]] = {}
        self.done: list[Rewriting] = []

    def __call__(self, proposal: Proposal, reason: str) -> Any:
        """Return the value to propose instead (the same one when there is nothing to put right)."""
        history = self._histories.get(proposal.run, ())
        value = proposal.value
        return self._righted(value, proposal.kind, proposal.agent, proposal.role, proposal.run, history)

    @property
    def follow(self) -> _Follower:
        """Return the interceptor that tells the rewriter what a run's history is; it changes nothing."""
        return _Follower(self, rewrite=False)

    @property
    def always(self) -> _Follower:
        """Return the interceptor that rewrites by itself, before any governor."""
        return _Follower(self, rewrite=True)

    def remember(self, run: str, history: Sequence[Step]) -> None:
        """Keep the history of a live run; of more than `MOST_RUNS` the oldest is dropped."""
        if run not in self._histories and len(self._histories) >= MOST_RUNS:
            del self._histories[next(iter(self._histories))]
        self._histories[run] = history

    def step(self, step: Step, run: str, history: Sequence[Step]) -> Step:
        """Return a step with its values put right, or the very same one."""
        if step.kind not in KINDS:
            return step
        try:
            value = unpack(step.payload)
            right = self._righted(value, step.kind, step.agent, step.role, run, history)
        except RefusedValue:
            return step
        return step if right == value else step.with_payload(pack(right))

    def _righted(
        self, value: Any, kind: str, agent: str, role: str, run: str, history: Sequence[Step]
    ) -> Any:
        note = self._note_for(agent, role) if kind in KINDS and agent != USER else None
        if note is None or not history:
            return value
        sources = Sources(history[-MAX_STEPS:])

        def put_right(key: str, wrong: Any) -> Any:
            found = sources.instead(key, wrong)
            if found is None:
                return wrong
            right, source = found
            self.done.append(Rewriting(run, agent, key, wrong, right, source, note.id))
            return right

        return _mapped(value, put_right, _DEPTH)

    def _note_for(self, agent: str, role: str) -> MistakeNote | None:
        names = {"", agent, agent.rpartition("/")[2], role}
        return next((note for note in self._notes if note.subject.role in names), None)


class _Follower:
    """The interceptor side of a rewriter; the recorder asks it for one of each run."""

    def __init__(self, rewriter: Rewriter, *, rewrite: bool) -> None:
        self._rewriter, self._rewrite = rewriter, rewrite

    def for_run(self, header: Header) -> Callable[[Step, Sequence[Step]], Sequence[Step]]:
        """Return the interceptor of one run."""

        def intercept(step: Step, history: Sequence[Step]) -> Sequence[Step]:
            self._rewriter.remember(header.run, history)
            return (self._rewriter.step(step, header.run, history) if self._rewrite else step,)

        return intercept


class Sources:
    """What a run's user and tools state, and which values its messages and calls gave to which key."""

    def __init__(self, history: Sequence[Step]) -> None:
        stated: list[str] = []
        self._given: dict[str, list[tuple[Any, int]]] = {}
        for step in history:
            try:
                value = step.value
            except RefusedValue:
                continue
            body = step.body
            if (isinstance(body, Message) and step.agent == USER) or (
                isinstance(body, Observation) and body.kind == "tool_result" and body.ok
            ):
                stated.append(_text(value)[:_MAX_TEXT].casefold())
            if step.kind in KINDS:
                _mapped(value, functools.partial(self._give, step.step), _DEPTH)
        self._stated = "\n".join(stated)

    def _give(self, step: int, key: str, value: Any) -> Any:
        self._given.setdefault(key, []).append((value, step))
        return value

    def states(self, value: Any) -> bool:
        """Return whether the user or a successful tool result holds this value as a word of its own."""
        text = str(value).strip().casefold()
        return bool(text) and bool(re.search(rf"(?<![\w.]){re.escape(text)}(?!\w)", self._stated))

    def instead(self, key: str, wrong: Any) -> tuple[Any, int] | None:
        """Return the one confirmed other value of `key` with its step; None when there is no such one."""
        if isinstance(wrong, bool) or wrong is None or self.states(wrong):
            return None
        found: dict[str, tuple[Any, int]] = {}
        for value, step in self._given.get(key, ()):
            if type(value) is type(wrong) and value != wrong and self.states(value):
                found.setdefault(str(value), (value, step))
        return next(iter(found.values())) if len(found) == 1 else None


def rewriter(source: Notebook | Iterable[MistakeNote], *, role: str = "") -> Rewriter:
    """Return a rewriter made from a notebook's accepted notes (for one role, or all) or from notes."""
    return Rewriter(source.accepted(role=role) if isinstance(source, Notebook) else source)


def _curable(note: MistakeNote) -> bool:
    return note.subject.fault in FAULTS or any(ADVICE[sign][0] in note.approach for sign in SIGNS)


def _mapped(value: Any, change: Callable[[str, Any], Any], depth: int, key: str = "") -> Any:
    """Return a value with `change(key, scalar)` for each keyed scalar, also in JSON inside texts."""
    if depth < 0:
        return value
    if isinstance(value, dict):
        return {
            name: part
            if name in _LABELS and "content" in value
            else _mapped(part, change, depth - 1, str(name))
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_mapped(part, change, depth - 1) for part in value]
    if isinstance(value, str) and value[:1] == "{" and len(value) <= _MAX_TEXT:
        inner = _object(value)
        if inner is not None:
            changed = _mapped(inner, change, depth - 1)
            return (
                value if changed == inner else json.dumps(changed, ensure_ascii=False, separators=(",", ":"))
            )
    if key and key not in ("content", "text") and isinstance(value, (str, int, float)):
        return change(key, value)
    return value


_LABELS = frozenset({"role", "name", "id", "type"})


def _object(text: str) -> Mapping[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
