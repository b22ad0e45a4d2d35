"""A correct value that is said in another way stays; each case was once rewritten into something wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from masfire.knowledge.model import ACCEPTED, Habits, Slot
from masfire.recovery import Rewriter
from masfire.recovery.doubts import Readings, cue, listed, reformed
from masfire.recovery.habits import MOST_SCALARS, Given, habits_of, instead, mended
from masfire.trace.model import End, Header, Step, Trace
from tests.recovery.test_habits import HABITS, history, reading, righted, told
from tests.recovery.test_rewriting import NOTE, call, said
from tests.support.lessons import note

FORM = HABITS["reader"].form


@pytest.mark.parametrize(
    ("mail", "quantity"),
    [
        ("Order 4711: please send five black pens to Rome.", 5),
        ("Please send 5kg black pens to 12 Main Street, Rome.", 5),
        ("Please send 5x black pens to Rome, room 12.", 5),
        ("A dozen black pens to Rome please. Ticket 99.", 12),
        ("Please send 1.250 black pens to Rome.", 1250),
        ("Please send 1 250 black pens to Rome, room 7.", 1250),
        ("Please send 2k black pens to Rome, room 12.", 2000),
        ("Bitte fünf black pens nach Rome, Raum 12.", 5),
        ("Please send a box of black pens to Rome, gate 7.", 1),
        ("Please send a box of black pens to Rome within 3 days.", 1),
        ("Please send five black pens to Rome by May 12.", 5),
        ("Cut the order by 5: black pens to Rome.", -5),
        ("Half of the black pens, 50%, to Rome.", 0.5),
        ("Please send 3 black pens and then 3 more to Rome.", 6),
        ("Please send twice 3 black pens to Rome.", 6),
        ("Black pens to Rome: not 3 as I wrote, a few more.", 4),
        ("Black pens R-123 to Rome, a few.", 4),
        # A number that counts no item, whatever the language: it does not stand where solved runs had it.
        ("Stand 12 braucht fünf black pens in Rome.", 5),
        ("Cinq black pens pour Rome, étage 4.", 5),
        ("The 2 of us want the usual order of black pens to Rome.", 20),
        ("Please send black pens to our 3 sites in Rome, as many as you have.", 40),
    ],
)
def test_a_number_that_may_be_said_in_another_way_stays(mail: str, quantity: float) -> None:
    said_before = reading(quantity, "black pens", "Rome")
    assert righted(said_before, *history(mail)) == said_before


@pytest.mark.parametrize(
    ("mail", "item", "city"),
    [
        ("Please send 5 pens (black ones) to Rome; last time we got blue mugs.", "black pens", "Rome"),
        ("Please send 5 (black) pens to Rome, not blue mugs.", "black pens", "Rome"),
        ("Please send 5 black pens to Roma, not to Vienna.", "black pens", "Rome"),
        ("Please send 5 black pens to NYC; our office in Rome pays.", "black pens", "New York"),
        ("Please send 5 black pens to Münich, our office in Rome pays.", "black pens", "Munich"),
        ("Bitte 5 schwarze Stifte (keine blue mugs) nach Rome.", "black pens", "Rome"),
        ("Send 5 biros to Rome. We loved the blue mugs.", "black pens", "Rome"),
        ("Send 5 black pens to Wien; the Rome office pays.", "black pens", "Vienna"),
        ("Send 5 black pens to the Big Apple via Madrid.", "black pens", "New York"),
        ("We cancelled the blue mugs; 5 of the others to Rome.", "black pens", "Rome"),
    ],
)
def test_a_text_that_may_be_said_in_another_way_stays(mail: str, item: str, city: str) -> None:
    said_before = reading(5, item, city)
    assert righted(said_before, *history(mail)) == said_before


def test_long_numbers_are_exact() -> None:
    account = 12345678901234567  # no float holds it
    changed = righted(
        reading(1, "black pens", "Rome"), *history(f"Please send {account} black pens to Rome.")
    )
    assert json.loads(changed)["quantity"] == account


@pytest.mark.parametrize(
    ("wrong", "where"), [(7, ("Rome", "Vienna")), ("seven", ()), (2, ()), (float("inf"), ()), (10**400, ())]
)
def test_a_value_of_another_type_is_no_correction(wrong: Any, where: tuple[str, ...]) -> None:
    given = Given(["Send 2.5 tons to Rome."], [])
    assert instead(Slot("message", "x", "last", where, 3), wrong, given, []) is None


@pytest.mark.parametrize(
    "broken",
    [
        '{"kind":"order","quantity":1,250,"item":"black pens","city":"Rome"}',  # 1,250
        '{"kind":"order","quantity":5%,"item":"black pens","city":"Rome"}',
        '{"kind":"order","quantity":5,"item":"black pens","city":"Rome"}\nCorrection: make it 6.',
        '{"kind":"order","quantity":5,"item":"black pens","city":"Rome","express":true',  # another field
        '{"kind":"order","item":"pens, quantity: 6","city":"Rome"',  # the field is in another one's text
        "{'kind':'order','quantity':5,'item':'men's shoes','city':'Rome'}",
        '{"kind":"order","quantity":5,"item":"black pens","city":"Rome"' + "`" * 15_000 + "x",
    ],
)
def test_what_else_a_broken_json_says_is_not_dropped(broken: str) -> None:
    assert mended(broken, FORM) is None


@pytest.mark.parametrize(
    ("item", "meant"), [(r"\"caf\u00e9\"", '"café"'), (r"12\" pipes", '12" pipes'), (r"a\\b\nc", "a\\b\nc")]
)
def test_escapes_in_a_broken_json_are_read(item: str, meant: str) -> None:
    found = mended(f'{{"kind":"order","quantity":5,"item":"{item}","city":"Rome"', FORM)
    assert found is not None
    assert found["item"] == meant


@pytest.mark.parametrize("form", ["no JSON", '{"a":' * 3_000, "[1]", '{"a":{"b":null}'])
def test_a_form_that_is_none_mends_nothing(form: str) -> None:
    assert mended('{"a":1', form) is None


@pytest.mark.parametrize(
    ("mail", "source", "args"),
    [
        ("Find 1 hotel", {"page": 1}, {"page": 2}),  # by the same agent
        ("I want a refund", {"decision": "refund"}, {"decision": "deny"}),
        ("My order is pending", {"status": "pending"}, {"status": "shipped"}),
        ("On 12 May 2024, please", {"date": "12 May 2024"}, {"date": "2024-05-12"}),
        ("Call +49 30 1234", {"phone": "+49 30 1234"}, {"phone": "+49301234"}),
        ("To Germany", {"country": "Germany"}, {"country": "GER"}),
        ("It is 20 euro", {"currency": "euro"}, {"currency": "EUR"}),
        ("8 chairs at 20 euro", {"quantity": 8, "price": 20}, {"quantity": 8, "price": 160}),
        ("Pay 1,250 euro of invoice 99", {"amount": 99}, {"amount": 1250}),
        ("Pay 44 euro", {"amount": 44}, {"amount": 4400}),  # in cents
        ("Zürich, our office in Berlin pays", {"city": "Berlin"}, {"city": "Zurich"}),
        ("Not Berlin", {"city": "Berlin"}, {"city": "Hamburg"}),
        (
            "8 chairs and a lot of mugs",
            {"items": [{"item": "chairs", "quantity": 8}, {"item": "mugs", "quantity": 40}]},
            {"quantity": 40},
        ),
    ],
)
def test_without_habits_a_value_that_may_be_meant_stays(mail: str, source: Any, args: Any) -> None:
    giver = "clerk" if "page" in args else "reader"
    past: tuple[Step, ...] = (said(0, "user", mail), said(1, giver, source))
    step = call(2, args)
    assert Rewriter([NOTE]).step(step, "run", past) is step


def test_a_slot_from_a_strange_place_changes_nothing() -> None:
    habits = Habits((Slot("message", "quantity", "elsewhere", (), 3),), "{")
    strange = note("claim:conflict", role="", status=ACCEPTED, habits=habits)
    step = said(1, "clerk", {"quantity": 80})
    assert Rewriter([strange]).step(step, "run", (said(0, "user", "8 chairs"),)) is step


def test_what_stood_beside_a_value_in_solved_runs_is_known() -> None:
    slots = {slot.key: slot.cues for slot in HABITS["reader"].slots}
    assert slots == {"quantity": ("=item",), "item": ("#",), "city": ("to",)}


@pytest.mark.parametrize(
    ("text", "value", "beside", "found"),
    [
        ("send 5 black pens", "5", [("item", "Black pens")], "=item"),
        ("stay 3 days", "3", [], "days"),
        ("room 12, please", "12", [], ","),
        ("quantity: 5\nrome", "5", [], "$"),
        ("send five black pens", "black pens", None, "#"),
        ("quantity: 5\nrome", "rome", None, "^"),
        ("item: black pens", "black pens", None, ","),
        ("send it (rome)", "rome", None, ","),
    ],
)
def test_the_surroundings_of_a_value(text: str, value: str, beside: Any, found: str) -> None:
    at = text.index(value)
    assert cue(text, at, at + len(value), beside) == found


def test_of_several_objects_none_is_taken_for_another() -> None:
    items = [{"item": "chairs", "quantity": 8}, {"item": "mugs", "quantity": 40}]
    past = (said(0, "user", "8 chairs and a lot of mugs"), said(1, "reader", {"quantity": 8}))
    for args in ({"items": items}, json.dumps({"items": items})):
        step = call(2, args)
        assert Rewriter([NOTE]).step(step, "run", past) is step
    messages = {"messages": [{"content": '{"quantity":8}'}, {"content": '{"quantity":8}'}]}
    assert listed(messages) == set()
    assert listed({"items": items}) == {"item", "quantity"}


def test_data_that_is_passed_on_makes_no_habit() -> None:
    rows = {f"row {n}": f"value {n}" for n in range(20_000)}  # took two minutes
    steps = (told("user", "reader", rows, 0), told("reader", "clerk", rows, 1, 0))
    run = Trace(Header(run="r", system="s"), steps, end=End("completed", success=True, steps=2))
    assert len(habits_of([run] * 3)["reader"].slots) <= MOST_SCALARS


def test_slips_are_no_doubts() -> None:
    read = Readings("please send 8 green chairs, two lamps and 1.250 pens (order 4711)")
    assert [number for number in (8, 2, 1250, 1.25, 4711, 10, 16, -8, 800) if not read.may_mean(number)] == []
    assert not read.may_mean(80)
    assert not reformed("Paris", "Berlin")
    assert reformed("2024-05-12", "12 May 2024")
