"""JSON values as they travel inside a step: encoded once, decoded when somebody looks."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, TypeAlias

import msgspec

from masfire.errors import RefusedValue
from masfire.trace.limits import exceeds_depth

Payload: TypeAlias = msgspec.Raw
"""A JSON value as its UTF-8 bytes. `unpack` gives the Python value."""

ENVELOPE = "$json"
"""Key of the object that carries a value plain JSON cannot: {"$json": "<escaped JSON text>"}."""

MAX_DEPTH = 256
"""Deepest nesting of a payload that is kept."""

MAX_CONTAINERS = 1_000_000
"""Most lists, objects and odd things inside one payload; a cycle reaches it soon enough."""

EMPTY: Payload = msgspec.Raw(b"null")

ABSENT: Payload = msgspec.Raw(b"")
"""No payload at all, which is not the same as null; false in a condition."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


REFUSED = "$refused"
"""Key of what stands for a value that no trace can hold: {"$refused": "<reason>"}."""

_ENVELOPE_KEY = b'"$json":'
_DOLLAR = ord("$")
_SCALARS = frozenset({str, int, float, bool, type(None)})


def pack(value: Any) -> Payload:
    """Return `value` as a payload.

    NaN, infinities and lone surrogates survive inside an envelope. Raise RefusedValue for what no
    trace can hold unchanged: a non-JSON type, a key that is no string, a cycle, nesting beyond
    `MAX_DEPTH`, an integer too long to print. Tuples become lists.
    """
    try:
        raw = _encoder.encode(value)
        # What decodes to an equal value has kept everything: the usual case, and the cheapest proof.
        if not _has_envelope(raw) and not exceeds_depth(raw, MAX_DEPTH) and _decoder.decode(raw) == value:
            return msgspec.Raw(raw)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        pass  # said more precisely below
    return _pack_closely(value)


def pack_flat(values: dict[str, Any]) -> Payload:
    """Return an object of mere text, numbers, booleans and None as a payload; ABSENT if only `pack` can.

    Faster than `pack`: of such values JSON changes none but odd numbers (to null).
    """
    try:
        raw = _encoder.encode(values)
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError):
        return ABSENT
    return ABSENT if raw.find(b"null") >= 0 or _has_envelope(raw) else msgspec.Raw(raw)


def _has_envelope(raw: bytes) -> bool:
    return _DOLLAR in raw and _ENVELOPE_KEY in raw  # a byte is found much faster than bytes are


def pack_or_refuse(value: Any) -> Payload:
    """Return `value` as a payload, whatever it is; never raises.

    Things that are not JSON are told apart from their text: {"$python": "<type>", "text": "<str>"};
    an object with other keys than strings becomes {"$pairs": [[key, value], …]}. What still cannot be
    held (a cycle, a 5,000-digit integer) becomes {"$refused": "<reason>"}.
    """
    try:
        return pack(value)
    except RefusedValue as refused:
        reason = refused.message
    except Exception as failure:  # a user's object may raise anything while it is looked at
        reason = type(failure).__name__
    try:
        return pack(_described(value, 0))
    except RefusedValue as refused:
        reason = refused.message
    except Exception as failure:  # as above
        reason = type(failure).__name__
    return msgspec.Raw(_encoder.encode({REFUSED: reason.encode("utf-8", "backslashreplace").decode()}))


def unpack(payload: Payload) -> Any:
    """Return the Python value of a payload; raise RefusedValue when it is no valid JSON value."""
    if exceeds_depth(bytes(payload), MAX_DEPTH):
        raise _too_deep()
    try:
        value = _decoder.decode(payload)
        if type(value) is dict and len(value) == 1 and type(value.get(ENVELOPE)) is str:
            if exceeds_depth(value[ENVELOPE].encode(), MAX_DEPTH):
                raise _too_deep()
            return json.loads(value[ENVELOPE])
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise RefusedValue(f"A recorded payload cannot be decoded: {error}.") from None
    return value


def _too_deep() -> RefusedValue:
    return RefusedValue(
        "A payload is nested too deeply or contains itself.", hint=f"At most {MAX_DEPTH} levels are recorded."
    )


def _pack_closely(value: Any) -> Payload:
    strange = _stranger(value)
    if strange:
        raise RefusedValue(
            f"A value cannot be recorded as JSON: {strange}.",
            hint="Record strings, numbers, booleans, None, lists and objects with string keys.",
        )
    try:
        raw = _encoder.encode(value)
    except (TypeError, ValueError, OverflowError) as error:
        return _wrap(value, error)
    except RecursionError:
        raise _too_deep() from None
    if (b"null" in raw and _has_odd_float(value)) or _has_envelope(raw):
        return _wrap(value, None)
    return msgspec.Raw(raw)


def _wrap(value: Any, cause: Exception | None) -> Payload:
    try:
        text = json.dumps(value, ensure_ascii=True, allow_nan=True)
    except RecursionError:
        raise _too_deep() from None
    except (TypeError, ValueError) as error:
        raise RefusedValue(
            f"A value cannot be recorded as JSON: {error if cause is None else cause}."
        ) from None
    return msgspec.Raw(_encoder.encode({ENVELOPE: text}))


def _stranger(value: Any) -> str:
    """Return what in a value JSON would change silently, or an empty string; goes level by level."""
    if type(value) in _SCALARS:
        return ""
    level, seen, depth = [value], 0, 0
    while level:
        depth += 1
        seen += len(level)
        if depth > MAX_DEPTH or seen > MAX_CONTAINERS:
            raise _too_deep()
        deeper: list[Any] = []
        for item in level:
            kind = type(item)
            if kind is dict or isinstance(item, dict):
                try:
                    "".join(item)  # refuses other keys than strings, fastest
                except TypeError:
                    return _odd_key(item)
                inner = item.values()
            elif kind is list or isinstance(item, (list, tuple)):
                inner = item
            elif isinstance(item, (str, int, float)) and not isinstance(item, Enum):
                continue  # of a subclass; its value is kept
            else:
                return f"{kind.__name__} is no JSON type"
            deeper += [part for part in inner if type(part) not in _SCALARS]
        level = deeper
    return ""


def _odd_key(item: dict[Any, Any]) -> str:
    odd = next(key for key in item if not isinstance(key, str))
    return f"the key {odd!r:.40} is no string"


def _described(value: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise _too_deep()
    if type(value) in _SCALARS:
        return value
    if isinstance(value, dict):
        if all(type(key) is str for key in value):
            return {key: _described(item, depth + 1) for key, item in value.items()}
        return {
            "$pairs": [
                [_described(key, depth + 1), _described(item, depth + 1)] for key, item in value.items()
            ]
        }
    if isinstance(value, (list, tuple)):
        return [_described(item, depth + 1) for item in value]
    return {"$python": type(value).__qualname__, "text": str(value)}


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
