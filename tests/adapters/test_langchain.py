"""LangChain tools and models that never reach HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, ToolException, tool
from langgraph.graph import START, StateGraph

from masfire.adapters import langchain as adapter
from masfire.errors import IncompatibleVersion
from masfire.recorder import agent
from masfire.trace.model import Action, Observation, Step
from masfire.trace.payload import pack
from tests.support.graphs import PATCHES, Seen, State, recording, task


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@tool
def multiply(a: int, b: int) -> int:
    """Multiply two numbers."""
    return a * b


@tool
def fail(reason: str) -> str:
    """Fail."""
    raise ToolException(reason)


class Scripted(BaseChatModel):
    """A model that never leaves the process: it says its script."""

    script: list[Any]
    asked: list[Any] = []
    at: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def _generate(
        self, messages: Any, stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        item = self.script[min(self.at, len(self.script) - 1)]
        self.at += 1
        self.asked.append([message.content for message in messages])
        message = AIMessage(item) if isinstance(item, str) else AIMessage("", tool_calls=[item])
        return ChatResult(generations=[ChatGeneration(message=message)])


def call(name: str, args: dict[str, Any], call_id: str = "call-1") -> dict[str, Any]:
    return {"name": name, "args": args, "id": call_id, "type": "tool_call"}


def change(kind: str, edit: Any) -> Any:
    return lambda step, history: edit(step) if step.kind == kind else (step,)


def invoke(used: BaseTool, request: Any, is_async: bool) -> Any:
    return asyncio.run(used.ainvoke(request)) if is_async else used.invoke(request)


both = pytest.mark.parametrize("is_async", [False, True])


@both
def test_a_tool_call_and_its_result_are_recorded(is_async: bool) -> None:
    with recording(witness=(seen := Seen())) as run, agent("clerk"):
        result = invoke(add, call("add", {"a": 2, "b": 3}), is_async)
    assert result.content == "5"
    asked, answered = run.steps
    assert asked.body == Action("tool_call", "add", pack({"args": {"a": 2, "b": 3}}), id="call-1")
    assert answered.body == Observation("tool_result", "add", 0, pack({"value": "5"}))
    assert (asked.agent, answered.agent, answered.parents) == ("clerk", "clerk", (0,))
    assert run.notes["tool_ids"] == {"call-1"}
    assert run.notes["tools"] == {"add": add}
    assert seen.got == [(0, {"args": {"a": 2, "b": 3}}, "add"), (1, {"value": "5"}, "clerk")]


@both
def test_altered_arguments_are_what_the_tool_executes(is_async: bool) -> None:
    with recording(change("tool_call", lambda s: (s.with_payload(pack({"args": {"a": 20, "b": 3}})),))):
        assert invoke(add, {"a": 2, "b": 3}, is_async) == 23


@both
def test_another_known_tool_is_run_instead(is_async: bool) -> None:
    def other(step: Step) -> tuple[Step, ...]:
        if step.body.name == "multiply":
            return (step,)
        return (msgspec.structs.replace(step, body=msgspec.structs.replace(step.body, name="multiply")),)

    with recording(change("tool_call", other)) as run:
        invoke(multiply, {"a": 1, "b": 1}, is_async)
        assert invoke(add, {"a": 4, "b": 5}, is_async) == 20
    assert [step.body.name for step in run.steps] == ["multiply"] * 4


@both
def test_malformed_arguments_are_left_to_the_tools_validation(is_async: bool) -> None:
    broken = change("tool_call", lambda s: (s.with_payload(pack({"args": '{"a": 2, "b"'})),))
    with recording(broken) as run, pytest.raises(ValueError, match="validation error"):
        invoke(add, {"a": 2, "b": 3}, is_async)
    assert run.steps[0].value == {"args": '{"a": 2, "b"'}
    assert run.steps[1].value["error"]["type"] == "ValidationError"
    assert not run.steps[1].body.ok


@both
def test_altered_lost_and_failed_results_reach_the_caller(is_async: bool) -> None:
    request = call("add", {"a": 2, "b": 3})
    with recording(change("tool_result", lambda s: (s.with_payload(pack({"value": "6"})),))):
        assert invoke(add, request, is_async).content == "6"
    with recording(change("tool_result", lambda s: ())):
        assert invoke(add, request, is_async).content == ""
    outage = pack({"error": {"type": "Timeout", "message": "no answer"}})
    with recording(change("tool_result", lambda s: (s.with_payload(outage),))):
        message = invoke(add, request, is_async)
    assert (message.content, message.status) == ("no answer", "error")
    with recording(change("tool_result", lambda s: (s.with_payload(outage),))), pytest.raises(ToolException):
        invoke(add, {"a": 2, "b": 3}, is_async)


@both
def test_a_call_that_is_never_made_and_one_that_is_made_twice(is_async: bool) -> None:
    with recording(change("tool_call", lambda s: ())) as run:
        message = invoke(add, call("add", {"a": 2, "b": 3}), is_async)
    assert (message.status, len(run.steps)) == ("error", 0)
    with recording(change("tool_call", lambda s: (s, s))) as run:
        assert invoke(add, call("add", {"a": 2, "b": 3}), is_async).content == "5"
    assert [step.body.of for step in run.steps if step.kind == "tool_result"] == [0, 1]


@both
def test_a_failing_tool_is_recorded_and_fails(is_async: bool) -> None:
    with recording() as run, pytest.raises(ToolException, match="no power"):
        invoke(fail, {"reason": "no power"}, is_async)
    assert run.steps[1].value == {"error": {"type": "ToolException", "message": "no power"}}


def test_a_tool_called_by_a_nodes_code_is_the_nodes() -> None:
    graph = StateGraph(State)
    graph.add_node("clerk", lambda s: {"log": [f"sum {add.invoke({'a': 1, 'b': 2})}"]})
    graph.add_edge(START, "clerk")
    with recording() as run:
        graph.compile().invoke(task())
    assert [(step.agent, step.kind) for step in run.steps] == [
        ("user", "message"), ("clerk", "tool_call"), ("clerk", "tool_result"), ("clerk", "message"),
    ]  # fmt: skip
    assert run.steps[3].parents == (2,)


@both
def test_an_agent_with_a_model_that_never_reaches_http(is_async: bool) -> None:
    model = Scripted(script=[call("add", {"a": 2, "b": 3}), "the sum is five"])
    app = create_agent(model, tools=[add], name="calculator")
    question: Any = {"messages": [HumanMessage("two plus three?")]}
    with recording() as run:
        asyncio.run(app.ainvoke(question)) if is_async else app.invoke(question)
    assert [(step.agent, step.kind) for step in run.steps] == [
        ("user", "message"),
        ("calculator", "model_call"), ("calculator", "model_reply"),
        ("calculator", "tool_call"), ("calculator", "tool_result"),
        ("calculator", "model_call"), ("calculator", "model_reply"),
        ("calculator", "message"),
    ]  # fmt: skip
    assert [step.parents for step in run.steps] == [(), (0,), (1,), (2,), (3,), (0, 2, 4), (5,), (2, 4, 6)]
    assert run.steps[1].value["messages"] == [{"role": "user", "content": "two plus three?"}]


@both
def test_altered_requests_and_replies_of_such_a_model(is_async: bool) -> None:
    model = Scripted(script=["yes"], asked=[])

    def edit(step: Step) -> tuple[Step, ...]:
        body = step.value
        body["messages"][-1]["content"] = "something else?"
        return (step.with_payload(pack(body)),)

    def answer(step: Step) -> tuple[Step, ...]:
        return (step.with_payload(pack({**step.value, "content": "no"})),)

    with recording(change("model_call", edit), change("model_reply", answer)):
        reply = asyncio.run(model.ainvoke("really?")) if is_async else model.invoke("really?")
    assert model.asked == [["something else?"]]
    assert reply.content == "no"


def test_patches_leave_nothing_behind() -> None:
    names = ["run", "arun"], ["_generate_with_cache", "_agenerate_with_cache"]
    before = [getattr(BaseTool, n) for n in names[0]] + [getattr(BaseChatModel, n) for n in names[1]]
    with PATCHES.installed():
        assert BaseTool.run is not before[0]
        assert add.invoke({"a": 1, "b": 1}) == 2
    assert before == [getattr(BaseTool, n) for n in names[0]] + [getattr(BaseChatModel, n) for n in names[1]]


def test_a_changed_signature_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    import langchain_core.tools.base as base

    monkeypatch.setattr(BaseTool, "run", lambda self, other: None)
    with pytest.raises(IncompatibleVersion, match=r"BaseTool\.run is gone or has another signature"):
        adapter.patch_tools(base)
