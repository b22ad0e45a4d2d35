"""The desk as a dialogue: an instructor says what to do next, an assistant does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from examples.order_desk import prompts
from examples.order_desk.agents import (
    DeskError,
    State,
    failed,
    heard,
    last,
    mail,
    outcome,
    reading,
    speak,
    use,
)
from examples.order_desk.desk import Ledger, tools

TURNS = 5
"""How many instructions the assistant takes at most."""


def instructor(state: State) -> dict[str, Any]:
    """Say what to do next: check the stock, then what the customer asked for."""
    results = [turn for turn in reading(state, "stock") if not failed(turn)]
    role = prompts.INSTRUCTOR_THEN if results else prompts.INSTRUCTOR_FIRST
    return {"messages": [speak(role, [*results[-1:], *reading(state, "customer")])]}


def after_work(state: State) -> str:
    """Return who goes on: the instructor until the customer's wish is done, then the writer's pen."""
    results = reading(state, "stock")
    if results and results[-1][1].startswith(("reserved", "quoted")):
        return "letter"
    return "instructor" if len(results) < TURNS else "letter"


def letter(state: State) -> dict[str, Any]:
    """Let the assistant write to the customer."""
    return {"messages": [speak(prompts.ASSISTANT_WRITES, [("stock", last(state, "stock"))])]}


def build() -> Any:
    """Return the compiled dialogue with an empty ledger."""
    ledger = Ledger()
    catalogue = tools(ledger)

    def assistant(state: State) -> dict[str, Any]:
        call = speak(prompts.ASSISTANT, [("instructor", last(state, "instructor"))])
        result = heard("stock", use(catalogue, str(call.content)))
        return {"messages": [call, result], "booked": ledger.rows()}

    graph = StateGraph(State)
    graph.add_node("instructor", instructor)
    graph.add_node("assistant", assistant)
    graph.add_node("letter", letter)
    graph.add_edge(START, "instructor")
    graph.add_edge("instructor", "assistant")
    graph.add_conditional_edges("assistant", after_work, ["instructor", "letter"])
    graph.add_edge("letter", END)
    return graph.compile()


def run(system: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the desk's answer to one e-mail: the confirmation and the bookings."""
    try:
        return outcome(system.invoke(mail(task)), "assistant")
    except DeskError as error:
        return {"confirmation": "", "booked": [], "failed": str(error)}
