"""One line of a trace file: a checksum, a sequence number, and a record.

    {"crc":"5f3a90c1","seq":7,"record":"step","step":6,"time":…,"agent":…,"body":{…}}

`crc` is the CRC-32 (8 hex digits) of every byte after the field's comma up to the newline, continued
from the header's own value (the header starts at 0), so that a line of another run does not fit in.
`seq` counts the lines of one writer. Lines of a forked or joining process carry `writer` after `seq`;
the first of them is a `join` record that says how many steps this writer knew when it began.
A `torn` record disowns the fragment (of `bytes` bytes) that a full disk left behind.
"""

from __future__ import annotations

from collections.abc import Callable
from zlib import crc32

import msgspec
from msgspec import Struct

from masfire.trace.model import Drawn, End, Header, Original, Step

HEAD = 18
"""Bytes before the checked part: ``{"crc":"xxxxxxxx",``."""

MAIN = ""
"""The writer id of the process that created the file; not written down."""


BEGINNING = b'{"crc":"'
_VERSION = b'"masfire":"trace/'
_NEAR = 4096
"""Bytes of a first line in which its version stands."""


def recognizable(beginning: bytes) -> bool:
    """Return whether a file that begins so is a trace, however damaged: one cut to nothing is, too."""
    if beginning.startswith(BEGINNING[: len(beginning)]):
        return True
    first, _, _ = beginning[:_NEAR].partition(b"\n")
    return _VERSION in first.replace(b" ", b"")


class Join(Struct, frozen=True, omit_defaults=True):
    """The first line of a further writer.

    `steps` visible steps were known to it; they are numbered as writer `origin` numbers them, or, when
    `origin` is None, as a reader of the file does.
    """

    steps: int
    origin: str | None = None


class Torn(Struct, frozen=True):
    """Says that this writer left a fragment of `bytes` bytes, whose step it never acknowledged."""

    bytes: int


class Envelope(Struct, frozen=True):
    """What every line says about itself."""

    seq: int
    record: str
    writer: str = MAIN


_encoder = msgspec.json.Encoder()
_KINDS: dict[type, bytes] = {
    Header: b"header",
    Step: b"step",
    End: b"end",
    Join: b"join",
    Torn: b"torn",
    Original: b"original",
    Drawn: b"drawn",
}
decode_envelope = msgspec.json.Decoder(Envelope).decode
decode_step = msgspec.json.Decoder(Step).decode
decode_header = msgspec.json.Decoder(Header).decode
decode_end = msgspec.json.Decoder(End).decode
decode_original = msgspec.json.Decoder(Original).decode
decode_drawn = msgspec.json.Decoder(Drawn).decode
decode_join = msgspec.json.Decoder(Join).decode
decode_torn = msgspec.json.Decoder(Torn).decode


encode_record: Callable[[Struct], bytes] = _encoder.encode
"""Return the JSON object of a record, without the line's own fields."""


def compose(kind: type, encoded: bytes, seq: int, *, seed: int = 0, writer: str = MAIN) -> bytes:
    """Return the finished line (with newline) for an encoded record of type `kind`."""
    if writer:
        rest = b'"seq":%d,"writer":"%b","record":"%b",' % (seq, writer.encode(), _KINDS[kind]) + encoded[1:]
    else:
        rest = b'"seq":%d,"record":"%b",%b' % (seq, _KINDS[kind], encoded[1:])
    return b'{"crc":"%08x",%b\n' % (crc32(rest, seed), rest)


def intact(line: bytes, seed: int) -> bool:
    """Return whether a line (without newline) carries the checksum of its own bytes."""
    return line[:HEAD] == b'{"crc":"%08x",' % crc32(line[HEAD:], seed)


def checksum_of(line: bytes) -> int:
    """Return the checksum that an intact line carries."""
    return int(line[8:16], 16)
