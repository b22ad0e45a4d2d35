"""Rules as the code generator takes them: reduced formulas, and what they ask of a step."""

from __future__ import annotations

from typing import Any, NamedTuple

from masfire.contracts.core import atoms, core, free, stripped, twins
from masfire.contracts.language.show import show
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Count,
    Exists,
    Forall,
    Formula,
    Implies,
    Last,
    Literal,
    Not,
    Once,
    Or,
    Prev,
    Sum,
    Window,
)  # fmt: skip
from masfire.contracts.model import AtEnd, Contract, Custom, Judge, Payload, Response, Rule


class Ready(NamedTuple):
    """A rule as the code generator takes it: `left` None unless the rule is an implication."""

    rule: Rule
    left: Formula | None
    right: Formula
    names: tuple[str, ...]
    shown: Formula


def ready_of(rule: Rule) -> Ready:
    """Return a rule with its formulas reduced and its outer quantifiers made free variables."""
    if isinstance(rule, Response):
        said = (stripped(rule.trigger), stripped(rule.response))
        scope = free(said)
        left, right = (twins(core(part, scope)) for part in said)
        return Ready(rule, left, right, tuple(sorted(free(left))), stripped(rule.trigger))
    if isinstance(rule, (Payload, Judge)):
        return Ready(rule, None, twins(core(stripped(rule.when))), (), stripped(rule.when))
    if isinstance(rule, Custom):
        when = Literal(True) if rule.when is None else stripped(rule.when)
        return Ready(rule, None, twins(core(when)), (), when)
    formula = stripped(rule.formula)
    while isinstance(formula, Forall):
        formula = formula.operand
    if isinstance(rule, AtEnd) and rule.applies is not None:
        formula = Implies(Once(stripped(rule.applies)), formula)
    names = free(formula)
    if isinstance(formula, Implies):
        left, right = twins(core(formula.left, names)), twins(core(formula.right, names))
        if free(formula.left) or free(formula.right):
            whole = twins(And((core(formula.left, names), core(formula.right, names))))
            if isinstance(whole, And):
                left, right = whole.operands
        return Ready(rule, left, right, tuple(sorted(names)), formula)
    return Ready(rule, None, twins(core(formula, names)), tuple(sorted(names)), formula)


def asked(ready: Ready) -> tuple[Any, ...]:
    """Return all that a rule may ask of a step."""
    return ready.left, ready.right, ready.rule.path if isinstance(ready.rule, Payload) else ()


def text_of(ready: Ready) -> str:
    """Return the formula that a violation names when no smaller part is at fault."""
    if isinstance(ready.rule, Response):
        return show(ready.rule.response)
    return getattr(ready.rule, "text", "") or show(ready.shown)


def retire_of(contract: Contract) -> Ready | None:
    """Return at which steps a key retires, as a rule; None when no step does it."""
    if contract.retire is None or contract.retire.at is None or not contract.key:
        return None
    shown = stripped(contract.retire.at)
    return Ready(contract.rules[0], None, twins(core(shown)), (), shown)


def whole(ready: Ready) -> Formula:
    """Return all that a rule says, as one formula that has its atoms."""
    return ready.right if ready.left is None else And((ready.left, ready.right))


def atoms_of(ready: Ready) -> list[Atom]:
    """Return the atoms of a rule."""
    return atoms(whole(ready))


def levels(node: Any) -> int:
    """Return how many `prev` are nested."""
    if isinstance(node, tuple):
        return max(map(levels, node), default=0)
    if not hasattr(node, "__struct_fields__"):
        return 0
    deepest = max((levels(getattr(node, name)) for name in node.__struct_fields__), default=0)
    return deepest + isinstance(node, Prev)


def looks_at_step(ready: Ready) -> bool:
    """Return whether a rule at the end asks something of the last step itself, or of its time."""
    return isinstance(ready.rule, AtEnd) and any(
        _now(part) for part in (ready.left, ready.right) if part is not None
    )


def _now(node: Any) -> bool:
    if isinstance(node, tuple):
        return any(map(_now, node))
    if isinstance(node, Last):  # what was before the last step
        return True
    if isinstance(node, (Once, Count, Sum)) or type(node).__name__ in ("Since", "Interval"):
        return _windowed(node)
    if isinstance(node, (And, Or, Not, Exists, Prev)):
        return any(_now(getattr(node, name)) for name in node.__struct_fields__ if name != "span")
    if type(node).__name__ in ("Compare", "Truth", "Apply"):
        return any(_now(getattr(node, name)) for name in node.__struct_fields__ if name != "span")
    return type(node).__name__ in ("Atom", "Field", "Present")


def _windowed(node: Any) -> bool:
    if isinstance(node, Window):
        return True
    if isinstance(node, tuple):
        return any(map(_windowed, node))
    if not hasattr(node, "__struct_fields__"):
        return False
    return any(_windowed(getattr(node, name)) for name in node.__struct_fields__)
