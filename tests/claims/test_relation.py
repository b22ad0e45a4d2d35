"""How statements relate: what supports, what contradicts, what is merely made of known parts."""

from __future__ import annotations

import time

import pytest

from masfire.claims import Known, relate, statement, statements_of


@pytest.mark.parametrize(
    ("claim", "known", "kind"),
    [
        ("The lamp costs 20 euro.", "The lamp costs 20 euro.", "supports"),
        ("The lamps cost 20 euro.", "One lamp costs 20 euro at present.", "supports"),
        ("The lamp costs 30 euro.", "The lamp costs 20 euro.", "contradicts"),
        ("The refund was approved.", "The refund was rejected.", "contradicts"),
        ("The refund was not approved.", "The refund was approved.", "contradicts"),
        ("Ship the order to Paris.", "Ship the order to Rome.", "contradicts"),
        ("The warehouse in Rome burnt down.", "The lamp costs 20 euro.", "unrelated"),
        ("Call #TAG:ABC-1234# now.", "The lamp costs 20 euro.", "unrelated"),
        ("The lamp costs 20 euro and ships on Monday.", "The lamp costs 20 euro.", "derived"),
        ("The delivery arrives on Monday.", "The delivery probably arrives on Monday.", "derived"),
    ],
)
def test_sentences(claim: str, known: str, kind: str) -> None:
    assert relate(statement(claim), [statement(known)]).kind == kind


@pytest.mark.parametrize(
    ("claim", "known", "kinds"),
    [
        ({"city": "Rome"}, {"city": "Rome"}, ["supports"]),
        ({"city": "Paris"}, {"city": "Rome"}, ["contradicts"]),
        ({"city": "Paris"}, "Please send 5 green chairs to Rome.", ["unrelated"]),
        (
            {"quantity": 7, "item": "green chairs"},
            "Send 5 green chairs to Rome.",
            ["contradicts", "supports"],
        ),
        ({"quantity": 5, "item": "green chairs"}, "Send 5 green chairs to Rome.", ["supports", "supports"]),
        ("We reserved 7 green chairs.", {"quantity": 5, "item": "green chairs"}, ["contradicts"]),
        ({"price": 40}, {"weight": 40}, ["unrelated"]),
        ({"rounds": 1}, {"rounds": 0}, ["derived"]),  # a counter
    ],
)
def test_slots(claim: object, known: object, kinds: list[str]) -> None:
    base = Known(statements_of(known))
    assert [base.relate(one).kind for one in statements_of(claim)] == kinds


def test_parts_from_several_statements_are_derived_and_never_support() -> None:
    known = [statement("Alice ordered 5 chairs."), statement("Bob lives in Rome.")]
    found = relate(statement("Bob ordered 5 chairs."), known)
    assert found.kind != "supports"


def test_a_relation_names_its_evidence() -> None:
    known = [statement("The sky is clear."), statement("The lamp costs 20 euro.")]
    found = relate(statement("The lamp costs 30 euro."), known)
    assert (found.kind, found.index) == ("contradicts", 1)
    assert "20" in found.reason


def test_support_counts_more_than_a_contradiction() -> None:
    known = [statement("The lamp costs 30 euro."), statement("The lamp costs 20 euro.")]
    assert relate(statement("The lamp costs 20 euro."), known).kind == "supports"


def test_a_message_is_screened_in_milliseconds_however_much_is_known() -> None:
    known = Known()
    for number in range(20_000):
        known.add(statement(f"Order {number} goes to customer K-{number} in Rome for {number} euro."))
    text = "Order 77 goes to customer K-77 in Rome for 99 euro. The stock is low. Please confirm to Alice."
    best = 9.0
    for _ in range(7):
        began = time.perf_counter()
        kinds = [known.relate(one).kind for one in statements_of(text)]
        best = min(best, time.perf_counter() - began)
    assert kinds[0] == "contradicts"
    assert best < 0.02  # 4 ms is the goal, measured in benchmarks/; a shared machine is not the place
