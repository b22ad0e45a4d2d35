"""Atoms as written: tool('pay', order=o)[args.amount > 10], event('open', f, 'r'), message('planner')."""

from __future__ import annotations

import re
from typing import Any

from masfire.contracts.language import checks
from masfire.contracts.language.fields import (
    ALL_KINDS,
    EVERYWHERE,
    FIELDS,
    OF_OUTCOME,
    dotted,
    nearest,
    shape,
)
from masfire.contracts.language.scope import Context, Reading, Scope
from masfire.contracts.language.surface import Node
from masfire.contracts.language.syntax import (
    And,
    Argument,
    Atom,
    Compare,
    Const,
    Field,
    Formula,
    Path,
    Present,
    Span,
    Var,
)

ATOMS: dict[str, tuple[str, ...]] = {
    "tool": ("tool_call",), "step": (), **{kind: (kind,) for kind in FIELDS},
}  # fmt: skip
"""Words that name steps, and of which kinds; `tool` is a tool_result next to words about the outcome."""

BARE = frozenset(ATOMS) - {"tool", "step"}
"""Those that stand without brackets too (`tool` and `step` are fields as well)."""

_SELF = {"name": "its first argument", "tool": "its first argument", "model": "its first argument"}


def is_atom(node: Node) -> bool:
    """Return whether a node names steps by itself (brackets with a condition looked through)."""
    if node.kind == "bracket":
        return is_atom(node.children[0])
    if node.kind == "call":
        path = node.value[0]
        return len(path) == 1 and path[0] in ATOMS
    return node.kind == "name" and len(node.value) == 1 and node.value[0] in BARE


def names_steps(reading: Reading, node: Node, scope: Scope) -> bool:
    """Return whether an atom of the same step is inside (through and, or, not, brackets, definitions)."""
    reading.count()
    if node.kind in ("and", "or", "paren", "implies"):
        return any(names_steps(reading, child, scope) for child in node.children)
    if node.kind in ("call", "name"):
        path = node.value[0] if node.kind == "call" else node.value
        if len(path) == 1 and path[0] in scope.parameters and node.kind == "name":
            argument, outer = scope.parameters[path[0]]
            return names_steps(reading, argument, outer)
        if len(path) == 1 and path[0] in reading.definitions:
            return True
    return is_atom(node)


def speaks_of_outcome(node: Node, scope: Scope) -> bool:
    """Return whether a conjunct says something of its own step's outcome: ok, result.total > 3, …

    Looks through Boolean connectives and comparisons, not into temporal operators or the brackets of
    atoms, nor into a conjunction that names a step of its own.
    """
    if node.kind == "name":
        return node.value[0] in OF_OUTCOME and node.value[0] not in scope.quantified
    if node.kind == "and" and any(is_atom(child) for child in node.children):
        return False
    if node.kind == "call":
        path = node.value[0]
        return (
            path[0] not in ATOMS
            and path[0] not in ("count", "sum", "last")
            and any(speaks_of_outcome(child, scope) for child in node.children)
        )
    if node.kind in (
        "and",
        "or",
        "not",
        "paren",
        "compare",
        "implies",
        "iff",
        "arithmetic",
        "negative",
        "bracket",
    ):
        if is_atom(node):
            return False
        return any(speaks_of_outcome(child, scope) for child in node.children)
    return False


def bound_names(reading: Reading, node: Node, scope: Scope) -> set[str]:
    """Return the free names that stand where an atom binds a variable, definitions looked through."""
    reading.count()
    if node.kind == "quantified":
        inner = Scope(
            scope.parameters,
            {**scope.quantified, **{name: name for name in node.value[1]}},
            scope.inside,
            scope.site,
        )
        return bound_names(reading, node.children[0], inner)
    if node.kind == "call":
        name = node.value[0][0]
        if name in reading.definitions and len(node.value[0]) == 1:
            definition = reading.definitions[name]
            if (
                name in scope.inside
                or len(definition.parameters) != len(node.children)
                or len(scope.inside) > 16
            ):
                return set()
            bindings = {
                key: (value, scope) for key, value in zip(definition.parameters, node.children, strict=True)
            }
            inner = Scope(bindings, {}, (*scope.inside, name), node.span)
            return bound_names(reading, definition.body, inner)
        if is_atom(node):
            values = [child.children[0] if child.kind == "keyword" else child for child in node.children]
            found = (_variable(value, scope) for value in values)
            return {name for name in found if name}
    if node.kind == "name" and len(node.value) == 1:
        name = node.value[0]
        if name in scope.parameters:
            return bound_names(reading, *scope.parameters[name])
        if name in reading.definitions:
            return bound_names(reading, Node("call", node.span, (), (node.value, node.span)), scope)
        return set()
    return set().union(*(bound_names(reading, child, scope) for child in node.children))


def _variable(node: Node, scope: Scope) -> str:
    """Return the free variable that an atom's argument names, or nothing."""
    if node.kind != "name" or len(node.value) != 1:
        return ""
    name = str(node.value[0])
    if name in scope.parameters:
        return _variable(*scope.parameters[name])
    return "" if name in scope.quantified or name == "_" else name


def conditioned(reading: Reading, base: Node, condition: Node, scope: Scope, context: Context) -> Formula:
    """Return an atom with its condition in brackets; one about the past or variables becomes a conjunct."""
    outcome = context.result or speaks_of_outcome(condition, scope)
    inner = Context(context.kinds, outcome)
    found = reading.formula(base, scope, inner)
    narrowed = context.kinds & checks.kinds_of(found) or checks.kinds_of(found) or context.kinds
    asked = reading.formula(condition, scope, Context(narrowed, outcome))
    if isinstance(found, Atom) and found.condition is None and _of_one_step(asked):
        return Atom(
            found.kinds, found.name, found.arguments, asked, Span(found.span.start, condition.span.end + 1)
        )
    return And((found, asked), reading.place(base, scope))


_SIMPLE = {"Compare", "Present", "Truth", "Literal", "Not", "And", "Or", "Const", "Field", "Apply"}


def _of_one_step(formula: Formula) -> bool:
    return all(type(node).__name__ in _SIMPLE for node in checks.nodes(formula))


def atom(reading: Reading, node: Node, scope: Scope, context: Context) -> Formula:
    """Return the atom that a call or a bare word stands for."""
    word = str(node.value[0][0] if node.kind == "call" else node.value[0])
    kinds = ATOMS[word]
    if word == "tool" and context.result:
        kinds = ("tool_result",)
    arguments = [child for child in node.children if node.kind == "call"]
    name = ""
    if arguments and arguments[0].kind not in ("keyword", "when", "windowed", "window"):
        name = _name(reading, word, arguments.pop(0), scope)
    found: list[Argument] = []
    asked: list[Formula] = []
    if word == "decision" and name:
        found.append(Argument(("outcome",), Const(name)))
        name = ""
    position = 0
    for argument in arguments:
        if argument.kind == "keyword":
            path, value = _keyword(reading, word, kinds, argument, scope), argument.children[0]
        elif argument.kind in ("when", "windowed", "window"):
            reading.wrong(argument, scope, f"an atom takes no 'when' or 'within': {word}('…')[condition]")
            continue
        elif word == "event":
            path, value, position = ("args", position), argument, position + 1
        else:
            reading.wrong(argument, scope, _positional(word))
            continue
        if path is not None:
            _argument(reading, path, value, scope, kinds, found, asked)
    condition = None if not asked else asked[0] if len(asked) == 1 else And(tuple(asked))
    return Atom(kinds, name, tuple(found), condition, reading.place(node, scope))


def _name(reading: Reading, word: str, node: Node, scope: Scope) -> str:
    """Return the name in an atom's first argument (empty for `_`)."""
    if node.kind == "name" and node.value[0] in scope.parameters and len(node.value) == 1:
        return _name(reading, word, *scope.parameters[node.value[0]])
    if node.kind == "name" and node.value == ("_",):
        return ""
    if word == "step":
        reading.wrong(node, scope, "step() is any step and has no name; write step(agent='…')")
    elif node.kind != "literal" or not isinstance(node.value, str):
        hint = " A sender as a variable is message(agent=a)." if word == "message" else ""
        reading.wrong(
            node, scope, f"the first argument of {word}(…) is a name in quotes, as in {word}('x').{hint}"
        )
    elif not node.value:
        reading.wrong(node, scope, f"an empty name; for any write {word}(_)")
    else:
        return node.value
    return ""


def _positional(word: str) -> str:
    return (
        f"only an event's arguments have positions; write {word}('…', field=value), "
        "where a field of the arguments may leave out 'args.'"
    )


def _keyword(reading: Reading, word: str, kinds: tuple[str, ...], node: Node, scope: Scope) -> Path | None:
    """Return the path that a keyword argument names: a field of the step, or one of its arguments."""
    written: Path = node.value
    first = str(written[0])
    mine = kinds or tuple(ALL_KINDS)
    fields = {field for kind in mine for field in FIELDS[kind]}
    if first in ("name", "tool", "model", "id") and len(written) == 1 and kinds and "args" in fields:
        own = (
            f"the step's own is {word}(…)[{first} == '…']"
            if first == "id"
            else f"the step's own is {word}('…')"
        )
        reading.wrong(
            node, scope, f"{first!r} is ambiguous: an argument of that name is args.{first}=…, {own}"
        )
        return None
    if first in fields:
        what = shape(written, mine)[1]
    elif len(written) == 1 and "args" in fields:
        return ("args", *written)
    else:
        known = sorted(fields)
        what = f"{word}(…) has no field {dotted(written)!r}.{nearest(first, known)} Known: {', '.join(known)}"
        if "args" in fields:
            what += f". A field of the arguments is args.{dotted(written)}"
    if what:
        reading.wrong(node, scope, what)
        return None
    return written


def _argument(
    reading: Reading, path: Path, node: Node, scope: Scope, kinds: tuple[str, ...],
    found: list[Argument], asked: list[Formula],
) -> None:  # fmt: skip
    """Add what one argument asks: equality with a constant or variable, presence, or a pattern."""
    if node.kind == "name" and len(node.value) == 1:
        name = str(node.value[0])
        if name in scope.parameters:
            value, outer = scope.parameters[name]
            return _argument(reading, path, value, outer, kinds, found, asked)
        if name == "_":
            asked.append(Present(path))
        elif path == ("to",):
            reading.wrong(
                node, scope, f"a message may have several recipients; bind the first one: to.0={name}"
            )
        elif _allowed(reading, name, node, scope, kinds):
            found.append(Argument(path, Var(scope.quantified.get(name, name))))
    elif node.kind == "literal":
        _constant(reading, path, node, scope, found, asked)
    else:
        reading.wrong(
            node, scope, "an atom's argument is a constant, a variable or _; write more as a condition: […]"
        )
    return None


def _allowed(reading: Reading, name: str, node: Node, scope: Scope, kinds: tuple[str, ...]) -> bool:
    """Note a variable that is called like a field of the same atom: it would silently mean something else."""
    fields = set(EVERYWHERE).union(*(FIELDS[kind] for kind in kinds)) | {"ok", "failed"}
    if name not in fields or name in scope.quantified:
        return True
    reading.wrong(
        node, scope,
        f"{name!r} is a field here, and an argument binds a variable; to compare two fields write "
        f"[args.x == {name}], for a variable choose another name",
    )  # fmt: skip
    return False


def _constant(
    reading: Reading, path: Path, node: Node, scope: Scope, found: list[Argument], asked: list[Formula]
) -> None:
    value: Any = node.value
    place = reading.place(node, scope)
    if path == ("to",):
        asked.append(Compare("contains", Field(path), Const(value), place))
    elif path in (("agent",), ("role",)) and isinstance(value, str) and "*" in value:
        asked.append(Compare("matches", Field(path), Const(glob(value)), place))
    else:
        found.append(Argument(path, Const(value)))


def glob(name: str) -> str:
    """Return the anchored RE2 pattern of a name in which `*` stands for any text."""
    return "^" + "(?s:.*)".join(re.escape(part) for part in name.split("*")) + "$"
