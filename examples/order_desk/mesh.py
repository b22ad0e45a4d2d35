"""The desk as a mesh: three peers share one conversation, each reads it all, and the majority counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from langgraph.graph import END, START, StateGraph

from examples.order_desk import prompts
from examples.order_desk.agents import DeskError, State, failed, heard, mail, outcome, reading, speak, use
from examples.order_desk.desk import KINDS, Ledger, tools

PEERS = ("sales", "depot", "billing")
ERRORS = 3
"""After how many failed calls the peers give up."""


def agreed(state: State) -> dict[str, Any] | None:
    """Return the order most peers read from the conversation; the earlier one when they are divided."""
    counts: Counter[str] = Counter()
    for _, text in reading(state, *PEERS):
        try:
            order = json.loads(text)
            counts[prompts.order(order["kind"], order["quantity"], order["item"], order["city"])] += 1
        except (ValueError, KeyError, TypeError):
            continue
    order = counts.most_common(1)
    return dict(json.loads(order[0][0])) if order else None


def peer(name: str) -> Any:
    """Return the node in which a peer says what it reads from the whole conversation."""

    def speaks(state: State) -> dict[str, Any]:
        return {"messages": [speak(prompts.peer(name), reading(state))]}

    return speaks


def settled(state: State) -> dict[str, Any]:
    """Return the agreed order; raise DeskError when no peer said one."""
    order = agreed(state)
    if order is None:
        raise DeskError("the peers named no order")
    return order


def after_call(state: State) -> str:
    """Return who goes on: a peer with the next call, or sales with the letter."""
    results = reading(state, "stock")
    done = [turn for turn in results if not failed(turn)]
    if any(text.startswith(("reserved", "quoted")) for _, text in done):
        return "letter"
    if len(results) - len(done) >= ERRORS:
        raise DeskError("too many calls failed")
    return "selling" if done else "checking"


def letter(state: State) -> dict[str, Any]:
    """Let sales write to the customer, from the results in the conversation."""
    results = [turn for turn in reading(state, "stock") if turn[1].startswith(("reserved", "quoted"))]
    if not results:
        return {}
    return {"messages": [speak(prompts.ASSISTANT_WRITES, results[-1:], name="writer")]}


def build() -> Any:
    """Return the compiled mesh with an empty ledger."""
    ledger = Ledger()
    catalogue = tools(ledger)

    def calls(state: State, step: str, name: str) -> dict[str, Any]:
        order = settled(state)
        text = prompts.order(order["kind"], order["quantity"], order["item"], order["city"])
        call = speak(prompts.CLERK, [("reader", text), ("step", step)], name=f"{name} call")
        return {
            "messages": [call, heard("stock", use(catalogue, str(call.content)))],
            "booked": ledger.rows(),
        }

    def checking(state: State) -> dict[str, Any]:
        return calls(state, "check_stock", "depot")

    def selling(state: State) -> dict[str, Any]:
        return calls(state, KINDS.get(str(settled(state)["kind"]), "quote_price"), "billing")

    graph = StateGraph(State)
    for before, name in zip((START, *PEERS), PEERS, strict=False):
        graph.add_node(name, peer(name))
        graph.add_edge(before, name)
    graph.add_node("checking", checking)
    graph.add_node("selling", selling)
    graph.add_node("letter", letter)
    graph.add_edge(PEERS[-1], "checking")
    graph.add_conditional_edges("checking", after_call, ["checking", "selling", "letter"])
    graph.add_conditional_edges("selling", after_call, ["checking", "selling", "letter"])
    graph.add_edge("letter", END)
    return graph.compile()


def run(system: Any, task: Mapping[str, Any]) -> dict[str, Any]:
    """Return the desk's answer to one e-mail: the confirmation and the bookings."""
    try:
        return outcome(system.invoke(mail(task), {"recursion_limit": 40}))
    except DeskError as error:
        return {"confirmation": "", "booked": [], "failed": str(error)}
