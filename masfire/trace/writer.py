"""Writing a trace: one checked line with one system call for every step."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from masfire.errors import RecordingError, RefusedValue
from masfire.trace import lines
from masfire.trace.lines import Join, Torn, compose, encode_record
from masfire.trace.model import Drawn, End, Header, Injection, Original, Step, Trace
from masfire.trace.payload import REFUSED, Payload, pack_or_refuse, unpack
from masfire.trace.reader import survey
from masfire.trace.redact import Redactor

Kept = TypeVar("Kept", Original, Drawn)

_HUGE = float("inf")
_NEWLINE = ord("\n")
"""As a number: a byte is found much faster than bytes are."""
_FLAGS = os.O_RDWR | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
_writers: weakref.WeakSet[TraceWriter] = weakref.WeakSet()


class TraceWriter:
    """Appends one run's steps to a file; a kill at any instant loses at most the step in flight.

    The constructor starts a new file (one that exists is replaced); `reopen` goes on with one. A step
    counts as recorded when `write` returns. Threads may share a writer. A forked child goes on in the
    same file as a writer of its own. `fsync=True` also survives a power cut (about 1,000 times slower).
    Without `redactor` secrets are written as they come.
    """

    header: Header
    _lock: threading.Lock
    _redactor: Redactor | None
    _fsync: bool
    _forked: bool
    _writer: str
    _fd: int

    def __init__(
        self,
        path: str | os.PathLike[str],
        header: Header,
        *,
        redactor: Redactor | None = None,
        fsync: bool = False,
    ) -> None:
        self._begin(path, redactor, fsync)
        self.header = redactor.header(header) if redactor is not None else header
        encoded = encode_record(self.header)
        with _recording(self.path):
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(os.stat(self.path).st_mode):  # /dev/null must not be replaced by a file
                    raise OSError(errno.EINVAL, "it is there and is no regular file")
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.path)
            self._open(os.O_CREAT | os.O_EXCL)
            self._append(Header, encoded)
            if fsync:
                _sync_directory(self.path)
        self._seed = lines.checksum_of(compose(Header, encoded, 0))

    @classmethod
    def reopen(
        cls, path: str | os.PathLike[str], *, redactor: Redactor | None = None, fsync: bool = False
    ) -> TraceWriter:
        """Go on writing an interrupted trace, or join the processes that are writing it.

        A torn last line is cut off when nobody else has the file open. `steps` of the result says how
        many visible steps are there already. Raise TraceError when the file is damaged elsewhere and
        RecordingError when its run has ended.
        """
        self = cls.__new__(cls)
        self._begin(path, redactor, fsync)
        with _recording(self.path):
            self._open(0)
            alone = self._alone()
            try:
                found = survey(self.path)
                if found.ended:
                    raise RecordingError(f"The run of {self.path} has ended; nothing can be added to it.")
                self.header, self._seed, self.steps = found.header, found.seed, found.steps
                if alone and found.torn:
                    os.ftruncate(self._fd, found.size)
                if alone and found.writers == 1:
                    self._seq = found.seq
                else:
                    self._join(Join(found.steps))
            except BaseException:
                os.close(self._fd)
                raise
            finally:
                if alone:
                    _share(self._fd)
        return self

    def write(self, step: Step) -> Step:
        """Append one step; return it as stored. Raise RecordingError when it could not be written.

        A step that was refused leaves no trace; the next one may succeed.
        """
        step, encoded = store(step, self._redactor)
        with self._lock:
            if self._fd < 0:
                raise RecordingError(f"{self.path} is closed; step {step.step} was not recorded.")
            if self._forked:
                self._continue_in_child()
            self._append(Step, encoded)
            if type(step.body) is not Injection:
                self.steps = step.step + 1
        return step

    def keep(self, kept: Kept) -> Kept:
        """Append what a replay needs; return it as stored. Raise RecordingError like `write`."""
        kept = _kept(kept, self._redactor)
        with self._lock:
            if self._fd < 0:
                raise RecordingError(f"{self.path} is closed; what a replay needs was not recorded.")
            if self._forked:
                self._continue_in_child()
            self._append(type(kept), _encode(kept))
        return kept

    def close(self, end: End | None = None) -> End | None:
        """Write the end record, if any, and release the file; return the record as stored.

        A forked child's end is not the run's.
        """
        if end is not None and self._redactor is not None:
            end = self._redactor.end(end)
        with self._lock:
            if self._fd < 0:
                return end
            try:
                if end is not None and not (self._forked or self._writer):
                    self._append(End, _encode(end))
            finally:
                os.close(self._fd)
                self._fd = -1
        return end

    def __enter__(self) -> TraceWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin(self, path: str | os.PathLike[str], redactor: Redactor | None, fsync: bool) -> None:
        self.path = Path(path)
        self.steps = 0
        self._redactor = redactor
        self._fsync = fsync
        self._lock = threading.Lock()
        self._forked = False
        self._writer = lines.MAIN
        self._seq = self._seed = self._debt = 0
        self._fd = -1
        _writers.add(self)

    def _open(self, flags: int) -> None:
        self._fd = os.open(self.path, _FLAGS | flags, 0o666)
        _share(self._fd)

    def _alone(self) -> bool:
        """Return whether no other process has the file open for writing; if so, keep them out."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _share(self._fd)
            return False
        return True

    def _append(self, kind: type, encoded: bytes) -> None:
        """Write a line whole, or raise RecordingError with nothing of it left to be taken for a line."""
        seq = self._seq
        if self._debt:
            torn = compose(Torn, encode_record(Torn(self._debt)), seq, seed=self._seed, writer=self._writer)
            seq += 1
            line = b"\n" + torn + compose(kind, encoded, seq, seed=self._seed, writer=self._writer)
        else:
            line = compose(kind, encoded, seq, seed=self._seed, writer=self._writer)
        try:
            written = os.write(self._fd, line)
        except OSError as failure:
            raise _failed(self.path, failure) from failure
        if written != len(line):
            self._take_back(written)
            raise _failed(self.path, OSError(errno.ENOSPC, f"only {written} of {len(line)} bytes fitted"))
        if self._fsync:
            try:
                os.fdatasync(self._fd)
            except OSError as failure:
                self._take_back(written)
                raise _failed(self.path, failure) from failure
        self._seq, self._debt = seq + 1, 0

    def _take_back(self, written: int) -> None:
        """Remove what a failed write left, or owe the reader an explanation when others wrote since."""
        if self._alone():
            try:
                end = os.lseek(self._fd, 0, os.SEEK_CUR)
                if os.fstat(self._fd).st_size == end:
                    os.ftruncate(self._fd, end - written)
                    return
            except OSError:
                pass  # the same as when others have the file open
            finally:
                _share(self._fd)
        if self._debt:  # a second time: what is owed can no longer be told, so this writer ends
            os.close(self._fd)
            self._fd = -1
        self._debt = written

    def _continue_in_child(self) -> None:
        """Become a writer of one's own after a fork: the numbering is shared up to here only."""
        inherited, origin = self._fd, self._writer
        with _recording(self.path):
            self._open(0)
        os.close(inherited)
        self._forked = False
        self._join(Join(self.steps, origin))

    def _join(self, join: Join) -> None:
        self._writer, self._seq, self._debt = f"{os.getpid()}-{os.urandom(4).hex()}", 0, 0
        self._append(Join, encode_record(join))


def save_trace(trace: Trace, path: str | os.PathLike[str]) -> None:
    """Write a whole trace to a file, replacing one that is there only when all is written.

    Nothing is redacted: a recorded trace already is. Raise RecordingError when it cannot be written.
    """
    target = Path(path)
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    with _recording(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    marks: dict[int, list[Step]] = {}
    for mark in trace.injections:
        marks.setdefault(mark.step, []).append(mark)
    originals = {original.call: original for original in trace.originals}
    try:
        with TraceWriter(part, trace.header) as writer:
            for drawn in trace.draws:
                writer.keep(drawn)
            for step in trace.steps:
                for mark in marks.pop(step.step, ()):
                    writer.write(mark)
                writer.write(step)
                if step.step in originals:
                    writer.keep(originals[step.step])
            for rest in marks.values():
                for mark in rest:
                    writer.write(mark)
            writer.close(trace.end)
        with _recording(target):
            os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


class MemorySink:
    """Keeps a run in memory only, redacted like a file would be."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        self._redactor = redactor

    def write(self, step: Step) -> Step:
        """Return the step as a file would store it."""
        return store(step, self._redactor)[0]

    def keep(self, kept: Kept) -> Kept:
        """Return what a replay needs as a file would store it."""
        return _kept(kept, self._redactor)

    def close(self, end: End | None = None) -> End | None:
        """Return the end record as a file would store it; nothing is held open."""
        return self._redactor.end(end) if end is not None and self._redactor is not None else end


def _kept(kept: Kept, redactor: Redactor | None) -> Kept:
    if redactor is None or isinstance(kept, Drawn):  # numbers hold no secret
        return kept
    return redactor.original(kept)


def store(step: Step, redactor: Redactor | None) -> tuple[Step, bytes]:
    """Return a step as it is stored, and its JSON: without secrets, on one line.

    Payloads must come from `pack`, which proves that they can be read again.
    """
    try:
        encoded = encode_record(step)
        readable = _NEWLINE not in encoded and -_HUGE < step.time < _HUGE
    except ValueError:
        readable = False
    if not readable:
        step = _mended(step)
        encoded = encode_record(step)
    if redactor is None or redactor.leaves(step, encoded):
        return step, encoded
    step = redactor.step(step)
    return step, encode_record(step)


def _encode(record: Any) -> bytes:
    try:
        return encode_record(record)
    except (UnicodeEncodeError, ValueError):
        return encode_record(_mended(record))


def _mended(record: Any) -> Any:
    """Return a record with unprintable names escaped visibly and unreadable payloads marked as refused."""
    changes: dict[str, Any] = {}
    for field in record.__struct_fields__:
        value = getattr(record, field)
        if isinstance(value, str):
            changes[field] = value.encode("utf-8", "backslashreplace").decode()
        elif isinstance(value, tuple) and value and isinstance(value[0], str):
            changes[field] = tuple(part.encode("utf-8", "backslashreplace").decode() for part in value)
        elif isinstance(value, float) and not abs(value) < float("inf"):
            changes[field] = 0.0
        elif isinstance(value, Payload) and value:
            changes[field] = _readable(value)
        elif isinstance(value, msgspec.Struct) and not isinstance(value, Payload):
            changes[field] = _mended(value)
    return msgspec.structs.replace(record, **changes)


def _readable(payload: Payload) -> Payload:
    try:
        return pack_or_refuse(unpack(payload))
    except RefusedValue as refused:
        return pack_or_refuse({REFUSED: refused.message})


@contextlib.contextmanager
def _recording(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        raise _failed(path, failure) from failure


def _failed(path: Path, failure: OSError) -> RecordingError:
    reason = failure.strerror or str(failure)
    full = failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    hint = "Free some space, or record elsewhere." if full else "Check the folder and its permissions."
    return RecordingError(f"The trace {path} cannot be written: {reason}.", hint=hint)


def _share(descriptor: int) -> None:
    with contextlib.suppress(OSError):  # a file system without locks: writers then never count as alone
        fcntl.flock(descriptor, fcntl.LOCK_SH)


def _sync_directory(path: Path) -> None:
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _after_fork() -> None:
    for writer in list(_writers):
        writer._lock = threading.Lock()  # a thread of the parent may have held it
        writer._forked = True


os.register_at_fork(after_in_child=_after_fork)
