"""The shape of a step scorer's file: checked before anything is computed with its numbers."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict

import msgspec

Weight = Annotated[float, msgspec.Meta(ge=-1e9, le=1e9)]
Weights = list[Weight]
Chance = Annotated[float, msgspec.Meta(ge=0, le=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class TreeFile(TypedDict):
    """One tree: five arrays of one entry a node; `feature` is -1 in a leaf."""

    feature: list[Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)]]
    threshold: Weights
    left: list[Annotated[int, msgspec.Meta(ge=-1, le=100_000_000)]]
    right: list[Annotated[int, msgspec.Meta(ge=-1, le=100_000_000)]]
    value: list[Chance]


class WordsFile(TypedDict):
    """A bag of words of one system."""

    idf: Weights
    weights: Weights


class CastFile(TypedDict, total=False):
    """The learner over agents; empty when there is none."""

    mean: Weights
    scale: Weights
    systems: list[str]
    records: dict[str, dict[str, list[Count]]]
    weights: Weights


class ScorerFile(TypedDict):
    """What `StepScorer.save` writes."""

    masfire: str
    names: list[str]
    systems: list[str]
    runs: dict[str, Count]
    shared: Weights
    stranger: Weights
    texts: dict[str, WordsFile]
    forest: list[TreeFile]
    cast: CastFile
    trust: dict[str, Chance]


def checked(data: Any) -> Any:
    """Return the JSON object of a scorer with numbers where numbers belong; raise ValueError otherwise."""
    try:
        return msgspec.convert(data, ScorerFile, strict=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error).rstrip(".")) from None
