"""The same one-tool system behind every governance adapter, sync and async; models are scripted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypedDict

import openai
from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from masfire.adapters.govern_langchain import middleware
from masfire.adapters.govern_langgraph import govern as govern_graph
from masfire.adapters.govern_openai import govern as govern_client
from masfire.adapters.govern_python import governed
from masfire.governance import Governor
from masfire.session import run as recorded
from tests.support.fake_openai import FakeOpenAI

Ran = list[int]


class _State(TypedDict, total=False):
    amount: int
    answer: str


class _Model(GenericFakeChatModel):
    """A scripted model that asks for one payment and then stops."""

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        """Return itself: it is scripted."""
        return self


def plain(governor: Governor, amount: int) -> Ran:
    """A decorated function."""
    ran: Ran = []

    @governed(governor, agent="clerk")
    def pay(amount: int) -> str:
        ran.append(amount)
        return "paid"

    with governor.run("r"):
        return _caught(lambda: pay(amount), ran)


def plain_async(governor: Governor, amount: int) -> Ran:
    """A decorated coroutine function."""
    ran: Ran = []

    @governed(governor, agent="clerk")
    async def pay(amount: int) -> str:
        ran.append(amount)
        return "paid"

    with governor.run("r"):
        return _caught(lambda: asyncio.run(pay(amount)), ran)


def _paying_tool(ran: Ran) -> Any:
    @tool
    def pay(amount: int) -> str:
        """Pay."""
        ran.append(amount)
        return "paid"

    return pay


def _graph(governor: Governor, ran: Ran) -> Any:
    pay = _paying_tool(ran)

    def clerk(state: _State) -> _State:
        return {"answer": str(pay.invoke({"amount": state["amount"]}))}

    async def later(state: _State) -> _State:
        return {"answer": str(await pay.ainvoke({"amount": state["amount"]}))}

    from langchain_core.runnables import RunnableLambda

    graph = StateGraph(_State)
    graph.add_node("clerk", RunnableLambda(clerk, later))
    graph.add_edge(START, "clerk")
    graph.add_edge("clerk", END)
    return govern_graph(graph.compile(), governor)


def graph(governor: Governor, amount: int) -> Ran:
    """A compiled graph, invoked."""
    ran: Ran = []
    return _caught(lambda: _graph(governor, ran).invoke({"amount": amount}), ran)


def graph_stream(governor: Governor, amount: int) -> Ran:
    """A compiled graph, streamed."""
    ran: Ran = []
    return _caught(lambda: list(_graph(governor, ran).stream({"amount": amount})), ran)


def graph_async(governor: Governor, amount: int) -> Ran:
    """A compiled graph, awaited."""
    ran: Ran = []
    return _caught(lambda: asyncio.run(_graph(governor, ran).ainvoke({"amount": amount})), ran)


def _agent(governor: Governor, amount: int, ran: Ran) -> Any:
    call = {"name": "pay", "args": {"amount": amount}, "id": "call-1"}
    script = iter([AIMessage("", tool_calls=[call]), AIMessage("done")])
    guard = middleware(governor, agent="clerk")
    return create_agent(_Model(messages=script), [_paying_tool(ran)], middleware=[guard])


def agent(governor: Governor, amount: int) -> Ran:
    """A LangChain agent with the middleware, invoked."""
    ran: Ran = []
    return _caught(lambda: _agent(governor, amount, ran).invoke({"messages": [("user", "pay")]}), ran)


def agent_async(governor: Governor, amount: int) -> Ran:
    """A LangChain agent with the middleware, awaited."""
    ran: Ran = []
    asked = {"messages": [("user", "pay")]}
    return _caught(lambda: asyncio.run(_agent(governor, amount, ran).ainvoke(asked)), ran)


def _paying(path: str, body: dict[str, Any]) -> Any:
    return {
        "content": "",
        "tool_calls": [("pay", json.dumps({"amount": int(body["messages"][0]["content"])}))],
    }


def client(governor: Governor, amount: int) -> Ran:
    """An OpenAI client whose caller carries out the tool calls it is handed."""
    ran: Ran = []

    def act(url: str) -> None:
        inner = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        with govern_client(inner, governor, agent="clerk") as asked:
            _carry_out(asked.chat.completions.create(model="m", messages=_words(amount), max_tokens=10), ran)

    with FakeOpenAI(_paying) as server, governor.run("r"):
        return _caught(lambda: act(server.url), ran)


def client_async(governor: Governor, amount: int) -> Ran:
    """An AsyncOpenAI client whose caller carries out the tool calls it is handed."""
    ran: Ran = []

    async def act(url: str) -> None:
        inner = openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        async with govern_client(inner, governor, agent="clerk") as asked:
            reply = await asked.chat.completions.create(model="m", messages=_words(amount), max_tokens=10)
            _carry_out(reply, ran)

    with FakeOpenAI(_paying) as server, governor.run("r"):
        return _caught(lambda: asyncio.run(act(server.url)), ran)


def recording(governor: Governor, amount: int) -> Ran:
    """A recorded run with the governor as interceptor."""
    ran: Ran = []
    pay = _paying_tool(ran)

    def act() -> None:
        from masfire.recorder import agent as acting

        with recorded(interceptors=[governor]), acting("clerk"):
            pay.invoke({"amount": amount})

    return _caught(act, ran)


def recording_async(governor: Governor, amount: int) -> Ran:
    """A recorded run with the governor as interceptor, awaited."""
    ran: Ran = []
    pay = _paying_tool(ran)

    async def act() -> None:
        from masfire.recorder import agent as acting

        with recorded(interceptors=[governor]), acting("clerk"):
            await pay.ainvoke({"amount": amount})

    return _caught(lambda: asyncio.run(act()), ran)


def _words(amount: int) -> Any:
    return [{"role": "user", "content": str(amount)}]


def _carry_out(reply: Any, ran: Ran) -> None:
    for call in reply.choices[0].message.tool_calls:
        ran.append(json.loads(call.function.arguments)["amount"])


def _caught(act: Callable[[], Any], ran: Ran) -> Ran:
    """Return what ran; a refusal may raise, and what raises did not run."""
    try:
        act()
    except (PermissionError, TypeError):  # Blocked, or a check that waits at a sync gate
        return ran
    return ran


SYNC = {made.__name__: made for made in (plain, graph, graph_stream, agent, client, recording)}
ASYNC = {
    made.__name__: made for made in (plain_async, graph_async, agent_async, client_async, recording_async)
}
