"""JSON values as they travel inside a step: encoded once, decoded when somebody looks."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import msgspec

from masfire.errors import RefusedValue

Payload: TypeAlias = msgspec.Raw
"""A JSON value as its UTF-8 bytes. `unpack` gives the Python value."""

ENVELOPE = "$json"
"""Key of the object that carries a value plain JSON cannot: {"$json": "<escaped JSON text>"}."""

MAX_DEPTH = 200
"""Deepest nesting of a payload that is kept."""

EMPTY: Payload = msgspec.Raw(b"null")

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


def pack(value: Any) -> Payload:
    """Return `value` as a payload.

    NaN, infinities and lone surrogates survive inside an envelope. Raise RefusedValue for what no
    trace can hold: a non-JSON type, a cycle, nesting beyond `MAX_DEPTH`, an integer too long to print.
    """
    try:
        raw = _encoder.encode(value)
    except (UnicodeEncodeError, TypeError, ValueError, OverflowError) as error:
        return _wrap(value, error)
    except RecursionError:
        raise RefusedValue(
            "A payload is nested too deeply or contains itself.",
            hint=f"At most {MAX_DEPTH} levels are recorded.",
        ) from None
    if (b"null" in raw and _has_odd_float(value)) or (b'"' + ENVELOPE.encode() + b'":' in raw):
        return _wrap(value, None)
    if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH and depth_of(raw) > MAX_DEPTH:
        raise RefusedValue(f"A payload is nested deeper than {MAX_DEPTH} levels.")
    return msgspec.Raw(raw)


def unpack(payload: Payload) -> Any:
    """Return the Python value of a payload."""
    value = _decoder.decode(payload)
    if type(value) is dict and len(value) == 1 and ENVELOPE in value:
        return json.loads(value[ENVELOPE])
    return value


def depth_of(raw: bytes) -> int:
    """Return how deeply the brackets of JSON text nest, without recursion."""
    depth = deepest = 0
    in_string = escaped = False
    for byte in raw:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in (0x5B, 0x7B):
            depth += 1
            deepest = max(deepest, depth)
        elif byte in (0x5D, 0x7D):
            depth -= 1
    return deepest


def _wrap(value: Any, cause: Exception | None) -> Payload:
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise RefusedValue(
            f"A value cannot be recorded as JSON: {error if cause is None else cause}.",
            hint="Record strings, numbers, booleans, None, lists and objects with string keys.",
        ) from None
    if depth_of(text.encode()) > MAX_DEPTH:
        raise RefusedValue(f"A payload is nested deeper than {MAX_DEPTH} levels.")
    return msgspec.Raw(_encoder.encode({ENVELOPE: text}))


def _has_odd_float(value: Any) -> bool:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, float):
            if item != item or item in (float("inf"), float("-inf")):
                return True
        elif isinstance(item, dict):
            stack.extend(item.values())
        elif isinstance(item, (list, tuple)):
            stack.extend(item)
    return False
