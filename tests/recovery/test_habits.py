"""What a role copies in solved runs is learnt from them, and puts a slip right; doubt changes nothing."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from masfire.knowledge.export import from_yaml, to_yaml
from masfire.knowledge.model import ACCEPTED, Habits, Slot, Trial
from masfire.knowledge.quoting import quoted
from masfire.recovery import Rewriter
from masfire.recovery.habits import Given, habits_of, mended
from masfire.trace.model import Action, End, Header, Message, Observation, Step, Trace
from masfire.trace.payload import pack
from tests.support.lessons import note

ORDERS = [
    (8, "green chairs", "Berlin"),
    (12, "wool blankets", "Madrid"),
    (3, "blue mugs", "Rome"),
    (22, "black pens", "Vienna"),
]


def told(agent: str, to: str, content: Any, index: int, *parents: int) -> Step:
    return Step(index, float(index), agent, Message((to,), pack(content)), parents=parents)


def asked(agent: str, texts: list[str], index: int, *parents: int) -> Step:
    messages = [{"role": "system", "content": "You read."}, *({"role": "user", "content": t} for t in texts)]
    body = Action("model_call", "m", pack({"model": "m", "messages": messages}))
    return Step(index, float(index), agent, body, parents=parents)


def reading(quantity: Any, item: Any, city: Any, *, kind: str = "order") -> str:
    slots = {"kind": kind, "quantity": quantity, "item": item, "city": city}
    return json.dumps(slots, separators=(",", ":"))


def solved(quantity: int, item: str, city: str, *, kind: str = "order") -> Trace:
    """Return a run: a mail, the reader's request and its JSON, the clerk's call."""
    state = {"messages": [{"role": "assistant", "content": reading(quantity, item, city, kind=kind)}]}
    args = {"quantity": quantity, "item": item, "city": city}
    steps = (
        told("user", "reader", f"Please send {quantity} {item} to {city}.", 0),
        asked("reader", ["an example", f"Please send {quantity} {item} to {city}."], 1, 0),
        told("reader", "clerk", state | {"rounds": 1}, 2, 1),
        asked("clerk", ["step: book"], 3, 2),
        told("clerk", "stock", json.dumps({"tool": "book", "args": args}), 4, 3),
        Step(5, 5.0, "stock", Action("tool_call", "book", pack({"args": args})), parents=(4,)),
        Step(6, 6.0, "stock", Observation("tool_result", "book", 5, pack({"value": "booked"}))),
    )
    return Trace(Header(run="r", system="s"), steps, end=End("completed", success=True, steps=len(steps)))


HABITS = habits_of(solved(*order) for order in ORDERS)


def history(text: str = "Please send 5 black pens to Rome.") -> tuple[Step, ...]:
    return told("user", "reader", text, 0), asked("reader", ["an example", text], 1, 0)


def righted(content: Any, *past: Step, agent: str = "reader", habits: Any = HABITS) -> Any:
    lesson = note("claim:conflict", role=agent, status=ACCEPTED, habits=habits.get(agent))
    return Rewriter([lesson]).step(told(agent, "clerk", content, len(past)), "run", past).value


def test_what_is_always_copied_is_a_slot_and_what_is_decided_is_none() -> None:
    slots = {(slot.kind, slot.key): slot for slot in HABITS["reader"].slots}
    assert set(slots) == {("message", "quantity"), ("message", "item"), ("message", "city")}
    assert slots["message", "city"].values == ("Berlin", "Madrid", "Rome", "Vienna")
    assert slots["message", "quantity"].values == ()
    assert {slot.where for slot in slots.values()} == {"last"}
    assert json.loads(HABITS["reader"].form) == dict.fromkeys(("kind", "quantity", "item", "city"))
    clerk = {slot.key: slot.where for slot in HABITS["clerk"].slots}
    assert clerk == {"tool": "last", "quantity": "parents", "item": "parents", "city": "parents"}


def test_two_solved_runs_are_too_few() -> None:
    assert habits_of(solved(*order) for order in ORDERS[:2]) == {}


@pytest.mark.parametrize(
    ("said", "right"),
    [
        (reading(6, "black pens", "Rome"), reading(5, "black pens", "Rome")),
        (reading(5, "green chairs", "Rome"), reading(5, "black pens", "Rome")),
        (reading(7, "blue mugs", "Berlin"), reading(5, "black pens", "Rome")),
        (reading(5, "black pens", "Rome", kind="question"), None),  # decided, not copied
        (reading(5, "black pens", "Rome"), None),
    ],
)
def test_a_slip_is_put_right(said: str, right: str | None) -> None:
    assert righted(said, *history()) == (right or said)


@pytest.mark.parametrize(
    "text",
    [
        "Please send 5 or 6 black pens to Rome or Vienna.",  # two candidates
        "Please send some pens to Rome.",  # none
    ],
)
def test_doubt_changes_nothing(text: str) -> None:
    said = reading(9, "desk lamps", "Rome")
    changed = json.loads(righted(said, *history(text)))
    assert changed["quantity"] == 9
    if "black" not in text:
        assert changed["item"] == "desk lamps"


def test_counters_in_the_state_are_neither_changed_nor_taken_for_values() -> None:
    state = {"messages": [{"role": "assistant", "content": reading(6, "black pens", "Rome")}], "rounds": 4}
    start = {"messages": [{"role": "user", "content": "Please send 5 black pens to Rome."}], "rounds": 0}
    past = (told("user", "reader", start, 0),)
    changed = righted(state, *past)
    assert changed["rounds"] == 4
    assert json.loads(changed["messages"][0]["content"])["quantity"] == 5


@pytest.mark.parametrize(
    "broken",
    [
        '{"kind"="order","quantity":5,"item":"black pens","city":"Rome"}',
        "{'kind':'order','quantity':5,'item':'black pens','city':'Rome'}",
        '{"kind":"order","quantity":5,"item":"black pens","city":"Rome"',
        '```json\n{"kind":"order","quantity":5,"item":"black pens","city":"Rome"}\n```',
    ],
)
def test_broken_json_of_a_known_form_is_read(broken: str) -> None:
    assert righted(broken, *history()) == reading(5, "black pens", "Rome")


@pytest.mark.parametrize(
    "broken",
    [
        '{"kind":"order","quantity":5,"item":"black pens"',  # a field is missing
        '{"kind":"order","quantity":5,"quantity":6,"item":"black pens","city":"Rome"',  # one is there twice
        "{" * 30_000,
    ],
)
def test_nothing_is_made_up(broken: str) -> None:
    assert righted(broken, *history()) == broken
    assert mended(broken, HABITS["reader"].form) is None


def test_a_role_without_habits_and_a_run_without_history_are_left_alone() -> None:
    said = reading(6, "black pens", "Rome")
    assert righted(said, *history(), habits={}) == said
    assert righted(said) == said
    assert not Given.to("reader", ()).in_("last").states("Rome")


def test_habits_are_reviewable_and_survive_the_file() -> None:
    lesson = note(status=ACCEPTED, habits=Habits((Slot("message", "city", "last", ("Rome",), 3),), "{}"))
    (back,) = from_yaml(to_yaml([], [lesson])).notes
    assert msgspec.structs.replace(back, status=ACCEPTED).habits == lesson.habits


def test_a_note_accepted_as_a_rewrite_enters_no_prompt() -> None:
    tried = note(status=ACCEPTED, trial=Trial((), accepted=True, way="rewrite"))
    assert quoted([tried]) == ""
    assert quoted([msgspec.structs.replace(tried, trial=Trial((), accepted=True))])
