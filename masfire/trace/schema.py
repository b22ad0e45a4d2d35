"""The published JSON Schema of a line of a trace file, made from the structs that read it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Union, get_args

import msgspec

from masfire.trace.lines import Join, Torn
from masfire.trace.model import TRACE_VERSION, Body, Drawn, End, Header, Original, Step
from masfire.trace.payload import Payload

SCHEMA_FILE = Path(__file__).with_name("trace.schema.json")
"""Where the schema is published; `masfire.trace.schema.schema_text` gives its content."""

_RECORDS: tuple[tuple[str, type], ...] = (
    ("header", Header),
    ("step", Step),
    ("end", End),
    ("join", Join),
    ("torn", Torn),
    ("original", Original),
    ("drawn", Drawn),
)


def trace_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) that each line of a trace file satisfies."""
    kinds = [_without_raw(kind) for _, kind in _RECORDS]
    _, parts = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    shapes = []
    for name, kind in _RECORDS:
        shape = dict(parts.pop(kind.__name__))
        shape["properties"] = {**_own_fields(name), **shape["properties"]}
        shape["required"] = ["crc", "seq", "record", *shape.get("required", [])]
        parts[f"{name}_line"] = shape
        shapes.append({"$ref": f"#/$defs/{name}_line"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"A line of a masfire trace ({TRACE_VERSION})",
        "oneOf": shapes,
        "$defs": parts,
    }


def schema_text() -> str:
    """Return the schema as it is published."""
    return json.dumps(trace_schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _without_raw(kind: type) -> type:
    """Return a struct like `kind` whose payloads are of type Any: msgspec has no schema for raw JSON."""
    fields: list[tuple[str, Any, Any]] = []
    for field in msgspec.structs.fields(kind):
        shape = field.type
        if shape == Body:
            shape = Union[tuple(_without_raw(body) for body in get_args(Body))]  # noqa: UP007 - built at run time
        elif shape == Payload:
            shape = Any
        default = None if isinstance(field.default, Payload) else field.default
        if field.default_factory is not msgspec.NODEFAULT:
            fields.append((field.name, shape, msgspec.field(default_factory=field.default_factory)))
        elif default is not msgspec.NODEFAULT:
            fields.append((field.name, shape, default))
        else:
            fields.append((field.name, shape))  # type: ignore[arg-type]  # no default is two places
    config = kind.__struct_config__  # type: ignore[attr-defined]
    mirror: type = msgspec.defstruct(kind.__name__, fields, tag=config.tag, tag_field=config.tag_field)
    mirror.__doc__ = kind.__doc__
    return mirror


def _own_fields(record: str) -> dict[str, Any]:
    return {
        "crc": {
            "type": "string",
            "pattern": "^[0-9a-f]{8}$",
            "description": "CRC-32 of the bytes after this field's comma, continued from the header's.",
        },
        "seq": {"type": "integer", "minimum": 0, "description": "Counts the lines of one writer."},
        "record": {"const": record},
        "writer": {"type": "string", "description": "Absent for the process that created the file."},
    }
