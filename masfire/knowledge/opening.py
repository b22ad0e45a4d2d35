"""A store from its address: a file, or a PostgreSQL URL; and what was learnt, opened for use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from masfire.errors import UsageError
from masfire.knowledge.model import MistakeNote
from masfire.knowledge.notebook import Notebook
from masfire.knowledge.postgres import PostgresStore
from masfire.knowledge.store import SqliteStore

if TYPE_CHECKING:
    from masfire.diagnosis.model import Recognition
    from masfire.trace.model import Trace

WAYS = ("prompt", "rewrite")


def open_store(where: str) -> SqliteStore | PostgresStore:
    """Return the store at a path or at ``postgresql://…``; raise UsageError when it cannot be used."""
    if where.startswith(("postgres://", "postgresql://")):
        return PostgresStore(where)
    return SqliteStore(where)


def existing(where: str) -> str:
    """Return the address of a memory that is there; raise UsageError for a file that is not."""
    if not where.startswith(("postgres://", "postgresql://")) and not Path(where).is_file():
        raise UsageError(
            f"There is no memory {where}.",
            hint="`masfire learn DIR --memory FILE` makes one from failed runs.",
        )
    return where


def open_memory(where: str | os.PathLike[str]) -> OpenMemory:
    """Return what `masfire learn` has put at a path or at ``postgresql://…``, for use in a program.

    Raise UsageError when there is nothing. Close it, or use it in a `with` statement; what it returned
    stays usable.
    """
    return OpenMemory(open_store(existing(os.fspath(where))))


class OpenMemory:
    """A memory opened for use: the notes that a trial accepted, and the errors that it recognises."""

    def __init__(self, store: SqliteStore | PostgresStore) -> None:
        self.store = store
        self.notebook = Notebook(store)

    def notes(self, way: str = "", *, role: str = "") -> list[MistakeNote]:
        """Return the accepted notes, best first: of a `role`, of one `way` ("prompt" or "rewrite"), or all.

        Notes for prompts go to `masfire.recovery.NotesInRequests`, those that rewrite to
        `masfire.recovery.rewriter`, which takes both.
        """
        if way and way not in WAYS:
            raise UsageError(f"Notes are used in no way {way!r}.", hint=f"Known: {', '.join(WAYS)}.")
        found = self.notebook.accepted(role=role)
        return [note for note in found if not way or (note.trial.way if note.trial else "prompt") == way]

    def recognize(self, trace: Trace) -> Sequence[Recognition]:
        """Return the known errors that steps of a run show, the surest first; the truth is not looked at."""
        from masfire.knowledge.memory import Memory

        return Memory(self.store).recognize(trace.blind())

    def close(self) -> None:
        """Release the store."""
        self.store.close()

    def __enter__(self) -> OpenMemory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
