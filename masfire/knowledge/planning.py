"""What is wrong with the order of a plan's steps, when a text is a plan in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_WAITS = ("needs", "depends_on", "dependencies", "requires", "after", "prerequisites", "inputs")
"""Fields by which steps of plans name the steps that come before them."""
_MOST = 64
"""Steps of a plan, and names a step waits for, that are looked at."""


def flaws_of(content: str) -> set[str]:
    """Return what is wrong with the order of steps in a plan, when the text is one in JSON."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return set()
    lists = [value] if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    for listed in lists:
        if isinstance(listed, list) and listed and all(isinstance(item, dict) for item in listed):
            waits = _waiting(listed[:_MOST])
            if waits:
                return _order(waits)
    return set()


def _waiting(items: Sequence[Mapping[str, Any]]) -> dict[str, set[str]]:
    """Return step name → names it waits for, of items that have a field for that; else nothing."""
    field = next((name for name in _WAITS if all(isinstance(item.get(name), list) for item in items)), "")
    if not field:
        return {}
    found: dict[str, set[str]] = {}
    for item in items:
        name = next(
            (str(part) for key, part in item.items() if key != field and isinstance(part, (str, int))), ""
        )
        found[name] = {str(part) for part in item[field][:_MOST]}
    return found


def _order(waits: dict[str, set[str]]) -> set[str]:
    names = {"plan:unknown"} if any(need - waits.keys() for need in waits.values()) else set()
    done: set[str] = set()
    while ready := {
        name for name, needs in waits.items() if name not in done and needs & waits.keys() <= done
    }:
        done |= ready
    return names | ({"plan:cycle"} if len(done) < len(waits) else set())
