"""Judging a formula that looks at one step only: for monitors that pick their steps by selectors."""

from __future__ import annotations

import functools
import re
from typing import Any

from masfire.contracts.language.syntax import (
    And,
    Apply,
    Atom,
    Compare,
    Const,
    Field,
    Formula,
    Implies,
    Literal,
    Not,
    Or,
    Present,
    Term,
    Truth,
)
from masfire.contracts.values import Absence, apply, compare, truth
from masfire.contracts.view import View
from masfire.errors import UsageError


def absent(value: Any) -> bool:
    """Return whether a field is not there, for whatever reason."""
    return type(value) is Absence


def holds(formula: Formula, view: View) -> bool | None:
    """Return whether `formula` holds at this step; None when a field it needs is absent.

    Raise UsageError for a formula that looks at other steps or has variables.
    """
    if isinstance(formula, Atom):
        return _atom(formula, view)
    if isinstance(formula, Literal):
        return formula.value
    if isinstance(formula, Not):
        inner = holds(formula.operand, view)
        return None if inner is None else not inner
    if isinstance(formula, And):
        return _worst([holds(part, view) for part in formula.operands], decisive=False)
    if isinstance(formula, Or):
        return _worst([holds(part, view) for part in formula.operands], decisive=True)
    if isinstance(formula, Implies):
        return holds(Or((Not(formula.left), formula.right)), view)
    if isinstance(formula, Present):
        return not absent(view.get(formula.path))
    if isinstance(formula, Truth):
        return truth(_value(formula.term, view))
    if isinstance(formula, Compare):
        return compare(formula.op, _value(formula.left, view), _value(formula.right, view))
    raise UsageError("A selector looks at one step only: no past, no variables.")


def looks_elsewhere(formula: Formula) -> str:
    """Return what in a formula needs other steps or variables, as text; "" when nothing does."""
    from masfire.contracts.language.show import show, show_term

    if isinstance(formula, Atom):
        unbound = [argument.term for argument in formula.arguments if not isinstance(argument.term, Const)]
        if unbound:
            return show_term(unbound[0])
        return looks_elsewhere(formula.condition) if formula.condition is not None else ""
    if isinstance(formula, (Not, And, Or, Implies)):
        return next(filter(None, map(looks_elsewhere, _parts(formula))), "")
    if isinstance(formula, Compare):
        return next(filter(None, map(_elsewhere, (formula.left, formula.right))), "")
    if isinstance(formula, Truth):
        return _elsewhere(formula.term)
    return "" if isinstance(formula, (Literal, Present)) else show(formula)


def _parts(formula: Not | And | Or | Implies) -> tuple[Formula, ...]:
    if isinstance(formula, Not):
        return (formula.operand,)
    return (formula.left, formula.right) if isinstance(formula, Implies) else formula.operands


def _elsewhere(term: Term) -> str:
    from masfire.contracts.language.show import show_term

    if isinstance(term, Apply):
        return next(filter(None, map(_elsewhere, term.arguments)), "")
    return "" if isinstance(term, (Const, Field)) else show_term(term)


def _worst(found: list[bool | None], *, decisive: bool) -> bool | None:
    if decisive in found:
        return decisive
    return None if None in found else not decisive


def _atom(atom: Atom, view: View) -> bool | None:
    if atom.kinds and view.kind not in atom.kinds:
        return False
    if atom.name and not named(atom.name, view):
        return False
    for argument in atom.arguments:
        if not isinstance(argument.term, Const):
            raise UsageError("A selector has no variables.")
        if compare("==", view.get(argument.path), argument.term.value) is not True:
            return False
    return True if atom.condition is None else holds(atom.condition, view)


def named(pattern: str, view: View) -> bool:
    """Return whether the step bears this name (of a message: its sender); `*` matches any text."""
    return view.name == pattern if "*" not in pattern else globbed(pattern).fullmatch(view.name) is not None


@functools.lru_cache(maxsize=512)
def globbed(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a name in which runs of `*` stand for any text."""
    return re.compile("(?s:.*)".join(re.escape(part) for part in re.split(r"\*+", pattern)))


def _value(term: Term, view: View) -> Any:
    if isinstance(term, Const):
        return term.value
    if isinstance(term, Field):
        return view.get(term.path)
    if isinstance(term, Apply):
        return apply(term.function, *(_value(argument, view) for argument in term.arguments))
    raise UsageError("A selector looks at one step only: no past, no variables.")
