"""Ready-made agents in LangGraph: their names, and agents that are tools of other agents."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, StateGraph
from langgraph.prebuilt import create_react_agent

from masfire.recorder import Recorder
from masfire.trace.payload import pack
from tests.adapters.test_langchain import Scripted, add, call
from tests.support.graphs import State, messages, recording

pytestmark = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")

makers = pytest.mark.parametrize("make", [create_agent, create_react_agent])
both = pytest.mark.parametrize("is_async", [False, True])
QUESTION: Any = {"messages": [HumanMessage("what is 1+2?")]}


def adder(make: Callable[..., Any], **name: Any) -> Any:
    return make(Scripted(script=[call("add", {"a": 1, "b": 2}, "inner"), "it is 3"]), tools=[add], **name)


def as_tool(agent: Any, *, is_async: bool) -> BaseTool:
    @tool
    def ask(question: str) -> str:
        """Ask the agent."""
        return str(agent.invoke({"messages": [HumanMessage(question)]})["messages"][-1].content)

    @tool("ask")
    async def aask(question: str) -> str:
        """Ask the agent."""
        result = await agent.ainvoke({"messages": [HumanMessage(question)]})
        return str(result["messages"][-1].content)

    return aask if is_async else ask


def boss(make: Callable[..., Any], inner: Any, *, is_async: bool = False) -> Any:
    script = [call("ask", {"question": "1+2?"}, "outer"), "the answer is 3"]
    return make(Scripted(script=script), tools=[as_tool(inner, is_async=is_async)], name="boss")


def run(app: Any, is_async: bool, *interceptors: Any) -> tuple[Recorder, str]:
    with recording(*interceptors) as recorder:
        result = asyncio.run(app.ainvoke(QUESTION)) if is_async else app.invoke(QUESTION)
    return recorder, str(result["messages"][-1].content)


@both
@makers
def test_an_agent_has_the_name_it_was_built_with(make: Callable[..., Any], is_async: bool) -> None:
    named, _ = run(adder(make, name="calculator"), is_async)
    assert {step.agent for step in named.steps} == {"user", "calculator"}
    assert messages(named) == [("user", ("calculator",)), ("calculator", ("user",))]
    unnamed, _ = run(adder(make), is_async)
    assert {step.agent for step in unnamed.steps} == {"user", "agent"}


@makers
def test_an_agent_with_a_name_of_its_own_inside_a_node(make: Callable[..., Any]) -> None:
    graph = StateGraph(State)
    graph.add_node("desk", adder(make, name="calculator"))
    graph.add_node("calculator", adder(make, name="calculator"))
    graph.add_edge(START, "desk")
    graph.add_edge("desk", "calculator")
    recorder, _ = run(graph.compile(), False)
    assert {step.agent for step in recorder.steps} == {"user", "desk", "desk/calculator", "calculator"}
    said_by_desk = next(step for step in recorder.steps if step.agent == "desk")
    (made_from,) = said_by_desk.parents
    assert recorder.steps[made_from].value["content"] == "it is 3"


@both
@makers
def test_an_agent_as_a_tool_of_another(make: Callable[..., Any], is_async: bool) -> None:
    recorder, answer = run(boss(make, adder(make, name="adder"), is_async=is_async), is_async)
    assert answer == "the answer is 3"
    assert [(step.agent, step.kind, step.parents) for step in recorder.steps] == [
        ("user", "message", ()),
        ("boss", "model_call", (0,)),
        ("boss", "model_reply", (1,)),
        ("boss", "tool_call", (2,)),
        ("boss/adder", "model_call", (3,)),
        ("boss/adder", "model_reply", (4,)),
        ("boss/adder", "tool_call", (5,)),
        ("boss/adder", "tool_result", (6,)),
        ("boss/adder", "model_call", (3, 5, 7)),
        ("boss/adder", "model_reply", (8,)),
        ("boss", "tool_result", (3, 9)),
        ("boss", "model_call", (0, 2, 10)),
        ("boss", "model_reply", (11,)),
        ("boss", "message", (2, 10, 12)),
    ]


@makers
def test_an_unnamed_agent_in_a_tool_is_called_after_the_tool(make: Callable[..., Any]) -> None:
    recorder, _ = run(boss(make, adder(make)), False)
    assert {step.agent for step in recorder.steps} == {"user", "boss", "boss/ask"}


@both
def test_what_an_inner_agent_is_told_reaches_the_outer_one(is_async: bool) -> None:
    def lie(step: Any, history: Any) -> Any:
        if step.kind == "model_reply" and step.agent == "boss/adder" and not step.value["tool_calls"]:
            return (step.with_payload(pack({**step.value, "content": "it is 4"})),)
        return (step,)

    inner = adder(create_agent, name="adder")
    recorder, _ = run(boss(create_agent, inner, is_async=is_async), is_async, lie)
    told = next(step for step in recorder.steps if step.agent == "boss" and step.kind == "tool_result")
    assert told.value == {"value": "it is 4"}


def test_a_graph_in_a_tool_is_the_reason_for_the_tools_result() -> None:
    team = StateGraph(State)
    team.add_node("lead", lambda s: {"log": ["led"]})
    team.add_node("worker", lambda s: {"messages": [HumanMessage("worked")]})
    team.add_edge(START, "lead")
    team.add_edge("lead", "worker")
    recorder, _ = run(boss(create_agent, team.compile()), False)
    steps = recorder.steps
    inner = [step for step in steps if step.agent.startswith("boss/")]
    assert [(step.agent, step.body.to) for step in inner] == [
        ("boss/lead", ("boss/worker",)),
        ("boss/worker", ("boss",)),
    ]
    (asked,) = [step for step in steps if step.kind == "tool_call"]
    (told,) = [step for step in steps if step.kind == "tool_result"]
    assert inner[0].parents == (asked.step,)
    assert told.parents == (asked.step, inner[0].step, inner[1].step)
