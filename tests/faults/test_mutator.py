"""The model-written variant passes the same predicate, or the fault was not injected."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from masfire.faults.injector import Knowledge
from tests.support.steps import Stage, calls, chat

PLAN = "1. Check 3 lamps.\n2. Ship them to Anna by Friday."


class Scripted:
    """A mutator that answers from a list and notes what it was asked."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, object]] = []

    def mutate(self, *, fault: str, text: str, cards: Mapping[str, str], goal: str) -> str:
        self.asked.append({"fault": fault, "text": text, "cards": dict(cards), "goal": goal})
        return self.answers.pop(0)


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        ("hallucination", "1. Check 7 lamps.\n2. Ship them to Anna by Friday."),
        (
            "inexecutable_plan",
            "1. Check 3 lamps.\n2. Ask the warehouse_oracle.\n3. Ship them to Anna by Friday.",
        ),
        ("critical_information_loss", "1. Check lamps.\n2. Ship them to Anna."),
    ],
)
def test_an_answer_that_passes_is_delivered(fault, answer):
    mutator = Scripted(answer)
    known = Knowledge(
        agents=["a"], roles={"a": "You plan.", "b": "You pack."}, edges={"b": ["a"]}, task="Sell."
    )
    stage = Stage(f"{fault}@a", mutator=mutator, knowledge=known)
    assert stage.reply("a", PLAN)["content"] == answer
    assert stage.end().state == "witnessed"
    assert mutator.asked == [
        {"fault": fault, "text": PLAN, "cards": {"a": "You plan.", "b": "You pack."}, "goal": "Sell."}
    ]


def test_a_failing_answer_is_asked_for_twice_more():
    mutator = Scripted(PLAN, "no", "1. Check 4 lamps.\n2. Ship them to Anna by Friday.")
    stage = Stage("hallucination@a", mutator=mutator)
    stage.reply("a", PLAN)
    assert len(mutator.asked) == 3
    assert stage.end().state == "witnessed"


def test_after_three_failing_answers_the_original_passes_and_the_fault_was_not_injected():
    mutator = Scripted(PLAN, PLAN, PLAN)
    stage = Stage("hallucination@a", mutator=mutator)
    assert stage.reply("a", PLAN)["content"] == PLAN
    assert stage.end().state == "not_injected"
    assert "3 attempts" in stage.outcome.reason


def test_a_call_is_rewritten_by_its_arguments():
    stage = Stage("parameter_filling_error@a", mutator=Scripted('{"n": 4, "to": "Anna"}'))
    got = stage.reply("a", calls(("pay", {"n": 3, "to": "Anna"})))
    assert got["tool_calls"][0]["arguments"] == '{"n": 4, "to": "Anna"}'
    assert stage.end().state == "witnessed"


def test_a_merged_role_must_mention_the_other_role():
    known = Knowledge(agents=["a", "b"], roles={"b": "You check invoices for fraud."})
    good = "You plan. You also check invoices for fraud."
    stage = Stage("role_ambiguity@a", mutator=Scripted("You plan well.", good), knowledge=known)
    for _ in range(2):
        call = stage.call("a", chat(("system", "You plan."), ("user", "go")))
        assert call.value["messages"][0]["content"] == good
    assert stage.end().state == "witnessed"


@pytest.mark.parametrize(
    ("fault", "good", "bad"),
    [
        ("instruction_ambiguity", "Please get some of it to someone.", "Order 4 lamps for Anna."),
        (
            "instruction_logic_conflict",
            "Order 3 lamps for Anna. The order must hold 3 lamps. The order must not hold 3 lamps.",
            "Order 3 lamps for Anna. Hurry.",
        ),
    ],
)
def test_a_reworded_task_passes_the_same_predicate(fault, good, bad):
    stage = Stage(fault, mutator=Scripted(bad, good))
    (step,) = stage.message("user", ("a",), "Order 3 lamps for Anna.")
    assert step.value == good
    assert stage.end().state == "witnessed"
