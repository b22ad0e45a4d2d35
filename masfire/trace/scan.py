"""Who did what, read without looking at payloads: for statistics and graphs of long traces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from masfire.errors import TraceError

_BLOCK = 1 << 20
_SEQ = 24
"""Where the sequence number begins: behind ``{"crc":"xxxxxxxx","seq":``."""

_STEP = re.compile(
    rb'\d+,(?:"writer":"[^"]*",)?"record":"step","step":-?\d+,"time":[^,]*,'
    rb'("agent":"[^"\\]*(?:\\.[^"\\]*)*","body":\{"type":"[a-z]+"(?:,"kind":"[^"\\]*(?:\\.[^"\\]*)*")?)'
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
    heads = _Heads()
    step = base = number = 0
    match = _STEP.match
    with open(path, "rb") as file:
        rest = b""
        while block := file.read(_BLOCK):
            lines = (rest + block).split(b"\n")
            rest = lines.pop()
            for index, line in enumerate(lines):
                found = match(line, _SEQ)
                if found is not None:
                    who = heads[found[1]]
                    if who is not None:
                        yield Seen(step, *who)
                        step += 1
                elif b'"record":"step"' in line[:90] or not line.startswith(b'{"crc":"'):
                    offset = base + sum(len(before) + 1 for before in lines[:index])
                    reason = "the line does not begin like a step"
                    raise TraceError(reason, path=os.fspath(path), line=number + index + 1, offset=offset)
            base += sum(map(len, lines)) + len(lines)
            number += len(lines)


class _Heads(dict[bytes, "tuple[str, str, str] | None"]):
    """What the heads of steps say, decoded once each; a run has few different ones."""

    def __missing__(self, head: bytes) -> tuple[str, str, str] | None:
        fields = msgspec.json.decode(b"{" + head + b"}}")
        body = fields["body"]
        kind = body["type"]
        who = None if kind == "injection" else (fields["agent"], body.get("kind", kind), kind)
        if len(self) < _MOST_HEADS:
            self[head] = who
        return who


_MOST_HEADS = 100_000
