"""What every model API's codec offers: texts of a request, the outcome of a reply, and streams of both."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import msgspec

SYSTEM_ROLES = frozenset({"system", "developer"})
"""Roles whose text is the agent's own configuration."""

NO_OUTPUT: dict[str, Any] = {"content": None, "tool_calls": [], "finish_reason": "stop"}
"""The outcome of a reply that says nothing."""


class Slot(msgspec.Struct, eq=False):
    """One text of a request: where it stands and how to replace it.

    `item` is the message that holds it (the request body itself for a bare string).
    """

    role: str
    text: str
    item: dict[str, Any]
    holder: dict[str, Any]
    key: str

    def replace(self, text: str) -> None:
        """Put `text` in this place."""
        self.holder[self.key] = self.text = text


class ToolReturn(msgspec.Struct, eq=False):
    """A tool's result as it stands in a request, with the call that it answers."""

    id: str
    name: str
    arguments: str
    slot: Slot


class Codec(Protocol):
    """One model API's formats; `chat_codec` and `responses_codec` are modules of this shape."""

    def system(self, body: dict[str, Any]) -> str:
        """Return the system prompt of a request, or an empty string."""

    def slots(self, body: dict[str, Any]) -> list[Slot]:
        """Return every text of a request, in order."""

    def tool_returns(self, body: dict[str, Any]) -> list[ToolReturn]:
        """Return the tool results in a request, in order."""

    def add(self, body: dict[str, Any], text: str, *, after: dict[str, Any] | None = None) -> dict[str, Any]:
        """Insert a user message after item `after` (before the last user message if None); return it."""

    def remove(self, body: dict[str, Any], slot: Slot) -> None:
        """Take the message that holds `slot` out, or empty it where the request would become invalid."""

    def outcome(self, data: dict[str, Any]) -> dict[str, Any]:
        """Return a reply as {"content", "tool_calls", "finish_reason"}."""

    def with_outcome(self, data: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
        """Return a copy of reply `data` that says `outcome` and keeps every other field."""

    def tokens(self, data: dict[str, Any]) -> tuple[int, int]:
        """Return the tokens in and out that the provider counted (0 when it did not)."""

    def ended(self, tail: bytes) -> bool:
        """Return whether the last bytes of a stream hold its end marker."""

    def from_events(self, events: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
        """Return the reply that a stream of events amounts to, or None if it never began or failed."""

    def to_events(self, data: dict[str, Any], body: dict[str, Any]) -> Iterator[bytes]:
        """Yield the server-sent events that carry reply `data` to a client that asked with `body`."""


_decode = msgspec.json.Decoder().decode


def decoded(raw: bytes) -> Any:
    """Return the JSON value of `raw`, or None if it is none."""
    try:
        return _decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # json reads more than JSON: NaN, lone surrogates
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def read_events(raw: bytes) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a server-sent event stream, skipping what is none."""
    if b"\r" in raw:
        raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[bytes] = []
    for block in raw.split(b"\n\n"):
        if block.startswith(b"data:") and b"\n" not in block:
            data = block[5:].strip()
        else:
            data = b"\n".join([line[5:].strip() for line in block.split(b"\n") if line.startswith(b"data:")])
        if data and data != b"[DONE]":
            found.append(data)
    for value in _decoded_together(found):
        if isinstance(value, dict):
            yield value


def _decoded_together(texts: list[bytes]) -> Iterable[Any]:
    """Return the JSON values of many texts; as one list they are decoded faster."""
    try:
        values = _decode(b"[" + b",".join(texts) + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        values = ()
    return values if len(values) == len(texts) else map(decoded, texts)


def part_slots(role: str, item: dict[str, Any], key: str) -> Iterator[Slot]:
    """Yield the texts of a message field that is a string or a list of parts."""
    content = item.get(key)
    if isinstance(content, str):
        yield Slot(role, content, item, item, key)
    elif isinstance(content, list):
        for part in content:
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                yield Slot(role, part["text"], item, part, "text")


def index_of(items: list[Any], item: object) -> int:
    """Return the position of this very object in the list, or -1."""
    return next((position for position, other in enumerate(items) if other is item), -1)


def insert_user(items: list[Any], text: str, *, place: int = -1) -> dict[str, Any]:
    """Insert a user message at `place` (-1: before the last user message, else at the end); return it."""
    if place < 0:
        users = (i for i in reversed(range(len(items))) if isinstance(items[i], dict)
                 and items[i].get("role") == "user")  # fmt: skip
        place = next(users, len(items))
    message = {"role": "user", "content": text}
    items.insert(place, message)
    return message


def calls_of(outcome: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the well-formed tool calls of an outcome."""
    calls = outcome.get("tool_calls")
    return [call for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []


def argument_text(arguments: Any) -> str:
    """Return tool call arguments as the text a model writes."""
    return arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
