"""One run as the learners see it: features and words of its candidates, and the culprit's row."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

import msgspec
import numpy as np

from masfire.diagnosis.features import Features, features_of
from masfire.diagnosis.learners import Floats
from masfire.diagnosis.model import Case
from masfire.diagnosis.turns import Turn, question_of, turns_of

BUCKETS = 2048
_WORD = re.compile(r"[a-z][a-z'_]{2,}")
_WORDS_LOOKED_AT = 6000


class Sample(msgspec.Struct, frozen=True, eq=False):
    """One run as the scorer sees it: features and words of its candidates, and the culprit's row.

    `guilty` is the agent whom the label names, lower-cased; it may be another than the one who speaks
    at the labelled step.
    """

    system: str
    group: str
    features: Features
    words: Floats
    culprit: int = -1
    guilty: str = ""


def sample_of(case: Case) -> Sample:
    """Return the features of a labelled run; `culprit` is -1 when its step could not be blamed."""
    features = features_of(turns_of(case.trace), question_of(case.trace))
    words = _bag(features.candidates)
    steps = [turn.step for turn in features.candidates]
    step = case.label.step if case.label else -1
    return Sample(
        system=case.system or case.trace.header.system,
        group=case.group,
        features=features,
        words=words,
        culprit=steps.index(step) if step in steps else -1,
        guilty=case.label.agent.lower() if case.label else "",
    )


def _bag(turns: Sequence[Turn]) -> Floats:
    bag = np.zeros((len(turns), BUCKETS))
    bucket: dict[str, int] = {}
    for row, turn in enumerate(turns):
        words = set(_WORD.findall(turn.text[:_WORDS_LOOKED_AT].lower()))
        for word in words - bucket.keys():
            bucket[word] = zlib.crc32(word.encode()) % BUCKETS
        bag[row, [bucket[word] for word in words]] = 1.0
    return bag
