"""Formulas in plain words, and the sentences of patterns filled with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from masfire.contracts.language.show import show_path, show_term
from masfire.contracts.language.syntax import (
    And,
    Atom,
    Compare,
    Const,
    Exists,
    Forall,
    Formula,
    Historically,
    Implies,
    Interval,
    Literal,
    Not,
    Once,
    Or,
    Present,
    Prev,
    Since,
    Truth,
    Var,
    Window,
)

_NOUNS = {
    "message": "a message", "tool_call": "a tool call", "tool_result": "a tool result",
    "model_call": "a model call", "model_reply": "a model reply", "memory_read": "a memory read",
    "memory_write": "a memory write", "memory_value": "a value from memory", "delegation": "a delegation",
    "termination": "a termination", "event": "an event", "decision": "a decision",
}  # fmt: skip
_NAMED = {
    "message": "a message from", "tool_call": "a call of", "tool_result": "a result of",
    "model_call": "a call of model", "model_reply": "a reply of model", "event": "event",
}  # fmt: skip
_OPS = {
    "==": "is", "!=": "is not", "<": "is less than", "<=": "is at most", ">": "is more than",
    ">=": "is at least", "in": "is one of", "contains": "contains", "startswith": "starts with",
    "endswith": "ends with", "matches": "matches",
}  # fmt: skip
_PLACE = re.compile(r"\{(\w+)\}")
_PART = re.compile(r"\[([^\[\]]*)\]")


def phrase(formula: Formula) -> str:
    """Return a formula in plain words: a noun phrase for an atom, a clause otherwise."""
    if isinstance(formula, Atom):
        return _atom(formula)
    if isinstance(formula, Compare):
        return f"{show_term(formula.left)} {_OPS[formula.op]} {show_term(formula.right)}"
    if isinstance(formula, Present):
        return f"{show_path(formula.path)} is there"
    if isinstance(formula, Truth):
        return f"{show_term(formula.term)} is true"
    if isinstance(formula, Literal):
        return "anything" if formula.value else "nothing"
    if isinstance(formula, And):
        return " and ".join(_inside(part) for part in formula.operands)
    if isinstance(formula, Or):
        return " or ".join(_inside(part) for part in formula.operands)
    return _operator(formula)


def _operator(formula: Formula) -> str:
    if isinstance(formula, Not):
        return f"not {_inside(formula.operand)}"
    if isinstance(formula, Implies):
        return f"if {_inside(formula.left)}, then {_inside(formula.right)}"
    if isinstance(formula, Once):
        return f"there has been {_inside(formula.operand)}{_within(formula.window)}"
    if isinstance(formula, Historically):
        return f"it has always been so{_within(formula.window)} that {_inside(formula.operand)}"
    if isinstance(formula, Prev):
        return f"right before this step, {_inside(formula.operand)}{_within(formula.window)}"
    if isinstance(formula, Since):
        right = f"since {_inside(formula.right)}{_within(formula.window)}"
        return f"{right}, {_inside(formula.left)} at every step"
    if isinstance(formula, Interval):
        return f"there has been {_inside(formula.open)}, and no {_inside(formula.close)} since"
    if isinstance(formula, Exists):
        return f"for some {formula.name}, {_inside(formula.operand)}"
    if isinstance(formula, Forall):
        return f"for every {formula.name}, {_inside(formula.operand)}"
    raise TypeError(f"{formula!r} is no formula.")


def _inside(formula: Formula) -> str:
    text = phrase(formula)
    simple = isinstance(formula, (Atom, Compare, Present, Truth, Literal))
    return text if simple else f"({text})"


def _within(window: Window | None) -> str:
    return "" if window is None else f" (within {window_words(window)})"


def window_words(window: Window) -> str:
    """Return a window as "5 steps" or "2.5 seconds"."""
    unit = window.unit[:-1] if window.amount == 1 else window.unit
    return f"{window.amount:g} {unit}"


def _atom(atom: Atom) -> str:
    name = repr(atom.name) if atom.name.strip("*") else ""
    if not atom.kinds:
        text = f"a step named {name}" if name else "a step"
    elif name:
        text = " or ".join(f"{_NAMED.get(kind, _NOUNS.get(kind, kind))} {name}" for kind in atom.kinds)
    else:
        text = " or ".join(_NOUNS.get(kind, f"a {kind}") for kind in atom.kinds)
    said = []
    for argument in atom.arguments:
        value = argument.term.name if isinstance(argument.term, Var) else show_term(argument.term)
        said.append(f"{show_path(argument.path)} {value}")
    if said:
        text += f" with {', '.join(said)}"
    return text if atom.condition is None else f"{text} where {phrase(atom.condition)}"


def sentence(says: str, values: Mapping[str, Any]) -> str:
    """Return a pattern's sentence with its fields filled in.

    A part in square brackets is left out when a field in it is absent, empty or false.
    """

    def part(match: re.Match[str]) -> str:
        return match[1] if all(_given(values.get(name)) for name in _PLACE.findall(match[1])) else ""

    text = _PLACE.sub(lambda match: _words(values.get(match[1])), _PART.sub(part, says))
    return text[:1].upper() + text[1:]


def _given(value: Any) -> bool:
    return value is not None and value is not False and value not in ("", [], {})


def _words(value: Any) -> str:
    if isinstance(value, Window):
        return window_words(value)
    if isinstance(value, dict):
        return "; ".join(f"{key} may use {_words(item) or 'nothing'}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    if isinstance(value, Const):
        return show_term(value)
    return "yes" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
