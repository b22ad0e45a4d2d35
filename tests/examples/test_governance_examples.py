"""The governance examples run as shown, sync and async."""

import asyncio
import json
from typing import Any

import openai
import pytest
from langchain_core.messages import AIMessage

from examples.governance import langchain_agent, langgraph_graph, openai_client, own_checks, plain_python
from masfire.governance import Blocked
from tests.support.fake_openai import FakeOpenAI
from tests.support.governed_systems import _Model


def test_plain_python(capsys: pytest.CaptureFixture[str]) -> None:
    plain_python.main()
    out = capsys.readouterr().out
    assert "booked 12" in out
    assert "blocked" in out
    with plain_python.governor.run():
        assert asyncio.run(plain_python.place_order_later(3)) == "booked 3"
        with pytest.raises(Blocked, match="beyond 60"):
            asyncio.run(plain_python.place_order_later(61))
    with pytest.raises(Blocked, match="No run is open"):
        plain_python.place_order(3)


def test_own_checks(capsys: pytest.CaptureFixture[str]) -> None:
    own_checks.main()
    out = capsys.readouterr().out
    assert "booked 24 from Bolt" in out
    assert "blocked by check:by_the_dozen: Acme is closed in August." in out
    assert own_checks.booked == [24]


def test_langgraph(capsys: pytest.CaptureFixture[str]) -> None:
    langgraph_graph.main()
    assert "blocked" in capsys.readouterr().out
    system: Any = langgraph_graph.build(langgraph_graph.clerk_later)
    assert asyncio.run(system.ainvoke({"quantity": 4}))["answer"] == "booked 4"
    with pytest.raises(Blocked):
        asyncio.run(system.ainvoke({"quantity": 5_000}))


def script(*amounts: int) -> Any:
    calls = [
        AIMessage("", tool_calls=[{"name": "place_order", "args": {"quantity": amount}, "id": f"c{amount}"}])
        for amount in amounts
    ]
    return _Model(messages=iter([*calls, AIMessage("done")]))


def test_langchain() -> None:
    langchain_agent.booked.clear()
    agent = langchain_agent.build(script(12, 5_000))
    messages = agent.invoke({"messages": [("user", "order")]})["messages"]
    assert langchain_agent.booked == [12]
    refused = next(message for message in messages if getattr(message, "status", "") == "error")
    error = json.loads(refused.content)["error"]
    assert set(error) == {"category", "message", "retryable", "retry_after_ms", "suggested_action"}
    asyncio.run(langchain_agent.build(script(7)).ainvoke({"messages": [("user", "order")]}))
    assert langchain_agent.booked == [12, 7]


def answer(path: str, body: dict[str, Any]) -> Any:
    amount = 12 if "twelve" in body["messages"][0]["content"] else 5_000
    return {"content": "", "tool_calls": [("place_order", json.dumps({"quantity": amount}))]}


def test_openai() -> None:
    def ask(text: str) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": text}], "max_tokens": 50}

    with FakeOpenAI(answer) as server, openai_client.governor.run():
        client = openai_client.build(openai.OpenAI(base_url=server.url, api_key="none", max_retries=0))
        reply = client.chat.completions.create(**ask("Order twelve."))
        assert json.loads(reply.choices[0].message.tool_calls[0].function.arguments) == {"quantity": 12}
        for refused in (
            lambda: client.chat.completions.create(**ask("Order a lot.")),
            lambda: client.chat.completions.create(**ask("Order twelve."), stream=True),
            lambda: client.embeddings,
            lambda: client.with_raw_response,
        ):
            with pytest.raises(Blocked):
                refused()
        sent = len(server.requests)

        async def later() -> Any:
            inner = openai.AsyncOpenAI(base_url=server.url, api_key="none", max_retries=0)
            async with openai_client.build(inner) as asked:
                await asked.chat.completions.create(**ask("Order twelve."))
                with pytest.raises(Blocked):
                    await asked.chat.completions.create(**ask("Order a lot."))

        asyncio.run(later())
        assert len(server.requests) == sent + 2
