"""What a named pattern is: its fields, the rules they become, and how it reads in plain words."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Protocol, TypeAlias

from msgspec import Struct
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from masfire.contracts.language.selector import Selector
from masfire.contracts.language.syntax import And, Formula, Interval, Not, Since, Window
from masfire.contracts.language.syntax import Path as StepPath
from masfire.contracts.model import Rule
from masfire.contracts.monitors.local import looks_elsewhere
from masfire.errors import UsageError

_UNITS = {
    "step": ("steps", 1), "steps": ("steps", 1), "ms": ("seconds", 0.001), "s": ("seconds", 1),
    "sec": ("seconds", 1), "second": ("seconds", 1), "seconds": ("seconds", 1), "min": ("seconds", 60),
    "minute": ("seconds", 60), "minutes": ("seconds", 60), "h": ("seconds", 3600),
    "hour": ("seconds", 3600), "hours": ("seconds", 3600),
}  # fmt: skip
_WITHIN = re.compile(r"\s*(\d{1,12}(?:\.\d{1,9})?)\s*([a-z]+)\s*")
_PATH = re.compile(r"[^\s.\[\]]+(?:\.[^\s.\[\]]+)*")


def window(text: str) -> Window:
    """Return the window that "5 steps", "2.5 s" or "10 minutes" names; raise ValueError otherwise."""
    match = _WITHIN.fullmatch(text)
    if match is None or match[2] not in _UNITS:
        raise ValueError(f"{text!r:.60} is no window; write for example '5 steps' or '2.5 seconds'.")
    unit, factor = _UNITS[match[2]]
    amount = float(match[1]) * factor
    if amount <= 0:
        raise ValueError("A window is longer than 0.")
    return Window(amount, unit)


def path_of(text: str) -> StepPath:
    """Return the path of a field, "args.items.0" as ("args", "items", 0); raise ValueError otherwise."""
    if not _PATH.fullmatch(text):
        raise ValueError(f"{text!r:.60} is no field; write for example 'args.amount'.")
    return tuple(int(part) if part.isdecimal() else part for part in text.split("."))


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"a window has a unit: '{value} seconds' or '{value} steps'")
    return value


def _window_text(text: str) -> str:
    window(text)
    return text


def _path_text(text: str) -> str:
    path_of(text)
    return text


def _many(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Steps: TypeAlias = Annotated[Selector | str, Field(description="a selector, or a formula as text")]
Within: TypeAlias = Annotated[
    str,
    BeforeValidator(_with_unit, json_schema_input_type=str),
    AfterValidator(_window_text),
    Field(description="'5 steps', '2 s'"),
]
FieldPath: TypeAlias = Annotated[str, AfterValidator(_path_text), Field(description="a field: args.amount")]
FieldPaths: TypeAlias = Annotated[list[FieldPath], BeforeValidator(_many), Field(description="fields")]
Names: TypeAlias = Annotated[list[str], BeforeValidator(_many), Field(description="names, * for any text")]
Number: TypeAlias = Annotated[float, Field(allow_inf_nan=False)]


class Fields(BaseModel):
    """The fields of one pattern; unknown ones are refused.

    `says` (of each pattern) is a sentence with `{field}` for a field's own words and square brackets
    around a part that is left out when a field in it is not given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


class Reader(Protocol):
    """Turns what a field says about steps into a formula; `field` is the field's name, for errors."""

    def __call__(self, value: Selector | str, field: str) -> Formula:
        """Return the formula."""


class Pattern(Struct, frozen=True):
    """A named pattern: its fields, and how they become rules."""

    name: str
    fields: type[Fields]
    build: Callable[[Any, Reader], tuple[Rule, ...]]

    @property
    def says(self) -> str:
        """Return the sentence that explains it, with places for its fields."""
        return str(getattr(self.fields, "says", ""))


def optional(read: Reader, value: Selector | str | None, field: str) -> Formula | None:
    """Return the formula of a field that may be left out."""
    return None if value is None else read(value, field)


def one_step(read: Reader, value: Selector | str, field: str) -> Formula:
    """Return the formula of a field that a monitor of its own judges: it speaks of one step.

    Raise UsageError when it looks at other steps or has variables.
    """
    formula = read(value, field)
    elsewhere = looks_elsewhere(formula)
    if elsewhere:
        raise UsageError(
            f"{field!r} of this pattern picks steps by themselves; {elsewhere} looks at others.",
            hint="Write a selector or a condition on one step, without variables.",
        )
    return formula


def one_step_or_none(read: Reader, value: Selector | str | None, field: str) -> Formula | None:
    """Return the formula of such a field when it is given."""
    return None if value is None else one_step(read, value, field)


def within_of(text: str | None) -> Window | None:
    """Return the window of a field that may be left out."""
    return None if text is None else window(text)


def open_since(opened: Formula, closed: Formula, within: Window | None) -> Formula:
    """Return that `opened` happened (in the window) and `closed` has not since."""
    if within is None:
        return Interval(opened, closed)
    return Since(Not(closed), And((opened, Not(closed))), within)
