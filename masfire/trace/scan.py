"""Who did what, read without looking at payloads: for statistics and graphs of long traces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from masfire.errors import TraceError

_BLOCK = 1 << 17
_SEQ = 24
"""Where the sequence number begins: behind ``{"crc":"xxxxxxxx","seq":``."""

_PLAIN = re.compile(
    rb'[^,]*,"record":"step","step":[^,]*,"time":[^,]*,'
    rb'("agent":"[^"\\\n]*","body":\{"type":"[^"]*"(?:,"kind":"[^"\\\n]*"|(?!,"kind")))'
)
"""Classes of one character are the fast ones; a match cannot leave its line, whose fields it names."""

_STEP = re.compile(
    rb'\{"crc":"[^"]*","seq":\d+,(?:"writer":"[^"]*",)?"record":"step","step":-?\d+,"time":[^,]*,'
    rb'("agent":"(?:[^"\\]|\\.)*","body":\{"type":"[a-z]+"(?:,"kind":"(?:[^"\\]|\\.)*")?)'
)


class Seen(Struct, frozen=True, gc=False):
    """One visible step as a scan sees it; `type` is the body's ("message", "action", …)."""

    step: int
    agent: str
    kind: str
    type: str


def scan(path: str | os.PathLike[str]) -> Iterator[Seen]:
    """Yield the visible steps of a trace file in order, unverified: no checksum, no payload is looked at.

    Injections are left out. Stops before an unfinished last line. Raise TraceError for a line that
    does not begin like a trace line. Needs a file that masfire wrote (the order of fields is fixed).
    """
    heads: dict[bytes, tuple[str, str, str] | None] = {}
    step = base = 0
    match = _PLAIN.match
    with open(path, "rb") as file:
        rest = b""
        while more := file.read(_BLOCK):
            block, position = rest + more, 0
            find = block.find
            while True:
                found = match(block, position + _SEQ)
                end = find(b"\n", position if found is None else found.end())
                if end < 0:
                    break
                head = _head(block[position:end]) if found is None else found[1]
                try:
                    who = heads[head]  # type: ignore[index]  # None is no key, which is the point
                except KeyError:
                    if head is None:
                        raise _strange(path, base + position) from None
                    who = heads[head] = _decoded(head)
                if who is not None:
                    yield Seen(step, *who)
                    step += 1
                position = end + 1
            rest = block[position:]
            base += position


def _head(line: bytes) -> bytes | None:
    """Return what a less usual line says of itself; nothing for other records, None for no trace line."""
    found = _STEP.match(line)
    if found is not None:
        return found[1]
    return None if b'"record":"step"' in line[:90] or not line.startswith(b'{"crc":"') else b""


def _decoded(head: bytes) -> tuple[str, str, str] | None:
    """Return agent, kind and type; None for what a scan leaves out."""
    if not head:
        return None
    fields = msgspec.json.decode(b"{" + head + b"}}")
    body = fields["body"]
    kind = body["type"]
    return None if kind == "injection" else (fields["agent"], body.get("kind", kind), kind)


def _strange(path: str | os.PathLike[str], offset: int) -> TraceError:
    with open(path, "rb") as file:
        line = sum(file.read(min(_BLOCK, offset - at)).count(b"\n") for at in range(0, offset, _BLOCK)) + 1
    return TraceError("the line does not begin like a step", path=os.fspath(path), line=line, offset=offset)
