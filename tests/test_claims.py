"""What a text states, piece by piece."""

from __future__ import annotations

import itertools
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from masfire.claims import claims_of, claims_of_text, difference, sentences
from masfire.claims.leaves import LABELS, embedded, get, leaves, spoken


def found(text: str, kind: str) -> list[str]:
    return [claim.text for claim in claims_of_text(text) if claim.kind == kind]


def test_prose_is_split_into_numbers_entities_verdicts_and_hedges():
    text = (
        "Please send 1,200.50 EUR to Anna Meier in Zurich for ORD-17, probably by Friday; it is not approved."
    )
    assert found(text, "number") == ["1,200.50"]
    assert found(text, "entity") == ["EUR", "Anna", "Meier", "Zurich", "ORD-17", "Friday"]
    assert found(text, "hedge") == ["probably"]
    assert found(text, "verdict") == ["approved"]
    assert found(text, "polarity") == ["not"]


def test_a_number_knows_what_it_counts():
    assert [c.unit for c in claims_of_text("3 lamps, 4 of them, 5kg, two chairs") if c.kind == "number"] == [
        "lamps", "", "kg", "chairs",
    ]  # fmt: skip


def test_list_markers_and_sentence_capitals_state_nothing():
    assert found("1. Check it.\n2) Ship it.", "number") == []
    assert found("Check it. Ship it.", "entity") == []
    assert found("Ship 2. Then rest.", "number") == ["2"]


def test_months_are_no_hedges():
    assert found("We meet in May; it may rain.", "hedge") == ["may"]


def test_json_slots_are_compared_by_key_and_value():
    gone, stated = difference({"a": 1, "b": "Bern"}, '{"a": 1.0, "b": "bern ", "c": 2}')
    assert gone == []
    assert [(claim.key, claim.value) for claim in stated] == [("c", "2")]


def test_labels_of_a_conversation_are_no_claims():
    reply = {"content": "ok fine", "tool_calls": [{"id": "c1", "name": "f", "arguments": '{"id": 7}'}]}
    assert [(claim.key, claim.value) for claim in claims_of(reply) if claim.kind == "slot"] == [("id", "7")]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Hi.  \n\nYes", ["Hi.  \n\n", "Yes"]),
        ("1. Check 3.5 kg.\n2. See e.g. Bern! Ok", ["1. Check 3.5 kg.\n", "2. See e.g. Bern! ", "Ok"]),
        ("", []),
        ("\n\n", []),
    ],
)
def test_sentences_are_spans_of_the_text(text, parts):
    assert [text[start:end] for start, end in sentences(text)] == parts


@given(st.text())
def test_claims_stand_where_they_say(text):
    for claim in claims_of_text(text):
        assert text[claim.start : claim.end] == claim.text
    spans = sentences(text)
    assert all(left[1] <= right[0] for left, right in itertools.pairwise(spans))
    assert not text.strip() or "".join(text[s:e] for s, e in spans).strip() == text.strip()


@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_every_leaf_is_found_at_its_path(value):
    for path, leaf in leaves(value):
        assert get(value, path) == leaf


PIECES = st.sampled_from(
    ["probably", "It seems that", "MAY", "may", "about 3", "could", "I'm not sure but", "A-17", "3 lamps",
     "5kg", '"quoted"', "`code`", "Anna", "not", "don't", "seven", "approved", "unlikely", ". ", "\n", ") ",
     "1. ", "-", "x"]
)  # fmt: skip


@given(st.lists(PIECES).map(" ".join) | st.lists(PIECES).map("".join))
def test_what_a_text_can_hold_is_found_whether_it_is_plain_ascii_or_not(text):
    """Of plain text only the patterns are tried whose signs stand in it; the others are tried always."""
    assert claims_of_text(text) == claims_of_text(text + "\n\u00b7")


KEYS = st.sampled_from(["role", "name", "id", "content", "args", "x"])


@given(
    st.recursive(
        st.none() | st.sampled_from(["a", '{"id": 1, "content": "b"}', "[2]"]),
        lambda x: st.lists(x) | st.dictionaries(KEYS, x),
    )
)
def test_only_labels_of_conversations_are_not_spoken(value):
    def label(path):
        parent = get(value, path[:-1]) if path and path[-1] in LABELS else None
        return isinstance(parent, dict) and not parent.keys().isdisjoint(
            {"content", "arguments", "args", "role"}
        )

    assert list(spoken(value)) == [(path, leaf) for path, leaf in leaves(value) if not label(path)]


def test_json_in_a_fence_is_entered_and_kept_in_style():
    text = 'Sure:\n```json\n{"a": 1}\n```'
    assert embedded(text) is None
    inner = embedded('```json\n{\n  "a": 1\n}\n```\n')
    assert inner is not None
    assert inner.render({"a": 2}) == '```json\n{\n  "a": 2\n}\n```\n'


@pytest.mark.parametrize(
    "text", ["a" * 200_000, "A. " * 60_000, "1," * 90_000, '"' * 100_000, "\n" * 100_000]
)
def test_long_texts_take_linear_time(text):
    began = time.perf_counter()
    claims_of_text(text)
    sentences(text)
    assert time.perf_counter() - began < 5
