"""Bounds of arguments: what they say, and the functions they are compiled to."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec
from msgspec import Struct

from masfire.errors import UsageError
from masfire.governance.ruling import Refusal, ToolError

_TYPES: dict[str, Callable[[Any], bool]] = {
    "string": lambda value: type(value) is str,
    "boolean": lambda value: type(value) is bool,
    "integer": lambda value: type(value) is int,
    "number": lambda value: type(value) is int or (type(value) is float and math.isfinite(value)),
    "array": lambda value: type(value) is list,
    "object": lambda value: type(value) is dict,
    "null": lambda value: value is None,
}
_ABSENT = object()

Test: TypeAlias = Callable[[dict[str, Any]], bool]
"""Checks one argument of an object of arguments: returns whether it was clamped, raises Refusal."""


class Bound(Struct, frozen=True):
    """What one argument may be; words as in JSON Schema.

    `pattern` is RE2 syntax and must match the whole text. An argument that is bounded must be there
    unless `optional`. `otherwise` is `block`, or `clamp`: a number beyond `minimum` or `maximum` is
    brought back to it (the call is then a rewrite).
    """

    type: str = ""
    minimum: float | None = None
    maximum: float | None = None
    enum: tuple[Any, ...] | None = None
    pattern: str = ""
    min_length: int | None = None
    max_length: int | None = None
    optional: bool = False
    otherwise: str = "block"


def compiled(rule: str, path: str, bound: Bound) -> Test:
    """Return the function that holds the argument at a path to its bound."""
    *way, final = path.split(".")
    if not way and bound == Bound(
        "integer", bound.minimum, bound.maximum, optional=bound.optional, otherwise=bound.otherwise
    ):
        return _integer(rule, final, bound)

    def test(args: dict[str, Any]) -> bool:
        holder: Any = args
        for part in way:
            holder = _at(holder, part)
        return _apply(rule, path, holder, final, bound)

    return test


def _integer(rule: str, name: str, bound: Bound) -> Test:
    """Return the usual test, of an integer; whatever it does not settle is looked at closely."""
    low = float("-inf") if bound.minimum is None else _as_int(bound.minimum)
    high = float("inf") if bound.maximum is None else _as_int(bound.maximum)

    def test(args: dict[str, Any]) -> bool:
        number = args.get(name)
        if type(number) is int:
            if low <= number <= high:
                return False
            if bound.otherwise != "clamp":
                raise _beyond(rule, name, number, low if number < low else high)
        return _apply(rule, name, args, name, bound)

    return test


def _apply(rule: str, path: str, holder: Any, final: str, bound: Bound) -> bool:
    """Check one argument; return whether it was clamped."""
    found = _at(holder, final)
    if found is _ABSENT:
        if bound.optional:
            return False
        reason = f"Argument {path!r} is missing, so its bound cannot be checked."
        action = f"give {path!r}; only `optional: true` in its bound lets it be left out"
        raise Refusal(rule, reason, ToolError("invalid", reason, suggested_action=action))
    low, high = bound.minimum, bound.maximum
    if low is not None or high is not None:
        kind = type(found)
        if kind is not int and (kind is not float or not math.isfinite(found)):
            raise refused(rule, f"Argument {path!r} is no number.")
        edge = low if low is not None and found < low else high if high is not None and found > high else None
        if edge is not None:
            if bound.otherwise != "clamp":
                raise _beyond(rule, path, found, edge)
            wrong = _fault(edge if kind is float else _as_int(edge), bound)
            if wrong:
                raise refused(rule, f"Argument {path!r} brought to {edge:g} {wrong}.")
            holder[int(final) if isinstance(holder, list) else final] = _as_int(edge) if kind is int else edge
            return True
    wrong = _fault(found, bound)
    if wrong:
        raise refused(rule, f"Argument {path!r} {wrong}.")
    return False


def _beyond(rule: str, path: str, found: Any, edge: float) -> Refusal:
    return refused(rule, f"Argument {path!r} is {found!r:.60}, beyond {edge:g}.")


def _as_int(edge: float) -> float:
    return int(edge) if float(edge).is_integer() else edge


def _fault(found: Any, bound: Bound) -> str:
    if bound.type and not _TYPES[bound.type](found):
        return f"is no {bound.type}"
    if bound.enum is not None and not any(type(found) is type(one) and found == one for one in bound.enum):
        return f"is {found!r:.60}, none of {', '.join(repr(one) for one in bound.enum)[:200]}"
    if bound.min_length is not None or bound.max_length is not None:
        if not isinstance(found, (str, list)):
            return "has no length"
        if len(found) < (bound.min_length or 0):
            return f"is shorter than {bound.min_length}"
        if bound.max_length is not None and len(found) > bound.max_length:
            return f"is longer than {bound.max_length}"
    if bound.pattern:
        if type(found) is not str:
            return "is no text"
        if _pattern(bound.pattern).fullmatch(found) is None:
            return f"does not match {bound.pattern!r}"
    return ""


def _at(holder: Any, part: str) -> Any:
    if isinstance(holder, dict):
        return holder.get(part, _ABSENT)
    if isinstance(holder, list) and part.isdigit() and int(part) < len(holder):
        return holder[int(part)]
    return _ABSENT


_patterns: dict[str, Any] = {}


def _pattern(text: str) -> Any:
    if text not in _patterns:
        import re2

        options = re2.Options()
        options.log_errors = False
        _patterns[text] = re2.compile(text, options)
    return _patterns[text]


def check_bound(bound: Bound, where: str) -> None:
    """Raise UsageError when a bound is no bound: unknown words, no RE2, or nothing can be within it."""
    if bound.type and bound.type not in _TYPES:
        raise UsageError(f"Type {bound.type!r} is unknown.", hint=f"Use {', '.join(_TYPES)}.", where=where)
    if bound.otherwise not in ("block", "clamp"):
        raise UsageError(
            f"otherwise: {bound.otherwise!r} is unknown.", hint="Use block or clamp.", where=where
        )
    if bound.pattern:
        _checked(bound.pattern, where)
    why = _contradiction(bound)
    if why:
        raise UsageError(
            f"Nothing can be within this bound: {why}.", hint="Drop one of the two.", where=where
        )


def _contradiction(bound: Bound) -> str:
    """Return which two words of a bound nothing can satisfy together; empty when something can."""
    low, high = bound.minimum, bound.maximum
    if low is not None and high is not None and low > high:
        return f"minimum {low:g} is above maximum {high:g}"
    if bound.min_length is not None and bound.max_length is not None and bound.min_length > bound.max_length:
        return f"min_length {bound.min_length} is above max_length {bound.max_length}"
    for word, given, types in (
        ("minimum or maximum", low is not None or high is not None, ("integer", "number")),
        (
            "min_length or max_length",
            (bound.min_length, bound.max_length) != (None, None),
            ("string", "array"),
        ),
        ("pattern", bool(bound.pattern), ("string",)),
    ):
        if given and bound.type and bound.type not in types:
            return f"{word} holds for {' and '.join(types)}, and type is {bound.type}"
    if bound.enum is not None and not any(_within(one, bound) for one in bound.enum):
        return "no value of enum is within the rest"
    return ""


def _within(value: Any, bound: Bound) -> bool:
    try:
        return not _apply("", "value", {"value": value}, "value", msgspec.structs.replace(bound, enum=None))
    except Refusal:
        return False


def _checked(pattern: str, where: str) -> None:
    import re2

    try:
        _pattern(pattern)
    except re2.error as failure:
        raise UsageError(
            f"Pattern {pattern!r} is not RE2 syntax: {failure}.",
            hint="RE2 has no lookaround and no backreferences, so that it always ends in linear time.",
            where=where,
        ) from None


def refused(rule: str, reason: str) -> Refusal:
    """Return the Refusal of an argument, as an error the model can act on."""
    return Refusal(
        rule, reason, ToolError("invalid", reason, suggested_action="call it again within the bounds")
    )
