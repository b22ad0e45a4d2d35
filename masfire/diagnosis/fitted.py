"""What `masfire diagnose --fit` learned, in one file: a step scorer and what each layer is worth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from masfire.diagnosis.combine import Combiner
from masfire.diagnosis.scorer import StepScorer
from masfire.diagnosis.weak import VERSION as WEAK
from masfire.diagnosis.weak import WeakScorer
from masfire.errors import UsageError

VERSION = "diagnosis/v1"


class Fitted(Struct, frozen=True):
    """A scorer, and weights for the layers when there were enough labelled runs to fit them."""

    scorer: StepScorer | WeakScorer
    combiner: Combiner | None = None

    def save(self, path: str | Path) -> None:
        """Write both as one JSON file; a scorer alone is written as it is."""
        if self.combiner is None:
            self.scorer.save(path)
            return
        data = {"masfire": VERSION, "scorer": self.scorer.data(), "combiner": self.combiner.data()}
        Path(path).write_bytes(msgspec.json.encode(data))


def load_fitted(path: str | Path) -> Fitted:
    """Return what was learned; raise UsageError when the file is nothing of the kind. Runs no code."""
    where = str(path)
    try:
        data = msgspec.json.decode(Path(path).read_bytes())
    except (msgspec.MsgspecError, RecursionError) as error:
        raise UsageError(f"This is no step scorer: {error}.", where=where) from None
    if not isinstance(data, dict) or data.get("masfire") != VERSION:
        return Fitted(_scorer(data, where))
    try:
        combiner = Combiner.of(data.get("combiner"))
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"Its weights of layers cannot be used: {error}.", where=where) from None
    return Fitted(_scorer(data.get("scorer"), where), combiner)


def _scorer(data: Any, where: str) -> StepScorer | WeakScorer:
    if isinstance(data, dict) and data.get("masfire") == WEAK:
        return WeakScorer.of(data, where=where)
    return StepScorer.of(data, where=where)
