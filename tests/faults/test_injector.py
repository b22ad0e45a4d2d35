"""The life of an injection: where, when, how often, and what is reported when it never happened."""

from __future__ import annotations

import pytest

from masfire.faults.base import FAULTS, FaultSpec
from masfire.faults.injector import Injector, Knowledge
from masfire.trace.model import Action, Message, Observation
from masfire.trace.payload import pack
from tests.support.steps import Stage, calls, chat

FACT = "We have 3 lamps for Anna."


def test_a_fault_goes_from_scheduled_over_armed_and_injected_to_witnessed():
    stage = Stage("hallucination@a#1")
    assert stage.outcome.state == "scheduled"
    stage.reply("a", FACT)
    assert stage.outcome.state == "armed"
    stage.reply("a", FACT, deliver=False)
    assert stage.outcome.state == "injected"
    assert stage.outcome.step == 1
    stage.recorder.received(1, stage.recorder.steps[1].value, by="a")
    assert stage.outcome.state == "witnessed"
    assert stage.outcome.witnessed_at == 1
    assert stage.marks == ["injected", "witnessed"]


def test_the_marks_carry_what_stood_there_before_and_after():
    stage = Stage("hallucination@a")
    stage.reply("a", FACT)
    mark = stage.recorder.injections[0]
    assert (mark.step, mark.agent, mark.body.fault) == (0, "a", "hallucination")
    assert FACT in str(bytes(mark.body.before))
    assert stage.recorder.steps[0].value["content"] in bytes(mark.body.after).decode()
    assert len(stage.recorder.steps) == 1


def test_receiving_the_original_is_no_witness():
    stage = Stage("hallucination@a")
    stage.reply("a", FACT, deliver=False)
    stage.recorder.received(0, {"content": FACT, "tool_calls": [], "finish_reason": "stop"}, by="a")
    assert stage.end().state == "injected"
    assert "no receiver" in stage.outcome.reason


def test_the_number_counts_the_agents_own_applicable_events_only():
    stage = Stage("parameter_filling_error@a#1")
    stage.reply("a", "no call here")
    stage.reply("b", calls(("pay", {"n": 1})))
    stage.reply("a", calls(("pay", {"n": 1})))
    assert stage.outcome.state == "armed"
    stage.reply("a", calls(("pay", {"n": 1})))
    assert (stage.outcome.state, stage.outcome.step) == ("witnessed", 3)


@pytest.mark.parametrize(("times", "struck"), [("1", 1), ("2", 2), ("every", 4)])
def test_times_limits_the_strikes_of_a_run(times, struck):
    stage = Stage(f"hallucination@*?times={times}")
    for agent in "abab":
        stage.reply(agent, FACT)
    assert stage.marks.count("injected") == struck
    assert stage.marks.count("witnessed") == struck


@pytest.mark.parametrize("name", FAULTS.names())
def test_every_fault_honours_times_every(name):
    known = Knowledge(agents=["a", "b", "c"], roles={"b": "You check."}, edges={"a": ["b"]})
    more = {"message_storm": "&copies=3", "context_length_violation": "&size=200"}.get(name, "")
    stage = Stage(f"{name}?times=every{more}", knowledge=known)
    tools = [{"type": "function", "function": {"name": n}} for n in ("pay", "post")]
    for _ in range(5):
        stage.message("user", ("a",), "Order 3 lamps for Anna in Zurich.")
        call = stage.call("a", chat(("user", "1"), ("assistant", "2"), ("user", "Go on now."), tools=tools))
        stage.reply("b", "1. Check 3 lamps.\n2. Ship to Anna.")
        stage.reply("a", calls(("pay", {"n": 1})), of=call.step)
        stage.message("c", ("b",), "1. Check 3 lamps.\n2. Ship to Anna.")
    assert stage.marks.count("injected") >= 3


def test_an_agent_that_never_acts_is_not_exposed_and_the_reason_says_who_did():
    stage = Stage("hallucination@planer")
    stage.reply("planner", FACT)
    outcome = stage.end()
    assert outcome.state == "not_exposed"
    assert "planner" in outcome.reason
    assert "'planer'" in outcome.reason
    assert stage.marks == ["not_exposed"]


def test_too_few_events_are_not_exposed_with_their_count():
    stage = Stage("hallucination@a#5")
    stage.reply("a", FACT)
    stage.reply("a", FACT)
    assert stage.end().state == "not_exposed"
    assert "#5" in stage.outcome.reason
    assert "a 2" in stage.outcome.reason


def test_nothing_to_change_is_inapplicable_with_the_last_reason():
    stage = Stage("tool_selection_error@a")
    stage.reply("a", "no call")
    stage.reply("a", calls(("pay", {"n": 1})))
    assert stage.end().state == "inapplicable"
    assert "no other tool" in stage.outcome.reason


def test_an_exception_passes_the_original_through_and_is_the_reason(monkeypatch):
    monkeypatch.setattr(FAULTS.get("hallucination"), "rewrite", lambda *_: 1 / 0)
    stage = Stage("hallucination@a")
    assert stage.reply("a", FACT)["content"] == FACT
    assert stage.end().state == "not_injected"
    assert "ZeroDivisionError" in stage.outcome.reason
    assert stage.marks == ["not_injected"]


def test_a_predicate_that_raises_is_not_a_witness(monkeypatch):
    monkeypatch.setattr(FAULTS.get("hallucination"), "landed", lambda *_: 1 / 0)
    stage = Stage("hallucination@a")
    stage.reply("a", FACT)
    assert stage.end().state == "injected"
    assert "ZeroDivisionError" in stage.outcome.reason


def test_two_faults_strike_one_step_and_both_are_witnessed():
    stage = Stage("hallucination@a", "parameter_filling_error@a")
    stage.reply("a", calls(("pay", {"sum": 30, "to": "Anna", "rate": 4})))
    assert [outcome.state for outcome in stage.injector.outcomes()] == ["witnessed", "witnessed"]
    assert stage.marks == ["injected", "injected", "witnessed", "witnessed"]


def test_content_is_struck_before_its_routing():
    stage = Stage("message_storm@a?copies=4", "hallucination@a")
    copies = stage.message("a", ("b",), FACT)
    assert len({step.value for step in copies}) == 1
    assert copies[0].value != FACT
    assert [outcome.state for outcome in stage.injector.outcomes()] == ["witnessed", "witnessed"]
    assert [step.step for step in copies] == [0, 1, 2, 3]


def test_an_edge_restricts_messages_to_one_receiver():
    stage = Stage("hallucination@a->c?times=every")
    assert stage.message("a", ("b",), FACT)[0].value == FACT
    assert stage.message("a", ("c", "d"), FACT)[0].value != FACT


def test_a_code_nodes_message_is_struck_and_a_model_agents_message_is_not():
    stage = Stage("hallucination@*?times=every")
    stage.message("code", ("b",), FACT)
    stage.reply("a", "I greet you.")
    stage.message("a", ("b",), FACT, parents=(1,))
    assert [mark.agent for mark in stage.recorder.injections if mark.body.state == "injected"] == [
        "code",
        "a",
    ]
    assert [mark.step for mark in stage.recorder.injections if mark.body.state == "injected"] == [0, 1]
    assert stage.recorder.steps[2].value == FACT


def test_a_failed_reply_is_inapplicable():
    stage = Stage("hallucination@a")
    stage.recorder.submit(
        "a", Observation("model_reply", "m", -1, pack({"error": {"status": 500}}), ok=False)
    )
    assert stage.end().state == "inapplicable"


def test_a_step_of_no_interest_passes_as_the_same_object():
    injector = Injector([FaultSpec.parse("message_cycle@a")])
    stage = Stage()
    step = stage.recorder.submit("b", Action("event", "x", pack(1)))[0]
    assert injector(step, [])[0] is step


def test_knowledge_is_what_a_control_showed():
    stage = Stage()
    stage.message("user", ("planner",), {"messages": [{"role": "user", "content": "Do it."}]})
    tool = {"type": "function", "name": "pay", "description": "Pay", "parameters": {"type": "object"}}
    stage.call("planner", {"model": "m", "instructions": "You plan.", "input": "Do it.", "tools": [tool]})
    stage.reply("planner", "1. pay", of=1)
    stage.message("planner", ("payer", "user"), "1. pay", parents=(2,))
    stage.call("payer", chat(("system", "You pay. " * 9), ("user", "1. pay")), parents=(3,))
    known = Knowledge.from_trace(stage.recorder.trace(), slot=2048)
    assert known.agents == ["planner", "payer"]
    assert known.roles == {"planner": "You plan.", "payer": "You pay. " * 9}
    assert known.tools["pay"].description == "Pay"
    assert known.task == "Do it."
    assert known.edges == {"payer": ["planner"]}
    assert known.slot == 2048


def test_learning_in_a_run_leaves_the_callers_knowledge_alone():
    known = Knowledge(agents=["a"])
    stage = Stage("hallucination@b", knowledge=known)
    stage.reply("b", FACT)
    stage.reply("c", FACT)
    stage.message("c", ("d",), FACT)
    assert known == Knowledge(agents=["a"])


def test_messages_of_the_user_are_no_output_of_an_agent():
    stage = Stage("hallucination")
    stage.message("user", ("a",), FACT)
    assert stage.end().state == "not_exposed"
    assert isinstance(stage.recorder.steps[0].body, Message)
