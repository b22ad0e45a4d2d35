"""What pydantic says of a written contract, in words and with its place in the file."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from masfire.yamlfile import MAX_MISTAKES, Mistake, column_of, find, line_of, short


def explained(
    error: ValidationError, data: Any, node: yaml.Node, model: type[BaseModel]
) -> Iterator[Mistake]:
    """Yield the mistakes of one contract, one for each place."""
    told: set[tuple[str | int, ...]] = set()
    details = error.errors(include_url=False, include_context=False)
    for detail in details[: 4 * MAX_MISTAKES]:
        location, fits = _written(detail["loc"], data, missing=detail["type"] == "missing")
        if not fits or location in told:
            continue
        told.add(location)
        where = find(node, location) if location else node
        yield Mistake(line_of(where), _sentence(detail, location, model), column_of(where))


def without_unknown_keys(error: ValidationError, raw: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a contract without the keys that it may not have; None when something else is wrong too."""
    extra = {
        each["loc"][0]
        for each in error.errors(include_url=False, include_context=False, include_input=False)
        if each["type"] == "extra_forbidden" and len(each["loc"]) == 1
    }
    return {key: value for key, value in raw.items() if key not in extra} if extra else None


def near(name: str, known: Sequence[str]) -> str:
    """Return " Did you mean 'x'?", or nothing."""
    found = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def _written(
    location: tuple[int | str, ...], data: Any, *, missing: bool
) -> tuple[tuple[int | str, ...], bool]:
    """Return a location without pydantic's names of union branches, and whether its branch fits the value.

    `when: {too: x}` fails as a Selector and as a text; only the former is what was meant.
    """
    path: list[int | str] = []
    for position, part in enumerate(location):
        last = position == len(location) - 1
        inside = part in data if isinstance(data, dict) else type(part) is int and part < _length(data)
        if inside:
            data = data[part]
        elif last and missing:
            path.append(part)
            continue
        else:
            if isinstance(data, dict | list) and part == "str":
                return tuple(path), False
            continue
        path.append(part)
    return tuple(path), True


def _length(data: Any) -> int:
    return len(data) if isinstance(data, list) else 0


def _sentence(detail: Any, location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    place = short(".".join(str(part) for part in location))
    if detail["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return f"Unknown key {place!r}.{near(str(location[-1]), known)} Known: {', '.join(sorted(known))}."
    if detail["type"] == "missing":
        return f"Key {place!r} is missing."
    given = detail.get("input")
    if detail["type"] == "literal_error":
        known = re.findall(r"'([^']*)'", str(detail["msg"]))
        return f"{place}: unknown {short(repr(given))}.{near(str(given), known)} Known: {', '.join(known)}."
    message = str(detail["msg"]).removeprefix("Value error, ").rstrip(".")
    shown = "" if isinstance(given, dict | list) else f" (got {short(repr(given))})"
    return f"{place}: {short(message[:1].lower() + message[1:])}{shown}."


def _keys_at(model: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """Return the keys that a mapping at `location` may have."""
    for part in location:
        by_key = {info.alias or name: info for name, info in model.model_fields.items()}
        info = by_key.get(str(part))
        if info is not None:
            model = next(_models(info.annotation), model)
    return [info.alias or name for name, info in model.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
