"""The scalars of a JSON value by their path, also of JSON that is written as text inside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from msgspec import Struct

INSIDE = "$inside"
"""Path element that enters the JSON which a text holds."""

LABELS = frozenset({"role", "name", "id", "type", "tool_call_id", "call_id", "finish_reason"})
"""Keys whose values label an item of a conversation instead of saying something."""

_CONVERSATION = ("content", "arguments", "args", "role")
_MAX_DEPTH = 64
_BEGINS = frozenset("{[`")
_SCALARS = frozenset({int, float, bool, type(None)})
_FENCE = re.compile(r"^\s*```[a-zA-Z]*[ \t]*\n(.*?)\n?```\s*$", re.DOTALL)
_INDENT = re.compile(r"[\[{]\n( *)")

Path: TypeAlias = "tuple[str | int, ...]"


class Embedded(Struct, frozen=True):
    """JSON inside a text: its value, and how to write another value in its place and style."""

    value: Any
    prefix: str
    suffix: str
    indent: int | None
    compact: bool

    def render(self, value: Any) -> str:
        """Return the text with `value` in place of the original value."""
        separators = (",", ":") if self.compact else None
        text = json.dumps(value, ensure_ascii=False, indent=self.indent, separators=separators)
        return f"{self.prefix}{text}{self.suffix}"


def embedded(text: str) -> Embedded | None:
    """Return the JSON object or array that `text` is (bare or in a code fence), else None."""
    if text.lstrip()[:1] not in _BEGINS:
        return None  # nearly all texts are none, and are asked often
    start, end = 0, len(text)
    fence = _FENCE.match(text) if "```" in text else None
    if fence is not None:
        start, end = fence.span(1)
    inner = text[start:end]
    core = inner.strip()
    if core[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(core)
    except (ValueError, RecursionError):
        return None
    lead, tail = len(inner) - len(inner.lstrip()), len(inner.rstrip())
    indent = _INDENT.match(core)
    compact = indent is None and ": " not in core and ", " not in core
    return Embedded(
        value, text[: start + lead], text[start + tail :], len(indent[1]) if indent else None, compact
    )


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every scalar of a JSON value with its path; texts that hold JSON are entered.

    What lies deeper than 64 levels is left out.
    """
    found: list[tuple[Path, Any]] = []
    _gather(value, path, found, frozenset())
    return iter(found)


def spoken(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves that say something: not the labels (role, name, id) of a conversation's items."""
    found: list[tuple[Path, Any]] = []
    _gather(value, (), found, LABELS)
    return iter(found)


def _gather(value: Any, path: Path, found: list[tuple[Path, Any]], labels: frozenset[str]) -> None:
    """Append the leaves of a value; in an item of a conversation those under `labels` are left out."""
    if len(path) > _MAX_DEPTH:
        return
    if isinstance(value, str):
        inner = embedded(value)
        if inner is None:
            found.append((path, value))
        else:
            _gather(inner.value, (*path, INSIDE), found, labels)
    elif isinstance(value, (dict, list)) and len(path) < _MAX_DEPTH:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        conversation = labels and isinstance(value, dict) and any(key in value for key in _CONVERSATION)
        for key, item in pairs:
            skipped = conversation and key in labels
            kind = type(item)
            if kind in _SCALARS or (kind is str and item[:1].isalnum()):  # nearly all: no JSON inside
                if not skipped:
                    found.append(((*path, key), item))
            elif not skipped or isinstance(item, (dict, list)):
                _gather(item, (*path, key), found, labels)
            elif isinstance(item, str) and (inner := embedded(item)) is not None:
                _gather(inner.value, (*path, key, INSIDE), found, labels)
    elif not isinstance(value, (dict, list)):
        found.append((path, value))


def texts(value: Any) -> list[str]:
    """Return the texts inside a JSON value, in order."""
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, str)]


def strings(value: Any) -> list[str]:
    """Return the texts of a JSON value as they are written, in order; JSON inside them is not entered."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in strings(item)] if isinstance(value, list) else []


def get(value: Any, path: Path) -> Any:
    """Return what stands at `path`; raise LookupError when there is nothing."""
    for element in path:
        if element == INSIDE and isinstance(value, str):
            inner = embedded(value)
            if inner is None:
                raise LookupError(f"There is no JSON inside the text at {path}.")
            value = inner.value
        elif (isinstance(value, dict) and isinstance(element, str)) or (
            isinstance(value, list) and isinstance(element, int)
        ):
            value = value[element]  # type: ignore[index]
        else:
            raise LookupError(f"There is nothing at {path}.")
    return value
