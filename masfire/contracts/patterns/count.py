"""Patterns that count, add up and compare."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from masfire.contracts.language import syntax as s
from masfire.contracts.language.selector import Selector
from masfire.contracts.model import Always, AtEnd, Custom, Rule
from masfire.contracts.patterns.pattern import (
    FieldPath,
    FieldPaths,
    Fields,
    Number,
    Pattern,
    Reader,
    Steps,
    Within,
    one_step,
    one_step_or_none,
    optional,
    path_of,
    within_of,
)


class AtMost(Fields):
    """`when` at most `n` times (in any window of `within`)."""

    says: ClassVar[str] = "{when}: at most {n} times[ within {within}]."

    when: Steps
    n: int = Field(ge=0)
    within: Within | None = None


def _at_most(fields: AtMost, read: Reader) -> tuple[Rule, ...]:
    when = read(fields.when, "when")
    return (_no_more(when, fields.n, within_of(fields.within)),)


def _no_more(when: s.Formula, n: int, within: s.Window | None) -> Rule:
    return Always(s.Implies(when, s.Compare("<=", s.Count(when, within), s.Const(n))))


class AtLeastByEnd(Fields):
    """`when` at least `n` times by the end of the run, if `applies` ever held."""

    says: ClassVar[str] = "By the end of the run, {when}: at least {n} times[ (if ever {applies})]."

    when: Steps
    n: int = Field(default=1, ge=1)
    applies: Steps | None = None


def _at_least_by_end(fields: AtLeastByEnd, read: Reader) -> tuple[Rule, ...]:
    enough = s.Compare(">=", s.Count(read(fields.when, "when")), s.Const(fields.n))
    return (AtEnd(enough, optional(read, fields.applies, "applies")),)


class Unique(Fields):
    """No two steps of `when` agree in the fields `by` (in the window)."""

    says: ClassVar[str] = "No two steps where {when} [agree in {by}][ within {within}]."

    when: Steps
    by: FieldPaths = []
    within: Within | None = None


def _unique(fields: Unique, read: Reader) -> tuple[Rule, ...]:
    when, paths = read(fields.when, "when"), [path_of(text) for text in fields.by]
    if paths:
        named = [s.Argument(path, s.Var(f"value{at}")) for at, path in enumerate(paths)]
        when = s.And((when, s.Atom((), arguments=tuple(named))))
    return (_no_more(when, 1, within_of(fields.within)),)


class CumulativeAtMost(Fields):
    """The sum of `field` over the steps of `when` (in the window) is at most `limit`."""

    says: ClassVar[str] = "The sum of {field} over {when} is at most {limit}[ within {within}]."

    when: Steps
    field: FieldPath
    limit: Number
    within: Within | None = None


def _cumulative_at_most(fields: CumulativeAtMost, read: Reader) -> tuple[Rule, ...]:
    when = read(fields.when, "when")
    total = s.Sum(s.Field(path_of(fields.field)), when, within_of(fields.within))
    return (Always(s.Implies(when, s.Compare("<=", total, s.Const(fields.limit)))),)


class NoRepeat(Fields):
    """The same action fewer than `times` times: `same` says which fields make two steps the same."""

    says: ClassVar[str] = (
        "{when}: never {times} times with the same {same}[ within {within}][, unless {unless} in between]."
    )

    when: Steps = Selector(kind="tool_call")
    same: FieldPaths = ["agent", "name", "args"]
    times: int = Field(default=3, ge=2, description="the how-manyeth one is a violation")
    within: Within | None = None
    unless: Steps | None = Field(default=None, description="steps after which counting starts anew")


def _no_repeat(fields: NoRepeat, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.local import selector
    from masfire.contracts.monitors.repetition import Repetition

    when = one_step(read, fields.when, "when")
    unless = one_step_or_none(read, fields.unless, "unless")
    same, within = tuple(path_of(text) for text in fields.same), within_of(fields.within)
    concerned = when if unless is None else s.Or((when, unless))
    counted, anew = selector(when), selector(unless) if unless is not None else None
    rule = Custom(
        lambda: Repetition(counted, same=same, times=fields.times, within=within, unless=anew), when=concerned
    )
    return (rule,)


PATTERNS = (
    Pattern("at_most", AtMost, _at_most),
    Pattern("at_least_by_end", AtLeastByEnd, _at_least_by_end),
    Pattern("unique", Unique, _unique),
    Pattern("cumulative_at_most", CumulativeAtMost, _cumulative_at_most),
    Pattern("no_repeat", NoRepeat, _no_repeat),
)
