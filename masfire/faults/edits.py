"""Edits on text and JSON: every editable leaf of a payload by its path, also inside JSON written as text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeAlias

from msgspec import Struct

INSIDE = "$inside"
"""Path element that enters the JSON which a text holds."""

LABELS = frozenset({"role", "name", "id", "type", "tool_call_id", "call_id", "finish_reason"})
"""Keys whose values label an item instead of saying something."""

Path: TypeAlias = "tuple[str | int, ...]"

_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?```\s*$", re.DOTALL)
_MAX_DEPTH = 64


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
    start, end = 0, len(text)
    fence = _FENCE.match(text)
    if fence is not None:
        start, end = fence.span(1)
    inner = text[start:end]
    lead, tail = len(inner) - len(inner.lstrip()), len(inner.rstrip())
    core = inner.strip()
    if core[:1] not in ("{", "["):
        return None
    try:
        value = json.loads(core)
    except (ValueError, RecursionError):
        return None
    newline = re.match(r"[\[{]\n( *)", core)
    compact = newline is None and ": " not in core and ", " not in core
    return Embedded(
        value,
        text[: start + lead],
        text[start + tail :],
        len(newline[1]) if newline else None,
        compact,
    )


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every scalar of a JSON value with its path; texts that hold JSON are entered."""
    if len(path) > _MAX_DEPTH:
        return
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from leaves(item, (*path, position))
    elif isinstance(value, str):
        inner = embedded(value)
        if inner is None:
            yield path, value
        else:
            yield from leaves(inner.value, (*path, INSIDE))
    else:
        yield path, value


def spoken(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield the leaves that say something: not the labels (role, name, id, type) of an item."""
    for path, leaf in leaves(value):
        if not (_last_key(path) in LABELS and _is_label(value, path)):
            yield path, leaf


def get(value: Any, path: Path) -> Any:
    """Return what stands at `path`; raise LookupError when there is nothing."""
    for element in path:
        if element == INSIDE and isinstance(value, str):
            inner = embedded(value)
            if inner is None:
                raise LookupError(f"no JSON inside the text at {path}")
            value = inner.value
        else:
            value = value[element]
    return value


def replaced(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of `value` with `new` at `path`; nothing that `value` holds is changed."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if head == INSIDE and isinstance(value, str):
        inner = embedded(value)
        if inner is None:
            raise LookupError(f"no JSON inside the text at {path}")
        return inner.render(replaced(inner.value, rest, new))
    if isinstance(value, dict):
        return {**value, head: replaced(value[str(head)], rest, new)}
    items = list(value)
    items[int(head)] = replaced(items[int(head)], rest, new)
    return items


def removed(value: Any, path: Path) -> Any:
    """Return a copy of `value` without the field or item at `path`."""
    parent = get(value, path[:-1])
    if isinstance(parent, dict):
        rest: Any = {key: item for key, item in parent.items() if key != path[-1]}
    else:
        rest = [item for position, item in enumerate(parent) if position != path[-1]]
    return replaced(value, path[:-1], rest)


def texts(value: Any) -> list[str]:
    """Return the texts inside a JSON value, in order."""
    return [leaf for _, leaf in leaves(value) if isinstance(leaf, str)]


def carries(received: Any, sent: Any) -> bool:
    """Return whether what was received contains what was sent, unchanged.

    Texts may arrive inside longer texts (a prompt that quotes them); of structures every scalar must
    be found again.
    """
    if received == sent:
        return True
    if isinstance(sent, str):
        return _found(sent, received)
    there = {(type(leaf), leaf) for _, leaf in leaves(received)}
    whole = "\n".join(texts(received))
    for _, leaf in spoken(sent):
        if isinstance(leaf, str):
            if leaf.strip() not in whole:
                return False
        elif (type(leaf), leaf) not in there and str(leaf) not in whole:
            return False
    return any(True for _ in spoken(sent))


def _found(text: str, received: Any) -> bool:
    wanted = text.strip()
    if not wanted:
        return False
    if isinstance(received, str):
        return wanted in received
    if isinstance(received, dict):
        return any(_found(wanted, item) for item in received.values())
    return isinstance(received, list) and any(_found(wanted, item) for item in received)


def _last_key(path: Path) -> str:
    return path[-1] if path and isinstance(path[-1], str) else ""


def _is_label(value: Any, path: Path) -> bool:
    try:
        parent = get(value, path[:-1])
    except LookupError:
        return False
    return isinstance(parent, dict) and (
        "content" in parent or "arguments" in parent or "args" in parent or "role" in parent
    )
