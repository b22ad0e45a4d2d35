"""How a statement relates to what is already known: supported, contradicted, derived, or unrelated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Literal

from msgspec import Struct

from masfire.claims.lexicon import CLASSES, OPPOSITE
from masfire.claims.statements import Statement, stem

Kind = Literal["supports", "contradicts", "derived", "unrelated"]

SAME_TOPIC = 0.5
"""Share of the shorter statement's words that two must have in common to be about the same thing."""
SUPPORTED = 0.8
"""Share of a statement's words that its support must hold, beside all of its values."""
CANDIDATES = 64
"""Statements that are looked at per claim: with more, a decision would grow with the run."""
POSTINGS = 256
"""Newest statements that one word leads to; what is said everywhere tells nothing."""

_CLASS = {stem(word): number for number, members in enumerate(CLASSES) for word in members}
_GENERIC = frozenset({"quantity", "amount", "count", "number", "qty", "total", "units", "pieces"})
"""Keys that count whatever the other slots of their object name."""


class Relation(Struct, frozen=True):
    """What the known statements say about one claim.

    `kind` is `supports` (one of them states the whole claim), `contradicts`, `derived` (they hold parts
    of it: `score` is the share, 1.0 when every part is known though no single statement says it all) or
    `unrelated`. `score` is in 0..1, `reason` one clause for people, `index` the telling statement's place
    (-1: none).
    """

    kind: Kind
    score: float
    reason: str
    index: int = -1


UNRELATED = Relation("unrelated", 0.0, "nothing known is about this")


class Known:
    """Statements that are taken as known, indexed by what they mention; lookups stay flat as it grows."""

    def __init__(self, statements: Iterable[Statement] = ()) -> None:
        self.statements: list[Statement] = []
        self._places: dict[str, list[int]] = {}
        for each in statements:
            self.add(each)

    def __len__(self) -> int:
        return len(self.statements)

    def add(self, statement: Statement) -> int:
        """Add a statement and return its place."""
        place = len(self.statements)
        self.statements.append(statement)
        for atom in statement.atoms | statement.beside:
            self._places.setdefault(atom, []).append(place)
        return place

    def relate(self, claim: Statement, *, among: Callable[[int], bool] | None = None) -> Relation:
        """Return how the known statements relate to `claim`: support first, then contradiction.

        `among` says of a place whether its statement counts (all do without it).

        Support counts more than contradiction, since what is known may hold a value's history; a claim
        that one statement contradicts and none supports is contradicted.
        """
        places = self._candidates(claim, among)
        best = UNRELATED
        rivals: list[Relation] = []
        for place in places:
            found = _compare(claim, self.statements[place], place)
            if found.kind == "supports" and found.score == 1.0:
                return found
            if found.kind == "contradicts":
                rivals.append(found)
            elif found.score > best.score:
                best = found
        if best.kind == "supports":
            return best
        if rivals:
            return max(rivals, key=lambda found: found.score)
        return self._composed(claim, places, best)

    def _candidates(self, claim: Statement, among: Callable[[int], bool] | None) -> list[int]:
        """Return the places that share most with the claim, telling words first; the newest of equals."""
        counts: dict[int, float] = {}
        for atom in sorted(claim.atoms | claim.beside | _rivals(claim)):
            places = self._places.get(atom, ())
            weight = 1.0 / (1 + len(places))
            allowed = filter(among, reversed(places)) if among is not None else reversed(places)
            for place in islice(allowed, POSTINGS):
                counts[place] = counts.get(place, 0.0) + weight
        ranked = sorted(counts, key=lambda place: (-counts[place], -place))
        return ranked[:CANDIDATES]

    def _composed(self, claim: Statement, places: Sequence[int], best: Relation) -> Relation:
        """Return whether several statements together hold all parts of the claim."""
        if not claim.values or claim.key:
            return best
        words: set[str] = set()
        values: set[str] = set()
        for place in places:
            words |= self.statements[place].words | self.statements[place].beside
            values |= {value for _, value, _ in self.statements[place].values}
        parts = [value in values for _, value, _ in claim.values]
        parts += [word in words or word in values for word in claim.words]
        share = sum(parts) / len(parts)
        if share <= best.score or not any(parts[: len(claim.values)]):
            return best
        reason = "every part is known, from several statements" if share == 1 else "parts of it are known"
        return Relation("derived", share, reason, places[0] if places else -1)


def relate(claim: Statement, others: Sequence[Statement]) -> Relation:
    """Return how `others` relate to `claim`; `index` is a position in `others`.

    For a growing set keep a `Known`, which does not index anew at each call.

    >>> from masfire.claims import statement
    >>> relate(statement("The lamp costs 30 euro."), [statement("The lamp costs 20 euro.")]).kind
    'contradicts'
    """
    return Known(others).relate(claim)


def _compare(claim: Statement, other: Statement, place: int) -> Relation:
    if claim.text.casefold() == other.text.casefold():
        return Relation("supports", 1.0, "stated in the same words", place)
    if claim.key and other.key:
        return _compare_slots(claim, other, place)
    if claim.key:
        return _slot_in_prose(claim, other, place)
    if other.key:
        return _prose_by_slot(claim, other, place)
    return _compare_prose(claim, other, place)


def _compare_slots(claim: Statement, other: Statement, place: int) -> Relation:
    if claim.key != other.key:
        return UNRELATED
    mine, theirs = claim.values[0][1], other.values[0][1]
    if mine == theirs:
        return Relation("supports", 0.95, f"{claim.key} is {_cut(theirs)}", place)
    if not _same_object(claim, other):
        return Relation("derived", 0.1, f"another object's {claim.key} is {_cut(theirs)}", place)
    if not (claim.beside or other.beside) and claim.values[0][0] == "number":
        return Relation("derived", 0.1, f"{claim.key} was {_cut(theirs)}; a bare number may change", place)
    return Relation("contradicts", 0.9, f"{claim.key} is {_cut(theirs)}, not {_cut(mine)}", place)


def _same_object(claim: Statement, other: Statement) -> bool:
    """Return whether two slots may belong to one thing: the objects they stand in have words in common."""
    if not claim.beside or not other.beside:
        return True
    return len(claim.beside & other.beside) >= SAME_TOPIC * min(len(claim.beside), len(other.beside))


def _slot_in_prose(claim: Statement, other: Statement, place: int) -> Relation:
    kind, value, _ = claim.values[0]
    mentioned = {item for _, item, _ in other.values} | other.words | other.verdicts
    words = {stem(word) for word in value.split()}
    if other.negated:
        return UNRELATED
    if value in mentioned or (kind == "name" and words <= mentioned):
        return Relation("supports", 0.85, f"{_cut(value)} is said in {_quote(other)}", place)
    topic = claim.words & other.words or claim.beside & (other.words | _names(other))
    if kind == "number":
        counted = [
            item
            for sort, item, unit in other.values
            if sort == "number" and not (claim.beside | claim.words).isdisjoint(unit.split())
        ]
        counts = claim.key in _GENERIC or bool(set(claim.words) & other.words)
        if counted and counts:
            return Relation("contradicts", 0.8, f"{_quote(other)} says {counted[0]}, not {value}", place)
    rival = _classmate(words, mentioned)
    if rival and topic:
        return Relation("contradicts", 0.7, f"{_quote(other)} says {rival}, not {_cut(value)}", place)
    return UNRELATED


def _prose_by_slot(claim: Statement, other: Statement, place: int) -> Relation:
    _, value, _ = other.values[0]
    mentioned = {item for _, item, _ in claim.values} | claim.words
    words = {stem(word) for word in value.split()}
    there = value in mentioned or (bool(words) and words <= mentioned)
    about = other.words & claim.words
    if there and claim.negated and about:
        return Relation("contradicts", 0.8, f"{other.key} is {_cut(value)}", place)
    if there:
        parts = len(claim.values) + len(claim.words - other.words)
        share = min(1.0, 1 / max(1, parts))
        whole = len(claim.values) == 1 and claim.words <= other.words | words and not claim.verdicts
        if whole and not claim.negated:
            return Relation("supports", 0.85, f"{other.key} is {_cut(value)}", place)
        return Relation("derived", min(share, 0.9), f"{other.key} is {_cut(value)}", place)
    rival = _classmate(words, mentioned)
    if rival and not claim.negated and (about or other.beside & mentioned):
        return Relation("contradicts", 0.7, f"{other.key} is {_cut(value)}, not {rival}", place)
    numbers = [(item, unit) for sort, item, unit in claim.values if sort == "number"]
    if other.values[0][0] == "number" and numbers and not claim.negated:
        same = [
            number
            for number, unit in numbers
            if about or (other.key in _GENERIC and not other.beside.isdisjoint(unit.split()))
        ]
        if same and len(numbers) == 1:
            return Relation("contradicts", 0.8, f"{other.key} is {_cut(value)}, not {same[0]}", place)
    return UNRELATED


def _compare_prose(claim: Statement, other: Statement, place: int) -> Relation:
    mine = claim.words | _names(claim)
    theirs = other.words | _names(other)
    common = mine & theirs
    shared = {item for _, item, _ in claim.values} & {item for _, item, _ in other.values}
    held = len(common) / len(mine) if mine else float(bool(shared))
    topic = len(common) / min(len(mine), len(theirs)) if mine and theirs else 0.0
    values_held = all(
        any(
            item == known and (not unit or not kept or _same_unit(unit, kept))
            for _, known, kept in other.values
        )
        for _, item, unit in claim.values
    )
    if topic >= SAME_TOPIC and len(common) >= min(2, len(mine), len(theirs)):
        conflict = _conflict(claim, other, values_held=values_held)
        if conflict:
            return Relation("contradicts", min(0.95, 0.5 + topic / 2), conflict, place)
    agree = claim.negated == other.negated and claim.verdicts <= other.verdicts
    certain = claim.hedged or not other.hedged
    if values_held and held >= SUPPORTED and agree and certain and (mine or claim.values):
        return Relation("supports", 0.7 + 0.25 * held, f"{_quote(other)} says so", place)
    if shared or held >= SAME_TOPIC:
        parts = len(mine) + len(claim.values)
        share = (len(common) + len(shared)) / parts if parts else 0.0
        return Relation("derived", min(0.95, share), f"shares {_cut(min(shared or common))}", place)
    return UNRELATED


def _conflict(claim: Statement, other: Statement, *, values_held: bool) -> str:
    """Return in words what two statements of one topic disagree on, or ""."""
    opposed = {OPPOSITE.get(word, "") for word in claim.verdicts} & other.verdicts
    flipped = claim.negated != other.negated
    if opposed and not flipped:
        return f"{_quote(other)} says {min(opposed)}"
    if flipped and not opposed and values_held:
        return f"{_quote(other)} says the opposite"
    if claim.negated or other.negated:
        return ""
    known = [(item, unit) for sort, item, unit in other.values if sort == "number"]
    theirs = {item for _, item, _ in other.values}
    for sort, item, unit in claim.values:
        rivals = [number for number, kept in known if _same_unit(unit, kept)]
        if sort == "number" and item not in theirs and rivals:
            return f"{_quote(other)} says {rivals[0]}, not {item}"
    names = {item for sort, item, _ in claim.values if sort == "name"} | claim.words
    rival = _classmate({stem(word) for word in theirs | other.words} - names, names - theirs - other.words)
    return f"{_quote(other)} differs in {rival}" if rival else ""


def _rivals(claim: Statement) -> frozenset[str]:
    """Return the words that a contradiction of this claim's names could hold instead."""
    if not claim.key and len(claim.words) > 1:
        return frozenset()  # a sentence is found by its topic
    own = {_CLASS.get(stem(value)) for _, value, _ in claim.values} - {None}
    return frozenset(word for number in own if number is not None for word in CLASSES[number])


def _classmate(words: set[str] | frozenset[str], others: set[str] | frozenset[str]) -> str:
    """Return one of `others` that is of the same class as one of `words` (another city, colour, day)."""
    classes = {_CLASS[stem(word)] for word in words if stem(word) in _CLASS}
    found = sorted(o for o in others if _CLASS.get(stem(o)) in classes and stem(o) not in words)
    return found[0] if found and classes else ""


def _same_unit(unit: str, other: str) -> bool:
    """Return whether two numbers count the same: a word in common, or no word at all."""
    return not (unit or other) or not set(unit.split()).isdisjoint(other.split())


def _names(statement: Statement) -> set[str]:
    return {stem(word) for sort, item, _ in statement.values if sort == "name" for word in item.split()}


def _quote(statement: Statement) -> str:
    return f"'{_cut(statement.text)}'"


def _cut(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:59]}…"


__all__ = ["UNRELATED", "Known", "Relation", "relate"]
