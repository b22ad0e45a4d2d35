"""JSON Schemas of tools and replies: what they say of one place, and whether they accept a value."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from masfire.claims.leaves import INSIDE, Path

_MAX_DEPTH = 32


def at(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return the sub-schema for the value at `path` ({} when the schema says nothing of it).

    Local references are followed; of `anyOf`/`oneOf`/`allOf` the first branch that knows the path counts.
    """
    return _at(schema, schema, tuple(element for element in path if element != INSIDE), 0)


def choices(schema: dict[str, Any], key: str) -> list[str]:
    """Return the texts that `enum` or `const` allow for property `key`, anywhere in the schema."""
    found: dict[str, None] = {}
    for properties in _properties(schema, 0):
        field = _resolve(schema, properties.get(key))
        if isinstance(field, dict):
            options = field.get("enum") or ([field["const"]] if "const" in field else [])
            found.update(dict.fromkeys(option for option in options if isinstance(option, str)))
    return list(found)


def accepts(schema: dict[str, Any], value: Any) -> bool:
    """Return whether `schema` accepts `value`; a schema that is itself broken accepts everything.

    References to other documents are never fetched.
    """
    if not schema:
        return True
    import jsonschema
    import referencing
    from jsonschema.validators import validator_for

    try:
        validator = validator_for(schema, default=jsonschema.Draft202012Validator)
        return bool(validator(schema, registry=referencing.Registry()).is_valid(value))
    except (jsonschema.SchemaError, jsonschema.exceptions.UnknownType, RecursionError):
        return True
    except Exception as error:
        if type(error).__module__.startswith(("referencing", "jsonschema")):
            return True
        raise


def blank(schema: dict[str, Any]) -> Any:
    """Return a plain value that fits a property's schema (its default, first choice, or an empty one)."""
    if "default" in schema:
        return schema["default"]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = kind[0] if kind else None
    if kind in ("integer", "number"):
        return schema.get("minimum", 1)
    return {"string": "unknown", "boolean": False, "array": [], "object": {}}.get(str(kind))


def _at(root: dict[str, Any], node: Any, path: Path, depth: int) -> dict[str, Any]:
    node = _resolve(root, node)
    if not isinstance(node, dict) or depth > _MAX_DEPTH:
        return {}
    if not path:
        return node
    head, rest = path[0], path[1:]
    if isinstance(head, str) and isinstance(node.get("properties"), dict) and head in node["properties"]:
        return _at(root, node["properties"][head], rest, depth + 1)
    if isinstance(head, int) and isinstance(node.get("items"), dict):
        return _at(root, node["items"], rest, depth + 1)
    for word in ("anyOf", "oneOf", "allOf"):
        for branch in node.get(word) or ():
            found = _at(root, branch, path, depth + 1)
            if found:
                return found
    return {}


def _resolve(root: dict[str, Any], node: Any) -> Any:
    for _ in range(_MAX_DEPTH):
        if not (isinstance(node, dict) and isinstance(node.get("$ref"), str)):
            return node
        target: Any = root
        for part in node["$ref"].removeprefix("#").strip("/").split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        node = target
    return node


def _properties(node: Any, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _MAX_DEPTH:
        return
    if isinstance(node, dict):
        if isinstance(node.get("properties"), dict):
            yield node["properties"]
        for item in node.values():
            yield from _properties(item, depth + 1)
    elif isinstance(node, list):
        for item in node:
            yield from _properties(item, depth + 1)
