"""Graphs built by langgraph-supervisor and langgraph-swarm, unchanged, recorded and broken."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_supervisor import create_supervisor
from langgraph_swarm import create_handoff_tool, create_swarm

from masfire import session
from masfire.faults.injector import Knowledge
from masfire.trace.model import Message, Trace
from tests.support.fake_openai import FakeOpenAI, texts_of

# langgraph-supervisor itself still builds on the function that LangGraph deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")

TASK = "How many apples do we have? Write to the customer."


@tool
def stock(item: str) -> str:
    """Say how many of an item are in the warehouse."""
    return f"there are 12 {item} in the warehouse"


def office(path: str, body: dict[str, Any]) -> Any:
    first = body["messages"][0]
    system = first["content"] if first["role"] == "system" else ""
    text = " ".join(texts_of(body))
    if "desk clerk" in system:
        if "in the warehouse" in text:
            return "The clerk found twelve apples in the warehouse."
        return {"content": "", "tool_calls": [("stock", '{"item": "apples"}')]}
    if "letter writer" in system:
        return "Dear customer, we have twelve apples for you."
    if "Alice" in system:
        return {"content": "", "tool_calls": [("transfer_to_bob", "{}")]}
    if "Bob" in system:
        return "This is Bob, at your service."
    if "Dear customer" in text:
        return "Final answer: twelve apples are available."
    if "The clerk found" in text:
        return {"content": "", "tool_calls": [("transfer_to_writer", "{}")]}
    return {"content": "", "tool_calls": [("transfer_to_clerk", "{}")]}


@pytest.fixture
def fake() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(office) as server:
        yield server


def model(fake: FakeOpenAI) -> ChatOpenAI:
    return ChatOpenAI(model="m", base_url=fake.url, api_key="none", max_retries=0)


def supervisor(fake: FakeOpenAI) -> Any:
    clerk = create_agent(model(fake), tools=[stock], system_prompt="You are a desk clerk.", name="clerk")
    writer = create_agent(model(fake), tools=[], system_prompt="You are a letter writer.", name="writer")
    graph = create_supervisor(
        [clerk, writer], model=model(fake), supervisor_name="supervisor", prompt="You lead."
    )
    return graph.compile()


def spoken(trace: Trace) -> list[tuple[str, tuple[str, ...]]]:
    return [(step.agent, step.body.to) for step in trace if isinstance(step.body, Message)]


def ask(app: Any, *, is_async: bool = False, config: Any = None, text: str = TASK) -> str:
    question = {"messages": [("user", text)]}
    result = asyncio.run(app.ainvoke(question, config)) if is_async else app.invoke(question, config)
    return str(result["messages"][-1].content)


FAULT_FREE = [
    ("user", ("supervisor",)),
    ("supervisor", ("clerk",)),
    ("clerk", ("supervisor",)),
    ("supervisor", ("writer",)),
    ("writer", ("supervisor",)),
    ("supervisor", ("user",)),
]


@pytest.mark.parametrize("is_async", [False, True])
def test_supervisor_is_recorded(fake: FakeOpenAI, is_async: bool) -> None:
    with session.run(task=TASK) as run:
        answer = ask(supervisor(fake), is_async=is_async)
    assert answer == "Final answer: twelve apples are available."
    assert spoken(run.trace) == FAULT_FREE
    steps = run.trace.steps
    tools = [(step.agent, step.body.name) for step in steps if step.kind == "tool_call"]
    assert tools == [
        ("supervisor", "transfer_to_clerk"), ("clerk", "stock"), ("supervisor", "transfer_to_writer"),
    ]  # fmt: skip
    assert [step.agent for step in steps if step.kind == "model_call"] == [
        "supervisor", "clerk", "clerk", "supervisor", "writer", "supervisor",
    ]  # fmt: skip
    for step in steps:
        assert all(parent < step.step for parent in step.parents)
        assert step.parents or step.agent == "user"


EXPECTED = {
    "message_storm@clerk?copies=5": [*FAULT_FREE[:2], *[FAULT_FREE[2]] * 5, *FAULT_FREE[3:]],
    "message_cycle@clerk": [*FAULT_FREE[:2], ("clerk", ("clerk",)), *FAULT_FREE[2:]],
    "hallucination@writer": FAULT_FREE,
    "parameter_filling_error@clerk": FAULT_FREE,
    "memory_loss@clerk": FAULT_FREE,
    "blind_trust@writer": FAULT_FREE,
}


@pytest.mark.parametrize("address", EXPECTED)
def test_supervisor_is_broken(fake: FakeOpenAI, address: str) -> None:
    with session.run(task=TASK) as control:
        ask(supervisor(fake))
    with session.run([address], knowledge=Knowledge.from_trace(control.trace), task=TASK) as run:
        ask(supervisor(fake))
    run.require_witnessed()
    assert spoken(run.trace) == EXPECTED[address]


def test_a_broadcast_wakes_whoever_was_not_asked(fake: FakeOpenAI) -> None:
    with session.run(task=TASK) as control:
        ask(supervisor(fake))
    knowledge = Knowledge.from_trace(control.trace)
    with session.run(["message_broadcast_amplification@clerk"], knowledge=knowledge, task=TASK) as run:
        ask(supervisor(fake))
    run.require_witnessed()
    assert ("clerk", ("supervisor", "writer")) in spoken(run.trace)
    assert [agent for agent, _ in spoken(run.trace)].count("writer") == 2


@pytest.mark.parametrize("is_async", [False, True])
def test_swarm_is_recorded_and_its_handoff_redirected(fake: FakeOpenAI, is_async: bool) -> None:
    to_bob, to_alice = create_handoff_tool(agent_name="Bob"), create_handoff_tool(agent_name="Alice")
    alice = create_agent(model(fake), tools=[to_bob], system_prompt="You are Alice.", name="Alice")
    bob = create_agent(model(fake), tools=[to_alice], system_prompt="You are Bob.", name="Bob")
    app = create_swarm([alice, bob], default_active_agent="Alice").compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}

    async def talk() -> list[str]:
        said = []
        for text in ("let me talk to Bob, please", "and now once more"):
            question: Any = {"messages": [("user", text)]}
            result = await app.ainvoke(question, config) if is_async else app.invoke(question, config)
            said.append(str(result["messages"][-1].content))
        return said

    with session.run() as run:
        assert asyncio.run(talk()) == ["This is Bob, at your service."] * 2
    assert spoken(run.trace) == [
        ("user", ("Alice",)), ("Alice", ("Bob",)), ("Bob", ("user",)), ("user", ("Bob",)), ("Bob", ("user",)),
    ]  # fmt: skip
    with session.run(["message_cycle@Alice"]) as broken:
        ask(app, config={"configurable": {"thread_id": "2"}}, text="let me talk to Bob, please")
    broken.require_witnessed()
    assert spoken(broken.trace)[:3] == [("user", ("Alice",)), ("Alice", ("Alice",)), ("Alice", ("Bob",))]
