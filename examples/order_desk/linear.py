"""The desk as a pipeline: reader, planner, clerk with tools, writer. Nobody looks back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from examples.order_desk import prompts
from examples.order_desk.agents import (
    DeskError,
    State,
    heard,
    last,
    mail,
    needing,
    ordered,
    outcome,
    reading,
    speak,
    use,
)
from examples.order_desk.desk import Ledger, tools


def reader(state: State) -> dict[str, Any]:
    """Read the e-mail into an order."""
    return {"messages": [speak(prompts.READER, reading(state, "customer"))]}


def planner(state: State) -> dict[str, Any]:
    """Plan the steps for the order."""
    return {"messages": [speak(prompts.PLANNER, reading(state, "customer", "reader"))]}


def clerk(state: State) -> dict[str, Any]:
    """Write the call for the next step of the plan."""
    steps = ordered(last(state, "planner"))
    done = len(reading(state, "stock"))
    if done >= len(steps):
        return {}
    step = steps[done]
    seen = [*reading(state, "reader"), ("step", step)]
    return {"messages": [speak(prompts.CLERK, seen)]}


def after_stock(state: State) -> str:
    """Return who goes on: the clerk while steps remain, then the writer."""
    if not reading(state, "planner"):
        return "writer"
    return "clerk" if len(reading(state, "stock")) < len(ordered(last(state, "planner"))) else "writer"


def writer(state: State) -> dict[str, Any]:
    """Write to the customer."""
    return {"messages": [speak(prompts.WRITER, reading(state, "reader", "stock"))]}


def build() -> Any:
    """Return the compiled pipeline with an empty ledger."""
    ledger = Ledger()
    catalogue = tools(ledger)

    def stock(state: State) -> dict[str, Any]:
        return {"messages": [heard("stock", use(catalogue, last(state, "clerk")))], "booked": ledger.rows()}

    graph = StateGraph(State)
    graph.add_node("reader", needing(reader, "customer"))
    graph.add_node("planner", needing(planner, "reader"))
    graph.add_node("clerk", needing(clerk, "planner"))
    graph.add_node("stock", needing(stock, "clerk"))
    graph.add_node("writer", needing(writer, "stock"))
    graph.add_edge(START, "reader")
    graph.add_edge("reader", "planner")
    graph.add_edge("planner", "clerk")
    graph.add_edge("clerk", "stock")
    graph.add_conditional_edges("stock", after_stock, ["clerk", "writer"])
    graph.add_edge("writer", END)
    return graph.compile()


def run(system: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the desk's answer to one e-mail: the confirmation and the bookings."""
    try:
        return outcome(system.invoke(mail(task)))
    except DeskError as error:
        return {"confirmation": "", "booked": [], "failed": str(error)}
