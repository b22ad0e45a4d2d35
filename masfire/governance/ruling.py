"""What governance is asked and what it answers: proposals, rulings, tool errors."""

from __future__ import annotations

from enum import Enum
from hashlib import sha256 as _sha256
from typing import Any

from msgspec import Struct

from masfire.errors import MasfireError
from masfire.trace.payload import EMPTY, Payload, unpack


class Outcome(Enum):
    """What may happen to a proposal. Only `outcome is Outcome.ALLOW` (or REWRITE) lets anything run."""

    ALLOW = "allow"
    REWRITE = "rewrite"
    BLOCK = "block"


class ToolError(Struct, frozen=True, gc=False):
    """An error a model can act on.

    `category` is one of `permission`, `budget`, `contract`, `lineage`, `breaker`, `quarantine`,
    `invalid`, `internal`; `retry_after_ms` is how long to wait before trying again (0: no wait);
    `suggested_action` is one imperative clause.
    """

    category: str
    message: str
    retryable: bool = False
    retry_after_ms: int = 0
    suggested_action: str = ""


class Proposal(Struct, frozen=True, gc=False):
    """What an agent wants to do, as a frozen copy: later changes to its arguments change nothing here.

    `run` and `agent` say whose budget it uses; `identity` on whose behalf (a user, a service);
    `payload` is {"args": …}, a model request, or a message's content; `to` a message's recipients.
    """

    run: str
    agent: str
    kind: str
    name: str
    payload: Payload
    role: str = ""
    identity: str = ""
    id: str = ""
    to: tuple[str, ...] = ()
    malformed: str = ""
    """Why the value could not be frozen, or empty; what is malformed is blocked."""
    attempt: int = -1
    """How often it was said anew already; -1: its sender cannot be asked again."""

    @property
    def value(self) -> Any:
        """Return the payload as a Python value, decoded anew at each call."""
        return unpack(self.payload)

    @property
    def args(self) -> Any:
        """Return the arguments (a new copy at each call); the whole payload when it has none."""
        value = unpack(self.payload)
        return value.get("args", value) if isinstance(value, dict) else value


class Ruling(Struct, frozen=True, gc=False):
    """One decision: outcome, the rule that decided, why, on what evidence, and what may run.

    `payload` is the checked copy, which alone may be executed (EMPTY when blocked). `proposed` and
    `executed` are hex SHA-256 of the payloads' bytes, `executed` empty when nothing may run. `ticket`
    is what `Governor.finish` and `Governor.abandon` settle.
    """

    outcome: Outcome
    rule: str
    reason: str
    proposal: Proposal
    payload: Payload = EMPTY
    evidence: tuple[str, ...] = ()
    proposed: str = ""
    executed: str = ""
    error: ToolError | None = None
    ticket: int = 0
    seconds: float = 0.0
    """How long the call may take by the time budget; 0: no limit. Async adapters enforce it."""

    @property
    def allowed(self) -> bool:
        """Return whether the checked copy may run."""
        return self.outcome is Outcome.ALLOW or self.outcome is Outcome.REWRITE

    @property
    def args(self) -> Any:
        """Return the arguments that may run (a new copy); raise Blocked when none may."""
        if not self.allowed:
            raise Blocked(self)
        value = unpack(self.payload)
        return value.get("args", value) if isinstance(value, dict) else value

    @property
    def value(self) -> Any:
        """Return the checked payload as a value; raise Blocked when nothing may run."""
        if not self.allowed:
            raise Blocked(self)
        return unpack(self.payload)

    def as_error(self) -> dict[str, Any]:
        """Return the structured error for the caller of a blocked proposal."""
        error = self.error or ToolError("internal", self.reason)
        return {
            "category": error.category,
            "message": error.message,
            "retryable": error.retryable,
            "retry_after_ms": error.retry_after_ms,
            "suggested_action": error.suggested_action,
        }


class Blocked(MasfireError, PermissionError):
    """A proposal that governance refused; `ruling` says why.

    It derives from PermissionError because LangGraph's default retry policy does not retry that.
    """

    exit_code = 1

    def __init__(self, ruling: Ruling) -> None:
        self.ruling = ruling
        who = f"{ruling.proposal.agent}'s" if ruling.proposal.agent else "The"
        what = ruling.proposal.kind.replace("_", " ")
        hint = ruling.error.suggested_action if ruling.error is not None else ""
        super().__init__(
            f"{who} {what} {ruling.proposal.name!r} was blocked by {ruling.rule}: {ruling.reason}",
            hint=f"{hint[0].upper()}{hint[1:]}." if hint else "",
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return Blocked, (self.ruling,)


class Refusal(Exception):
    """Raised inside governance by a check that refuses; never leaves the governor."""

    def __init__(self, rule: str, reason: str, error: ToolError, evidence: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.rule, self.reason, self.error, self.evidence = rule, reason, error, evidence
        self.checked: tuple[Any, Payload] | None = None
        """When a contract refuses: the grant and the payload that had passed everything before."""


class Allow(Struct, frozen=True):
    """A check's answer: it may run as proposed."""

    reason: str = ""


class Rewrite(Struct, frozen=True):
    """A check's answer: this milder payload may run in its place (it is checked again).

    `value` has the form of `Proposal.value`: of a tool call {"args": {…}} with the arguments that were
    proposed, besides them only those that the policy names; of a message what it says, text for text.
    """

    value: Any
    reason: str = ""


class Block(Struct, frozen=True):
    """A check's answer: it must not run."""

    reason: str
    evidence: tuple[str, ...] = ()
    error: ToolError | None = None


def digest(payload: Payload) -> str:
    """Return the hex SHA-256 of a payload's bytes."""
    return _sha256(payload).hexdigest()
