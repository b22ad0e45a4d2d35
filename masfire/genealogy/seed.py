"""What an error is recognised by: a codeword, or a claim; and who has taken it over."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from masfire.claims import relate, statements_of
from masfire.claims.leaves import strings
from masfire.errors import UsageError
from masfire.genealogy.outputs import Output

ADOPTS, OBJECTS, SILENT = "adopts", "objects", "silent"

_ZERO_WIDTH = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")
_QUOTES = (('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"), ("`", "`"))
_REJECTING = re.compile(
    r"\b(?:ignor\w+|disregard\w*|reject\w*|suspicious|unverified|cannot (?:be )?confirm\w*|phishing|injected"
    r"|not trust\w*|false claim|does not match|differs? from|mismatch)\b",
    re.IGNORECASE,
)


class Seed(Struct, frozen=True):
    """An error that is followed: a `codeword` (exact mode) or a `claim` with what is true instead.

    `claim` and `truth` are JSON values or texts, for example {"city": "Oslo"} and {"city": "Rome"}.
    Raise UsageError when neither a codeword nor a claim that says something is given.
    """

    codeword: str = ""
    claim: Any = None
    truth: Any = None

    def __post_init__(self) -> None:
        if not normalised(self.codeword) and not statements_of(self.claim):
            raise UsageError(
                "A seed says nothing that could be followed.",
                hint='Give a codeword, or a claim such as {"city": "Oslo"} or "The price is 40 euro."',
            )

    @property
    def label(self) -> str:
        """Return the seed in a few words."""
        return self.codeword or "; ".join(one.text for one in statements_of(self.claim))

    def stance(self, output: Output) -> str:
        """Return whether an output `adopts` the seed, `objects` to it, or is `silent` about it.

        Adoption means that the output states the claim itself (exact mode: holds the whole codeword
        literally). A negated or rejecting mention objects; so does stating the truth instead.
        """
        if self.codeword:
            return ADOPTS if carries(output.value, self.codeword) else SILENT
        said = [one for one in output.statements if not one.negated]
        willing = [one for one in said if not _REJECTING.search(one.text)]
        claims = statements_of(self.claim)
        if all(relate(claim, willing).kind == "supports" for claim in claims):
            return ADOPTS
        plain = [replace(one, negated=False) for one in output.statements]
        mentioned = any(relate(claim, plain).kind == "supports" for claim in claims)
        denied = any(relate(claim, output.statements).kind == "contradicts" for claim in claims)
        stated = self.truth is not None and any(
            relate(truth, willing).kind == "supports" for truth in statements_of(self.truth)
        )
        return OBJECTS if mentioned or denied or stated else SILENT


def normalised(text: str) -> str:
    r"""Return text as the exact mode compares it: NFKC, one kind of line break, no zero-width characters.

    One layer of quotes around the whole is removed.

    >>> normalised("\u201c#TAG:\u200bABC\u201d\r\n")
    '#TAG:ABC'
    """
    text = _ZERO_WIDTH.sub("", unicodedata.normalize("NFKC", text))
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    for opening, closing in _QUOTES:
        if len(text) > 1 and text.startswith(opening) and text.endswith(closing):
            return text[1:-1].strip()
    return text


def carries(value: Any, codeword: str) -> bool:
    """Return whether the full codeword occurs literally in one of the texts of a value."""
    wanted = normalised(codeword)
    return bool(wanted) and any(wanted in normalised(text) for text in strings(value))


def stances(seed: Seed, said: Sequence[Output]) -> list[str]:
    """Return the stance of each output."""
    return [seed.stance(each) for each in said]


__all__ = ["ADOPTS", "OBJECTS", "SILENT", "Seed", "carries", "normalised", "stances"]
