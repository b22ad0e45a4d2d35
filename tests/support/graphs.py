"""Small LangGraph graphs without models, and interceptors that do to messages what faults do."""

from __future__ import annotations

import asyncio
import contextlib
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any, TypedDict

import msgspec
from langchain_core.messages import AIMessage, AnyMessage, HumanMessage
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send

from masfire.adapters import langchain, langgraph
from masfire.adapters.patching import Patches
from masfire.recorder import Budget, Recorder, activate
from masfire.trace.model import Header, Message, Step
from masfire.trace.payload import pack

PATCHES = Patches(langgraph.PATCHES + langchain.PATCHES)


class State(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]
    log: Annotated[list[str], operator.add]


def said(state: Any) -> list[str]:
    return [message.content for message in state["messages"]]


def node(name: str, *, is_async: bool = False) -> Callable[..., Any]:
    def speak(state: State) -> dict[str, Any]:
        return {
            "messages": [AIMessage(f"{name}-says", name=name)],
            "log": [f"{name}<{','.join(said(state))}"],
        }

    async def aspeak(state: State) -> dict[str, Any]:
        await asyncio.sleep(0)
        return speak(state)

    return aspeak if is_async else speak


def linear(is_async: bool) -> Any:
    graph = StateGraph(State)
    for name in "ABCD":
        graph.add_node(name, node(name, is_async=is_async))
    graph.add_edge(START, "A")
    graph.add_edge("A", "B")
    graph.add_edge("B", "C")
    return graph


def conditional(is_async: bool) -> Any:
    graph = StateGraph(State)
    for name in "ABC":
        graph.add_node(name, node(name, is_async=is_async))
    graph.add_edge(START, "A")
    graph.add_conditional_edges("A", lambda s: "C" if "go-C" in said(s)[-1] else "B", ["B", "C"])
    return graph


def fan(is_async: bool) -> Any:
    graph = StateGraph(State)
    for name in "ABCD":
        graph.add_node(name, node(name, is_async=is_async))
    graph.add_edge(START, "A")
    graph.add_edge("A", "B")
    graph.add_edge("A", "C")
    graph.add_edge(["B", "C"], "D")
    return graph


def goto(is_async: bool) -> Any:
    graph = StateGraph(State)

    def first(state: State) -> Command[str]:
        update = {"messages": [AIMessage("A-says", name="A")], "log": [f"A<{','.join(said(state))}"]}
        return Command(goto="B", update=update)

    async def afirst(state: State) -> Command[str]:
        return first(state)

    graph.add_node("A", afirst if is_async else first, destinations=("B", "C"))
    for name in "BC":
        graph.add_node(name, node(name, is_async=is_async))
    graph.add_edge(START, "A")
    return graph


def send(is_async: bool) -> Any:
    graph = StateGraph(State)
    for name in "ABC":
        graph.add_node(name, node(name, is_async=is_async))
    graph.add_edge(START, "A")
    jobs = [Send("B", {"messages": [HumanMessage(f"job{i}")], "log": []}) for i in range(2)]
    graph.add_conditional_edges("A", lambda s: jobs, ["B"])
    graph.add_edge("B", "C")
    return graph


GRAPHS: dict[str, Callable[[bool], Any]] = {
    "linear": linear, "conditional": conditional, "fan": fan, "goto": goto, "send": send,
}  # fmt: skip

Plan = Callable[[Step, Sequence[Step]], Sequence[Step]]


def on(agent: str, change: Callable[[Step, Message], Sequence[Step]], *, times: int = 10**9) -> Plan:
    """Return an interceptor that changes the first `times` messages of `agent`."""
    left = [times]

    def interceptor(step: Step, history: Sequence[Step]) -> Sequence[Step]:
        body = step.body
        if isinstance(body, Message) and step.agent == agent and left[0]:
            left[0] -= 1
            return change(step, body)
        return (step,)

    return interceptor


def to(step: Step, *recipients: str) -> Step:
    return msgspec.structs.replace(step, body=msgspec.structs.replace(step.body, to=recipients))


def with_text(step: Step, text: str) -> Step:
    content = step.value
    content["messages"] = [{**message, "content": text} for message in content.get("messages", [])]
    return step.with_payload(pack(content))


PLANS: dict[str, Callable[[], Plan]] = {
    "nothing": lambda: on("A", lambda s, m: (s,)),
    "drop": lambda: on("A", lambda s, m: ()),
    "nobody": lambda: on("A", lambda s, m: (to(s),)),
    "redirect": lambda: on("A", lambda s, m: (to(s, "C"),)),
    "duplicate": lambda: on("A", lambda s, m: (s, s)),
    "storm": lambda: on("A", lambda s, m: (s,) * 20),
    "broadcast": lambda: on("A", lambda s, m: (to(s, *dict.fromkeys((*m.to, "B", "C", "D"))),)),
    "echo": lambda: on("A", lambda s, m: (to(s, "A"),), times=1),
    "rewrite": lambda: on("A", lambda s, m: (with_text(s, "changed"),)),
    "task": lambda: on("user", lambda s, m: (with_text(s, "other task"),)),
    "to_user": lambda: on("A", lambda s, m: (to(s, "user"),)),
}


class Seen:
    """A witness that notes who received what of which step."""

    def __init__(self) -> None:
        self.got: list[tuple[int, Any, str]] = []

    def received(self, index: int, content: Any, by: str) -> None:
        self.got.append((index, content, by))


def task() -> dict[str, Any]:
    return {"messages": [HumanMessage("hi")], "log": []}


@contextlib.contextmanager
def recording(*interceptors: Any, witness: Any = None, budget: Budget | None = None) -> Iterator[Recorder]:
    recorder = Recorder(
        Header("test"), interceptors=interceptors, witnesses=[witness] if witness else [], budget=budget
    )
    with PATCHES.installed(), activate(recorder):
        yield recorder


def messages(recorder: Recorder) -> list[tuple[str, tuple[str, ...]]]:
    return [(s.agent, s.body.to) for s in recorder.steps if isinstance(s.body, Message)]
