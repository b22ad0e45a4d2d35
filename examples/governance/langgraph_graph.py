"""A whole compiled LangGraph under governance: one import, three lines."""

from __future__ import annotations

from pathlib import Path
from typing import TypedDict

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

from masfire.adapters.govern_langgraph import govern
from masfire.governance import Blocked, Governor, load_policy

booked: list[int] = []


class State(TypedDict, total=False):
    """What the customer wants, and what became of it."""

    quantity: int
    answer: str


@tool
def place_order(quantity: int) -> str:
    """Book so many pieces."""
    booked.append(quantity)
    return f"booked {quantity}"


def clerk(state: State) -> State:
    """Place the order."""
    return {"answer": str(place_order.invoke({"quantity": state["quantity"]}))}


async def clerk_later(state: State) -> State:
    """Place the order, asynchronously."""
    return {"answer": str(await place_order.ainvoke({"quantity": state["quantity"]}))}


def build(node: object = clerk) -> object:
    """Return a graph of one clerk, governed."""
    graph = StateGraph(State)
    graph.add_node("clerk", node)  # type: ignore[call-overload]
    graph.add_edge(START, "clerk")
    graph.add_edge("clerk", END)
    governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")))
    return govern(graph.compile(), governor)


def main() -> None:
    """Order twelve pieces, then far too many."""
    system = build()
    print(system.invoke({"quantity": 12}))  # type: ignore[attr-defined]
    try:
        system.invoke({"quantity": 5_000})  # type: ignore[attr-defined]
    except Blocked as blocked:
        print(blocked)


if __name__ == "__main__":
    main()
