"""A store that a team shares: PostgreSQL, with pgvector for the nearest schemata."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import msgspec

from masfire.errors import MissingDependency, UsageError
from masfire.knowledge.embedding import Embedder, HashEmbedder
from masfire.knowledge.model import ErrorSchema, MistakeNote
from masfire.knowledge.store import NOTE, SCHEMA, VERSION, decoded, facts

_TABLES = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE SCHEMA IF NOT EXISTS masfire;
CREATE TABLE IF NOT EXISTS masfire.about (version integer NOT NULL, embedder text NOT NULL);
CREATE TABLE IF NOT EXISTS masfire.entry (
  kind text NOT NULL, id text NOT NULL, status text NOT NULL, subject text NOT NULL, body bytea NOT NULL,
  changed double precision NOT NULL, embedding vector(%d), PRIMARY KEY (kind, id)
);
CREATE TABLE IF NOT EXISTS masfire.journal (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at double precision NOT NULL, what text NOT NULL,
  id text NOT NULL, why text NOT NULL
);
"""
_LOCK = 0x6D617366
"""Key of the advisory lock under which the tables are made: two processes at once would collide."""


class PostgresStore:
    """A store in a PostgreSQL database; the nearest schemata are found by the server.

    `dsn` is a libpq connection string or URL. The `embedder` is the store's: one database holds the
    vectors of one embedder only. Raise UsageError when the database cannot be used and
    MissingDependency without psycopg. Thread-safe.
    """

    def __init__(self, dsn: str, *, embedder: Embedder | None = None) -> None:
        self.embedder = embedder or HashEmbedder()
        self._lock = threading.Lock()
        psycopg = _driver()
        try:
            self._db = psycopg.connect(dsn, autocommit=True)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise
        except psycopg.Error as error:
            raise UsageError(
                f"The PostgreSQL memory cannot be used: {str(error).strip()}.",
                hint="Check the address, and that the extension `vector` (pgvector) is installed there.",
            ) from error

    def put(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Write entries, all or none."""
        now = time.time()
        vectors = self.embedder.embed([entry.document for entry in entries])
        rows = [
            (*facts(entry), msgspec.json.encode(entry), now, _literal(vector))
            for entry, vector in zip(entries, vectors, strict=True)
        ]
        with self._writing() as cursor:
            cursor.executemany(
                "INSERT INTO masfire.entry VALUES (%s, %s, %s, %s, %s, %s, %s::vector) "
                "ON CONFLICT (kind, id) DO UPDATE SET status = excluded.status, subject = excluded.subject, "
                "body = excluded.body, changed = excluded.changed, embedding = excluded.embedding",
                rows,
            )

    def remove(self, *entries: ErrorSchema | MistakeNote) -> None:
        """Delete entries; those that are not there are passed over."""
        with self._writing() as cursor:
            cursor.executemany(
                "DELETE FROM masfire.entry WHERE kind = %s AND id = %s",
                [facts(entry)[:2] for entry in entries],
            )

    def schemata(self) -> Iterator[ErrorSchema]:
        """Yield all schemata in order of their ids."""
        rows = self._rows('SELECT body FROM masfire.entry WHERE kind = %s ORDER BY id COLLATE "C"', (SCHEMA,))
        return decoded(ErrorSchema, (row[0] for row in rows), "PostgreSQL")

    def notes(self, *, status: str = "") -> Iterator[MistakeNote]:
        """Yield notes in order of their ids; with `status`, only those."""
        rows = self._rows(
            "SELECT body FROM masfire.entry WHERE kind = %s AND (%s = '' OR status = %s) "
            'ORDER BY id COLLATE "C"',
            (NOTE, status, status),
        )
        return decoded(MistakeNote, (row[0] for row in rows), "PostgreSQL")

    def nearest(self, text: str, k: int) -> list[tuple[ErrorSchema, float]]:
        """Return the `k` schemata whose document is nearest to `text`, with their cosine, nearest first."""
        (vector,) = self.embedder.embed([text])
        rows = self._rows(
            "SELECT body, 1 - (embedding <=> %s::vector) FROM masfire.entry WHERE kind = %s "
            'ORDER BY embedding <=> %s::vector, id COLLATE "C" LIMIT %s',
            (_literal(vector), SCHEMA, _literal(vector), k),
        )
        found = decoded(ErrorSchema, (row[0] for row in rows), "PostgreSQL")
        return [(schema, float(row[1])) for schema, row in zip(found, rows, strict=True)]

    def log(self, what: str, *, entry: str, why: str) -> None:
        """Append a line to the journal of decisions."""
        with self._writing() as cursor:
            cursor.execute(
                "INSERT INTO masfire.journal (at, what, id, why) VALUES (%s, %s, %s, %s)",
                (time.time(), what, entry, why),
            )

    def journal(self) -> Iterator[tuple[float, str, str, str]]:
        """Yield (seconds since the epoch, what, id, why), oldest first."""
        yield from self._rows("SELECT at, what, id, why FROM masfire.journal ORDER BY n", ())

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> PostgresStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare(self) -> None:
        with self._writing() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            cursor.execute(_TABLES % self.embedder.dimensions)
            about = cursor.execute("SELECT version, embedder FROM masfire.about").fetchone()
            if about is None:
                cursor.execute("INSERT INTO masfire.about VALUES (%s, %s)", (VERSION, self.embedder.name))
            elif about != (VERSION, self.embedder.name):
                raise UsageError(
                    f"The PostgreSQL memory holds version {about[0]} with vectors of {about[1]!r}, "
                    f"not version {VERSION} with {self.embedder.name!r}.",
                    hint="Use the embedder it was made with, or another database.",
                )

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(query, values).fetchall()  # type: ignore[no-any-return]

    @contextlib.contextmanager
    def _writing(self) -> Iterator[Any]:
        with self._lock, self._db.transaction(), self._db.cursor() as cursor:
            yield cursor


def _literal(vector: Any) -> str:
    return "[" + ",".join(f"{value:.7g}" for value in vector.tolist()) + "]"


def _driver() -> Any:
    try:
        import psycopg
    except ImportError as missing:
        raise MissingDependency(
            "A shared memory needs psycopg.", hint="Install it with: pip install 'masfire[postgres]'"
        ) from missing
    return psycopg
