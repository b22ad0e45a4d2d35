"""JSON Schema judged fast, in linear time where patterns are concerned, and without any outside.

`compile_schema` gives the verdicts of draft 2020-12. A compiled validator (jsonschema-rs) says yes or no;
when it says no, `jsonschema` words the reasons. What is settled beyond the draft:

* `format` is an annotation, as the draft has it by default.
* `pattern` and `patternProperties` run on a linear-time engine everywhere; a pattern that needs
  backtracking (look-around, back-references), or compiles to something huge, is refused.
* A `$ref` outside the schema is refused (the draft's own meta-schemas are known): no network, no files.
* Another draft (`$schema`) is refused rather than read as 2020-12.
* `multipleOf` is exact on decimals as written: 0.07 is a multiple of 0.01, which binary floats deny.
* 1.0 is an integer and equals 1; true equals neither. Integers of any length are compared exactly.
* NaN and infinities are no JSON numbers: `type: number` refuses them, and so do bounds.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from msgspec import Struct

from masfire.errors import UsageError

Schema: TypeAlias = dict[str, Any] | bool
"""A JSON Schema, draft 2020-12."""

DRAFT = "https://json-schema.org/draft/2020-12/schema"

MOST_ERRORS = 20
"""Errors that are told of one payload."""

LONGEST = 300
"""Characters of one message; the middle of a longer one is left out."""

WORDED = 2_000
"""Values in a payload beyond which the fast validator words the errors too: `jsonschema` takes its time."""

_TYPES = ["null", "boolean", "object", "array", "string", "number"]
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
_ONE = ("additionalProperties", "contains", "contentSchema", "else", "if", "items", "not", "propertyNames",
        "then", "unevaluatedItems", "unevaluatedProperties")  # fmt: skip
_MANY = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_REGEX_BYTES = 10 * 1024 * 1024


class PayloadError(Struct, frozen=True):
    """One thing that is wrong with a payload: where in it (keys and indexes), and what."""

    path: tuple[str | int, ...]
    message: str


def compile_schema(schema: Schema, *, where: str = "") -> Callable[[Any], list[PayloadError]]:
    """Return a function that says what is wrong with a payload; an empty list when nothing is.

    Raise UsageError (naming `where`) for what is no schema of draft 2020-12, for references that lead
    outside it and for patterns that cannot run in linear time.

    >>> compile_schema({"properties": {"amount": {"maximum": 10}}})({"amount": 11})
    [PayloadError(path=('amount',), message='11 is greater than the maximum of 10')]
    """
    _refuse_other_drafts(schema, where)
    try:
        closed = _closed_to_odd_numbers(schema)
    except RecursionError:
        raise UsageError("The schema is nested too deeply.", where=where) from None
    validator = _validator(closed, where)
    is_valid: Callable[[Any], bool] = validator.is_valid
    # jsonschema matches names against `patternProperties` with an engine that can hang
    oracle = None if _mentions(schema, "patternProperties") else schema

    def errors(value: Any) -> list[PayloadError]:
        try:
            if is_valid(value):
                return []
        except UnicodeError:  # half a character, which no UTF-8 text can hold
            value = _whole(value)
            if is_valid(value):
                return []
        return _told(oracle, validator, value)

    return errors


def _validator(schema: Schema, where: str) -> Any:
    import jsonschema_rs

    try:
        return jsonschema_rs.Draft202012Validator(
            schema,
            validate_formats=False,
            pattern_options=jsonschema_rs.RegexOptions(size_limit=_REGEX_BYTES),
            offline=True,
        )
    except (ValueError, TypeError, OverflowError, jsonschema_rs.ReferencingError) as error:
        # ValidationError is a ValueError; lone surrogates and odd types are refused too
        raise UsageError(_refusal(error), where=where) from None


def _refusal(error: Exception) -> str:
    text = str(getattr(error, "message", "") or error).partition("\n")[0]
    if text.endswith('is not a "regex"'):
        pattern = text.removesuffix(' is not a "regex"')
        return (
            f"The pattern {_short(pattern)} cannot run in linear time or is no regular expression. "
            "Look-around and back-references are not supported."
        )
    if "retrieving it failed" in text:
        return f"A reference leads outside the schema, where nothing is looked up: {_short(text)}"
    path = "/".join(str(part) for part in getattr(error, "instance_path", ()))
    place = f" at {path}" if path else ""
    return f"This is no JSON Schema (draft 2020-12){place}: {_short(text)}"


def _refuse_other_drafts(schema: Schema, where: str) -> None:
    if isinstance(schema, dict):
        named = schema.get("$schema", DRAFT)
        if not isinstance(named, str) or named.rstrip("#") != DRAFT:
            raise UsageError(
                f"The schema says $schema: {_short(repr(named))}.",
                hint=f"Payloads are judged by draft 2020-12 ({DRAFT}).",
                where=where,
            )


def _closed_to_odd_numbers(schema: Any) -> Any:
    """Return the schema with every bound closed to NaN and infinities, which are of no JSON type."""
    if not isinstance(schema, dict):
        return schema
    changed = dict(schema)
    for key, value in schema.items():
        if key in _ONE:
            changed[key] = _closed_to_odd_numbers(value)
        elif key in _MANY and isinstance(value, list):
            changed[key] = [_closed_to_odd_numbers(item) for item in value]
        elif key in _NAMED and isinstance(value, dict):
            changed[key] = {name: _closed_to_odd_numbers(item) for name, item in value.items()}
    if "type" not in changed and any(bound in changed for bound in _BOUNDS):
        changed["type"] = _TYPES
    return changed


def _told(schema: Schema | None, validator: Any, value: Any) -> list[PayloadError]:
    """Return what is wrong, in the words of `jsonschema` where it agrees that something is."""
    found: list[PayloadError] = []
    if schema is not None and _small(value):
        try:
            found = [
                PayloadError(tuple(error.absolute_path), _short(error.message))
                for error in _first(_oracle()(schema, registry=_registry()).iter_errors(value))
            ]
        except (RecursionError, ArithmeticError, LookupError, TypeError, ValueError):
            found = []  # the verdict stands; it is worded below
    return found or [
        PayloadError(tuple(error.instance_path), _short(error.message))
        for error in _first(validator.iter_errors(value))
    ]


def _mentions(schema: Any, keyword: str) -> bool:
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            if keyword in item:
                return True
            stack += item.values()
        elif isinstance(item, list):
            stack += item
    return False


def _first(errors: Iterator[Any]) -> Iterator[Any]:
    for _, error in zip(range(MOST_ERRORS), errors, strict=False):
        yield error


@functools.cache
def _oracle() -> Any:
    """Return jsonschema's validator with patterns and multiples judged as the fast one does."""
    import jsonschema

    def pattern(_: Any, wanted: str, instance: Any, __: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not _matcher(wanted)(instance):
            yield jsonschema.ValidationError(f"{instance!r} does not match {wanted!r}")

    def multiple_of(_: Any, factor: Any, instance: Any, __: Any) -> Iterator[Any]:
        if not _multiple(factor)(instance):
            yield jsonschema.ValidationError(f"{instance!r} is not a multiple of {factor!r}")

    return jsonschema.validators.extend(  # type: ignore[no-untyped-call]
        jsonschema.Draft202012Validator, {"pattern": pattern, "multipleOf": multiple_of}
    )


@functools.cache
def _registry() -> Any:
    """Return a registry that knows the drafts' own schemas and looks up nothing else."""
    from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

    return REGISTRY


@functools.lru_cache(maxsize=256)
def _matcher(pattern: str) -> Callable[[Any], bool]:
    matches: Callable[[Any], bool] = _validator({"pattern": pattern}, "").is_valid
    return matches


@functools.lru_cache(maxsize=256)
def _multiple(factor: Any) -> Callable[[Any], bool]:
    divides: Callable[[Any], bool] = _validator({"multipleOf": factor}, "").is_valid
    return divides


def _small(value: Any) -> bool:
    """Return whether a payload holds at most `WORDED` values."""
    left, stack = WORDED, [value]
    while stack:
        item = stack.pop()
        left -= 1
        if isinstance(item, dict):
            if len(item) > left:
                return False
            stack += item.values()
        elif isinstance(item, list):
            if len(item) > left:
                return False
            stack += item
        elif isinstance(item, str) and len(item) > 100 * WORDED:
            return False
        if left < 0:
            return False
    return True


def _whole(value: Any) -> Any:
    """Return the value with each half character replaced by a private one of its own."""
    if isinstance(value, str):
        return "".join(chr(0x10F800 + ord(c) - 0xD800) if 0xD800 <= ord(c) < 0xE000 else c for c in value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value


def _short(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}…{text[len(text) - half + 1 :]}"
