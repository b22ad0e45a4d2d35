"""What the rewriter changes, and the many things that it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest

from masfire.knowledge.model import ACCEPTED
from masfire.recovery import Rewriter
from masfire.trace.model import Action, Message, Observation, Step
from masfire.trace.payload import pack
from tests.support.lessons import note

NOTE = note("claim:new-number", role="", status=ACCEPTED)


def said(index: int, agent: str, content: Any) -> Step:
    return Step(index, float(index), agent, Message(("x",), pack(content)))


def call(index: int, args: Any, *, agent: str = "clerk") -> Step:
    return Step(index, float(index), agent, Action("tool_call", "order", pack({"args": args})))


def result(index: int, value: Any, *, ok: bool = True) -> Step:
    outcome = {"value": value} if ok else {"error": {"type": "E", "message": value}}
    return Step(
        index,
        float(index),
        "clerk",
        Observation(kind="tool_result", name="order", of=1, ok=ok, outcome=pack(outcome)),
    )


MAIL = said(0, "user", "Please send 8 green chairs to Berlin.")
ORDER = said(1, "reader", {"quantity": 8, "item": "green chairs", "city": "Berlin"})


def righted(step: Step, *history: Step, notes: Any = (NOTE,)) -> Any:
    return Rewriter(notes).step(step, "run", history).value


@pytest.mark.parametrize(
    ("args", "right"),
    [
        ({"quantity": 80, "city": "Berlin"}, {"quantity": 8, "city": "Berlin"}),
        ({"quantity": 8, "city": "Paris"}, {"quantity": 8, "city": "Berlin"}),
        ({"quantity": 8, "city": "Berlin"}, None),
        ({"quantity": "80"}, None),  # another type: no slip of the pen
        ({"amount": 80}, None),  # a key that nobody gave a value to
        ({"quantity": True}, None),
        ("quantity=80", None),
    ],
)
def test_slots_of_calls(args: Any, right: Any) -> None:
    changed = righted(call(2, args), MAIL, ORDER)
    assert changed == {"args": right if right is not None else args}


def test_slots_of_json_inside_a_message() -> None:
    wrong = {"messages": [{"role": "assistant", "name": "clerk", "content": '{"args":{"city":"Paris"}}'}]}
    changed = righted(said(2, "clerk", wrong), MAIL, ORDER)
    assert changed["messages"][0] == {**wrong["messages"][0], "content": '{"args":{"city":"Berlin"}}'}


def test_what_the_source_itself_got_wrong_is_not_spread() -> None:
    misread = said(1, "reader", {"quantity": 80})
    assert righted(call(2, {"quantity": 800}), MAIL, misread) == {"args": {"quantity": 800}}


def test_two_confirmed_values_are_not_chosen_from() -> None:
    mail = said(0, "user", "Send 8 chairs to Berlin and 9 to Rome.")
    history = (mail, said(1, "reader", {"quantity": 8}), said(2, "reader", {"quantity": 9}))
    assert righted(call(3, {"quantity": 80}), *history) == {"args": {"quantity": 80}}


def test_a_tool_confirms_a_value_and_a_failed_one_does_not() -> None:
    given = said(1, "reader", {"price": 44})
    for ok, right in ((True, 44), (False, 99)):
        changed = righted(call(3, {"price": 99}), MAIL, given, result(2, "44 euro", ok=ok))
        assert changed == {"args": {"price": right}}


@pytest.mark.parametrize(
    "notes",
    [
        (),
        (note("claim:new-number", role=""),),
        (note("claim:new-number", role="writer", status=ACCEPTED),),
        (note("message_storm", role="", status=ACCEPTED, approach="Be brief."),),
    ],
)
def test_nothing_changes_without_an_accepted_note_for_the_agent_about_values(notes: Any) -> None:
    step = call(2, {"quantity": 80})
    assert Rewriter(notes).step(step, "run", (MAIL, ORDER)) is step


def test_the_users_own_words_are_never_changed() -> None:
    step = said(2, "user", {"quantity": 80})
    assert Rewriter([NOTE]).step(step, "run", (MAIL, ORDER)) is step


def test_it_says_what_it_did() -> None:
    rewriter = Rewriter([NOTE])
    rewriter.step(call(2, {"quantity": 80}), "run", (MAIL, ORDER))
    (done,) = rewriter.done
    assert (done.key, done.wrong, done.right, done.source, done.note) == ("quantity", 80, 8, 1, NOTE.id)
