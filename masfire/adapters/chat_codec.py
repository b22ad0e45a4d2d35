"""The chat completions API: texts of its requests, outcomes of its replies, its streams."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from masfire.adapters.codec import (
    NO_OUTPUT,
    SYSTEM_ROLES,
    Slot,
    ToolReturn,
    argument_text,
    calls_of,
    index_of,
    insert_user,
    part_slots,
)

_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def system(body: dict[str, Any]) -> str:
    """Return the system prompt of a request, or an empty string."""
    return "\n".join(slot.text for slot in slots(body) if slot.role in SYSTEM_ROLES)


def slots(body: dict[str, Any]) -> list[Slot]:
    """Return every text of a request, in order."""
    found: list[Slot] = []
    for message in _messages(body):
        role, content = str(message.get("role", "")), message.get("content")
        if isinstance(content, str):  # by far the most
            found.append(Slot(role, content, message, message, "content"))
        else:
            found += part_slots(role, message, "content")
    return found


def tool_returns(body: dict[str, Any]) -> list[ToolReturn]:
    """Return the tool results in a request, in order."""
    calls: dict[str, tuple[str, str]] = {}
    found: list[ToolReturn] = []
    for message in _messages(body):
        for call in calls_of(message):
            function = call.get("function")
            if isinstance(function, dict):
                calls[str(call.get("id", ""))] = (
                    str(function.get("name", "")),
                    argument_text(function.get("arguments", "")),
                )
        if message.get("role") == "tool":
            identifier = str(message.get("tool_call_id", ""))
            name, arguments = calls.get(identifier, (str(message.get("name", "")), ""))
            for slot in part_slots("tool", message, "content"):
                found.append(ToolReturn(identifier, name, arguments, slot))
                break
    return found


def add(body: dict[str, Any], text: str, *, after: dict[str, Any] | None = None) -> dict[str, Any]:
    """Insert a user message after message `after` (before the last user message if None); return it."""
    messages = body.setdefault("messages", [])
    return insert_user(messages, text, place=-1 if after is None else index_of(messages, after) + 1)


def remove(body: dict[str, Any], slot: Slot) -> None:
    """Take the message that holds `slot` out, or empty it where the chat would become invalid."""
    message = slot.item
    speaking = [m for m in _messages(body) if m.get("role") not in SYSTEM_ROLES]
    parts = part_slots(slot.role, message, "content")
    others = [other for other in parts if other.holder is not slot.holder and other.text.strip()]
    if message.get("tool_calls") and message.get("role") == "assistant":
        message["content"] = None
    elif others or message.get("role") == "tool" or (len(speaking) < 2 and message in speaking):
        slot.replace("")
    else:
        place = index_of(body["messages"], message)
        if place >= 0:
            del body["messages"][place]


def outcome(data: dict[str, Any]) -> dict[str, Any]:
    """Return a reply as {"content", "tool_calls", "finish_reason"} (of its first choice)."""
    choice = _choice(data)
    if choice is None:
        return dict(NO_OUTPUT)
    message = choice["message"]
    calls = []
    for call in calls_of(message):
        function = call.get("function") if isinstance(call.get("function"), dict) else call.get("custom")
        function = function if isinstance(function, dict) else {}
        arguments = function.get("arguments", function.get("input", ""))
        calls.append(
            {
                "id": str(call.get("id") or ""),
                "name": str(function.get("name") or ""),
                "arguments": argument_text(arguments),
            }
        )
    content = message.get("content")
    return {
        "content": content if isinstance(content, str) else None,
        "tool_calls": calls,
        "finish_reason": str(choice.get("finish_reason") or ""),
    }


def with_outcome(data: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of reply `data` whose first choice says `outcome`; other fields stay."""
    first = _choice(data) or {"index": 0, "message": {"role": "assistant"}, "logprobs": None}
    message = dict(first["message"])
    message["content"] = outcome.get("content")
    calls = calls_of(outcome)
    before = calls_of(message)
    message.pop("tool_calls", None)
    if calls:
        message["tool_calls"] = [
            _call(call, before[place] if place < len(before) else {}) for place, call in enumerate(calls)
        ]
    choice = {**first, "message": message, "finish_reason": outcome.get("finish_reason") or "stop"}
    if choice.get("logprobs"):
        choice["logprobs"] = None  # they belong to the words that were replaced
    choices = data.get("choices")
    return {**data, "choices": [choice, *(choices[1:] if isinstance(choices, list) else [])]}


def tokens(data: dict[str, Any]) -> tuple[int, int]:
    """Return the tokens in and out that the provider counted (0 when it did not)."""
    usage = data.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    return _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))


def ended(tail: bytes) -> bool:
    """Return whether the last bytes of a stream hold its end marker."""
    return tail.find(b"[DONE]") >= 0 and (b"data: [DONE]" in tail or b"data:[DONE]" in tail)


def from_events(events: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the reply that the chunks amount to, or None if there was none."""
    first: dict[str, Any] | None = None
    usage: Any = None
    choices: dict[int, dict[str, Any]] = {}
    for event in events:
        if "error" in event and "choices" not in event:
            return None
        first = first or event
        usage = event.get("usage") or usage
        pieces = event.get("choices")
        for piece in pieces if isinstance(pieces, list) else ():
            if isinstance(piece, dict):
                _grow(choices, piece)
    if first is None:
        return None
    for choice in choices.values():
        calls = choice["message"].pop("tool_calls", {})
        if calls:
            choice["message"]["tool_calls"] = [calls[index] for index in sorted(calls)]
    return {
        **{key: value for key, value in first.items() if key not in ("choices", "usage", "object")},
        "object": "chat.completion",
        "choices": [choices[index] for index in sorted(choices)],
        "usage": usage,
    }


def to_events(data: dict[str, Any], body: dict[str, Any]) -> Iterator[bytes]:
    """Yield the chunks that carry reply `data` to a client that asked with `body`."""
    base = {key: value for key, value in data.items() if key not in ("choices", "usage", "object")}
    base["object"] = "chat.completion.chunk"

    def chunk(**more: Any) -> bytes:
        return b"data: " + _ENCODE({**base, **more}).encode("utf-8", "surrogatepass") + b"\n\n"

    for choice in data.get("choices") or ():
        index, message = choice.get("index", 0), choice.get("message") or {}
        calls = [{"index": place, **call} for place, call in enumerate(calls_of(message))]
        delta = {key: value for key, value in message.items() if key != "tool_calls"}
        yield chunk(
            choices=[{"index": index, "delta": {"role": "assistant", **delta}, "finish_reason": None}]
        )
        for call in calls:
            yield chunk(choices=[{"index": index, "delta": {"tool_calls": [call]}, "finish_reason": None}])
        yield chunk(
            choices=[{"index": index, "delta": {}, "finish_reason": choice.get("finish_reason") or "stop"}]
        )
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage"):
        none = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        yield chunk(choices=[], usage=data.get("usage") or none)
    yield b"data: [DONE]\n\n"


def _messages(body: dict[str, Any]) -> list[dict[str, Any]]:
    messages = body.get("messages")
    return [m for m in messages if isinstance(m, dict)] if isinstance(messages, list) else []


def _choice(data: dict[str, Any]) -> dict[str, Any] | None:
    choices = data.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) and isinstance(first.get("message"), dict) else None


def _call(call: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    kind = "custom" if isinstance(before.get("custom"), dict) else "function"
    field = "input" if kind == "custom" else "arguments"
    old = before.get(kind)
    inner = {
        **(old if isinstance(old, dict) else {}),
        "name": call.get("name", ""),
        field: argument_text(call.get("arguments", "")),
    }
    return {**before, "id": call.get("id") or before.get("id") or "call_0", "type": kind, kind: inner}


def _grow(choices: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    index = _count(piece.get("index"))
    choice = choices.get(index)
    if choice is None:
        message = {"role": "assistant", "content": None}
        choice = choices[index] = {"index": index, "message": message, "finish_reason": None}
    message = choice["message"]
    delta = piece.get("delta")
    for key, value in delta.items() if isinstance(delta, dict) else ():
        if key == "content" and type(value) is str and type(message["content"]) is str:  # by far the most
            message["content"] += value
        elif key == "tool_calls":
            for call in value if isinstance(value, list) else ():
                if isinstance(call, dict):
                    _grow_call(message.setdefault("tool_calls", {}), call)
        elif key == "role":
            message["role"] = value or message["role"]
        elif isinstance(value, str) and isinstance(message.get(key), str):
            message[key] += value
        elif value is not None:
            message[key] = value
    choice["finish_reason"] = piece.get("finish_reason") or choice["finish_reason"]


def _grow_call(calls: dict[int, dict[str, Any]], piece: dict[str, Any]) -> None:
    kind = "custom" if isinstance(piece.get("custom"), dict) else "function"
    call = calls.setdefault(_count(piece.get("index")), {"id": "", "type": kind})
    call["id"] = piece.get("id") or call["id"]
    inner = piece.get(kind)
    if isinstance(inner, dict):
        grown = call.setdefault(kind, {"name": "", "arguments" if kind == "function" else "input": ""})
        for key, value in inner.items():
            if isinstance(value, str):
                grown[key] = grown.get(key, "") + value


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0
