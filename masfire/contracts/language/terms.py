"""Values as written: fields, constants, arithmetic, last, count, sum, and their comparisons."""

from __future__ import annotations

from typing import Any

from masfire.contracts.language import checks
from masfire.contracts.language.fields import (
    ALL_KINDS,
    ANY,
    BOOLEAN,
    LIST,
    NAMES,
    NULL,
    NUMBER,
    OBJECT,
    TEXT,
    dotted,
    nearest,
)
from masfire.contracts.language.scope import Context, Reading, Scope
from masfire.contracts.language.surface import FUTURE, Node, future
from masfire.contracts.language.syntax import (
    Apply,
    Compare,
    Const,
    Count,
    Field,
    Formula,
    Last,
    Literal,
    Not,
    Path,
    Sum,
    Term,
    Var,
)

FUNCTIONS = {
    "abs": ((NUMBER,), NUMBER), "len": ((TEXT, LIST, OBJECT), NUMBER), "lower": ((TEXT,), TEXT),
    "upper": ((TEXT,), TEXT), "number": ((TEXT, NUMBER, BOOLEAN), NUMBER), "text": ((ANY,), TEXT),
}  # fmt: skip
"""Functions of one value: what they take, what they give."""

FOLDS = ("count", "sum", "last")
"""Values that look back over the steps."""

_ORDERED = ("<", "<=", ">", ">=")
_NOTHING: tuple[Term, str] = (Const(None), ANY)


def term(reading: Reading, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    """Return the value that a node stands for and what it holds."""
    reading.count()
    match node.kind:
        case "literal":
            return Const(node.value), _holds(node.value)
        case "name":
            return _name(reading, node, scope, context)
        case "paren" if node.window is None:
            return term(reading, node.children[0], scope, context)
        case "list":
            return _list(reading, node, scope)
        case "negative":
            return _apply(reading, "neg", node, scope, context)
        case "arithmetic":
            return _apply(reading, node.value, node, scope, context)
        case "bracket" | "dotted":
            return _indexed(reading, node, scope, context)
        case "call":
            return _call(reading, node, scope, context)
        case _:
            reading.wrong(node, scope, "this is a statement where a value is needed")
            return _NOTHING


def _holds(value: Any) -> str:
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int | float):
        return NUMBER
    return NULL if value is None else TEXT


def _name(reading: Reading, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    path: Path = node.value
    word = str(path[0])
    if word in scope.parameters:
        argument, outer = scope.parameters[word]
        if len(path) == 1:
            return term(reading, argument, outer, context)
        reading.wrong(node, scope, f"a parameter has no parts: {dotted(path)!r}")
        return _NOTHING
    if len(path) == 1 and (word in scope.quantified or word in reading.bound or not _field(word, scope)):
        return _variable(reading, word, node, scope)
    if len(path) > 1 and (word in scope.quantified or word in reading.bound) and word not in NAMES:
        reading.wrong(node, scope, f"variable {word!r} has no parts; bind the part itself in the atom")
        return _NOTHING
    return Field(path), reading.check_field(path, node, scope, context)


def _field(word: str, scope: Scope) -> bool:
    return word in NAMES


def _variable(reading: Reading, word: str, node: Node, scope: Scope) -> tuple[Term, str]:
    if word == "_":
        reading.wrong(node, scope, "'_' stands for any value in an atom's arguments only")
        return _NOTHING
    if scope.inside and word not in scope.quantified:
        reading.wrong(
            node,
            scope,
            f"{word!r} is neither a field nor a parameter.{nearest(word, [*scope.parameters, *NAMES])}",
        )
        return _NOTHING
    name = scope.quantified.get(word, word)
    reading.used.setdefault(name, reading.place(node, scope))
    return Var(name), ANY


def _list(reading: Reading, node: Node, scope: Scope) -> tuple[Term, str]:
    values = []
    for child in node.children:
        if child.kind == "literal":
            values.append(child.value)
        else:
            reading.wrong(
                child, scope, "a list holds constants (texts in quotes, numbers, true, false, null)"
            )
    return Const(tuple(values)), LIST


def _apply(reading: Reading, name: str, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    values = []
    for child in node.children:
        value, holds = term(reading, child, scope, context)
        if holds not in (NUMBER, ANY) and not (name == "+" and holds == TEXT):
            reading.wrong(child, scope, f"a {holds} cannot be calculated with")
        values.append(value)
    if name in ("/", "%") and isinstance(values[-1], Const) and values[-1].value == 0:
        reading.wrong(node, scope, "division by 0")
    return Apply(name, tuple(values)), ANY if name == "+" else NUMBER


def _indexed(reading: Reading, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    path = field_path(reading, node, scope)
    if path is None:
        reading.wrong(node, scope, "brackets after a value hold a place: args[0], args['order id']")
        return _NOTHING
    return Field(path), reading.check_field(path, node, scope, context)


def field_path(reading: Reading, node: Node, scope: Scope) -> Path | None:
    """Return the field that a node names, or None when it is something else."""
    if node.kind == "name":
        if len(node.value) == 1 and node.value[0] in scope.parameters:
            argument, outer = scope.parameters[node.value[0]]
            return field_path(reading, argument, outer)
        path: Path = node.value
        return path
    if node.kind == "bracket" and node.children[1].kind == "literal":
        base, place = field_path(reading, node.children[0], scope), node.children[1].value
        if base is not None and (isinstance(place, str) or (type(place) is int and place >= 0)):
            return (*base, place)
    if node.kind == "dotted":
        base = field_path(reading, node.children[0], scope)
        return None if base is None else (*base, *node.value)
    return None


def _call(reading: Reading, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    path, span = node.value
    name = str(path[0]) if len(path) == 1 else ""
    if name in reading.definitions:
        body, inner = reading.expansion(node, scope)
        return term(reading, body, inner, context) if body is not None else _NOTHING
    if name in FOLDS:
        return _fold(reading, name, node, scope)
    if name in FUNCTIONS:
        return _function(reading, name, node, scope, context)
    if name.lower() in FUTURE:
        reading.wrong(span, scope, future(name))
        return _NOTHING
    known = [*FUNCTIONS, *FOLDS]
    shown = ".".join(map(str, path))
    reading.wrong(
        span, scope, f"{shown!r} gives no value.{nearest(shown, known)} Known functions: {', '.join(known)}"
    )
    return _NOTHING


def _function(reading: Reading, name: str, node: Node, scope: Scope, context: Context) -> tuple[Term, str]:
    takes, gives = FUNCTIONS[name]
    if len(node.children) != 1 or node.children[0].kind in ("keyword", "when", "windowed", "window"):
        reading.wrong(node, scope, f"{name}(…) takes one value")
        return _NOTHING
    value, holds = term(reading, node.children[0], scope, context)
    if holds != ANY and ANY not in takes and holds not in takes:
        reading.wrong(node.children[0], scope, f"{name}(…) takes a {' or '.join(takes)}, not a {holds}")
    return Apply(name, (value,)), gives


def _fold(reading: Reading, name: str, node: Node, scope: Scope) -> tuple[Term, str]:
    """Return count(φ within w), sum(value, when φ within w) or last(field, when φ within w)."""
    plain: list[Node] = []
    window = None
    for child in node.children:
        if child.kind == "window":
            window = child
            continue
        if child.kind == "keyword":
            reading.wrong(child, scope, f"{name}(…) takes no named arguments")
            continue
        if child.window is not None and child.kind in ("windowed", "when"):
            window = child.window
        plain.append(child.children[0] if child.kind in ("windowed", "when") else child)
    found = reading.window(window, scope)
    if len(plain) not in ((1,) if name == "count" else (1, 2)):
        usage = (
            "count(φ within 5 steps)" if name == "count" else f"{name}(args.amount, when φ within 5 steps)"
        )
        reading.wrong(node, scope, f"{name}(…) is written {usage}")
        return _NOTHING
    if name == "count":
        return Count(reading.formula(plain[0], scope, Context()), found), NUMBER
    when = reading.formula(plain[1], scope, Context()) if len(plain) == 2 else None
    kinds = (checks.kinds_of(when) or ALL_KINDS) if when is not None else ALL_KINDS
    inner = Context(kinds)
    if name == "sum":
        value, holds = term(reading, plain[0], scope, inner)
        if holds not in (NUMBER, ANY):
            reading.wrong(plain[0], scope, f"sum(…) adds numbers, not a {holds}")
        return Sum(value, when, found), NUMBER
    path = field_path(reading, plain[0], scope)
    if path is None:
        reading.wrong(plain[0], scope, "last(…) takes a field, as in last(args.amount, when tool('pay'))")
        return _NOTHING
    return Last(path, when, found), reading.check_field(path, plain[0], scope, inner)


def comparison(reading: Reading, node: Node, scope: Scope, context: Context) -> Formula:
    """Return a comparison; refuse one that can never be true for want of the right kinds of value."""
    left, holds = term(reading, node.children[0], scope, context)
    right, against = term(reading, node.children[1], scope, context)
    negated = node.value == "not in"
    op = "in" if negated else str(node.value)
    before = len(reading.slips)
    what = _impossible(op, holds, against, right)
    if what:
        reading.wrong(node, scope, what)
    elif op == "matches" and isinstance(right, Const):
        what = bad_pattern(right.value)
        if what:
            reading.wrong(node.children[1], scope, what)
    if len(reading.slips) > before:
        return Literal(False)
    span = reading.place(node, scope)
    if op == "in" and not isinstance(right, Const):  # 'x' in to
        compared = Compare("contains", right, left, span)
    else:
        compared = Compare(op, left, right, span)
    return Not(compared, span) if negated else compared


def _impossible(op: str, left: str, right: str, constant: Term) -> str:
    """Return why two kinds of value cannot be compared so; empty when they can."""
    if op in ("==", "!="):
        if left != right and ANY not in (left, right) and NULL not in (left, right):
            return f"a {left} never equals a {right}"
    elif op in _ORDERED:
        for holds in (left, right):
            if holds not in (NUMBER, TEXT, ANY):
                return f"a {holds} has no order ({op!r}); only numbers and texts have"
        if left != right and ANY not in (left, right):
            return f"a {left} and a {right} have no order ({op!r})"
    elif op == "in":
        if right not in (LIST, TEXT, ANY) or (right == TEXT and isinstance(constant, Const)):
            return "'in' needs a list on its right: x in ['a', 'b']"
    elif op == "contains":
        if left not in (TEXT, LIST, ANY) or (left == TEXT and right not in (TEXT, ANY)):
            return f"a {left} contains no {right}; it looks for a text in a text, or a member of a list"
    else:
        if left not in (TEXT, ANY) or right not in (TEXT, ANY):
            return f"{op!r} compares texts, not a {left} with a {right}"
        if op == "matches" and not isinstance(constant, Const):
            return "'matches' needs its pattern in quotes"
    return ""


def bad_pattern(pattern: str) -> str:
    """Return why RE2 refuses a pattern (look-around, back references, too large), or nothing."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return (
            f"this pattern is refused: {shown}. Patterns are RE2's, which run in linear time: "
            "no look-around, no back references"
        )
    return ""
