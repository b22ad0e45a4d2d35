"""Numbers in words and in odd digits, as the one value they mean: "twenty-one", "half a dozen", "1.250,00".

English only. What has no one reading stays unread: "dozens", "a few", "a score", "nineteen eighty-four",
"half an hour". The vocabulary is the grammar's own; no text it is measured on was looked at for it.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import NamedTuple

_SMALL = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_ONES = {word: number for number, word in enumerate(_SMALL)}
_TENS = {
    "twenty": 20, "thirty": 30, "forty": 40, "fourty": 40, "fifty": 50, "sixty": 60, "seventy": 70,
    "eighty": 80, "ninety": 90,
}  # fmt: skip
_SIZES = {
    "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12,
}  # fmt: skip
_POWERS = {word: size for word, size in _SIZES.items() if size >= 1000}
_IRREGULAR = {"first": 1, "second": 2, "third": 3, "fifth": 5, "eighth": 8, "ninth": 9, "twelfth": 12}
_ORDINALS = {
    **{f"{word}th": number for word, number in _ONES.items() if number > 3 and number not in (5, 8, 9, 12)},
    **{f"{word[:-1]}ieth": number for word, number in _TENS.items()},
    "hundredth": 100, "thousandth": 1000, "millionth": 10**6, **_IRREGULAR,
}  # fmt: skip
_ALONE = {word: str(number) for word, number in (*_ONES.items(), *_TENS.items())}
_PARTS = {"half": 2, "third": 3, "quarter": 4} | {
    word: number for word, number in _ORDINALS.items() if 5 <= number <= 10
}
_PLURAL = {"halves": 2} | {f"{word}s": number for word, number in _PARTS.items() if word != "half"}
_LINKS = frozenset({"a", "an", "and", "of", "the", "point", "half", "couple", "pair", "minus", "negative"})
_KNOWN = _LINKS.union(_ONES, _TENS, _SIZES, _ORDINALS, _PARTS, _PLURAL)
_IDLE = frozenset({"a", "an", "of", "the"})

STARTS = frozenset(
    {"half", "couple", "pair", "minus", "negative", "third", "quarter"}
    | _ONES.keys() | _TENS.keys() | _SIZES.keys()
    | {word for word, number in _ORDINALS.items() if number > 3}
)  # fmt: skip
"""Words by which a number may begin; `a` before one belongs to it."""

HEDGED = "|".join(sorted((STARTS - {"one"}) & (_ONES.keys() | _TENS.keys() | _SIZES.keys() | {"half"})))
"""What may follow `about` so that it weakens a number, as alternatives of a pattern."""

VULGAR = "\u00bd\u00bc\u00be\u2153\u2154\u2155\u215b\u215c\u215d\u215e"
"""Fractions of one character."""

_WORD = re.compile(r"[^\W\d_]+")
_NEXT = re.compile(r"(?:\s{1,2}|[-\u2010\u2011])([^\W\d_]+)")
_ARTICLE = re.compile(r"(?:^|.*\W)(an?\s)$", re.IGNORECASE | re.DOTALL)
_NO_NUMBER = re.compile(
    r"(?:^|.*\W)(?:no|any|every|each|another|this|that|which|the other|some)\s+$", re.IGNORECASE | re.DOTALL
)
_AFTER = re.compile(
    r"(?P<part>\s+and\s+a\s+(?:half|quarter)\b)?"
    r"(?:[\s-](?P<size>hundred|thousand|million|billion|trillion|dozen)\b)?"
    r"(?P<late>\s+and\s+a\s+half\b)?",
    re.IGNORECASE,
)
_MIXED = re.compile(rf"-?\d*[{VULGAR}]")
_PLAIN = re.compile(r"-?\d+(?:\.\d+)?")
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
_EUROPEAN = re.compile(r"-?\d{1,3}(?:\.\d{3})+,\d+|-?\d{1,3}(?:\.\d{3}){2,}|-?\d+,\d{1,2}")
_POWER = re.compile(r"-?\d{1,15}(?:\.\d{1,15})?[eE][+-]?\d{1,2}")
_SIGNS = str.maketrans("", "", "$\u20ac\u00a3%")
_MOST_WORDS = 40


class Numeral(NamedTuple):
    """A number in words: its normal form, where it stands, and whether it tells a rank ("21st")."""

    value: str
    start: int
    end: int
    ordinal: bool = False


def spelled(text: str, start: int) -> Numeral | None:
    """Return the number in words of which a word of `STARTS` stands at `start`, else None.

    >>> spelled("twenty-one chairs", 0)
    Numeral(value='21', start=0, end=10, ordinal=False)
    >>> spelled("a dozen and a half chairs", 2).value
    '18'
    """
    words, ends = _words(text, start)
    if not words:
        return None
    lead = text[max(0, start - 12) : start]
    if words[0] in _ALONE and (len(words) == 1 or words[1] in _IDLE):  # the usual case
        pronoun = words[0] == "one" and _NO_NUMBER.match(lead)
        return None if pronoun else Numeral(_ALONE[words[0]], start, ends[0])
    article = _ARTICLE.match(lead)
    read = _Reader(words).read(article=article is not None)
    if read is None or not read[1]:
        return None
    value, length, rank, fraction = read
    begin = start - len(article[1]) if article is not None and words[0] in _WITH_ARTICLE else start
    if rank:
        return Numeral(_rank(int(value)), start, ends[length - 1], ordinal=True)
    shown = f"{value.numerator}/{value.denominator}" if fraction else _shown(value)
    return Numeral(shown, begin, ends[length - 1])


def scaled(text: str, end: int, value: str) -> tuple[str, int]:
    """Return a number in digits with the words after it that scale it, and where it ends then.

    >>> scaled("2 million euro", 1, "2")
    ('2000000', 9)
    """
    match = _AFTER.match(text, end)
    if match is None or not match[0] or not _PLAIN.fullmatch(value):
        return value, end
    number = Fraction(value)
    if match["part"]:
        number += Fraction(1, 2 if match["part"].casefold().endswith("half") else 4)
    size = _SIZES[match["size"].casefold()] if match["size"] else 1
    number *= size
    if match["late"]:
        if not match["size"] or size == 100:  # "two hundred and a half" has no one reading
            return _shown(number), match.start("late")
        number += Fraction(size, 2)
    return _shown(number), match.end()


def normal(text: str) -> str:
    """Return the one form of a number in digits; what is no single number (a date, a range) as it stands.

    >>> normal("$1,250.00"), normal("1.250,00"), normal("1e3"), normal("10.0.0.10")
    ('1250', '1250', '1000', '10.0.0.10')
    """
    bare = text.translate(_SIGNS).strip()
    if not bare.isascii():
        bare = _plain_digits(bare)
    if _PLAIN.fullmatch(bare):
        return bare.rstrip("0").rstrip(".") if "." in bare else bare
    if _GROUPED.fullmatch(bare):
        return normal(bare.replace(",", ""))
    if _EUROPEAN.fullmatch(bare):
        return normal(bare.replace(".", "").replace(",", "."))
    if _POWER.fullmatch(bare):
        try:
            return normal(f"{Decimal(bare):f}")
        except InvalidOperation:
            return bare
    return bare


def numeral(text: str) -> str:
    """Return the normal form of a text that is one number and nothing else, else "".

    Plain digits are left as they stand, zeros at their end too: they may be a version.
    """
    whole = text.strip()
    if not whole or len(whole) > 250 or (whole.isascii() and _PLAIN.fullmatch(whole)):
        return ""
    if not whole[0].isalpha():
        found = normal(whole)
        return found if _PLAIN.fullmatch(found) else ""
    words, ends = _words(whole, 0)
    article = bool(words) and words[0] in ("a", "an")
    if not words[article:] or words[article] not in STARTS:
        return ""
    start = ends[0] + 1 if article else 0
    read = spelled(whole, start)
    if read is None or read.ordinal or (read.start, read.end) != (0, len(whole)):
        return ""
    return read.value


_WITH_ARTICLE = frozenset({"half", "couple", "pair", "third", "quarter", *_SIZES, *_PARTS})


def _words(text: str, start: int) -> tuple[list[str], list[int]]:
    """Return the words of the vocabulary that stand in a row from `start`, and where each ends."""
    words: list[str] = []
    ends: list[int] = []
    match = _WORD.match(text, start)
    while match is not None and len(words) < _MOST_WORDS:
        word = match[match.lastindex or 0].casefold()
        after = text[match.end() : match.end() + 2]
        if word not in _KNOWN or (after[:1] in ("'", "\u2019") and after[1:].isalpha()) or after[:1] == "_":
            break
        words.append(word)
        ends.append(match.end())
        match = _NEXT.match(text, match.end())
    return words, ends


class _Reader:
    """Reads one number from the beginning of a row of words; positions are indices of words."""

    def __init__(self, words: list[str]) -> None:
        self.words = words

    def at(self, place: int) -> str:
        return self.words[place] if place < len(self.words) else ""

    def read(self, *, article: bool) -> tuple[Fraction, int, bool, bool] | None:
        """Return (value, words used, whether a rank, whether a mere fraction), or None."""
        first = self.at(0)
        if first in ("minus", "negative"):
            inner = _Reader(self.words[1:]).read(article=False) if self.at(1) in _ONES | _TENS else None
            return None if inner is None or inner[2] else (-inner[0], inner[1] + 1, False, inner[3])
        if first in ("couple", "pair"):
            held = first == "couple" or article
            return (Fraction(2), 2, False, False) if self.at(1) == "of" and held else None
        if first == "half":
            return self._half()
        if first in ("third", "quarter") or (first in _PARTS and article):
            whole = article and self.at(1) == "of"
            return (Fraction(1, _PARTS[first]), 2, False, True) if whole else self._ranked(Fraction(0), 0)
        found = self._cardinal(0)
        if found is None:
            return self._ranked(Fraction(0), 0)
        value, place = found
        return self._ranked(value, place) or self._part(value, place) or self._tail(value, place)

    def _half(self) -> tuple[Fraction, int, bool, bool] | None:
        place = 2 if self.at(1) in ("a", "an") else 1
        size = _SIZES.get(self.at(place))
        if size is not None:
            return Fraction(size, 2), self._of(place + 1), False, False
        return (Fraction(1, 2), self._of(1), False, True) if self.at(1) in ("of", "the") else None

    def _cardinal(self, place: int) -> tuple[Fraction, int] | None:
        """Read "two hundred and five thousand and one"; stop where another number begins."""
        total, most = 0, 0
        begun = place
        while True:
            start = place + 1 if total and self.at(place) == "and" else place
            part = self._under_thousand(start)
            if part is None and start == begun and self.at(start) in _POWERS:
                part = (1, start)  # (a) thousand
            if part is None:
                break
            number, after = part
            size = _POWERS.get(self.at(after), 0)
            if size and most and size >= most:
                break  # "a million and two million" are two numbers
            total += number * (size or 1)
            place, most = (after + 1 if size else after), size
            if not size:
                break
        if place > begun:
            return Fraction(total), place
        return (Fraction(1), place) if self.at(place) == "dozen" else None

    def _under_thousand(self, place: int) -> tuple[int, int] | None:
        first = self._under_hundred(place)
        number, after = first if first is not None else (1, place)
        if self.at(after) != "hundred" or number == 0:
            return first
        number, after = number * 100, after + 1
        rest = self._under_hundred(after + 1 if self.at(after) == "and" else after)
        if rest is not None and rest[0] and self.at(rest[1]) != "hundred":  # "two hundred and five hundred"
            return number + rest[0], rest[1]
        return number, after

    def _under_hundred(self, place: int) -> tuple[int, int] | None:
        word = self.at(place)
        if word in _TENS:
            unit = _ONES.get(self.at(place + 1), 0)
            return (_TENS[word] + unit, place + 2) if 0 < unit < 10 else (_TENS[word], place + 1)
        return (_ONES[word], place + 1) if word in _ONES else None

    def _ranked(self, value: Fraction, place: int) -> tuple[Fraction, int, bool, bool] | None:
        """Return a rank that ends in an ordinal: "twenty-first", "two hundred and fifth", "fourth"."""
        last = self.at(place - 1) if place else ""
        linked = last in _SIZES and self.at(place) == "and"
        rank = _ORDINALS.get(self.at(place + linked), 0)
        if not rank or (not place and rank <= 3):
            return None
        whole = rank >= 100 and (not place or last not in _SIZES)
        fits = not place or whole or (last in _TENS and rank < 10) or (last in _SIZES and rank < 100)
        if not fits or (place == 1 and value == 1):  # "one fifth", "one hundredth" are parts
            return None
        return (max(value, Fraction(1)) * rank if whole else value + rank), place + linked + 1, True, False

    def _part(self, value: Fraction, place: int) -> tuple[Fraction, int, bool, bool] | None:
        """Return "two thirds", "one quarter"."""
        if place != 1:
            return None
        parts = (_PARTS if value == 1 else _PLURAL).get(self.at(1), 0)
        return (value / parts, self._of(2), False, True) if 0 < value < parts else None

    def _tail(self, value: Fraction, place: int) -> tuple[Fraction, int, bool, bool]:
        """Read what scales a number or adds a part to it: "point five", "dozen", "and a half", "million"."""
        if self.at(place) == "point":
            digits: list[str] = []
            while _ONES.get(self.at(place + 1 + len(digits)), 10) < 10:
                digits.append(str(_ONES[self.at(place + 1 + len(digits))]))
            if digits:
                value += Fraction(f"0.{''.join(digits)}")
                place += 1 + len(digits)
        value, place, unit = self._sized(value, place)
        half = self._and_part(place)
        if half is not None and unit != 100:  # "two hundred and a half" has no one reading
            value, place = value + half[0] * unit, half[1]
            if unit == 1:
                value, place, _ = self._sized(value, place)
        return value, self._of(place) if self.at(place - 1) in _SIZES else place, False, False

    def _sized(self, value: Fraction, place: int) -> tuple[Fraction, int, int]:
        """Return the value times the sizes that follow, where they end, and the size it ends in (or 1)."""
        unit = _SIZES.get(self.at(place - 1), 1) if place else 1
        while size := _SIZES.get(self.at(place), 0):
            if size <= unit and size != 12 and value.denominator == 1:
                break
            value, place, unit = value * size, place + 1, size
        return value, place, unit

    def _and_part(self, place: int) -> tuple[Fraction, int] | None:
        if self.at(place) != "and":
            return None
        if self.at(place + 1) == "three" and self.at(place + 2) == "quarters":
            return Fraction(3, 4), place + 3
        start = place + 2 if self.at(place + 1) in ("a", "one") else place + 1
        word = self.at(start)
        if word not in ("half", "quarter") or (word == "quarter" and start == place + 1):
            return None
        return Fraction(1, _PARTS[word]), start + 1

    def _of(self, place: int) -> int:
        return place + 1 if self.at(place) == "of" else place


def _shown(value: Fraction) -> str:
    """Return a whole number or decimal fraction in digits; another fraction as "1/3"."""
    if value.denominator == 1:
        return str(value.numerator)
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    return normal(f"{Decimal(value.numerator) / Decimal(value.denominator):f}")


def _rank(number: int) -> str:
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def _plain_digits(text: str) -> str:
    """Return digits of other alphabets as 0 to 9, and a fraction of one character as its decimal."""
    if _MIXED.fullmatch(text):
        part = Fraction(unicodedata.normalize("NFKC", text[-1]).replace("\u2044", "/"))
        whole = _plain_digits(text[:-1])
        number = (abs(Fraction(whole)) if whole.strip("-") else 0) + part
        return _shown(-number if whole.startswith("-") else number)
    return "".join(str(unicodedata.decimal(one, one)) for one in text)


__all__ = ["HEDGED", "STARTS", "VULGAR", "Numeral", "normal", "numeral", "scaled", "spelled"]
