"""Universal quantifiers moved to the part that speaks of their variable.

``event("bid", i, a) or event("sell", i) -> open(i)`` holds for every `a`, seen or not: at a sale, `a` does
not matter. For all a: (A -> C) is (exists a: A) -> C where C does not speak of `a`, and the existential goes
into those alternatives of A that do; then nothing hangs on values that no step has shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from masfire.contracts.language.checks import free_variables, settled
from masfire.contracts.language.syntax import And, Exists, Forall, Formula, Implies, Or, Span, Var


def scoped(formula: Formula, fresh: Callable[[str], str], *, joined: bool = False) -> Formula:
    """Return an equivalent rule in which variables that only a premise knows are quantified there.

    A rule holds for every value of its free variables. Only variables whose unseen values would matter
    otherwise are touched; `fresh` returns an unused name like the one given, which is needed where
    several demands are joined: another may speak of a variable of that name.
    """
    match formula:
        case And(operands=operands):
            return msgspec.structs.replace(
                formula, operands=tuple(scoped(operand, fresh, joined=True) for operand in operands)
            )
        case Forall(operand=operand):
            return msgspec.structs.replace(formula, operand=scoped(operand, fresh, joined=joined))
        case Implies(left=left, right=right):
            right = scoped(right, fresh, joined=joined)
            for name in sorted(free_variables(left) - free_variables(right)):
                if settled(left, name) is not False:
                    left = _somewhere(left, name, fresh(name) if joined else name)
            return msgspec.structs.replace(formula, left=left, right=right)
        case _:
            return formula


def _somewhere(formula: Formula, name: str, new: str) -> Formula:
    """Return `exists name. formula`, the quantifier as far inside as it goes, as `new`."""
    if name not in free_variables(formula):
        return formula
    if isinstance(formula, Or):
        return msgspec.structs.replace(
            formula, operands=tuple(_somewhere(part, name, new) for part in formula.operands)
        )
    if isinstance(formula, And):
        speaking = [part for part in formula.operands if name in free_variables(part)]
        if len(speaking) == 1:
            operands = (
                _somewhere(part, name, new) if part is speaking[0] else part for part in formula.operands
            )
            return msgspec.structs.replace(formula, operands=tuple(operands))
    return Exists(new, _renamed(formula, name, new), getattr(formula, "span", Span()))


def _renamed(node: Any, old: str, new: str) -> Any:
    if isinstance(node, tuple):
        return tuple(_renamed(part, old, new) for part in node)
    if isinstance(node, Var):
        return msgspec.structs.replace(node, name=new) if node.name == old else node
    if not isinstance(node, msgspec.Struct) or (isinstance(node, Exists | Forall) and node.name == old):
        return node
    return msgspec.structs.replace(
        node, **{name: _renamed(getattr(node, name), old, new) for name in node.__struct_fields__}
    )
