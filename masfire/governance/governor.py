"""The governor: one decision for each proposal, and what it remembers between them."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from masfire.errors import RefusedValue, UsageError
from masfire.governance.answers import Check, aask, ask, heed, is_async
from masfire.governance.audit import AuditLog
from masfire.governance.capabilities import Grant, Rulebook, check_arguments
from masfire.governance.history import History
from masfire.governance.interceptor import Gatekeeper, RecordedHistory
from masfire.governance.lineage import Judgement, LineageGuard, Verifier
from masfire.governance.policy import Policy
from masfire.governance.ruling import (
    Blocked,
    Outcome,
    Proposal,
    Refusal,
    Rewrite,
    Ruling,
    ToolError,
    digest,
)
from masfire.governance.runs import Health, RunState
from masfire.trace.model import Header
from masfire.trace.payload import EMPTY, Payload, pack, pack_or_refuse, unpack

MAX_RUNS = 100_000
"""Live runs a governor keeps; more are blocked, because forgetting one would renew its budget."""

_RUN: ContextVar[str] = ContextVar("masfire_governed_run", default="")
_AGENT: ContextVar[str] = ContextVar("masfire_governed_agent", default="")

SCREENED = frozenset({"message", "tool_call", "delegation", "memory_write"})
"""Kinds whose statements the lineage guard screens."""

Escalate = Callable[[Ruling], Any]
"""Asked before a block by a capability or a contract stands; answers as a Check does."""


class Governor:
    """Decides whether agents' proposals run: capabilities, own checks, budgets, contracts, in this order.

    Thread-safe; shared by all agents of a process. Everything that cannot be decided is blocked.
    `checks` are further rules (sync or async); `rewrite` turns a proposal that a contract with
    `enforce: rewrite` refuses into a milder value; `escalate` may overrule a block. `verifiers` tell
    the lineage guard whether an open claim is true. `tokens_of` estimates a model request's tokens before
    it is sent. `clock` is the wall clock of the audit log and the contracts, `timer` a monotonic one for
    budgets and breakers.
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
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.policy, self.audit = policy, audit
        self.rulebook = Rulebook(policy.agents)
        self._checks, self._rewrite, self._escalate = tuple(checks), rewrite, escalate
        self._tokens_of = tokens_of or estimate_tokens
        self._clock, self._timer = clock, timer
        self._runs: dict[str, RunState] = {}
        self._inside: dict[str, int] = {}
        self._over: dict[str, None] = {}
        self._lock = threading.Lock()
        self._tickets = itertools.count(1)
        self._health = Health(policy.breaker)
        self.guard = (
            LineageGuard(policy.lineage, verifiers, seconds=policy.seconds) if policy.lineage else None
        )
        self.waits = any(map(is_async, (*checks, *verifiers, escalate)))
        """Whether a decision may have to be awaited (`adecide`)."""
        self._judged = bool(policy.contracts) or policy.retries
        self.quarantined: dict[str, str] = {}
        """Agents out of action in every run, with the reason."""

    # -- runs -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def run(self, run: str, *, status: str = "completed") -> Iterator[str]:
        """Make `run` the run whose budgets and history count in this context, and end it afterwards.

        Inside another run's block the outer run goes on to count: a nested agent gets no new budget.
        """
        outer = _RUN.get()
        if outer:
            yield outer
            return
        token = _RUN.set(run)
        self.enter(run)
        try:
            yield run
        finally:
            _RUN.reset(token)
            self.leave(run, status)

    def current_run(self) -> str:
        """Return the run of this context, or empty."""
        return _RUN.get()

    def enter(self, run: str) -> None:
        """Begin a run, or join it; each `enter` needs its `leave`."""
        with self._lock:
            self._inside[run] = self._inside.get(run, 0) + 1
            self._over.pop(run, None)

    def leave(self, run: str, status: str = "completed") -> None:
        """Leave a run; who leaves it last ends it."""
        with self._lock:
            self._inside[run] -= 1
            last = not self._inside[run]
            if last:
                del self._inside[run]
        if last:
            self.end(run, status)

    def for_run(self, header: Header) -> Gatekeeper:
        """Return the interceptor that governs one recorded run (`session.run(interceptors=[governor])`)."""
        return Gatekeeper(self, header.run)

    def recorded(self, run: str) -> RecordedHistory | None:
        """Begin a run whose history is its record; return that history when contracts need one."""
        history = RecordedHistory(self.policy) if self._judged else None
        with self._lock:
            if run in self._runs:
                raise UsageError(f"Run {run!r} is governed already.", hint="Give each run an id of its own.")
            self._over.pop(run, None)
            self._runs[run] = RunState(self.policy, history)
        return history

    @contextlib.contextmanager
    def inside(self, run: str, agent: str = "") -> Iterator[None]:
        """Join a run in this context (and act as `agent`) without ending it; an outer run wins."""
        joined = _RUN.set(_RUN.get() or run)
        named = _AGENT.set(agent or _AGENT.get())
        try:
            yield
        finally:
            _AGENT.reset(named)
            _RUN.reset(joined)

    @contextlib.contextmanager
    def acting(self, agent: str) -> Iterator[None]:
        """Name the agent that acts in this context."""
        token = _AGENT.set(agent)
        try:
            yield
        finally:
            _AGENT.reset(token)

    def end(self, run: str, status: str = "completed") -> tuple[Any, ...]:
        """Forget a run (its budgets with it); return the final verdicts of its contracts.

        What is proposed in it later, by a thread that was left behind, is blocked until the run is
        entered again.
        """
        with self._lock:
            state = self._runs.pop(run, None)
            if self.guard is not None:
                self.guard.forget(run)
            self._over[run] = None
            if len(self._over) > MAX_RUNS:
                del self._over[next(iter(self._over))]
        if state is None or state.history is None:
            return ()
        with state.held(self.policy.seconds):
            return state.history.end(status)

    def state_of(self, run: str) -> RunState:
        """Return the state of a run, made when it is new; raise Refusal when there are too many."""
        found = self._runs.get(run)
        if found is not None:
            return found
        with self._lock:
            found = self._runs.get(run)
            if found is None:
                if run in self._over:
                    raise refuse("run-over", f"Run {run!r} has ended.", "budget")
                if len(self._runs) >= MAX_RUNS:
                    raise refuse("budget:runs", f"{MAX_RUNS} runs are live; end some.", "budget")
                found = self._runs[run] = RunState(self.policy, self._new_history())
            return found

    def quarantine(self, agent: str, reason: str) -> None:
        """Put an agent out of action in every run until `release`; logged."""
        self.quarantined[agent] = reason
        self._note(agent=agent, rule="quarantine", reason=reason, outcome="block")

    def release(self, agent: str, *, run: str = "") -> None:
        """End an agent's quarantine, everywhere or the one a run imposed; logged."""
        self.quarantined.pop(agent, None)
        if run in self._runs:
            self._runs[run].blocks.pop(agent, None)
        self._note(agent=agent, run=run, rule="quarantine:released", outcome="allow")

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

        A value that is no JSON cannot be frozen; its proposal says so (`malformed`) and is blocked.
        """
        malformed = ""
        try:
            payload = pack(value)
        except Exception as failure:  # a user's object may raise anything while it is looked at
            payload, malformed = pack_or_refuse(value), str(failure) or type(failure).__name__
        return Proposal(
            _RUN.get() or run or "default", agent or _AGENT.get(), kind, name, payload, role, identity, id,
            to, malformed,
        )  # fmt: skip

    def decide(self, proposal: Proposal) -> Ruling:
        """Return the ruling on a proposal; never raises, whatever goes wrong is a block."""
        try:
            grant, payload = self._permitted(proposal)
            for check in self._checks:
                seen = msgspec.structs.replace(proposal, payload=payload)
                answer = ask(check, (seen,), seconds=self.policy.seconds, rule=_rule(check))
                payload = self._heeded(seen, answer, _rule(check))
            if self.guard is not None and proposal.kind in SCREENED:
                grant, payload = self._screened(grant, self.guard.screen(proposal, payload))
            ruling = self._admit(proposal, grant, payload)
        except Refusal as refusal:
            ruling = self.blocked(proposal, refusal)
            if self._may_escalate(ruling):
                ruling = self._escalated(ruling, self._asked_person(ruling))
        except Exception as failure:  # the governor blocks what it cannot judge
            ruling = self.blocked(proposal, _broken(failure))
        return ruling

    async def adecide(self, proposal: Proposal) -> Ruling:
        """Like `decide`, for checks and escalations that wait; a cancelled call reserves nothing."""
        try:
            grant, payload = self._permitted(proposal)
            for check in self._checks:
                seen = msgspec.structs.replace(proposal, payload=payload)
                answer = await aask(check, (seen,), seconds=self.policy.seconds, rule=_rule(check))
                payload = self._heeded(seen, answer, _rule(check))
            if self.guard is not None and proposal.kind in SCREENED:
                grant, payload = self._screened(grant, await self.guard.ascreen(proposal, payload))
            ruling = self._admit(proposal, grant, payload)
        except Refusal as refusal:
            ruling = self.blocked(proposal, refusal)
            if self._may_escalate(ruling):
                ruling = self._escalated(ruling, await self._aasked_person(ruling))
        except Exception as failure:  # the governor blocks what it cannot judge
            ruling = self.blocked(proposal, _broken(failure))
        return ruling

    def require(self, proposal: Proposal) -> Ruling:
        """Return the ruling when the proposal may run; raise Blocked otherwise."""
        ruling = self.decide(proposal)
        if not ruling.allowed:
            raise Blocked(ruling)
        return ruling

    def finish(
        self, ruling: Ruling, outcome: Any = None, *, ok: bool = True, tokens: int | None = None
    ) -> None:
        """Say what came of an allowed proposal: the outcome, and the tokens it really used.

        `outcome` is the value, or for `ok` False {"type", "message", "retryable", "retry_after_ms"}.
        """
        proposal = ruling.proposal
        if ruling.allowed and proposal.kind == "tool_call":
            self._health.note(proposal.name, ok=ok, now=self._timer())
        state = self._runs.get(proposal.run)
        if state is None or not ruling.allowed:
            return
        with state.held(self.policy.seconds):
            state.settle(ruling.ticket, tokens)
            if state.history is not None:
                state.history.observe(ruling, outcome, ok=ok, now=self._clock())
            if self.guard is not None and proposal.kind == "tool_call" and ok and outcome is not None:
                self.guard.confirm_result(proposal.run, proposal.name, unpack(pack_or_refuse(outcome)))
            if self.audit is not None:
                self.audit.append(
                    "finish", self._clock(), run=proposal.run, agent=proposal.agent, kind=proposal.kind,
                    name=proposal.name, id=proposal.id, ticket=ruling.ticket, ok=ok,
                )  # fmt: skip

    def abandon(self, ruling: Ruling) -> None:
        """Take back an allowed proposal that never began: its reservation is free again."""
        state = self._runs.get(ruling.proposal.run)
        if ruling.allowed and ruling.proposal.kind == "tool_call":
            self._health.give_back(ruling.proposal.name)
        if state is not None and ruling.allowed:
            with state.held(self.policy.seconds):
                state.give_back(ruling.ticket)
            self._note(
                run=ruling.proposal.run, agent=ruling.proposal.agent, rule="abandoned", ticket=ruling.ticket
            )

    # -- the parts of a decision ------------------------------------------------------------

    def _permitted(self, proposal: Proposal) -> tuple[Grant, Payload]:
        """Return the grant and the payload within its bounds; raise Refusal when there is none."""
        if proposal.malformed:
            raise refuse("malformed", proposal.malformed, "invalid", action="send plain JSON values")
        agent = proposal.agent
        if agent in self.quarantined:
            raise refuse("quarantine", f"{agent} is in quarantine: {self.quarantined[agent]}", "quarantine")
        grant = self.rulebook.grant(agent, proposal.role, proposal.kind, proposal.name)
        if not grant.allowed:
            raise refuse(grant.rule, grant.reason, "permission", action="use something that is allowed")
        for other in proposal.to if proposal.kind == "message" else ():
            heard = self.rulebook.grant(agent, proposal.role, "message", other)
            if not heard.allowed:
                raise refuse(heard.rule, heard.reason, "permission")
        payload = check_arguments(proposal, grant) if grant.bounded else proposal.payload
        return grant, payload

    def _heeded(self, proposal: Proposal, answer: Any, rule: str) -> Payload:
        """Return the payload after a check; a rewrite is held to the bounds again."""
        wish = heed(answer, rule=rule)
        return proposal.payload if wish is None else self._rewritten(proposal, wish)

    def _screened(self, grant: Grant, judged: Judgement) -> tuple[Grant, Payload]:
        """Return the grant, named after the lineage rule that spoke, and what may be sent."""
        if judged.outcome is Outcome.ALLOW and judged.rule == "lineage":
            return grant, judged.payload
        if judged.outcome is Outcome.ALLOW or judged.outcome is Outcome.REWRITE:
            noted = msgspec.structs.replace(
                grant, rule=judged.rule, reason=judged.reason, evidence=judged.evidence
            )
            return noted, judged.payload
        error = ToolError("lineage", judged.directive, judged.rule == "lineage:again", 0, judged.directive)
        raise Refusal(judged.rule, judged.reason, error, judged.evidence)

    def _rewritten(self, proposal: Proposal, wish: Rewrite) -> Payload:
        return self._permitted(msgspec.structs.replace(proposal, payload=pack(wish.value)))[1]

    def _admit(self, proposal: Proposal, grant: Grant, payload: Payload) -> Ruling:
        """Reserve, ask the contracts, log and commit, in one hold of the run's lock."""
        state = self.state_of(proposal.run)
        now = self._timer()
        acts = proposal.kind == "tool_call"
        with state.held(self.policy.seconds):
            if acts:
                self._health.require(proposal.name, now)
            ticket = next(self._tickets)
            try:
                state.require_trust(proposal.agent, self.policy.quarantine)
                state.reserve(ticket, proposal, grant, now, self._cost_of(proposal))
                notes: tuple[str, ...] = ()
                if state.history is not None:
                    payload, notes = self._lawful(state.history, proposal, payload)
                seconds = self._share_of_time(state, proposal, now) if acts else 0.0
                ruling = self._ruled(proposal, grant, payload, notes, ticket, seconds)
                self._log(ruling)
                if state.history is not None:
                    state.history.commit(ruling, self._clock())
            except BaseException:
                state.give_back(ticket)
                if acts:
                    self._health.give_back(proposal.name)
                raise
            return ruling

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
        self._note(run=proposal.run, agent=proposal.agent, rule="budget:time", evidence=told)
        return shares[0].seconds

    def _lawful(
        self, history: History, proposal: Proposal, payload: Payload
    ) -> tuple[Payload, tuple[str, ...]]:
        """Return what the contracts let run, and their warnings; raise Refusal when they do not."""
        judged = msgspec.structs.replace(proposal, payload=payload)
        found = history.peek(judged, self._clock(), self.policy.seconds)
        if found.mild and self._rewrite is not None:
            reason = found.mild[0]
            value = ask(self._rewrite, (judged, reason), seconds=self.policy.seconds, rule="rewrite")
            payload = self._rewritten(proposal, Rewrite(value, reason))
            judged = msgspec.structs.replace(proposal, payload=payload)
            found = history.peek(judged, self._clock(), self.policy.seconds)
        found.enforce()
        return payload, found.warnings

    def _ruled(
        self,
        proposal: Proposal,
        grant: Grant,
        payload: Payload,
        notes: tuple[str, ...],
        ticket: int,
        seconds: float = 0.0,
    ) -> Ruling:
        same = payload is proposal.payload or bytes(payload) == bytes(proposal.payload)
        proposed = digest(proposal.payload)
        return Ruling(
            Outcome.ALLOW if same else Outcome.REWRITE, grant.rule,
            grant.reason or ("" if same else "brought within bounds"), proposal, payload,
            (*grant.evidence, *notes), proposed,
            proposed if same else digest(payload), None, ticket, seconds,
        )  # fmt: skip

    def blocked(self, proposal: Proposal, refusal: Refusal) -> Ruling:
        """Return the ruling that refuses a proposal; it is logged and counts for quarantine."""
        ruling = Ruling(
            Outcome.BLOCK, refusal.rule, refusal.reason, proposal, EMPTY, refusal.evidence,
            digest(proposal.payload), "", refusal.error,
        )  # fmt: skip
        if self.policy.quarantine is not None:
            with contextlib.suppress(Exception):  # it is blocked already
                self.state_of(proposal.run).blame(proposal.agent)
        with contextlib.suppress(Exception):  # it is blocked already; nothing can be more closed
            self._log(ruling)
        return ruling

    def _cost_of(self, proposal: Proposal) -> tuple[int, float | None]:
        """Return the tokens to set aside and what they cost (None: nobody knows the price)."""
        if proposal.kind != "model_call":
            return 0, 0.0
        tokens = self._tokens_of(proposal)
        price = self.policy.prices.get(proposal.name)
        return tokens, None if price is None else tokens * max(price.tokens_in, price.tokens_out) / 1e6

    # -- escalation -------------------------------------------------------------------------

    def _may_escalate(self, ruling: Ruling) -> bool:
        return self._escalate is not None and ruling.rule.startswith(("capability:", "contract:"))

    def _asked_person(self, ruling: Ruling) -> Any:
        try:
            return ask(self._escalate or _nobody, (ruling,), seconds=self.policy.seconds, rule="escalate")
        except Refusal as refusal:
            return refusal

    async def _aasked_person(self, ruling: Ruling) -> Any:
        try:
            return await aask(
                self._escalate or _nobody, (ruling,), seconds=self.policy.seconds, rule="escalate"
            )
        except Refusal as refusal:
            return refusal

    def _escalated(self, ruling: Ruling, answer: Any) -> Ruling:
        """Return the ruling after a person's word; budgets, quarantine and breakers still hold."""
        proposal = ruling.proposal
        rule = f"escalate:{ruling.rule}"
        try:
            if isinstance(answer, Refusal):
                raise answer
            wish = heed(answer, rule=rule)
            payload = proposal.payload if wish is None else pack(wish.value)
            state = self.state_of(proposal.run)
            grant = self.rulebook.grant(proposal.agent, proposal.role, proposal.kind, proposal.name)
            with state.held(self.policy.seconds):
                if proposal.kind == "tool_call":
                    self._health.require(proposal.name, self._timer())
                ticket = next(self._tickets)
                state.reserve(ticket, proposal, grant, self._timer(), self._cost_of(proposal))
                try:
                    granted = msgspec.structs.replace(grant, rule=rule)
                    decided = self._ruled(proposal, granted, payload, (ruling.reason,), ticket)
                    self._log(decided)
                    if state.history is not None:
                        state.history.commit(decided, self._clock())
                except BaseException:
                    state.give_back(ticket)
                    raise
                return decided
        except Refusal as refusal:
            return self.blocked(proposal, refusal)
        except Exception as failure:  # the governor blocks what it cannot judge
            return self.blocked(proposal, _broken(failure))

    # -- the log ----------------------------------------------------------------------------

    def _log(self, ruling: Ruling) -> None:
        if self.audit is not None:
            self.audit.decision(ruling, self._clock())

    def _note(self, **fields: Any) -> None:
        if self.audit is not None:
            self.audit.append("note", self._clock(), **fields)

    def _new_history(self) -> History | None:
        return History(self.policy) if self._judged else None


def estimate_tokens(proposal: Proposal) -> int:
    """Return a request's tokens, guessed high: a quarter of its bytes, plus what it lets the model write.

    Without `max_tokens` in the request 1,024 are assumed for the answer.
    """
    value = proposal.value
    request = value if isinstance(value, dict) else {}
    limits = [request.get(key) for key in ("max_completion_tokens", "max_output_tokens", "max_tokens")]
    wanted = next((limit for limit in limits if type(limit) is int), 1024)
    choices = request.get("n")
    return max(0, wanted) * (choices if type(choices) is int else 1) + len(proposal.payload) // 4


def refuse(rule: str, reason: str, category: str, *, action: str = "", wait: float = 0.0) -> Refusal:
    """Return a Refusal with its structured error; `wait` is in seconds."""
    error = ToolError(category, reason, wait > 0, int(wait * 1000), action)
    return Refusal(rule, reason, error)


def _broken(failure: Exception) -> Refusal:
    if isinstance(failure, (RefusedValue, UsageError)):
        return refuse("malformed", str(failure), "invalid", action="send plain JSON values")
    return refuse(
        "error", f"It could not be judged: {type(failure).__name__}: {failure}"[:500], "internal",
        action="report it to a person",
    )  # fmt: skip


def _rule(check: Check) -> str:
    return f"check:{getattr(check, '__name__', type(check).__name__)}"


def _nobody(ruling: Ruling) -> Outcome:
    return Outcome.BLOCK
