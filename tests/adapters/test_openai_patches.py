"""The patches themselves: put back exactly, lazy, inert without a run, whatever client is used."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread
import subprocess
import sys
import threading
from typing import Any

import httpx
import httpx2
import openai
import openai._base_client
import pytest

from masfire.recorder import agent
from masfire.session import run
from masfire.trace.payload import pack
from tests.support.fake_openai import FakeOpenAI, texts_of

PLACES = [
    (httpx.Client, "send"),
    (httpx.AsyncClient, "send"),
    (httpx2.Client, "send"),
    (httpx2.AsyncClient, "send"),
    (openai._base_client.SyncAPIClient, "request"),
    (openai._base_client.AsyncAPIClient, "request"),
    (concurrent.futures.thread.ThreadPoolExecutor, "submit"),
    (threading.Thread, "start"),
]
MESSAGES: Any = [{"role": "user", "content": "a question nobody asked"}]


def test_every_attribute_is_put_back() -> None:
    before = [vars(owner)[name] for owner, name in PLACES]
    with run():
        inside = [vars(owner)[name] for owner, name in PLACES]
        with run():
            pass
        assert [vars(owner)[name] for owner, name in PLACES] == inside
    assert all(a is not b for a, b in zip(before, inside, strict=True))
    assert all(vars(owner)[name] is old for (owner, name), old in zip(PLACES, before, strict=True))


def test_put_back_after_an_error() -> None:
    before = [vars(owner)[name] for owner, name in PLACES]
    with pytest.raises(ZeroDivisionError), run():
        raise ZeroDivisionError
    assert all(vars(owner)[name] is old for (owner, name), old in zip(PLACES, before, strict=True))


def test_nothing_heavy_is_imported_and_late_imports_are_caught() -> None:
    code = """
import sys
from masfire.session import run
from masfire.trace.payload import pack
with run() as r:
    heavy = {"httpx", "httpx2", "openai", "langgraph", "langchain_core", "numpy", "pydantic"}
    assert not heavy & set(sys.modules), heavy & set(sys.modules)
    import httpx2, httpx
    assert "adapters" in httpx2.Client.send.__code__.co_filename
    assert "adapters" in httpx.AsyncClient.send.__code__.co_filename
assert "adapters" not in httpx2.Client.send.__code__.co_filename
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_without_a_run_nothing_is_touched() -> None:
    with FakeOpenAI() as server, openai.OpenAI(base_url=server.url, api_key="k") as client:
        with run() as r:
            client.chat.completions.create(model="m", messages=MESSAGES)
        recorded = len(r.trace)
        client.chat.completions.create(model="m", messages=MESSAGES)
        assert len(r.trace) == recorded
        assert server.bodies[0] == server.bodies[1]


def test_a_users_own_transport_is_recorded() -> None:
    with FakeOpenAI() as server:
        body = server.chat({"model": "m"}, {"content": "from the transport"})

    def handle(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, json=body)

    http_client = httpx2.Client(transport=httpx2.MockTransport(handle))
    with (
        run() as r,
        openai.OpenAI(base_url="http://nowhere/v1", api_key="k", http_client=http_client) as client,
    ):
        with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES) as response:
            assert response.parse().choices[0].message.content == "from the transport"
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert [s.value["content"] for s in r.trace if s.kind == "model_reply"] == ["from the transport"] * 2


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_raw_http_clients_of_both_libraries(library: Any) -> None:
    body = {"model": "m", "messages": MESSAGES}
    with FakeOpenAI() as server, run() as r, library.Client() as client:
        answer = client.post(f"{server.url}/chat/completions", json=body)
        assert answer.json()["choices"][0]["message"]["content"] == "echo: a question nobody asked"
        assert client.get(f"{server.url}/models").status_code == 200
    assert [s.kind for s in r.trace] == ["message", "model_call", "model_reply"]


def test_one_async_client_over_several_loops() -> None:
    with FakeOpenAI() as server:
        limits = httpx2.Limits(max_keepalive_connections=0)
        client = openai.AsyncOpenAI(
            base_url=server.url, api_key="k", http_client=httpx2.AsyncClient(limits=limits)
        )

        async def go(name: str) -> None:
            with agent(name):
                await client.chat.completions.create(model="m", messages=MESSAGES)

        with run() as r:
            asyncio.run(go("first"))
            asyncio.run(go("second"))
            asyncio.run(client.close())
    assert [s.agent for s in r.trace if s.kind == "model_call"] == ["first", "second"]


def test_two_runs_in_parallel_keep_their_calls_apart() -> None:
    with FakeOpenAI() as server:

        async def one(name: str, client: openai.AsyncOpenAI) -> list[str]:
            with run() as r, agent(name):
                for turn in range(3):
                    messages: Any = [{"role": "user", "content": f"{name} asks for turn {turn}"}]
                    await client.chat.completions.create(model="m", messages=messages)
                    await asyncio.sleep(0.001)
            return [str(texts_of(r.trace.request(s.step))) for s in r.trace if s.kind == "model_call"]

        async def both() -> list[list[str]]:
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
                return list(await asyncio.gather(one("anna", client), one("bert", client)))

        anna, bert = asyncio.run(both())
    assert len(anna) == len(bert) == 3
    assert all("anna" in text for text in anna)
    assert all("bert" in text for text in bert)


class Door:
    """A model door that changes the seed and answers the second time from memory."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.counts: list[tuple[str, int]] = []

    def prepare(self, body: dict[str, Any], *, agent: str, count: int) -> bool:
        self.counts.append((agent, count))
        body["seed"] = 7
        return True

    def answer(self, url: str, body: dict[str, Any]) -> tuple[bytes, str] | None:
        reply = self.kept.get(repr(sorted(body.items())))
        return None if reply is None else (reply, "cache")

    def keep(self, url: str, body: dict[str, Any], reply: bytes) -> None:
        self.kept[repr(sorted(body.items()))] = reply


@pytest.mark.parametrize("first_streamed", [False, True])
@pytest.mark.parametrize("second_streamed", [False, True])
def test_the_model_door_settles_sampling_and_answers_from_memory(
    first_streamed: bool, second_streamed: bool
) -> None:
    door = Door()

    def ask(client: openai.OpenAI, streamed: bool) -> str:
        if not streamed:
            return (
                client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content or ""
            )
        with client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as chunks:
            return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

    with FakeOpenAI() as server, openai.OpenAI(base_url=server.url, api_key="k") as client:
        with run(door=door) as r, agent("solo"):
            texts = [ask(client, first_streamed), ask(client, second_streamed)]
        assert len(server.requests) == 1
        assert server.bodies[0]["seed"] == 7
    assert texts == ["echo: a question nobody asked"] * 2
    assert door.counts == [("solo", 0), ("solo", 1)]
    assert [s.body.draw.source for s in r.trace if s.kind == "model_reply"] == ["live", "cache"]


def test_a_doors_error_is_an_error() -> None:
    class Full(Door):
        def answer(self, url: str, body: dict[str, Any]) -> tuple[bytes, str] | None:
            return b'{"error": {"code": 400, "message": "the context size is exceeded"}}', "stub"

    client = openai.OpenAI(base_url="http://127.0.0.1:9/v1", api_key="k")
    with client, pytest.raises(openai.BadRequestError, match="context size"), run(door=Full()) as r:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert r.trace.end is not None
    assert r.trace.end.status == "overflow"


@pytest.mark.parametrize("waiting", [False, True])
def test_a_model_that_an_interceptor_asks_is_no_agents_call(waiting: bool) -> None:
    def handler(path: str, body: dict[str, Any]) -> str:
        return f"about {texts_of(body)[-1]}"

    with FakeOpenAI(handler) as server:
        sync_client = openai.OpenAI(base_url=server.url, api_key="k")

        def mutate(step: Any, history: Any) -> Any:
            if step.kind != "message":
                return (step,)
            question: Any = [{"role": "user", "content": "rewrite the task"}]
            answer = sync_client.chat.completions.create(model="m", messages=question)
            return (step.with_payload(pack(answer.choices[0].message.content)),)

        async def amutate(step: Any) -> Any:
            question: Any = [{"role": "user", "content": "rewrite the task"}]
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
                answer = await client.chat.completions.create(model="m", messages=question)
            return (step.with_payload(pack(answer.choices[0].message.content)),)

        async def go() -> str | None:
            async with openai.AsyncOpenAI(base_url=server.url, api_key="k") as client:
                reply = await client.chat.completions.create(model="m", messages=MESSAGES)
            return reply.choices[0].message.content

        def gate(step: Any, history: Any) -> Any:
            return amutate(step) if step.kind == "message" else (step,)

        with sync_client, run(interceptors=[gate if waiting else mutate]) as r:
            assert asyncio.run(go()) == "about about rewrite the task"
    assert [s.kind for s in r.trace] == ["message", "model_call", "model_reply"]
    assert len(server.requests) == 2
