"""Every way to call the openai SDK, recorded, rewritten, refused: sync and async, real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import openai
import pydantic
import pytest

from masfire.errors import BudgetExceeded
from masfire.recorder import Budget, agent
from masfire.session import run
from masfire.trace.payload import pack
from tests.support.fake_openai import FakeOpenAI
from tests.support.openai_styles import (
    CHAT,
    RESPONSES,
    STYLES,
    ask,
    async_create,
    async_responses_stream,
    async_stream,
    rewrite_prompt,
    rewrite_reply,
    sync_create,
    sync_stream,
)


class Answer(pydantic.BaseModel):
    word: str


@pytest.fixture
def server() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as fake:
        yield fake


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_every_style_is_recorded_and_undisturbed(style: Any, server: FakeOpenAI) -> None:
    with run() as r, agent("solo"):
        assert ask(style, server.url) == "echo: ORIGINAL"
    kinds = [(step.agent, step.kind) for step in r.trace]
    assert kinds == [("user", "message"), ("solo", "model_call"), ("solo", "model_reply")]
    call, reply = r.trace[1], r.trace[2]
    assert r.trace.request(1) == server.bodies[0]
    assert call.parents == (0,)
    assert reply.parents == (1,)
    assert reply.body.of == 1
    assert reply.value == {"content": "echo: ORIGINAL", "tool_calls": [], "finish_reason": "stop"}
    draw = reply.body.draw
    assert draw.source == "live"
    assert len(draw.request) == 64
    if "stream" not in style.__name__ or "responses" in style.__name__:
        assert (draw.tokens_in, draw.tokens_out) == (10, 5)


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_an_altered_prompt_is_what_the_server_gets(style: Any, server: FakeOpenAI) -> None:
    with run(interceptors=[rewrite_prompt]) as r:
        assert ask(style, server.url) == "echo: ALTERED"
    assert "ORIGINAL" not in json.dumps(server.bodies)
    call = next(step for step in r.trace if step.kind == "model_call")
    assert r.trace.request(call.step) == server.bodies[0]


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_an_altered_reply_is_what_the_caller_gets(style: Any, server: FakeOpenAI) -> None:
    with run(interceptors=[rewrite_reply]) as r:
        assert ask(style, server.url) == "REPLACED"
    assert r.trace[-1].value["content"] == "REPLACED"


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_a_server_error_is_recorded_and_raised(style: Any, server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"status": 429, "error": {"message": "slow down"}}
    with run() as r, pytest.raises(openai.RateLimitError, match="slow down"):
        ask(style, server.url)
    reply = r.trace[-1]
    assert reply.kind == "model_reply"
    assert not reply.body.ok
    assert reply.value["error"]["status"] == 429
    assert reply.value["error"]["message"] == "slow down"


@pytest.mark.parametrize("style", STYLES, ids=lambda s: s.__name__)
def test_a_used_up_budget_stops_at_once_and_keeps_its_name(style: Any, server: FakeOpenAI) -> None:
    with pytest.raises(BudgetExceeded), run(budget=Budget(calls=1)) as r:  # noqa: PT012
        ask(style, server.url)
        ask(style, server.url, max_retries=2)
    assert r.trace.end.status == "budget"
    assert len(server.requests) == 1


@pytest.mark.parametrize("style", [sync_create, async_stream], ids=lambda s: s.__name__)
def test_a_withheld_call_is_refused_without_a_request(style: Any, server: FakeOpenAI) -> None:
    def withhold(step: Any, history: Any) -> Any:
        return () if step.kind == "model_call" else (step,)

    with run(interceptors=[withhold]), pytest.raises(openai.PermissionDeniedError, match="withheld"):
        ask(style, server.url, max_retries=2)
    assert server.requests == []


@pytest.mark.parametrize("style", [sync_create, async_create, sync_stream], ids=lambda s: s.__name__)
def test_an_injected_error_reaches_the_caller_as_one(style: Any, server: FakeOpenAI) -> None:
    def fail(step: Any, history: Any) -> Any:
        if step.kind != "model_reply":
            return (step,)
        error = pack({"error": {"status": 503, "message": "injected outage"}})
        return (
            msgspec.structs.replace(step, body=msgspec.structs.replace(step.body, ok=False, outcome=error)),
        )

    with run(interceptors=[fail]), pytest.raises(openai.InternalServerError, match="injected outage"):
        ask(style, server.url, max_retries=2)
    assert len(server.requests) == 1


def test_a_lost_connection_is_recorded_and_raised(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"hang_up": True}
    with run() as r, pytest.raises(openai.APIConnectionError):
        ask(sync_create, server.url)
    assert r.trace[-1].value["error"]["type"] == "RemoteProtocolError"
    assert not r.trace[-1].body.ok


def test_retries_of_the_sdk_are_attempts_of_one_call(server: FakeOpenAI) -> None:
    replies = iter([{"status": 500, "headers": {"retry-after-ms": "1"}}, {"content": "at last"}])
    server.handler = lambda path, body: next(replies)
    with run() as r:
        assert ask(sync_create, server.url, max_retries=2) == "at last"
    draws = [step.body.draw.attempt for step in r.trace if step.kind == "model_reply"]
    assert draws == [0, 1]
    assert [step.kind for step in r.trace].count("message") == 1


@pytest.mark.parametrize("watching", [False, True])
@pytest.mark.parametrize(
    "style", [sync_create, sync_stream, async_stream, async_responses_stream], ids=lambda s: s.__name__
)
def test_compressed_and_chopped_replies(style: Any, watching: bool, server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"content": "a compressed word", "gzip": True, "chunk": 7}
    with run(interceptors=[lambda step, history: (step,)] if watching else []) as r:
        assert ask(style, server.url) == "a compressed word"
    assert r.trace[-1].value["content"] == "a compressed word"


@pytest.mark.parametrize("altered", [False, True])
@pytest.mark.parametrize("style", ["chat", "chat_stream", "responses", "responses_stream"])
def test_tool_calls_keep_their_shape(style: str, altered: bool, server: FakeOpenAI) -> None:
    def handler(path: str, body: Any) -> Any:
        return {"content": None, "tool_calls": [("stock", '{"item": "lamp"}'), ("price", "{}")]}

    def change(step: Any, history: Any) -> Any:
        if step.kind != "model_reply" or not altered:
            return (step,)
        value = step.value
        value["tool_calls"][0]["arguments"] = '{"item": "chair"}'
        return (step.with_payload(pack(value)),)

    server.handler = handler
    with run(interceptors=[change]) as r, openai.OpenAI(base_url=server.url, api_key="k") as client:
        if style == "chat":
            calls = client.chat.completions.create(**CHAT).choices[0].message.tool_calls
            got = [(call.id, call.function.name, call.function.arguments) for call in calls]
        elif style == "chat_stream":
            with client.chat.completions.stream(**CHAT) as events:
                calls = events.get_final_completion().choices[0].message.tool_calls
            got = [(call.id, call.function.name, call.function.arguments) for call in calls]
        elif style == "responses":
            got = [(i.call_id, i.name, i.arguments) for i in client.responses.create(**RESPONSES).output]
        else:
            with client.responses.stream(**RESPONSES) as events:
                output = events.get_final_response().output
            got = [(item.call_id, item.name, item.arguments) for item in output]
    item = '{"item": "chair"}' if altered else '{"item": "lamp"}'
    assert [(name, arguments) for _, name, arguments in got] == [("stock", item), ("price", "{}")]
    recorded = r.trace[-1].value
    assert recorded["finish_reason"] == "tool_calls"
    assert [(c["id"], c["name"], c["arguments"]) for c in recorded["tool_calls"]] == got


def test_parse_reads_an_altered_reply(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: '{"word": "lamp"}'

    def change(step: Any, history: Any) -> Any:
        if step.kind != "model_reply":
            return (step,)
        return (step.with_payload(pack({**step.value, "content": '{"word": "chair"}'})),)

    with run(interceptors=[change]), openai.OpenAI(base_url=server.url, api_key="k") as client:
        parsed = client.chat.completions.parse(**CHAT, response_format=Answer)
        assert parsed.choices[0].message.parsed == Answer(word="chair")
        answer = client.responses.parse(**RESPONSES, text_format=Answer)
        assert answer.output_parsed == Answer(word="chair")


def test_an_altered_reply_keeps_what_the_provider_said_beside_it(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"content": "x", "extra": {"provider_field": {"deep": [1, 2]}}}
    with run(interceptors=[rewrite_reply]), openai.OpenAI(base_url=server.url, api_key="k") as client:
        completion = client.chat.completions.create(**CHAT)
    assert completion.model_extra["provider_field"] == {"deep": [1, 2]}
    assert completion.system_fingerprint == "fp_fake"
    assert completion.usage.prompt_tokens == 10


def test_a_stream_is_recorded_though_the_client_stops_at_its_end_marker(server: FakeOpenAI) -> None:
    with run() as r, openai.OpenAI(base_url=server.url, api_key="k") as client:
        raw = client.chat.completions.with_streaming_response.create(**CHAT, stream=True)
        with raw as response:
            for line in response.iter_lines():
                if line == "data: [DONE]":  # and never asks for more
                    assert r.trace[-1].kind == "model_reply"
                    break
    assert r.trace[-1].value["content"] == "echo: ORIGINAL"


def test_a_stream_left_early_is_recorded_as_broken_off(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"content": "word " * 5_000, "chunk": 4096}  # no one read takes it
    with run() as r, openai.OpenAI(base_url=server.url, api_key="k") as client:
        events = client.responses.create(**RESPONSES, stream=True)
        next(iter(events))
        events.close()
    assert r.trace[-1].kind == "model_reply"
    assert not r.trace[-1].body.ok


def test_a_context_overflow_is_an_ending_of_its_own(server: FakeOpenAI) -> None:
    error = {
        "message": "request (9000 tokens) exceeds the available context size",
        "type": "exceed_context_size_error",
    }
    server.handler = lambda path, body: {"status": 400, "error": error}
    with pytest.raises(openai.BadRequestError), run() as r:
        ask(sync_create, server.url)
    assert r.trace.end.status == "overflow"


def test_embeddings_and_listings_pass_unrecorded(server: FakeOpenAI) -> None:
    item = {"object": "embedding", "index": 0, "embedding": [0.5]}
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    page = json.dumps({"object": "list", "data": [item], "model": "m", "usage": usage}).encode()
    server.handler = lambda path, body: {"raw": page}
    with run() as r, openai.OpenAI(base_url=server.url, api_key="k") as client:
        client.embeddings.create(model="m", input="hello", encoding_format="float")
        client.models.list()
    assert len(r.trace) == 0
    assert [path for path, _ in server.requests] == ["/v1/embeddings", "/v1/models"]


def test_strange_bodies_neither_crash_nor_change(server: FakeOpenAI) -> None:
    server.handler = lambda path, body: {"raw": b"not json at all"}
    with run() as r, openai.OpenAI(base_url=server.url, api_key="k", max_retries=0) as client:
        raw = client.chat.completions.with_raw_response.create(**CHAT)
        assert raw.text == "not json at all"
    assert not r.trace[-1].body.ok
