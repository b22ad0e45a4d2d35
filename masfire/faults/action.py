"""Action faults: a tool call with wrong values, a broken format, or the wrong tool."""

from __future__ import annotations

import difflib
import json
import re
from typing import Any, Literal

from msgspec import Struct

from masfire.claims.leaves import Path, embedded, get, leaves
from masfire.faults.base import FAULTS, FaultSpec, Inapplicable, Scene, Tool
from masfire.faults.calls import Call, argument_schema, call_like, catalogue, find
from masfire.faults.edits import removed, replaced
from masfire.faults.plausible import wrong_value
from masfire.faults.rewrite import Rewrite, Rewritten
from masfire.faults.schemas import accepts, at, blank

NO_CALL = Inapplicable("the output holds no tool call")
_WORD = re.compile(r"[a-z]{3,}")


class ParameterFillingError(Rewrite):
    """PFE: a valid call whose argument values are wrong; tool, keys and types stay."""

    name = "parameter_filling_error"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`values`: how many argument values are changed in one call."""

        values: int = 1

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output with other values in one of its calls."""
        calls = [call for call in find(value) if call.args]
        if not calls:
            return Inapplicable("the output holds no tool call with arguments")
        scene.rng.shuffle(calls)
        for call in calls:
            args, notes = self._perturbed(call, spec, scene)
            if notes:
                return Rewritten(replaced(value, call.args_path, args), "; ".join(notes))
        return Inapplicable("the schema allows no other value for any argument")

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether a call has the same tool, keys and types, fits its schema, and says otherwise."""
        differs = False
        for call in find(before):
            other = call_like(received, call)
            if other is None or other.name != call.name or not _same_shape(call.args, other.args):
                return False
            if other.args != call.args:
                schema = argument_schema(call, scene)
                if accepts(schema, call.args) and not accepts(schema, other.args):
                    return False
                differs = True
        return differs

    def _perturbed(self, call: Call, spec: FaultSpec, scene: Scene) -> tuple[dict[str, Any], list[str]]:
        schema = argument_schema(call, scene)
        valid = accepts(schema, call.args)
        everything = list(leaves(call.args))
        places = [(path, leaf) for path, leaf in everything if path != (call.name_key,) or call.args_key]
        scene.rng.shuffle(places)
        places.sort(key=lambda place: (place[1] is None, isinstance(place[1], bool)))
        args, notes = call.args, []
        for path, leaf in places:
            siblings = [other for where, other in everything if where != path]
            new = wrong_value(leaf, scene.rng, schema=at(schema, path), siblings=siblings)
            if new == leaf or (leaf is None and "type" in at(schema, path)):
                continue
            attempt = replaced(args, path, new)
            if _same_shape(call.args, attempt) and (not valid or accepts(schema, attempt)):
                args = attempt
                notes.append(f"{path[-1]}: {leaf!r} became {new!r}")
            if len(notes) >= max(1, self.configure(spec).values):
                break
        return args, notes


class ToolFormatError(Rewrite):
    """TFE: the call is malformed, so that the parser or the tool's schema rejects it."""

    name = "tool_format_error"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`how`: which defect (bracket, quotes, equals: broken text; required, type: schema), or any."""

        how: Literal["any", "bracket", "quotes", "equals", "required", "type"] = "any"

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output with one malformed call."""
        calls = find(value)
        if not calls:
            return NO_CALL
        call = scene.rng.choice(calls)
        asked = self.configure(spec).how
        ways = ["bracket", "quotes", "equals", "required", "type"] if asked == "any" else [asked]
        scene.rng.shuffle(ways)
        for way in ways:
            broken = (
                _structure(value, call, way, scene)
                if way in ("required", "type")
                else _text(value, call, way)
            )
            if broken is not None and self.proves(value, broken, spec, scene):
                return Rewritten(broken, f"defect: {way}")
        return Inapplicable(f"the call cannot be broken by {asked!r} so that a parser or schema rejects it")

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether the parser rejects a call's text, or its schema the arguments.

        Where no schema is known, the original's keys and types stand for it, unless the call is text.
        """
        return any(_rejected(call, received, scene) for call in find(before))


class ToolSelectionError(Rewrite):
    """TSE: the nearest other tool of the catalogue is called, with arguments that fit its schema."""

    name = "tool_selection_error"

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output calling another tool."""
        calls = [call for call in find(value) if call.name]
        if not calls:
            return NO_CALL
        scene.rng.shuffle(calls)
        for call in calls:
            tools = catalogue(call, scene)
            tool = _nearest(call.name, tools)
            if tool is None:
                continue
            changed = value
            if call.args_key:
                changed = replaced(changed, call.args_path, adapted(call.args, tool.schema))
            changed = replaced(changed, (*call.path, call.name_key), tool.name)
            return Rewritten(changed, f"{call.name} became {tool.name}")
        return Inapplicable("no other tool is known that could be called instead")

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether another tool of the catalogue is called, with arguments its schema accepts."""
        for call in find(before):
            other = call_like(received, call)
            if other is None or not call.name or other.name == call.name:
                continue
            tool = next((tool for tool in catalogue(call, scene) if tool.name == other.name), None)
            if tool is not None and (not call.args_key or accepts(tool.schema, other.args)):
                return True
        return False


def adapted(args: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Return `args` mapped to another tool's schema: by name, else by type; the rest is blank."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return args
    left = dict(args)
    found: dict[str, Any] = {}
    for key, field in properties.items():
        if key in left and accepts(field, left[key]):
            found[key] = left.pop(key)
    for key in schema.get("required") or ():
        if key in found:
            continue
        field = properties.get(key) or {}
        fit = next((old for old, item in left.items() if field and accepts(field, item)), None)
        found[key] = left.pop(fit) if fit is not None else blank(field)
    return found


def _nearest(name: str, tools: list[Tool]) -> Tool | None:
    own = next((tool for tool in tools if tool.name == name), Tool(name))
    others = [tool for tool in tools if tool.name != name]
    return max(others, key=lambda tool: (_likeness(own, tool), tool.name), default=None)


def _likeness(left: Tool, right: Tool) -> float:
    names = difflib.SequenceMatcher(None, left.name, right.name).ratio()
    ours, theirs = (set(_WORD.findall(tool.description.casefold())) for tool in (left, right))
    return names + (len(ours & theirs) / len(ours | theirs) if ours and theirs else 0.0)


def _same_shape(before: Any, after: Any) -> bool:
    if isinstance(before, dict):
        return (
            isinstance(after, dict)
            and before.keys() == after.keys()
            and all(_same_shape(item, after[key]) for key, item in before.items())
        )
    if isinstance(before, list):
        return isinstance(after, list) and len(before) == len(after) and all(map(_same_shape, before, after))
    return type(before) is type(after) or (before is None and after == "")


def _text(value: Any, call: Call, way: str) -> Any | None:
    holder = call.holder
    if holder is None:
        return None
    text = get(value, holder)
    if way == "bracket":
        position = max(text.rfind("}"), text.rfind("]"))
        broken = text[:position] + text[position + 1 :]
    elif way == "quotes":
        broken = text.replace('"', "'")
    else:
        broken = re.sub(r'"(\s*):', r'"\1=', text, count=1)
    return replaced(value, holder, broken) if broken != text and embedded(broken) is None else None


def _structure(value: Any, call: Call, way: str, scene: Scene) -> Any | None:
    schema = argument_schema(call, scene)
    if not schema and call.holder is not None:
        return None
    if way == "required":
        keys = [key for key in schema.get("required") or call.args if key in call.args]
        return removed(value, (*call.args_path, scene.rng.choice(keys))) if keys else None
    if not call.args:
        return None
    key = scene.rng.choice(sorted(call.args))
    item = call.args[key]
    other: Any = [item] if isinstance(item, str) else json.dumps(item)
    return replaced(value, (*call.args_path, key), other)


def _rejected(call: Call, received: Any, scene: Scene) -> bool:
    holder: Path | None = call.holder
    if holder is not None:
        try:
            text = get(received, holder)
        except LookupError:
            return False
        if not isinstance(text, str):
            return False
        if embedded(text) is None:
            return True
    other = call_like(received, call)
    schema = argument_schema(call, scene)
    if other is None:
        return False
    if schema:
        return accepts(schema, call.args) and not accepts(schema, other.args)
    return holder is None and not _same_shape(call.args, other.args)


for _fault in (ParameterFillingError, ToolFormatError, ToolSelectionError):
    FAULTS.add(_fault.name, _fault(), owner=__name__)
