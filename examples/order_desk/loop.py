"""The desk as a closed loop: the pipeline, with errors handed back and a critic who rereads the e-mail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph
from langgraph.types import RetryPolicy
from openai import APIError

from examples.order_desk import prompts
from examples.order_desk.agents import (
    DeskError,
    State,
    disagreement,
    failed,
    heard,
    last,
    mail,
    needing,
    ordered,
    outcome,
    reading,
    since,
    speak,
    use,
)  # fmt: skip
from examples.order_desk.desk import Ledger, tools
from examples.order_desk.linear import planner, writer

ROUNDS = 3
"""How often the work is done at most."""
RETRY = RetryPolicy(max_attempts=2, initial_interval=0.05, retry_on=APIError)
"""What a node does when the model's server refuses a request: try once more."""
TRIES = 3
"""How often one agent may try one thing at most."""


def reader(state: State) -> dict[str, Any]:
    """Read the e-mail into an order; every reading opens a new round."""
    order = speak(prompts.READER, reading(state, "customer"))
    return {"messages": [order], "rounds": state.get("rounds", 0) + 1}


def after_planner(state: State) -> str:
    """Return who goes on: the planner again when nobody can follow its plan."""
    try:
        ordered(last(state, "planner"))
    except DeskError:
        return "planner" if len(since(state, "reader", "planner")) < TRIES else "critic"
    return "clerk"


def clerk(state: State) -> dict[str, Any]:
    """Write the call for the next step of the plan."""
    steps = ordered(last(state, "planner"))
    done = len([turn for turn in since(state, "planner", "stock") if not failed(turn)])
    if done >= len(steps):
        return {}
    step = steps[done]
    return {"messages": [speak(prompts.CLERK, [("reader", last(state, "reader")), ("step", step)])]}


def after_stock(state: State) -> str:
    """Return who goes on: the clerk while steps remain or a call failed, then the writer."""
    if not reading(state, "planner"):
        return "critic"
    results = since(state, "planner", "stock")
    steps = len(ordered(last(state, "planner")))
    if len(results) >= steps + TRIES - 1:
        return "critic"
    return "clerk" if len([turn for turn in results if not failed(turn)]) < steps else "writer"


def after_critic(state: State) -> str:
    """Return "reader" for another round, or the end."""
    again = reading(state, "critic")[-1][1].startswith("revise") and state["rounds"] < ROUNDS
    return "reader" if again else END


def build() -> Any:
    """Return the compiled loop with an empty ledger."""
    ledger = Ledger()
    catalogue = tools(ledger)

    def stock(state: State) -> dict[str, Any]:
        return {"messages": [heard("stock", use(catalogue, last(state, "clerk")))], "booked": ledger.rows()}

    def critic(state: State) -> dict[str, Any]:
        letters = since(state, "reader", "writer")[-1:]
        if letters and "accept" in str(speak(prompts.GATE, letters).content):
            return {"messages": [heard("critic", "approve")]}
        wanted = speak(prompts.CRITIC, [*letters, *reading(state, "customer")])
        wrong = disagreement(str(wanted.content), letters[0][1] if letters else "", ledger.rows())
        if wrong:
            ledger.cancel()
        verdict = f"revise: {wrong}" if wrong else "approve"
        return {"messages": [wanted, heard("critic", verdict)], "booked": ledger.rows()}

    graph = StateGraph(State)
    nodes = {
        "reader": reader,
        "planner": needing(planner, "reader"),
        "clerk": needing(clerk, "planner"),
        "writer": needing(writer, "stock"),
    }
    for name, node in nodes.items():
        graph.add_node(name, node, retry_policy=RETRY)
    graph.add_node("stock", needing(stock, "clerk"))
    graph.add_node("critic", critic, retry_policy=RETRY)
    graph.add_edge(START, "reader")
    graph.add_edge("reader", "planner")
    graph.add_conditional_edges("planner", after_planner, ["planner", "clerk", "critic"])
    graph.add_edge("clerk", "stock")
    graph.add_conditional_edges("stock", after_stock, ["clerk", "writer", "critic"])
    graph.add_edge("writer", "critic")
    graph.add_conditional_edges("critic", after_critic, ["reader", END])
    return graph.compile()


def run(system: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the desk's answer to one e-mail: the confirmation and the bookings."""
    try:
        return outcome(system.invoke(mail(task), {"recursion_limit": 60}))
    except DeskError as error:
        return {"confirmation": "", "booked": [], "failed": str(error)}
