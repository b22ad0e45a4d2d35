"""What the confirmed lineage says of one statement: entailed, contradicted, or neither."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any

from msgspec import Struct

from masfire.claims import Known, Relation, Statement, statements_of
from masfire.claims.leaves import INSIDE, Path, embedded
from masfire.claims.statements import stem

_WORD = re.compile(r"[^\W_]+")


class Colour(Enum):
    """What the screen says: entailed, contradicted, or neither."""

    GREEN = "green"
    RED = "red"
    YELLOW = "yellow"


class Finding(Struct, frozen=True):
    """What was found of one statement: colour, why, and for RED what should stand there (empty: unsure)."""

    statement: Statement
    colour: Colour
    reason: str = ""
    instead: str = ""


class Classes:
    """Lists of phrases of which one excludes the others, as the user declares them."""

    def __init__(self, declared: Sequence[Sequence[str]] = ()) -> None:
        self._phrases: dict[tuple[str, ...], tuple[int, str]] = {}
        for number, members in enumerate(declared):
            for phrase in members:
                self._phrases.setdefault(_stems(phrase), (number, phrase))
        self._longest = max(map(len, self._phrases), default=0)

    def mentioned(self, text: str) -> dict[str, int]:
        """Return the declared phrases in a text, each with the number of its class."""
        if not self._longest:
            return {}
        words = _stems(text)
        found: dict[str, int] = {}
        for start in range(len(words)):
            for length in range(1, self._longest + 1):
                known = self._phrases.get(words[start : start + length])
                if known is not None and start + length <= len(words):
                    found[known[1]] = known[0]
        return found


class Confirmed:
    """What is confirmed in one run: instructions and whatever was verified since."""

    def __init__(self, classes: Classes, instructions: Iterable[Statement] = ()) -> None:
        self.classes, self.known = classes, Known()
        self._sources: list[str] = []
        self._texts: set[str] = set()
        self._phrases: dict[str, int] = {}
        for statement in instructions:
            self.add(statement, "instruction")

    def __len__(self) -> int:
        return len(self._sources)

    def add(self, statement: Statement, source: str) -> None:
        """Confirm a statement, once."""
        if statement.text not in self._texts:
            self._texts.add(statement.text)
            self.known.add(statement)
            self._sources.append(source)
            self._phrases.update(self.classes.mentioned(statement.text))

    def judge(self, statement: Statement, grounded: frozenset[str] = frozenset()) -> Finding:
        """Return what is known of a statement; in doubt YELLOW, never GREEN.

        GREEN needs one confirmed statement that supports all of it: parts from several do not count.
        RED: a confirmed statement contradicts it; it names another member of a declared class than the
        confirmed ones; or it fills a `grounded` slot with what nothing confirmed supports.
        """
        if statement.text in self._texts:
            return Finding(statement, Colour.GREEN, "is confirmed in these words")
        text = f"{statement.text!r:.200}"
        for phrase, number in self.classes.mentioned(statement.text).items():
            rivals = [other for other, n in self._phrases.items() if n == number]
            if rivals and phrase not in rivals:
                only = rivals[0] if len(rivals) == 1 else ""
                said = " or ".join(sorted(rivals))
                return Finding(statement, Colour.RED, f"{text}: {said} is confirmed, not {phrase}", only)
        relation = self.known.relate(statement)
        if relation.kind == "supports":
            reason = f"{relation.reason} ({self._sources[relation.index]})"
            return Finding(statement, Colour.GREEN, reason)
        if relation.kind == "contradicts":
            reason = f"{text}: {relation.reason} ({self._sources[relation.index]})"
            return Finding(statement, Colour.RED, reason, self._instead(statement, relation))
        if statement.key in grounded and self._sources:
            reason = f"{text} has no support in the task or in a tool's result"
            return Finding(statement, Colour.RED, reason)
        return Finding(statement, Colour.YELLOW, f"{text} is neither confirmed nor contradicted")

    def _instead(self, statement: Statement, relation: Relation) -> str:
        """Return the confirmed value that belongs in the place of the contradicted one, where one fits."""
        other = self.known.statements[relation.index]
        if statement.key and other.key == statement.key:
            return other.text.partition(": ")[2]
        about = statement.beside | statement.words
        units = {word for kind, _, unit in statement.values if kind == "number" for word in unit.split()}
        numbers = {
            value for kind, value, unit in other.values
            if kind == "number" and (not unit or not (about | units).isdisjoint(unit.split()))
        }  # fmt: skip
        mine = [value for kind, value, _ in statement.values if kind == "number"]
        return numbers.pop() if len(numbers) == 1 and len(mine) == 1 and not numbers & set(mine) else ""


def repeats(statement: Statement, told: Sequence[Statement]) -> bool:
    """Return whether a statement says what was `told` before, all of it or inside other words."""
    told_all = Known()
    for one in told:
        told_all.add(one)
    if told_all.relate(statement).kind == "supports":
        return True
    itself = Known()
    itself.add(statement)
    return any(one.text in statement.text or itself.relate(one).kind == "supports" for one in told)


def span_of(statement: Statement, text: str, start: int) -> tuple[int, int]:
    """Return where a sentence stands in its text, looking from `start`; (start, start) when it does not."""
    at = text.find(statement.text, start)
    return (at, at + len(statement.text)) if at >= 0 else (start, start)


def edited(value: Any, edits: dict[Path, Any], dropped: object) -> Any:
    """Return a JSON value with other scalars at some paths, or without them (`dropped`).

    JSON inside texts is written back in its own style.
    """
    if () in edits:
        return edits[()]
    heads: dict[Any, dict[Path, Any]] = {}
    for path, new in edits.items():
        heads.setdefault(path[0], {})[path[1:]] = new
    if isinstance(value, str) and INSIDE in heads:
        inner = embedded(value)
        return value if inner is None else inner.render(edited(inner.value, heads[INSIDE], dropped))
    if isinstance(value, dict):
        pairs = {k: edited(v, heads[k], dropped) if k in heads else v for k, v in value.items()}
        return {key: item for key, item in pairs.items() if item is not dropped}
    if isinstance(value, list):
        items = [edited(v, heads[i], dropped) if i in heads else v for i, v in enumerate(value)]
        return [item for item in items if item is not dropped]
    return value


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in _WORD.findall(text.casefold()))


__all__ = ["Classes", "Colour", "Confirmed", "Finding", "edited", "span_of", "statements_of"]
