"""What nodes of a governed graph write, piece by piece: messages, fields, commands, whole values."""

from __future__ import annotations

import dataclasses
from collections.abc import Generator
from typing import Any, TypeAlias

from masfire.governance import Governor, Proposal, Ruling
from masfire.trace.payload import pack_or_refuse, unpack

Writing: TypeAlias = "Generator[Proposal, Ruling, Any]"
"""What a node writes: yields proposals, is sent rulings, returns what may be written."""

LOST = object()
"""What cannot be made."""


def written(governor: Governor, result: Any) -> Writing:
    """Yield what a node wants to write as proposals; return what it may write."""
    if result is None or governor.guard is None:
        return result
    if hasattr(result, "goto"):
        return (yield from _command(governor, result))
    if isinstance(result, dict):
        return (yield from _fields(governor, result))
    if isinstance(result, list) and any(hasattr(item, "goto") for item in result):
        kept: list[Any] = []
        for item in result:
            kept += [(yield from written(governor, item))]
        return kept
    named = _named(result)
    if named is not None:
        fields = yield from _fields(governor, named)
        same = fields.keys() == named.keys() and all(fields[key] is named[key] for key in named)
        if same:
            return result
        if hasattr(result, "value") and hasattr(result, "save"):  # what a functional graph returns and keeps
            return dataclasses.replace(result, value=fields.get("value"), save=fields.get("save"))
        return fields
    fields = yield from _fields(governor, {"": result})
    return fields.get("")


def _command(governor: Governor, command: Any) -> Writing:
    """Screen a command's update and what it sends along."""
    update = command.update
    pairs = isinstance(update, (list, tuple))
    if pairs:
        kept: list[Any] = []
        for key, value in update:
            fields = yield from _fields(governor, {key: value})
            kept += list(fields.items())
        update = kept
    elif update is not None:
        update = yield from written(governor, update)
    goto = command.goto
    sends = list(goto) if isinstance(goto, (list, tuple)) else [goto]
    for at, send in enumerate(sends):
        if hasattr(send, "arg") and hasattr(send, "node"):
            sends[at] = type(send)(send.node, (yield from written(governor, send.arg)))
    return dataclasses.replace(
        command, update=update, goto=sends if isinstance(goto, (list, tuple)) else sends[0]
    )


def _fields(governor: Governor, update: dict[str, Any]) -> Writing:
    """Screen the fields of an update: messages one by one, the others together."""
    kept: dict[str, Any] = {}
    plain: dict[str, Any] = {}
    for key, value in update.items():
        messages = value if isinstance(value, list) else [value]
        if messages and all(role(message) for message in messages):
            spoken = []
            for message in messages:
                spoken += yield from _message(governor, message)
            kept[key] = spoken if isinstance(value, list) else (spoken or [None])[0]
        else:
            plain[key] = value
    if plain:
        told = {key: shown(value) for key, value in plain.items()}
        ruling: Ruling = yield governor.propose("message", "", told)
        allowed = ruling.value if ruling.allowed else {}
        for key, value in plain.items():
            if key in allowed:
                found = value if allowed[key] == told[key] else rebuilt(value, allowed[key])
                if found is not LOST:
                    kept[key] = found
                elif ruling.rule == "lineage:yellow":  # it could only not be tagged
                    kept[key] = value
    return {key: kept[key] for key in update if key in kept}


def _message(governor: Governor, message: Any) -> Writing:
    said = content(message)
    if not said or role(message) == "remove":
        return [message]
    ruling: Ruling = yield governor.propose("message", "", said)
    if not ruling.allowed:
        return []
    return [message if ruling.payload == ruling.proposal.payload else _with_content(message, ruling.value)]


def _named(value: Any) -> dict[str, Any] | None:
    """Return the fields that an object used as an update sets; None when it is no such object."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    names = getattr(value, "model_fields_set", None)
    if isinstance(names, (set, frozenset)) and not hasattr(value, "content"):
        return {name: getattr(value, name) for name in names}
    return None


def shown(value: Any, depth: int = 0) -> Any:
    """Return what a value says as JSON: models and data classes by their fields, others by their text."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if depth > 64:
        return unpack(pack_or_refuse(value))
    if isinstance(value, dict):
        return {str(key): shown(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [shown(item, depth + 1) for item in value]
    if isinstance(value, (set, frozenset)):
        return [shown(item, depth + 1) for item in sorted(value, key=repr)]
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    if role(value):
        return shown(content(value), depth + 1)
    named = _named(value)
    if named is not None:
        for name in getattr(type(value), "model_fields", ()):
            named.setdefault(name, getattr(value, name))
        return {name: shown(item, depth + 1) for name, item in named.items()}
    return unpack(pack_or_refuse(value))


def rebuilt(value: Any, new: Any) -> Any:
    """Return `new` as the kind of thing that `value` is; LOST when that cannot be made."""
    try:
        if value is None or isinstance(value, (str, int, float, bool, list, dict)):
            return new if _json(value) else LOST
        if isinstance(value, (tuple, set, frozenset)):
            return type(value)(new) if _json(list(value)) else LOST
        if isinstance(value, (bytes, bytearray)):
            return type(value)(new.encode())
        if hasattr(value, "model_validate"):
            return type(value).model_validate(new)
        if dataclasses.is_dataclass(value) and all(map(_json, (_named(value) or {}).values())):
            return dataclasses.replace(value, **new)  # type: ignore[type-var]
    except Exception:  # the project's own classes may refuse what is left
        return LOST
    return LOST


def _json(value: Any) -> bool:
    """Return whether a value is made of nothing but what JSON has."""
    if isinstance(value, dict):
        return all(type(key) is str and _json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_json, value))
    return value is None or isinstance(value, (str, int, float, bool))


def role(message: Any) -> str:
    """Return the role of a message (an object, an object of JSON, a pair); empty for what is none."""
    if isinstance(message, dict):
        return str(message.get("role") or message.get("type") or "") if "content" in message else ""
    if type(message) is tuple:
        pair = len(message) == 2 and message[0] in ("ai", "assistant", "human", "user", "system")
        return str(message[0]) if pair and isinstance(message[1], (str, list)) else ""
    return str(getattr(message, "type", "")) if hasattr(message, "content") else ""


def content(message: Any) -> Any:
    """Return what a message says."""
    if type(message) is tuple:
        return message[1]
    return message.get("content") if isinstance(message, dict) else getattr(message, "content", None)


def _with_content(message: Any, said: Any) -> Any:
    if isinstance(said, list):  # a block whose text was rejected goes with it
        said = [one for one in said if not (isinstance(one, dict) and one.keys() == {"type"})]
    if type(message) is tuple:
        return (message[0], said)
    if isinstance(message, dict):
        return {**message, "content": said}
    return message.model_copy(update={"content": said})


def is_plain(value: Any) -> bool:
    """Return whether a value is data a tool may have given back."""
    return value is None or isinstance(value, (str, int, float, bool, list, dict, tuple))
