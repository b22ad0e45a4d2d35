"""Admission: one hold of a run's lock in which a proposal is paid for, judged, logged and made history."""

from __future__ import annotations

import contextlib
import itertools
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from masfire.governance.answers import ask
from masfire.governance.audit import AuditLog
from masfire.governance.capabilities import Grant
from masfire.governance.history import History
from masfire.governance.ledger import ANSWER, estimate_tokens, unlimited
from masfire.governance.live import LiveRuns
from masfire.governance.policy import Policy
from masfire.governance.refusals import refuse
from masfire.governance.rewrites import CLAMPED, Permitted, credited, rewritten
from masfire.governance.ruling import Outcome, Proposal, Refusal, Rewrite, Ruling, digest
from masfire.governance.runs import Health, RunState
from masfire.trace.payload import Payload


class Minutes:
    """Guards what is to be logged: a line about something that has happened is never lost silently."""

    def __init__(self, audit: AuditLog | None, clock: Callable[[], float]) -> None:
        self.audit, self._clock = audit, clock
        self._unlogged: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    def decided(self, ruling: Ruling) -> None:
        """Write a decision, after what is still to be written; raise RecordingError when it cannot be."""
        if self.audit is not None:
            if self._unlogged:
                self._flush(self.audit)
            self.audit.decision(ruling, self._clock())

    def refused(self, ruling: Ruling) -> None:
        """Write a refusal; one that cannot be written is blocked all the same, and nothing is more closed."""
        try:
            self.decided(ruling)
        except Exception:
            return

    def finished(self, **fields: Any) -> None:
        """Write what came of an action; what cannot be written now is written before the next decision."""
        if self.audit is not None:
            self._unlogged.append({"time": self._clock(), **fields})
            with contextlib.suppress(Exception):  # the next decision tries again, and is blocked by it
                self._flush(self.audit)

    def note(self, **fields: Any) -> None:
        """Write a note; raise RecordingError when it cannot be written."""
        if self.audit is not None:
            self.audit.append("note", self._clock(), **fields)

    def _flush(self, audit: AuditLog) -> None:
        with self._lock:
            while self._unlogged:
                audit.append("finish", **self._unlogged[0])
                del self._unlogged[0]


class Admission:
    """Admits proposals that rules, checks and the lineage guard let pass.

    `permitted` holds a rewritten proposal to its agent's rules again; `moment` is the contracts' time in
    seconds since the epoch, `timer` the budgets'.
    """

    def __init__(
        self,
        runs: LiveRuns,
        minutes: Minutes,
        health: Health,
        *,
        permitted: Permitted,
        rewrite: Callable[[Proposal, str], Any] | None,
        tokens_of: Callable[[Proposal], int],
        timer: Callable[[], float],
        moment: Callable[[], float],
    ) -> None:
        self._runs, self._minutes, self._health = runs, minutes, health
        self._policy: Policy = runs.policy
        self._permitted, self._rewrite, self._tokens_of = permitted, rewrite, tokens_of
        self._timer, self._moment = timer, moment
        self._tickets = itertools.count(1)

    def admit(self, proposal: Proposal, grant: Grant, payload: Payload, *, overruled: bool = False) -> Ruling:
        """Reserve, ask the contracts, log and commit, in one hold of the run's lock."""
        policy = self._policy
        state = self._runs.state_of(proposal.run)
        acts = proposal.kind == "tool_call"
        if not state.acquire(False):
            state.held(policy.seconds)
        try:
            if state.closed is not None:
                raise state.closed
            now = self._timer()
            if acts and policy.breaker is not None:
                self._health.require(proposal.name, now)
            ticket = next(self._tickets)
            try:
                if policy.quarantine is not None:
                    state.require_trust(proposal.agent, policy.quarantine)
                need = self._cost_of(proposal) if proposal.kind == "model_call" else _FREE
                try:
                    state.reserve(ticket, proposal, grant, now, need)
                except Refusal as refusal:
                    raise self._explained(refusal, proposal) from None
                notes: tuple[str, ...] = ()
                history = state.history
                if history is not None and not overruled:
                    grant, payload, notes = self._lawful(history, proposal, grant, payload)
                seconds = 0.0
                if acts and policy.time_budget is not None:
                    seconds = self._share_of_time(state, proposal, now)
                ruling = _ruled(proposal, grant, payload, notes, ticket, seconds)
                self._minutes.decided(ruling)
                if history is not None:
                    history.commit(ruling, self._moment())
            except BaseException:
                state.give_back(ticket)
                if acts:
                    self._health.give_back(proposal.name)
                raise
            return ruling
        finally:
            state.release()

    def _explained(self, refusal: Refusal, proposal: Proposal) -> Refusal:
        """Return a refusal that says what the answer of a request without a limit would need."""
        if (
            refusal.rule != "budget:tokens"
            or self._tokens_of is not estimate_tokens
            or not unlimited(proposal)
        ):
            return refusal
        reason = f"{refusal.reason} It has no max_tokens, so {ANSWER:,} of them are for its answer."
        return refuse(
            refusal.rule, reason, "budget", action="set max_tokens, or stop and report what is done"
        )

    def _share_of_time(self, state: RunState, proposal: Proposal, now: float) -> float:
        """Return the seconds this call may take (0: no limit); the allocation is logged."""
        shares = state.share_time(proposal.name, now)
        if not shares:
            return 0.0
        told = tuple(
            f"{share.tool}: {share.seconds:.3f} s"
            + (f", in time with {share.chance:.0%}" if share.chance is not None else "")
            for share in shares
        )
        self._minutes.note(run=proposal.run, agent=proposal.agent, rule="budget:time", evidence=told)
        return shares[0].seconds

    def _lawful(
        self, history: History, proposal: Proposal, grant: Grant, payload: Payload
    ) -> tuple[Grant, Payload, tuple[str, ...]]:
        """Return what the contracts let run, on whose word, and their warnings; raise Refusal otherwise."""
        judged = proposal
        if payload is not proposal.payload:
            judged = msgspec.structs.replace(proposal, payload=payload)
        try:
            found = history.peek(judged, self._moment(), self._policy.seconds)
            if found.mild and self._rewrite is not None:
                rule, reason, _ = found.hard[0]
                value = ask(self._rewrite, (judged, reason), seconds=self._policy.seconds, rule="rewrite")
                wish = Rewrite(value, reason)
                changed = rewritten(self._permitted, judged, wish, grant, f"rewrite:{rule}")
                if changed != payload:
                    earlier = payload is not proposal.payload and payload != proposal.payload
                    grant, payload = credited(grant, rule, reason, earlier=earlier), changed
                judged = msgspec.structs.replace(proposal, payload=payload)
                found = history.peek(judged, self._moment(), self._policy.seconds)
            if found.hard:
                found.enforce()
        except Refusal as refusal:
            refusal.checked = (grant, payload)
            raise
        return grant, payload, found.warnings

    def _cost_of(self, proposal: Proposal) -> tuple[int, float | None]:
        """Return the tokens to set aside for a model call and their cost (None: nobody knows the price)."""
        tokens = self._tokens_of(proposal)
        if type(tokens) is not int or tokens < 0:
            raise refuse("budget:tokens", f"{tokens!r:.40} is no number of tokens.", "internal")
        price = self._policy.prices.get(proposal.name)
        return tokens, None if price is None else tokens * max(price.tokens_in, price.tokens_out) / 1e6


_FREE: tuple[int, float | None] = (0, 0.0)


def _ruled(
    proposal: Proposal, grant: Grant, payload: Payload, notes: tuple[str, ...], ticket: int, seconds: float
) -> Ruling:
    """Return the ruling that lets a payload run."""
    proposed = digest(proposal.payload)
    if payload is proposal.payload or bytes(payload) == bytes(proposal.payload):
        return Ruling(
            Outcome.ALLOW, grant.rule, grant.reason, proposal, payload,
            (*grant.evidence, *notes) if notes else grant.evidence, proposed, proposed, None, ticket, seconds,
        )  # fmt: skip
    return Ruling(
        Outcome.REWRITE, grant.rule, grant.reason or CLAMPED, proposal, payload,
        (*grant.evidence, *notes), proposed, digest(payload), None, ticket, seconds,
    )  # fmt: skip
