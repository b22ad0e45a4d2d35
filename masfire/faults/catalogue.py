"""The faults as a table: what the registry can inject, with what the taxonomy says of each."""

from __future__ import annotations

from typing import Any

import msgspec

from masfire.errors import UnknownName
from masfire.faults.base import FAULTS, Fault
from masfire.taxonomy import Entry, load


def catalogue() -> list[dict[str, Any]]:
    """Return one row a fault: id, name, scope, category, mechanisms, parameters (name → default).

    The 15 come in the taxonomy's order, then third parties' faults, whose other columns are empty.
    """
    order = [entry.name for entry in load().entries if entry.name in FAULTS]
    return [row(FAULTS.get(name)) for name in [*order, *(n for n in FAULTS.names() if n not in order)]]


def row(fault: Fault) -> dict[str, Any]:
    """Return a fault's row of the catalogue."""
    entry = entry_of(fault)
    return {
        "id": entry.id if entry else fault.name,
        "name": fault.name,
        "scope": entry.scope if entry else "",
        "category": entry.category if entry else "",
        "mechanisms": list(entry.mechanisms) if entry else [],
        "parameters": {
            field.encode_name: msgspec.to_builtins(field.default)
            for field in msgspec.structs.fields(fault.Parameters)
        },
    }


def explain(name: str) -> dict[str, Any]:
    """Return all there is to say of one fault (by name, or id in either case); raise UnknownName if none."""
    known = next((entry.name for entry in load().entries if entry.id == name.upper()), name)
    fault = FAULTS.get(known)
    entry = entry_of(fault)
    words = msgspec.to_builtins(entry) if entry else {}
    return {
        **words,
        **row(fault),
        "summary": (type(fault).__doc__ or "").split("\n")[0],
        "parameters_help": " ".join((fault.Parameters.__doc__ or "").split()),
        "events": sorted(fault.kinds),
        "persistent": fault.persistent,
    }


def entry_of(fault: Fault) -> Entry | None:
    """Return the taxonomy's entry of a fault, None for a third party's."""
    try:
        return load().entry(fault.name)
    except UnknownName:
        return None
