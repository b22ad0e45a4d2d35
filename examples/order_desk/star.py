"""The desk as a star: a supervisor reads, hands out work, checks each report, and reads again at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from langgraph.types import Command

from examples.order_desk import prompts
from examples.order_desk.agents import (
    DeskError,
    State,
    disagreement,
    failed,
    heard,
    last,
    mail,
    outcome,
    reading,
    since,
    speak,
    use,
)
from examples.order_desk.desk import KINDS, Ledger, tools
from examples.order_desk.prompts import Turn

ROUNDS = 2
"""How often the supervisor starts over at most."""
REPORTS = 4
"""How many reports the supervisor takes from the workers in one round at most."""

Next = Literal["checker", "seller", "writer", "__end__"]


def distinct(turns: list[Turn]) -> list[Turn]:
    """Return the reports without repetitions: the supervisor reads each once."""
    return list(dict.fromkeys(turns))


def kind_of(order: str) -> str:
    """Return the kind of an order; raise DeskError when it cannot be read."""
    try:
        return str(json.loads(order)["kind"])
    except (ValueError, KeyError, TypeError) as error:
        raise DeskError(f"the order cannot be read: {error}") from error


def build() -> Any:
    """Return the compiled star with an empty ledger."""
    ledger = Ledger()
    catalogue = tools(ledger)

    def supervisor(state: State) -> Command[Next]:
        rounds = state.get("rounds", 0)
        if not reading(state, "supervisor"):
            return Command(goto="checker", update=_opened(state, 0))
        reports = distinct(since(state, "supervisor", "stock", "writer"))
        good = [turn for turn in reports if not failed(turn)]
        letters = [text for name, text in good if name == "writer"]
        if not letters and len(reports) < REPORTS:
            results = [text for name, text in good if name == "stock"]
            if any(text.startswith(("reserved", "quoted")) for text in results):
                return Command(goto="writer")
            return Command(goto="seller" if results else "checker")
        again = _opened(state, rounds + 1)
        wrong = disagreement(
            str(again["messages"][-1].content), letters[-1] if letters else "", ledger.rows()
        )
        if not wrong:
            return Command(goto="__end__")
        ledger.cancel()
        if rounds + 1 >= ROUNDS:
            return Command(goto="__end__", update={"booked": ledger.rows()})
        return Command(goto="checker", update={**again, "booked": ledger.rows()})

    def worker(state: State, step: str) -> dict[str, Any]:
        call = speak(
            prompts.CLERK, [("reader", last(state, "supervisor")), ("step", step)], name=step_name(step)
        )
        result = heard("stock", use(catalogue, str(call.content)))
        return {"messages": [call, result], "booked": ledger.rows()}

    def checker(state: State) -> dict[str, Any]:
        return worker(state, "check_stock")

    def seller(state: State) -> dict[str, Any]:
        return worker(state, KINDS.get(kind_of(last(state, "supervisor")), "quote_price"))

    def writer(state: State) -> dict[str, Any]:
        results = distinct(since(state, "supervisor", "stock"))
        seen = [("reader", last(state, "supervisor")), *[turn for turn in results if not failed(turn)]]
        return {"messages": [speak(prompts.WRITER, seen)]}

    graph = StateGraph(State)
    graph.add_node("supervisor", supervisor)
    for name, node in (("checker", checker), ("seller", seller), ("writer", writer)):
        graph.add_node(name, node)
        graph.add_edge(name, "supervisor")
    graph.add_edge(START, "supervisor")
    return graph.compile()


def step_name(step: str) -> str:
    """Return which worker takes a step."""
    return "checker" if step == "check_stock" else "seller"


def _opened(state: State, rounds: int) -> dict[str, Any]:
    order = speak(prompts.READER, reading(state, "customer"), name="supervisor")
    return {"messages": [order], "rounds": rounds}


def run(system: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the desk's answer to one e-mail: the confirmation and the bookings."""
    try:
        return outcome(system.invoke(mail(task), {"recursion_limit": 40}))
    except DeskError as error:
        return {"confirmation": "", "booked": [], "failed": str(error)}
