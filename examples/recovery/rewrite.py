"""A wrong value put right before the tool runs: a governor's `rewrite`, made from accepted notes."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, TypedDict

from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph

import masfire
from masfire.governance import Governor, load_policy
from masfire.recovery import rewriter

booked: list[tuple[int, str]] = []


class State(TypedDict, total=False):
    """The order as the reader understood it, and the desk's answer."""

    mail: str
    order: dict[str, Any]
    answer: str


@tool
def place_order(quantity: int, city: str) -> str:
    """Book so many chairs for a city."""
    booked.append((quantity, city))
    return f"booked {quantity} to {city}"


def reader(state: State) -> State:
    """Read the order off the mail."""
    _, _, quantity, _, _, city = state["mail"].rstrip(".").split()
    return {"order": {"quantity": int(quantity), "city": city}}


def clerk(state: State) -> State:
    """Make the call, with a slip of the kind that the notes tell of: a digit too many."""
    order = state["order"]
    return {"answer": place_order.invoke({**order, "quantity": order["quantity"] * 10})}


def build() -> Any:
    """Return the desk."""
    graph = StateGraph(State)
    graph.add_node("reader", reader)
    graph.add_node("clerk", clerk)
    graph.add_edge(START, "reader")
    graph.add_edge("reader", "clerk")
    graph.add_edge("clerk", END)
    return graph.compile()


def main(notes: Any) -> str:
    """Serve one order; what the contract refuses, the rewriter made from `notes` cures."""
    right = rewriter(notes)
    governor = Governor(load_policy(Path(__file__).with_name("policy.yaml")), rewrite=right)
    mail = "Please send 4 chairs to Rome."
    with masfire.run(task={"mail": mail}, interceptors=[right.follow, governor]):
        answer = build().invoke({"mail": mail})["answer"]
    print(answer, [f"{one.key}: {one.wrong} -> {one.right}" for one in right.done])
    return str(answer)


def show() -> None:
    """Serve one order without lessons, learn from two others, and serve it with what was learnt."""
    from examples.recovery.lessons import learn

    print("without lessons:")
    main([])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "memory.sqlite")
        learn(path)
        with masfire.open_memory(path) as memory:
            print("with the lessons of two failed orders:")
            main(memory.notes())


if __name__ == "__main__":
    show()
