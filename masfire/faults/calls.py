"""Where an output holds a tool call: native calls, JSON that becomes the call, flat JSON arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from masfire.claims.leaves import INSIDE, Path, embedded, get
from masfire.faults.base import Scene, Tool
from masfire.faults.requests import reply_schema, tools_of
from masfire.faults.schemas import at, choices

TOOL_KEYS = ("tool", "tool_name", "function", "action", "name")
ARGUMENT_KEYS = ("args", "arguments", "parameters", "input", "action_input")


class Call(Struct, frozen=True):
    """One tool call inside a payload.

    `path` leads to the object that is the call, `name_key` and `args_key` are its fields ("" when the
    object has no such field: flat arguments), `args` the decoded arguments; `text` says whether the
    arguments are written as a JSON text.
    """

    path: Path
    name: str
    args: dict[str, Any]
    name_key: str = ""
    args_key: str = ""
    text: bool = False

    @property
    def args_path(self) -> Path:
        """Return the path to the decoded arguments."""
        path = (*self.path, self.args_key) if self.args_key else self.path
        return (*path, INSIDE) if self.text else path

    @property
    def holder(self) -> Path | None:
        """Return the path to the innermost text in which the call is written, None for structured ones."""
        path = self.args_path
        for position in range(len(path) - 1, -1, -1):
            if path[position] == INSIDE:
                return path[:position]
        return None


def find(value: Any) -> list[Call]:
    """Return the tool calls of a payload; without any, its flat JSON objects as calls without a tool."""
    found = list(_named(value, ()))
    return found or list(_flat(value, ()))


def catalogue(call: Call, scene: Scene) -> list[Tool]:
    """Return the tools that the caller of `call` may choose from, as far as they are known.

    The request's own tools, or the choices of its reply schema, or what was learnt of the system.
    """
    request = scene.request()
    offered = tools_of(request)
    if any(tool.name == call.name for tool in offered):
        return offered
    named = choices(reply_schema(request), call.name_key) if call.name_key else []
    if call.name in named:
        return [scene.tools.get(name, Tool(name)) for name in named]
    return list(scene.tools.values()) if call.name in scene.tools else offered


def argument_schema(call: Call, scene: Scene) -> dict[str, Any]:
    """Return the JSON Schema of the call's arguments ({} when none is known)."""
    for tool in catalogue(call, scene):
        if tool.name == call.name and tool.schema:
            return tool.schema
    path = call.args_path
    if INSIDE not in path:
        return {}
    bound = reply_schema(scene.request())
    inner = at(bound, path[path.index(INSIDE) + 1 :]) if bound else {}
    if inner and "$defs" in bound:
        inner = {**inner, "$defs": bound["$defs"]}
    return inner


def _named(value: Any, path: Path) -> Iterator[Call]:
    if isinstance(value, dict):
        call = _as_call(value, path)
        if call is not None:
            yield call
            return
        for key, item in value.items():
            yield from _named(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _named(item, (*path, position))
    elif isinstance(value, str) and len(path) < 64:
        inner = embedded(value)
        if inner is not None:
            yield from _named(inner.value, (*path, INSIDE))


def _as_call(value: dict[str, Any], path: Path) -> Call | None:
    name_key = next((key for key in TOOL_KEYS if isinstance(value.get(key), str)), "")
    if not name_key:
        return None
    for key in ARGUMENT_KEYS:
        args = value.get(key)
        if isinstance(args, dict):
            return Call(path, value[name_key], args, name_key, key)
        inner = embedded(args) if isinstance(args, str) else None
        if inner is not None and isinstance(inner.value, dict):
            return Call(path, value[name_key], inner.value, name_key, key, text=True)
    return None


def _flat(value: Any, path: Path) -> Iterator[Call]:
    if isinstance(value, str):
        inner = embedded(value)
        if inner is not None:
            yield from _flat_objects(inner.value, (*path, INSIDE))
    elif isinstance(value, dict) and not path and "finish_reason" in value:
        yield from _flat(value.get("content"), ("content",))
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "messages" and isinstance(item, list):
                for position, entry in enumerate(item):
                    if isinstance(entry, dict):
                        yield from _flat(entry.get("content"), (*path, key, position, "content"))
            else:
                yield from _flat_objects(item, (*path, key))
                if isinstance(item, str):
                    yield from _flat(item, (*path, key))


def _flat_objects(value: Any, path: Path) -> Iterator[Call]:
    if isinstance(value, list):
        for position, item in enumerate(value):
            yield from _flat_objects(item, (*path, position))
    elif isinstance(value, dict) and value:
        key = next((key for key in TOOL_KEYS[:4] if isinstance(value.get(key), str)), "")
        yield Call(path, value[key] if key else "", value, key)


def call_like(value: Any, call: Call) -> Call | None:
    """Return the call that stands in `value` where `call` stood, None when nothing is there."""
    try:
        there = get(value, call.path)
    except LookupError:
        return None
    if not isinstance(there, dict):
        return None
    if not call.args_key:
        name = there.get(call.name_key)
        return Call(call.path, name if isinstance(name, str) else "", there, call.name_key)
    return _as_call(there, call.path)
