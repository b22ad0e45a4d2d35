"""Who did what, read without looking at payloads: for statistics and graphs of long traces."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec
from msgspec import Struct

from masfire.errors import TraceError

_BLOCK = 1 << 20
_STEP = re.compile(
    rb'\{"crc":"[^"]*","seq":\d+,(?:"writer":"[^"]*",)?"record":"step",'
    rb'"step":-?\d+,"time":[^,]*,"agent":"((?:[^"\\]|\\.)*)",'
    rb'"body":\{"type":"([a-z]+)"(?:,"kind":"((?:[^"\\]|\\.)*)")?'
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
    names = _Names()
    step = number = offset = 0
    match = _STEP.match
    with open(path, "rb") as file:
        rest = b""
        while block := file.read(_BLOCK):
            split = (rest + block).split(b"\n")
            rest = split.pop()
            for line in split:
                found = match(line)
                number += 1
                if found is not None:
                    agent, body, kind = found.groups()
                    if body != b"injection":
                        yield Seen(step, names[agent], names[kind or body], names[body])
                        step += 1
                elif b'"record":"step"' in line[:90] or not line.startswith(b'{"crc":"'):
                    raise TraceError(
                        "a line does not begin like a step", path=os.fspath(path), line=number, offset=offset
                    )
                offset += len(line) + 1


class _Names(dict[bytes, str]):
    """Decoded names by their JSON text; a run has few of them."""

    def __missing__(self, raw: bytes) -> str:
        name: str = msgspec.json.decode(b'"' + raw + b'"')
        self[raw] = name
        return name
