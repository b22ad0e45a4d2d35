"""A server may stream anything: what no client could use is passed over, never raised in the user's call."""

from typing import Any

import pytest

from masfire.adapters.chat_codec import from_events
from masfire.adapters.codec import read_events

WEIRD: list[Any] = [None, 0, "x", [], {}, [None], ["x"], [[]], {"a": 1}, 1e308, True]


@pytest.mark.parametrize("value", WEIRD, ids=repr)
def test_odd_pieces_of_a_stream_are_passed_over(value: Any) -> None:
    good = {"id": "c", "choices": [{"index": 0, "delta": {"content": "hello"}}]}
    odd = [
        {"choices": value},
        {"choices": [value]},
        {"choices": [{"index": value, "delta": {"content": ""}}]},
        {"choices": [{"index": 0, "delta": value}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": value}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [value]}}]},
        {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": value, "function": value}]}}]},
    ]
    reply = from_events([good, *odd])
    assert reply is not None
    assert reply["choices"][0]["message"]["content"] == "hello"


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        (['{"a":1}', '{"b":2}'], [{"a": 1}, {"b": 2}]),
        (['{"a":1}', "[1]", "no json", '{"b":2}', "[DONE]"], [{"a": 1}, {"b": 2}]),
        (['{"a":1},{"b":2}', '{"c":3}'], [{"c": 3}]),
        (['{"a":[1', "2]}"], []),
        (['{"a":NaN}', '{"b":"\\ud800"}'], None),
        ([], []),
    ],
)
def test_events_are_read_one_by_one_even_where_some_are_broken(blocks: list[str], said: Any) -> None:
    read = list(read_events("".join(f"data: {block}\n\n" for block in blocks).encode()))
    if said is None:
        assert [set(event) for event in read] == [{"a"}, {"b"}]
    else:
        assert read == said
