"""A syntax tree as the text that a formula line would have."""

from __future__ import annotations

import json
from typing import Any

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
    Path,
    Present,
    Prev,
    Since,
    Term,
    Truth,
    Var,
    Window,
)

_LEVEL = {Implies: 1, Or: 2, And: 3, Since: 4}
_TOOLS = {("tool_call",): "tool_call", ("tool_result",): "tool_result", (): "step"}


def show(formula: Formula) -> str:
    """Return a formula as text; it reads back as an equal tree (without the places it was written at)."""
    if isinstance(formula, (And, Or)):
        word = " and " if isinstance(formula, And) else " or "
        level = _LEVEL[type(formula)]
        return word.join(_inside(part, level) for part in formula.operands)
    if isinstance(formula, Implies):
        return f"{_inside(formula.left, 1)} -> {_inside(formula.right, 0)}"
    if isinstance(formula, Since):
        return f"{_inside(formula.left, 4)} since{_window(formula.window)} {_inside(formula.right, 4)}"
    if isinstance(formula, Interval):
        return f"[{show(formula.open)}, {show(formula.close)})"
    if isinstance(formula, (Exists, Forall)):
        word = "exists" if isinstance(formula, Exists) else "forall"
        return f"({word} {formula.name}. {show(formula.operand)})"
    if isinstance(formula, Not):
        return f"not {_inside(formula.operand, 4)}"
    if isinstance(formula, (Prev, Once, Historically)):
        word = type(formula).__name__.lower()
        return f"{word}{_window(formula.window)} {_inside(formula.operand, 4)}"
    return _leaf(formula)


def show_term(term: Term) -> str:
    """Return a term as text."""
    if isinstance(term, Const):
        return _constant(term.value)
    if isinstance(term, Var):
        return term.name
    if isinstance(term, Field):
        return show_path(term.path)
    if isinstance(term, Apply):
        return _apply(term)
    if isinstance(term, Last):
        return f"last({show_path(term.path)}{_when(term.when)}{_window(term.window)})"
    if isinstance(term, Count):
        return f"count({show(term.formula)}{_window(term.window)})"
    return f"sum({show_term(term.term)}{_when(term.when)}{_window(term.window)})"


def show_path(path: Path) -> str:
    """Return a field's path as text."""
    return ".".join(str(part) if str(part).replace("_", "a").isalnum() else json.dumps(part) for part in path)


def _leaf(formula: Formula) -> str:
    if isinstance(formula, Compare):
        return f"{show_term(formula.left)} {formula.op} {show_term(formula.right)}"
    if isinstance(formula, Present):
        return f"present({show_path(formula.path)})"
    if isinstance(formula, Truth):
        return show_term(formula.term)
    if isinstance(formula, Literal):
        return "true" if formula.value else "false"
    assert isinstance(formula, Atom)  # noqa: S101 - the only kind left
    return _atom(formula)


def _atom(atom: Atom) -> str:
    arguments = [json.dumps(atom.name, ensure_ascii=False)] if atom.name else []
    place = 0
    for argument in atom.arguments:
        text, place = _argument(argument, place)
        arguments.append(text)
    condition = f"[{show(atom.condition)}]" if atom.condition is not None else ""
    kinds = [_TOOLS.get((kind,), kind) for kind in atom.kinds] or ["step"]
    texts = [f"{kind}({', '.join(arguments)}){condition}" for kind in kinds]
    return texts[0] if len(texts) == 1 else f"({' or '.join(texts)})"


def _argument(argument: Argument, place: int) -> tuple[str, int]:
    term = show_term(argument.term)
    if len(argument.path) == 2 and argument.path[0] == "args" and type(argument.path[1]) is int:
        gaps = ["_"] * (argument.path[1] - place)
        return ", ".join([*gaps, term]), argument.path[1] + 1
    path = argument.path[1:] if argument.path[0] == "args" else argument.path
    return f"{show_path(path)}={term}", place


def _apply(term: Apply) -> str:
    if term.function in "+-*/%" and len(term.arguments) == 2:
        left, right = (
            f"({show_term(part)})"
            if isinstance(part, Apply) and part.function in "+-*/%"
            else show_term(part)
            for part in term.arguments
        )
        return f"{left} {term.function} {right}"
    inner = ", ".join(map(show_term, term.arguments))
    return f"-{inner}" if term.function == "neg" else f"{term.function}({inner})"


def _constant(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_constant, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def _inside(formula: Formula, level: int) -> str:
    """Return a part in brackets unless it binds tighter than its surroundings."""
    text = show(formula)
    return f"({text})" if _LEVEL.get(type(formula), 9) <= level else text


def _window(window: Window | None) -> str:
    if window is None:
        return ""
    amount = int(window.amount) if float(window.amount).is_integer() else window.amount
    return f" within {amount} {window.unit}"


def _when(when: Formula | None) -> str:
    return f", when {show(when)}" if when is not None else ""
