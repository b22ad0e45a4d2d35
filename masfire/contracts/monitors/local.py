"""Judging a formula that looks at one step only: for monitors that pick their steps by selectors."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
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


Selects = Callable[[View], "bool | None"]
"""Whether a step is selected; None when a field that decides it is absent."""


def selector(formula: Formula) -> Selects:
    """Return the function that tells whether `formula` holds at a step.

    It raises UsageError where the formula looks at other steps or has variables.
    """
    if isinstance(formula, Atom):
        return _atom(formula)
    if isinstance(formula, Literal):
        value = formula.value
        return lambda view: value
    if isinstance(formula, Not):
        inner = selector(formula.operand)
        return lambda view: None if (found := inner(view)) is None else not found
    if isinstance(formula, And):
        return _worst(formula, decisive=False)
    if isinstance(formula, Or):
        return _worst(formula, decisive=True)
    if isinstance(formula, Implies):
        return selector(Or((Not(formula.left), formula.right)))
    if isinstance(formula, Present):
        path = formula.path
        return lambda view: not absent(view.get(path))
    if isinstance(formula, Truth):
        term = _term(formula.term)
        return lambda view: truth(term(view))
    if isinstance(formula, Compare):
        op, left, right = formula.op, _term(formula.left), _term(formula.right)
        return lambda view: compare(op, left(view), right(view))
    return _refused("A selector looks at one step only: no past, no variables.")


def _refused(reason: str) -> Callable[[View], Any]:
    def refuse(view: View) -> Any:
        raise UsageError(reason)

    return refuse


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


def _worst(formula: And | Or, *, decisive: bool) -> Selects:
    parts = [selector(part) for part in formula.operands]

    def judged(view: View) -> bool | None:
        found = [part(view) for part in parts]
        if decisive in found:
            return decisive
        return None if None in found else not decisive

    return judged


def _atom(atom: Atom) -> Selects:
    kinds, name = atom.kinds, atom.name if atom.name.strip("*") else ""
    glob = globbed(name) if "*" in name else None
    arguments = [(argument.path, argument.term) for argument in atom.arguments]
    condition = None if atom.condition is None else selector(atom.condition)

    def selects(view: View) -> bool | None:
        if kinds and view.kind not in kinds:
            return False
        if name and (view.name != name if glob is None else glob.fullmatch(view.name) is None):
            return False
        for path, term in arguments:
            if not isinstance(term, Const):
                raise UsageError("A selector has no variables.")
            if compare("==", view.get(path), term.value) is not True:
                return False
        return True if condition is None else condition(view)

    return selects


@functools.lru_cache(maxsize=512)
def globbed(pattern: str) -> re.Pattern[str]:
    """Return the pattern of a name in which runs of `*` stand for any text."""
    return re.compile("(?s:.*)".join(re.escape(part) for part in re.split(r"\*+", pattern)))


def _term(term: Term) -> Callable[[View], Any]:
    if isinstance(term, Const):
        value = term.value
        return lambda view: value
    if isinstance(term, Field):
        path = term.path
        return lambda view: view.get(path)
    if isinstance(term, Apply):
        function, arguments = term.function, [_term(argument) for argument in term.arguments]
        return lambda view: apply(function, *[argument(view) for argument in arguments])
    return _refused("A selector looks at one step only: no past, no variables.")
