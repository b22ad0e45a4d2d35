"""The reply cache of a campaign: one SQLite file, keyed by the full request, shared by its processes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import threading
import time
import zlib
from pathlib import Path
from typing import Any

from msgspec import Struct

from masfire import sqlitefile
from masfire.errors import UsageError

_VERSION = 1
_TABLES = {
    "reply": "(key BLOB PRIMARY KEY, body BLOB NOT NULL, created REAL NOT NULL) WITHOUT ROWID",
    "tally": "(name TEXT PRIMARY KEY, n INTEGER NOT NULL) WITHOUT ROWID",
}
_STREAM_FIELDS = frozenset({"stream", "stream_options"})


class CacheTally(Struct, frozen=True):
    """What a cache did: requests answered from it, requests it could not answer, replies it holds."""

    hits: int
    misses: int
    entries: int

    @property
    def saved(self) -> float:
        """Return the share of requests that no model had to answer, 0..1 (0 when nothing was asked)."""
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0


def request_key(url: str, body: dict[str, Any]) -> bytes:
    """Return the SHA-256 of the canonical request: URL and every field but the stream ones.

    Seed, temperature, model and messages are all part of it: a repeat under a new seed misses.
    """
    fields = {name: value for name, value in body.items() if name not in _STREAM_FIELDS}
    text = json.dumps([url, fields], sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).digest()


class ReplyCache:
    """Replies by request in a SQLite file (write-ahead log) that any number of processes share.

    Hits and misses are counted per process and added to the file on `flush` or `close`. The endpoint's
    address is part of the key: pass `name` to use a stable one, such as the model's, when the port of a
    local server changes between campaigns. A file that is no cache raises UsageError.
    """

    def __init__(self, path: str | os.PathLike[str], *, name: str = "") -> None:
        self.path = Path(path)
        self._name = name
        self._lock = threading.Lock()
        self._hits = self._misses = 0
        self._pid = os.getpid()
        self._db = self._open()

    def get(self, url: str, body: dict[str, Any]) -> bytes | None:
        """Return the remembered reply to this request, or None; either way it is counted."""
        key = request_key(self._address(url), body)
        with self._lock:
            row = self._connection().execute("SELECT body FROM reply WHERE key = ?", (key,)).fetchone()
            if row is None:
                self._misses += 1
                return None
            self._hits += 1
        return zlib.decompress(row[0])

    def put(self, url: str, body: dict[str, Any], reply: bytes) -> None:
        """Remember `reply`; the first one of a request stays, so that all processes repeat the same."""
        key = request_key(self._address(url), body)
        row = (key, zlib.compress(reply, 1), time.time())
        with self._lock:
            self._connection().execute("INSERT OR IGNORE INTO reply VALUES (?, ?, ?)", row)

    def tally(self) -> CacheTally:
        """Return the counts of all processes that flushed, plus this one's own."""
        with self._lock:
            stored = dict(self._connection().execute("SELECT name, n FROM tally"))
            (entries,) = self._connection().execute("SELECT count(*) FROM reply").fetchone()
            return CacheTally(
                stored.get("hits", 0) + self._hits, stored.get("misses", 0) + self._misses, entries
            )

    def flush(self) -> None:
        """Add this process's counts to the file."""
        with self._lock:
            for name, n in (("hits", self._hits), ("misses", self._misses)):
                self._connection().execute(
                    "INSERT INTO tally VALUES (?, ?) ON CONFLICT(name) DO UPDATE SET n = n + excluded.n",
                    (name, n),
                )
            self._hits = self._misses = 0

    def close(self) -> None:
        """Flush the counts and close the file."""
        self.flush()
        with self._lock:
            self._db.close()

    def __enter__(self) -> ReplyCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _address(self, url: str) -> str:
        if not self._name:
            return url
        return f"{self._name}/{url.rstrip('/').rsplit('/v1/', 1)[-1]}"

    def _connection(self) -> sqlite3.Connection:
        if os.getpid() != self._pid:  # a forked child must not use its parent's connection
            self._pid, self._hits, self._misses = os.getpid(), 0, 0
            self._db = self._open()
        return self._db

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.touch(mode=0o600)  # replies are kept as they came, for exact answers: secrets included
            return sqlitefile.opened(  # a lost last reply is only asked again
                self.path, version=_VERSION, tables=_TABLES, durable=False
            )
        except (sqlite3.Error, OSError) as error:
            raise UsageError(
                f"The reply cache {self.path} cannot be used: {error}.",
                hint="Delete the file, choose another, or switch the cache off.",
            ) from error


def fold(path: str | os.PathLike[str]) -> None:
    """Leave a cache whose users were killed as one file, if nobody has it open and it can be used."""
    if os.path.exists(f"{os.fspath(path)}-wal"):
        with contextlib.suppress(UsageError):
            ReplyCache(path).close()
