"""Event logs that masfire did not record, read as steps of kind `event`, one at a time.

Two forms. `events`: one event a line, ``name,arg1,arg2,…``; a field may be quoted as in CSV (RFC 4180,
within its line), space around an unquoted one is not part of it, and canonical numbers
(``-?(0|[1-9]\\d*)(\\.\\d+)?``) are numbers. There are no comments. `jsonl`: one JSON object a line, whose
fields are named by a map. Blank lines count as lines and are no events.
"""

from __future__ import annotations

import math
import os
import re
from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

from masfire.errors import RefusedValue, TraceError, UnknownName, UsageError
from masfire.trace.limits import Limits, exceeds_depth
from masfire.trace.model import Action, Step
from masfire.trace.payload import MAX_DEPTH, pack, unpack

FORMS = ("events", "jsonl")
"""The forms of a log."""

FIELDS = ("name", "agent", "role", "time", "args")
"""What a field of a JSON Lines log can be; `args` is by default the rest of the object."""

STANDARD = "-"
"""The path that means standard input."""

_LIMITS = Limits(line_bytes=1024 * 1024)
is_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?").fullmatch
"""Whether a field is a canonical number."""
_FIELD = re.compile(r'\s*+(?:"((?:[^"]|"")*+)"|([^",\s][^,]*+|))\s*+(,|$)')
_LONGEST_NUMBER = 300
"""Characters; what is longer fits no float and stays text."""
_SECONDS = re.compile(r"[+-]?[0-9]{1,18}(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,3})?")
_COLUMNS = "Columns are counted from 0, where the event's name usually stands; -1 is the last."

_encode = msgspec.json.Encoder().encode


class EventLog:
    """One log: iterating yields its events as steps in constant memory; `line` says where one stands.

    `time_column` is the 0-based column of a line that holds its time (negative: from the end); it is
    taken out before name and arguments are counted. Times are seconds since the epoch or ISO 8601
    (without an offset: UTC). `fields` says which field of an object (dotted: of an object within) is the
    event's name, agent, role, time, args. Raise UsageError for wrong options and a column that holds no
    time, TraceError with line and byte for a line that cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        form: str = "events",
        time_column: int | None = None,
        fields: Mapping[str, str] | None = None,
        limits: Limits = _LIMITS,
    ) -> None:
        self.path = os.fspath(path)
        self._limits = limits
        self._fields = dict(fields or {})
        self._time_column = time_column
        self._read = self._reader(form)
        self.again = self.path != STANDARD
        """Whether the log can be read a second time."""
        self.timed = time_column is not None or (form == "jsonl" and "time" in self._fields)
        self.steps = 0
        self._line = self._offset = 0
        self._firsts = array("q", [0])
        self._shifts = array("q", [1])

    def __iter__(self) -> Iterator[Step]:
        self.steps = self._line = self._offset = 0
        self._firsts, self._shifts = array("q", [0]), array("q", [1])
        with self._opened() as file:
            while raw := file.readline(self._limits.line_bytes + 1):
                self._line += 1
                text = self._text(raw)
                if text:
                    if self._line - self.steps != self._shifts[-1]:
                        self._firsts.append(self.steps)
                        self._shifts.append(self._line - self.steps)
                    if self.steps >= self._limits.steps:
                        raise self._wrong(f"there are more than {self._limits.steps:,} events")
                    yield self._read(text)
                    self.steps += 1
                self._offset += len(raw)

    def line(self, step: int) -> int:
        """Return the 1-based line of an event that was read."""
        return step + self._shifts[bisect_right(self._firsts, step) - 1]

    def _reader(self, form: str) -> Callable[[str], Step]:
        if form == "events":
            if self._fields:
                raise UsageError("A field map is for JSON Lines.", hint="Use --format-in jsonl.")
            return self._row
        if form != "jsonl":
            raise UnknownName("log format", form, FORMS)
        if self._time_column is not None:
            raise UsageError("JSON Lines have no columns.", hint="Name the time's field: --map time=FIELD.")
        for field in self._fields:
            if field not in FIELDS:
                raise UnknownName("field", field, FIELDS)
        self._paths = {field: path.split(".") for field, path in self._fields.items()}
        self._paths.setdefault("name", ["name"])
        return self._object

    def _opened(self) -> BinaryIO:
        if self.path == STANDARD:
            return open(0, "rb", closefd=False)
        return open(self.path, "rb")

    def _text(self, raw: bytes) -> str:
        if len(raw) > self._limits.line_bytes:
            raise self._wrong(f"the line is longer than {self._limits.line_bytes:,} bytes")
        try:
            return raw.decode("utf-8-sig" if self._line == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise self._wrong(f"the line is no UTF-8 text: {error.reason}") from None

    def _row(self, text: str) -> Step:
        row = self._quoted(text) if '"' in text else [field.strip() for field in text.split(",")]
        time = 0.0
        if self._time_column is not None:
            time = self._time(row, self._time_column)
        if not row or not row[0]:
            raise self._wrong("the event has no name: its first field is empty")
        # numbers are copied as written, so that no digit is lost
        args = ",".join(
            [
                field if is_number(field) and len(field) <= _LONGEST_NUMBER else _encode(field).decode()
                for field in row[1:]
            ]
        )
        return Step(
            self.steps, time, "", Action("event", row[0], msgspec.Raw(b'{"args":[%b]}' % args.encode()))
        )

    def _quoted(self, text: str) -> list[str]:
        row: list[str] = []
        place = 0
        while found := _FIELD.match(text, place):
            quoted, plain, comma = found.groups()
            row.append(plain.strip() if quoted is None else quoted.replace('""', '"'))
            if not comma:
                return row
            place = found.end()
        raise self._wrong(
            f"the quoting is wrong at column {place + 1}: a quoted field ends on its line with a quote, "
            "and a quote within it is doubled"
        )

    def _time(self, row: list[str], column: int) -> float:
        try:
            text = row.pop(column)
        except IndexError:
            raise UsageError(
                f"There is no column {column}: the line has {len(row)}.", hint=_COLUMNS, where=self._where
            ) from None
        seconds = _seconds(text)
        if seconds is None:
            raise UsageError(
                f"Column {column} holds {text[:60]!r}, which is no time (seconds or ISO 8601).",
                hint=_COLUMNS,
                where=self._where,
            )
        return seconds

    def _object(self, text: str) -> Step:
        found = self._decoded(text)
        name = _taken(found, self._paths["name"])
        if not isinstance(name, str) or not name:
            path = ".".join(self._paths["name"])
            raise UsageError(
                f"The event has no name: field {path!r} is {'absent' if name is None else 'no text'}.",
                hint=f"Say which field is its name: --map name=FIELD. Its fields: {_listed(found)}.",
                where=self._where,
            )
        time = 0.0
        if "time" in self._paths:
            told = _taken(found, self._paths["time"])
            seconds = _seconds(told)
            if seconds is None:
                path = ".".join(self._paths["time"])
                raise UsageError(
                    f"Field {path!r} is {str(told)[:60]!r}, which is no time (seconds or ISO 8601).",
                    where=self._where,
                )
            time = seconds
        agent, role = (
            str(_taken(found, self._paths[field]) or "") if field in self._paths else ""
            for field in ("agent", "role")
        )
        if "args" in self._paths:
            args = _taken(found, self._paths["args"])
        else:
            used = {path[0] for path in self._paths.values() if len(path) == 1}
            args = {key: value for key, value in found.items() if key not in used}
        try:
            body = Action("event", name, pack({"args": args}))
        except RefusedValue as refused:
            raise self._wrong(refused.message) from None
        return Step(self.steps, time, agent, body, role=role)

    def _decoded(self, text: str) -> dict[str, Any]:
        raw = text.encode()
        if exceeds_depth(raw, MAX_DEPTH - 2):
            raise self._wrong(f"the line nests deeper than {MAX_DEPTH - 2} levels")
        try:
            found = unpack(msgspec.Raw(raw))
        except RefusedValue as refused:
            raise self._wrong(refused.message) from None
        if not isinstance(found, dict):
            raise self._wrong("the line is no JSON object")
        return found

    @property
    def _where(self) -> str:
        return f"{self.path}:{self._line}"

    def _wrong(self, reason: str) -> TraceError:
        return TraceError(reason, path=self.path, line=self._line, offset=self._offset)


def _seconds(value: Any) -> float | None:
    """Return a time in seconds since the epoch, or None for what is none."""
    if isinstance(value, str):
        text = value.strip()
        if _SECONDS.fullmatch(text):
            return float(text)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return None
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            seconds = float(value)
        except OverflowError:
            return None
        return seconds if math.isfinite(seconds) else None
    return None


def _taken(found: Any, path: list[str]) -> Any:
    """Return what an object holds at a path, or None."""
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def _listed(found: dict[str, Any]) -> str:
    names = [repr(name)[:40] for name in list(found)[:12]]
    return ", ".join(names) or "none"
