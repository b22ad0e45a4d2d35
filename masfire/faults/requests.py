"""What a model request says, however the API spells it: system text, turns, tools, schema."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from masfire.faults.base import Tool

SYSTEM_ROLES = ("system", "developer")


def turns_key(body: dict[str, Any]) -> str:
    """Return the field that holds the conversation: `messages` (chat) or `input` (Responses API)."""
    return "input" if "input" in body and "messages" not in body else "messages"


def turns(body: Any) -> list[Any]:
    """Return the conversation's items (a text input becomes one user item; no request has none)."""
    items = body.get(turns_key(body)) if isinstance(body, dict) else None
    if isinstance(items, str):
        return [{"role": "user", "content": items}]
    return list(items) if isinstance(items, list) else []


def with_turns(body: dict[str, Any], items: list[Any]) -> dict[str, Any]:
    """Return a copy of the request with other conversation items."""
    key = turns_key(body)
    if isinstance(body.get(key), str) and len(items) == 1 and isinstance(items[0].get("content"), str):
        return {**body, key: items[0]["content"]}
    return {**body, key: items}


def text_of(item: Any) -> str:
    """Return the text of one item, its parts joined by newlines."""
    content = item.get("content", item.get("output")) if isinstance(item, dict) else item
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if _is_text(part))
    return ""


def with_text(item: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a copy of the item that says `text` (in its first text part; further ones are dropped)."""
    content = item.get("content")
    if not isinstance(content, list):
        return {**item, "content": text}
    parts: list[Any] = []
    written = False
    for part in content:
        if not _is_text(part):
            parts.append(part)
        elif not written:
            parts.append({**part, "text": text})
            written = True
    return {**item, "content": parts if written else [{"type": "text", "text": text}, *parts]}


def role_of(item: Any) -> str:
    """Return the role of one item (`tool` for a Responses API function_call_output)."""
    if not isinstance(item, dict):
        return ""
    kind = item.get("type")
    if kind == "function_call_output":
        return "tool"
    if kind in ("function_call", "reasoning"):
        return "assistant"
    return str(item.get("role") or "")


def system_text(body: Any) -> str:
    """Return the request's system text: instructions and system messages, joined by newlines."""
    if not isinstance(body, dict):
        return ""
    texts = [body["instructions"]] if isinstance(body.get("instructions"), str) else []
    texts += [text_of(item) for item in turns(body) if role_of(item) in SYSTEM_ROLES]
    return "\n".join(texts)


def with_system(body: dict[str, Any], addition: str) -> dict[str, Any]:
    """Return a copy whose system text ends with `addition`; a system message is made if there is none."""
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        return {**body, "instructions": f"{body['instructions']}\n\n{addition}"}
    items = turns(body)
    for position, item in enumerate(items):
        if role_of(item) in SYSTEM_ROLES:
            items[position] = with_text(item, f"{text_of(item)}\n\n{addition}")
            return with_turns(body, items)
    if turns_key(body) == "input":
        return {**body, "instructions": addition}
    return with_turns(body, [{"role": "system", "content": addition}, *items])


def with_system_replaced(body: dict[str, Any], text: str) -> dict[str, Any]:
    """Return a copy whose first system text is `text`; a system message is made if there is none."""
    if isinstance(body.get("instructions"), str) and body["instructions"]:
        return {**body, "instructions": text}
    items = turns(body)
    for position, item in enumerate(items):
        if role_of(item) in SYSTEM_ROLES:
            items[position] = with_text(item, text)
            return with_turns(body, items)
    return with_system(body, text)


def last_user(items: list[Any]) -> int:
    """Return the position of the final user item, -1 when there is none."""
    for position in range(len(items) - 1, -1, -1):
        if role_of(items[position]) == "user":
            return position
    return -1


def tools_of(body: Any) -> list[Tool]:
    """Return the tool catalogue of a request (chat and Responses spelling)."""
    found: list[Tool] = []
    entries = body.get("tools") if isinstance(body, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        card = entry.get("function", entry) if isinstance(entry, dict) else None
        if isinstance(card, dict) and isinstance(card.get("name"), str):
            schema = card.get("parameters")
            found.append(
                Tool(
                    card["name"],
                    str(card.get("description") or ""),
                    schema if isinstance(schema, dict) else {},
                )
            )
    return found


def reply_schema(body: Any) -> dict[str, Any]:
    """Return the JSON Schema that binds the reply ({} when it is free)."""
    if not isinstance(body, dict):
        return {}
    chat = body.get("response_format")
    responses = body.get("text")
    for holder in (chat, responses.get("format") if isinstance(responses, dict) else None):
        if isinstance(holder, dict):
            inner = holder.get("json_schema", holder)
            schema = inner.get("schema") if isinstance(inner, dict) else None
            if isinstance(schema, dict):
                return schema
    return {}


def all_text(items: Iterable[Any]) -> str:
    """Return the text of several items, a newline between them."""
    return "\n".join(text_of(item) for item in items)


def _is_text(part: Any) -> bool:
    return isinstance(part, dict) and isinstance(part.get("text"), str)
