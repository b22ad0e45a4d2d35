"""Values as contracts compare them: absent ones, three-valued comparisons, hashable forms."""

from __future__ import annotations

import functools
import operator
import re
from collections.abc import Callable
from typing import Any

import msgspec


class Absence:
    """A value that is not there; `text` says how."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text

    def __bool__(self) -> bool:
        return False


MISSING = Absence("absent")
"""The field belongs to steps of this kind and is absent here: comparisons with it are unknown."""

FOREIGN = Absence("no such field")
"""Steps of this kind never have the field: comparisons with it are false."""

NULL_TYPE = type(None)
PLAIN = frozenset({str, int, float, NULL_TYPE})
"""Types whose values stand for themselves in a table."""

_encode = msgspec.json.Encoder(order="deterministic").encode
_decode = msgspec.json.Decoder().decode
_CANONICAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


def freeze(value: Any) -> Any:
    """Return a hashable form: equal exactly when the values are equal as contracts see it.

    1 and 1.0 are equal, true and 1 are not; lists and objects are equal by content.
    """
    kind = type(value)
    if kind in PLAIN or kind is Absence:
        return value
    if kind is bool:
        return ("bool", value)
    if isinstance(value, tuple) and len(value) == 2 and value[0] in ("bool", "json"):
        return value  # frozen already
    try:
        return ("json", _encode(value).decode())
    except (TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return ("json", repr(value))


def thaw(value: Any) -> Any:
    """Return the value that `freeze` made hashable."""
    if type(value) is tuple and len(value) == 2:
        if value[0] == "bool":
            return value[1]
        try:
            return _decode(value[1])
        except (ValueError, msgspec.MsgspecError):
            return value[1]
    return value


def item(container: Any, key: str | int) -> Any:
    """Return a member of an object or list, or MISSING (FOREIGN stays FOREIGN)."""
    kind = type(container)
    if kind is dict:
        return container.get(key if type(key) is str else str(key), MISSING)
    if kind is list or kind is tuple:
        if type(key) is int and 0 <= key < len(container):
            return container[key]
        if type(key) is str and key.isdecimal() and len(key) < 10 and int(key) < len(container):
            return container[int(key)]
        return MISSING
    return container if kind is Absence else MISSING


def numeric_twin(value: Any) -> Any:
    """Return the number a text spells canonically ("7" -> 7), or None."""
    if type(value) is str and len(value) < 400 and _CANONICAL.fullmatch(value):
        return float(value) if "." in value else int(value)
    return None


def is_number(value: Any) -> bool:
    """Return whether a value is a number (true and false are none)."""
    return type(value) is int or type(value) is float


def compare(op: str, left: Any, right: Any) -> bool | None:
    """Return what `left op right` is; None when it is unknown."""
    if left is FOREIGN or right is FOREIGN:
        return False
    if left is MISSING or right is MISSING:
        return None
    if op in ("==", "!="):
        if type(left) is str and type(right) is str:
            return (left == right) is (op == "==")
        return (freeze(left) == freeze(right)) is (op == "==")
    left, right = thaw(left), thaw(right)
    if op in _ORDER:
        comparable = (is_number(left) and is_number(right)) or (type(left) is str and type(right) is str)
        return _ORDER[op](left, right) if comparable else None
    if op == "in":
        return _member(right, left)
    if op == "contains":
        return _member(left, right)
    if type(left) is not str or type(right) is not str:
        return None
    if op == "startswith":
        return left.startswith(right)
    if op == "endswith":
        return left.endswith(right)
    return pattern(right).search(left) is not None


def _member(container: Any, value: Any) -> bool | None:
    if type(container) is str:
        return value in container if type(value) is str else None
    if isinstance(container, (list, tuple)):
        wanted = freeze(value)
        return any(freeze(part) == wanted for part in container)
    if type(container) is dict:
        return value in container if type(value) is str else None
    return None


def truth(value: Any) -> bool | None:
    """Return what a bare Boolean term is."""
    if value is FOREIGN:
        return False
    if type(value) is tuple:
        value = thaw(value)
    return value if type(value) is bool else None


def apply(function: str, *arguments: Any) -> Any:
    """Return the value of a function; MISSING when an argument is absent or of the wrong kind."""
    if FOREIGN in arguments:
        return FOREIGN
    if MISSING in arguments:
        return MISSING
    arguments = tuple(thaw(value) for value in arguments)
    try:
        return _FUNCTIONS[function](*arguments)
    except (TypeError, ValueError, ArithmeticError, OverflowError):
        return MISSING


def _numbers(function: Callable[..., Any]) -> Callable[..., Any]:
    def checked(*arguments: Any) -> Any:
        return function(*arguments) if all(map(is_number, arguments)) else MISSING

    return checked


def _texts(function: Callable[[str], Any]) -> Callable[..., Any]:
    return lambda value: function(value) if type(value) is str else MISSING


def _number(value: Any) -> Any:
    twin = value if is_number(value) else numeric_twin(value)
    return MISSING if twin is None else twin


def _text(value: Any) -> str:
    return value if type(value) is str else _encode(value).decode()


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "+": _numbers(operator.add), "-": _numbers(operator.sub), "*": _numbers(operator.mul),
    "/": _numbers(operator.truediv), "%": _numbers(operator.mod), "neg": _numbers(operator.neg),
    "abs": _numbers(abs), "lower": _texts(str.lower), "upper": _texts(str.upper),
    "len": lambda value: len(value) if isinstance(value, (str, list, dict)) else MISSING,
    "number": _number, "text": _text,
}  # fmt: skip


@functools.lru_cache(maxsize=1024)
def pattern(text: str) -> Any:
    """Return a compiled RE2 pattern (linear time); raise ValueError when it is none."""
    import re2

    try:
        return re2.compile(text)
    except re2.error as error:
        raise ValueError(f"not an RE2 pattern: {error}") from None
