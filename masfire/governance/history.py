"""What contracts know of a governed run: the steps that were carried out, judged by the one engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from masfire.governance.answers import ask
from masfire.governance.retrying import Retries
from masfire.governance.ruling import Proposal, Refusal, Ruling, ToolError
from masfire.trace.model import Action, Body, Message, Observation, Step
from masfire.trace.payload import Payload, pack_or_refuse

if TYPE_CHECKING:
    from masfire.contracts.engine import Engine
    from masfire.contracts.model import Contract, StepVerdict, Verdict
    from masfire.governance.policy import Policy

RESULTS = {"tool_call": "tool_result", "model_call": "model_reply", "memory_read": "memory_value"}


class Findings(Struct, frozen=True):
    """What the contracts say of a proposal: hard refusals, those a rewrite may cure, and warnings."""

    hard: tuple[tuple[str, str, tuple[str, ...]], ...] = ()
    mild: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def enforce(self) -> None:
        """Raise Refusal when anything speaks against the proposal."""
        for rule, reason, evidence in self.hard:
            error = ToolError("contract", reason, suggested_action="do first what the contract asks for")
            raise Refusal(rule, reason, error, evidence)


NOTHING = Findings()


class History:
    """Guards one run's engine: peeks at proposals, commits what was carried out."""

    def __init__(self, policy: Policy) -> None:
        self.contracts: tuple[Contract, ...] = tuple(policy.contracts)
        self._by_id = {contract.id: contract for contract in self.contracts}
        self._engine = _engine_of(self.contracts)
        self._retries = Retries() if policy.retries else None
        self._foreign = any(_runs_foreign_code(contract) for contract in self.contracts)
        self._at: dict[int, int] = {}
        self._stuck = ""
        self.length = 0

    def peek(self, proposal: Proposal, now: float, seconds: float) -> Findings:
        """Return what the contracts say; code of the user's own may think for `seconds`.

        Raise Refusal when a failed call is repeated against its error's word.
        """
        if self._retries is not None and proposal.kind == "tool_call":
            self._retries.require(proposal.agent, proposal.name, proposal.payload, now)
        if self._engine is None:
            return NOTHING
        return self.peek_step(self.step_of(proposal, now), seconds)

    def step_of(self, proposal: Proposal, now: float) -> Step:
        """Return the step that a proposal would become."""
        return _step(proposal, proposal.payload, self.length, now)

    def peek_step(self, step: Step, seconds: float) -> Findings:
        """Return what the contracts say of a step that may become the next one."""
        if self._engine is None:
            return NOTHING
        if self._stuck:
            raise _unsure(self._stuck)
        if not self._foreign:
            return self._sorted(self._engine.peek(step))
        try:
            return self._sorted(ask(self._engine.peek, (step,), seconds=seconds, rule="contract"))
        except Refusal as refusal:
            self._stuck = refusal.reason  # the thread may still be inside the engine
            raise

    def commit(self, ruling: Ruling, now: float) -> None:
        """Make an allowed proposal history, as it is carried out."""
        proposal, index = ruling.proposal, self.length
        if proposal.kind in RESULTS:
            self._at[ruling.ticket] = index
        if self._engine is not None:
            self.take(_step(proposal, ruling.payload, index, now))
            return
        if self._retries is not None and proposal.kind == "tool_call":
            self._retries.called(index, proposal.agent, proposal.name, ruling.payload)
        self.length = index + 1

    def observe(self, ruling: Ruling, outcome: Any, *, ok: bool, now: float) -> None:
        """Make what came of an action history."""
        at = self._at.pop(ruling.ticket, None)
        if at is None:
            return
        if self._engine is None:
            if self._retries is not None:
                self._retries.ended(at, self.length, now, error=outcome, ok=ok)
            self.length += 1
            return
        value = outcome if ruling.proposal.kind == "model_call" and ok else (
            {"value": outcome} if ok else {"error": outcome}
        )  # fmt: skip
        kind = RESULTS[ruling.proposal.kind]
        body = Observation(kind, ruling.proposal.name, at, pack_or_refuse(value), ok)
        self.take(Step(self.length, now, ruling.proposal.agent, body, ruling.proposal.role, (at,)))

    def take(self, step: Step) -> None:
        """Make a step history."""
        if self._retries is not None:
            self._retries.take(step)
        if self._engine is not None:
            self._engine.commit(step)
        self.length = step.step + 1

    def end(self, status: str) -> tuple[Verdict, ...]:
        """End the run; return the final verdicts of the policy's contracts."""
        if self._engine is None:
            return ()
        self._engine.end(status)
        return self._engine.verdicts()

    def _sorted(self, verdicts: Sequence[StepVerdict]) -> Findings:
        from masfire.contracts.model import StepStatus

        hard: list[tuple[str, str, tuple[str, ...]]] = []
        mild: list[str] = []
        warnings: list[str] = []
        for verdict in verdicts:
            if verdict.status is StepStatus.PASS or verdict.status is StepStatus.VACUOUS:
                continue
            contract = self._by_id[verdict.contract]
            reason, evidence = _explained(verdict)
            if contract.enforce == "warn":
                warnings.append(f"{contract.id}: {reason}")
                continue
            hard.append((f"contract:{contract.id}", reason, evidence))
            if contract.enforce == "rewrite":
                mild.append(reason)
        # One that no rewrite may cure spoils it for all.
        return Findings(tuple(hard), tuple(mild) if len(mild) == len(hard) else (), tuple(warnings))


def _engine_of(contracts: tuple[Contract, ...]) -> Engine | None:
    """Return the engine that judges a policy's contracts; None when there is nothing to judge."""
    if not contracts:
        return None
    from masfire.contracts.engine import Engine

    return Engine(contracts)


def _explained(verdict: StepVerdict) -> tuple[str, tuple[str, ...]]:
    if not verdict.violations:
        return f"It cannot be judged: {verdict.cause or verdict.status.value}.", ()
    first = verdict.violations[0]
    saw = ", ".join(f"{name}={value!r:.80}" for name, value in first.saw)
    reason = first.reason or f"{first.formula or first.contract} does not hold"
    evidence = tuple(f"step {witness.step}: {witness.text}" for witness in first.witnesses)
    return (f"{reason} ({saw})" if saw else reason), evidence


def _step(proposal: Proposal, payload: Payload, index: int, now: float) -> Step:
    body: Body
    if proposal.kind == "message":
        body = Message(proposal.to, payload)
    else:
        body = Action(proposal.kind, proposal.name, payload, id=proposal.id)
    return Step(index, now, proposal.agent, body, proposal.role)


def _runs_foreign_code(contract: Contract) -> bool:
    from masfire.contracts.model import Custom, Judge

    return any(
        isinstance(rule, Judge) or (isinstance(rule, Custom) and not _ours(rule.make))
        for rule in contract.rules
    )


def _ours(make: Any) -> bool:
    return str(getattr(make, "__module__", "")).startswith("masfire.")


def _unsure(reason: str) -> Refusal:
    return Refusal(
        "contract:stuck", f"This run's contracts are stuck: {reason}", ToolError("internal", reason)
    )
