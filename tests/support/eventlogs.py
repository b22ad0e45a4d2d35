"""Random event logs in the ways that people write them, and properties with oracles by definition.

An oracle is written from the English sentence, by looking back over the whole prefix at each event; it
shares nothing with the engine.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One event; `at` is its place in the log, `time` in seconds."""

    at: int
    time: float
    name: str
    args: tuple[Any, ...]


Log = list[Event]
Oracle = Callable[[Log, Event], bool]
"""Whether an event violates the property, given the log up to and with it."""


class Property(NamedTuple):
    """A property in words, as a contract file, and by definition; `alphabet` says what logs hold."""

    words: str
    contract: str
    bad: Oracle
    alphabet: dict[str, str]
    timed: bool = False


def said(log: Log, name: str, *args: Any) -> Iterator[Event]:
    """Yield the events of a name whose first arguments are these; None stands for anything."""
    for event in log:
        if event.name != name or len(event.args) < len(args):
            continue
        if all(want is None or want == got for want, got in zip(args, event.args, strict=False)):
            yield event


def ever(log: Log, name: str, *args: Any) -> bool:
    """Return whether there is such an event."""
    return any(True for _ in said(log, name, *args))


def latest(log: Log, name: str, *args: Any) -> int:
    """Return the place of the latest such event, -1 when there is none."""
    return max((event.at for event in said(log, name, *args)), default=-1)


def is_open(log: Log, opening: tuple[Any, ...], closing: tuple[Any, ...]) -> bool:
    """Return whether the opening has happened and, since then, the closing has not."""
    return latest(log, *opening) > latest(log, *closing)


def values(log: Log, name: str, place: int) -> set[Any]:
    """Return the values that events of a name had at an argument's place."""
    return {event.args[place] for event in said(log, name) if len(event.args) > place}


def one(formula: str, *, key: str = "", define: str = "") -> str:
    """Return a contract file of one formula."""
    lines = ["masfire: contract/v1", "contracts:", "  - id: p"]
    lines += [f"    key: {key}"] if key else []
    lines += [f"    define: {define}"] if define else []
    return "\n".join([*lines, f'    formula: "{formula}"', ""])


def several(*formulas: str) -> str:
    """Return a contract file of several formulas in one contract."""
    lines = ["masfire: contract/v1", "contracts:", "- id: p", "  formula:"]
    return "\n".join([*lines, *(f'  - "{formula}"' for formula in formulas), ""])


def pattern(name: str, *, key: str = "", **fields: str) -> str:
    """Return a contract file of one named pattern."""
    lines = ["masfire: contract/v1", "contracts:", "  - id: p", f"    pattern: {name}"]
    lines += [f"    key: {key}"] if key else []
    return "\n".join([*lines, *(f"    {field}: {text}" for field, text in fields.items()), ""])


# -- random logs ----------------------------------------------------------------------------------


def random_log(alphabet: dict[str, str], length: int, rng: random.Random) -> Log:
    """Return a log over an alphabet of names, each with a letter for every argument.

    Letters: lower case is one of three texts, upper case one of two numbers, n a number up to 99.
    """
    log: Log = []
    time = 1_700_000_000.0
    for at in range(length):
        name = rng.choice(list(alphabet))
        time += rng.choice([0, 1, 2, 5, 11])
        log.append(Event(at, time, name, tuple(_value(letter, rng) for letter in alphabet[name])))
    return log


def _value(letter: str, rng: random.Random) -> Any:
    if letter == "n":
        return rng.randrange(100)
    return rng.randrange(1, 3) if letter.isupper() else f"{letter}{rng.randrange(3)}"


class Style(NamedTuple):
    """How a log is written."""

    newline: str = "\n"
    mark: bool = False
    quoted: bool = False
    blank: int = 0
    last_newline: bool = True
    time: int | None = None
    stamp: str = "seconds"


def random_style(rng: random.Random, *, timed: bool) -> Style:
    """Return one of the ways to write a log; `timed`: with a column for the time."""
    return Style(
        newline=rng.choice(["\n", "\r\n"]),
        mark=rng.random() < 0.3,
        quoted=rng.random() < 0.3,
        blank=rng.choice([0, 0, 7]),
        last_newline=rng.random() < 0.7,
        time=rng.choice([0, 1, -1]) if timed else None,
        stamp=rng.choice(["seconds", "iso", "zulu"]),
    )


def written(log: Log, style: Style) -> tuple[bytes, list[int]]:
    """Return a log as a file and the line of each of its events, from 1."""
    out = io.StringIO(newline="")
    quoting = csv.QUOTE_ALL if style.quoted else csv.QUOTE_MINIMAL
    writer = csv.writer(out, lineterminator=style.newline, quoting=quoting)
    lines, line = [], 1
    for event in log:
        if style.blank and event.at % style.blank == 3:
            out.write(style.newline)
            line += 1
        row: list[Any] = [event.name, *event.args]
        if style.time is not None:
            row.insert(len(row) if style.time < 0 else style.time, _stamp(event.time, style.stamp))
        writer.writerow(row)
        lines.append(line)
        line += 1
    text = out.getvalue()
    if not style.last_newline:
        text = text[: -len(style.newline)]
    return ("\ufeff" if style.mark else "").encode() + text.encode(), lines


def _stamp(time: float, kind: str) -> str:
    from datetime import UTC, datetime

    if kind == "seconds":
        return str(int(time))
    text = datetime.fromtimestamp(time, UTC).isoformat()
    return text if kind == "iso" else text.replace("+00:00", "Z")
