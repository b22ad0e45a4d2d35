"""Values that notes say get lost, put right: from what the user or a tool stated, or as solved runs did."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from masfire.errors import RefusedValue
from masfire.knowledge.model import ACCEPTED, Habits, MistakeNote
from masfire.knowledge.notebook import ADVICE, Notebook
from masfire.recovery import doubts
from masfire.recovery.habits import (
    DEPTH,
    KINDS,
    Given,
    instead,
    mapped,
    mended,
    object_of,
    places_of,
    scalars,
    stated,
    text_of,
    written,
)
from masfire.trace.model import USER, Header, Message, Observation, Step
from masfire.trace.payload import pack, unpack

if TYPE_CHECKING:
    from masfire.governance.ruling import Proposal

SIGNS = ("claim:conflict", "claim:new-number", "claim:new-name", "claim:new-value")
FAULTS = frozenset({"hallucination", "parameter_filling_error", "memory_loss", "blind_trust", *SIGNS})
"""Kinds of error that a rewriter can cure: a value that its source does not state."""
MOST_RUNS = 10_000
MAX_STEPS = 2_000
"""Steps of a run that are looked at for a source, the latest."""


class Rewriting(Struct, frozen=True):
    """What a rewriter did: at `key` it put `right` for `wrong`.

    `source` is the 0-based step that gave the right value, -1 when it is the role's habit; an empty `key`
    is a whole text whose JSON was broken.
    """

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
    of JSON inside a message or a model's reply), in one of two cases; otherwise the proposal stays as it
    is, for the contracts to judge:

    - its value is stated neither by the user nor by a successful tool result, and exactly one other value
      of that key is *confirmed*: another agent's message or call gave it, and the user or a tool states it
      (of a role whose habits are known only in slots that it copies: counters are left alone);
    - the note's *habits* say that in solved runs this role always copied that slot, its value is not in
      what the role was given now, and exactly one value is that the slot is known to take (for a number
      slot: exactly one number) and that no other slot of the proposal holds.

    In doubt nothing changes: where the value may be stated in another way (other digits, words, forms, a
    sum), be the agent's own decision, or belong to one of several objects of a list, see
    `masfire.recovery.doubts`.

    A JSON text that is broken is read field by field when the role's JSON always had one form and every
    field of it, and nothing else, is there. A recorded tool call is never renamed, and no field is ever
    added.

    Use it twice: as an interceptor before the governor, by which it follows the run, and as the
    governor's `rewrite`::

        right = rewriter(notebook)
        session.run(interceptors=[right.follow, Governor(policy, rewrite=right)])

    `right.always` is an interceptor that rewrites without waiting for a contract to object. `done` lists
    what it did.
    """

    def __init__(self, notes: Iterable[MistakeNote]) -> None:
        self._notes = [note for note in notes if note.status == ACCEPTED and (_curable(note) or note.habits)]
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
        notes = self._notes_for(agent, role) if kind in KINDS and agent != USER and history else []
        if not notes:
            return value
        curing = next((note for note in notes if _curable(note)), None)
        practised = next((note for note in notes if note.habits is not None), None)
        sources = Sources(history[-MAX_STEPS:]) if curing is not None else None
        given = Given.to(agent, history) if practised is not None else None

        def done(key: str, wrong: Any, right: Any, source: int, note: MistakeNote) -> Any:
            self.done.append(Rewriting(run, agent, key, wrong, right, source, note.id))
            return right

        if practised is not None:
            value = _mended(value, practised.habits or Habits(), functools.partial(done, note=practised))
        beside = list(scalars(value))
        several = doubts.listed(value)

        slots = (
            {slot.key: slot for slot in practised.habits.slots if slot.kind == kind}
            if practised and practised.habits
            else None
        )

        def put_right(key: str, wrong: Any) -> Any:
            if isinstance(wrong, bool) or key in several or (slots is not None and key not in slots):
                return wrong
            others = [(name, other) for name, other in beside if other != wrong]
            said = [other for _, other in others]
            found = sources.instead(key, wrong, agent, said) if sources is not None else None
            if found is not None and curing is not None:
                return done(key, wrong, *found, curing)
            if slots is None or given is None or practised is None:
                return wrong
            right = instead(slots[key], wrong, given, others, slots.values())
            return wrong if right is None else done(key, wrong, right, -1, practised)

        return mapped(value, put_right, DEPTH)

    def _notes_for(self, agent: str, role: str) -> list[MistakeNote]:
        names = {"", agent, agent.rpartition("/")[2], role}
        return [note for note in self._notes if note.subject.role in names]


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
        told: list[str] = []
        self._given: dict[str, list[tuple[Any, int, str]]] = {}
        self._several: set[str] = set()
        for step in history:
            try:
                value = step.value
            except RefusedValue:
                continue
            body = step.body
            if (isinstance(body, Message) and step.agent == USER) or (
                isinstance(body, Observation) and body.kind == "tool_result" and body.ok
            ):
                told.append(text_of(step).casefold())
            if step.kind in KINDS:
                mapped(value, functools.partial(self._give, step.step, step.agent), DEPTH)
                self._several |= doubts.listed(value)
        self._stated = "\n".join(told)

    def _give(self, step: int, agent: str, key: str, value: Any) -> Any:
        self._given.setdefault(key, []).append((value, step, agent))
        return value

    def states(self, value: Any) -> bool:
        """Return whether the user or a successful tool result holds this value as a word of its own."""
        return stated(value, self._stated)

    def instead(self, key: str, wrong: Any, agent: str, beside: Sequence[Any] = ()) -> tuple[Any, int] | None:
        """Return the one confirmed other value of `key` with its step; None when there is no such one.

        What the agent itself gave before does not count (a next page, another try), nor does anything
        when yet another value was given; `beside` are the other values of the same proposal.
        """
        if isinstance(wrong, bool) or wrong is None or key in self._several or self.states(wrong):
            return None
        others = [(value, step) for value, step, giver in self._given.get(key, ()) if giver != agent]
        rivals = {str(value): (value, step) for value, step in reversed(others) if value != wrong}
        if len(rivals) != 1:
            return None
        ((value, step),) = rivals.values()
        if type(value) is not type(wrong) or not self.states(value):
            return None
        return None if self._doubts(wrong, value, beside) else (value, step)

    def _doubts(self, wrong: Any, right: Any, beside: Sequence[Any]) -> bool:
        """Return whether `wrong` may be right after all: said another way, made from others, or decided."""
        if isinstance(wrong, str):
            if doubts.choice(wrong) or doubts.choice(right) or doubts.reformed(wrong, right):
                return True
            places = places_of(right, self._stated)
            if any(doubts.dismissed(self._stated, *place) for place in places):
                return True
            return doubts.paraphrased(wrong, self._stated, right)
        if doubts.Readings(self._stated).may_mean(wrong):
            return True
        return doubts.derived(wrong, [right, *beside])


def rewriter(source: Notebook | Iterable[MistakeNote], *, role: str = "") -> Rewriter:
    """Return a rewriter made from a notebook's accepted notes (for one role, or all) or from notes."""
    return Rewriter(source.accepted(role=role) if isinstance(source, Notebook) else source)


def _curable(note: MistakeNote) -> bool:
    return note.subject.fault in FAULTS or any(ADVICE[sign][0] in note.approach for sign in SIGNS)


def _mended(value: Any, habits: Habits, done: Callable[[str, str, str, int], Any]) -> Any:
    """Return a payload with each broken JSON text in it mended, where the role's form tells how."""

    def walk(part: Any, depth: int) -> Any:
        if depth < 0 or not habits.form:
            return part
        if isinstance(part, dict):
            return {key: walk(inner, depth - 1) for key, inner in part.items()}
        if isinstance(part, list):
            return [walk(inner, depth - 1) for inner in part]
        if isinstance(part, str) and part.lstrip()[:1] in ("{", "`") and object_of(part) is None:
            whole = mended(part, habits.form)
            return part if whole is None else done("", part, written(whole), -1)
        return part

    return walk(value, DEPTH)
