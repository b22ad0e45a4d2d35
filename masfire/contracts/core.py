"""Formulas reduced to the few operators that monitors are made for."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from masfire.contracts.language.syntax import (
    And,
    Apply,
    Argument,
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
    Term,
    Truth,
    Var,
)
from masfire.contracts.values import numeric_twin

Names: TypeAlias = frozenset[str]
NONE: Names = frozenset()
_free: dict[Any, Names] = {}
ALWAYS_THERE = frozenset(
    {
        "step",
        "time",
        "agent",
        "role",
        "kind",
        "parents",
        "name",
        "tool",
        "model",
        "ok",
        "of",
        "to",
        "via",
        "id",
        "rule",
        "reason",
    }
)
"""Fields that are there in every step of a kind that has them at all."""


def stripped(formula: Formula) -> Formula:
    """Return the same tree without the places in the text that it was read from."""
    return _rebuild(formula)  # type: ignore[no-any-return]


def _rebuild(node: Any) -> Any:
    if isinstance(node, tuple):
        return tuple(map(_rebuild, node))
    if not isinstance(node, msgspec.Struct):
        return node
    if isinstance(node, Span):
        return Span()
    names = node.__struct_fields__
    return type(node)(**{name: _rebuild(getattr(node, name)) for name in names})


def free(node: Any) -> Names:
    """Return the free variables of a formula or term."""
    if node is None or isinstance(node, (Const, Field, Literal, Present)):
        return NONE
    if isinstance(node, Var):
        return frozenset({node.name})
    key = id(node)
    known = _cached(key, node)
    if known is not None:
        return known
    if isinstance(node, (Exists, Forall)):
        names = free(node.operand) - {node.name}
    elif isinstance(node, tuple):
        names = frozenset().union(*map(free, node))
    else:
        parts = (getattr(node, name) for name in node.__struct_fields__)
        names = frozenset().union(
            *(free(part) for part in parts if isinstance(part, (msgspec.Struct, tuple)) and _is_node(part))
        )
    if len(_free) > 20_000:
        _free.clear()
    _free[key] = (node, names)  # type: ignore[assignment]
    return names


def _cached(key: int, node: Any) -> Names | None:
    entry: Any = _free.get(key)
    return entry[1] if entry is not None and entry[0] is node else None


def _is_node(part: Any) -> bool:
    if isinstance(part, tuple):
        return bool(part) and isinstance(part[0], msgspec.Struct)
    return not isinstance(part, Span) and type(part).__name__ != "Window"


def core(formula: Formula, scope: Names = NONE) -> Formula:
    """Return an equivalent formula of literals, atoms, comparisons, not, and, or, prev, once, since,
    intervals and exists; operands of temporal operators are split so that each has few variables.

    `scope` are names that a quantifier must not capture.
    """
    if isinstance(formula, Not):
        return negated(core(formula.operand, scope))
    if isinstance(formula, (And, Or)):
        return _joined(type(formula), [core(part, scope) for part in formula.operands])
    if isinstance(formula, Implies):
        return _joined(Or, [negated(core(formula.left, scope)), core(formula.right, scope)])
    if isinstance(formula, Prev):
        return Prev(core(formula.operand, scope), formula.window)
    if isinstance(formula, Once):
        return _once(core(formula.operand, scope), formula.window)
    if isinstance(formula, Historically):
        return negated(_once(negated(core(formula.operand, scope)), formula.window))
    if isinstance(formula, Since):
        return _since(core(formula.left, scope), core(formula.right, scope), formula.window)
    if isinstance(formula, Interval):
        return _interval(core(formula.open, scope), core(formula.close, scope))
    if isinstance(formula, Exists):
        name = formula.name
        operand = formula.operand
        if name not in free(operand):  # nothing is said of it
            return core(operand, scope)
        while name in scope:
            name += "'"
        if name != formula.name:
            operand = renamed(operand, formula.name, name)
        return Exists(name, core(operand, scope | {name}))
    if isinstance(formula, Forall):
        return negated(core(Exists(formula.name, Not(formula.operand)), scope))
    return _core_leaf(formula, scope)


def _core_leaf(formula: Formula, scope: Names) -> Formula:
    if isinstance(formula, Atom):
        condition = None if formula.condition is None else core(formula.condition, scope)
        return Atom(formula.kinds, formula.name, formula.arguments, condition)
    if isinstance(formula, Compare):
        return Compare(formula.op, _core_term(formula.left, scope), _core_term(formula.right, scope))
    return Truth(_core_term(formula.term, scope)) if isinstance(formula, Truth) else formula


def _core_term(term: Term, scope: Names) -> Term:
    if isinstance(term, Apply):
        return Apply(term.function, tuple(_core_term(part, scope) for part in term.arguments))
    if isinstance(term, Last):
        return Last(term.path, None if term.when is None else core(term.when, scope), term.window)
    if isinstance(term, Count):
        return Count(core(term.formula, scope), term.window)
    if isinstance(term, Sum):
        when = None if term.when is None else core(term.when, scope)
        return Sum(_core_term(term.term, scope), when, term.window)
    return term


def renamed(node: Any, old: str, new: str) -> Any:
    """Return the tree with a free variable renamed."""
    if isinstance(node, tuple):
        return tuple(renamed(part, old, new) for part in node)
    if isinstance(node, Var):
        return Var(new) if node.name == old else node
    if not isinstance(node, msgspec.Struct) or (isinstance(node, (Exists, Forall)) and node.name == old):
        return node
    return type(node)(**{name: renamed(getattr(node, name), old, new) for name in node.__struct_fields__})


def negated(formula: Formula) -> Formula:
    """Return the negation, pushed inwards as far as Boolean connectives go."""
    if isinstance(formula, Not):
        return formula.operand
    if isinstance(formula, Literal):
        return Literal(not formula.value)
    if isinstance(formula, And):
        return Or(tuple(map(negated, formula.operands)))
    if isinstance(formula, Or):
        return And(tuple(map(negated, formula.operands)))
    return Not(formula)


def _joined(kind: type[And] | type[Or], parts: list[Formula]) -> Formula:
    flat: list[Formula] = []
    for part in parts:
        flat += part.operands if isinstance(part, kind) else (part,)
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _uneven(parts: tuple[Formula, ...]) -> bool:
    return len({free(part) for part in parts}) > 1


def _loose(operand: Formula) -> tuple[Formula, Formula] | None:
    """Return an operand without the comparisons of variables that nothing in it binds, and those.

    Variables keep their values over time: once (p and a < b) is once p, and a < b. None when there are
    no such comparisons, or nothing else.
    """
    if not isinstance(operand, And):
        return None
    named = frozenset().union(*(
        free(part.term) for atom in atoms(operand) for part in atom.arguments
    ))  # fmt: skip
    loose = [part for part in operand.operands if _rigid(part) and free(part) - named]
    rest = [part for part in operand.operands if part not in loose]
    if not loose or not rest:
        return None
    return _joined(And, rest), _joined(And, loose)


def _rigid(node: Any) -> bool:
    """Return whether a formula or term speaks of variables and constants only."""
    if isinstance(node, Compare):
        return _rigid(node.left) and _rigid(node.right)
    if isinstance(node, (And, Or)):
        return all(map(_rigid, node.operands))
    if isinstance(node, Not):
        return _rigid(node.operand)
    if isinstance(node, Apply):
        return all(map(_rigid, node.arguments))
    return isinstance(node, (Var, Const))


def _once(operand: Formula, window: Any) -> Formula:
    if isinstance(operand, Or) and _uneven(operand.operands):
        return Or(tuple(_once(part, window) for part in operand.operands))
    if isinstance(operand, Exists):  # a value that was there once is there
        inner = _once(operand.operand, window)
        if not isinstance(inner, Once):
            return Exists(operand.name, inner)
    apart = _loose(operand)
    if apart is not None:
        return _joined(And, [_once(apart[0], window), apart[1]])
    return Once(operand, window)


def _since(left: Formula, right: Formula, window: Any) -> Formula:
    # The latest step where `right` held is the best one for every part of `left`.
    if isinstance(right, Or) and _uneven(right.operands):
        return Or(tuple(_since(left, part, window) for part in right.operands))
    if isinstance(left, And) and _uneven(left.operands):
        return And(tuple(_since(part, right, window) for part in left.operands))
    apart = _loose(right)
    if apart is not None:
        return _joined(And, [_since(left, apart[0], window), apart[1]])
    return Since(left, right, window)


def _interval(start: Formula, close: Formula) -> Formula:
    if isinstance(start, Or) and _uneven(start.operands):
        return Or(tuple(_interval(part, close) for part in start.operands))
    if isinstance(close, Or) and _uneven(close.operands):
        return And(tuple(_interval(start, part) for part in close.operands))
    apart = _loose(start)
    if apart is not None:
        return _joined(And, [_interval(apart[0], close), apart[1]])
    return Interval(start, close)


def definite(node: Any) -> bool:
    """Return whether a formula can never be unknown."""
    if isinstance(node, (Literal, Present)):
        return True
    if isinstance(node, Atom):
        return node.condition is None or definite(node.condition)
    if isinstance(node, Truth):
        return isinstance(node.term, Field) and node.term.path == ("ok",)
    if isinstance(node, Compare):
        return (
            node.op in ("==", "!=", "in")
            and _sure(node.left)
            and (
                _sure(node.right)
                if node.op != "in"
                else isinstance(node.right, Const) and isinstance(node.right.value, tuple)
            )
        )
    if isinstance(node, (And, Or)):
        return all(map(definite, node.operands))
    if isinstance(node, (Not, Prev, Once, Exists)):
        return definite(node.operand)
    if isinstance(node, Since):
        return definite(node.left) and definite(node.right)
    return isinstance(node, Interval) and definite(node.open) and definite(node.close)


def _sure(term: Term) -> bool:
    if isinstance(term, Field):
        return len(term.path) == 1 and term.path[0] in ALWAYS_THERE
    return isinstance(term, (Const, Var)) or (isinstance(term, Count) and definite(term.formula))


def twins(formula: Formula, within: Formula | None = None) -> Formula:
    """Return the formula where texts compared with an event's variables or arguments match numbers too.

    A log's columns that look like numbers are numbers; `c in ['1', '2']` means them. `within` is the
    formula whose atoms say which variables are an event's.
    """
    names: set[str] = set()
    for atom in atoms(formula if within is None else within):
        if atom.kinds == ("event",):
            names |= {part.term.name for part in atom.arguments if isinstance(part.term, Var)}
    return _twinned(formula, frozenset(names)) if names else formula


def _twinned(node: Any, names: Names) -> Any:
    if isinstance(node, tuple):
        return tuple(_twinned(part, names) for part in node)
    if not isinstance(node, msgspec.Struct):
        return node
    if isinstance(node, Compare) and node.op in ("==", "!=", "in"):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            if isinstance(one, Var) and one.name in names and isinstance(other, Const):
                values = other.value if isinstance(other.value, tuple) else (other.value,)
                more = tuple(twin for twin in map(numeric_twin, values) if twin is not None)
                if more:
                    both = Compare("in", one, Const((*values, *more)))
                    return Not(both) if node.op == "!=" else both
        return node
    return type(node)(**{name: _twinned(getattr(node, name), names) for name in node.__struct_fields__})


def atoms(node: Any) -> list[Atom]:
    """Return every atom in a formula or term."""
    if isinstance(node, tuple):
        return [atom for part in node for atom in atoms(part)]
    if not isinstance(node, msgspec.Struct) or isinstance(node, Argument):
        return []
    found = [node] if isinstance(node, Atom) else []
    for name in node.__struct_fields__:
        found += atoms(getattr(node, name))
    return found
