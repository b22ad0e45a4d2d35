"""A graph whose one node asks a scripted chat model, whole or as a stream."""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableLambda
from langgraph.graph import END, START, StateGraph

from masfire.adapters.govern_langgraph import govern
from masfire.governance import Governor


class State(TypedDict, total=False):
    """What was answered."""

    answer: str


class Scripted(GenericFakeChatModel):
    """A scripted model."""

    model_name: str = "big"


def system(governor: Governor, how: str) -> Any:
    model = Scripted(messages=iter([AIMessage("hello there")] * 9))

    def act(state: State) -> State:
        if how == "stream":
            return {"answer": "".join(str(part.content) for part in model.stream("hi"))}
        return {"answer": str(model.invoke("hi").content)}

    async def later(state: State) -> State:
        if how == "stream":
            return {"answer": "".join([str(part.content) async for part in model.astream("hi")])}
        return {"answer": str((await model.ainvoke("hi")).content)}

    graph = StateGraph(State)
    graph.add_node("clerk", RunnableLambda(act, later))
    graph.add_edge(START, "clerk")
    graph.add_edge("clerk", END)
    return govern(graph.compile(), governor)
