"""Laws of the request layer: without interference nothing changes; what is written can be read back."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from masfire.adapters import chat_codec, responses_codec
from masfire.adapters.codec import Codec, read_events
from masfire.adapters.effects import run_sync
from masfire.adapters.exchange import exchange, recognise
from masfire.recorder import Recorder, agent
from masfire.trace.model import Header

TEXT = st.text(max_size=40)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
ROLES = st.sampled_from(["system", "developer", "user", "assistant", "tool", "", "alien"])
PARTS = st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXT}) | JSON, max_size=3)
CALLS = st.lists(
    st.fixed_dictionaries(
        {
            "id": TEXT,
            "type": st.just("function"),
            "function": st.fixed_dictionaries({"name": TEXT, "arguments": TEXT}),
        }
    ),
    max_size=2,
)
MESSAGE = st.fixed_dictionaries(
    {"role": ROLES, "content": TEXT | PARTS | JSON},
    optional={"tool_calls": CALLS | JSON, "tool_call_id": TEXT | JSON},
)
ITEM = MESSAGE | st.fixed_dictionaries(
    {"type": st.sampled_from(["function_call", "function_call_output", "reasoning"])},
    optional={"call_id": TEXT, "name": TEXT, "arguments": TEXT | JSON, "output": TEXT | PARTS | JSON},
)
CHAT = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE | JSON, max_size=4) | JSON}, optional={"model": TEXT | JSON, "tools": JSON}
)
RESPONSES = st.fixed_dictionaries(
    {"input": st.lists(ITEM | JSON, max_size=4) | TEXT | JSON},
    optional={"model": TEXT, "instructions": TEXT | JSON},
)
OUTCOME = st.fixed_dictionaries(
    {
        "content": st.none() | TEXT,
        "tool_calls": st.lists(
            st.fixed_dictionaries({"id": st.text(min_size=1, max_size=5), "name": TEXT, "arguments": TEXT}),
            max_size=3,
        ),
    }
)


def through(run: Recorder, path: str, body: Any, reply: Any) -> tuple[Any, Any]:
    """Send `body` through the layer; return the request that left and the response that came."""
    request = httpx2.Request("POST", f"http://h/v1/{path}", json=body)
    response = httpx2.Response(200, json=reply, request=request)
    call = recognise(httpx2, request, unread=False)
    assert call is not None
    left: list[Any] = []

    def send(outgoing: Any) -> Any:
        left.append(outgoing)
        return response

    got = run_sync(exchange(run, call), run, send)
    assert got is response
    return request, left[0]


TWICE = {"messages": [{"role": "user", "content": "long enough to be stored once and referred to"}]}


@settings(deadline=None, max_examples=60)
@example(bodies=[TWICE | {"tools": None}, TWICE], reply=None)
@given(bodies=st.lists(CHAT, min_size=1, max_size=3), reply=JSON)
def test_any_chat_request_passes_untouched(bodies: list[Any], reply: Any) -> None:
    run = Recorder(Header("law"), interceptors=[lambda step, history: (step,)])
    for number, body in enumerate(bodies):
        with agent(f"agent{number % 2}"):
            request, left = through(run, "chat/completions", body, reply)
        assert left is request
    calls = [step.step for step in run.steps if step.kind == "model_call"]
    assert [run.trace().request(step) for step in calls] == bodies


@settings(deadline=None, max_examples=60)
@given(bodies=st.lists(RESPONSES, min_size=1, max_size=3), reply=JSON)
def test_any_responses_request_passes_untouched(bodies: list[Any], reply: Any) -> None:
    run = Recorder(Header("law"), interceptors=[lambda step, history: (step,)])
    for number, body in enumerate(bodies):
        with agent(f"agent{number % 2}"):
            request, left = through(run, "responses", body, reply)
        assert left is request


def reread(codec: Codec, outcome: dict[str, Any], base: Any) -> None:
    data = codec.with_outcome(base, outcome)
    said = codec.outcome(data)
    assert {key: said[key] for key in outcome} == outcome
    events = b"".join(codec.to_events(data, {}))
    again = codec.from_events(read_events(events))
    assert again is not None
    streamed = codec.outcome(again)
    assert {key: streamed[key] for key in outcome} == outcome
    json.dumps(data)


@settings(deadline=None, max_examples=60)
@given(before=OUTCOME, after=OUTCOME)
def test_a_chat_reply_says_what_was_put_into_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    base = chat_codec.with_outcome({"id": "1", "created": 1, "model": "m"}, before)
    reread(chat_codec, after, base)


@settings(deadline=None, max_examples=60)
@given(before=OUTCOME, after=OUTCOME)
def test_a_response_says_what_was_put_into_it(before: dict[str, Any], after: dict[str, Any]) -> None:
    base = responses_codec.with_outcome({"id": "1", "status": "completed", "output": []}, before)
    reread(responses_codec, after, base)


@settings(deadline=None, max_examples=60)
@given(body=CHAT, word=st.sampled_from(["drop", "storm", "alter"]))
def test_whatever_happens_to_messages_the_chat_stays_a_chat(body: dict[str, Any], word: str) -> None:
    def gate(step: Any, history: Any) -> Any:
        if step.kind != "message":
            return (step,)
        return {"drop": (), "storm": (step,) * 3, "alter": (step.with_payload(step.payload),)}[word]

    run = Recorder(Header("law"), interceptors=[gate])
    request = httpx2.Request("POST", "http://h/v1/chat/completions", json=body)
    call = recognise(httpx2, request, unread=False)
    assert call is not None
    left: list[Any] = []

    def send(outgoing: Any) -> Any:
        left.append(json.loads(outgoing.content))
        return httpx2.Response(200, json={}, request=request)

    with agent("solo"):
        run_sync(exchange(run, call), run, send)
    before, after = body["messages"], left[0]["messages"]
    if isinstance(before, list) and before:
        assert after
        answered = [
            m["tool_call_id"]
            for m in before
            if isinstance(m, dict) and m.get("role") == "tool" and "tool_call_id" in m
        ]
        assert answered == [
            m["tool_call_id"]
            for m in after
            if isinstance(m, dict) and m.get("role") == "tool" and "tool_call_id" in m
        ]
