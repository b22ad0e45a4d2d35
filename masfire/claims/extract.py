"""Splits what somebody said into atomic claims: numbers, entities, slots, verdicts, hedges, terms."""

from __future__ import annotations

import re
from collections.abc import Iterable
from operator import attrgetter
from typing import Any

from msgspec import Struct

from masfire.claims.leaves import INSIDE, Path, spoken
from masfire.claims.lexicon import HEDGES, NEGATIONS, OPPOSITE, STOPWORDS
from masfire.claims.numerals import HEDGED, STARTS, VULGAR, normal, numeral, scaled, spelled

_NUMBER = re.compile(
    r"(?<![\w.,-])(?:-?[$€£]?\d+(?:[.,:/-]\d+)*(?!\w)%?|-?\d+(?:\.\d+)?(?=(?:kg|km|cm|mm|g|m|h|s)\b)"
    rf"|-?\d+(?:\.\d+)?[eE][+-]?\d{{1,2}}(?!\w)|-?[$€£]?\d*[{VULGAR}](?!\w))"
)
"""Dates, times, ranges and prices are one number each; a measure may follow without a space."""
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_ENTITY = re.compile(r"(?:[A-Z][\w-]*\d[\w-]*|\b[A-Z][\w'\u2019-]*)")
_CODE = re.compile(r"\b[A-Za-z]*\d+[A-Za-z][\w-]*\b|\b[A-Za-z]+-?\d[\w-]*\b")
_NAME = re.compile(r" [A-Z][a-z]+\b")
_QUOTED = re.compile(r'"([^"\n]{1,80})"|\u201c([^\u201d\n]{1,80})\u201d|`([^`\n]{1,80})`')
_HEDGE = re.compile(
    r"\b(?:(?i:"
    + "|".join(map(re.escape, sorted(HEDGES, key=len, reverse=True)))
    + r")\b|might\b|could\b|may\b"
    rf"|(?i:about|around)(?=\s+(?:[$€£]?\d|(?:an?\s+)?(?i:{HEDGED})\b)))"
)
"""`may` is a month when capitalised; `about` hedges only a number."""
_HEDGE_SIGNS = (
    *[phrase for phrase in HEDGES if not any(part in phrase for part in HEDGES if part != phrase)],
    "might", "could", "may", "about", "around",
)  # fmt: skip
"""What a text with a hedge contains at least."""
_DIGIT = re.compile(rf"[\d{VULGAR}]")
_END = re.compile(r"[.!?;]+(?=\s|$)|\n")
_MARKER = re.compile(r"\s*(?:\d+|[a-zA-Z])$")
_ABBREVIATIONS = ("e.g", "i.e", "etc", "mr", "mrs", "ms", "dr", "vs", "approx", "incl")
_MAX_TEXT = 200_000
_start = attrgetter("start")


class Claim(Struct, frozen=True):
    """One thing that is stated.

    `kind` is `number`, `entity`, `slot` (a key and its value), `verdict` (yes, approved, …),
    `polarity` (a negation), `hedge` or `term` (another content word). `value` is the normalised
    form that two claims are compared by, `unit` what a number counts, `key` a slot's name; `path`,
    `start` and `end` say where the words stand (`end` 0: the whole scalar at `path`).
    """

    kind: str
    value: str
    text: str
    start: int = 0
    end: int = 0
    unit: str = ""
    key: str = ""
    path: Path = ()

    @property
    def identity(self) -> tuple[str, str, str]:
        """Return what makes two claims the same: kind, key and normalised value."""
        return self.kind, self.key, self.value


def claims_of(value: Any) -> list[Claim]:
    """Return the claims of a JSON value: slots for keyed scalars, the prose's own for texts.

    A keyed text of at most four words is a slot; a longer one is read as prose.
    """
    return claims_in(spoken(value))


def claims_in(leaves: Iterable[tuple[Path, Any]]) -> list[Claim]:
    """Return the claims of a JSON value whose leaves (of `spoken`) are at hand."""
    found: list[Claim] = []
    for path, leaf in leaves:
        key = next((part for part in reversed(path) if isinstance(part, str) and part != INSIDE), "")
        slot = bool(key) and (INSIDE in path or key not in ("content", "text"))
        if not isinstance(leaf, str):
            if leaf is not None:
                kind = "slot" if key else "number"
                found.append(Claim(kind, _scalar(leaf), str(leaf), key=key, path=path))
        elif slot and len(leaf.split()) <= 4:
            value = numeral(leaf) or leaf.strip().casefold()
            found.append(Claim("slot", value, leaf, key=key, path=path))
        else:
            found += claims_of_text(leaf, path)
    return found


def claims_of_text(text: str, path: Path = ()) -> list[Claim]:
    """Return the claims of prose in order of position. Texts are read up to 200,000 characters."""
    text = text[:_MAX_TEXT]
    taken = bytearray(len(text))
    found: list[Claim] = []

    def take(kind: str, value: str, start: int, end: int, unit: str = "") -> None:
        if start < end and taken.find(1, start, end) < 0:
            taken[start:end] = b"\x01" * (end - start)
            found.append(Claim(kind, value, text[start:end], start, end, unit, path=path))

    # Most texts hold few of these: a search for what each must contain is cheaper than its pattern.
    lowered = text.lower() if text.isascii() else ""
    if not lowered or any(sign in lowered for sign in _HEDGE_SIGNS):
        for match in _HEDGE.finditer(text):
            take("hedge", match[0].casefold(), *match.span())
    if _DIGIT.search(text) is not None:
        for match in _NUMBER.finditer(text):
            if not _marks_item(text, *match.span()):
                value, end = scaled(text, match.end(), normal(match[0]))
                take("number", value, match.start(), end, unit=_unit(text, end))
        for match in _CODE.finditer(text):
            take("entity", match[0].casefold(), *match.span())
    if '"' in text or "`" in text or "\u201c" in text:
        for match in _QUOTED.finditer(text):
            group = match.lastindex or 1
            take("entity", match[group].casefold(), *match.span(group))
    if text != lowered:
        for match in _ENTITY.finditer(text):
            word = match[0].casefold()
            if word in STOPWORDS or _opens(text, match.start(), match[0]):
                continue
            read = spelled(text, match.start()) if word.partition("-")[0] in STARTS else None
            if read is None or read.end < match.end():
                take("entity", word, *match.span())
    for match in _WORD.finditer(text):
        start, end = match.span()
        if taken.find(1, start, end) >= 0:
            continue
        word = match[0].casefold()
        if word in NEGATIONS or word.endswith(("n't", "n\u2019t")):
            take("polarity", "not", start, end)
        elif word in STARTS and (read := spelled(text, start)) is not None:
            unit = "" if read.ordinal else _unit(text, read.end)
            take("entity" if read.ordinal else "number", read.value, read.start, read.end, unit)
        elif word in OPPOSITE and (word not in STOPWORDS or word == "yes"):
            take("verdict", word, start, end)
        elif len(word) > 2 and word not in STOPWORDS:
            take("term", word, start, end)
    found.sort(key=_start)
    return found


def difference(before: Any, after: Any) -> tuple[list[Claim], list[Claim]]:
    """Return the claims of `before` that `after` lacks, and those of `after` that `before` lacks."""
    left, right = claims_of(before), claims_of(after)
    known, stated = {claim.identity for claim in left}, {claim.identity for claim in right}
    gone = [claim for claim in left if claim.identity not in stated]
    return gone, [claim for claim in right if claim.identity not in known]


def sentences(text: str) -> list[tuple[int, int]]:
    """Return the spans of the sentences and lines of a text, each with the white space after it."""
    spans: list[tuple[int, int]] = []
    start = line = 0
    for match in _END.finditer(text):
        end = match.end()
        if match[0] != "\n":
            lead = text[max(line, match.start() - 12) : match.start()]
            if match[0] == "." and (
                _MARKER.fullmatch(lead) or lead.casefold().split(" ")[-1] in _ABBREVIATIONS
            ):
                continue
            while end < len(text) and text[end] in " \t\n":
                end += 1
        if end > start and text[start:end].strip():
            spans.append((start, end))
        elif spans:
            spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
        start = max(end, start)
        line = start if "\n" in text[match.start() : end] else line
    if text[start:].strip():
        spans.append((start, len(text)))
    return spans


def _scalar(leaf: Any) -> str:
    return str(leaf).casefold() if isinstance(leaf, bool) else normal(str(leaf))


def _unit(text: str, end: int) -> str:
    match = _WORD.match(text, end + 1 if text[end : end + 1] == " " else end)
    return match[0].casefold() if match is not None and match[0].casefold() not in STOPWORDS else ""


def _marks_item(text: str, start: int, end: int) -> bool:
    """Return whether a number is the marker of a list item (1. or 1) at the beginning of a line)."""
    if text[end : end + 1] not in (".", ")") or text[end + 1 : end + 2] not in (" ", "\t"):
        return False
    line = text.rfind("\n", 0, start) + 1
    return not text[line:start].strip()


def _opens(text: str, start: int, word: str) -> bool:
    """Return whether a capital is explained by the beginning of a sentence alone."""
    before = start - 1
    while before >= 0 and text[before] in " \t\"'\u201c*-#>(":
        before -= 1
    first = before < 0 or text[before] in ".!?:;\n" or text[before].isdigit()
    return first and word[1:].islower() and _NAME.match(text, start + len(word)) is None
