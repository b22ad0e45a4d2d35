"""A step scorer learned from pass and fail alone: steps that only failed runs have are suspects."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from masfire.diagnosis.learners import Floats, Forest
from masfire.diagnosis.model import Case, Evidence, Finding
from masfire.diagnosis.sample import Sample, sample_of
from masfire.errors import UsageError
from masfire.trace.model import Trace

VERSION = "weak-scorer/v1"
TREES, LEAF, SHARE = 100, 5, 0.3
LOCAL = ("lex.", "text.", "new.", "same.", "next.", "prev.")
"""Features of the step itself and its neighbours: those of the whole run tell runs apart, not steps."""


class WeakScorer:
    """Says how much each step looks like steps of failed rather than passed runs.

    Every step of a failed run is taken for guilty and every step of a passed one for innocent; a
    forest of large leaves averages over the mistakes that this makes. Weaker than step labels.
    """

    name = "learned"

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._names = tuple(data["names"])
        self._forest = Forest(data["forest"])

    @classmethod
    def fit(cls, cases: Sequence[Case], *, seed: int = 0) -> WeakScorer:
        """Return a scorer; raise UsageError unless there are passed and failed runs."""
        samples = [(sample_of(case), case.failed) for case in cases]
        samples = [(sample, failed) for sample, failed in samples if len(sample.features.candidates) > 0]
        failures = sum(failed for _, failed in samples)
        if not 0 < failures < len(samples):
            raise UsageError(
                f"{failures} of {len(samples)} runs failed: pass and fail cannot be told apart.",
                hint="Give a folder with runs that passed and runs that failed.",
            )
        rows = np.vstack([_local(sample) for sample, _ in samples])
        guilty = np.concatenate(
            [np.full(len(sample.features.candidates), float(failed)) for sample, failed in samples]
        )
        forest = Forest.fit(rows, guilty, trees=TREES, leaf=LEAF, share=SHARE, seed=seed)
        names = list(samples[0][0].features.names)
        return cls({"masfire": VERSION, "names": names, "runs": len(samples), "forest": forest.data()})

    def probabilities(self, sample: Sample) -> Any:
        """Return each candidate's share of the suspicion; they sum to 1."""
        chances = self._forest.probabilities(_local(sample))
        odds = (chances + 0.01) / (1.01 - chances)
        return odds / odds.sum()

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a candidate step."""
        sample = sample_of(Case(trace, None, group=""))
        if not sample.features.candidates:
            return []
        if sample.features.names != self._names:
            raise UsageError("The scorer was fitted by a masfire with other features.", hint="Fit it again.")
        text = f"looks like steps of failed runs ({self._data['runs']} runs, pass and fail only)"
        return [
            Finding(turn.step, float(chance), Evidence(self.name, text, (turn.step,), float(chance)))
            for turn, chance in zip(sample.features.candidates, self.probabilities(sample), strict=True)
        ]

    def data(self) -> dict[str, Any]:
        """Return the model as a JSON object."""
        return self._data

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        Path(path).write_bytes(msgspec.json.encode(self._data))

    @classmethod
    def of(cls, data: Any, *, where: str = "") -> WeakScorer:
        """Return the model of a JSON object; raise UsageError when it is none. Runs no code."""
        try:
            scorer = cls(data)
            scorer._forest.validate(len(scorer._names))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"This is no step scorer: {error}.", where=where) from None
        return scorer


def _local(sample: Sample) -> Floats:
    kept = [name.startswith(LOCAL) for name in sample.features.names]
    return np.asarray(sample.features.rows[:, kept])
