"""Chat models that a governed graph's nodes ask, whole or as a stream: a refused one is not asked."""

import asyncio
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph

from masfire.adapters.govern_langgraph import govern
from masfire.governance import AgentRules, Blocked, Capability, Governor, Lineage, Policy
from masfire.recorder import agent
from masfire.session import run
from tests.support.asking_graph import system

ALLOWED = Policy(agents={"clerk": AgentRules()}, retries=False)
DENIED = Policy(agents={"clerk": AgentRules(models={"small": Capability()})}, retries=False)


@pytest.mark.parametrize("how", ["invoke", "stream"])
def test_a_model_that_is_not_allowed_is_not_asked(how: str) -> None:
    assert system(Governor(ALLOWED), how).invoke({})["answer"] == "hello there"
    assert asyncio.run(system(Governor(ALLOWED), how).ainvoke({}))["answer"] == "hello there"
    with pytest.raises(Blocked, match="model call 'big'"):
        system(Governor(DENIED), how).invoke({})
    with pytest.raises(Blocked, match="model call 'big'"):
        asyncio.run(system(Governor(DENIED), how).ainvoke({}))


def test_a_recording_that_ends_does_not_take_the_guard_away() -> None:
    with run(), agent("x"):
        assert system(Governor(ALLOWED), "invoke").invoke({})["answer"] == "hello there"
    with pytest.raises(Blocked):
        system(Governor(DENIED), "invoke").invoke({})


def test_what_a_node_writes_is_screened() -> None:
    class Said(TypedDict, total=False):
        messages: list[Any]
        note: str

    def reader(state: Said) -> Said:
        return {"messages": [{"role": "assistant", "content": '{"quantity": 21, "item": "green chairs"}'}]}

    graph = StateGraph(Said)
    graph.add_node("reader", reader)
    graph.add_edge(START, "reader")
    graph.add_edge("reader", END)
    policy = Policy(agents={"*": AgentRules()}, lineage=Lineage(mode="speed"))
    asked = {"messages": [{"role": "user", "content": "Reserve 12 green chairs in Berlin."}]}
    said = govern(graph.compile(), Governor(policy)).invoke(asked)["messages"]
    assert said[-1]["content"] == '{"quantity": 12, "item": "green chairs"}'
