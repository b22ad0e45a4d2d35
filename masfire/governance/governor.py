"""The governor: one decision for each proposal, and what it remembers between them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from masfire.governance.admission import Admission, Minutes
from masfire.governance.answers import Check, aask, ask, heed, is_async
from masfire.governance.audit import AuditLog
from masfire.governance.capabilities import Grant, Rulebook, check_arguments
from masfire.governance.freezing import freeze
from masfire.governance.interceptor import Gatekeeper
from masfire.governance.ledger import estimate_tokens
from masfire.governance.lineage import Judgement, LineageGuard, Verifier
from masfire.governance.live import AGENT, RUN, LiveRuns, runless
from masfire.governance.policy import Policy
from masfire.governance.refusals import ESCALATED, broken, refuse
from masfire.governance.rewrites import credited, fitted, rewritten
from masfire.governance.ruling import (
    Blocked,
    Outcome,
    Proposal,
    Refusal,
    Ruling,
    ToolError,
    digest,
)
from masfire.governance.runs import Health
from masfire.trace.model import Header
from masfire.trace.payload import ABSENT, EMPTY, Payload, pack_or_refuse, unpack

SCREENED = frozenset({"message", "tool_call", "delegation", "memory_write"})
"""Kinds whose statements the lineage guard screens."""

Escalate = Callable[[Ruling], Any]
"""Asked before a block by a capability or a contract stands; answers as a Check does."""


class Governor(LiveRuns):
    """Decides whether agents' proposals run: capabilities, own checks, budgets, contracts, in this order.

    Thread-safe; shared by all agents of a process. Everything that cannot be decided is blocked.
    `checks` are further rules (sync or async): each gets the Proposal and returns Allow(), Block(reason) or
    Rewrite(value, reason), the value in the form of `Proposal.value`. `rewrite` gives such a value for what
    a contract with `enforce: rewrite` refuses; `escalate` may overrule a block, after which own checks,
    lineage and budgets still hold. `verifiers` tell the lineage guard whether an open claim is true.
    `tokens_of` estimates a model request's tokens before it is sent. `clock` is the wall clock of the audit
    log; `timer`, a monotonic one, measures budgets, breakers and, from the clock's time at the start on,
    the contracts: setting the clock changes no wait.

    Budgets, calls, contracts and whatever else remembers hold for one run: `with governor.run():` (each
    call of a governed graph or LangChain agent is one by itself). An action in no run is blocked, unless
    the policy remembers nothing or `run` names the one that such actions share: it never ends, so its
    budgets are the process's.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        audit: AuditLog | None = None,
        checks: Sequence[Check] = (),
        rewrite: Callable[[Proposal, str], Any] | None = None,
        escalate: Escalate | None = None,
        verifiers: Sequence[Verifier] = (),
        tokens_of: Callable[[Proposal], int] | None = None,
        run: str = "",
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        guard = LineageGuard(policy.lineage, verifiers, seconds=policy.seconds) if policy.lineage else None
        super().__init__(policy, guard)
        self.audit = audit
        self._per_run = policy.per_run()
        self._shared_run = run or ("" if self._per_run else "default")
        self.rulebook = Rulebook(policy.agents, closed=policy.closed)
        self._checks, self._escalate = tuple(checks), escalate
        self._timer, ahead = timer, clock() - timer()
        self._moment: Callable[[], float] = lambda: timer() + ahead
        self._health = Health(policy.breaker)
        self._latest: tuple[Payload, Any] = (ABSENT, None)
        """The payload that was frozen last, and its decoded copy, which nobody else has."""
        self._minutes = Minutes(audit, clock)
        self._admission = Admission(
            self, self._minutes, self._health, permitted=self._permitted, rewrite=rewrite,
            tokens_of=tokens_of or estimate_tokens, timer=timer, moment=self._moment,
        )  # fmt: skip
        self._admit = self._admission.admit
        self.waits = any(map(is_async, (*checks, *verifiers, escalate)))
        """Whether a decision may have to be awaited (`adecide`)."""
        self.quarantined: dict[str, str] = {}
        """Agents out of action in every run, with the reason."""

    def for_run(self, header: Header) -> Gatekeeper:
        """Return the interceptor that governs one recorded run (`session.run(interceptors=[governor])`)."""
        return Gatekeeper(self, header.run)

    def quarantine(self, agent: str, reason: str) -> None:
        """Put an agent out of action in every run until `release`; logged."""
        self.quarantined[agent] = reason
        self._minutes.note(agent=agent, rule="quarantine", reason=reason, outcome="block")

    def release(self, agent: str, *, run: str = "") -> None:
        """End an agent's quarantine, everywhere or the one a run imposed; logged."""
        self._minutes.note(agent=agent, run=run, rule="quarantine:released", outcome="allow")
        self.quarantined.pop(agent, None)
        if run in self._states:
            self._states[run].blocks.pop(agent, None)

    # -- decisions --------------------------------------------------------------------------

    def propose(
        self,
        kind: str,
        name: str,
        value: Any,
        *,
        agent: str = "",
        run: str = "",
        role: str = "",
        identity: str = "",
        id: str = "",  # noqa: A002 - the caller's correlation id, as in Action
        to: tuple[str, ...] = (),
    ) -> Proposal:
        """Return a proposal that holds a frozen copy of `value`; agent and run default to the context's.

        A value that is no JSON, or a name that is no text, cannot be frozen; the proposal says so
        (`malformed`) and is blocked.
        """
        malformed = ""
        try:
            self._latest = latest = freeze(value)
            payload = latest[0]
        except Exception as failure:  # a user's object may raise anything while it is looked at
            payload, malformed = pack_or_refuse(value), str(failure) or type(failure).__name__
        run, agent = _run_here() or run or self._shared_run, agent or _agent_here()
        if not (type(name) is type(agent) is type(run) is type(kind) is type(role) is str):
            texts = [_exact(text) for text in (kind, name, agent, run, role)]
            if None in texts:
                malformed = "A kind, name, agent, run or role is no text."
            kind, name, agent, run, role = (text or "" for text in texts)
        return Proposal(run, agent, kind, name, payload, role, identity, id, to, malformed)

    def decide(self, proposal: Proposal) -> Ruling:
        """Return the ruling on a proposal; never raises, whatever goes wrong is a block."""
        try:
            grant, payload = self._permitted(proposal)
            if self._checks or self.guard is not None:
                grant, payload = self._examined(proposal, grant, payload)
            return self._admit(proposal, grant, payload)
        except Refusal as refusal:
            if self._escalate is not None and refusal.rule.startswith(ESCALATED):
                return self._escalated(proposal, refusal)
            return self.blocked(proposal, refusal)
        except Exception as failure:  # the governor blocks what it cannot judge
            return self.blocked(proposal, broken(failure))

    async def adecide(self, proposal: Proposal) -> Ruling:
        """Like `decide`, for checks and escalations that wait; a cancelled call reserves nothing."""
        try:
            grant, payload = self._permitted(proposal)
            if self._checks or self.guard is not None:
                grant, payload = await self._aexamined(proposal, grant, payload)
            return self._admit(proposal, grant, payload)
        except Refusal as refusal:
            if self._escalate is not None and refusal.rule.startswith(ESCALATED):
                return await self._aescalated(proposal, refusal)
            return self.blocked(proposal, refusal)
        except Exception as failure:  # the governor blocks what it cannot judge
            return self.blocked(proposal, broken(failure))

    def require(self, proposal: Proposal) -> Ruling:
        """Return the ruling when the proposal may run; raise Blocked otherwise."""
        ruling = self.decide(proposal)
        if not ruling.allowed:
            raise Blocked(ruling)
        return ruling

    async def arequire(self, proposal: Proposal) -> Ruling:
        """Like `require`, for checks that wait."""
        ruling = await self.adecide(proposal)
        if not ruling.allowed:
            raise Blocked(ruling)
        return ruling

    def finish(
        self, ruling: Ruling, outcome: Any = None, *, ok: bool = True, tokens: int | None = None
    ) -> None:
        """Say what came of an allowed proposal: the outcome, and the tokens it really used.

        `outcome` is the value, or for `ok` False {"type", "message", "retryable", "retry_after_ms"}.
        Never raises, since the action has happened: when it cannot be booked, the run is blocked from here
        on, and a line that cannot be written is written before the next decision or blocks it.
        """
        proposal = ruling.proposal
        state = self._states.get(proposal.run)
        if not ruling.allowed:
            return
        try:
            if proposal.kind == "tool_call":
                self._health.note(proposal.name, ok=ok, now=self._timer())
            if state is None:
                return
            with state.held(self.policy.seconds):
                state.settle(ruling.ticket, tokens)
                if state.history is not None:
                    state.history.observe(ruling, outcome, ok=ok, now=self._moment())
                if self.guard is not None and proposal.kind == "tool_call" and ok and outcome is not None:
                    self.guard.confirm_result(
                        proposal.run, proposal.name, unpack(pack_or_refuse(outcome)), ruling.args
                    )
        except Exception as failure:  # what happened is not known, so nothing more may happen
            if state is not None:
                reason = f"What came of {proposal.name!r} could not be booked: {failure}"[:500]
                state.closed = refuse("run-broken", reason, "internal", action="report it to a person")
        self._minutes.finished(
            run=proposal.run, agent=proposal.agent, kind=proposal.kind, name=proposal.name,
            id=proposal.id, ticket=ruling.ticket, ok=ok,
        )  # fmt: skip

    def interrupt(self, ruling: Ruling) -> None:
        """Say that an allowed action was put off half-way: what it reserved stays used, nobody failed."""
        if ruling.allowed and ruling.proposal.kind == "tool_call":
            self._health.give_back(ruling.proposal.name)

    def abandon(self, ruling: Ruling) -> None:
        """Take back an allowed proposal that never began: its reservation is free again."""
        state = self._states.get(ruling.proposal.run)
        if ruling.allowed and ruling.proposal.kind == "tool_call":
            self._health.give_back(ruling.proposal.name)
        if state is not None and ruling.allowed:
            with state.held(self.policy.seconds):
                state.give_back(ruling.ticket)
            self._minutes.note(
                run=ruling.proposal.run, agent=ruling.proposal.agent, rule="abandoned", ticket=ruling.ticket
            )

    def withdraw(self, ruling: Ruling, rule: str, reason: str) -> Ruling:
        """Return the block of an allowed proposal that cannot be carried out as ruled; both are logged."""
        with contextlib.suppress(Exception):  # what cannot be given back stays used
            self.abandon(ruling)
        refusal = refuse(rule, reason, "internal", action="report it to a person")
        return self.blocked(ruling.proposal, refusal)

    # -- the parts of a decision ------------------------------------------------------------

    def _permitted(self, proposal: Proposal) -> tuple[Grant, Payload]:
        """Return the grant and the payload within its bounds; raise Refusal when there is none."""
        if proposal.malformed:
            raise refuse("malformed", proposal.malformed, "invalid", action="send plain JSON values")
        if not proposal.run:
            raise runless(self._per_run)
        agent = proposal.agent
        if self.quarantined and agent in self.quarantined:
            raise refuse("quarantine", f"{agent} is in quarantine: {self.quarantined[agent]}", "quarantine")
        if self.policy.quarantine is not None and (state := self._states.get(proposal.run)) is not None:
            state.require_trust(agent, self.policy.quarantine)  # before a rule asks it to try again
        grant = self.rulebook.grant(agent, proposal.role, proposal.kind, proposal.name)
        if not grant.allowed:
            raise refuse(grant.rule, grant.reason, "permission", action="use something that is allowed")
        if proposal.to and proposal.kind == "message":
            for other in proposal.to:
                heard = self.rulebook.grant(agent, proposal.role, "message", other)
                if not heard.allowed:
                    raise refuse(heard.rule, heard.reason, "permission")
        if grant.tests or grant.foreseen:
            frozen, known = self._latest  # another thread's, perhaps: then it is decoded anew
            return grant, check_arguments(proposal, grant, known if frozen is proposal.payload else None)
        return grant, proposal.payload

    def _examined(self, proposal: Proposal, grant: Grant, payload: Payload) -> tuple[Grant, Payload]:
        """Return the grant and what own checks and the lineage guard leave of the payload."""
        for check in self._checks:
            seen = msgspec.structs.replace(proposal, payload=payload)
            answer = ask(check, (seen,), seconds=self.policy.seconds, rule=_rule(check))
            grant, payload = self._heeded(proposal, seen, grant, answer, _rule(check))
        if self.guard is not None and proposal.kind in SCREENED:
            return self._screened(proposal, grant, payload, self.guard.screen(proposal, payload))
        return grant, payload

    async def _aexamined(self, proposal: Proposal, grant: Grant, payload: Payload) -> tuple[Grant, Payload]:
        for check in self._checks:
            seen = msgspec.structs.replace(proposal, payload=payload)
            answer = await aask(check, (seen,), seconds=self.policy.seconds, rule=_rule(check))
            grant, payload = self._heeded(proposal, seen, grant, answer, _rule(check))
        if self.guard is not None and proposal.kind in SCREENED:
            return self._screened(proposal, grant, payload, await self.guard.ascreen(proposal, payload))
        return grant, payload

    def _heeded(
        self, proposal: Proposal, seen: Proposal, grant: Grant, answer: Any, rule: str
    ) -> tuple[Grant, Payload]:
        """Return the grant and the payload after a check; a rewrite is held to form and bounds, and named."""
        wish = heed(answer, rule=rule)
        if wish is None:
            return grant, seen.payload
        changed = rewritten(self._permitted, seen, wish, grant, rule)
        if changed == seen.payload:
            return grant, seen.payload
        return credited(grant, rule, wish.reason, earlier=seen.payload != proposal.payload), changed

    def _screened(
        self, proposal: Proposal, grant: Grant, payload: Payload, judged: Judgement
    ) -> tuple[Grant, Payload]:
        """Return the grant, named after the lineage rule that spoke, and what may be sent."""
        if judged.outcome is Outcome.ALLOW and judged.rule == "lineage":
            return grant, judged.payload
        if judged.outcome is Outcome.ALLOW or judged.outcome is Outcome.REWRITE:
            before = credited(grant, judged.rule, "", earlier=payload != proposal.payload)
            noted = msgspec.structs.replace(
                before, reason=judged.reason, evidence=(*judged.evidence, *before.evidence)
            )
            changed = judged.payload
            if grant.bounded and changed != payload:  # a repaired value is held to the bounds again
                changed = check_arguments(msgspec.structs.replace(proposal, payload=changed), grant)
            return noted, changed
        error = ToolError("lineage", judged.directive, judged.rule == "lineage:again", 0, judged.directive)
        raise Refusal(judged.rule, judged.reason, error, judged.evidence)

    def blocked(self, proposal: Proposal, refusal: Refusal, *, final: bool = True) -> Ruling:
        """Return the ruling that refuses a proposal, logged; one that is `final` counts for quarantine."""
        ruling = Ruling(
            Outcome.BLOCK, refusal.rule, refusal.reason, proposal, EMPTY, refusal.evidence,
            digest(proposal.payload), "", refusal.error,
        )  # fmt: skip
        if final and self.policy.quarantine is not None and proposal.run:
            with contextlib.suppress(Exception):  # it is blocked already
                self.state_of(proposal.run).blame(proposal.agent)
        self._minutes.refused(ruling)
        return ruling

    # -- escalation -------------------------------------------------------------------------

    def _escalated(self, proposal: Proposal, refusal: Refusal) -> Ruling:
        """Return the ruling after a person's word on a block; everything else still holds."""
        ruling = self.blocked(proposal, refusal, final=False)
        try:
            answer = ask(self._escalate or _nobody, (ruling,), seconds=self.policy.seconds, rule="escalate")
            grant, payload, anew = self._overruled(proposal, refusal, answer)
            if anew:
                grant, payload = self._examined(proposal, grant, payload)
            return self._admit(proposal, grant, payload, overruled=refusal.checked is not None)
        except Refusal as again:
            return self.blocked(proposal, again)
        except Exception as failure:  # the governor blocks what it cannot judge
            return self.blocked(proposal, broken(failure))

    async def _aescalated(self, proposal: Proposal, refusal: Refusal) -> Ruling:
        ruling = self.blocked(proposal, refusal, final=False)
        try:
            answer = await aask(
                self._escalate or _nobody, (ruling,), seconds=self.policy.seconds, rule="escalate"
            )
            grant, payload, anew = self._overruled(proposal, refusal, answer)
            if anew:
                grant, payload = await self._aexamined(proposal, grant, payload)
            return self._admit(proposal, grant, payload, overruled=refusal.checked is not None)
        except Refusal as again:
            return self.blocked(proposal, again)
        except Exception as failure:  # the governor blocks what it cannot judge
            return self.blocked(proposal, broken(failure))

    def _overruled(self, proposal: Proposal, refusal: Refusal, answer: Any) -> tuple[Grant, Payload, bool]:
        """Return the grant by a person's word, the payload, and whether it must be examined (anew)."""
        rule = f"escalate:{refusal.rule}"
        wish = heed(answer, rule=rule)
        if refusal.checked is not None:  # a contract spoke: everything before it had let this pass
            grant, payload = refusal.checked
            if wish is not None:
                payload = rewritten(self._permitted, proposal, wish, grant, rule)
        else:
            grant = self.rulebook.grant(proposal.agent, proposal.role, proposal.kind, proposal.name)
            payload = proposal.payload if wish is None else fitted(proposal, wish, grant, rule)
        granted = msgspec.structs.replace(
            grant, rule=rule, reason=getattr(answer, "reason", ""), evidence=(refusal.reason,), tests=(),
            foreseen=(),
        )  # fmt: skip
        return granted, payload, refusal.checked is None or wish is not None


_run_here, _agent_here = RUN.get, AGENT.get


def _exact(text: Any) -> str | None:
    """Return a text as a plain str, whatever class it is of; None when it is no text."""
    return str.__str__(text) if isinstance(text, str) else None


def _rule(check: Check) -> str:
    return f"check:{getattr(check, '__name__', type(check).__name__)}"


def _nobody(ruling: Ruling) -> Outcome:
    return Outcome.BLOCK
