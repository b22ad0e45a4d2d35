"""Model requests without repetition: a message that was already recorded becomes a reference.

Agents send their whole history with every request. Stored as is, a trace grows with the square of
the run; with references each text is stored once. A reference is {"$ref": [step, field, position]}: the
message at that position of the request recorded at that step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from masfire.errors import RefusedValue
from masfire.trace.payload import Payload, unpack

REF = "$ref"
ITEM = "$item"
"""Key of what stands for an item that looks like our own notation: {"$item": "<its JSON text>"}."""
MIN_LENGTH = 48
"""Shorter messages (bytes of JSON) are stored again: a reference would not save anything."""

_split: msgspec.json.Decoder[dict[str, msgspec.Raw]] = msgspec.json.Decoder(dict[str, msgspec.Raw])
_items: msgspec.json.Decoder[list[msgspec.Raw]] = msgspec.json.Decoder(list[msgspec.Raw])
_encoder = msgspec.json.Encoder()
MAX_EXPANDED = 64 * 1024 * 1024
"""Largest request (bytes of JSON) that is written out."""
LISTS = ("messages", "input", "tools")
"""The request fields whose items are shared between requests."""


class Carrier(Protocol):
    """What carries a payload: a step (its module imports this one)."""

    @property
    def payload(self) -> Payload:
        """Return the payload."""


class ContextTable:
    """Which request items this run has already stored, and where (one per recorder)."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[int, str, int]] = {}

    def shorten(self, request: Payload, step: int) -> Payload:
        """Return the request with items seen before replaced by references; remember the new ones."""
        try:
            fields = _split.decode(request)
        except msgspec.MsgspecError:  # no JSON object, so nothing that could repeat
            return request
        changed = False
        for name in LISTS:
            raw = fields.get(name)
            if raw is None or not bytes(raw).startswith(b"["):
                continue
            items = _items.decode(raw)
            for position, item in enumerate(items):
                key = bytes(item)
                if (b'"$ref"' in key or b'"$item"' in key) and _is_own_notation(item):
                    items[position] = msgspec.Raw(_encoder.encode({ITEM: key.decode()}))
                    changed = True
                    continue
                if len(key) < MIN_LENGTH:
                    continue
                first = self._seen.setdefault(key, (step, name, position))
                if first[0] != step:
                    items[position] = msgspec.Raw(_encoder.encode({REF: first}))
                    changed = True
            fields[name] = msgspec.Raw(_encoder.encode(items))
        return msgspec.Raw(_encoder.encode(fields)) if changed else request

    def forget(self, step: int) -> None:
        """Take back what `shorten` remembered of a step that could not be written."""
        self._seen = {key: place for key, place in self._seen.items() if place[0] != step}


def _is_own_notation(item: msgspec.Raw) -> bool:
    value = unpack(item)
    return isinstance(value, dict) and len(value) == 1 and (REF in value or ITEM in value)


def expand(steps: Sequence[Carrier], index: int) -> Any:
    """Return the request body of the model call at `index` with every reference resolved.

    Raise RefusedValue when it would be larger than `MAX_EXPANDED`.
    """
    return expand_measured(steps, index)[0]


def expand_measured(steps: Sequence[Carrier], index: int, *, limit: int = MAX_EXPANDED) -> tuple[Any, int]:
    """Return the body that `expand` returns and its size in bytes of JSON, of which `limit` are allowed.

    References say little and mean much: a file of 10 MB can ask for terabytes of text.
    """
    request = steps[index].payload
    body = unpack(request)
    size = len(bytes(request))
    if not isinstance(body, dict) or bytes(request).startswith(b'{"$json":'):
        return body, size
    sources: dict[int, dict[str, list[msgspec.Raw]]] = {}
    for name in LISTS:
        items = body.get(name)
        if not isinstance(items, list):
            continue
        for place, item in enumerate(items):
            found = stored(steps, index, item, sources)
            if found is None:
                continue
            size += len(bytes(found))
            if size > limit:
                raise RefusedValue(f"A request written out would be larger than {limit:,} bytes.")
            items[place] = unpack(found)
    return body, size


def stored(
    steps: Sequence[Carrier], index: int, item: Any, sources: dict[int, dict[str, list[msgspec.Raw]]]
) -> msgspec.Raw | None:
    """Return the JSON that an item in our own notation stands for; None for any other item.

    The item is one of the request at step `index`; `sources` keeps the requests that were split before.
    """
    if not (isinstance(item, dict) and len(item) == 1):
        return None
    if isinstance(item.get(ITEM), str):
        return msgspec.Raw(item[ITEM].encode())
    match item.get(REF):
        case [int(step), str(name), int(position)] if 0 <= step < index and position >= 0:
            if step not in sources:
                sources[step] = _lists(steps[step].payload)
            items = sources[step].get(name, [])
            return items[position] if position < len(items) else None
    return None  # not written by a ContextTable


def _lists(request: Payload) -> dict[str, list[msgspec.Raw]]:
    try:
        fields = _split.decode(request)
    except msgspec.MsgspecError:
        return {}
    found = ((name, fields[name]) for name in LISTS if name in fields)
    return {name: _items.decode(raw) for name, raw in found if bytes(raw).startswith(b"[")}
