"""Freezing: a value becomes the bytes that are judged and run, whoever changes the value later."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from masfire.trace.limits import exceeds_depth
from masfire.trace.payload import ENVELOPE, MAX_DEPTH, Payload, pack

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
_ENVELOPE = ENVELOPE.encode()


def freeze(value: Any) -> tuple[Payload, Any]:
    """Return `value` as a payload and what that decodes to (None: decode it yourself); raise as `pack` does.

    The copy comes for nothing: what decodes to an equal value has kept everything, which is the proof that
    the payload is the value.
    """
    try:
        raw = _encode(value)
        if _ENVELOPE not in raw and (len(raw) <= MAX_DEPTH or not exceeds_depth(raw, MAX_DEPTH)):
            copy = _decode(raw)
            if copy == value:
                return Raw(raw), copy
    except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError):
        pass  # said more precisely below
    return pack(value), None


__all__ = ["freeze"]
