"""A plausible wrong value for a right one: same type, same look, another meaning."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from typing import Any

from masfire.claims.lexicon import CLASSES, OPPOSITE
from masfire.faults.schemas import accepts

_DIGITS = re.compile(r"\d+")
_NAMES = ("Morgan", "Taylor", "Jordan", "Weston")
_NOUNS = ("standard", "spare", "sample", "second")
_CLASS_OF = {word: members for members in reversed(CLASSES) for word in members}


def wrong_number(text: str, rng: random.Random) -> str:
    """Return another number of the same look: as many digits, same sign, separators and currency."""
    groups = list(_DIGITS.finditer(text))
    if not groups:
        return f"{text}1"
    group = groups[0] if int(groups[0][0]) or len(groups) == 1 else groups[-1]
    digits = group[0]
    if len(digits) <= 3:
        number = int(digits)
        near = [number + 1, number - 1, number + 2, number - 2, number + 3]
        same = [n for n in near if n > 0 and len(str(n)) == len(str(number)) and n != number]
        new = str(rng.choice(same or [number + 1])).rjust(len(digits), "0")
    else:
        position = rng.randrange(1, len(digits))
        digit = str((int(digits[position]) + rng.randrange(1, 10)) % 10)
        new = f"{digits[:position]}{digit}{digits[position + 1 :]}"
    return f"{text[: group.start()]}{new}{text[group.end() :]}"


def wrong_word(text: str, rng: random.Random, *, words: Sequence[str] = ()) -> str:
    """Return another word or phrase for `text`: of its class, its opposite, or one of `words`."""
    folded = text.casefold()
    members = [word for word in _CLASS_OF.get(folded, ()) if word != folded]
    if members:
        return like(rng.choice(members), text)
    if folded in OPPOSITE:
        return like(OPPOSITE[folded], text)
    if _DIGITS.search(text):
        return wrong_number(text, rng)
    parts = text.split(" ")
    for position, part in enumerate(parts):
        if len(parts) > 1 and (part.casefold() in _CLASS_OF or part.casefold() in OPPOSITE):
            parts[position] = wrong_word(part, rng)
            return " ".join(parts)
    others = [
        word for word in words if word.casefold() != folded and word[:1].isupper() == text[:1].isupper()
    ]
    if others:
        return rng.choice(others)
    pool = _NAMES if text[:1].isupper() else _NOUNS
    return like(rng.choice([word for word in pool if word.casefold() != folded]), text)


def like(word: str, model: str) -> str:
    """Return `word` capitalised like `model`."""
    if len(model) > 1 and model.isupper():
        return word.upper()
    return word.capitalize() if model[:1].isupper() else word


def wrong_value(
    value: Any,
    rng: random.Random,
    *,
    schema: dict[str, Any] | None = None,
    siblings: Iterable[Any] = (),
    words: Sequence[str] = (),
) -> Any:
    """Return another JSON scalar of the same type that `schema` accepts, or `value` if there is none.

    Tried in turn: a neighbouring enum value, the value of a same-typed sibling, off by a little.
    """
    schema = schema or {}
    ideas: list[Any] = [option for option in schema.get("enum") or () if type(option) is type(value)]
    rng.shuffle(ideas)
    ideas += [_another(value, rng, words) for _ in range(4)]
    same = [item for item in siblings if type(item) is type(value)]
    if isinstance(value, (int, float)) or rng.random() < 0.5:
        ideas += same
    else:
        ideas[len(schema.get("enum") or ()) :] = [*same, *ideas[len(schema.get("enum") or ()) :]]
    for idea in ideas:
        if idea != value and accepts(schema, idea):
            return idea
    return value


def _another(value: Any, rng: random.Random, words: Sequence[str]) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        text = str(value) if abs(value) < 10**18 else ""
        return int(wrong_number(text, rng)) if text else value + 1
    if isinstance(value, float):
        return _float(value, rng)
    if value is None:
        return ""
    if not value.strip():
        return rng.choice(_NOUNS)
    return wrong_word(value, rng, words=words)


def _float(value: float, rng: random.Random) -> float:
    text = repr(value)
    if "e" in text or "n" in text:
        return value * 1.1 if value and abs(value) < 1e300 else 1.0
    return float(wrong_number(text, rng))
