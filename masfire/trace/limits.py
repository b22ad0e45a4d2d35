"""How much of a trace file a reader is willing to take in."""

from __future__ import annotations

import re

from msgspec import Struct

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
_OPENING = (0x5B, 0x7B)


class Limits(Struct, frozen=True):
    """Bounds that a reader enforces before it decodes a line.

    `line_bytes` is the longest line, `steps` the most steps (visible and hidden together), `depth` the
    deepest nesting of brackets in one line (a payload is decoded only up to `payload.MAX_DEPTH`).
    """

    line_bytes: int = 64 * 1024 * 1024
    steps: int = 20_000_000
    depth: int = 500


def exceeds_depth(raw: bytes, limit: int) -> bool:
    """Return whether the brackets of JSON text nest deeper than `limit`, without recursion."""
    if len(raw) <= 2 * limit or raw.count(b"[") + raw.count(b"{") <= limit:
        return False
    depth = 0
    for token in _TOKENS.finditer(raw):
        first = raw[token.start()]
        if first in _OPENING:
            depth += 1
            if depth > limit:
                return True
        elif first != 0x22:
            depth -= 1
    return False
