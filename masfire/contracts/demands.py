"""What a contract demands of which steps, in a normal form that two contracts can be compared in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct

from masfire.contracts.language import checks
from masfire.contracts.language.fields import ALL_KINDS
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Compare,
    Const,
    Exists,
    Formula,
    Implies,
    Interval,
    Literal,
    Not,
    Once,
    Or,
    Prev,
    Since,
    Span,
)
from masfire.contracts.model import Always, AtEnd, Contract, Custom, Response

Parts = tuple[Any, ...]
"""Conjuncts, their places in the text taken out, so that equal ones are equal."""


class Demand(Struct, frozen=True):
    """Where all of `when` hold, all of `then` must; an empty `then` means that it must not happen.

    `needs` lists what must have happened before for that (each a conjunction); `certain` is the truth
    that the demand always has, if it has one.
    """

    when: Parts
    then: Parts
    needs: tuple[Parts, ...] = ()
    certain: bool | None = None
    words: str = ""


def demands(contract: Contract) -> list[Demand]:
    """Return what the formulas of a contract demand."""
    found: list[Demand] = []
    for rule in contract.rules:
        if isinstance(rule, Always):
            found += _always(plain(rule.formula))
        elif isinstance(rule, Response):
            found.append(Demand(conjuncts(rule.trigger), (rule,), (conjuncts(rule.response),)))
        elif isinstance(rule, AtEnd):
            when = conjuncts(rule.applies) if rule.applies is not None else ()
            found.append(Demand((rule, *when), (rule,), tuple(_needs(plain(rule.formula)))))
    return found


def _always(formula: Formula) -> Iterator[Demand]:
    if isinstance(formula, And):
        for operand in formula.operands:
            yield from _always(operand)
        return
    when: Parts = ()
    then: Formula = formula
    while isinstance(then, Implies):
        when, then = (*when, *conjuncts(then.left)), then.right
    words = _words(formula)
    certain = checks.settled(then)
    if isinstance(then, Not) and not isinstance(then.operand, Or):
        yield Demand((*when, *conjuncts(then.operand)), (), (), _forbids(then.operand, when), words)
        return
    yield Demand(when, conjuncts(then), tuple(_needs(then)), certain, words)


def _forbids(operand: Formula, when: Parts) -> bool | None:
    """Return whether forbidding `operand` is always or never obeyed."""
    settled = checks.settled(operand)
    if settled is None and impossible((*when, *conjuncts(operand))) and not impossible(when) and when:
        return True
    return None if settled is None else not settled


def _needs(formula: Formula) -> Iterator[Parts]:
    """Yield what must have happened for the formula to be true."""
    match formula:
        case And(operands=operands):
            for operand in operands:
                yield from _needs(operand)
        case Once(operand=operand) | Prev(operand=operand) | Exists(operand=operand):
            if isinstance(operand, Once | Prev | Interval | Since | Exists):
                yield from _needs(operand)
            else:
                yield conjuncts(operand)
        case Interval(open=opening):
            yield from _needs(Once(opening))
        case Since(right=right):
            yield from _needs(Once(right))
        case _:
            return


def _words(formula: Formula) -> str:
    from masfire.contracts.language.show import show

    text = show(formula)
    return text if len(text) <= 200 else f"{text[:200]}…"


def plain(node: Any) -> Any:
    """Return a syntax tree without places in the text."""
    changes: dict[str, Any] = {}
    for name in node.__struct_fields__:
        value = getattr(node, name)
        if isinstance(value, Span):
            changes[name] = Span()
        elif isinstance(value, msgspec.Struct):
            changes[name] = plain(value)
        elif isinstance(value, tuple) and not isinstance(node, Const):
            changes[name] = tuple(plain(each) if isinstance(each, msgspec.Struct) else each for each in value)
    return msgspec.structs.replace(node, **changes) if changes else node


def conjuncts(formula: Formula) -> Parts:
    """Return the conjuncts of a formula, conditions of atoms among them."""
    found = plain(formula)
    if isinstance(found, And):
        return tuple(part for operand in found.operands for part in conjuncts(operand))
    if isinstance(found, Atom) and found.condition is not None:
        return (msgspec.structs.replace(found, condition=None), *conjuncts(found.condition))
    return (found,)


def impossible(parts: Iterable[Any]) -> bool:
    """Return whether no step can satisfy all of these conjuncts."""
    formulas = [part for part in parts if not isinstance(part, AtEnd | Response | Custom)]
    if any(checks.settled(part) is False for part in formulas):
        return True
    kinds = ALL_KINDS
    for part in formulas:
        kinds &= checks.kinds_of(part)
    return not kinds or excludes(tuple(formulas))


def excludes(parts: Parts) -> bool:
    """Return whether two of these conjuncts contradict each other."""
    for index, left in enumerate(parts):
        if isinstance(left, Literal) and not left.value:
            return True
        for right in parts[:index]:
            if left == Not(right) or right == Not(left) or _apart(left, right):
                return True
    return False


def allows(stronger: Parts, weaker: Parts) -> bool:
    """Return whether `stronger` implies `weaker`: each of the latter follows from one of the former."""
    return bool(weaker) and all(any(_follows(mine, part) for mine in stronger) for part in weaker)


def _follows(left: Any, right: Any) -> bool:
    """Return whether the conjunct `right` follows from `left`."""
    if left == right:
        return True
    if isinstance(left, Atom) and isinstance(right, Atom):
        kinds = not right.kinds or (bool(left.kinds) and set(left.kinds) <= set(right.kinds))
        name = right.name in ("", "*", left.name)
        return kinds and name and set(right.arguments) <= set(left.arguments)
    if isinstance(left, Compare) and isinstance(right, Compare) and left.left == right.left:
        one, other = _range(left), _range(right)
        if one is not None and other is not None:
            return other[0] <= one[0] and one[1] <= other[1]
        one_of, several = _choices(left), _choices(right)
        return one_of is not None and several is not None and one_of <= several
    return False


def _apart(left: Any, right: Any) -> bool:
    """Return whether two conjuncts exclude each other."""
    if isinstance(left, Atom) and isinstance(right, Atom):
        named = left.name and right.name and "*" not in left.name + right.name
        return bool(named) and left.name != right.name
    if isinstance(left, Compare) and isinstance(right, Compare) and left.left == right.left:
        one, other = _range(left), _range(right)
        if one is not None and other is not None:
            return one[0] > other[1] or other[0] > one[1]
        mine, theirs = _choices(left), _choices(right)
        if mine is not None and theirs is not None:
            return not mine & theirs
        return {left.op, right.op} == {"==", "!="} and left.right == right.right
    return False


_INFINITY = (float("inf"), 1)


def _range(formula: Compare) -> tuple[tuple[float, int], tuple[float, int]] | None:
    """Return the least and greatest value that a comparison with a number allows; the second parts order
    open bounds: (3, 1) is just above 3."""
    value = formula.right.value if isinstance(formula.right, Const) else None
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    least = (float("-inf"), -1)
    match formula.op:
        case "<":
            return least, (value, -1)
        case "<=":
            return least, (value, 0)
        case ">":
            return (value, 1), _INFINITY
        case ">=":
            return (value, 0), _INFINITY
        case "==":
            return (value, 0), (value, 0)
        case _:
            return None


def _choices(formula: Compare) -> frozenset[tuple[str, Any]] | None:
    """Return the constants that `==` or `in` allow, each with its type."""
    value = formula.right.value if isinstance(formula.right, Const) else None
    if formula.op == "==" and isinstance(formula.right, Const):
        return frozenset({_typed(value)})
    if formula.op == "in" and isinstance(value, tuple):
        return frozenset(map(_typed, value))
    return None


def _typed(value: Any) -> tuple[str, Any]:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return ("number" if number else type(value).__name__), value


def names_of(contract: Contract) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield the kinds and literal names of every atom of a contract."""
    for rule in contract.rules:
        for node in checks.nodes(rule):
            if isinstance(node, Atom) and node.name and "*" not in node.name:
                yield node.kinds, node.name
