"""Weights of layers are learned from labelled runs; confidence means what it says, or nothing is said."""

from __future__ import annotations

import json
import random

import msgspec
import pytest

from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.combine import Combiner, Reading, Rule, odds_of, reliability
from masfire.diagnosis.fitted import Fitted, load_fitted
from masfire.diagnosis.model import Case, Evidence, Finding
from masfire.diagnosis.sample import sample_of
from masfire.diagnosis.scorer import StepScorer
from masfire.errors import UsageError
from tests.support import logs


def readings(runs: int = 60, *, good: float = 0.9, seed: int = 0) -> list[Reading]:
    """Runs of 5 steps: layer `good` names the culprit with that probability, `noise` names any step."""
    draw = random.Random(seed)
    made = []
    for index in range(runs):
        culprit = draw.randrange(5)
        named = culprit if draw.random() < good else draw.randrange(5)
        scores = {"good": {named: 1.0}, "noise": {draw.randrange(5): 1.0}}
        made.append(Reading((0, 1, 2, 3, 4), scores, culprit, f"task{index % 12}"))
    return made


def test_a_layer_that_is_right_weighs_more_than_noise_and_none_is_negative():
    rule = Combiner.fit(readings()).rule(["good", "noise"])
    assert rule.weights["good"] > 2 > rule.weights["noise"] >= 0
    assert rule.right > 0.8
    assert rule.runs == 60


def test_confidence_is_calibrated_on_runs_it_was_not_fitted_on():
    rule = Combiner.fit(readings(400, good=0.6, seed=1)).rule(["good"])
    assert rule.ece < 0.08
    assert abs(rule.right - 0.68) < 0.08  # 0.6, and a fifth of the rest


def test_noise_alone_gives_no_answer():
    rule = Combiner.fit(readings()).rule(["noise"])
    assert rule.threshold == 1.0


def test_the_rule_of_the_layers_that_were_asked_is_used():
    combiner = Combiner.fit(readings())
    assert set(combiner.rule(["good", "other"]).weights) == {"good"}
    assert combiner.rule(["other"]) is None


def test_evidence_one_step_late_still_speaks_for_the_agent_and_what_was_learned_for_the_step():
    draw = random.Random(3)
    made = []
    for index in range(60):
        culprit = draw.randrange(4)
        scores = {
            "late": {culprit + 4: 1.0},  # the same agent's next turn
            "learned": {step: 0.4 if step % 4 in (culprit, (culprit + 1) % 4) else 0.1 for step in range(4)},
        }
        agents = ("a", "b", "c", "d") * 2
        made.append(Reading(tuple(range(8)), scores, culprit, f"task{index % 12}", agents))
    rule = Combiner.fit(made).rule(["late", "learned"])
    assert rule.agents["late"] > rule.weights["late"] == 0
    assert rule.right > 0.9
    odds = odds_of(rule, made[0].steps, made[0].agents, made[0].scores)
    assert int(odds.argmax()) == made[0].culprit
    blind = Combiner.fit([msgspec.structs.replace(one, agents=()) for one in made])
    assert blind.rule(["late", "learned"]).right < 0.8


def test_too_few_runs_are_refused():
    with pytest.raises(UsageError, match="too few to weigh"):
        Combiner.fit(readings(5))


def test_reliability_knows_a_liar():
    table, error = reliability([0.95] * 10, [False] * 10)
    assert table == [(pytest.approx(0.95), 0.0, 10)]
    assert error == pytest.approx(0.95)


class Says:
    """A layer that names one step."""

    def __init__(self, name: str, step: int) -> None:
        self.name, self.step = name, step

    def examine(self, trace):
        return [Finding(self.step, 1.0, Evidence(self.name, "it is so", (self.step,), 1.0))]


def test_diagnosis_follows_fitted_weights_and_threshold():
    trace = logs.recorded(lie_at=5)
    layers = [Says("contract", 1), Says("spectrum", 5)]
    rules = [Rule({"contract": 0.1, "spectrum": 6.0}, threshold=0.5)]
    combiner = Combiner({frozenset(one.weights): one for one in rules})
    assert diagnose(trace, layers).suspects[0].step == 1
    found = diagnose(trace, layers, combiner=combiner)
    assert (found.suspects[0].step, found.known) == (5, True)
    careful = Combiner({frozenset(rules[0].weights): Rule(rules[0].weights, threshold=0.999)})
    doubtful = diagnose(trace, layers, combiner=careful)
    assert not doubtful.known
    assert "answers below 100% were wrong too often" in doubtful.reason


def test_a_layer_that_was_not_fitted_keeps_its_weight():
    trace = logs.recorded(lie_at=5)
    combiner = Combiner({frozenset(["spectrum"]): Rule({"spectrum": 1.0})})
    found = diagnose(trace, [Says("counterfactual", 5), Says("spectrum", 1)], combiner=combiner)
    assert found.suspects[0].step == 5


def scorer() -> StepScorer:
    from masfire.adapters import whowhen

    runs = [whowhen.convert(logs.whowhen(culprit=i % 4, question=f"q{i}"), where=f"{i}") for i in range(12)]
    return StepScorer.fit([sample_of(Case(one.trace, one.label, one.group)) for one in runs])


def test_what_was_learned_survives_the_file_and_bad_files_are_refused(tmp_path):
    path = tmp_path / "fit.json"
    combiner = Combiner.fit(readings())
    Fitted(scorer(), combiner).save(path)
    again = load_fitted(path)
    assert again.combiner.rules == combiner.rules
    assert isinstance(again.scorer, StepScorer)
    data = json.loads(path.read_text())
    data["combiner"][0]["temperature"] = -1.0
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="weights of layers"):
        load_fitted(path)
    data["scorer"]["cast"]["weights"] = [1.0]
    data["combiner"] = []
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError, match="no step scorer"):
        load_fitted(path)
