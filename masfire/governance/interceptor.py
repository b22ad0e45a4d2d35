"""Governance at the recorder's gate: what a run's steps become, and what is noted of it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, Protocol

import msgspec

from masfire.contracts.model import Verdict
from masfire.errors import MasfireError
from masfire.governance.history import History
from masfire.governance.policy import Policy
from masfire.governance.ruling import Outcome, Proposal, Ruling
from masfire.trace.model import Action, Decision, Message, Observation, Step
from masfire.trace.payload import pack_or_refuse, unpack

QUIET = frozenset({"model_call", "memory_read", "message", "termination", "event"})
"""Kinds whose plain allowance is not noted in the trace (it is in the audit log)."""
_MAX_PENDING = 256


class RecordedHistory(History):
    """A run's contracts, fed by its record: what is recorded is history, and nothing else is."""

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.offered: Step | None = None
        self._recorded: Sequence[Step] = ()

    def catch_up(self, recorded: Sequence[Step]) -> None:
        """Commit what was recorded since the last look."""
        self._recorded = recorded
        while self.length < len(recorded):
            self.take(recorded[self.length])

    def step_of(self, proposal: Proposal, now: float) -> Step:
        """Return the offered step as the proposal has it now."""
        offered = self.offered
        if offered is None:
            return super().step_of(proposal, now)
        return offered.with_payload(proposal.payload)

    def commit(self, ruling: Ruling, now: float) -> None:
        """Do nothing: the recorder writes it down, and the record is history."""

    def end(self, status: str) -> tuple[Verdict, ...]:
        """Commit what was recorded after the last look, and end the run."""
        self.catch_up(self._recorded)
        return super().end(status)

    def observe(self, ruling: Ruling, outcome: object, *, ok: bool, now: float) -> None:
        """Do nothing, as above."""


class Court(Protocol):
    """What the gatekeeper asks of a governor."""

    @property
    def waits(self) -> bool:
        """Return whether a decision may have to be awaited."""

    guard: Any
    """The lineage guard, if messages are screened."""

    def recorded(self, run: str) -> RecordedHistory | None:
        """Begin a run whose history is its record."""

    def decide(self, proposal: Proposal) -> Ruling:
        """Return the ruling on a proposal."""

    async def adecide(self, proposal: Proposal) -> Ruling:
        """Return the ruling on a proposal."""

    def finish(
        self, ruling: Ruling, outcome: Any = None, *, ok: bool = True, tokens: int | None = None
    ) -> None:
        """Say what came of an allowed proposal."""

    def abandon(self, ruling: Ruling) -> None:
        """Take back an allowed proposal that never began."""


class Gatekeeper:
    """Guards one recorded run for a governor; it is the interceptor that the recorder calls."""

    def __init__(self, governor: Court, run: str) -> None:
        self._governor = governor
        self.run = run or uuid.uuid4().hex
        """The governed run: the recorded one's id, or where that has none a new one."""
        self._history = governor.recorded(self.run)
        self._open: dict[int, Ruling] = {}
        self._pending: dict[int, tuple[object, Ruling]] = {}
        self._lock = threading.RLock()

    def __call__(self, step: Step, history: Sequence[Step]) -> Sequence[Step] | Awaitable[Sequence[Step]]:
        """Return what may be recorded and delivered in place of `step`."""
        if self._governor.waits and isinstance(step.body, (Action, Message)):
            return self._later(step, history)
        with self._lock:
            self._catch_up(history)
            if isinstance(step.body, (Action, Message)):
                return self._answer(step, self._governor.decide(self._proposal(step)))
            if isinstance(step.body, Observation):
                self._observe(step, step.body)
            return (step,)

    async def _later(self, step: Step, history: Sequence[Step]) -> Sequence[Step]:
        """Like __call__, with checks that wait; asked again, the earlier answer is taken back."""
        known = self._pending.pop(id(step.body), None)
        if known is not None:
            self._governor.abandon(known[1])
        with self._lock:
            self._catch_up(history)
        proposal = self._proposal(step)
        ruling = await self._governor.adecide(proposal)
        if ruling.allowed:
            self._pending[id(step.body)] = (step.body, ruling)
            while len(self._pending) > _MAX_PENDING:
                del self._pending[next(iter(self._pending))]
        return self._answer(step, ruling)

    def _catch_up(self, history: Sequence[Step]) -> None:
        if self._history is not None:
            self._history.catch_up(history)

    def _proposal(self, step: Step) -> Proposal:
        body = step.body
        if self._history is not None:
            self._history.offered = step
        if isinstance(body, Message):
            return Proposal(self.run, step.agent, "message", "", body.content, step.role, to=body.to)
        assert isinstance(body, Action)  # noqa: S101 - callers look
        payload = body.executed or body.proposed
        return Proposal(self.run, step.agent, body.kind, body.name, payload, step.role, "", body.id)

    def _answer(self, step: Step, ruling: Ruling) -> Sequence[Step]:
        if not ruling.allowed:
            return (self._blocked(step, ruling.rule, ruling.reason, ruling.evidence),)
        body = step.body
        changed = ruling.outcome is Outcome.REWRITE
        if isinstance(body, Action):
            self._open[step.step] = ruling
            if changed:
                body = msgspec.structs.replace(body, executed=ruling.payload)
                step = msgspec.structs.replace(step, body=body)
        elif changed:
            step = step.with_payload(ruling.payload)
        if not changed and step.kind in QUIET and not ruling.evidence:
            return (step,)
        shown = {"proposed": ruling.proposed, "executed": ruling.executed}
        note = Decision(
            ruling.outcome.value, ruling.rule, ruling.reason, step.step,
            pack_or_refuse({**shown, "found": list(ruling.evidence)} if ruling.evidence else shown),
        )  # fmt: skip
        return step, msgspec.structs.replace(step, body=note, parents=(step.step,))

    def _blocked(self, step: Step, rule: str, reason: str, evidence: tuple[str, ...]) -> Step:
        body = step.body
        name = body.name if isinstance(body, Action) else ""
        shown = {"kind": step.kind, "name": name, "evidence": list(evidence)}
        if isinstance(body, (Action, Message)):
            try:
                shown["proposed"] = unpack(step.payload)
            except Exception:  # hostile bytes; the decision stands without them
                shown["proposed"] = "(cannot be decoded)"
        return msgspec.structs.replace(step, body=Decision("block", rule, reason, -1, pack_or_refuse(shown)))

    def _observe(self, step: Step, body: Observation) -> None:
        ruling = self._open.pop(body.of, None)
        if ruling is not None:
            draw = body.draw
            tokens = draw.tokens_in + draw.tokens_out if draw is not None else None
            outcome = (
                _value(step) if body.kind == "tool_result" and self._governor.guard is not None else None
            )
            self._governor.finish(ruling, outcome, ok=body.ok, tokens=tokens or None)


def _value(step: Step) -> object:
    try:
        value = unpack(step.payload)
    except MasfireError:
        return None
    return value.get("value") if isinstance(value, dict) else value
