"""The append-only log of decisions: one hash-chained line each, written with one system call."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire.errors import MasfireError, RecordingError, UsageError
from masfire.governance.ruling import Ruling
from masfire.trace.redact import Redactor

GENESIS = "0" * 64
MAX_LINE = 1 << 20
"""Longest line (bytes) that is read; a longer one is damage."""
MAX_HARMLESS = 4_096
"""Combinations of names known to hold no secret."""
MAX_OWN = 1_000
"""Longest id and reason (characters, together) that are written without a closer look."""
MAX_TEXT = 2_000
"""Longest name, reason or piece of evidence (characters) that is written."""
MAX_EVIDENCE = 50


class Entry(Struct, frozen=True, gc=False, omit_defaults=True):
    """One decision, as logged.

    `seq` counts from 0 without gaps; `prev` is the `hash` of the line before; `time` in seconds since
    the epoch; `event` is `decision`, `finish` (what came of an allowed action), `head` (the first line)
    or `note` (a quarantine, an allocation of time). `proposed` and `executed` are hex SHA-256.
    """

    seq: int
    prev: str
    time: float
    event: str
    run: str = ""
    agent: str = ""
    role: str = ""
    identity: str = ""
    kind: str = ""
    name: str = ""
    id: str = ""
    outcome: str = ""
    rule: str = ""
    reason: str = ""
    evidence: tuple[str, ...] = ()
    proposed: str = ""
    executed: str = ""
    ticket: int = 0
    ok: bool | None = None


class AuditError(MasfireError):
    """An audit log that does not verify; `line` is 1-based."""

    exit_code = 1

    def __init__(self, reason: str, *, path: str, line: int) -> None:
        self.line = line
        super().__init__(reason, where=f"{path}:{line}")


class NoAuditLog(UsageError):
    """A file in which no line is one of an audit log: nothing was tampered with, the wrong file was named."""


_encode = msgspec.json.Encoder().encode
_sha256 = hashlib.sha256
_forks = 0
"""How many forks this process is away from the first; a log belongs to the process that opened it."""


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)
_here: dict[tuple[int, int], int] = {}
"""Device and inode of the logs that are open, and after how many forks each was opened."""
_decode = msgspec.json.Decoder(Entry).decode
_HEX = 64
_LINE = re.compile(rb"[0-9a-f]{%d} \{" % _HEX)


class AuditLog:
    """Appends decisions to a file; an entry is written when `append` returns.

    Each line is `<64 hex digits> <JSON>`, the digits being SHA-256 over the JSON, which names the
    digits of the line before; with `key`, HMAC-SHA-256, so that who can write the file but lacks the
    key cannot forge a chain. One process writes a log at a time (an exclusive lock); its threads share
    it. Secrets are redacted. An existing log is verified before it is continued. A chain alone cannot
    show that its end was cut off: keep `head()` elsewhere and hand it to `verify`.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        key: bytes | None = None,
        redactor: Redactor | None = None,
        fsync: bool = False,
    ) -> None:
        self.path = Path(path)
        self._key, self._fsync = key, fsync
        self._redactor = redactor or Redactor()
        self._lock = threading.Lock()
        self._harmless: dict[tuple[str, ...], str] = {}
        self._owner = _forks
        self._seq, self._prev = 0, GENESIS
        self._fd = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._begin()
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _file(self) -> tuple[int, int]:
        found = os.fstat(self._fd)
        return found.st_dev, found.st_ino

    def _begin(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise RecordingError(f"The audit log {self.path} is no regular file.")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if _here.get(self._file()) == _forks:
                raise RecordingError(
                    f"This process writes the audit log {self.path} already.",
                    hint="Hand that AuditLog to each governor, or close it first.",
                ) from None
            raise RecordingError(
                f"Another process writes the audit log {self.path}.", hint="Give each process its own."
            ) from None
        _here[self._file()] = _forks
        for entry, mark in read(self.path, key=self._key):
            self._seq, self._prev = entry.seq + 1, mark
        if self._seq == 0:
            self.append("head", 0.0, rule="masfire: audit/v1")

    def append(self, event: str, time: float, **fields: Any) -> int:
        """Write one entry and return its `seq`; raise RecordingError when it cannot be written."""
        with self._lock:
            entry = Entry(self._seq, self._prev, time, event, **fields)
            return self._put(entry)

    def decision(self, ruling: Ruling, time: float) -> int:
        """Write one decision and return its `seq`; raise RecordingError when it cannot be written."""
        asked = ruling.proposal
        said = (
            asked.run, asked.agent, asked.role, asked.identity, asked.kind, asked.name,
            ruling.outcome._value_, ruling.rule,
        )  # fmt: skip
        words = self._harmless.get(said)
        if words is not None and (asked.id or ruling.reason or ruling.evidence):
            words = self._with_own(words, ruling)
        with self._lock:
            seq = self._seq
            if words is not None:
                return self._line(seq, (
                    f'{{"seq":{seq},"prev":"{self._prev}","time":{_encode(time).decode()},'
                    f'"event":"decision",{words}'
                    f'"proposed":"{ruling.proposed}","executed":"{ruling.executed}","ticket":{ruling.ticket}}}'
                ).encode())  # fmt: skip
            self._put(Entry(
                seq, self._prev, time, "decision", asked.run, asked.agent, asked.role, asked.identity,
                asked.kind, asked.name, asked.id, ruling.outcome.value, ruling.rule, ruling.reason,
                ruling.evidence, ruling.proposed, ruling.executed, ruling.ticket,
            ))  # fmt: skip
        if said not in self._harmless:
            self._learn(said)
        return seq

    def _with_own(self, words: str, ruling: Ruling) -> str | None:
        """Return the words of a decision with its own id and reason; None if they need a closer look."""
        named, reason = ruling.proposal.id, ruling.reason
        if ruling.evidence or len(named) + len(reason) > MAX_OWN:
            return None
        try:
            own = b'"id":%b,' % _encode(named) if named else b""
            if reason:
                own += b'"reason":%b,' % _encode(reason)
        except UnicodeEncodeError:  # half a character
            return None
        return None if self._redactor.suspects(own) else words + own.decode()

    def _learn(self, said: tuple[str, ...]) -> None:
        """Keep how the words of a decision are written, if they hold no secret: a run repeats itself."""
        run, agent, role, identity, kind, name, outcome, rule = said
        body = _safe_encode(
            Entry(0, "", 0.0, "decision", run, agent, role, identity, kind, name, "", outcome, rule)
        )
        head = b'{"seq":0,"prev":"","time":0.0,"event":"decision",'
        if self._redactor.level != "redacted" or self._redactor.suspects(body) or not body.startswith(head):
            return
        if len(self._harmless) >= MAX_HARMLESS:
            self._harmless.clear()
        self._harmless[said] = f"{body[len(head) : -1].decode()},"

    def _put(self, entry: Entry) -> int:
        return self._line(entry.seq, self._encode(entry))

    def _line(self, seq: int, body: bytes) -> int:
        """Write one line whole and, if asked for, durably; or take it back and raise RecordingError."""
        if self._fd < 0 or self._owner != _forks:
            raise RecordingError(f"The audit log {self.path} is closed here.")
        mark = _sha256(body).hexdigest() if self._key is None else _mark(body, self._key)
        line = b"".join((mark.encode(), b" ", body, b"\n"))
        written = 0
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(errno.ENOSPC, "short write")
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError as error:
            self._take_back(written)
            raise RecordingError(f"{self.path} cannot be written: {error.strerror or error}.") from None
        self._seq, self._prev = seq + 1, mark
        return seq

    def head(self) -> tuple[int, str]:
        """Return how many lines there are and the hash of the last: what `verify` can be held to."""
        with self._lock:
            return self._seq, self._prev

    def close(self) -> None:
        """Release the file; nothing more can be written."""
        with self._lock:
            if self._fd >= 0:
                _here.pop(self._file(), None)
                os.close(self._fd)
                self._fd = -1

    def __enter__(self) -> AuditLog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _encode(self, entry: Entry) -> bytes:
        body = _safe_encode(entry)
        if self._redactor.level != "redacted" or self._redactor.suspects(body):
            clean = self._redactor.value(
                {"reason": entry.reason, "evidence": list(entry.evidence), "name": entry.name,
                 "agent": entry.agent, "identity": entry.identity, "id": entry.id, "run": entry.run,
                 "role": entry.role, "rule": entry.rule}
            )  # fmt: skip
            clean = {
                name: value if isinstance(value, list) else _text(value) for name, value in clean.items()
            }
            clean["evidence"] = tuple(_text(item) for item in clean["evidence"])
            return _safe_encode(msgspec.structs.replace(entry, **clean))
        return body

    def _take_back(self, written: int) -> None:
        try:
            if written:
                os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
        except OSError:  # half a line stays: nothing can follow it
            os.close(self._fd)
            self._fd = -1


def read(path: str | os.PathLike[str], *, key: bytes | None = None) -> Iterator[tuple[Entry, str]]:
    """Yield the entries of a log with their hashes; raise AuditError at the first that does not fit.

    Raise NoAuditLog for a file that never was one.
    """
    prev, line = GENESIS, 0
    with open(path, "rb") as stream:
        while raw := stream.readline(MAX_LINE + 1):
            line += 1
            try:
                entry, mark = _parse(raw, str(path), line, key)
            except AuditError:
                if line == 1 and not _LINE.match(raw) and not any(map(_LINE.match, stream)):
                    raise _unknown(path, raw) from None
                why = _other_key(raw, stream.readline(MAX_LINE + 1), key) if line == 1 else ""
                if why:
                    raise AuditError(why, path=str(path), line=line) from None
                raise
            if entry.seq != line - 1 or entry.prev != prev:
                raise AuditError(
                    f"Line {line} does not follow the one before: a line was removed, added or moved.",
                    path=str(path),
                    line=line,
                )
            prev = mark
            yield entry, mark


def verify(
    path: str | os.PathLike[str], *, key: bytes | None = None, head: tuple[int, str] | None = None
) -> tuple[int, str]:
    """Return (lines, last hash) of a log that is whole; raise AuditError naming the first bad line.

    `head` is what `AuditLog.head` said at some time: the log must still hold that line, so a cut end
    is noticed.
    """
    lines, last, met = 0, GENESIS, head is None or head == (0, GENESIS)
    for entry, mark in read(path, key=key):
        lines, last = entry.seq + 1, mark
        met = met or (lines, mark) == head
    if lines == 0:
        raise AuditError("The log is empty: not even its first line is there.", path=str(path), line=1)
    if not met and head is not None:
        raise AuditError(
            f"The log held {head[0]} lines ending in {head[1][:12]}…; that line is not there any more: "
            f"its end was cut off or it was written anew.",
            path=str(path),
            line=min(lines, head[0]),
        )
    return lines, last


def _unknown(path: str | os.PathLike[str], begins: bytes) -> NoAuditLog:
    shown = begins[:40].decode("utf-8", "replace").rstrip("\n\ufffd")
    return NoAuditLog(
        f"This is no audit log: no line of it begins with a hash, the first with {shown!r}.",
        hint="Name the file that the governor's AuditLog writes.",
        where=str(path),
    )


def _other_key(first: bytes, second: bytes, key: bytes | None) -> str:
    """Return what is to be said of a log whose first line's hash does not fit because of its key.

    Empty when the line itself must have been changed: the next one fits the key and names its hash.
    """
    if not (_LINE.match(first) and first.endswith(b"\n")):
        return ""
    mark, body = first[:_HEX], first[_HEX + 1 : -1]
    if hmac.compare_digest(mark, _mark(body, key).encode()):
        return ""
    if key is not None and hmac.compare_digest(mark, _mark(body, None).encode()):
        return "This log has no key: its hashes fit without one, so nothing shows who wrote it."
    fits = hmac.compare_digest(second[:_HEX], _mark(second[_HEX + 1 : -1], key).encode())
    if second and (fits or b'"prev":"%b"' % mark not in second):
        return ""
    given = "this key" if key is not None else "no key (`--key-file` gives one)"
    return f"No hash fits with {given}: the log has another key, or it was altered from its first line on."


def _parse(raw: bytes, path: str, line: int, key: bytes | None) -> tuple[Entry, str]:
    if not raw.endswith(b"\n") or len(raw) > MAX_LINE or raw[_HEX : _HEX + 1] != b" ":
        raise AuditError("The line is not complete.", path=path, line=line)
    mark, body = raw[:_HEX], raw[_HEX + 1 : -1]
    if not hmac.compare_digest(mark, _mark(body, key).encode()):
        raise AuditError("The line was altered: its hash does not fit.", path=path, line=line)
    try:
        return _decode(body), mark.decode("ascii")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AuditError(f"The line is no entry: {error}.", path=path, line=line) from None


def _mark(body: bytes, key: bytes | None) -> str:
    if key is None:
        return hashlib.sha256(body).hexdigest()
    return hmac.digest(key, body, "sha256").hex()


def _safe_encode(entry: Entry) -> bytes:
    """Return an entry as a line's body that the reader takes: no text of a model makes it too long."""
    said = (entry.run, entry.agent, entry.role, entry.identity, entry.kind, entry.name, entry.id, entry.rule,
             entry.reason)  # fmt: skip
    evidence = entry.evidence
    if max(map(len, said)) > MAX_TEXT or (
        evidence and (len(evidence) > MAX_EVIDENCE or max(map(len, evidence)) > MAX_TEXT)
    ):
        cut = {
            name: value[:MAX_TEXT] for name in entry.__struct_fields__
            if isinstance(value := getattr(entry, name), str)
        }  # fmt: skip
        kept = tuple(item[:MAX_TEXT] for item in evidence[:MAX_EVIDENCE])
        entry = msgspec.structs.replace(entry, **cut, evidence=kept)
    try:
        return _encode(entry)
    except UnicodeEncodeError:  # half a character in a name or a reason
        texts = {
            name: _text(value) for name in entry.__struct_fields__
            if isinstance(value := getattr(entry, name), str)
        }  # fmt: skip
        evidence = tuple(_text(item) for item in entry.evidence)
        return _encode(msgspec.structs.replace(entry, **texts, evidence=evidence))


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else str(value)
    return text.encode("utf-8", "backslashreplace").decode()
