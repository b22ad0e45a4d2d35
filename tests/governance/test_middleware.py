"""The LangChain middleware end to end, against a server with scripted replies that speaks the OpenAI API."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ToolStrategy
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel

from masfire.adapters.govern_langchain import middleware
from masfire.governance import AgentRules, AuditLog, Blocked, Capability, Governor, Limits, Lineage, Policy
from masfire.governance.audit import read
from tests.support.fake_openai import FakeOpenAI, texts_of

ROOT = Path(__file__).resolve().parents[2]
CLASSES = (("Berlin", "Paris"), ("green chairs", "oak tables"))
MAIL = "Please reserve 12 green chairs for our office in Berlin."
GOOD, BAD = "We reserve 12 green chairs in Berlin.", "We reserve 12 green chairs in Paris."


def policy(**more: Any) -> Policy:
    rules = AgentRules(tools={"*": Capability()}, budget=Limits(steps=40))
    return Policy(agents={"*": rules}, lineage=Lineage(mode="speed", classes=CLASSES, **more))


def asked(server: FakeOpenAI, governor: Governor, how: str = "invoke", **more: Any) -> Any:
    config = more.pop("config", None)
    model = ChatOpenAI(model="m", base_url=server.url, api_key="none", max_retries=0, max_tokens=50)
    agent = create_agent(
        model, more.pop("tools", []), middleware=[middleware(governor, agent="clerk")], **more
    )
    given = {"messages": [HumanMessage(MAIL)]}
    if how == "ainvoke":
        return asyncio.run(agent.ainvoke(given, config))
    if how == "stream":
        return list(agent.stream(given, config, stream_mode="values"))[-1]
    return agent.invoke(given, config)


@pytest.mark.parametrize("how", ["invoke", "ainvoke", "stream"])
def test_a_sender_that_listens_is_asked_once_more_with_the_evidence(how: str) -> None:
    def reply(path: str, body: dict[str, Any]) -> str:
        return GOOD if "Rejected" in texts_of(body)[-1] else BAD

    with FakeOpenAI(reply) as server:
        state = asked(server, Governor(policy()), how)
        assert state["messages"][-1].content == GOOD
        assert len(server.bodies) == 2
        again = texts_of(server.bodies[1])
    assert again[-2] == BAD
    assert "Berlin is confirmed, not Paris" in again[-1]
    assert "Say it again with only what the evidence supports." in again[-1]
    assert BAD not in str(state["messages"])


@pytest.mark.parametrize("how", ["invoke", "ainvoke"])
@pytest.mark.parametrize("retries", [0, 1, 2])
def test_one_that_does_not_listen_is_asked_as_often_as_the_policy_says(
    how: str, retries: int, tmp_path: Any
) -> None:
    with FakeOpenAI(lambda path, body: BAD) as server, AuditLog(tmp_path / "log") as log:
        state = asked(server, Governor(policy(retries=retries), audit=log), how)
        assert len(server.bodies) == 1 + retries
    assert "Paris" not in str(state["messages"])
    rules = [entry.rule for entry, _ in read(tmp_path / "log") if entry.kind == "message" and entry.outcome]
    assert rules == ["lineage:again"] * retries + ["lineage:red"]


def test_each_time_it_is_asked_counts_against_the_budget() -> None:
    rules = AgentRules(budget=Limits(steps=2))
    lineage = Lineage(mode="speed", classes=CLASSES)
    with FakeOpenAI(lambda path, body: BAD) as server:
        with pytest.raises(Blocked, match="steps"):
            asked(server, Governor(Policy(agents={"clerk": rules}, lineage=lineage)))
        assert len(server.bodies) == 2


def test_invocations_without_a_thread_share_nothing_and_leave_nothing() -> None:
    governor = Governor(policy())
    with FakeOpenAI(lambda path, body: GOOD) as server:
        asked(server, governor)
    assert governor.guard is not None
    other = governor.decide(governor.propose("message", "", GOOD, agent="clerk", run="other"))
    assert other.rule == "lineage:yellow"  # nobody told this run
    assert list(governor._states) == ["other"]


def test_calls_are_held_to_what_the_user_said_in_the_same_run() -> None:
    ran: list[str] = []

    @tool
    def ship(city: str) -> str:
        """Ship."""
        ran.append(city)
        return "shipped"

    def reply(path: str, body: dict[str, Any]) -> Any:
        if body["messages"][-1]["role"] == "tool":
            return GOOD
        return {"content": "", "tool_calls": [("ship", '{"city": "Paris"}')]}

    for config in (None, {"configurable": {"thread_id": "t"}}):
        with FakeOpenAI(reply) as server:
            asked(server, Governor(policy(repair=False)), tools=[ship], config=config)
            refused = json.loads(texts_of(server.bodies[1])[-1])
        assert refused["error"]["category"] == "lineage"
    assert ran == []


def test_an_agent_that_is_called_as_a_tool_does_not_hear_the_user() -> None:
    claim = "The supplier Acme closes in August."
    governor = Governor(policy())

    def reply(path: str, body: dict[str, Any]) -> Any:
        if texts_of(body)[-1] == claim:
            return "Noted."
        if body["messages"][-1]["role"] == "tool":
            return claim
        return {"content": "", "tool_calls": [("consult", "{}")]}

    with FakeOpenAI(reply) as server:
        model = ChatOpenAI(model="m", base_url=server.url, api_key="none", max_retries=0)

        @tool
        def consult() -> str:
            """Ask a colleague."""
            inner = create_agent(model, [], middleware=[middleware(governor, agent="colleague")])
            return str(inner.invoke({"messages": [HumanMessage(claim)]})["messages"][-1].content)

        state = asked(server, governor, tools=[consult])
    assert state["messages"][-1].content == f"{claim} [unverified]"


class Order(BaseModel):
    """An order."""

    city: str
    quantity: int


def test_a_structured_answer_is_screened_as_well() -> None:
    def reply(path: str, body: dict[str, Any]) -> Any:
        return {"content": "", "tool_calls": [("Order", '{"city": "Paris", "quantity": 12}')]}

    with FakeOpenAI(reply) as server:
        state = asked(server, Governor(policy()), response_format=ToolStrategy(Order))
    assert state["structured_response"] == Order(city="Berlin", quantity=12)


@pytest.mark.parametrize("way", ["thread", "pool"])
def test_threads_of_a_tool_act_in_the_run_of_its_agent(way: str) -> None:
    code = f"""
import threading
from concurrent.futures import ThreadPoolExecutor
from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from masfire.adapters.govern_langchain import middleware
from masfire.governance import Governor, Policy, allow
from tests.support.governed_systems import _Model

governor = Governor(Policy(agents={{"clerk": allow("look", steps=9), "helper": allow(steps=9)}}))
runs = []

def help():
    runs.append(governor.current_run())
    helper = create_agent(_Model(messages=iter([AIMessage("hi")])), [], middleware=[
        middleware(governor, agent="helper")])
    helper.invoke({{"messages": [("user", "help")]}})
    runs.extend(governor._states)

@tool
def look() -> str:
    "Look."
    runs.append(governor.current_run())
    if {way!r} == "pool":
        with ThreadPoolExecutor() as pool:
            pool.submit(help).result()
    else:
        thread = threading.Thread(target=help)
        thread.start()
        thread.join()
    return "seen"

call = AIMessage("", tool_calls=[{{"name": "look", "args": {{}}, "id": "1"}}])
create_agent(_Model(messages=iter([call, AIMessage("done")])), [look], middleware=[
    middleware(governor, agent="clerk")]).invoke({{"messages": [("user", "go")]}})
print(*runs)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )  # a process of its own: a governed graph would have seen to its threads before
    runs = done.stdout.split()
    assert len(runs) == 3  # the tool's, its thread's, and the only one that is live
    assert len(set(runs)) == 1
