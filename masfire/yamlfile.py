"""YAML that people write, read strictly: no aliases, bounded depth and size, every value with its place."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct

from masfire.errors import UsageError

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
MAX_MISTAKES = 50
"""Mistakes that are told; who makes more has other worries."""
_WIDEST = 400
_NEAR = 65_536
"""Bytes in which a file says what it is."""
_LONGEST_NUMBER = 128
"""Bits; a longer whole number is no count of anything, and its digits are many."""

KINDS = {
    "plan": ("a campaign's plan", "masfire campaign {} --out DIR"),
    "attack": ("an attack plan", "masfire cascade amplification {} --out DIR"),
    "contract": ("a contract file", "masfire check TRACE --contracts {}"),
    "policy": ("a policy", "masfire govern dry-run TRACE --policy {}"),
    "lessons": ("a file of lessons", "masfire memory import {}"),
    "trace": ("a trace", "masfire show {}"),
}
"""What a file calls itself (`masfire: plan/v1`): in words, and the command that takes it."""
_KIND = re.compile(r"^masfire[ \t]*:[ \t]*[\"']?(\w+)/v\d", re.MULTILINE)
_JSON_KIND = re.compile(r'\{.{0,400}?"masfire"\s*:\s*"(\w+)/v\d', re.DOTALL)

_UNTEXT = re.compile("[\0\ud800-\udfff]")
_BAD_SCALAR = (yaml.YAMLError, ValueError, LookupError, AttributeError, OverflowError)
"""What PyYAML raises for ``!!int ""``, ``!!bool x``, ``!!timestamp x``, an impossible date, 5,000 digits."""


class Mistake(Struct, frozen=True, order=True):
    """One thing that is wrong in a file; `line` and `column` are 1-based (column 0: the whole line)."""

    line: int
    what: str
    column: int = 0


class Unreadable(Exception):
    """The text is no YAML that is accepted; `mistake` says where and why."""

    def __init__(self, mistake: Mistake) -> None:
        self.mistake = mistake
        super().__init__(mistake.what)


def read_text(path: Path, noun: str, *, kind: str = "") -> str:
    """Return the text of a file of at most `MAX_BYTES`; raise UsageError calling it `noun`.

    `kind`, one of KINDS: a file that says it is another one is refused.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)  # what is no regular file has no size to ask for
        if kind:
            refuse_other(raw[:_NEAR].decode("utf-8", "replace"), kind, path)
        if len(raw) > MAX_BYTES:
            raise UsageError(f"The {noun} {path} is larger than {MAX_BYTES} bytes.")
        return raw.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The {noun} {path} cannot be read: {error}.") from None


def kind_of(text: str) -> str:
    """Return which of KINDS the beginning of a file says it is, or nothing."""
    found = _JSON_KIND.match(text) if text.startswith("{") else _KIND.search(text)
    return found[1] if found is not None and found[1] in KINDS else ""


def refuse_other(text: str, kind: str, path: str | os.PathLike[str]) -> None:
    """Raise UsageError when a file says it is another of KINDS; the error names the command that takes it."""
    found = kind_of(text)
    if found and found != kind:
        command = KINDS[found][1].format(shlex.quote(os.fspath(path)))
        raise UsageError(f"{path} is {KINDS[found][0]}, not {KINDS[kind][0]}; use it with: {command}")


class _Loader(yaml.SafeLoader):
    """A safe loader that refuses aliases and bounds depth and size before anything is built."""

    most = MAX_NODES

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._depth = self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        mark: Any = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        self._depth += 1
        self._nodes += 1
        if self._depth > MAX_DEPTH or self._nodes > self.most:
            raise yaml.MarkedYAMLError(problem="nested too deeply or too large", problem_mark=mark)
        if isinstance(event, yaml.ScalarEvent) and _UNTEXT.search(event.value):
            raise yaml.MarkedYAMLError(problem="a null character or half a character", problem_mark=mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1


class _PlainLoader(_Loader):
    """The same, and a word is a word: only true, false, null and decimal numbers are anything else.

    No `yes` or `on`, no dates, no sexagesimal 1:30, no octal 010, no merge key.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}
    most = 30_000


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"~|null|", ["~", "n", ""]),
    ("int", r"[-+]?(0|[1-9][0-9]*)", "-+0123456789"),
    ("float", r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?", "-+0123456789"),
):
    _PlainLoader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), list(_first)
    )


def compose(text: str, *, plain: bool = False, most: int = 0) -> yaml.Node | None:
    """Return the tree of a YAML text, None for an empty one; raise Unreadable.

    `plain`: words like `yes`, dates and 1:30 stay text. `most` allows another number of nodes (0: the
    usual one, which is enough for what people write).
    """
    loader: _Loader | None = None
    try:
        loader = (_PlainLoader if plain else _Loader)(text)
        loader.most = most or loader.most
        return loader.get_single_node()
    except yaml.reader.ReaderError as error:
        position = int(error.position)
        line, column = place(text, position)
        raise Unreadable(Mistake(line, f"This is no YAML: {error.reason}.", column)) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        where = (mark.line + 1, mark.column + 1) if mark else (1, 0)
        raise Unreadable(Mistake(where[0], f"This is no YAML: {problem}.", where[1])) from None
    finally:
        if loader is not None:
            loader.dispose()


def construct(node: yaml.Node) -> Any:
    """Return the plain value of a node: scalars by YAML's safe tags, keys always as text."""
    if isinstance(node, yaml.MappingNode):
        return {str(construct(key)): construct(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [construct(item) for item in node.value]
    constructor = yaml.constructor.SafeConstructor()
    try:
        value = constructor.construct_object(node, deep=True)
    except _BAD_SCALAR:
        return node.value  # an unknown tag or an impossible date: the text, which validation then refuses
    return node.value if isinstance(value, int) and value.bit_length() > _LONGEST_NUMBER else value


def repeated_keys(node: yaml.Node) -> Iterator[Mistake]:
    """Yield a mistake for each key that a mapping holds twice."""
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            text = str(key.value)
            if text in seen:
                yield Mistake(
                    line_of(key),
                    f"Key {short(text)!r} is already given in line {seen[text]}.",
                    column_of(key),
                )
            seen.setdefault(text, line_of(key))
            yield from repeated_keys(value)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from repeated_keys(item)


def line_of(node: yaml.Node) -> int:
    """Return the 1-based line at which a node starts."""
    return int(node.start_mark.line) + 1


def column_of(node: yaml.Node) -> int:
    """Return the 1-based column at which a node starts."""
    return int(node.start_mark.column) + 1


def find(node: yaml.Node, location: Sequence[int | str]) -> yaml.Node:
    """Return the deepest node on the way of a validation error's location (the key, for a bad key)."""
    for position, part in enumerate(location):
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if str(key.value) == str(part):
                    node = key if position == len(location) - 1 else value
                    break
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
    return node


def at(node: yaml.Node, location: Sequence[int | str]) -> yaml.Node | None:
    """Return the node of the value at `location`, or None when there is none."""
    for part in location:
        if isinstance(node, yaml.MappingNode):
            found = next((value for key, value in node.value if str(key.value) == str(part)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            found = node.value[part]
        else:
            found = None
        if found is None:
            return None
        node = found
    return node


def short(text: str) -> str:
    """Return the text, its middle left out when it is long."""
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST // 2]}…{text[-_WIDEST // 2 :]}"


def place(text: str, index: int) -> tuple[int, int]:
    """Return the 1-based line and column of a character of a text."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def place_within(node: yaml.ScalarNode, text: str) -> Callable[[int], tuple[int, int]]:
    """Return a function from an offset in a scalar's value to its line and column in the file's text.

    The value is aligned with its source, whatever the style: plain, quoted (with escapes), literal or
    folded. Where they cannot be aligned, the place is the scalar's first character.
    """
    start, end = int(node.start_mark.index), int(node.end_mark.index)
    indexes = _align(str(node.value), text, start, end, node.style or "")

    def where(offset: int) -> tuple[int, int]:
        if not indexes:
            return place(text, start)
        if offset < len(indexes):
            return place(text, indexes[offset])
        return place(text, indexes[-1] + 1)

    return where


_BREAK = re.compile(r"\\\r?\n[ \t]*")
_ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
_SPACE = " \t\r\n"


def _align(value: str, text: str, start: int, end: int, style: str) -> list[int]:
    """Return the index in `text` of each character of `value`; empty when they do not fit.

    White space of the source that the value lacks (indentation, folded lines) is passed over.
    """
    now = text.find("\n", start) + 1 if style in ("|", ">") else start + len(style)
    indexes: list[int] = []
    for character in value:
        while style == '"' and (broken := _BREAK.match(text, now)):
            now = broken.end()  # an escaped line break stands for nothing
        while now < end and text[now] in _SPACE and character not in _SPACE:
            now += 1
        if now >= end:
            return indexes
        indexes.append(now)
        if style == '"' and (escape := _ESCAPE.match(text, now)):
            now = escape.end()
        elif text[now] == character:
            now += 2 if style == "'" == character else 1
        elif character in _SPACE and text[now] in _SPACE:
            now += 1
        else:
            return []
    return indexes
