"""Reasoning faults: unsupported content is stated as fact."""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from masfire.claims import Claim, claims_of, difference
from masfire.claims.leaves import INSIDE, embedded, get, strings
from masfire.faults import schemas
from masfire.faults.base import FAULTS, FaultSpec, Inapplicable, Scene
from masfire.faults.edits import replaced
from masfire.faults.plausible import like, wrong_number, wrong_value, wrong_word
from masfire.faults.requests import reply_schema
from masfire.faults.rewrite import Rewrite, Rewritten, within

_TIERS = (("number", "entity", "slot"), ("verdict",), ("term",), ("polarity",))
_MODALS = ("might", "could", "may")


class Hallucination(Rewrite):
    """H: verified facts are replaced by plausible wrong ones, consistently; hedges disappear."""

    name = "hallucination"

    class Parameters(Struct, frozen=True, forbid_unknown_fields=True):
        """`claims`: how many facts are replaced; `hedges`: whether words of doubt are removed as well."""

        claims: int = 2
        hedges: bool = True

    def rewrite(self, value: Any, spec: FaultSpec, scene: Scene) -> Rewritten | Inapplicable:
        """Return the output with some of its numbers, names and values wrong."""
        parameters = self.configure(spec)
        part = within(value)
        claims = claims_of(part)
        chosen = _choose(claims, max(1, parameters.claims), scene)
        if not chosen:
            return Inapplicable("the output states no fact that could be replaced")
        taken = {claim.text for claim in chosen}
        words = [word for word in _vocabulary(claims, scene) if word not in taken]
        changed, notes = part, []
        for claim in chosen:
            new = _wrong(claim, part, words, scene)
            if new != _literal(claim, part):
                changed = substitute(changed, claim, new)
                notes.append(f"{claim.text!r} became {str(new)!r}")
        if parameters.hedges:
            changed = without_hedges(changed)
        if changed == part:
            return Inapplicable("no other value fits where the facts stand")
        whole = {**value, **changed} if part is not value else changed
        return Rewritten(whole, "; ".join(notes))

    def proves(self, before: Any, received: Any, spec: FaultSpec, scene: Scene) -> bool:
        """Return whether a claim differs while format and length class stay."""
        old, new = within(before), within(received)
        gone, stated = difference(old, new)
        altered = [claim for claim in (*gone, *stated) if claim.kind != "hedge"]
        return bool(altered) and bool(stated) and _same_look(old, new)


def substitute(value: Any, claim: Claim, new: Any) -> Any:
    """Return a copy of `value` in which `new` stands wherever it states what `claim` states."""
    same = [
        other
        for other in claims_of(value)
        if other.value == claim.value and (other.kind == claim.kind or "slot" in (other.kind, claim.kind))
    ]
    for other in sorted(same, key=lambda other: other.start, reverse=True):
        old = get(value, other.path)
        if isinstance(old, str):
            text = like(str(new), other.text) if str(new).isalpha() else str(new)
            end = other.end or len(old)
            value = replaced(value, other.path, old[: other.start] + text + old[end:])
        elif type(old) is type(new):
            value = replaced(value, other.path, new)
        elif isinstance(old, (int, float)) and not isinstance(old, bool):
            number = re.sub(r"[^\d.]", "", str(new))
            value = replaced(value, other.path, type(old)(float(number))) if number.strip(".") else value
    return value


def without_hedges(value: Any) -> Any:
    """Return a copy of `value` in which nothing is said to be probable, apparent or possible."""
    hedges = [claim for claim in claims_of(value) if claim.kind == "hedge"]
    for claim in sorted(hedges, key=lambda claim: claim.start, reverse=True):
        text = get(value, claim.path)
        head, tail = text[: claim.start], text[claim.end :]
        if claim.value in _MODALS:
            value = replaced(value, claim.path, f"{head}will{tail}")
            continue
        tail = re.sub(r"^,? ?", "", tail)
        if claim.text[:1].isupper():
            tail = tail[:1].upper() + tail[1:]
        value = replaced(value, claim.path, head + tail)
    return value


def _choose(claims: list[Claim], count: int, scene: Scene) -> list[Claim]:
    chosen: list[Claim] = []
    for tier, kinds in enumerate(_TIERS):
        if chosen and tier >= 2:
            break
        unique = list({claim.identity: claim for claim in claims if claim.kind in kinds}.values())
        scene.rng.shuffle(unique)
        chosen += unique[: (count if tier < 2 else 1) - len(chosen)]
        if len(chosen) >= count:
            break
    return chosen


def _wrong(claim: Claim, part: Any, words: list[str], scene: Scene) -> Any:
    rng = scene.rng
    if claim.kind == "slot":
        position = claim.path.index(INSIDE) if INSIDE in claim.path else -1
        schema = (
            schemas.at(reply_schema(scene.request()), claim.path[position + 1 :]) if position >= 0 else {}
        )
        return wrong_value(get(part, claim.path), rng, schema=schema, words=words)
    if claim.kind == "number" and claim.text[-1:].isdigit() | claim.text[:1].isdigit():
        return wrong_number(claim.text, rng)
    if claim.kind == "number" and not claim.text.isalpha():  # "twenty-one"
        return wrong_number(claim.value, rng)
    if claim.kind == "polarity":
        return _affirmed(claim, get(part, claim.path))
    return wrong_word(claim.text, rng, words=words)


def _affirmed(claim: Claim, text: str) -> str:
    """Return what stands for a negation when the opposite is meant."""
    word = claim.text.casefold()
    if word == "no":
        return like("yes" if text[claim.end :][:1] in ("", ",", ".", "!", ";") else "every", claim.text)
    if word.endswith(("n't", "n\u2019t")):
        return {"can't": "can", "won't": "will", "shan't": "shall"}.get(word, claim.text[:-3])
    opposites = {"not": "indeed", "never": "always", "none": "all", "nothing": "everything", "cannot": "can"}
    return like(
        opposites.get(word, {"without": "with", "neither": "both", "nor": "and"}.get(word, "")), claim.text
    )


def _literal(claim: Claim, part: Any) -> Any:
    return get(part, claim.path) if not claim.end else claim.text


def _vocabulary(claims: list[Claim], scene: Scene) -> list[str]:
    spoken = [*claims, *claims_of(scene.task)]
    return list(
        dict.fromkeys(claim.text for claim in spoken if claim.kind in ("entity", "slot") and claim.text)
    )


def _same_look(before: Any, after: Any) -> bool:
    old, new = strings(before), strings(after)
    if [embedded(text) is None for text in old] != [embedded(text) is None for text in new]:
        return False
    left, right = sum(map(len, old)), sum(map(len, new))
    return right <= 2 * left + 40 and left <= 2 * right + 40


FAULTS.add(Hallucination.name, Hallucination(), owner=__name__)
