"""What was learnt from failures put to use: notes in prompts, wrong values put right, another attempt."""

from masfire.recovery.attempts import (
    Attempt,
    Diagnose,
    NotesInRequests,
    Recovered,
    aretry,
    insert,
    retry,
)
from masfire.recovery.blaming import blame
from masfire.recovery.rewriting import Rewriter, Rewriting, rewriter

__all__ = [
    "Attempt",
    "Diagnose",
    "NotesInRequests",
    "Recovered",
    "Rewriter",
    "Rewriting",
    "aretry",
    "blame",
    "insert",
    "retry",
    "rewriter",
]
