"""Which agent of a run is to blame, learned over agents instead of steps: who they are and what they did."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from masfire.diagnosis.learners import Floats, Group, Softmax
from masfire.diagnosis.sample import Sample

L2 = 10.0
PRIOR = 4.0
"""A name's record counts as if so many more runs had gone at the average rate."""

OPINIONS = ("record", "share", "reported", "owed", "said")
"""What is known of an agent: how often its name was to blame in labelled runs (as a log-rate), its share of
the talk, whether it reported last, how much of the answer is owed to its steps (also what a machine answered
to them), and how much of it they were the first to say. More only overfits: runs are few, agents fewer."""


class Cast:
    """Says how likely each agent of a run is the culprit: a softmax over its agents, of OPINIONS.

    Weights are shared by all systems, with each system's own on top (Daumé 2007). While fitting, the
    record of a name leaves out the run at hand.
    """

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data
        self._mean, self._scale = np.array(data["mean"]), np.array(data["scale"])
        self._softmax = Softmax(np.array(data["weights"]))
        self._systems: list[str] = data["systems"]
        self._records: dict[str, dict[str, list[int]]] = data["records"]

    @classmethod
    def fit(cls, samples: Sequence[Sample], systems: Sequence[str]) -> Cast:
        """Return the model fitted on runs whose `culprit` is known."""
        records: dict[str, dict[str, list[int]]] = {system: {} for system in systems}
        for one in samples:
            if one.system in records:
                for agent in agents_of(one):
                    record = records[one.system].setdefault(agent, [0, 0])
                    record[0] += agent == culprit_of(one)
                    record[1] += 1
        blocks = [_described(one, records.get(one.system, {}), leave_out=True) for one in samples]
        rows = np.vstack(blocks)
        data: dict[str, Any] = {
            "mean": [float(f"{value:.6g}") for value in rows.mean(axis=0)],
            "scale": [float(f"{value:.6g}") for value in rows.std(axis=0) + 1e-6],
            "systems": list(systems),
            "records": records,
            "weights": [],
        }
        cast = cls(data)
        groups: list[Group] = [
            (cast._scaled(block, one.system), agents_of(one).index(culprit_of(one)))
            for block, one in zip(blocks, samples, strict=True)
        ]
        data["weights"] = Softmax.fit(groups, l2=L2).data()
        return cls(data)

    def probabilities(self, sample: Sample) -> Floats:
        """Return the probability of each of `agents_of(sample)`; they sum to 1."""
        rows = _described(sample, self._records.get(sample.system, {}), leave_out=False)
        return self._softmax.probabilities(self._scaled(rows, sample.system))

    def data(self) -> dict[str, Any]:
        """Return the model as a JSON object."""
        return self._data

    def validate(self) -> None:
        """Raise ValueError when the parts of the model do not fit together."""
        width = len(OPINIONS)
        if self._mean.shape != (width,) or self._scale.shape != (width,) or not np.all(self._scale > 0):
            raise ValueError("mean and scale of the agents' features do not fit")
        if self._softmax.weights.shape != (width * (1 + len(self._systems)),):
            raise ValueError("the agents' weights do not fit")
        for record in self._records.values():
            if any(len(pair) != 2 or not 0 <= pair[0] <= pair[1] for pair in record.values()):
                raise ValueError("an agent's record is no pair of counts")

    def _scaled(self, rows: Floats, system: str) -> Floats:
        scaled = np.clip((rows - self._mean) / self._scale, -4.0, 4.0)
        return np.asarray(np.hstack([scaled, *(scaled * (system == one) for one in self._systems)]))


def agents_of(sample: Sample) -> list[str]:
    """Return the agents that could be to blame, lower-cased, in order of their first step."""
    return list(dict.fromkeys(turn.agent.lower() for turn in sample.features.candidates))


def culprit_of(sample: Sample) -> str:
    """Return the agent whom the label names, or, when it had no say, the one of the labelled step."""
    if sample.guilty in agents_of(sample):
        return sample.guilty
    return sample.features.candidates[sample.culprit].agent.lower()


def recast(sample: Sample, steps: Floats, agents: Floats, weight: float) -> Floats:
    """Return step probabilities whose sums over each agent are those of a mixture of two opinions.

    The mixture is the normalised geometric mean of what `steps` say of each agent (weight 1 - weight)
    and of `agents`; within an agent the steps keep their proportions.
    """
    names = agents_of(sample)
    owner = np.array([names.index(turn.agent.lower()) for turn in sample.features.candidates])
    said = np.bincount(owner, weights=steps, minlength=len(names))
    logs = (1 - weight) * np.log(said + 1e-9) + weight * np.log(agents + 1e-9)
    powers = np.exp(logs - logs.max())
    mixed = powers / powers.sum()
    scaled = steps / np.maximum(said[owner], 1e-300) * mixed[owner]
    return np.asarray(scaled / scaled.sum())


def _described(sample: Sample, record: dict[str, list[int]], *, leave_out: bool) -> Floats:
    """Return one row of OPINIONS an agent; `leave_out` takes this run out of the names' record."""
    features = sample.features
    where = {name: index for index, name in enumerate(features.names)}
    spoke = [turn.agent.lower() for turn in features.candidates]
    names = agents_of(sample)
    owner = np.array([names.index(name) for name in spoke])
    # Who began is mostly the one who answers; what it answered from is the last that another reported.
    reporter = next((name for name in reversed(spoke) if name != spoke[0]), spoke[-1])
    culprit = culprit_of(sample) if leave_out else ""
    blamed = sum(pair[0] for pair in record.values()) - leave_out
    present = sum(pair[1] for pair in record.values()) - leave_out * len(names)
    usual = max(blamed, 0) / max(1, present)
    rates = []
    for name in names:
        guilty, seen = record.get(name, (0, 0))
        if leave_out and name in record:
            guilty, seen = guilty - (name == culprit), seen - 1
        rates.append(math.log((guilty + PRIOR * usual) / (seen + PRIOR) + 1e-3))
    columns: dict[str, Any] = {
        "record": rates,
        "share": np.bincount(owner) / len(spoke),
        "reported": [float(name == reporter) for name in names],
        "owed": np.bincount(owner, weights=features.rows[:, where["prov.owed"]]),
        "said": np.bincount(owner, weights=features.rows[:, where["prov.share"]]),
    }
    return np.column_stack([columns[name] for name in OPINIONS]).astype(np.float64)
