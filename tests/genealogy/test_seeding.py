"""Planted messages: where they go, how they are wrapped, and that they leave a mark."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.errors import UnknownName
from masfire.genealogy.seeding import PACKAGINGS, Planter, Planting, falsified, packaged, plant
from masfire.recorder import Recorder
from masfire.trace.model import Action, Header
from masfire.trace.payload import pack

BODY = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "You are the reader."},
        {"role": "user", "content": "customer: Send 2 mugs to Rome."},
        {"role": "assistant", "content": '{"city":"Rome"}'},
        {"role": "user", "content": "customer: Send 5 chairs to Rome."},
    ],
}
OSLO = Planting("Rome", "Oslo", "reader")


def test_the_last_message_that_says_it_is_said_again() -> None:
    before = copy.deepcopy(BODY)
    found = plant(BODY, OSLO)
    assert before == BODY
    assert found["messages"][:-1] == BODY["messages"]
    assert found["messages"][-1] == {"role": "user", "content": "customer: Send 5 chairs to Oslo."}


def test_examples_are_left_alone_and_silence_is_not_filled() -> None:
    assert plant({**BODY, "messages": BODY["messages"][:-1]}, OSLO) is None
    assert plant(BODY, Planting("Paris", "Oslo")) is None
    assert plant({"input": "Rome"}, OSLO) is None


@pytest.mark.parametrize("name", PACKAGINGS)
def test_packagings_keep_the_label_and_keep_json_json(name: str) -> None:
    planting = Planting("Rome", "Oslo", packaging=packaged(name))
    text = falsified("reader: Send it to Rome.", planting)
    assert text.startswith("reader: ")
    assert text.endswith("Send it to Oslo.")
    assert packaged(name) in text
    slot = falsified('reader: {"city":"Rome"}', planting)
    assert slot.startswith('reader: {"city":"Oslo"')
    assert slot.endswith("}")


def test_an_unknown_packaging_gets_the_nearest() -> None:
    with pytest.raises(UnknownName, match="compliance"):
        packaged("complience")


def test_it_is_planted_once_before_the_right_agent_and_marked() -> None:
    planter = Planter([OSLO])
    recorder = Recorder(Header("x"), interceptors=[planter], clock=lambda: 1.0)
    for agent in ("planner", "reader", "reader"):
        recorder.submit(agent, Action("model_call", "m", pack(BODY)))
    trace = recorder.trace()
    said = [trace.request(step.step)["messages"][-1]["content"] for step in trace]
    assert [text.count("Oslo") for text in said] == [0, 1, 0]
    assert [(mark.step, mark.body.state) for mark in trace.injections] == [(1, "injected")]
    assert [step for _, step in planter.planted] == [1]


def test_a_correction_waits_for_its_call() -> None:
    planter = Planter([Planting("Rome", "Paris", after=2, name="correction")])
    recorder = Recorder(Header("x"), interceptors=[planter], clock=lambda: 1.0)
    for _ in range(4):
        recorder.submit("anyone", Action("model_call", "m", pack(BODY)))
    assert [step for _, step in planter.planted] == [2]


_KEYS = st.sampled_from(["messages", "input", "role", "content"])
_ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(_ANYTHING)
def test_malformed_requests_pass_unchanged(body: object) -> None:
    planter = Planter([Planting("Rome", "Oslo")])
    recorder = Recorder(Header("x"), interceptors=[planter])
    (step,) = recorder.submit("a", Action("model_call", "m", pack(body)))
    assert step.value == body
