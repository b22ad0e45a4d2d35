"""What monitors remember: the tables of a contract, and the helpers that its generated code calls."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import deque
from typing import Any

from msgspec import Struct

from masfire.contracts.language.syntax import Formula, Window
from masfire.contracts.values import FOREIGN, MISSING, PLAIN, compare, freeze, is_number, item

NEVER = (-1, -math.inf)
"""Index and time of a step that was not."""

GONE = object()
"""Marks in a journal that a key was not there."""

POP = object()
"""Marks in a journal that something was appended to a deque."""


class Table(Struct, eq=False):
    """One table: `kind` is `last`, `count`, `sum`, `value` or `domain`; its rows have values of `vars`.

    `slot` is its place in the state; `indexes` map a subset of the variables to the slot of an index
    by it; `dense`: at most steps the operand holds whatever the variables are, so that only the
    exceptions are kept. `timed` rows are (index, time).
    """

    slot: int
    kind: str
    vars: tuple[str, ...]
    operand: Formula
    certain: bool
    level: int
    window: Window | None = None
    term: Any = None
    timed: bool = False
    dense: bool = False
    indexes: dict[tuple[str, ...], int] = {}

    def fresh(self, *, causal: bool) -> Any:
        """Return the state before the first step (in causal order: the set of steps, as a mask)."""
        never: Any = 0 if causal else NEVER if self.timed else -1
        if self.dense:
            return [-1, {}]
        if self.vars:
            return {}
        if self.kind == "last":
            return never
        return {}


class Moment:
    """What generated code may ask of the run: the step's index and time; the rest is for causal order."""

    __slots__ = ("ancestors", "index", "now", "time", "times", "views")

    def __init__(self) -> None:
        self.index = -1
        self.time = -math.inf
        self.ancestors: list[int] = []
        self.times: list[float] = []
        self.views: list[Any] = []
        self.now = 0


def frozen(container: Any, key: str | int) -> Any:
    """Return a member in its hashable form; MISSING or FOREIGN when it is not there."""
    kind = type(container)
    if kind is dict and type(key) is str:
        value = container.get(key, MISSING)
    elif kind is list and type(key) is int:
        value = container[key] if key < len(container) else MISSING
    else:
        value = item(container, key)
    return value if type(value) in PLAIN else freeze(value)


def like(text: str, pattern: str) -> bool:
    """Return whether a name matches a pattern in which `*` is any text; linear time for each star."""
    first, *rest = pattern.split("*")
    if not rest:
        return text == first
    last = rest.pop()
    if not text.startswith(first) or len(text) < len(first) + len(last) or not text.endswith(last):
        return False
    place, end = len(first), len(text) - len(last)
    for part in rest:
        found = text.find(part, place, end)
        if found < 0:
            return False
        place = found + len(part)
    return True


def put(journal: list[Any], table: Any, key: Any, value: Any) -> None:
    """Store a value so that `undo` can take it back."""
    old = table[key] if type(table) is list else table.get(key, GONE)
    journal.append((table, key, old))
    table[key] = value


def undo(journal: list[Any]) -> None:
    """Take back what a peek changed."""
    for table, key, old in reversed(journal):
        if old is POP:
            table.pop()
        elif old is GONE:
            del table[key]
        else:
            table[key] = old


def add(table: dict[Any, Any], key: Any, stamp: Any, value: Any, journal: list[Any] | None) -> None:
    """Append (stamp, value) to the deque of a windowed count or sum."""
    row = table.get(key)
    if row is None:
        row = deque()
        if journal is None:
            table[key] = row
        else:
            put(journal, table, key, row)
    row.append((stamp, value))
    if journal is not None:
        journal.append((row, None, POP))


def total(row: Any, now: float, amount: float | None, journal: list[Any] | None, counts: bool) -> Any:
    """Return the count, or the sum, of the entries of a deque that are in the window; forget the others."""
    if row is None:
        return 0
    kept = row
    if journal is None:
        while row and now - row[0][0] > amount:
            row.popleft()
    else:  # a peek may look from later than the next step will
        kept = [entry for entry in row if now - entry[0] <= amount]
    return len(kept) if counts else summed([value for _, value in kept])


def summed(values: list[Any]) -> Any:
    """Return the exact sum (of floats: correctly rounded), MISSING when one is no number."""
    if not all(map(is_number, values)):
        return MISSING
    if all(type(value) is int for value in values):
        return sum(values)
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return MISSING


def accumulated(row: Any, value: Any) -> Any:
    """Return a running sum with one more value: (integer part, partials of the floats, unknowns)."""
    whole, floats, unknown = row if row is not None else (0, (), 0)
    if type(value) is int:
        return (whole + value, floats, unknown)
    if type(value) is float:
        return (whole, _partials(floats, value), unknown)
    return (whole, floats, unknown + 1)


def running(row: Any) -> Any:
    """Return the value of a running sum."""
    if row is None:
        return 0
    whole, floats, unknown = row
    if unknown:
        return MISSING
    return summed([whole, *floats]) if floats else whole


def _partials(partials: tuple[float, ...], value: float) -> tuple[float, ...]:
    """Add a float to non-overlapping partial sums (Shewchuk 1997): the sum stays exact."""
    if not math.isfinite(value):
        return (*partials, value)
    kept: list[float] = []
    for part in partials:
        if abs(value) < abs(part):
            value, part = part, value
        high = value + part
        low = part - (high - value)
        if low:
            kept.append(low)
        value = high
    return (*kept, value)


def both(certain: Any, possible: Any) -> Any:
    """Return a count when no step of the window is unknown, else MISSING."""
    return certain if certain == possible else MISSING


def latest(row: Any, index: int, now: float, window: tuple[float, str] | None) -> Any:
    """Return the value of `last` at step `index`: strictly earlier, inside the window."""
    if row is None:
        return MISSING
    if row[0] == index:
        row = row[3]
        if row is None:
            return MISSING
    if window is not None:
        distance = index - row[0] if window[1] == "steps" else now - row[1]
        if distance > window[0]:
            return MISSING
    return row[2]


def newest(row: Any, index: int, time: float, value: Any) -> Any:
    """Return the row of `last` after a step: (index, time, value, the row before)."""
    older = None if row is None else row[3] if row[0] == index else (*row[:3], None)
    return (index, time, value, older)


def window_mask(index: int, time: float, window: tuple[float, str] | None, times: list[float]) -> int:
    """Return how many of the first steps are outside the window (causal order)."""
    if window is None:
        return 0
    if window[1] == "steps":
        return max(0, math.ceil(index - window[0]))
    return bisect_left(times, time - window[0])


def causal_count(mask: int, history: int, low: int) -> int:
    """Return at how many steps of the history, from `low` on, it held."""
    return ((mask & history) >> low).bit_count()


def causal_sum(row: Any, history: int, low: int) -> Any:
    """Return the sum over the steps of the history from `low` on."""
    if row is None:
        return 0
    return summed([value for index, value in row.items() if index >= low and history >> index & 1])


def causal_latest(row: Any, history: int, index: int, low: int) -> Any:
    """Return the value at the newest step of the history before `index` and not before `low`."""
    if row is None:
        return MISSING
    for at in sorted(row, reverse=True):
        if at < index and history >> at & 1:
            return row[at] if at >= low else MISSING
    return MISSING


RUNTIME: dict[str, Any] = {
    "MISSING": MISSING, "FOREIGN": FOREIGN, "NEVER": NEVER, "frozen": frozen, "freeze": freeze, "item": item,
    "compare": compare, "like": like, "put": put, "add": add, "total": total, "both": both,
    "accumulated": accumulated, "running": running, "latest": latest, "newest": newest,
    "window_mask": window_mask, "causal_count": causal_count, "causal_sum": causal_sum,
    "causal_latest": causal_latest,
}  # fmt: skip
"""The names that generated code may use, beside the constants it binds."""
