"""Names that look like other names: what is denied is denied in any dress."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

_UPPER = str.maketrans(
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7", "ABEZHIKMNOPTYX"
)
_ALIKE = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u043a\u043c\u0442\u0432\u043d\u0456\u0458\u0455\u0501\u051b"
    "\u051d\u04bb\u04cf\u03b1\u03bf\u03c1\u03c5\u03bd\u03b9\u03ba\u03c4",
    "aeopcyxkmtbhijsdqwhlaopuvikt",
)
"""Cyrillic and Greek letters that are drawn like Latin ones (a part of Unicode's confusables)."""
_WORD = re.compile(r"\w+")
_UNSEEN = frozenset({"Cf", "Cc", "Cs", "Mn"})


def plain(name: str) -> str:
    """Return a name without what a reader would not see: case, width, accents, joiners, alphabets, blanks.

    >>> plain("\\uff30\\u0430y\\u200b ") == plain("pay")
    True
    """
    if name.isascii():
        return name.strip().casefold()
    spread = unicodedata.normalize("NFKD", name).translate(_UPPER).casefold().translate(_ALIKE)
    return "".join(one for one in spread if unicodedata.category(one) not in _UNSEEN).strip()


def disguised(name: str) -> bool:
    """Return whether a name is written so that it may pass for another; only its exact rule may allow it.

    Blanks at its ends, characters that are not shown, widths and look-alikes beside Latin letters.
    """
    if name.isascii():
        return name != name.strip() or not (name.isprintable() or name == "")
    if name != name.strip() or unicodedata.normalize("NFKC", name) != unicodedata.normalize("NFC", name):
        return True
    if any(unicodedata.category(one) in _UNSEEN - {"Mn"} for one in name):
        return True
    alphabets = {unicodedata.name(one, "").partition(" ")[0] for one in name if one.isalpha()}
    return "LATIN" in alphabets and bool(alphabets & {"CYRILLIC", "GREEK"})


def unmasked(value: Any) -> Any:
    """Return a JSON value with what its texts show: no invisible characters, look-alikes as Latin letters.

    A word is only changed when it mixes alphabets; whole words in another alphabet are that language's.
    """
    if isinstance(value, str):
        return value if value.isascii() else _unmasked(value)
    if isinstance(value, dict):
        return {key: unmasked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [unmasked(item) for item in value]
    return value


def _unmasked(text: str) -> str:
    shown = "".join(one for one in text if unicodedata.category(one) != "Cf")
    return _WORD.sub(lambda found: _latin(found[0]), shown)


def _latin(word: str) -> str:
    if word.isascii() or not any(one.isascii() and one.isalpha() for one in word):
        return word
    word = word.translate(_UPPER)
    return "".join(
        one.lower().translate(_ALIKE).upper() if one.isupper() else one.translate(_ALIKE) for one in word
    )
