"""Reading a trace: every line is checked before it is believed."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias, TypeVar
from zlib import crc32

import msgspec
from msgspec import Struct

from masfire.errors import NoTrace, TraceError
from masfire.trace import lines
from masfire.trace.limits import Limits, exceeds_depth
from masfire.trace.lines import Join
from masfire.trace.migrations import Migration, route
from masfire.trace.model import TRACE_VERSION, Drawn, End, Header, Injection, Original, Step, Trace
from masfire.trace.numbering import Numbering

Record: TypeAlias = Header | Step | End

T = TypeVar("T")

_BLOCK = 1 << 17
_OVERHEAD = len('{"crc":"00000000","seq":1,"record":"step","step":0,"time":1,"agent":"","body":{"type":"x"}}')
_FRAGMENTS = 64
"""Places of one damaged line at which a whole line is looked for."""

_UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, MemoryError, ValueError)
_NO_LIMITS = Limits()


def read_trace(
    path: str | os.PathLike[str], *, limits: Limits = _NO_LIMITS, tolerate_torn_tail: bool = False
) -> Trace:
    """Return the trace in a file, every line verified.

    Raise TraceError (line, offset, reason, and the good part as `prefix`) for anything that is not as
    it was written, also for a last line that a killed writer left unfinished; with
    `tolerate_torn_tail` such a line, whose step nobody was told is recorded, is left out instead. A
    run that was killed between two lines reads without error; its `end` is None. Raise NoTrace for a
    file that never was a trace, OSError when it cannot be opened.
    """
    reading = _Reading(os.fspath(path), limits, tolerant=tolerate_torn_tail)
    steps: list[Step] = []
    injections: list[Step] = []
    try:
        for record in reading.records():
            if type(record) is Step:
                (injections if isinstance(record.body, Injection) else steps).append(record)
    except TraceError as error:
        if reading.header is not None:
            error.prefix = Trace(
                reading.header,
                tuple(steps),
                tuple(reading.settled(injections)),
                None,
                tuple(reading.originals),
                tuple(reading.draws),
            )
        raise
    hidden = tuple(reading.settled(injections))
    kept = tuple(reading.originals), tuple(reading.draws)
    return Trace(reading.begun(), tuple(steps), hidden, reading.end, *kept)


def iter_records(
    path: str | os.PathLike[str], *, limits: Limits = _NO_LIMITS, tolerate_torn_tail: bool = False
) -> Iterator[Record]:
    """Yield header, steps (hidden ones too) and end as they stand in the file, in constant memory.

    Raise TraceError like `read_trace`, after the good part was yielded.
    """
    return _Reading(os.fspath(path), limits, tolerant=tolerate_torn_tail).records()


class Found(Struct, frozen=True):
    """What a survey of a file found: enough to go on writing it."""

    header: Header
    seed: int
    steps: int
    seq: int
    size: int
    torn: bool
    writers: int
    ended: bool


def survey(path: str | os.PathLike[str]) -> Found:
    """Verify a file up to its torn tail, if any, and return where it stands."""
    reading = _Reading(os.fspath(path), _NO_LIMITS, tolerant=True)
    for _ in reading.records():
        pass
    return Found(
        reading.begun(), reading.seed, reading.steps, reading.seqs[lines.MAIN], reading.offset, reading.torn,
        len(reading.seqs), reading.end is not None,
    )  # fmt: skip


class _Reading:
    """One pass over one file."""

    def __init__(self, path: str, limits: Limits, *, tolerant: bool) -> None:
        self.path, self.limits, self.tolerant = path, limits, tolerant
        self.header: Header | None = None
        self.end: End | None = None
        self.originals: list[Original] = []
        self.draws: list[Drawn] = []
        self.seed = 0
        self.seqs: dict[str, int] = {lines.MAIN: 0}
        self.steps = 0
        self.line = self.offset = 0
        self.torn = False
        self.numbering: Numbering | None = None
        self._torn: dict[int, int] = {}
        self._records = 0
        self._ascii = True
        self._changes: list[Migration] = []

    def begun(self) -> Header:
        """Return the header; raise TraceError when the file has none."""
        if self.header is None:
            raise self._wrong("there is no header line")
        return self.header

    def settled(self, injections: list[Step]) -> list[Step]:
        """Return the hidden steps numbered like the visible ones that they mark."""
        return injections if self.numbering is None else self.numbering.settle(injections)

    def records(self) -> Iterator[Record]:
        """Return one record after the other; `offset` is where the last good line ended."""
        return itertools.chain.from_iterable(map(self._batch, self._batches(0)))

    def _batch(self, batch: list[bytes]) -> Iterator[Record]:
        """Yield what complete lines hold. The loop is the hot path: intact steps of the only writer."""
        start = 0
        if self.header is None:
            yield self._first(batch[0])
            self._pass(batch[:1])
            start = 1
        decode, seed, crc, head = lines.decode_step, self.seed, crc32, lines.HEAD
        longest = max(map(len, batch), default=0)
        harmless = self._harmless
        plain = self._ascii and longest <= 2 * self.limits.depth + _OVERHEAD
        while start < len(batch):
            seq = first = self.seqs[lines.MAIN]
            steps = self.steps
            simple = self.numbering is None and self.end is None and not self._changes
            fast = simple and longest <= self.limits.line_bytes
            for line in batch[start : start + self.limits.steps - self._records] if fast else ():
                if not (
                    line.startswith(
                        b'{"crc":"%08x","seq":%d,"record":"step",' % (crc(line[head:], seed), seq)
                    )
                    and (plain or harmless(line))
                ):
                    break
                try:
                    step = decode(line)
                except _UNDECODABLE:
                    break
                if step.step == steps and type(step.body) is not Injection:
                    steps += 1
                elif type(step.body) is not Injection:
                    break
                yield step
                seq += 1
            index = start + seq - first
            self._records += seq - first
            self._pass(batch[start:index])
            self.seqs[lines.MAIN], self.steps = seq, steps
            if index < len(batch):  # anything else is looked at closely, or judged
                record = self._other(batch[index])
                if record is not None:
                    yield record
                self._pass(batch[index : index + 1])
            start = index + 1

    def _harmless(self, line: bytes) -> bool:
        """Return whether a line is text that nests no deeper than allowed; rarely says no wrongly."""
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError:
                return False
        return (
            len(line) <= 2 * self.limits.depth + _OVERHEAD
            or line.count(b"{") + line.count(b"[") <= self.limits.depth
        )

    def _pass(self, good: list[bytes]) -> None:
        self.line += len(good)
        self.offset += sum(map(len, good)) + len(good)

    def _batches(self, start: int) -> Iterator[list[bytes]]:
        """Yield the lines that end with a newline, block by block; judge what is left at the end."""
        longest = self.limits.line_bytes
        parts: list[bytes] = []
        waiting = 0
        carried = True
        with open(self.path, "rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                batch = block.split(b"\n")
                ascii_block = block.isascii()
                self._ascii, carried = carried and ascii_block, ascii_block and (carried or len(batch) > 1)
                if len(batch) > 1:
                    batch[0] = b"".join([*parts, batch[0]])
                    last = batch.pop()
                    parts, waiting = [last], len(last)
                    yield batch
                else:
                    parts.append(block)
                    waiting += len(block)
                if waiting > longest:
                    raise (
                        self._headless(parts[0])
                        if self.header is None
                        else self._wrong(f"a line is longer than {longest:,} bytes")
                    )
        if self.header is None:
            raise self._headless(b"".join(parts))
        if not waiting:
            return
        if not self.tolerant:
            raise self._wrong("the last line is unfinished: its writer was stopped or the file was cut")
        self.torn = True

    def _first(self, line: bytes) -> Header:
        if not lines.intact(line, 0):
            raise self._headless(line + b"\n", "the checksum of the header does not match")
        self._check(line)
        envelope = self._decode(lines.decode_envelope, line)
        if envelope.record != "header" or envelope.seq != 0:
            raise self._wrong("the file does not begin with a header")
        version = self._decode(_version, line).masfire
        changes = route(version)
        if changes is None:
            raise self._wrong(
                f"version {version!r} cannot be read; this masfire reads {TRACE_VERSION!r} and older"
            )
        self._changes = changes
        self.seed = lines.checksum_of(line)
        self.seqs[lines.MAIN] = 1
        self.header = self._decode(lines.decode_header, self._migrated("header", line))
        return self.header

    def _step(self, line: bytes) -> Step:
        self._check(line)
        try:
            step = lines.decode_step(line)
        except _UNDECODABLE as error:
            raise self._wrong(f"a step cannot be decoded: {error}") from None
        if type(step.body) is not Injection:
            if step.step != self.steps:
                raise self._wrong(f"step {step.step} stands where step {self.steps} was due")
            self.steps += 1
        return step

    def _other(self, line: bytes) -> Record | None:
        """Judge a line that is not simply the next step of the only writer."""
        if not lines.intact(line, self.seed):
            line = self._without_fragment(line)
            if not line:
                return None
        self._check(line)
        envelope = self._decode(lines.decode_envelope, line)
        writer, kind = envelope.writer, envelope.record
        if kind == "join" and writer not in self.seqs and envelope.seq == 0:
            self.seqs[writer] = 0
            self._join(writer, self._decode(lines.decode_join, line))
        due = self.seqs.get(writer)
        if due is None:
            raise self._wrong(f"writer {writer!r} never joined: lines were dropped or moved")
        if envelope.seq != due:
            raise self._wrong(
                f"line number {envelope.seq} stands where {due} was due: dropped, repeated or moved lines"
            )
        self.seqs[writer] = due + 1
        if self.end is not None and writer == lines.MAIN:
            raise self._wrong("a line follows the end of its run")
        if kind in ("join", "torn"):
            return None
        line = self._migrated(kind, line)
        if kind == "end" and writer == lines.MAIN:
            self.end = self._decode(lines.decode_end, line)
            return self.end
        if kind == "original":
            self._original(writer, self._decode(lines.decode_original, line))
            return None
        if kind == "drawn":
            self.draws.append(self._decode(lines.decode_drawn, line))
            return None
        if kind != "step":
            raise self._wrong(f"a record of kind {kind!r} has no place here")
        numbering = self.numbering
        if numbering is None:
            return self._step(line)
        step = self._decode(lines.decode_step, line)
        hidden = isinstance(step.body, Injection)
        self.steps += not hidden
        return self._ordered(lambda: numbering.place(writer, step, hidden=hidden))

    def _original(self, writer: str, original: Original) -> None:
        if self.numbering is not None:
            original = self.numbering.moved(writer, original)
        if not 0 <= original.call < self.steps:
            raise self._wrong(f"a reply to step {original.call} stands before that step")
        self.originals.append(original)

    def _without_fragment(self, line: bytes) -> bytes:
        """Return the whole line that follows the fragment of a failed write; raise for any other damage.

        A fragment counts as such when its writer disowned it later, or when a reader tolerates torn
        ends and one of several writers was killed in the middle of a line.
        """
        start = line.find(lines.BEGINNING, 1)
        for _ in range(_FRAGMENTS):  # each try reads the rest of the line, which may be long
            if start < 0 or lines.intact(line[start:], self.seed):
                break
            start = line.find(lines.BEGINNING, start + 1)
        else:
            start = -1
        length = start if start > 0 else len(line)
        killed = self.tolerant and self.numbering is not None and start > 0
        if not killed and not self._disowned(length, self.offset + len(line) + 1):
            raise self._wrong("the checksum of the line does not match its content")
        return line[start:] if start > 0 else b""

    def _disowned(self, length: int, after: int) -> bool:
        """Return whether a later line says that its writer left a fragment of this many bytes.

        What is found is kept: the file is read ahead at most once more than it has to be.
        """
        if self._torn.get(length, -1) < after:
            ahead = _Reading(self.path, self.limits, tolerant=True)
            ahead.header = self.header
            place = after
            for line in itertools.chain.from_iterable(ahead._batches(after)):
                if b'"record":"torn"' in line[:120] and lines.intact(line, self.seed):
                    self._torn[self._decode(lines.decode_torn, line).bytes] = place
                place += len(line) + 1
        return self._torn.get(length, -1) >= after

    def _migrated(self, kind: str, line: bytes) -> bytes:
        if not self._changes:
            return line
        fields: dict[str, Any] = self._decode(msgspec.json.decode, line)
        for change in self._changes:
            fields = change(kind, fields)
        return msgspec.json.encode(fields)

    def _check(self, line: bytes) -> None:
        """Refuse what is too long, too deep, too much, or no text, before anything is decoded."""
        limits = self.limits
        self._records += 1
        if len(line) > limits.line_bytes:
            raise self._wrong(f"the line is longer than {limits.line_bytes:,} bytes")
        if self._records > limits.steps:
            raise self._wrong(f"there are more than {limits.steps:,} records")
        if exceeds_depth(line, limits.depth):
            raise self._wrong(f"the line nests deeper than {limits.depth} levels")
        if not line.isascii():
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise self._wrong(f"the line is no UTF-8 text: {error.reason}") from None

    def _decode(self, decoder: Callable[[bytes], T], line: bytes) -> T:
        try:
            return decoder(line)
        except _UNDECODABLE as error:
            raise self._wrong(f"the line cannot be decoded: {error}") from None

    def _join(self, writer: str, join: Join) -> None:
        numbering = self.numbering = self.numbering or Numbering(self.steps)
        self._ordered(lambda: numbering.join(writer, join))

    def _ordered(self, place: Callable[[], T]) -> T:
        try:
            return place()
        except ValueError as error:
            raise self._wrong(str(error)) from None

    def _headless(self, beginning: bytes, reason: str = "there is no header line") -> TraceError:
        reason = reason if beginning else "the file is empty"
        return self._wrong(reason) if lines.recognizable(beginning) else NoTrace(self.path, beginning)

    def _wrong(self, reason: str) -> TraceError:
        return TraceError(reason, path=self.path, line=self.line + 1, offset=self.offset)


class _Version(Struct, frozen=True):
    masfire: str = ""


_version = msgspec.json.Decoder(_Version).decode
