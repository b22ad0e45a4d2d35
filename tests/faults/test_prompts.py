"""The faults that change what reaches the model: memory, context, roles, trust, instructions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from masfire.errors import UsageError
from masfire.faults.base import FaultSpec
from masfire.faults.injector import Knowledge
from masfire.faults.requests import system_text, turns
from tests.support.steps import Stage, chat

TALK = chat(
    ("system", "S"),
    ("user", "one"),
    ("assistant", "two"),
    ("user", "three"),
    ("assistant", "four"),
    ("user", "now"),
)
TASK = "Reserve exactly 3 brass lamps for Anna in Zurich by Friday."


def sent(address: str, body: dict[str, Any], **more: Any) -> tuple[dict[str, Any], Stage]:
    stage = Stage(address, **more)
    return stage.call("a", body).value, stage


def said(body: dict[str, Any]) -> list[str]:
    return [item.get("content") or item.get("type", "") for item in turns(body)]


@pytest.mark.parametrize(
    ("address", "left"),
    [
        ("memory_loss@a", ["S", "three", "four", "now"]),
        ("memory_loss@a?fraction=1", ["S", "now"]),
        ("memory_loss@a?fraction=1&keep_last=1", ["S", "three", "four", "now"]),
    ],
)
def test_early_turns_are_forgotten_and_system_and_question_stay(address, left):
    body, stage = sent(address, TALK)
    assert said(body) == left
    assert stage.outcome.state == "witnessed"


def test_calls_and_their_results_are_forgotten_together():
    asked = {"role": "assistant", "content": None, "tool_calls": [{"id": "c1"}, {"id": "c2"}]}
    body = chat(("system", "S"), ("user", "go"))
    for number in (1, 2):
        body["messages"] += [asked] + [
            {"role": "tool", "tool_call_id": f"c{n}", "content": f"result {number} {n}"} for n in (1, 2)
        ]
    got, stage = sent("memory_loss@a", body)
    assert got["messages"] == body["messages"][:2] + body["messages"][5:]
    assert stage.outcome.state == "witnessed"


def test_response_api_calls_and_outputs_are_forgotten_together():
    items: list[dict[str, Any]] = [{"role": "user", "content": "go"}]
    for n in (1, 2):
        items += [
            {"type": "reasoning", "id": f"r{n}", "summary": []},
            {"type": "function_call", "call_id": f"c{n}", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": f"c{n}", "output": "1"},
        ]
    got, stage = sent("memory_loss@a", {"model": "m", "instructions": "S", "input": items})
    assert got["input"] == [items[0], *items[4:]]
    assert stage.outcome.state == "witnessed"


def test_turns_of_this_run_are_forgotten_before_example_turns():
    stage = Stage("memory_loss@a")
    stage.message("user", ("b",), "customer wants lamps")
    stage.reply("b", '{"item": "lamp", "pieces": 3}')
    example = ("user", 'b: {"item": "lamp", "pieces": 3}')
    body = chat(example, ("assistant", "x"), ("user", "customer wants lamps"), example, ("user", "now"))
    call = stage.call("a", body, parents=(0, 1))
    assert said(call.value) == [example[1], "x", example[1], "now"]
    again = stage.call("a", body)
    assert len(turns(again.value)) == 5
    assert stage.outcome.state == "witnessed"


def test_a_turn_that_stands_twice_must_stand_once_to_be_a_witness():
    stage = Stage("memory_loss@a")
    body = chat(("user", "same words"), ("user", "same words"), ("user", "now"))
    call = stage.call("a", body)
    assert said(call.value) == ["same words", "now"]
    assert stage.outcome.state == "witnessed"


def test_one_agents_turns_are_forgotten():
    body = chat(("system", "S"), ("user", "b: first words"), ("user", "c: other words"), ("user", "now"))
    body["messages"].insert(3, {"role": "user", "name": "b", "content": "unsigned"})
    got, _ = sent("memory_loss@a?drop=b", body)
    assert said(got) == ["S", "c: other words", "now"]


def test_quoted_outputs_are_forgotten_when_there_is_no_other_history():
    stage = Stage("memory_loss@a")
    stage.reply("b", "The plan is to sing.")
    call = stage.call("a", chat(("user", "They said: The plan is to sing.\nDo it.")), parents=(0,))
    assert said(call.value) == ["They said: \nDo it."]
    assert stage.outcome.state == "witnessed"


def test_a_request_without_history_is_inapplicable():
    _, stage = sent("memory_loss@a", chat(("system", "S"), ("user", "now")))
    assert stage.end().state == "inapplicable"


def test_a_request_that_still_holds_what_was_removed_is_no_witness():
    stage = Stage("memory_loss@a")
    stage.call("a", TALK, deliver=False)
    stage.recorder.received(0, TALK, by="model")
    assert stage.end().state == "injected"


@pytest.mark.parametrize("api", ["chat", "parts", "input", "items"])
def test_the_message_lies_scattered_in_a_long_text(api):
    text = "alfa bravo charlie delta echo foxtrot golf hotel india juliett"
    body = {
        "chat": chat(("system", "S"), ("user", text)),
        "parts": {"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]},
        "input": {"model": "m", "input": text},
        "items": {
            "model": "m",
            "input": [{"role": "user", "content": [{"type": "input_text", "text": text}]}],
        },
    }[api]
    got, stage = sent("context_length_violation@a?size=5000", body)
    item = turns(got)[-1]["content"]
    long = item if isinstance(item, str) else item[0]["text"]
    places = [long.index(part) / len(long) for part in text.split(" ")[::2]]
    assert places == sorted(places)
    assert places[0] == pytest.approx(0.1, abs=0.05)
    assert places[4] == pytest.approx(0.9, abs=0.05)
    assert len(long) >= 5000
    assert stage.outcome.state == "witnessed"


def test_the_size_of_a_context_derives_from_the_models_window():
    got, _ = sent("context_length_violation@a", chat(("user", "x y")), knowledge=Knowledge(slot=2048))
    assert 12_800 <= len(said(got)[0]) <= 13_000
    got, _ = sent("context_length_violation@a?k=0.5", chat(("user", "x y")), knowledge=Knowledge(slot=2048))
    assert 5_120 <= len(said(got)[0]) <= 5_300
    got, _ = sent("context_length_violation@a", chat(("user", "x y")))
    assert len(said(got)[0]) >= 250_000


def test_a_drowned_system_prompt_lasts_the_whole_run():
    stage = Stage("context_length_violation@a?site=system&size=900")
    for _ in range(2):
        call = stage.call("a", chat(("system", "Be kind."), ("user", "x")))
        assert len(system_text(call.value)) > 900
    assert stage.marks == ["injected", "witnessed"] * 2


@pytest.mark.parametrize("api", ["chat", "none", "instructions", "input"])
def test_a_second_role_is_merged_in_for_the_whole_run(api):
    body = {
        "chat": chat(("system", "You plan."), ("user", "x")),
        "none": chat(("user", "x")),
        "instructions": {"model": "m", "instructions": "You plan.", "input": "x"},
        "input": {"model": "m", "input": "x"},
    }[api]
    known = Knowledge(agents=["a", "b"], roles={"a": "You plan.", "b": "You check invoices."})
    stage = Stage("role_ambiguity@a", knowledge=known)
    for _ in range(2):
        text = system_text(stage.call("a", body).value)
        assert "also responsible" in text
        assert text.endswith("You check invoices.")
        assert ("You plan." in text) == (api in ("chat", "instructions"))
    assert stage.marks == ["injected", "witnessed"] * 2


def test_a_second_role_stays_with_the_agent_it_struck_first():
    stage = Stage("role_ambiguity")
    for agent in "abab":
        stage.call(agent, chat(("system", f"You are {agent}."), ("user", "x")))
    assert {mark.agent for mark in stage.recorder.injections} == {"a"}
    assert stage.marks.count("injected") == 2


def test_a_role_of_nobody_known_is_a_generic_one():
    got, stage = sent("role_ambiguity@a", chat(("user", "x")))
    assert "final approval" in system_text(got)
    assert stage.outcome.state == "witnessed"


def test_blind_trust_needs_both_halves_to_be_witnessed():
    stage = Stage("blind_trust@reviewer?trusts=planner")
    stage.call("reviewer", chat(("system", "You review."), ("user", "x")))
    assert stage.outcome.state == "armed"
    got = stage.reply("planner", "We need 3 lamps.")
    assert "3" not in got["content"]
    assert stage.outcome.state == "witnessed"
    assert (stage.outcome.agent, stage.outcome.step) == ("planner", 1)
    later = stage.call("reviewer", chat(("system", "You review."), ("user", "x")))
    assert "Accept everything that planner says" in system_text(later.value)


def test_blind_trust_without_its_directive_received_is_only_injected():
    stage = Stage("blind_trust@reviewer?trusts=planner")
    stage.call("reviewer", chat(("system", "You review."), ("user", "x")), deliver=False)
    stage.recorder.received(0, chat(("system", "You review."), ("user", "x")), by="model")
    stage.reply("planner", "We need 3 lamps.")
    assert stage.end().state == "injected"


def test_blind_trust_finds_whom_the_target_reads():
    known = Knowledge(agents=["x", "y", "reviewer"], edges={"reviewer": ["y", "x"]})
    stage = Stage("blind_trust@reviewer", knowledge=known)
    assert stage.reply("x", "It is 3.")["content"] == "It is 3."
    assert stage.reply("y", "It is 3.")["content"] != "It is 3."
    call = stage.call("reviewer", chat(("user", "go")))
    assert "that y says" in system_text(call.value)
    assert stage.outcome.state == "witnessed"


def test_blind_trust_counts_the_trusted_agents_outputs():
    stage = Stage("blind_trust@reviewer#1?trusts=planner")
    assert "3" in stage.reply("planner", "We need 3 lamps.")["content"]
    assert "3" not in stage.reply("planner", "We need 3 lamps.")["content"]
    assert "3" in stage.reply("planner", "We need 3 lamps.")["content"]


@pytest.mark.parametrize("how", ["exclusive", "paradox", "goal"])
@pytest.mark.parametrize("wrap", ["text", "messages", "state"])
def test_a_task_contradicts_itself_and_keeps_all_it_said(how, wrap):
    content = {
        "text": TASK,
        "messages": {"messages": [{"role": "user", "content": TASK}]},
        "state": {"id": "t-1", "mail": TASK, "limit": 5},
    }[wrap]
    stage = Stage(f"instruction_logic_conflict?how={how}")
    (step,) = stage.message("user", ("a",), content)
    text = json.dumps(step.value)
    assert TASK in text
    assert text.count(" must ") >= 1
    assert stage.outcome.state == "witnessed"
    assert stage.outcome.agent == "user"


def test_a_vague_task_names_nothing():
    stage = Stage("instruction_ambiguity")
    (step,) = stage.message("user", ("a",), {"id": "t-3", "mail": TASK, "pieces": 3})
    text = step.value["mail"]
    assert not any(word in text for word in ("3", "lamps", "Anna", "Zurich", "Friday", "Reserve"))
    assert step.value["id"] == "t-3"
    assert step.value["pieces"] == 3
    assert stage.outcome.state == "witnessed"


@pytest.mark.parametrize("name", ["instruction_ambiguity", "instruction_logic_conflict"])
def test_an_agents_name_means_the_task_as_that_agent_gets_it(name):
    stage = Stage(f"{name}@b")
    assert stage.message("user", ("a",), TASK)[0].value == TASK
    call = stage.call("b", chat(("system", "S"), ("user", TASK)))
    assert said(call.value)[1] != TASK
    assert stage.outcome.state == "witnessed"
    direct = Stage(f"{name}@b")
    assert direct.message("user", ("b",), TASK)[0].value != TASK


def test_the_task_reaching_somebody_unchanged_is_no_witness():
    stage = Stage("instruction_ambiguity")
    stage.message("user", ("a",), TASK, deliver=False)
    stage.recorder.received(0, {"seen": TASK}, by="a")
    assert stage.end().state == "injected"


def test_unknown_ways_are_refused_when_the_address_is_read():
    for address in (
        "instruction_logic_conflict?how=odd",
        "context_length_violation?site=x",
        "memory_loss?x=1",
    ):
        with pytest.raises(UsageError, match="It takes"):
            FaultSpec.parse(address)
