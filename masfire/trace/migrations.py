"""How lines of older trace versions become lines of the present one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from msgspec import Struct

from masfire.registry import Registry
from masfire.trace.model import TRACE_VERSION

Migration: TypeAlias = "Callable[[str, dict[str, Any]], dict[str, Any]]"
"""(record kind, the line's fields) → the fields as the next version has them."""


class Upgrade(Struct, frozen=True):
    """One step on the way to the present version: what it changes, and which version it leads to."""

    to: str
    change: Migration


MIGRATIONS: Registry[Upgrade] = Registry("trace_version")
"""Keyed by the version that is left behind. `trace/v1` is the first version, so none is built in."""


def route(version: str) -> list[Migration] | None:
    """Return the changes that lead from `version` to the present one; None when there is no way."""
    changes: list[Migration] = []
    seen = set()
    while version != TRACE_VERSION:
        if version in seen or version not in MIGRATIONS:
            return None
        seen.add(version)
        upgrade = MIGRATIONS.get(version)
        changes.append(upgrade.change)
        version = upgrade.to
    return changes
