"""Trace files that no writer wrote: any content, under right checksums."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from zlib import crc32


def message(content: Any, **fields: Any) -> dict[str, Any]:
    """Return the body of a message step."""
    return {"type": "message", "to": ["b"], "content": content, **fields}


def request(proposed: Any) -> dict[str, Any]:
    """Return the body of a model call."""
    return {"type": "action", "kind": "model_call", "name": "m", "proposed": proposed}


def step(index: int, body: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Return the fields of a step line."""
    return {"record": "step", "step": index, "time": 1.0, "agent": "a", "body": body, **fields}


class Forger:
    """Writes lines one after the other; each gets its checksum and, unless it brings one, its number."""

    def __init__(self, path: Path, **header: Any) -> None:
        self.path, self.seed, self.seq = path, 0, 0
        path.write_bytes(b"")
        head = {"record": "header", "run": "r", "masfire": "trace/v1", **header}
        self.seed = int(self.add(head)[8:16], 16)

    def add(self, fields: dict[str, Any], **own: Any) -> bytes:
        """Append a line of these fields; `own` (seq, writer) come first. Return the line."""
        if not own:
            own, self.seq = {"seq": self.seq}, self.seq + 1
        return self.add_raw(json.dumps({**own, **fields}, separators=(",", ":"))[1:].encode())

    def add_raw(self, rest: bytes) -> bytes:
        """Append a line whose checked bytes are `rest`; return it."""
        line = b'{"crc":"%08x",' % crc32(rest, self.seed) + rest
        with self.path.open("ab") as file:
            file.write(line + b"\n")
        return line
