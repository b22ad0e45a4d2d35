"""Where schemata and notes are kept: one protocol, SQLite by default, and what every store promises."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from masfire import sqlitefile
from masfire.errors import UsageError
from masfire.knowledge.model import ErrorSchema, MistakeNote

VERSION = 1
SCHEMA, NOTE = "schema", "note"
Entry = TypeVar("Entry", ErrorSchema, MistakeNote)

_TABLES = {
    "entry": "(kind TEXT NOT NULL, id TEXT NOT NULL, status TEXT NOT NULL, subject TEXT NOT NULL, body BLOB "
    "NOT NULL, changed REAL NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID",
    "journal": "(n INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, what TEXT NOT NULL, id TEXT NOT "
    "NULL, why TEXT NOT NULL)",
    "vector": "(embedder TEXT NOT NULL, id TEXT NOT NULL, document INTEGER NOT NULL, vector BLOB NOT NULL, "
    "PRIMARY KEY (embedder, id)) WITHOUT ROWID",
}
"""`vector` keeps vectors of schemata, by embedder, so that a memory opens without embedding everything anew.

An older masfire that shares the file does not know that table; `document` is the CRC of the text a vector
was made from, by which one that it changed is noticed."""


class Store(Protocol):
    """Keeps schemata and notes durably; shared by threads and processes.

    `put` replaces the entry of the same id. What `put` returned from is there after a kill.
    """

    def put(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Write entries, all or none."""

    def remove(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Delete entries; those that are not there are passed over."""

    def schemata(self) -> Iterator[ErrorSchema]:
        """Yield all schemata in order of their ids."""

    def notes(self, *, status: str = "") -> Iterator[MistakeNote]:
        """Yield notes in order of their ids; with `status`, only those."""

    def log(self, what: str, *, entry: str, why: str) -> None:
        """Append a line to the journal of decisions, which is never changed."""

    def journal(self) -> Iterator[tuple[float, str, str, str]]:
        """Yield (seconds since the epoch, what, id, why), oldest first."""

    def close(self) -> None:
        """Release the store."""


class SqliteStore:
    """A store in one SQLite file (write-ahead log); thread-safe, shared by processes."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self._db = sqlitefile.opened(self.path, version=VERSION, tables=_TABLES)
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"The memory {self.path} cannot be used: {error}.",
                hint="Name a file that `masfire learn` made, or a new one.",
            ) from error

    def put(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Write entries, all or none."""
        now = time.time()
        rows = [(*facts(entry), msgspec.json.encode(entry), now) for entry in entries]
        with self._writing() as db:
            db.executemany("INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?)", rows)

    def remove(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Delete entries; those that are not there are passed over."""
        keys = [facts(entry)[:2] for entry in entries]
        with self._writing() as db:
            db.executemany("DELETE FROM entry WHERE kind = ? AND id = ?", keys)
            gone = [(entry,) for kind, entry in keys if kind == SCHEMA]
            db.executemany("DELETE FROM vector WHERE id = ?", gone)

    def schemata(self) -> Iterator[ErrorSchema]:
        """Yield all schemata in order of their ids."""
        with self._lock:
            rows = self._db.execute("SELECT body FROM entry WHERE kind = ? ORDER BY id", (SCHEMA,)).fetchall()
        return decoded(ErrorSchema, (row[0] for row in rows), str(self.path))

    def vectors(self, embedder: str) -> dict[str, tuple[int, bytes]]:
        """Return id → (CRC-32 of its document, float32 vector) as an embedder of this name made them."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, document, vector FROM vector WHERE embedder = ?", (embedder,)
            ).fetchall()
        return {row[0]: (row[1], row[2]) for row in rows}

    def keep_vectors(self, embedder: str, vectors: Iterable[tuple[str, int, bytes]]) -> None:
        """Keep (id, CRC-32 of the document, float32 vector) for the next opening."""
        with self._writing() as db:
            db.executemany(
                "INSERT OR REPLACE INTO vector VALUES (?, ?, ?, ?)",
                ((embedder, *vector) for vector in vectors),
            )

    def notes(self, *, status: str = "") -> Iterator[MistakeNote]:
        """Yield notes in order of their ids; with `status`, only those."""
        query = "SELECT body FROM entry WHERE kind = ? AND (? = '' OR status = ?) ORDER BY id"
        with self._lock:
            rows = self._db.execute(query, (NOTE, status, status)).fetchall()
        return decoded(MistakeNote, (row[0] for row in rows), str(self.path))

    def log(self, what: str, *, entry: str, why: str) -> None:
        """Append a line to the journal of decisions."""
        with self._writing() as db:
            db.execute(
                "INSERT INTO journal (at, what, id, why) VALUES (?, ?, ?, ?)", (time.time(), what, entry, why)
            )

    def journal(self) -> Iterator[tuple[float, str, str, str]]:
        """Yield (seconds since the epoch, what, id, why), oldest first."""
        with self._lock:
            rows = self._db.execute("SELECT at, what, id, why FROM journal ORDER BY n").fetchall()
        yield from rows

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")


def facts(entry: ErrorSchema | MistakeNote) -> tuple[str, str, str, str]:
    """Return what stores look entries up by: kind, id, status, subject."""
    if isinstance(entry, ErrorSchema):
        return SCHEMA, entry.id, "", f"{entry.fault}/{entry.role or '-'}"
    return NOTE, entry.id, entry.status, entry.subject.key


def decoded(kind: type[Entry], bodies: Iterable[bytes], where: str) -> Iterator[Entry]:
    """Yield entries from their JSON; raise UsageError for what is none."""
    decoder = msgspec.json.Decoder(kind)
    for body in bodies:
        try:
            yield decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UsageError(
                f"An entry of the memory cannot be read: {error}.",
                hint="It was written by another version, or damaged; restore it from an export.",
                where=where,
            ) from None
