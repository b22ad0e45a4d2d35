"""Which replies a step holds whole is told quickly for mere text, and never otherwise than by rebuilding."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from masfire.adapters import chat_codec, responses_codec
from masfire.adapters.replayed import _told, is_whole

NOTHING: list[Any] = [None, [], {}, "", 0, False, [None], {"a": None}]
TEXT: dict[str, Any] = {"role": "assistant", "content": "four pens", "refusal": None, "annotations": []}
CHOICE: dict[str, Any] = {"index": 0, "message": TEXT, "finish_reason": "stop", "logprobs": None}

more = st.dictionaries(
    st.sampled_from(["refusal", "reasoning", "tool_calls", "audio", "logprobs", "content", "role", "index"]),
    st.one_of(st.sampled_from(NOTHING), st.sampled_from(["hm", 1, ["x"], {"id": "a"}])),
    max_size=2,
)
messages = st.builds(
    lambda text, extra: {**text, **extra}, st.sampled_from([TEXT, {"content": "x"}, {}]), more
)
choices = st.builds(
    lambda message, end, extra: {"index": 0, "message": message, "finish_reason": end, **extra},
    st.one_of(messages, st.none()),
    st.sampled_from(["stop", "length", "", None, 0, 3]),
    more,
)


@settings(max_examples=500)
@given(st.lists(choices, max_size=2))
def test_the_quick_look_says_what_rebuilding_says(given: list[Any]) -> None:
    data = {"choices": given}
    rebuilt = chat_codec.with_outcome({"choices": []}, chat_codec.outcome(data))
    assert is_whole(chat_codec, data) == (_told(given) == _told(rebuilt["choices"]))


def test_mere_text_is_whole_and_what_says_more_is_not() -> None:
    assert is_whole(chat_codec, {"choices": [CHOICE]})
    assert not is_whole(responses_codec, {"choices": [CHOICE]})
    assert not is_whole(chat_codec, {"choices": [CHOICE, {**CHOICE, "index": 1}]})
    assert not is_whole(chat_codec, {"choices": [{**CHOICE, "message": {**TEXT, "refusal": "no"}}]})
    assert not is_whole(chat_codec, {"choices": [{**CHOICE, "logprobs": {"content": [0.5]}}]})
