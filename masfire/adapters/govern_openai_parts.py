"""What requests and replies of the OpenAI SDK hold: tool calls, texts, hosted tools; how to change them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from msgspec import Struct

ANSWERS = frozenset({
    "message", "reasoning", "function_call_output", "file_search_call", "web_search_call",
    "code_interpreter_call", "image_generation_call", "mcp_call", "mcp_list_tools", "compaction",
})  # fmt: skip
"""Items of a response that ask nobody to do anything; tools that the provider runs are asked about before."""

OVERRIDING = frozenset({
    "model", "messages", "input", "instructions", "tools", "stream", "n", "background",
    "max_tokens", "max_completion_tokens", "max_output_tokens", "functions", "previous_response_id", "prompt",
})  # fmt: skip
"""What must not come in by `extra_body`, past the check of the request itself."""


class Asked(Struct, frozen=True):
    """One call that a reply asks its receiver to make; `hand` gives the receiver what was checked."""

    name: str
    id: str
    args: Any
    hand: Callable[[Any], None]


def calls_of(reply: Any) -> Iterator[Asked]:
    """Yield every call in a reply of either API, of whatever kind; unknown kinds are calls as well."""
    for choice in getattr(reply, "choices", None) or []:
        message = choice.message
        if getattr(message, "function_call", None) is not None:
            yield _function(message.function_call, "")
        for call in getattr(message, "tool_calls", None) or []:
            called = str(getattr(call, "id", "") or "")
            if getattr(call, "function", None) is not None:
                yield _function(call.function, called)
            elif getattr(call, "custom", None) is not None:
                yield _custom(call.custom, called)
            else:
                yield _other(call, called)
    for item in getattr(reply, "output", None) or []:
        kind = str(getattr(item, "type", ""))
        called = str(getattr(item, "call_id", "") or getattr(item, "id", "") or "")
        if kind == "function_call":
            yield _function(item, called)
        elif kind == "custom_tool_call":
            yield _custom(item, called)
        elif kind not in ANSWERS:
            yield _other(item, called)


def _function(function: Any, called: str) -> Asked:
    try:
        args = json.loads(function.arguments)
    except (ValueError, RecursionError, AttributeError, TypeError):
        args = str(getattr(function, "arguments", ""))

    def hand(checked: Any) -> None:
        function.arguments = checked if isinstance(args, str) else json.dumps(checked)
        parsed = getattr(function, "parsed_arguments", None)
        if parsed is not None:
            function.parsed_arguments = rebuilt(parsed, checked)

    return Asked(str(getattr(function, "name", "")), called, args, hand)


def _custom(call: Any, called: str) -> Asked:
    def hand(checked: Any) -> None:
        call.input = checked["input"]

    return Asked(str(getattr(call, "name", "")), called, {"input": getattr(call, "input", None)}, hand)


def _other(item: Any, called: str) -> Asked:
    shown = dumped(item)

    def hand(checked: Any) -> None:
        if checked != shown:
            raise TypeError("A call of this kind cannot be changed.")

    return Asked(str(getattr(item, "type", "")), called, shown, hand)


def hosted(body: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield (name, settings) of the tools that the provider would run itself during this request."""
    for tool in body.get("tools") or ():
        kind = str(tool.get("type", "")) if isinstance(tool, dict) else ""
        if kind not in ("function", "custom"):
            yield kind, tool
    if body.get("web_search_options") is not None:
        yield "web_search", body["web_search_options"]


def texts_of(reply: Any) -> Iterator[tuple[Any, str]]:
    """Yield (holder, field) of every text in a reply."""
    for choice in getattr(reply, "choices", None) or []:
        yield choice.message, "content"
    for item in getattr(reply, "output", None) or []:
        for part in getattr(item, "content", None) or []:
            yield part, "text"


def put_text(holder: Any, field: str, said: str) -> None:
    """Change a text, and what was parsed from it."""
    if getattr(holder, field) == said:
        return
    setattr(holder, field, said)
    parsed = getattr(holder, "parsed", None)
    if parsed is not None:
        holder.parsed = rebuilt(parsed, json.loads(said))


def rebuilt(parsed: Any, value: Any) -> Any:
    """Return a parsed object made anew from a checked value; raise when its class refuses it."""
    return type(parsed).model_validate(value) if hasattr(parsed, "model_validate") else value


def frozen(value: Any, depth: int = 0) -> Any:
    """Return a request field as data: the SDK's own objects by their fields; others as they are."""
    if depth > 64:
        return value
    if isinstance(value, dict):
        return {key: frozen(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [frozen(item, depth + 1) for item in value]
    return dumped(value) if callable(getattr(value, "model_dump", None)) else value


def passes(key: str, value: Any) -> bool:
    """Return whether a request field is no data at all: a class to parse into, a marker, a time-out."""
    return isinstance(value, type) or key == "timeout" or type(value).__name__ in ("NotGiven", "Omit")


def dumped(value: Any) -> Any:
    """Return an object of the SDK as data."""
    if isinstance(value, type) or not callable(getattr(value, "model_dump", None)):
        return value
    return value.model_dump(mode="json", exclude_unset=True)
