"""How alike two schemata are, a schema and a step, and what two schemata of one error become."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import msgspec

from masfire.knowledge.model import MAX_EVIDENCE, ErrorSchema, Signature, cut
from masfire.knowledge.traits import Traits


def similarity(left: Signature, right: Signature) -> float:
    """Return how alike two signatures are: the overlap of their traits, and of their words (0..1)."""
    traits = _overlap(set(left.traits), set(right.traits))
    words = _overlap(set(left.text.split()), set(right.text.split()))
    return 0.7 * traits + 0.3 * words


def resemblance(signature: Signature, window: Traits, rarity: dict[str, float]) -> float:
    """Return how much of a signature a step shows (0..1), rare traits counting more."""
    wanted = set(signature.traits)
    total = sum(rarity.get(trait, 1.0) for trait in wanted | window.names)
    shared = sum(rarity.get(trait, 1.0) for trait in wanted & window.names)
    return shared / total if total else 0.0


def rarities(described: Sequence[Traits]) -> dict[str, float]:
    """Return how telling each trait is in one trace: near 0 when every step has it, more the rarer."""
    steps = len(described)
    counts = Counter(trait for window in described for trait in window.names)
    return {trait: 0.05 + math.log((steps + 1.0) / (count + 0.5)) for trait, count in counts.items()}


def window_document(window: Traits) -> str:
    """Return the text by which schemata are looked for that a step may show."""
    return " ".join((*sorted(window.names), cut(window.text, 400)))


def merge(known: ErrorSchema, new: ErrorSchema) -> ErrorSchema:
    """Return `known` with what `new` adds: its support and evidence; traits that both show stay.

    A merged schema keeps its id, so that references to it hold.
    """
    traits = [trait for trait in known.signature.traits if trait in set(new.signature.traits)]
    signature = msgspec.structs.replace(known.signature, traits=tuple(traits or known.signature.traits))
    fresh = [source for source in new.evidence if source not in known.evidence]
    questions = dict.fromkeys((*known.heuristics, *new.heuristics))
    return msgspec.structs.replace(
        known,
        signature=signature,
        support=known.support + (new.support if fresh else 0),
        evidence=(*known.evidence, *fresh)[:MAX_EVIDENCE],
        heuristics=tuple(questions)[:12],
        last_used=max(known.last_used, new.last_used),
    )


def _overlap(left: set[str], right: set[str]) -> float:
    union = left | right
    return len(left & right) / len(union) if union else 1.0


def blend(cosine: float, lexical: float) -> float:
    """Return one score (0..1) of the nearness of vectors and of words."""
    return (min(max(cosine, 0.0), 1.0) + lexical) / 2.0
