"""Which fields a step of each kind has, and what they hold."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from masfire.contracts.language.syntax import Path

TEXT, NUMBER, BOOLEAN, NULL, LIST, OBJECT, ANY = "text", "number", "boolean", "null", "list", "object", "any"
OUTCOME, TEXTS = "outcome", "texts"
"""Two more: {"ok", "value" or "error"}, and a list of names."""

EVERYWHERE = {"step": NUMBER, "time": NUMBER, "agent": TEXT, "role": TEXT, "kind": TEXT, "parents": LIST}
"""Fields of every step."""

_CALL = {"args": ANY}
_BACK = {"of": NUMBER, "ok": BOOLEAN, "outcome": OUTCOME, "result": ANY, "error": ANY}
_NAMED = {"name": TEXT}

_OWN: dict[str, dict[str, str]] = {
    "message": {"to": TEXTS, "content": ANY, "text": TEXT, "via": TEXT},
    "tool_call": {"tool": TEXT, **_NAMED, **_CALL, "id": TEXT},
    "tool_result": {"tool": TEXT, **_NAMED, **_CALL, **_BACK},
    "model_call": {"model": TEXT, **_NAMED, "request": ANY},
    "model_reply": {
        "model": TEXT, **_NAMED, **_BACK,
        "text": ANY, "content": ANY, "tool_calls": ANY, "finish_reason": ANY,
    },
    "memory_read": {**_NAMED, **_CALL},
    "memory_write": {**_NAMED, **_CALL},
    "memory_value": {**_NAMED, **_CALL, **_BACK},
    "delegation": {**_NAMED, **_CALL},
    "termination": {**_NAMED, **_CALL},
    "event": {**_NAMED, **_CALL},
    "decision": {"outcome": TEXT, "rule": TEXT, "reason": TEXT, "of": NUMBER},
}  # fmt: skip

FIELDS: dict[str, dict[str, str]] = {kind: {**EVERYWHERE, **own} for kind, own in _OWN.items()}
"""Kind of step -> its fields -> what each holds."""

KINDS = tuple(FIELDS)
ALL_KINDS = frozenset(KINDS)
RESULTS = frozenset({"tool_result", "model_reply", "memory_value"})
"""Kinds that come back from an action and succeeded or failed."""

OF_OUTCOME = frozenset({"ok", "failed", "outcome", "result", "error", "of"})
"""Words that speak of what came back: next to them `tool('x')` is the result, not the call."""

NAMES = tuple(dict.fromkeys(name for fields in FIELDS.values() for name in fields))
"""Every field of any kind."""


def shape(path: Path, kinds: Collection[str]) -> tuple[str, str]:
    """Return what the field at `path` holds in steps of `kinds`, and what is wrong with it (or "")."""
    first = str(path[0])
    having = [kind for kind in KINDS if kind in kinds and first in FIELDS[kind]]
    if not having:
        return ANY, _unknown(first, kinds)
    shapes = {_inside(FIELDS[kind][first], path[1:]) for kind in having} - {""}
    if not shapes:
        holds = FIELDS[having[0]][first]
        if holds == OUTCOME:
            return ANY, f"an outcome has no {path[1]!r}; it has outcome.ok, outcome.value and outcome.error"
        return ANY, f"field {first!r} is a {holds} and has no parts (asked for {dotted(path)!r})"
    return (shapes.pop() if len(shapes) == 1 else ANY), ""


def _inside(holds: str, rest: Path) -> str:
    """Return what is at `rest` inside a value; empty when nothing can be there."""
    if not rest:
        return {OUTCOME: OBJECT, TEXTS: LIST}.get(holds, holds)
    if holds == OUTCOME:
        return {"ok": BOOLEAN if len(rest) == 1 else "", "value": ANY, "error": ANY}.get(str(rest[0]), "")
    if holds in (TEXTS, LIST):
        return (TEXT if holds == TEXTS else ANY) if type(rest[0]) is int and len(rest) == 1 else ""
    return ANY if holds == ANY else ""


def _unknown(name: str, kinds: Collection[str]) -> str:
    known = sorted({field for kind in kinds for field in FIELDS[kind]})
    owners = [kind for kind in KINDS if name in FIELDS[kind]]
    if owners:
        return f"a {_or(kinds)} has no {name!r} (a {_or(owners)} has). It has: {', '.join(known)}"
    inner = ("args",) if any("args" in FIELDS[kind] for kind in kinds) else ()
    return f"unknown field {name!r}.{nearest(name, known)} Known: {', '.join(known)}" + (
        f". A field of the arguments is {inner[0]}.{name}" if inner else ""
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?", or nothing."""
    near = difflib.get_close_matches(name[:100], list(known), n=1, cutoff=0.6)
    return f" Did you mean {near[0]!r}?" if near else ""


def dotted(path: Path) -> str:
    """Return a path as it is written."""
    return ".".join(str(part) if str(part).replace("_", "a").isalnum() else f'"{part}"' for part in path)


def _or(kinds: Iterable[str]) -> str:
    names = sorted(kinds)
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
