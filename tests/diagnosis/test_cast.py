"""Whose fault it was, learned over agents, and mixed in only where that earns its place."""

from __future__ import annotations

import numpy as np
import pytest

from masfire.adapters import whowhen
from masfire.diagnosis.cast import Cast, agents_of, culprit_of, recast
from masfire.diagnosis.model import Case
from masfire.diagnosis.sample import Sample, sample_of
from masfire.diagnosis.scorer import StepScorer
from tests.support import logs


def samples(*culprits: int) -> list[Sample]:
    made = []
    for index, culprit in enumerate(culprits):
        read = whowhen.convert(logs.whowhen(culprit=culprit, question=f"q{index}", turns=9), where=f"{index}")
        made.append(sample_of(Case(read.trace, read.label, read.group)))
    return made


def test_an_agent_with_a_record_is_suspected():
    known = samples(*([1, 4, 7] * 6))  # always Data_Expert
    cast = Cast.fit(known, [known[0].system])
    (fresh,) = samples(4)
    chances = dict(zip(agents_of(fresh), cast.probabilities(fresh), strict=True))
    assert max(chances, key=chances.get) == "data_expert" == culprit_of(fresh)
    assert sum(chances.values()) == pytest.approx(1.0)


def test_a_record_leaves_out_the_run_it_is_asked_about_while_fitting():
    # Every run has a culprit of its own kind; without leaving out, a name's record would betray it.
    known = samples(0, 1, 2)
    data = Cast.fit(known, [known[0].system]).data()
    assert all(record[1] == 3 for record in data["records"][known[0].system].values())
    assert sum(record[0] for record in data["records"][known[0].system].values()) == 3


def test_recasting_moves_shares_between_agents_and_not_within():
    (one,) = samples(4)
    steps = np.linspace(1, 2, len(one.features.candidates))
    steps /= steps.sum()
    agents = np.array([0.8, 0.1, 0.1])
    assert recast(one, steps, agents, 0.0) == pytest.approx(steps)
    moved = recast(one, steps, agents, 1.0)
    owner = np.array([agents_of(one).index(turn.agent.lower()) for turn in one.features.candidates])
    assert np.bincount(owner, weights=moved) == pytest.approx(agents, abs=1e-6)
    first = owner == 0
    assert moved[first] / moved[first].sum() == pytest.approx(steps[first] / steps[first].sum())


def test_an_opinion_on_agents_that_knows_nothing_gets_no_weight():
    # The culprit's text betrays it, and who it is does not matter.
    scorer = StepScorer.fit(samples(*[index * 5 % 8 for index in range(24)]))
    assert scorer.data()["trust"] == {}


def test_the_label_says_who_even_when_another_speaks_at_its_step():
    log = logs.whowhen(culprit=4, turns=9) | {"mistake_agent": "Planner_Expert"}
    read = whowhen.convert(log, where="0")
    sample = sample_of(Case(read.trace, read.label, read.group))
    assert sample.features.candidates[sample.culprit].agent == "Data_Expert"
    assert culprit_of(sample) == "planner_expert"
