"""Which failed runs of a campaign show an error that a memory knows already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from masfire.campaign.results import RunResult
from masfire.campaign.summary import KnownError, Recurrences
from masfire.diagnosis.model import Recognition
from masfire.errors import MasfireError
from masfire.knowledge.memory import Memory
from masfire.trace.io import read_trace
from masfire.trace.model import Trace

SURE = 0.5
"""Recognitions by schemata that are wrong more often than right on stored runs do not count."""


def recurrences(rows: Iterable[RunResult], traces: Path, memory: Memory) -> Recurrences:
    """Return which failed runs show a known error: blindly, each run by its surest recognition.

    Failed are runs that a check refused. A trace that cannot be read is counted as failed and unknown.
    """
    failed = 0
    found: dict[str, tuple[str, float, list[str]]] = {}
    for row in rows:
        if row.success is not False or not row.trace:
            continue
        failed += 1
        try:
            best = recognised(memory, read_trace(traces / row.trace).blind())
        except (MasfireError, OSError):
            continue
        if best is not None:
            found.setdefault(best.schema, (best.category, best.similarity, []))[2].append(row.id)
    errors = [
        KnownError(schema_id=schema, fault=fault, precision=precision, runs=runs)
        for schema, (fault, precision, runs) in found.items()
    ]
    errors.sort(key=lambda error: (-len(error.runs), error.schema_id))
    return Recurrences(failed=failed, known=sum(len(error.runs) for error in errors), errors=errors)


def recognised(memory: Memory, blind: Trace) -> Recognition | None:
    """Return the known error that a run shows most surely, or None when none is sure enough."""
    seen = memory.recognize(blind)
    return seen[0] if seen and seen[0].similarity >= SURE else None
