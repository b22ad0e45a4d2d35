"""The faults that only change who receives a message, and how often."""

from __future__ import annotations

import pytest

from masfire.faults.injector import Knowledge
from tests.support.steps import Stage

TEXT = "The plan is ready."
KNOWN = Knowledge(agents=["a", "b", "c", "d"], slot=2048)


def test_a_cycle_returns_the_message_to_its_sender_once():
    stage = Stage("message_cycle@a")
    first = stage.message("a", ("b",), TEXT)
    again = stage.message("a", ("b",), TEXT)
    assert [step.body.to for step in (*first, *again)] == [("a",), ("b",)]
    assert first[0].value == TEXT
    assert stage.outcome.state == "witnessed"
    assert stage.outcome.reason == "received by a"


def test_every_message_circles_once_and_then_goes_on():
    stage = Stage("message_cycle@a?times=every")
    recipients = [stage.message("a", ("b",), f"{TEXT} {n}")[0].body.to for n in range(4)]
    assert recipients == [("a",), ("b",), ("a",), ("b",)]


def test_a_cycle_can_keep_the_original_recipients():
    stage = Stage("message_cycle@a?keep=true")
    (step,) = stage.message("a", ("b",), TEXT)
    assert step.body.to == ("b", "a")


def test_an_echo_that_only_the_others_receive_is_no_witness():
    stage = Stage("message_cycle@a")
    stage.message("a", ("b",), TEXT, deliver=False)
    stage.recorder.received(0, TEXT, by="b")
    assert stage.end().state == "injected"


def test_a_storm_is_witnessed_when_one_receiver_has_every_copy():
    stage = Stage("message_storm@a?copies=4")
    copies = stage.message("a", ("b", "c"), TEXT, deliver=False)
    assert [step.step for step in copies] == [0, 1, 2, 3]
    for step in copies[:3]:
        stage.recorder.received(step.step, TEXT, by="b")
        stage.recorder.received(step.step, TEXT, by="c")
    stage.recorder.received(0, TEXT, by="b")
    assert stage.outcome.state == "injected"
    stage.recorder.received(3, TEXT, by="c")
    assert stage.outcome.state == "witnessed"
    assert len({bytes(step.payload) for step in copies}) == 1


@pytest.mark.parametrize(
    ("slot", "text", "copies"), [(0, TEXT, 1000), (2048, TEXT, 204), (2048, "x" * 9000, 3)]
)
def test_the_number_of_copies_derives_from_the_models_window(slot, text, copies):
    stage = Stage("message_storm@a", knowledge=Knowledge(slot=slot))
    assert len(stage.message("a", ("b",), text)) == copies
    assert stage.outcome.state == "witnessed"


def test_a_broadcast_reaches_every_known_agent_but_the_sender():
    stage = Stage("message_broadcast_amplification@a", knowledge=KNOWN)
    (step,) = stage.message("a", ("b",), TEXT)
    assert step.body.to == ("b", "c", "d")
    assert stage.outcome.state == "witnessed"
    assert stage.outcome.reason == "received by c"


def test_a_broadcast_that_only_the_original_recipient_receives_is_no_witness():
    stage = Stage("message_broadcast_amplification@a", knowledge=KNOWN)
    stage.message("a", ("b",), TEXT, deliver=False)
    stage.recorder.received(0, TEXT, by="b")
    stage.recorder.received(0, "The plan is rotten.", by="c")
    assert stage.end().state == "injected"


def test_a_broadcast_without_further_agents_is_inapplicable():
    stage = Stage("message_broadcast_amplification@a")
    stage.message("a", ("b",), TEXT)
    assert stage.end().state == "inapplicable"


@pytest.mark.parametrize("name", ["message_cycle", "message_storm", "message_broadcast_amplification"])
def test_only_messages_between_agents_are_routed_differently(name):
    stage = Stage(name, knowledge=KNOWN)
    assert len(stage.message("user", ("a",), TEXT)) == 1
    assert stage.message("a", ("user",), TEXT)[0].body.to == ("user",)
    stage.message("b", ("c",), TEXT)
    assert stage.outcome.agent == "b"


def test_the_users_task_can_be_stormed_when_asked_for():
    stage = Stage("message_storm@user?copies=3")
    assert len(stage.message("user", ("a",), TEXT)) == 3
    assert stage.outcome.state == "witnessed"


def test_structured_messages_are_recognised_inside_a_larger_state():
    content = {"messages": [{"role": "ai", "name": "a", "content": TEXT}], "order": {"pieces": 3}}
    stage = Stage("message_cycle@a")
    stage.message("a", ("b",), content, deliver=False)
    state = {
        "messages": [{"role": "user", "content": "Go."}, *content["messages"]],
        "order": {"pieces": 3},
        "n": 1,
    }
    stage.recorder.received(0, state, by="a")
    assert stage.outcome.state == "witnessed"
