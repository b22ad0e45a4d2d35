"""The Responses API: texts of its requests, outcomes of its replies, its streams."""

from __future__ import annotations

import itertools
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

_LAST = frozenset({"response.completed", "response.incomplete", "response.failed"})
_MARKS = tuple(f'"type":{gap}"{name}"'.encode() for name in _LAST for gap in ("", " "))
_CALL, _RETURN = "function_call", "function_call_output"
_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def system(body: dict[str, Any]) -> str:
    """Return the instructions and system messages of a request, or an empty string."""
    return "\n".join(slot.text for slot in slots(body) if slot.role in SYSTEM_ROLES)


def slots(body: dict[str, Any]) -> list[Slot]:
    """Return every text of a request, in order (the instructions first)."""
    found: list[Slot] = []
    if isinstance(body.get("instructions"), str):
        found.append(Slot("system", body["instructions"], body, body, "instructions"))
    if isinstance(body.get("input"), str):
        found.append(Slot("user", body["input"], body, body, "input"))
    for item in _items(body):
        if item.get("type") == _RETURN:
            found += part_slots("tool", item, "output")
        elif item.get("role"):
            found += part_slots(str(item["role"]), item, "content")
    return found


def tool_returns(body: dict[str, Any]) -> list[ToolReturn]:
    """Return the tool results in a request, in order."""
    calls: dict[str, tuple[str, str]] = {}
    found: list[ToolReturn] = []
    for item in _items(body):
        identifier = str(item.get("call_id", ""))
        if item.get("type") == _CALL:
            calls[identifier] = (str(item.get("name", "")), argument_text(item.get("arguments", "")))
        elif item.get("type") == _RETURN:
            for slot in part_slots("tool", item, "output"):
                found.append(ToolReturn(identifier, *calls.get(identifier, ("", "")), slot))
                break
    return found


def add(body: dict[str, Any], text: str, *, after: dict[str, Any] | None = None) -> dict[str, Any]:
    """Insert a user message after item `after` (before the last user message if None); return it."""
    items = _as_list(body)
    if after is body:  # the request was one string, which is the first item now
        return insert_user(items, text, place=1)
    return insert_user(items, text, place=-1 if after is None else index_of(items, after) + 1)


def remove(body: dict[str, Any], slot: Slot) -> None:
    """Take the message that holds `slot` out, or empty it where the request would become invalid."""
    item = slot.item
    key = "output" if item.get("type") == _RETURN else "content"
    parts = [] if item is body else list(part_slots(slot.role, item, key))
    others = [other for other in parts if other.holder is not slot.holder and other.text.strip()]
    if item is body or others or item.get("type") == _RETURN or len(_items(body)) < 2:
        slot.replace("")
    else:
        place = index_of(body["input"], item)
        if place >= 0:
            del body["input"][place]


def outcome(data: dict[str, Any]) -> dict[str, Any]:
    """Return a reply as {"content", "tool_calls", "finish_reason"}."""
    output = _output(data)
    if not output and data.get("status") not in ("incomplete", "failed"):
        return dict(NO_OUTPUT)
    texts = [part["text"] for item in output for part in _text_parts(item)]
    calls = [
        {
            "id": str(item.get("call_id") or ""),
            "name": str(item.get("name") or ""),
            "arguments": argument_text(item.get("arguments", "")),
        }
        for item in output
        if item.get("type") == _CALL
    ]
    return {"content": "".join(texts) if texts else None, "tool_calls": calls, "finish_reason": _finish(data)}


def with_outcome(data: dict[str, Any], outcome: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of reply `data` that says `outcome`; other fields and items stay."""
    content, calls = outcome.get("content"), calls_of(outcome)
    output: list[dict[str, Any]] = []
    said, used = False, 0
    for item in _output(data):
        if item.get("type") == "message":
            if isinstance(content, str):
                output.append(_with_text(item, "" if said else content))
            said = True
        elif item.get("type") == _CALL:
            if used < len(calls):
                output.append(_call(calls[used], item, used))
            used += 1
        else:
            output.append(item)
    if isinstance(content, str) and not said:
        output.append(_message(content))
    output += [_call(call, {}, used + place) for place, call in enumerate(calls[used:])]
    return {**data, "output": output}


def tokens(data: dict[str, Any]) -> tuple[int, int]:
    """Return the tokens in and out that the provider counted (0 when it did not)."""
    usage = data.get("usage")
    counted = [usage.get(key) if isinstance(usage, dict) else 0 for key in ("input_tokens", "output_tokens")]
    tokens_in, tokens_out = (value if isinstance(value, int) else 0 for value in counted)
    return tokens_in, tokens_out


def ended(tail: bytes) -> bool:
    """Return whether the last bytes of a stream hold its end marker."""
    return b"response." in tail and any(mark in tail for mark in _MARKS)


def from_events(events: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the response that the last event of the stream holds, or None if it never came."""
    for event in events:
        if event.get("type") in _LAST and isinstance(event.get("response"), dict):
            response: dict[str, Any] = event["response"]
            return response
    return None


def to_events(data: dict[str, Any], body: dict[str, Any]) -> Iterator[bytes]:
    """Yield the events that carry response `data`."""
    numbers = itertools.count()

    def event(kind: str, **more: Any) -> bytes:
        value = _ENCODE({"type": kind, "sequence_number": next(numbers), **more})
        return f"event: {kind}\ndata: {value}\n\n".encode("utf-8", "surrogatepass")

    yield event("response.created", response={**data, "output": [], "status": "in_progress", "usage": None})
    for index, item in enumerate(_output(data)):
        place = {"output_index": index, "item_id": item.get("id", "")}
        if item.get("type") == "message":
            yield event(
                "response.output_item.added",
                output_index=index,
                item={**item, "content": [], "status": "in_progress"},
            )
            for number, part in enumerate(item.get("content") or ()):
                here = {**place, "content_index": number}
                yield event("response.content_part.added", **here, part={**part, "text": ""})
                if isinstance(part.get("text"), str):
                    yield event("response.output_text.delta", **here, delta=part["text"], logprobs=[])
                    yield event("response.output_text.done", **here, text=part["text"], logprobs=[])
                yield event("response.content_part.done", **here, part=part)
        elif item.get("type") == _CALL:
            yield event(
                "response.output_item.added",
                output_index=index,
                item={**item, "arguments": "", "status": "in_progress"},
            )
            yield event("response.function_call_arguments.delta", **place, delta=item.get("arguments", ""))
            yield event(
                "response.function_call_arguments.done",
                **place,
                arguments=item.get("arguments", ""),
                name=item.get("name", ""),
            )
        else:
            yield event("response.output_item.added", output_index=index, item=item)
        yield event("response.output_item.done", output_index=index, item=item)
    last = f"response.{data['status']}" if data.get("status") in ("incomplete", "failed") else ""
    yield event(last or "response.completed", response=data)


def _as_list(body: dict[str, Any]) -> list[Any]:
    items = body.get("input")
    if not isinstance(items, list):
        items = [{"role": "user", "content": items}] if isinstance(items, str) else []
        body["input"] = items
    return items


def _items(body: dict[str, Any]) -> list[dict[str, Any]]:
    items = body.get("input")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _output(data: dict[str, Any]) -> list[dict[str, Any]]:
    output = data.get("output")
    return [item for item in output if isinstance(item, dict)] if isinstance(output, list) else []


def _text_parts(item: dict[str, Any]) -> list[dict[str, Any]]:
    content = item.get("content") if item.get("type") == "message" else None
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _finish(data: dict[str, Any]) -> str:
    if data.get("status") == "incomplete":
        details = data.get("incomplete_details")
        return str(details.get("reason") if isinstance(details, dict) else "") or "incomplete"
    return "tool_calls" if any(item.get("type") == _CALL for item in _output(data)) else "stop"


def _with_text(item: dict[str, Any], text: str) -> dict[str, Any]:
    first = next(iter(_text_parts(item)), {"type": "output_text", "annotations": []})
    rest = [part for part in item.get("content") or () if part not in _text_parts(item)]
    return {**item, "content": [{**first, "text": text, "logprobs": []}, *rest]}


def _message(text: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": text, "annotations": []}
    return {
        "type": "message",
        "id": "msg_0",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }


def _call(call: dict[str, Any], before: dict[str, Any], number: int) -> dict[str, Any]:
    return {
        "type": _CALL,
        "id": f"fc_{number}",
        "status": "completed",
        **before,
        "call_id": call.get("id") or before.get("call_id") or f"call_{number}",
        "name": call.get("name", ""),
        "arguments": argument_text(call.get("arguments", "")),
    }
