"""SQLite files that several processes may open at once: whoever comes first makes one, the rest wait."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path

_PATIENCE = 30.0
"""Seconds to wait for another process that holds the file."""
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def opened(
    path: str | os.PathLike[str], *, version: int, tables: Mapping[str, str], durable: bool = True
) -> sqlite3.Connection:
    """Return a connection to a file of ours with a write-ahead log, made when it is not there.

    `tables` are name → columns and what follows them; those that a file lacks are added, so that a later
    version may know further ones. `version` is the file's `user_version`. `durable`: a commit survives a
    loss of power (otherwise the last ones may be lost, never the file). The connection is in autocommit
    mode and may be used by any thread, by one at a time.

    Raise sqlite3.Error, the file unchanged, when it is no database, one of something else or of another
    version; OSError when its folder cannot be made.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
    try:
        _prepare(db, version, tables, durable)
    except BaseException:
        db.close()
        raise
    return db


def closed_alone(db: sqlite3.Connection) -> None:
    """Close a connection and, if it is the last, leave one file that can be read without writing.

    The write-ahead log is folded into the file for good: a reader that may not write finds no log to
    join, so that it leaves none behind either, and the file can be read on a read-only disk.
    """
    try:
        with contextlib.suppress(sqlite3.OperationalError):  # others have it open, or the disk is full
            db.execute("PRAGMA journal_mode=DELETE")
    finally:
        db.close()


def _prepare(db: sqlite3.Connection, version: int, tables: Mapping[str, str], durable: bool) -> None:
    """Make the file ours, waiting for other processes that do the same.

    SQLite's own timeout does not cover the change to a write-ahead log, nor a lock taken after a read:
    both fail at once when another process is in the middle of them.
    """
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            if not _up_to_date(db, version, tables):
                _create(db, version, tables)
            if db.execute("PRAGMA journal_mode").fetchone() != ("wal",):
                db.execute("PRAGMA journal_mode=WAL")
            db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _up_to_date(db: sqlite3.Connection, version: int, tables: Mapping[str, str]) -> bool:
    """Return whether the file has this version and all tables; raise DatabaseError when it is not ours."""
    (found,) = db.execute("PRAGMA user_version").fetchone()
    if found not in (0, version):
        raise sqlite3.DatabaseError(f"it has version {found}, this masfire reads {version}")
    names = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if found == 0 and any(name not in tables and not name.startswith("sqlite_") for name in names):
        raise sqlite3.DatabaseError("it is a database of something else")
    return found == version and names.issuperset(tables)


def _create(db: sqlite3.Connection, version: int, tables: Mapping[str, str]) -> None:
    """Make the tables that are not there, unless another process just did."""
    db.execute("BEGIN IMMEDIATE")
    try:
        if not _up_to_date(db, version, tables):
            for name, content in tables.items():
                db.execute(f"CREATE TABLE IF NOT EXISTS {name} {content}")
            db.execute(f"PRAGMA user_version={version}")
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
