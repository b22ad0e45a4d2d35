"""A learned step scorer: fitted on a user's own labelled runs, saved as plain JSON."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from masfire.diagnosis.cast import Cast, culprit_of, recast
from masfire.diagnosis.features import POSITION
from masfire.diagnosis.learners import Floats, Forest, Group, Softmax
from masfire.diagnosis.model import Case, Evidence, Finding
from masfire.diagnosis.sample import BUCKETS, Sample, sample_of
from masfire.diagnosis.scorerfile import checked
from masfire.errors import UsageError
from masfire.trace.model import Trace

VERSION = "scorer/v3"
L2_SHARED, L2_STRANGER, L2_TEXT = 100.0, 30.0, 10.0
TREES, LEAF, SHARE = 150, 3, 0.3
"""Fixed for all folds, but picked among about 200 variants by cross-validation on the public half of
Who&When: figures on those logs are a few points too good, those on unseen questions are not."""
FLOOR = 0.1
"""So much of a culprit the forest sees in every run's steps together, whatever its trees say."""
TRUST = (0.25, 0.5, 0.75, 1.0)
"""Weights that the opinion on agents may get beside that on steps; none is the default."""
INNER = 4
"""Folds, within the runs to learn from, that decide it."""
MIN_RUNS = 5
"""Fewest labelled runs of one system for members of its own; about 20 already pay (learning curve)."""

_CLIP = 4.0
_EXPLAINED = 10
"""So many of the likeliest steps are told with the features that speak for them."""


class StepScorer:
    """Says how likely each step of a run is the culprit, as labelled runs taught it.

    Four members: a softmax shared by all systems with weights of each system's own (Daumé 2007), one
    without position features (the only one that is asked about systems it was never taught), a bag of
    words of each system's own, and a forest of all systems. The softmaxes see how each step differs
    from the other steps of its run, which is what they rank. The probability is the members' geometric
    mean. Where cross-validation within the labelled runs showed that a learner over agents (`Cast`)
    knows better whose fault it was, the agents' shares are mixed with its opinion, or replaced by it.
    """

    name = "learned"

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self.names: tuple[str, ...] = tuple(data["names"])
        self._systems: list[str] = data["systems"]
        self._shared = Softmax(np.array(data["shared"]))
        self._stranger = Softmax(np.array(data["stranger"]))
        self._texts = {
            system: (np.array(text["idf"]), Softmax(np.array(text["weights"])))
            for system, text in data["texts"].items()
        }
        self._forest = Forest(data["forest"])
        self._cast = Cast(data["cast"]) if data["cast"] else None
        self._trust: dict[str, float] = data["trust"]
        self._unplaced = np.array([not name.startswith(POSITION) for name in self.names])

    # Fitting ------------------------------------------------------------------------------------

    @classmethod
    def fit(cls, samples: Sequence[Sample], *, seed: int = 0) -> StepScorer:
        """Return a scorer fitted on labelled runs; raise UsageError when fewer than two are usable."""
        usable = [one for one in samples if one.culprit >= 0 and len(one.features.candidates) > 1]
        if len(usable) < 2:
            raise UsageError(
                f"{len(usable)} labelled runs are too few to learn from.",
                hint="Give at least 2 failed runs whose culprit is known; about 20 of a system pay.",
            )
        counts: dict[str, int] = {}
        for one in usable:
            counts[one.system] = counts.get(one.system, 0) + 1
        data: dict[str, Any] = {
            "masfire": VERSION,
            "names": list(usable[0].features.names),
            "systems": sorted(system for system, count in counts.items() if count >= MIN_RUNS),
            "runs": counts,
            "shared": [],
            "stranger": [],
            "texts": {},
            "forest": [],
            "cast": {},
            "trust": {},
        }
        data.update(cls(data)._linear(usable))
        if not data["systems"]:
            return cls(data)
        scorer = cls(data)
        data["forest"] = scorer._grow(usable, seed)
        for system in data["systems"]:
            data["texts"][system] = _read([one for one in usable if one.system == system])
        data["cast"] = Cast.fit(usable, data["systems"]).data()
        data["trust"] = _trusted(usable, data)
        return cls(data)

    def _linear(self, usable: Sequence[Sample]) -> dict[str, list[float]]:
        shared: list[Group] = [(self._doubled(one), one.culprit) for one in usable]
        unplaced: list[Group] = [(compared(one)[:, self._unplaced], one.culprit) for one in usable]
        return {
            "shared": Softmax.fit(shared, l2=L2_SHARED).data(),
            "stranger": Softmax.fit(unplaced, l2=L2_STRANGER).data(),
        }

    def _grow(self, usable: Sequence[Sample], seed: int) -> list[dict[str, list[Any]]]:
        rows = np.vstack([self._marked(one) for one in usable])
        guilty = np.concatenate([np.eye(len(one.features.candidates))[one.culprit] for one in usable])
        return Forest.fit(rows, guilty, trees=TREES, leaf=LEAF, share=SHARE, seed=seed).data()

    def _gains(self, one: Sample, cast: Cast) -> list[float]:
        """Return, per weight of TRUST, what it gains in the log-probability of the guilty agent."""
        shared = self._shared.probabilities(self._doubled(one))
        stranger = self._stranger.probabilities(compared(one)[:, self._unplaced])
        steps, agents = mixture([shared, stranger]), cast.probabilities(one)
        guilty = [turn.agent.lower() == culprit_of(one) for turn in one.features.candidates]
        said = [float(recast(one, steps, agents, weight)[guilty].sum()) for weight in (0.0, *TRUST)]
        return [float(np.log(chance + 1e-6) - np.log(said[0] + 1e-6)) for chance in said[1:]]

    # Scoring ------------------------------------------------------------------------------------

    def probabilities(self, sample: Sample) -> Floats:
        """Return the probability of each candidate of a run; they sum to 1."""
        steps = mixture(list(self.members(sample).values()))
        weight = self._trust.get(sample.system, 0.0)
        if self._cast is None or not weight:
            return steps
        return recast(sample, steps, self._cast.probabilities(sample), weight)

    def members(self, sample: Sample) -> dict[str, Floats]:
        """Return what each member says; an unknown system is left to the member without positions."""
        stranger = self._stranger.probabilities(compared(sample)[:, self._unplaced])
        if sample.system not in self._systems:
            return {"stranger": stranger}
        idf, text = self._texts[sample.system]
        return {
            "shared": self._shared.probabilities(self._doubled(sample)),
            "stranger": stranger,
            "forest": _odds(self._forest.probabilities(self._marked(sample))),
            "text": text.probabilities(_weighted(sample.words, idf)),
        }

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a candidate step: its probability, and the features that speak for it."""
        sample = sample_of(Case(trace, None, group=""))
        self._check(sample)
        if not sample.features.candidates:
            return []
        chances = self.probabilities(sample)
        rows = compared(sample)
        findings, learned = [], sum(self._data["runs"].values())
        shown = float(np.sort(chances)[-min(_EXPLAINED, len(chances))])
        for row, turn, chance in zip(rows, sample.features.candidates, chances, strict=True):
            text = f"resembles the culprits of {learned} labelled runs"
            if chance >= shown:
                text += f": {self._why(row)}"
            evidence = Evidence(layer=self.name, text=text, steps=(turn.step,), weight=float(chance))
            findings.append(Finding(turn.step, float(chance), evidence))
        return findings

    def _why(self, row: Floats) -> str:
        weights = self._shared.weights[: len(self.names)]
        order = np.argsort(-(weights * row))[:3]
        return ", ".join(f"{self.names[index]} {row[index]:+.1f} sd" for index in order)

    def _check(self, sample: Sample) -> None:
        if sample.features.candidates and sample.features.names != self.names:
            raise UsageError("The scorer was fitted by a masfire with other features.", hint="Fit it again.")

    def _doubled(self, sample: Sample) -> Floats:
        rows = compared(sample)
        own = [rows * (sample.system == system) for system in self._systems]
        return np.asarray(np.hstack([rows, *own]))

    def _marked(self, sample: Sample) -> Floats:
        """Return the rows as they are and compared, and one column a system, for the forest."""
        rows = sample.features.rows
        marks = [np.full((len(rows), 1), float(sample.system == system)) for system in self._systems]
        return np.asarray(np.hstack([rows, compared(sample), *marks]))

    # Files --------------------------------------------------------------------------------------

    def data(self) -> dict[str, Any]:
        """Return the model as a JSON object."""
        return self._data

    def save(self, path: str | Path) -> None:
        """Write the model as JSON."""
        Path(path).write_bytes(msgspec.json.encode(self._data))

    @classmethod
    def of(cls, data: Any, *, where: str = "") -> StepScorer:
        """Return the model of a JSON object; raise UsageError when it is none. Runs no code."""
        try:
            if not isinstance(data, dict) or data.get("masfire") != VERSION:
                raise ValueError(f"its version is not {VERSION}")
            scorer = cls(checked(data))
            scorer._validate()
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise UsageError(f"This is no step scorer: {error}.", where=where) from None
        return scorer

    @classmethod
    def load(cls, path: str | Path) -> StepScorer:
        """Return a saved model; raise UsageError when the file is none. Loading runs no code."""
        try:
            data = msgspec.json.decode(Path(path).read_bytes())
        except (msgspec.MsgspecError, RecursionError) as error:
            raise UsageError(f"This is no step scorer: {error}.", where=str(path)) from None
        return cls.of(data, where=str(path))

    def _validate(self) -> None:
        width = len(self.names)
        known = len(self._systems)
        if self._shared.weights.shape != (width * (1 + known),):
            raise ValueError("the shared weights do not fit the names")
        if self._stranger.weights.shape != (int(self._unplaced.sum()),):
            raise ValueError("the weights for strangers do not fit the names")
        for system in self._systems:
            idf, text = self._texts[system]
            if idf.shape != (BUCKETS,) or text.weights.shape != (BUCKETS,):
                raise ValueError("the text weights have another size")
        self._forest.validate(2 * width + known)
        if known and self._cast is None:
            raise ValueError("the learner over agents is missing")
        if self._cast is not None:
            self._cast.validate()
        if any(not 0 <= weight <= 1 for weight in self._trust.values()):
            raise ValueError("a weight of the opinion on agents is not within 0..1")


def _trusted(usable: Sequence[Sample], data: dict[str, Any]) -> dict[str, float]:
    """Return, per system, what weight the opinion on agents earns on runs that it was not fitted on.

    Runs of one group stay together. The weight is the one with the greatest mean gain in the culprit's
    log-probability, or 0 when no gain exceeds its own standard error. The linear members stand for
    all members, which keeps this affordable.
    """
    groups = sorted({one.group for one in usable}, key=lambda group: zlib.crc32(group.encode()))
    if len(groups) < 2 * INNER:
        return {}
    fold = {group: index % INNER for index, group in enumerate(groups)}
    gains: dict[str, list[list[float]]] = {system: [] for system in data["systems"]}
    for held in range(INNER):
        train = [one for one in usable if fold[one.group] != held]
        inner = StepScorer({**data, "cast": {}, "trust": {}})
        inner = StepScorer({**data, "cast": {}, "trust": {}, **inner._linear(train)})
        cast = Cast.fit(train, data["systems"])
        for one in usable:
            if fold[one.group] == held and one.system in gains:
                gains[one.system].append(inner._gains(one, cast))
    trust = {}
    for system, rows in gains.items():
        found = np.array(rows)
        error = found.std(axis=0) / max(1.0, np.sqrt(len(found) - 1.0))
        gain = found.mean(axis=0)
        if (gain > error).any():
            trust[system] = TRUST[int(np.argmax(gain))]
    return trust


def compared(sample: Sample) -> Floats:
    """Return by how many standard deviations of its run each step's features differ from the run's mean."""
    rows = sample.features.rows
    spread = rows.std(axis=0)
    differing = np.where(spread > 1e-6, (rows - rows.mean(axis=0)) / (spread + 1e-9), 0.0)
    return np.asarray(np.clip(differing, -_CLIP, _CLIP))


def _odds(chances: Floats) -> Floats:
    floor = FLOOR / len(chances)
    odds = (chances + floor) / (1.0 - chances + floor)
    return np.asarray(odds / odds.sum())


def mixture(members: Sequence[Floats]) -> Floats:
    """Return the normalised geometric mean of several distributions."""
    logs = np.mean([np.log(member + 1e-9) for member in members], axis=0)
    powers = np.exp(logs - logs.max())
    return np.asarray(powers / powers.sum())


def _read(own: Sequence[Sample]) -> dict[str, list[float]]:
    bag = np.vstack([one.words for one in own])
    seen = bag.sum(axis=0)
    idf = np.where(seen >= 3, np.log(len(bag) / (seen + 1.0)), 0.0).clip(min=0.0)
    groups: list[Group] = [(_weighted(one.words, idf), one.culprit) for one in own]
    return {"idf": _short(idf), "weights": Softmax.fit(groups, l2=L2_TEXT).data()}


def _weighted(words: Floats, idf: Floats) -> Floats:
    raw = words * idf
    return np.asarray(5.0 * raw / (np.linalg.norm(raw, axis=1, keepdims=True) + 3.0))


def _short(values: Floats) -> list[float]:
    return [float(f"{value:.6g}") for value in values]
