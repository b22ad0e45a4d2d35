"""The lineage guard: what agents tell each other is held to what is confirmed.

After arXiv 2603.04474, section 4: decompose, screen, route, verify, actuate. Nothing here asks a model.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from msgspec import Struct

from masfire.claims import claims_of_text, statements_of
from masfire.claims.leaves import get
from masfire.claims.statements import MOST
from masfire.errors import UsageError
from masfire.governance.answers import aask, ask
from masfire.governance.names import unmasked
from masfire.governance.policy import MODES, Lineage
from masfire.governance.ruling import Outcome, Proposal, Refusal, ToolError
from masfire.governance.screening import Classes, Colour, Confirmed, Finding, edited, repeats, span_of
from masfire.trace.limits import exceeds_depth
from masfire.trace.payload import EMPTY, Payload, pack, unpack

Verifier = Callable[[str, Proposal], Any]
"""(statement, proposal) → True (a record or tool confirms it), False (it refutes it), None (no word)."""

DEEPEST = 32
"""Deepest nesting of a message that is screened; what is hidden deeper would not be seen."""

_DROPPED = object()


class Judgement(Struct, frozen=True):
    """What the guard says of one message: outcome, rule, reason, evidence, and what may be sent.

    `findings` has the colour of every statement; `directive` tells the sender how to say it anew.
    """

    outcome: Outcome
    rule: str
    reason: str
    payload: Payload
    evidence: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    directive: str = ""


class LineageGuard:
    """Guards the confirmed statements of all runs; screens each message against its run's.

    `verifiers` are asked in order, each for at most `seconds`, until one knows; what a verifier cannot
    say stays open, and one that raises, hangs or answers nonsense leaves it open as well.
    """

    def __init__(self, rules: Lineage, verifiers: Sequence[Verifier] = (), *, seconds: float = 5.0) -> None:
        if rules.mode not in MODES:
            raise UsageError(f"Lineage mode {rules.mode!r} is unknown.", hint=f"Use {', '.join(MODES)}.")
        self.rules, self._verifiers, self._seconds = rules, tuple(verifiers), seconds
        self._classes = Classes(rules.classes)
        self._grounded = frozenset(rules.grounded)
        self._instructions = tuple(
            statement for text in rules.instructions for statement in statements_of(text)
        )
        self._runs: dict[str, Confirmed] = {}
        self._lock = threading.Lock()

    def confirm(self, run: str, value: Any, source: str) -> None:
        """Add what a trusted value states to a run's confirmed lineage."""
        confirmed = self._of(run)
        for statement in statements_of(value):
            confirmed.add(statement, source)

    def confirm_result(self, run: str, tool: str, value: Any, args: Any = None) -> None:
        """Add what a tool gave back, unless it contradicts what was confirmed before.

        A tool that was called with a wrong argument repeats it; that confirms nothing. Nor do statements
        confirm anything that only repeat what the call's arguments said without being confirmed.
        """
        confirmed = self._of(run)
        if not self.rules.tools_trusted:
            return
        found = statements_of(value)
        if any(confirmed.judge(one, self._grounded).colour is Colour.RED for one in found):
            return
        told = [one for one in statements_of(args) if confirmed.judge(one).colour is not Colour.GREEN]
        for statement in found:
            if not told or not repeats(statement, told):
                confirmed.add(statement, f"result of {tool}")

    def forget(self, run: str) -> None:
        """Forget a run."""
        self._runs.pop(run, None)

    def screen(self, proposal: Proposal, payload: Payload) -> Judgement:
        """Return what may be sent of a message or a call; raise Refusal when it cannot be screened."""
        value, findings = self._screened(proposal, payload)
        for position in self._to_verify(proposal, findings):
            findings[position] = self._verified(proposal, findings[position])
        return self._actuated(proposal, payload, value, findings)

    async def ascreen(self, proposal: Proposal, payload: Payload) -> Judgement:
        """Like `screen`, for verifiers that wait."""
        value, findings = self._screened(proposal, payload)
        for position in self._to_verify(proposal, findings):
            findings[position] = await self._averified(proposal, findings[position])
        return self._actuated(proposal, payload, value, findings)

    # -- decompose and screen ---------------------------------------------------------------

    def _screened(self, proposal: Proposal, payload: Payload) -> tuple[Any, list[Finding]]:
        value = unpack(payload)
        if proposal.agent in self.rules.trusted:
            said = value.get("messages", value) if isinstance(value, dict) else value  # not their state
            self.confirm(proposal.run, said, proposal.agent)
            return value, []
        statements = statements_of(value)
        if len(statements) >= MOST or exceeds_depth(bytes(payload), DEEPEST):
            reason = f"The message makes {MOST} statements or more, or hides them {DEEPEST} levels deep."
            raise Refusal("lineage:size", reason, ToolError("lineage", reason, suggested_action="say less"))
        if not self.rules.screen:
            return value, [Finding(one, Colour.YELLOW, "not screened") for one in statements]
        confirmed = self._of(proposal.run)
        findings = [confirmed.judge(one, self._grounded) for one in statements]
        shown = value if bytes(payload).isascii() and b"\\u" not in bytes(payload) else unmasked(value)
        if shown != value:  # a claim in disguise is judged by what a reader sees
            seen = [confirmed.judge(one, self._grounded) for one in statements_of(shown)]
            if any(finding.colour is Colour.RED for finding in seen):
                value, findings = shown, seen
        return value, findings if self.rules.atomic else _merged(findings)

    # -- route and verify -------------------------------------------------------------------

    def _to_verify(self, proposal: Proposal, findings: Sequence[Finding]) -> list[int]:
        mode = self.rules.mode
        if mode == "speed" or (mode == "balanced" and proposal.agent not in self.rules.hubs):
            return []
        return [at for at, finding in enumerate(findings) if finding.colour is Colour.YELLOW]

    def _verified(self, proposal: Proposal, finding: Finding) -> Finding:
        for verifier in self._verifiers:
            arguments = (finding.statement.text, proposal)
            try:
                answer = ask(verifier, arguments, seconds=self._seconds, rule="verifier")
            except Refusal:
                continue
            if isinstance(answer, bool):
                return self._settled(proposal, finding, answer, verifier)
        return finding

    async def _averified(self, proposal: Proposal, finding: Finding) -> Finding:
        for verifier in self._verifiers:
            arguments = (finding.statement.text, proposal)
            try:
                answer = await aask(verifier, arguments, seconds=self._seconds, rule="verifier")
            except Refusal:
                continue
            if isinstance(answer, bool):
                return self._settled(proposal, finding, answer, verifier)
        return finding

    def _settled(self, proposal: Proposal, finding: Finding, answer: bool, verifier: Verifier) -> Finding:
        name = getattr(verifier, "__name__", type(verifier).__name__)
        if answer:
            source = f"verified by {name}"
            self._of(proposal.run).add(finding.statement, source)
            return Finding(finding.statement, Colour.GREEN, source)
        return Finding(finding.statement, Colour.RED, f"{finding.statement.text!r:.200} is refuted by {name}")

    # -- actuate ----------------------------------------------------------------------------

    def _actuated(
        self, proposal: Proposal, payload: Payload, value: Any, findings: Sequence[Finding]
    ) -> Judgement:
        reds = [finding for finding in findings if finding.colour is Colour.RED]
        yellows = [finding for finding in findings if finding.colour is Colour.YELLOW]
        withheld = yellows if self.rules.mode == "strict" else []
        evidence = tuple(finding.reason for finding in (*reds, *yellows))[:20]
        found = tuple(findings)
        if not self.rules.enforce or not (reds or yellows):
            return Judgement(Outcome.ALLOW, "lineage", "", payload, evidence, found)
        directive = _directive(reds, withheld)
        if (reds or withheld) and 0 <= proposal.attempt < self.rules.retries:
            return Judgement(Outcome.BLOCK, "lineage:again", directive, EMPTY, evidence, found, directive)
        edits = self._edits(proposal, value, reds, withheld, yellows)
        if edits is None:
            return Judgement(Outcome.BLOCK, "lineage:red", directive, EMPTY, evidence, found, directive)
        changed = edited(value, edits, _DROPPED) if edits else value
        if changed is _DROPPED or (changed in ("", {}, []) and value not in ("", {}, [])):
            return Judgement(Outcome.BLOCK, "lineage:red", directive, EMPTY, evidence, found, directive)
        if not edits:
            return Judgement(Outcome.ALLOW, "lineage:yellow", "", payload, evidence, found)
        rule = "lineage:red" if reds else "lineage:withheld" if withheld else "lineage:yellow"
        return Judgement(Outcome.REWRITE, rule, directive, pack(changed), evidence, found, directive)

    def _edits(
        self,
        proposal: Proposal,
        value: Any,
        reds: Sequence[Finding],
        withheld: Sequence[Finding],
        yellows: Sequence[Finding],
    ) -> dict[Any, Any] | None:
        """Return what to write where; None when a call cannot be made without what is rejected."""
        if not self.rules.atomic:
            return None if reds or withheld else {}
        action = proposal.kind != "message"
        edits: dict[Any, Any] = {}
        prose: dict[Any, list[tuple[Finding, str]]] = {}
        for finding, treatment in (
            *((one, "red") for one in reds),
            *((one, "withhold") for one in withheld),
            *((one, "tag") for one in yellows if one not in withheld),
        ):
            statement = finding.statement
            if not statement.key and isinstance(get(value, statement.path), str):
                prose.setdefault(statement.path, []).append((finding, treatment))
            elif treatment == "red" and self.rules.repair and finding.instead:
                edits[statement.path] = _like(get(value, statement.path), finding.instead)
            elif treatment != "tag":
                if action:
                    return None
                edits[statement.path] = _DROPPED
        for path, parts in prose.items():
            if action and any(treatment != "tag" for _, treatment in parts):
                return None
            if action:
                continue
            text = _reassembled(str(get(value, path)), parts, self.rules)
            if text != get(value, path):
                edits[path] = text or (_DROPPED if path else "")
        return edits

    def _of(self, run: str) -> Confirmed:
        found = self._runs.get(run)
        if found is None:
            with self._lock:
                found = self._runs.setdefault(run, Confirmed(self._classes, self._instructions))
        return found


def _merged(findings: Sequence[Finding]) -> list[Finding]:
    """Return one finding for the whole message: without atomisation the worst colour holds for all."""
    order = (Colour.GREEN, Colour.YELLOW, Colour.RED)
    worst = max(findings, key=lambda finding: order.index(finding.colour), default=None)
    return [] if worst is None else [worst]


def _directive(reds: Sequence[Finding], withheld: Sequence[Finding]) -> str:
    parts = [f"Rejected: {finding.reason}" for finding in reds]
    parts += [f"Unverified: {finding.statement.text!r:.200}" for finding in withheld]
    if not parts:
        return ""
    return "; ".join(parts)[:1500] + ". Say it again with only what the evidence supports."


def _like(old: Any, new: str) -> Any:
    """Return `new` as the type that stood there."""
    if isinstance(old, bool) or not isinstance(old, (int, float)):
        return new
    try:
        return int(new) if isinstance(old, int) else float(new)
    except ValueError:
        return new


def _reassembled(text: str, parts: Sequence[tuple[Finding, str]], rules: Lineage) -> str:
    """Return prose without its rejected sentences, in the original order, unverified ones tagged."""
    spans: list[tuple[int, int, Finding, str]] = []
    taken: dict[str, int] = {}
    for finding, treatment in parts:
        said = finding.statement.text
        start, end = span_of(finding.statement, text, taken.get(said, 0))
        taken[said] = end
        spans.append((start, end, finding, treatment))
    for start, end, finding, treatment in sorted(spans, key=lambda span: -span[0]):
        said = text[start:end]
        if treatment == "tag":
            said = f"{said} {rules.tag}" if rules.tag and rules.tag not in text[end : end + 40] else said
        else:
            said = _repaired(said, finding) if rules.repair and treatment == "red" else ""
        text = text[:start] + said + text[end:]
    return text.strip() if any(treatment != "tag" for _, treatment in parts) else text


def _repaired(said: str, finding: Finding) -> str:
    """Return a sentence with its one wrong number replaced by the confirmed one; empty when unsure."""
    numbers = [claim for claim in claims_of_text(said) if claim.kind == "number"]
    if not finding.instead.replace(".", "", 1).isdigit() or len(numbers) != 1:
        return ""
    return f"{said[: numbers[0].start]}{finding.instead}{said[numbers[0].end :]}"
