"""Edits on JSON values and the JSON inside their texts, each as a changed copy."""

from __future__ import annotations

from typing import Any

from masfire.claims.leaves import INSIDE, Path, embedded, get, leaves, spoken, texts


def replaced(value: Any, path: Path, new: Any) -> Any:
    """Return a copy of `value` with `new` at `path`; nothing that `value` holds is changed."""
    if not path:
        return new
    head, rest = path[0], path[1:]
    if head == INSIDE and isinstance(value, str):
        inner = embedded(value)
        if inner is None:
            raise LookupError(f"There is no JSON inside the text at {path}.")
        return inner.render(replaced(inner.value, rest, new))
    if isinstance(value, dict):
        return {**value, head: replaced(value[head], rest, new)}
    items = list(value)
    items[int(head)] = replaced(items[int(head)], rest, new)
    return items


def removed(value: Any, path: Path) -> Any:
    """Return a copy of `value` without the field or item at `path`."""
    parent = get(value, path[:-1])
    if isinstance(parent, dict):
        rest: Any = {key: item for key, item in parent.items() if key != path[-1]}
    else:
        rest = [item for position, item in enumerate(parent) if position != path[-1]]
    return replaced(value, path[:-1], rest)


def carries(received: Any, sent: Any) -> bool:
    """Return whether what was received contains what was sent, unchanged.

    Texts may arrive inside longer texts (a prompt that quotes them); of structures every scalar must
    be found again.
    """
    if received == sent:
        return True
    if isinstance(sent, str):
        return _found(sent.strip(), received)
    there = {(type(leaf), leaf) for _, leaf in leaves(received)}
    whole = "\n".join(texts(received))
    said = list(spoken(sent))
    for _, leaf in said:
        if isinstance(leaf, str):
            if leaf.strip() not in whole:
                return False
        elif (type(leaf), leaf) not in there and str(leaf) not in whole:
            return False
    return bool(said)


def _found(wanted: str, received: Any) -> bool:
    if not wanted:
        return False
    if isinstance(received, str):
        return wanted in received
    if isinstance(received, dict):
        return any(_found(wanted, item) for item in received.values())
    return isinstance(received, list) and any(_found(wanted, item) for item in received)
