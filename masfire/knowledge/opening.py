"""A store from its address: a file, or a PostgreSQL URL."""

from __future__ import annotations

from masfire.knowledge.postgres import PostgresStore
from masfire.knowledge.store import SqliteStore


def open_store(where: str) -> SqliteStore | PostgresStore:
    """Return the store at a path or at ``postgresql://…``; raise UsageError when it cannot be used."""
    if where.startswith(("postgres://", "postgresql://")):
        return PostgresStore(where)
    return SqliteStore(where)
