"""A clean twin shows where a run was changed."""

from __future__ import annotations

import pytest

from masfire.diagnosis.attribute import diagnose
from masfire.diagnosis.causality import Counterfactual, Spectrum
from tests.support.logs import recorded


@pytest.mark.parametrize(("step", "agent"), [(2, "reader"), (5, "clerk")])
def test_a_changed_output_is_blamed(step, agent):
    found = diagnose(recorded(lie_at=step), [Counterfactual([recorded()])])
    assert (found.top.step, found.top.agent, found.known) == (step, agent, True)
    assert found.agents[0][0] == agent
    assert found.top.path[-1] == 6


def test_a_changed_prompt_is_blamed_at_its_first_answer():
    found = diagnose(recorded(prompt="You are the clerk."), [Counterfactual([recorded()])])
    assert (found.top.step, found.top.agent) == (2, "reader")


def test_a_prompt_that_changed_nothing_gives_way_to_the_lie_after_it():
    found = diagnose(recorded(prompt="Trust everybody.", lie_at=5), [Counterfactual([recorded()])])
    assert (found.top.step, found.top.agent) == (5, "clerk")


def test_one_more_copy_is_blamed_on_the_message_that_was_copied():
    found = diagnose(recorded(extra=True), [Counterfactual([recorded()])])
    assert (found.top.step, found.top.agent) == (3, "reader")


def test_equal_runs_and_missing_twins_give_no_evidence():
    assert Counterfactual([recorded()]).examine(recorded()) == []
    assert Counterfactual([]).examine(recorded(lie_at=2)) == []
    found = diagnose(recorded(), [Counterfactual([recorded()])])
    assert not found.known
    assert "arbitrary" in found.reason


def test_the_spectrum_needs_a_passed_repeat_and_ignores_what_passed_runs_do():
    assert Spectrum([(recorded(lie_at=2), False)]).examine(recorded()) == []
    assert Spectrum([(recorded(), True)]).examine(recorded()) == []
