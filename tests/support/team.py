"""A planner, an executor and a reviewer on a scripted model, as a LangGraph graph and as plain Python."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import openai
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages

from tests.support.fake_openai import FakeOpenAI, texts_of

TASK = "Reserve exactly 3 brass lamps for Anna in Zurich by Friday."
PLAN = "1. Look up the lamps in the catalogue.\n2. Reserve exactly 3 pieces for Anna.\n3. Confirm to Zurich."
DEED = "The brass lamps are set aside on shelf 42 for pickup."
VERDICT = "The reservation is complete and correct."
ARGS = {"item": "lamp", "pieces": 3}
ROLES = {
    "planner": "You plan the steps of an order.",
    "executor": "You carry out plans with tools.",
    "reviewer": "You review what was done.",
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": text,
            "parameters": {"type": "object", "properties": fields, "required": list(fields)},
        },
    }
    for name, text, fields in (
        ("reserve", "Reserve pieces in stock", {"item": {"type": "string"}, "pieces": {"type": "integer"}}),
        ("release", "Release reserved pieces in stock", {"item": {"type": "string"}}),
        ("send_mail", "Write to a customer", {"to": {"type": "string"}}),
    )
]


def script(path: str, body: dict[str, Any]) -> Any:
    """Answer as the agent whose role is in the system text; the executor also calls a tool."""
    role = agent_of(body)
    if role != "executor":
        return {"planner": PLAN, "reviewer": VERDICT}[role]
    if body.get("tools"):
        return {"content": DEED, "tool_calls": [("reserve", json.dumps(ARGS))]}
    return json.dumps({"tool": "reserve", "args": ARGS}) if "json" in system_of(body) else DEED


def system_of(body: dict[str, Any]) -> str:
    """Return the text of the system message."""
    return next(m["content"] for m in body["messages"] if m["role"] == "system")


def agent_of(body: dict[str, Any]) -> str:
    """Return whose request this is: by the role that its system message begins with."""
    return next(name for name, role in ROLES.items() if system_of(body).startswith(role))


class Team:
    """What each agent asks for and gets, noted by the user's own code.

    `got` holds the messages as the SDK handed them over, by agent. `tools` says how the executor
    calls its tool: `native`, `json` or not at all.
    """

    def __init__(self, server: FakeOpenAI, tools: str = "") -> None:
        self.server, self.tools = server, tools
        self.got: dict[str, list[Any]] = {name: [] for name in ROLES}

    def request(self, name: str, texts: list[str]) -> dict[str, Any]:
        role = ROLES[name] + (" Answer in json." if name == "executor" and self.tools == "json" else "")
        turns = [{"role": "user", "content": text} for text in texts]
        more: dict[str, Any] = {"tools": TOOLS} if name == "executor" and self.tools == "native" else {}
        return {"model": "m", "messages": [{"role": "system", "content": role}, *turns], **more}

    def note(self, name: str, completion: Any) -> str:
        message = completion.choices[0].message
        self.got[name].append(message)
        return message.content or ""

    def requests(self, name: str) -> list[list[str]]:
        """Return the texts of each request that reached the server for an agent."""
        return [texts_of(body) for body in self.server.bodies if agent_of(body) == name]


def plain(team: Team) -> str:
    """Run the team as functions that hand texts to each other."""
    client = openai.OpenAI(base_url=team.server.url, api_key="k", max_retries=0)

    def planner(*texts: str) -> str:
        return team.note("planner", client.chat.completions.create(**team.request("planner", list(texts))))

    def executor(*texts: str) -> str:
        return team.note("executor", client.chat.completions.create(**team.request("executor", list(texts))))

    def reviewer(*texts: str) -> str:
        return team.note("reviewer", client.chat.completions.create(**team.request("reviewer", list(texts))))

    with client:
        plan = planner(TASK)
        deed = executor(plan)
        verdict = reviewer(TASK, plan, deed)
        planner(verdict)
        return verdict


def plain_async(team: Team) -> str:
    """Run the team as coroutines that hand texts to each other."""

    async def go() -> str:
        async with openai.AsyncOpenAI(base_url=team.server.url, api_key="k", max_retries=0) as client:

            async def planner(*texts: str) -> str:
                request = team.request("planner", list(texts))
                return team.note("planner", await client.chat.completions.create(**request))

            async def executor(*texts: str) -> str:
                request = team.request("executor", list(texts))
                return team.note("executor", await client.chat.completions.create(**request))

            async def reviewer(*texts: str) -> str:
                request = team.request("reviewer", list(texts))
                return team.note("reviewer", await client.chat.completions.create(**request))

            plan = await planner(TASK)
            deed = await executor(plan)
            verdict = await reviewer(TASK, plan, deed)
            await planner(verdict)
            return verdict

    return asyncio.run(go())


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


def _texts(state: State) -> list[str]:
    return [str(message.content) for message in state["messages"]]


def graph(team: Team) -> str:
    """Run the team as a LangGraph graph."""
    with openai.OpenAI(base_url=team.server.url, api_key="k", max_retries=0) as client:

        def node(name: str) -> Callable[[State], Any]:
            def act(state: State) -> Any:
                completion = client.chat.completions.create(**team.request(name, _texts(state)))
                return {"messages": [AIMessage(team.note(name, completion), name=name)]}

            return act

        final = _built(node).invoke({"messages": [HumanMessage(TASK)]})
        return str(final["messages"][-1].content)


def graph_async(team: Team) -> str:
    """Run the team as a LangGraph graph of coroutines."""

    async def go() -> str:
        async with openai.AsyncOpenAI(base_url=team.server.url, api_key="k", max_retries=0) as client:

            def node(name: str) -> Callable[[State], Any]:
                async def act(state: State) -> Any:
                    completion = await client.chat.completions.create(**team.request(name, _texts(state)))
                    return {"messages": [AIMessage(team.note(name, completion), name=name)]}

                return act

            final = await _built(node).ainvoke({"messages": [HumanMessage(TASK)]})
            return str(final["messages"][-1].content)

    return asyncio.run(go())


def _built(node: Callable[[str], Any]) -> Any:
    made = StateGraph(State)
    for name in ROLES:
        made.add_node(name, node(name))
    made.add_edge(START, "planner")
    made.add_edge("planner", "executor")
    made.add_edge("executor", "reviewer")
    return made.compile()


WORLDS: dict[str, Callable[[Team], str]] = {
    "graph": graph, "graph_async": graph_async, "plain": plain, "plain_async": plain_async,
}  # fmt: skip
