"""What can be said of a formula without a trace: its kinds of step, its constants, its unseen values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from masfire.contracts.language.fields import ALL_KINDS, FIELDS
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Compare,
    Const,
    Count,
    Exists,
    Field,
    Forall,
    Formula,
    Historically,
    Implies,
    Interval,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Present,
    Prev,
    Since,
    Span,
    Sum,
    Truth,
    Var,
)

_UNKNOWN = object()


def parts(node: Any) -> Iterator[Any]:
    """Yield the syntax nodes directly below `node` (formulas, terms and arguments)."""
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Span):
            continue
        if isinstance(value, msgspec.Struct):
            yield value
        elif isinstance(value, tuple) and not isinstance(node, Const):
            yield from (item for item in value if isinstance(item, msgspec.Struct))


def nodes(node: Any) -> Iterator[Any]:
    """Yield `node` and every syntax node below it."""
    stack = [node]
    while stack:
        found = stack.pop()
        yield found
        stack.extend(parts(found))


def free_variables(formula: Formula) -> set[str]:
    """Return the variables of a formula that no quantifier binds."""
    quantified = {node.name for node in nodes(formula) if isinstance(node, Exists | Forall)}
    return {node.name for node in nodes(formula) if isinstance(node, Var)} - quantified


def kinds_of(formula: Formula) -> frozenset[str]:
    """Return the kinds of step at which the formula may be true (never too few)."""
    match formula:
        case Atom(kinds=kinds, condition=condition):
            own = frozenset(kinds) or ALL_KINDS
            return own & kinds_of(condition) if condition is not None else own
        case And(operands=operands):
            return frozenset.intersection(*(kinds_of(part) for part in operands))
        case Or(operands=operands):
            return frozenset.union(*(kinds_of(part) for part in operands))
        case Compare(left=left, right=right):
            return _having(left) & _having(right)
        case Truth(term=term):
            return _having(term)
        case Present(path=path):
            return _having(Field(path))
        case Literal(value=False):
            return frozenset()
        case _:
            return ALL_KINDS


def _having(term: Any) -> frozenset[str]:
    """Return the kinds that have every field the term reads of its own step."""
    if isinstance(term, Field):
        return frozenset(kind for kind in ALL_KINDS if str(term.path[0]) in FIELDS[kind])
    if isinstance(term, Const | Var | Count | Sum | Last):
        return ALL_KINDS
    return frozenset.intersection(ALL_KINDS, *(_having(part) for part in term.arguments))


def settled(formula: Formula | None, unseen: str = "") -> bool | None:
    """Return the truth that the formula has at every step of every trace, or None if there is none.

    With `unseen`, the truth it has for a value of that variable which no step has ever shown: then an
    atom that binds it is false. This is the test of monitorability: when every value never seen makes
    a universally quantified formula true (an existential one false), quantifying over the values seen
    so far gives the truth over all values. The idea is that of safe-range formulas (Abiteboul, Hull,
    Vianu, Foundations of Databases, ch. 5.4), decided by folding.
    """
    match formula:
        case None:
            return True
        case Literal(value=value):
            return value
        case Atom():
            return _atom(formula, unseen)
        case Compare():
            return _compare(formula, unseen)
        case Not(operand=operand):
            inner = settled(operand, unseen)
            return None if inner is None else not inner
        case And(operands=operands):
            return _all([settled(part, unseen) for part in operands]) if kinds_of(formula) else False
        case Or(operands=operands):
            inner = _all([_negated(settled(part, unseen)) for part in operands])
            return _negated(inner)
        case Implies(left=left, right=right):
            return _negated(_all([settled(left, unseen), _negated(settled(right, unseen))]))
        case _:
            return _past(formula, unseen)


def _past(formula: Formula, unseen: str) -> bool | None:
    match formula:
        case Prev(operand=operand):
            return False if settled(operand, unseen) is False else None  # false at the first step
        case Once(operand=operand) | Historically(operand=operand):
            return settled(operand, unseen)
        case Since(right=right):
            return settled(right, unseen)
        case Interval(open=begin, close=close):
            if settled(begin, unseen) is False or settled(close, unseen) is True:
                return False
            return True if settled(begin, unseen) is True and settled(close, unseen) is False else None
        case Exists(operand=operand):
            return False if settled(operand, unseen) is False else None
        case Forall(operand=operand):
            return True if settled(operand, unseen) is True else None
        case _:
            return None


def _atom(atom: Atom, unseen: str) -> bool | None:
    if unseen and any(
        isinstance(argument.term, Var) and argument.term.name == unseen for argument in atom.arguments
    ):
        return False
    if settled(atom.condition, unseen) is False or not kinds_of(atom):
        return False
    if not atom.kinds and not atom.name and not atom.arguments and atom.condition is None:
        return True
    return None


def _compare(formula: Compare, unseen: str) -> bool | None:
    left, right = _value(formula.left, unseen), _value(formula.right, unseen)
    if left is _UNKNOWN or right is _UNKNOWN:
        return None
    try:
        match formula.op:
            case "==" | "!=":
                equal = left == right and isinstance(left, bool) is isinstance(right, bool)
                return equal if formula.op == "==" else not equal
            case "<":
                return bool(left < right)
            case "<=":
                return bool(left <= right)
            case ">":
                return bool(left > right)
            case ">=":
                return bool(left >= right)
    except TypeError:
        return None
    return None


def _value(term: Any, unseen: str) -> Any:
    if isinstance(term, Const):
        return term.value
    if isinstance(term, Count) and settled(term.formula, unseen) is False:
        return 0
    if isinstance(term, Sum) and term.when is not None and settled(term.when, unseen) is False:
        return 0
    return _UNKNOWN


def _negated(value: bool | None) -> bool | None:
    return None if value is None else not value


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True
