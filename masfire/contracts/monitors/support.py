"""Whether what is said was stated before: the monitor of `supported_claim`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from masfire.claims import Claim, claims_of, claims_of_text
from masfire.claims.extract import claims_in
from masfire.contracts.language.syntax import Path
from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.monitors.local import Selects, absent
from masfire.contracts.view import View

Answer = tuple[StepStatus, str, Sequence[Witness]]

_WORD = re.compile(r"\w+")
_AMOUNT = re.compile(r"-?\d+(\.\d+)?")
_CAPITAL = re.compile(r"[A-Z][\w'\u2019-]*")
_COUNTERS = ("true", "false", "0", "1")
"""Values of slots that are flags and counters of the system rather than claims."""
_REMEMBERED = 1024
_TOLD = 5
"""Unsupported claims that a reason names."""


class Support:
    """Remembers every value and word that the supporting steps stated; fails at a claim beyond them.

    A number is supported by the same number; a name, code, quoted text or slot when each of its words
    was stated. State: the distinct values and words.
    """

    def __init__(
        self, when: Selects, support: Selects, *, kinds: tuple[str, ...], slots: tuple[str, ...], path: Path
    ) -> None:
        self._when, self._support, self._kinds, self._slots = when, support, kinds, slots
        self._path = path
        self._stated: set[str] = set()
        self._parts: dict[tuple[str, str], list[Claim]] = {}  # of slots, which messages repeat
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at a step that states what nothing supports."""
        status = self._judge(view)
        if commit:
            self._applied = self._applied or status[0] in (StepStatus.PASS, StepStatus.FAIL)
            if self._support(view):
                self._stated.update(view.derived("stated", lambda: _stated(view)))
        return status

    def _judge(self, view: View) -> Answer:
        concerned = self._when(view)
        if concerned is None:
            return StepStatus.INCONCLUSIVE, "a field of `when` is absent", ()
        if not concerned:
            return StepStatus.VACUOUS, "", ()
        said = view.get(self._path)
        if absent(said):
            return StepStatus.INCONCLUSIVE, f"{'.'.join(map(str, self._path))} is absent", ()
        claims = list(self._claims(_claimed(view, self._path)))
        if not claims:
            return StepStatus.VACUOUS, "", ()
        unsupported = list(dict.fromkeys(claim.text for claim in claims if not self._supported(claim)))
        if not unsupported:
            return StepStatus.PASS, "", ()
        told = ", ".join(repr(text) for text in unsupported[:_TOLD])
        return StepStatus.FAIL, f"nothing before states {told}", ()

    def _claims(self, said: Sequence[Claim]) -> Iterator[Claim]:
        for claim in said:
            if claim.kind != "slot":
                if claim.kind in self._kinds:
                    yield claim
            elif claim.key in self._slots:
                yield claim
            elif claim.value not in _COUNTERS:
                yield from (part for part in self._parts_of(claim) if part.kind in self._kinds)

    def _parts_of(self, claim: Claim) -> list[Claim]:
        key = (claim.value, claim.text)
        known = self._parts.get(key)
        if known is None:
            if len(self._parts) >= _REMEMBERED:
                self._parts.clear()
            known = self._parts[key] = parts(claim)
        return known

    def _supported(self, claim: Claim) -> bool:
        if claim.kind == "number" or claim.value in self._stated:
            return claim.value in self._stated
        words = _WORD.findall(claim.value)
        return bool(words) and all(word in self._stated for word in words)

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when a claim was looked at."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return {"stated": sorted(self._stated), "applied": self._applied}

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._stated, self._applied = set(state["stated"]), state["applied"]


def _claimed(view: View, path: Path) -> list[Claim]:
    """Return the claims of a field, found once for all contracts."""

    def make() -> list[Claim]:
        return claims_in(view.leaves(str(path[0]))) if len(path) == 1 else claims_of(view.get(path))

    claims: list[Claim] = view.derived(("claims", path), make)
    return claims


def _stated(view: View) -> set[str]:
    """Return the values and words that a step states: a message's content, a result's value or error, a
    call's arguments.
    """
    for path in (("content",), ("outcome",), ("args",)):
        value = view.get(path)
        if value is not None and not absent(value):
            return _words(_claimed(view, path))
    return set()


def _words(claims: Sequence[Claim]) -> set[str]:
    found: set[str] = set()
    for claim in claims:
        found.add(claim.value)
        found.update(_WORD.findall(claim.value))
        if claim.kind == "slot":
            found.update(part.value for part in parts(claim))
    return found


def parts(claim: Claim) -> list[Claim]:
    """Return what the short text of a slot states; a slot that is a name, code or number is one itself."""
    if _AMOUNT.fullmatch(claim.value):
        return [Claim("number", claim.value, claim.text)]
    if _CAPITAL.fullmatch(claim.text):
        return [Claim("entity", claim.value, claim.text)]
    return claims_of_text(claim.text)
