"""The text of a formula as a tree of what was written, before anything is looked up."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec import Struct

from masfire.contracts.language.syntax import Span

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_CHARACTERS = 20_000
MAX_DEPTH = 64
"""How deep a formula may nest: far more than anyone can read."""
_LONGEST_NUMBER = 40
_UNTEXT = re.compile("[\0\ud800-\udfff]")

FUTURE = {
    "next": "write what must precede instead, with prev",
    "eventually": "use 'pattern: responded_by_end' (or responded_within, with a deadline)",
    "finally": "use 'pattern: responded_by_end' (or responded_within, with a deadline)",
    "always": "leave it out: every rule holds at every step; of the past, write historically",
    "globally": "leave it out: every rule holds at every step; of the past, write historically",
    "until": "turn it round with since, or use 'pattern: responded_within'",
    "release": "turn it round with since",
    "leads_to": "use 'pattern: responded_within' or 'pattern: responded_by_end'",
    "after": "write once(…)",
    "before": "write once(…) at the later step, or use 'pattern: requires_before'",
}
"""Operators that speak of the future (or sound like it), and what to write instead."""

_FOREIGN = {
    "=": "'=' is for a field of an atom, tool('pay', order=o); compare with '=='",
    "&": "write 'and'", "|": "write 'or'", "!": "write 'not' (or '!=' between two values)",
    "~": "write 'not'", "^": "write 'and'", ";": "a formula has no ';'; give several under 'formula:'",
    "?": "there is no '?'; write 'A -> B'", "{": "there are no braces; write a list as ['a', 'b']",
}  # fmt: skip
_WORDS = {"implies": "->", "iff": "<->", "AND": "and", "OR": "or", "NOT": "not", "is": "==", "eq": "=="}


class Slip(Struct, frozen=True):
    """One mistake in a formula: where in its text, and what."""

    span: Span
    what: str


class Mistaken(Exception):
    """Raised inside this package with the slips of one text."""

    def __init__(self, *slips: Slip) -> None:
        self.slips = slips
        super().__init__("; ".join(slip.what for slip in slips))


class Node(Struct, frozen=True):
    """One thing as written: `kind` is the grammar's name for it, `value` its word, number or operator."""

    kind: str
    span: Span
    children: tuple[Node, ...] = ()
    value: Any = None
    window: Node | None = None
    depth: int = 1


def parse(text: str) -> Node:
    """Return the tree of a formula's text; raise Mistaken with what cannot be read."""
    if len(text) > MAX_CHARACTERS:
        _refuse(
            0, 1, f"a formula of {len(text)} characters is too long (at most {MAX_CHARACTERS}); use 'define:'"
        )
    bad = _UNTEXT.search(text)
    if bad:
        _refuse(bad.start(), bad.end(), "a null character or half a character (a lone surrogate)")
    if not text.strip():
        _refuse(0, 1, "the formula is empty")
    from lark.exceptions import UnexpectedCharacters, UnexpectedToken

    try:
        tree: Any = _grammar().parse(text)
    except UnexpectedCharacters as error:
        raise Mistaken(_strange_character(text, int(error.pos_in_stream or 0))) from None
    except UnexpectedToken as error:
        raise Mistaken(_strange_token(text, error.token)) from None
    found: Node = tree
    return found


@functools.cache
def _grammar() -> Lark:
    from importlib import resources

    from lark import Lark

    text = resources.files(__package__).joinpath("formula.lark").read_text(encoding="utf-8")
    return Lark(text, parser="lalr", transformer=_Builder(), keep_all_tokens=True)


def _refuse(start: int, end: int, what: str) -> NoReturn:
    raise Mistaken(Slip(Span(start, end), what))


def _strange_character(text: str, at: int) -> Slip:
    character = text[at]
    if character in "'\"":
        return Slip(Span(at, at + 1), "this text has no closing quote on its line")
    hint = _FOREIGN.get(character, "no formula holds it outside quotes")
    return Slip(Span(at, at + 1), f"unexpected {character!r}: {hint}")


def _strange_token(text: str, token: Token) -> Slip:
    if token.type == "$END":
        end = len(text.rstrip())
        return Slip(
            Span(max(0, end - 1), end), f"the formula ends here, but is not complete{_unclosed(text)}"
        )
    start, end, word = int(token.start_pos or 0), int(token.end_pos or 0), str(token)
    before = re.search(r"[A-Za-z_]\w*\s*\Z", text[:start])
    for name, at in (
        (word, start),
        (before.group().strip() if before else "", before.start() if before else 0),
    ):
        if name.lower() in FUTURE:
            return Slip(Span(at, at + len(name)), future(name))
        if name in _WORDS:
            return Slip(Span(at, at + len(name)), f"unexpected {name!r}: write {_WORDS[name]!r}")
        if name.lower() in _KEYWORDS and name not in _KEYWORDS:
            return Slip(
                Span(at, at + len(name)), f"unexpected {name!r}: operators are lower case, {name.lower()!r}"
            )
    if text[start : start + 2] == "=>":
        return Slip(Span(start, start + 2), "unexpected '=>': 'implies' is '->', 'at least' is '>='")
    shown = word if len(word) <= 60 else f"{word[:60]}…"
    quantifier = before.group().strip() if before else ""
    if quantifier in ("exists", "forall"):
        return Slip(Span(start, end), f"after a quantified name comes a full stop: {quantifier} {shown}. …")
    if word in _FOREIGN:
        return Slip(Span(start, end), f"unexpected {shown!r}: {_FOREIGN[word]}")
    if word in ("<", "<=", ">", ">=", "==", "!="):
        return Slip(
            Span(start, end), f"comparisons do not chain: before {shown!r} write 'and' with both sides"
        )
    near = difflib.get_close_matches(word.lower(), _KEYWORDS, n=1, cutoff=0.75) if word.isalpha() else []
    hint = f". Did you mean {near[0]!r}?" if near and near[0] != word else _unclosed(text[:start])
    return Slip(Span(start, end), f"unexpected {shown!r}{hint}")


_KEYWORDS = (
    "and", "or", "not", "since", "prev", "once", "historically", "within", "when", "in", "contains",
    "startswith", "endswith", "matches",
)  # fmt: skip


def future(name: str) -> str:
    """Return what is wrong with an operator of the future, and what to write."""
    return f"{name!r} looks into the future, a formula only into the past: {FUTURE[name.lower()]}"


def _unclosed(text: str) -> str:
    plain = re.sub(r"'([^'\\\n]|\\.)*'|\"([^\"\\\n]|\\.)*\"|#[^\n]*", "", text)
    missing = plain.count("(") + plain.count("[") - plain.count(")") - plain.count("]")
    return f" ({missing} bracket{'s' if missing > 1 else ''} not closed)" if missing > 0 else ""


def _place(parts: Sequence[Any]) -> Span:
    first, last = parts[0], parts[-1]
    start = first.span.start if isinstance(first, Node) else first.start_pos
    end = last.span.end if isinstance(last, Node) else last.end_pos
    return Span(start, end)


def _node(kind: str, parts: Sequence[Any], value: Any = None, *, keep: Sequence[Node] | None = None) -> Node:
    window = next((part for part in parts if isinstance(part, Node) and part.kind == "window"), None)
    children = tuple(
        part for part in (parts if keep is None else keep) if isinstance(part, Node) and part.kind != "window"
    )
    depth = 1 + max((child.depth for child in children), default=0)
    span = _place(parts)
    if depth > MAX_DEPTH:
        _refuse(span.start, span.end, f"nested more than {MAX_DEPTH} deep; name parts of it under 'define:'")
    return Node(kind, span, children, value, window, depth)


def _number(text: str, span: Span) -> int | float:
    if len(text) > _LONGEST_NUMBER:
        _refuse(
            span.start, span.end, f"a number of {len(text)} digits is too long (at most {_LONGEST_NUMBER})"
        )
    if text.isdigit():
        return int(text)
    value = float(text)
    if value in (float("inf"),):
        _refuse(span.start, span.end, f"the number {text} is too large")
    return value


_ESCAPES = {"\\\\": "\\", "\\'": "'", '\\"': '"', "\\n": "\n", "\\t": "\t"}


def _unquote(text: str) -> str:
    """Return a quoted text's value; an unknown escape keeps its backslash, as regular expressions want."""
    return re.sub(r"\\.", lambda found: _ESCAPES.get(found.group(), found.group()), text[1:-1])


def _path(text: str) -> tuple[str | int, ...]:
    parts = re.findall(r"\w+|\"[^\"\n]*\"|'[^'\n]*'", text)
    return tuple(
        part[1:-1] if part[0] in "'\"" else int(part) if part.isdecimal() and len(part) < 10 else part
        for part in parts
    )


_PLAIN = frozenset(
    ("iff", "implies", "or_", "and_", "since_", "not_", "bracket", "paren", "interval", "list_",
     "windowed", "when_")
)  # fmt: skip
"""Rules whose nodes hold nothing but their parts."""


class _Builder:
    """Turns what lark reduces into nodes, one method a rule."""

    def start(self, parts: list[Any]) -> Node:
        node: Node = parts[0]
        return node

    def operator(self, parts: list[Any]) -> Node:
        return Node("operator", _place(parts), value=" ".join(str(part) for part in parts))

    def window(self, parts: list[Any]) -> Node:
        span = _place(parts[1:2])
        return Node("window", _place(parts), value=(_number(str(parts[1]), span), str(parts[2])))

    def name(self, parts: list[Any]) -> Node:
        return _node("name", parts, _path(str(parts[0])))

    def dotted(self, parts: list[Any]) -> Node:
        return _node("dotted", parts, _path(str(parts[1])))

    def number(self, parts: list[Any]) -> Node:
        return _node("literal", parts, _number(str(parts[0]), _place(parts)))

    def string(self, parts: list[Any]) -> Node:
        return _node("literal", parts, _unquote(str(parts[0])))

    def constant(self, parts: list[Any]) -> Node:
        return _node("literal", parts, {"true": True, "false": False, "null": None}[str(parts[0])])

    def negative(self, parts: list[Any]) -> Node:
        operand = parts[1]
        number = operand.kind == "literal" and type(operand.value) in (int, float)
        return _node("literal", parts, -operand.value, keep=()) if number else _node("negative", parts)

    def arithmetic(self, parts: list[Any]) -> Node:
        left = parts[0]
        for sign, right in zip(parts[1::2], parts[2::2], strict=True):
            left = _node("arithmetic", [left, right], str(sign))
        node: Node = left
        return node

    def compare(self, parts: list[Any]) -> Node:
        return _node("compare", parts, parts[1].value, keep=(parts[0], parts[2]))

    def temporal(self, parts: list[Any]) -> Node:
        return _node("temporal", parts, str(parts[0]))

    def quantified(self, parts: list[Any]) -> Node:
        word, names = str(parts[0]).rstrip(".").split(None, 1)
        return _node("quantified", parts, (word, tuple(name.strip() for name in names.split(","))))

    def call(self, parts: list[Any]) -> Node:
        return _node("call", parts, (_path(str(parts[0])), _place(parts[:1])))

    def keyword(self, parts: list[Any]) -> Node:
        return _node("keyword", parts, _path(str(parts[0])))

    def __getattr__(self, name: str) -> Any:
        if name not in _PLAIN:
            raise AttributeError(name)
        return functools.partial(_node, name.rstrip("_"))
