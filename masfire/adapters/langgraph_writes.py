"""What a LangGraph task wrote, as message content, and altered content back as writes."""

from __future__ import annotations

import functools
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from masfire.errors import RefusedValue
from masfire.trace.payload import Payload, pack

TASKS = "__pregel_tasks"
"""The channel of `Send` packets."""
BRANCH = "branch:to:"
"""Prefix of the channels that activate one node."""
JOIN = "join:"
"""Prefix of the channels that activate a node once all of several have written."""

MISSING: Any = object()
"""Stands for a value that is not there."""

SCALARS = frozenset({str, int, float, bool, type(None)})
"""The types of values that need no conversion."""

_NEVER_MESSAGES = frozenset({str, int, float, bool, type(None), dict, object})
_ROLES = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant"}
_SINGLE = frozenset(
    {"LastValue", "LastValueAfterFinish", "EphemeralValue", "AnyValue", "UntrackedValue"}
)  # channels that hold one value and (mostly) take one write a superstep


@functools.cache
def message_class() -> Any:
    """Return langchain's BaseMessage (LangGraph is loaded when this is asked, so it is there)."""
    from langchain_core.messages import BaseMessage

    return BaseMessage


def is_control(channel: str) -> bool:
    """Return whether writes to `channel` move control rather than state."""
    return channel.startswith((BRANCH, JOIN, "__")) and channel != "__root__"


def holds_one(channel: Any) -> bool:
    """Return whether a channel keeps a single value (no reducer, no topic)."""
    return type(channel).__name__ in _SINGLE


def value_of(channel: Any) -> Any:
    """Return what a channel holds now, or MISSING."""
    value = getattr(channel, "value", MISSING)
    return MISSING if type(value) is object else value


def messages_of(value: Any) -> list[Any] | None:
    """Return the messages that `value` consists of, or None when it is no message and no list of them."""
    if type(value) in _NEVER_MESSAGES:
        return None
    base = message_class()
    if isinstance(value, base):
        return [value]
    if type(value) is list and value and all(isinstance(item, base) for item in value):
        return value
    return None


def as_messages(value: Any, *, converting: bool = False) -> list[Any] | None:
    """Return `value` as messages with ids, or None when it consists of something else.

    With `converting`, text, ("user", "hi") and {"role", "content"} become messages, as LangGraph's own
    reducer would make them.
    """
    found = messages_of(value)
    if found is None and converting:
        found = _converted(value)
    if found is not None:
        for message in found:
            if not message.id:
                message.id = str(uuid.uuid4())
    return found


def merges_messages(channel: Any) -> bool:
    """Return whether a channel's reducer is one of LangGraph's message reducers."""
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    return reducer is not None and "messages" in getattr(reducer, "__name__", "")


def _converted(value: Any) -> list[Any] | None:
    items = value if isinstance(value, list) else [value]
    if not all(isinstance(item, (str, tuple, dict, message_class())) for item in items):
        return None
    from langchain_core.messages import convert_to_messages

    return list(convert_to_messages(items))


def simplify(message: Any) -> dict[str, Any]:
    """Return a message as {"role", "name"?, "content", "tool_calls"?, "tool_call_id"?}."""
    kind = message.type
    plain: dict[str, Any] = {"role": _ROLES.get(kind, kind)}
    if message.name:
        plain["name"] = message.name
    content = message.content
    plain["content"] = content if type(content) is str else to_plain(content)
    calls = getattr(message, "tool_calls", None)
    if calls:
        plain["tool_calls"] = [
            {"id": call.get("id") or "", "name": call["name"], "arguments": json.dumps(call["args"])}
            for call in calls
        ]
    if kind == "tool":
        plain["tool_call_id"] = message.tool_call_id
    return plain


def to_plain(value: Any) -> Any:
    """Return `value` as what JSON can hold; objects become their fields, the rest its text."""
    found = messages_of(value)
    if found is not None:
        plain = [simplify(message) for message in found]
        return plain[0] if isinstance(value, message_class()) else plain
    return msgspec.to_builtins(value, enc_hook=_encode_object, str_keys=True)


def _encode_object(value: Any) -> Any:
    if isinstance(value, message_class()):
        return simplify(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump) and not isinstance(value, type):
        return dump(mode="json", warnings=False)
    if isinstance(value, (set, frozenset, tuple)) or hasattr(value, "tolist"):
        return value.tolist() if hasattr(value, "tolist") else list(value)
    return str(value)


def pack_content(content: Any) -> Payload:
    """Return `content` as a payload; what JSON cannot hold is recorded as its fields or its text."""
    try:
        return pack(content)
    except RefusedValue:
        pass
    try:
        return pack(to_plain(content))
    except (RefusedValue, TypeError, ValueError, RecursionError):
        return pack(str(content))


def texts(content: Any) -> Iterable[str]:
    """Yield the texts inside plain content: message contents and string leaves."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for key, value in content.items():
            if key not in ("role", "name", "id", "tool_call_id"):
                yield from texts(value)
    elif isinstance(content, list):
        for item in content:
            yield from texts(item)


def rebuild(original: Any, plain: Any) -> Any:
    """Return `plain` in the type of `original` (pydantic model, dataclass, tuple, message), else as it is."""
    if isinstance(original, message_class()) and isinstance(plain, dict):
        return altered_message(original, plain)
    validate = getattr(type(original), "model_validate", None)
    if callable(validate):
        return validate(plain)
    if hasattr(original, "__dataclass_fields__") or isinstance(original, (tuple, set, frozenset)):
        return msgspec.convert(plain, type(original), strict=False)
    return plain


def altered_message(original: Any, plain: dict[str, Any]) -> Any:
    """Return a copy of the message under the same id with the content and tool calls of `plain`."""
    update: dict[str, Any] = {"content": plain.get("content") or ""}
    if "name" in plain:
        update["name"] = plain["name"]
    if hasattr(original, "tool_calls"):
        update["tool_calls"] = _tool_calls(plain.get("tool_calls") or ())
        update["additional_kwargs"] = {
            key: value for key, value in original.additional_kwargs.items() if key != "tool_calls"
        }
    return original.model_copy(update=update)


def _tool_calls(plain: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    calls = []
    for call in plain:
        try:
            args = json.loads(call.get("arguments") or "{}")
        except ValueError:
            args = {"arguments": call["arguments"]}
        calls.append({"name": call["name"], "args": args, "id": call.get("id") or "", "type": "tool_call"})
    return calls


def new_message(plain: dict[str, Any]) -> Any:
    """Return a message made of its plain form, with a new id."""
    from langchain_core import messages

    common: dict[str, Any] = {
        "content": plain.get("content") or "",
        "name": plain.get("name"),
        "id": str(uuid.uuid4()),
    }
    role = plain.get("role", "user")
    if role == "assistant":
        return messages.AIMessage(tool_calls=_tool_calls(plain.get("tool_calls") or ()), **common)
    if role == "tool":
        return messages.ToolMessage(tool_call_id=plain.get("tool_call_id", ""), **common)
    if role in ("system", "developer"):
        return messages.SystemMessage(**common)
    return messages.HumanMessage(**common)


def copy_message(message: Any) -> Any:
    """Return the same message under a new id, so that a reducer keeps both."""
    return message.model_copy(update={"id": str(uuid.uuid4())})


def align(originals: Sequence[Any], before: Sequence[Any], after: Any) -> list[Any]:
    """Return the messages that `after` (plain) asks for, reusing the originals where they are unchanged.

    `before` is the plain form of `originals`. Unchanged entries keep their object; with as many
    entries as before, changed ones keep their id; otherwise they become new messages.
    """
    if not isinstance(after, list):
        after = [after]
    wanted = [item if isinstance(item, dict) else {"role": "user", "content": str(item)} for item in after]
    if len(wanted) == len(originals):
        return [
            original if plain == item else altered_message(original, item)
            for original, plain, item in zip(originals, before, wanted, strict=True)
        ]
    unused = list(zip(originals, before, strict=True))
    result = []
    for item in wanted:
        match = next((pair for pair in unused if pair[1] == item), None)
        if match is not None:
            unused.remove(match)
        result.append(match[0] if match is not None else new_message(item))
    return result
