"""Patterns of single steps and of their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field

from masfire.contracts.language import syntax as s
from masfire.contracts.language.atoms import glob
from masfire.contracts.model import Always, Response, Rule
from masfire.contracts.patterns.pattern import (
    Fields,
    Names,
    Pattern,
    Reader,
    Steps,
    Within,
    open_since,
    optional,
    within_of,
)


class Never(Fields):
    """`when` never happens; `among` says which steps count as tried (for the vacuous verdict)."""

    says: ClassVar[str] = "Never: {when}[, judged where {among}]."

    when: Steps
    among: Steps | None = None


def _never(fields: Never, read: Reader) -> tuple[Rule, ...]:
    bad: s.Formula = s.Not(read(fields.when, "when"))
    among = optional(read, fields.among, "among")
    return (Always(bad if among is None else s.Implies(among, bad)),)


class Holds(Fields):
    """`holds` is true at every step where `when` is."""

    says: ClassVar[str] = "[Whenever {when}, ]{holds}."

    holds: str = Field(description="a condition or formula")
    when: Steps | None = None


def _always(fields: Holds, read: Reader) -> tuple[Rule, ...]:
    holds = read(fields.holds, "holds")
    when = optional(read, fields.when, "when")
    return (Always(holds if when is None else s.Implies(when, holds)),)


class RoleMay(Fields):
    """What each role (or agent) may use; `others` says what those not listed may."""

    says: ClassVar[str] = "A {kind} by {by}: {may}; others: {others}."

    may: dict[str, Names] = Field(description="role → names of tools; * matches any text")
    by: Literal["role", "agent"] = "role"
    kind: Literal["tool_call", "memory_read", "memory_write", "delegation", "event"] = "tool_call"
    others: Literal["deny", "allow"] = "deny"


def _role_may(fields: RoleMay, read: Reader) -> tuple[Rule, ...]:
    listed, anything = tuple(fields.may), s.Atom((fields.kind,))
    rules: list[Rule] = []
    for name, allowed in fields.may.items():
        who = s.And((anything, _is(fields.by, name)))
        may = _either([s.Atom((fields.kind,), each) for each in allowed])
        rules.append(Always(s.Implies(who, may)))
    if fields.others == "deny":
        some = _either([_is(fields.by, name) for name in listed])
        rules.append(Always(s.Implies(anything, some)))
    return tuple(rules)


def _either(choices: Sequence[s.Formula]) -> s.Formula:
    """Return the disjunction of any number of formulas."""
    if len(choices) > 1:
        return s.Or(tuple(choices))
    return choices[0] if choices else s.Literal(value=False)


def _is(field: str, name: str) -> s.Formula:
    if "*" in name:
        return s.Compare("matches", s.Field((field,)), s.Const(glob(name)))
    return s.Compare("==", s.Field((field,)), s.Const(name))


class RequiresBefore(Fields):
    """`when` only after `before`, until `cleared_by`; a step that is both counts for itself."""

    says: ClassVar[str] = (
        "Whenever {when}, there was {before} before[ (at most {within} ago)]"
        "[, and since then not {cleared_by}]."
    )

    when: Steps
    before: Steps
    cleared_by: Steps | None = None
    within: Within | None = None


def _requires_before(fields: RequiresBefore, read: Reader) -> tuple[Rule, ...]:
    when, before = read(fields.when, "when"), read(fields.before, "before")
    cleared, within = optional(read, fields.cleared_by, "cleared_by"), within_of(fields.within)
    earlier = s.Once(before, within) if cleared is None else open_since(before, cleared, within)
    return (Always(s.Implies(when, earlier)),)


class RequiresImmediatelyBefore(Fields):
    """The step before `when` (of those in `among`, if given) is `before`."""

    says: ClassVar[str] = "Whenever {when}, the step right before it[ (of those where {among})] is {before}."

    when: Steps
    before: Steps
    among: Steps | None = None


def _requires_immediately_before(fields: RequiresImmediatelyBefore, read: Reader) -> tuple[Rule, ...]:
    when, before = read(fields.when, "when"), read(fields.before, "before")
    among = optional(read, fields.among, "among")
    last = before if among is None else s.Since(s.Not(among), s.And((among, before)))
    return (Always(s.Implies(when, s.Prev(last))),)


class ValidSince(Fields):
    """`when` only while a `grant` holds: not after `revoke`, and not longer than `within`."""

    says: ClassVar[str] = (
        "{when} only while granted: after {grant}, since then not {revoke}[, and at most {within} later]."
    )

    when: Steps
    grant: Steps
    revoke: Steps
    within: Within | None = None


def _valid_since(fields: ValidSince, read: Reader) -> tuple[Rule, ...]:
    valid = open_since(read(fields.grant, "grant"), read(fields.revoke, "revoke"), within_of(fields.within))
    return (Always(s.Implies(read(fields.when, "when"), valid)),)


class Alternates(Fields):
    """`first` and `second` take turns, `first` first; `complete`: and the run ends after a `second`."""

    says: ClassVar[str] = "{first} and {second} take turns, the former first[ (also at the end: {complete})]."

    first: Steps
    second: Steps
    complete: bool = False


def _alternates(fields: Alternates, read: Reader) -> tuple[Rule, ...]:
    first, second = read(fields.first, "first"), read(fields.second, "second")
    waiting = s.Prev(s.Since(s.Not(second), s.And((first, s.Not(second)))))
    rules: list[Rule] = [Always(s.Implies(first, s.Not(waiting))), Always(s.Implies(second, waiting))]
    if fields.complete:
        rules.append(Response(first, second))
    return tuple(rules)


PATTERNS = (
    Pattern("never", Never, _never),
    Pattern("always", Holds, _always),
    Pattern("role_may", RoleMay, _role_may),
    Pattern("requires_before", RequiresBefore, _requires_before),
    Pattern("requires_immediately_before", RequiresImmediatelyBefore, _requires_immediately_before),
    Pattern("valid_since", ValidSince, _valid_since),
    Pattern("alternates", Alternates, _alternates),
)
