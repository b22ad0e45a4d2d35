"""The results of a campaign: one row a run, in a SQLite file that a kill at any instant leaves whole."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire import sqlitefile
from masfire.errors import RecordingError, UsageError
from masfire.metrics.compliance import Judged

RESULTS_VERSION = 1


class RunResult(Struct, frozen=True):
    """What one run came to.

    `id` is the run id; `fault` the address the plan asked for ("" for a control), `times` how often it
    was to strike, `address` the place it was aimed at in this run. `status` is how the run ended
    (`completed`, `error`, `budget`, `timeout`, `overflow`), `success` what the check said (None: it
    could not say), `score` its number. `state`, `reason`, `agent`, `step`, `witnessed_at` are the final
    state of the injection. `sources` counts model replies by where they came from; `seconds` is wall
    time of the run, `trace` the file's name in `traces/`; `verdicts` what the plan's contracts said of it
    (kept in a table of their own: `Results.verdicts`).
    """

    id: str
    system: str
    model: str
    fault: str
    times: str
    address: str
    task: str
    seed: int
    status: str
    success: bool | None = None
    score: float | None = None
    state: str = ""
    reason: str = ""
    agent: str = ""
    step: int = -1
    witnessed_at: int = -1
    error: str = ""
    steps: int = 0
    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    seconds: float = 0.0
    sources: dict[str, int] = {}
    trace: str = ""
    verdicts: tuple[Judged, ...] = ()

    @property
    def control(self) -> bool:
        """Return whether this was a fault-free run."""
        return not self.fault


_COLUMNS = [field.name for field in msgspec.structs.fields(RunResult) if field.name != "verdicts"]
_JUDGED = [field.name for field in msgspec.structs.fields(Judged)]
_TYPES = {"seed": "INTEGER", "step": "INTEGER", "witnessed_at": "INTEGER", "steps": "INTEGER",
          "calls": "INTEGER", "tokens_in": "INTEGER", "tokens_out": "INTEGER", "success": "INTEGER",
          "score": "REAL", "seconds": "REAL"}  # fmt: skip
_NULLABLE = {"success", "score"}


class Results:
    """The results file; used by one campaign at a time, which holds its lock while it is open.

    A row is durable when `add` returns, and no run id can have two. Raise UsageError when the file is
    no results file or another campaign is running on it.
    """

    def __init__(self, path: str | os.PathLike[str], *, readonly: bool = False) -> None:
        self.path = Path(path)
        self._lock = None if readonly else _locked(self.path)
        try:
            self._db = self._open(readonly=readonly)
        except sqlite3.Error as error:
            self._unlock()
            raise UsageError(f"The results {self.path} cannot be used: {error}.") from error

    def add(self, result: RunResult) -> None:
        """Store one finished run; raise sqlite3.IntegrityError when its id is there already."""
        row = msgspec.structs.asdict(result)
        row["sources"] = json.dumps(row["sources"], sort_keys=True)
        del row["verdicts"]
        row = {name: storable(value) for name, value in row.items()}
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        said = [
            {"run": row["id"], **{k: storable(v) for k, v in msgspec.structs.asdict(one).items()}}
            for one in result.verdicts
        ]
        with self._storing(), self._db:
            self._db.execute("BEGIN")
            self._db.execute(f"INSERT INTO runs ({', '.join(_COLUMNS)}) VALUES ({marks})", row)  # noqa: S608 - our own column names
            self._db.executemany(
                f"INSERT INTO verdicts (run, {', '.join(_JUDGED)}) "  # noqa: S608 - our own column names
                f"VALUES (:run, {', '.join(f':{name}' for name in _JUDGED)})",
                said,
            )

    def ids(self) -> set[str]:
        """Return the ids of all finished runs."""
        return {row[0] for row in self._db.execute("SELECT id FROM runs")}

    def __iter__(self) -> Iterator[RunResult]:
        query = f"SELECT {', '.join(_COLUMNS)} FROM runs ORDER BY rowid"  # noqa: S608 - our own column names
        for row in self._db.execute(query):
            fields = dict(zip(_COLUMNS, row, strict=True))
            fields["sources"] = json.loads(fields["sources"])
            if fields["success"] is not None:
                fields["success"] = bool(fields["success"])
            yield RunResult(**fields)

    def verdicts(self) -> dict[str, tuple[Judged, ...]]:
        """Return run id → what its contracts said; a file from before there were contracts has none."""
        if not self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'verdicts'").fetchone():
            return {}
        found: dict[str, list[Judged]] = {}
        query = f"SELECT run, {', '.join(_JUDGED)} FROM verdicts ORDER BY rowid"  # noqa: S608 - our own column names
        for run, *values in self._db.execute(query):
            found.setdefault(run, []).append(Judged(*values))
        return {run: tuple(said) for run, said in found.items()}

    def solutions(self, seeds: Sequence[int]) -> dict[tuple[str, str], str]:
        """Return (system, task) → the trace of the first control that solved it, in the order of `seeds`."""
        turn = {seed: position for position, seed in enumerate(seeds)}
        solved = [row for row in self if row.control and row.success and row.seed in turn]
        solved.sort(key=lambda row: turn[row.seed], reverse=True)
        return {(row.system, row.task): row.trace for row in solved}

    def note(self, key: str, value: Any) -> None:
        """Remember a fact about the campaign (its plan, its model)."""
        with self._storing():
            self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (key, json.dumps(value)))

    def fact(self, key: str) -> Any:
        """Return a remembered fact, or None."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return None if row is None else json.loads(row[0])

    def close(self) -> None:
        """Close the file and let others in; one that was written stands alone, without a log beside it."""
        try:
            if self._lock is None:
                self._db.close()
            else:
                sqlitefile.closed_alone(self._db)
        finally:
            self._unlock()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise RecordingError(
                f"The results {self.path} cannot be written: {error}.",
                hint="What is done is kept; free some space and go on by --resume.",
            ) from error

    def _open(self, *, readonly: bool) -> sqlite3.Connection:
        if readonly:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            return sqlite3.connect(uri, uri=True, timeout=30, isolation_level=None)
        return sqlitefile.opened(self.path, version=RESULTS_VERSION, tables=_tables())

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _tables() -> dict[str, str]:
    return {
        "runs": f"({', '.join(_column(name) for name in _COLUMNS)})",
        "verdicts": "(run TEXT NOT NULL REFERENCES runs, contract TEXT NOT NULL, status TEXT NOT NULL, "
        "severity TEXT NOT NULL, applied INTEGER NOT NULL, failed INTEGER NOT NULL, inconclusive INTEGER "
        "NOT NULL, first INTEGER NOT NULL, blame INTEGER NOT NULL, PRIMARY KEY (run, contract))",
        "facts": "(key TEXT PRIMARY KEY, value TEXT NOT NULL)",
    }


def _column(name: str) -> str:
    if name == "id":
        return "id TEXT PRIMARY KEY"
    return f"{name} {_TYPES.get(name, 'TEXT')}{'' if name in _NULLABLE else ' NOT NULL'}"


def storable(value: Any) -> Any:
    """Return text without lone surrogates, which UTF-8 cannot hold; anything else as it is."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _locked(path: Path) -> int:
    """Return a descriptor that holds the campaign folder's lock until it is closed (or we die)."""
    import fcntl

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UsageError(f"Another campaign is running in {path.parent}.") from None
    return descriptor
