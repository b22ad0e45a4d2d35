"""What makes a correction doubtful: a value said in other words, a number that is an id, a choice, a list.

A rewriter that corrects a correct paraphrase does harm that nobody looks for, so everything here errs
towards doubt. Word lists are English, with the commonest words of German, French, Spanish and Italian.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any

from masfire.claims.leaves import embedded
from masfire.claims.lexicon import OPPOSITE
from masfire.claims.numerals import STARTS, VULGAR, spelled

MOST_COMBINED = 30
"""Numbers that sums and products are looked for among; of more, any number is one by chance."""
MOST_TEXT = 100_000
"""Characters that are read; a longer text may mean anything."""
MOST_VALUE = 200
"""Characters of a value; a longer one is prose, which says what it likes."""
_TOKEN = re.compile(rf"\d{{1,3}}(?:[ \u00a0\u202f]\d{{3}})+(?![\w])|\d+(?:[.,'\u2019]\d+)*|[{VULGAR}]")
_SEPARATORS = re.compile(r"[.,'\u2019 \u00a0\u202f]")
_BEFORE = re.compile(r"(?:^|[\s($\u20ac\u00a3\"'\u201c=])$")
_AFTER = re.compile(r"(?:[.,:;!?)\"'\u201d\u2019]*(?:\s|$))|\s*[$\u20ac\u00a3]")
_WORD = re.compile(r"[^\W\d_]+")
_SENTENCE = re.compile(r"[.!?;\n]")
_SCALES = {"k": 1_000, "tsd": 1_000, "m": 10**6, "mio": 10**6, "mn": 10**6, "bn": 10**9}
_TIMES = {"once": 1, "twice": 2, "double": 2, "thrice": 3, "triple": 3, "both": 2}
_NAMES = frozenset(
    """room ticket invoice no nr num number ref reference case id page step line version flight gate platform
    floor apartment apt suite building zip code account phone tel fax call section chapter track order
    customer raum zimmer rechnung nummer seite auftrag chambre numéro commande habitación pedido stanza
    ordine
    january february march april may june july august september october november december""".split()  # noqa: SIM905
)
"""Words before a number that make it a name or a date."""
_PERIODS = frozenset(
    """day days week weeks month months year years hour hours minute minutes am pm o'clock uhr tage wochen
    st street road avenue ave lane percent january february march april may june july august september
    october november december""".split()  # noqa: SIM905
)
"""Words after a number that say that it counts no things."""
_DISMISSED = frozenset(
    """not no never instead rather than except without forget ignore cancel cancelled last previous
    previously earlier former formerly yesterday before longer unlike nicht kein keine statt außer ohne pas
    sans plutôt sino sin nunca anziché invece senza isn't aren't don't won't""".split()  # noqa: SIM905
)
"""Words near a value by which somebody says that it is not meant."""
_NEAR = 4


def folded(text: str) -> str:
    """Return a text without case and accents."""
    spread = unicodedata.normalize("NFKD", text.casefold())
    return "".join(one for one in spread if not unicodedata.combining(one))


class Readings:
    """All numbers that a text may mean, generously: "1.250" is 1.25 and 1250, "two dozen" is 24."""

    def __init__(self, text: str) -> None:
        self.plain: list[tuple[int | float, int, int]] = []
        """Numbers that can be read in one way only, with their place."""
        self.odd: list[str] = []
        """What holds digits besides: ids, dates, ranges, measures, percentages, separated thousands."""
        self.spelled: list[Fraction] = []
        self.whole = len(text) <= MOST_TEXT
        text = text[:MOST_TEXT]
        found: list[Fraction] = []
        for match in _TOKEN.finditer(text):
            digits, start, end = match[0], *match.span()
            if len(digits) > 40:
                self.odd.append(digits)
                continue
            found += _values(digits, text[end : end + 4])
            if (
                _alone(text, start, end)
                and digits.isascii()
                and _SEPARATORS.sub("", digits, count=1).isdigit()
            ):
                whole = digits.isdigit() and (digits == "0" or digits[0] != "0")
                if whole or (re.fullmatch(r"(?:0|[1-9]\d*)\.\d{1,2}", digits) is not None):
                    self.plain.append((int(digits) if whole else float(digits), start, end))
                    continue
            self.odd.append(_around(text, start, end))
        at = 0
        for match in _WORD.finditer(text):
            word = match[0]
            if word in _TIMES:
                found.append(Fraction(_TIMES[word]))
            if match.start() >= at and word in STARTS and (read := spelled(text, match.start())) is not None:
                at = read.end
                if not read.ordinal:
                    self.spelled.append(Fraction(read.value))
        self.known = Counter([*found, *self.spelled])
        """Everything that may be meant, with how often."""

    def may_mean(self, value: float) -> bool:
        """Return whether a number may be one of these, in another unit, too, or made of two of them."""
        return self.state(value) or self.make(value)

    def state(self, value: float) -> bool:
        """Return whether a number may be one of these: the same, without its sign, or in cents or percent."""
        wanted = _fraction(value)
        if wanted is None or not self.whole:
            return True
        return any(wanted * factor in self.known for factor in (1, 100, Fraction(1, 100)))

    def make(self, value: float) -> bool:
        """Return whether a number is the sum, difference or product of two of these."""
        wanted, few = _fraction(value), list(self.known)
        if len(few) > MOST_COMBINED:
            return False
        return any(
            wanted in (one + other, abs(one - other), one * other)
            for at, one in enumerate(few)
            for other in (few[at:] if self.known[one] > 1 else few[at + 1 :])
        )


def numbers(
    text: str,
    taken: Iterable[float],
    explained: str,
    fits: Callable[[int, int], bool] = lambda start, end: True,
) -> set[int | float]:
    """Return the numbers that a text offers for a slot; none where any other number may be meant.

    `taken` are those that other slots hold, `explained` what other slots say (an id that holds digits is
    no riddle then); `fits` says whether a number may stand at a place.
    """
    read = Readings(text)
    held = set(taken)
    left = [(number, start, end) for number, start, end in read.plain if number not in held]
    values = {number for number, _, _ in left}
    if (
        not read.whole
        or any(odd not in explained for odd in read.odd)
        or not set(read.spelled) <= values | held
    ):
        return set()
    if any(
        _named(text, start, end) or dismissed(text, start, end) or not fits(start, end)
        for _, start, end in left
    ):
        return set()
    return values


def dismissed(text: str, start: int, end: int) -> bool:
    """Return whether words near a place of a casefolded text say that what stands there is not meant."""
    lead = _SENTENCE.split(text[max(0, start - 60) : start])[-1]
    rest = _SENTENCE.split(text[end : end + 40], maxsplit=1)[0]
    near = [*lead.split()[-_NEAR:], *rest.split()[:2]]
    return any(word.strip(".,:;!?()\"'") in _DISMISSED for word in near)


def cue(text: str, start: int, end: int, beside: Iterable[tuple[str, Any]] | None = None) -> str:
    """Return what stands at a place of a casefolded text, by which another one is known to be alike.

    Of a text: the word before it; `#` for a number, `^` for the beginning of a line, `,` for a sign. Of a
    number (`beside` holds the keys and values of its proposal): `=item` when the value of that key
    follows, else the word after it; `$` for the end of a line, `,` for a sign.
    """
    if beside is not None:
        rest = text[end : end + 80].partition("\n")[0].lstrip()
        for key, value in beside:
            if isinstance(value, str) and value.strip() and rest.startswith(value.strip().casefold()):
                return f"={key}"
        word = _WORD.match(rest)
        return word[0] if word is not None else "," if rest else "$"
    lead = text[max(0, start - 80) : start].rpartition("\n")[2].rstrip()
    last = lead.split()[-1].strip("\"'(\u201c") if lead.split() else "^"
    if last[-1:].isdigit() or last in STARTS:
        return "#"
    return last if last == "^" or last[-1:].isalpha() else ","


def paraphrased(value: str, text: str, known: str = "") -> bool:
    """Return whether a casefolded text may say a value in other forms of its words; `known` is left out.

    Half of its words stand in the text (other endings and accents count), or its initials do.
    """
    if len(value) > MOST_VALUE or len(text) > MOST_TEXT:
        return True
    rest = folded(text).replace(folded(known), " ") if known else folded(text)
    there = set(_WORD.findall(rest))
    words = [word for word in _WORD.findall(folded(value)) if len(word) > 2]
    if not words:
        return True  # an id or a sign: what it may be called is not known
    if sum(any(_kindred(word, other) for other in there) for word in words) * 2 >= len(words):
        return True
    initials = "".join(word[0] for word in _WORD.findall(folded(value)))
    return len(initials) > 1 and any(2 <= len(one) <= 4 and one.startswith(initials) for one in there)


def reformed(one: str, other: str) -> bool:
    """Return whether two texts may be one thing in two forms: a date, a phone number, a code, a spelling."""
    if max(len(one), len(other)) > MOST_VALUE:
        return True
    left, right = folded(one), folded(other)
    digits, more = ({int(run[:18]) for run in re.findall(r"\d+", text)} for text in (left, right))
    if digits & more:
        return True
    bare, rest = "".join(_WORD.findall(left)), "".join(_WORD.findall(right))
    if not bare or not rest:
        return bool(digits or more) and "".join(re.findall(r"\d", left)) == "".join(re.findall(r"\d", right))
    short, long = sorted((bare, rest), key=len)
    if long.startswith(short) or (len(short) <= 4 and len(long) > len(short) and long.startswith(short[:2])):
        return True
    return any(_kindred(word, term) for word in _WORD.findall(left) for term in _WORD.findall(right))


def choice(value: Any) -> bool:
    """Return whether a text looks like one of an agent's decisions (deny, pending, URGENT), and no copy."""
    if not isinstance(value, str):
        return False
    bare = value.strip()
    if folded(bare) in OPPOSITE:
        return True
    return not any(one.isspace() or one.isdigit() for one in bare) and (bare.islower() or bare.isupper())


def listed(value: Any, depth: int = 8) -> set[str]:
    """Return the keys that several objects of one list hold: of which of them a value is, is not known."""
    found: set[str] = set()
    if depth < 0:
        return found
    if isinstance(value, dict):
        for part in value.values():
            found |= listed(part, depth - 1)
    elif isinstance(value, str):
        inner = embedded(value)
        return found if inner is None else listed(inner.value, depth - 1)
    elif isinstance(value, list):
        objects = [part for part in value if isinstance(part, dict) and "content" not in part]
        counted = Counter(key for part in objects for key in set(_keys(part, depth - 1)))
        found.update(key for key, times in counted.items() if times > 1)
        for part in value:
            found |= listed(part, depth - 1)
    return found


def derived(value: Any, beside: Sequence[Any]) -> bool:
    """Return whether a number is the sum, difference or product of two of these numbers."""
    if not isinstance(value, (int, float)):
        return False
    parts = (_fraction(one) for one in beside if isinstance(one, (int, float)) and not isinstance(one, bool))
    read = Readings("")
    read.known.update(part for part in parts if part is not None)
    return read.may_mean(value)


def _fraction(value: float) -> Fraction | None:
    try:
        return abs(Fraction(value))
    except (OverflowError, ValueError):  # infinite, or no number
        return None


def _keys(value: Any, depth: int) -> Iterator[str]:
    if depth >= 0 and isinstance(value, dict):
        for key, part in value.items():
            yield str(key)
            yield from _keys(part, depth - 1)


def _values(token: str, after: str) -> list[Fraction]:
    """Return what a token of digits and separators may mean, with a scale that follows it (10k)."""
    if token in VULGAR:
        return [Fraction(str(unicodedata.numeric(token)))]
    bare = _SEPARATORS.sub("", token)
    found = [Fraction(int(bare))]
    pieces = _SEPARATORS.split(token)
    if len(pieces) > 1:
        found.append(Fraction(f"{''.join(map(_ascii, pieces[:-1]))}.{_ascii(pieces[-1])}"))
    suffix = _WORD.match(after)
    scale = _SCALES.get(suffix[0]) if suffix is not None else None
    return found if scale is None else [*found, *(one * scale for one in found)]


def _ascii(digits: str) -> str:
    return "".join(str(unicodedata.decimal(one)) for one in digits)


def _alone(text: str, start: int, end: int) -> bool:
    return _BEFORE.search(text[max(0, start - 1) : start]) is not None and _AFTER.match(text, end) is not None


def _around(text: str, start: int, end: int) -> str:
    """Return the run of characters without blanks that a place is in."""
    lead = text[max(0, start - 40) : start].split()
    rest = text[end : end + 40].split()
    before = "" if not lead or text[start - 1].isspace() else lead[-1]
    after = "" if not rest or text[end].isspace() else rest[0]
    return f"{before}{text[start:end]}{after}".strip(".,:;!?()\"'")


def _named(text: str, start: int, end: int) -> bool:
    """Return whether the words at a number make it a name, a date or a time instead of a count."""
    before = re.findall(r"[^\s.,:;()#]+", text[max(0, start - 30) : start])
    follows = re.match(r"\s+([^\W\d_]+)", text[end : end + 40])
    following = follows[1] if follows is not None else ""
    if text[max(0, start - 2) : start].strip() == "#":
        return True
    if before and before[-1] in _NAMES and not (before[-1] == "order" and following):
        return True
    words = re.findall(r"[^\s.,:;()]+", text[end : end + 40])[:3]
    return following in _PERIODS or bool({"street", "st", "road", "avenue"} & set(words))


def _kindred(word: str, other: str) -> bool:
    """Return whether two folded words may be forms of one: most of their letters, from the first, agree."""
    if word == other:
        return True
    longest = max(len(word), len(other))
    if min(len(word), len(other)) < 3:
        return False
    same = next(
        (at for at, (a, b) in enumerate(zip(word, other, strict=False)) if a != b), min(len(word), len(other))
    )
    return same >= 3 and same * 5 >= longest * 3
