"""The perfect copier copies from example turns it has never seen, and says when a request is too long."""

import json
from typing import Any

import pytest

from masfire.models.stub import Copier, reply_to

SHAPE = {
    "type": "object",
    "properties": {
        "animal": {"enum": ["cat", "dog", "owl"]},
        "age": {"type": "integer"},
        "action": {"enum": ["feed", "walk"]},
    },
}
EXAMPLES = [
    {"role": "system", "content": "Read the note."},
    {"role": "user", "content": "note: the cat is 3 and hungry"},
    {"role": "assistant", "content": '{"animal":"cat","age":3,"action":"feed"}'},
    {"role": "user", "content": "note: our dog, 11, is restless"},
    {"role": "assistant", "content": '{"animal":"dog","age":11,"action":"walk"}'},
]


def asked(*said: str) -> list[dict[str, Any]]:
    return [*EXAMPLES, *({"role": "user", "content": text} for text in said)]


def test_schema_bound_values_are_copied_from_where_the_examples_had_them() -> None:
    assert json.loads(reply_to(asked("note: two dogs? no, one dog of 7"), SHAPE))["age"] == 7
    assert json.loads(reply_to(asked("note: dogs everywhere, 9 years"), SHAPE))["animal"] == "dog"


def test_what_stands_nowhere_comes_from_the_example_that_agrees_most() -> None:
    assert json.loads(reply_to(asked("note: a cat of 5"), SHAPE)) == {
        "animal": "cat",
        "age": 5,
        "action": "feed",
    }
    assert json.loads(reply_to(asked("note: a dog of 5"), SHAPE))["action"] == "walk"


def test_values_are_taken_from_the_speaker_and_field_that_the_examples_show() -> None:
    messages = [
        {"role": "user", "content": "mail: send 1 of 8"},
        {"role": "user", "content": 'reader: {"count": 4, "of": "cat"}'},
        {"role": "assistant", "content": '{"animal":"cat","age":4}'},
        {"role": "user", "content": "mail: send 5 of 6"},
        {"role": "user", "content": 'reader: {"count": 2, "of": "owl"}'},
    ]
    shape = {"type": "object", "properties": {name: SHAPE["properties"][name] for name in ("animal", "age")}}
    assert json.loads(reply_to(messages, shape)) == {"animal": "owl", "age": 2}


def test_free_text_is_the_nearest_example_with_its_parts_exchanged() -> None:
    messages = [
        {"role": "user", "content": "clerk: booked 3 mugs to Rome, ref R-1"},
        {"role": "assistant", "content": "We booked 3 mugs to Rome (R-1)."},
        {"role": "user", "content": "clerk: refused 9 lamps, too many"},
        {"role": "assistant", "content": "Sorry, 9 lamps are too many."},
        {"role": "user", "content": "clerk: booked 12 chairs to Bonn, ref R-77"},
    ]
    assert reply_to(messages, None) == "We booked 12 chairs to Bonn (R-77)."


@pytest.mark.parametrize("messages", [[], EXAMPLES[:1], [{"role": "user", "content": None}]])
def test_nothing_to_copy_is_no_crash(messages: list[dict[str, Any]]) -> None:
    assert set(json.loads(reply_to(messages, SHAPE))) == {"animal", "age", "action"}
    assert isinstance(reply_to(messages, None), str)


def test_same_request_same_answer_and_the_shape_of_the_api() -> None:
    body = {"model": "m", "messages": asked("note: an owl of 2")}
    one, two = json.loads(Copier()(body)), json.loads(Copier()(body))
    assert one["choices"] == two["choices"]
    assert one["object"] == "chat.completion"
    response = json.loads(Copier()({"model": "m", "input": "hello there"}))
    assert response["output"][0]["content"][0]["text"] == "hello there"


def test_a_request_beyond_the_slot_is_refused_as_a_server_would() -> None:
    reply = json.loads(Copier(slot=256)({"messages": [{"role": "user", "content": "x" * 2000}]}))
    assert reply["error"]["code"] == 400
    assert "exceeds the available context size (256 tokens)" in reply["error"]["message"]
