"""Fail, diagnose, note, try again: a wrapper around any system that a check can judge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from masfire.recovery import Recovered, blame, retry
from masfire.session import attempt


def main(system: Callable[[Any], Any], task: Any, check: Callable[[Any, Any], bool]) -> Recovered:
    """Return what came of at most two attempts; the second one knows what went wrong in the first."""
    return retry(lambda notes: attempt(system, task, check=check, interceptors=notes), blame)
