"""Statements: the smallest declarative pieces of a text or JSON value, with the atoms they are made of."""

from __future__ import annotations

import functools
import itertools
import re
from typing import Any

from msgspec import Struct

from masfire.claims.extract import Claim, claims_of, claims_of_text, sentences
from masfire.claims.leaves import INSIDE, Path, spoken
from masfire.claims.lexicon import STOPWORDS

_FOLLOWING = re.compile(r"(?: ?[^\W\d_]+)(?: [^\W\d_]+){0,2}")

MOST = 2_000
"""Statements that are read of one value; hostile input has more."""


class Statement(Struct, frozen=True):
    """One declarative piece: a sentence of prose, or one slot of a JSON object.

    `words` are the stems of what it is about, `values` its checkable parts (numbers with their unit,
    names, a slot's value) as (kind, normalised value, stems of what a number counts), `verdicts` its words
    of judgement.
    `negated` counts negations modulo two; `hedged` says that it is weakened. A slot has its `key`, and
    `beside` holds the stems of the other slots of its object. `path` says where it stands.
    """

    text: str
    words: frozenset[str] = frozenset()
    values: tuple[tuple[str, str, str], ...] = ()
    verdicts: frozenset[str] = frozenset()
    negated: bool = False
    hedged: bool = False
    key: str = ""
    beside: frozenset[str] = frozenset()
    path: Path = ()

    @property
    def atoms(self) -> frozenset[str]:
        """Return everything that the statement mentions, by which it is looked up."""
        names = {stem(word) for kind, value, _ in self.values if kind == "name" for word in value.split()}
        return self.words | self.verdicts | names | {value for _, value, _ in self.values}


def statements_of(value: Any) -> list[Statement]:
    """Return the statements of a text or JSON value in order; at most the first 2,000.

    >>> [s.text for s in statements_of("It is in stock. It costs 5 euro.")]
    ['It is in stock.', 'It costs 5 euro.']
    >>> statements_of({"city": "Rome"})[0].key
    'city'
    """
    found: list[Statement] = []
    groups: dict[Path, list[int]] = {}
    for path, leaf in spoken(value):
        if leaf is None or len(found) >= MOST:
            continue
        key = next((part for part in reversed(path) if isinstance(part, str) and part != INSIDE), "")
        plain = isinstance(leaf, str) and (
            (key in ("", "content", "text") and INSIDE not in path) or len(leaf.split()) > 4
        )
        if plain:
            found += _prose(leaf, path)
        else:
            groups.setdefault(path[:-1], []).append(len(found))
            found.append(_slot(leaf, key, path))
    for members in groups.values():
        if len(members) > 1:
            _acquaint(found, members)
    return found[:MOST]


@functools.lru_cache(maxsize=16_384)
def stem(word: str) -> str:
    """Return a word without its commonest English endings, so that forms of it compare equal.

    >>> stem("reserved"), stem("reserves"), stem("cities")
    ('reserv', 'reserv', 'city')
    """
    for ending, put in (("ies", "y"), ("ing", ""), ("ed", ""), ("es", ""), ("s", ""), ("e", "")):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            return word[: len(word) - len(ending)] + put
    return word


def statement(text: str) -> Statement:
    """Return one text as a single statement, however many sentences it has."""
    return _stated(text, (), claims_of_text(text))


def _prose(text: str, path: Path) -> list[Statement]:
    pieces = [_stated(text[start:end].strip(), path) for start, end in sentences(text)]
    return [piece for piece in pieces if piece.atoms]


def _stated(text: str, path: Path, claims: list[Claim] | None = None) -> Statement:
    words, verdicts, values = set(), set(), []
    negations, hedged = 0, False
    for claim in claims_of_text(text) if claims is None else claims:
        if claim.kind == "number":
            values.append(("number", claim.value, _counted(text, claim)))
        elif claim.kind == "entity":
            values.append(("name", claim.value, ""))
        elif claim.kind == "verdict":
            verdicts.add(claim.value)
        elif claim.kind == "polarity":
            negations += 1
        elif claim.kind == "hedge":
            hedged = True
        else:
            words.add(stem(claim.value))
    return Statement(
        text,
        frozenset(words),
        tuple(dict.fromkeys(values)),
        frozenset(verdicts),
        negated=bool(negations % 2),
        hedged=hedged,
        path=path,
    )


def _counted(text: str, number: Claim) -> str:
    """Return the stems of the up to three words after a number: what it counts ("green chair")."""
    match = _FOLLOWING.match(text, number.end)
    words = match[0].split() if match is not None else []
    kept = list(itertools.takewhile(lambda word: word.casefold() not in STOPWORDS, words[:3]))
    return " ".join(stem(word.casefold()) for word in kept)


def _slot(leaf: Any, key: str, path: Path) -> Statement:
    claims = claims_of({key: leaf}) if key else claims_of([leaf])
    value = claims[0].value if claims else str(leaf).casefold()
    number = not isinstance(leaf, (str, bool)) or value.replace(".", "", 1).lstrip("-").isdigit()
    kind = "number" if number else "name"
    return Statement(
        f"{key}: {leaf}" if key else str(leaf),
        frozenset(stem(part) for part in key.casefold().replace("-", "_").split("_") if part),
        ((kind, value, ""),),
        key=key.casefold(),
        path=path,
    )


def _acquaint(found: list[Statement], members: list[int]) -> None:
    """Tell the slots of one object what stands in the others: a number's thing is often next to it."""
    said = {
        at: {
            stem(word)
            for kind, value, _ in found[at].values
            if kind == "name"
            for word in value.split()
            if word not in STOPWORDS
        }
        for at in members
    }
    for at in members:
        one = found[at]
        beside = frozenset().union(*(words for other, words in said.items() if other != at))
        found[at] = Statement(one.text, one.words, one.values, key=one.key, beside=beside, path=one.path)


__all__ = ["MOST", "Statement", "statement", "statements_of", "stem"]
