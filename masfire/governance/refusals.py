"""Refusals: how they are made, and what goes wrong turned into one."""

from __future__ import annotations

from masfire.errors import RefusedValue, UsageError
from masfire.governance.ruling import Refusal, ToolError

ESCALATED = ("capability:", "contract:")
"""How the rules begin whose word a person may overrule."""


def refuse(rule: str, reason: str, category: str, *, action: str = "", wait: float = 0.0) -> Refusal:
    """Return a Refusal with its structured error; `wait` is in seconds."""
    error = ToolError(category, reason, wait > 0, int(wait * 1000), action)
    return Refusal(rule, reason, error)


def broken(failure: Exception) -> Refusal:
    """Return the Refusal of what could not be judged because something raised."""
    if isinstance(failure, (RefusedValue, UsageError)):
        return refuse("malformed", str(failure), "invalid", action="send plain JSON values")
    return refuse(
        "error", f"It could not be judged: {type(failure).__name__}: {failure}"[:500], "internal",
        action="report it to a person",
    )  # fmt: skip


__all__ = ["ESCALATED", "broken", "refuse"]
