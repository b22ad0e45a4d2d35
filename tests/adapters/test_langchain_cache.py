"""LangChain's cache of model answers: what it gives is recorded, and faults stay out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import get_llm_cache, set_llm_cache
from langchain_openai import ChatOpenAI

from masfire import session
from masfire.recorder import agent
from masfire.trace.payload import pack
from tests.adapters.test_langchain import Scripted
from tests.support.fake_openai import FakeOpenAI


@pytest.fixture(params=["global", "own"])
def cache(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Yield what to pass to a model as `cache` for it to use a cache (its own, or that of all models)."""
    if request.param == "own":
        yield InMemoryCache()
        return
    before = get_llm_cache()
    set_llm_cache(InMemoryCache())
    yield None
    set_llm_cache(before)


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI() as server:
        yield server


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    running = asyncio.new_event_loop()
    yield running
    running.close()


@pytest.fixture
def model(cache: Any, fake: FakeOpenAI, loop: asyncio.AbstractEventLoop) -> Iterator[ChatOpenAI]:
    chat = ChatOpenAI(model="m", base_url=fake.url, api_key="none", max_retries=0, cache=cache)
    yield chat
    loop.run_until_complete(chat.root_async_client.close())
    chat.root_client.close()


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, loop: asyncio.AbstractEventLoop) -> Callable[[Any], str]:
    def asked(chat: Any) -> str:
        with agent("clerk"):
            if request.param == "sync":
                return str(chat.invoke("how much?").content)
            return str(loop.run_until_complete(chat.ainvoke("how much?")).content)

    return asked


def test_an_answer_from_the_cache_is_recorded(model: ChatOpenAI, fake: FakeOpenAI, ask: Any) -> None:
    with session.run() as run:
        assert [ask(model), ask(model)] == ["echo: how much?"] * 2
    assert len(fake.requests) == 1
    assert [(step.agent, step.kind) for step in run.trace if step.kind.startswith("model_")] == [
        ("clerk", "model_call"), ("clerk", "model_reply"), ("clerk", "model_call"), ("clerk", "model_reply"),
    ]  # fmt: skip
    call, reply = list(run.trace)[-2:]
    assert call.value["messages"] == [{"role": "user", "content": "how much?"}]
    assert (reply.value["content"], reply.body.of, reply.parents) == (
        "echo: how much?",
        call.step,
        (call.step,),
    )


def test_faults_stay_out_of_the_cache_and_strike_despite_it(
    model: ChatOpenAI, fake: FakeOpenAI, ask: Any
) -> None:
    def reword(step: Any, history: Any) -> Any:
        if step.kind != "model_call":
            return (step,)
        body = step.value
        body["messages"][-1]["content"] = "how little?"
        return (step.with_payload(pack(body)),)

    def lie(step: Any, history: Any) -> Any:
        return (
            (step.with_payload(pack({**step.value, "content": "a lie"})),)
            if step.kind == "model_reply"
            else (step,)
        )

    with session.run(interceptors=[lie]):
        assert ask(model) == "a lie"
    assert ask(model) == "echo: how much?"
    with session.run(interceptors=[reword]) as run:
        assert ask(model) == "echo: how little?"
    assert [step.kind for step in run.trace].count("model_call") == 1
    assert ask(model) == "echo: how much?"
    assert len(fake.requests) == 3


def test_a_model_that_never_reaches_http(cache: Any, ask: Any) -> None:
    model = Scripted(script=["one", "two"], asked=[], cache=cache)

    def lie(step: Any, history: Any) -> Any:
        return (
            (step.with_payload(pack({**step.value, "content": "a lie"})),)
            if step.kind == "model_reply"
            else (step,)
        )

    with session.run(interceptors=[lie]) as run:
        assert [ask(model), ask(model)] == ["a lie", "a lie"]
    assert [step.kind for step in run.trace].count("model_reply") == 2
    assert ask(model) == "one"
    assert len(model.asked) == 1
