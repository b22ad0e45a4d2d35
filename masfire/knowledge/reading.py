"""What is wrong with a file of lessons: every mistake with its line, not only the first."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import yaml

from masfire.knowledge.model import ACCEPTED, PROPOSED, REJECTED, MistakeNote, Slot, Trial
from masfire.yamlfile import Mistake, column_of, construct, line_of, repeated_keys, short

CHOICES: Mapping[tuple[type, str], tuple[str, ...]] = {
    (MistakeNote, "status"): (PROPOSED, ACCEPTED, REJECTED),
    (Trial, "way"): ("prompt", "rewrite"),
    (Slot, "kind"): ("message", "model_reply", "tool_call"),
    (Slot, "where"): ("last", "parents"),
}
"""Fields that hold one word of a list."""


def mistakes_of(node: yaml.Node, kind: type[msgspec.Struct]) -> Iterator[Mistake]:
    """Yield what is wrong with a YAML tree that should be a `kind`: keys, types, words of a list."""
    yield from repeated_keys(node)
    yield from _of_struct(node, kind, kind.__name__.lower())


def _of_struct(node: yaml.Node, kind: type[msgspec.Struct], name: str) -> Iterator[Mistake]:
    if not isinstance(node, yaml.MappingNode):
        yield _mistake(node, f"{name} must be a mapping of keys to values.")
        return
    hints = typing.get_type_hints(kind)
    given = set()
    for key, value in node.value:
        field = str(key.value)
        given.add(field)
        if field not in hints:
            near = difflib.get_close_matches(short(field), hints, n=1)
            did = f"Did you mean {near[0]!r}? " if near else ""
            yield _mistake(key, f"Unknown key {short(field)!r} of {name}. {did}Known: {', '.join(hints)}.")
            continue
        yield from _of_value(value, hints[field], field)
        known = CHOICES.get((kind, field))
        if known and value.value not in known:
            yield _mistake(value, f"{field} is {short(str(value.value))!r}; it must be {' or '.join(known)}.")
    for needed in msgspec.structs.fields(kind):
        if needed.required and needed.name not in given:
            yield _mistake(node, f"{name} lacks the key {needed.name!r}.")


def _of_value(node: yaml.Node, hint: Any, name: str) -> Iterator[Mistake]:
    """Yield what is wrong with a value: of a struct, of a list of structs, or of a plain type."""
    struct = _struct_of(hint)
    if struct is not None and not (type(None) in typing.get_args(hint) and construct(node) is None):
        yield from _of_struct(node, struct, name)
        return
    parts = typing.get_args(hint)
    inner = _struct_of(parts[0]) if typing.get_origin(hint) is tuple else None
    if inner is None or not isinstance(node, yaml.SequenceNode):
        try:
            msgspec.convert(construct(node), hint)
        except msgspec.ValidationError as error:
            yield _mistake(node, f"{name}: {short(str(error))}.")
        return
    for item in node.value:
        yield from _of_struct(item, inner, f"one of {name}")


def _struct_of(hint: Any) -> type[msgspec.Struct] | None:
    """Return the struct that a hint names, alone or beside None."""
    for one in (hint, *(typing.get_args(hint) if typing.get_origin(hint) is not tuple else ())):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return one
    return None


def _mistake(node: yaml.Node, what: str) -> Mistake:
    return Mistake(line_of(node), what, column_of(node))
