"""As many copies of a message are delivered as are recorded, also where the state has room for one."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, TypedDict

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph

from masfire import session
from masfire.errors import BudgetExceeded
from masfire.recorder import Budget
from masfire.trace.payload import pack
from tests.support.graphs import Seen, messages, on, recording

LIMIT: Any = {"recursion_limit": 6}  # fewer supersteps than there are copies


class Order(TypedDict, total=False):
    order: str
    price: str
    verdict: str


def pipeline(asked: list[str] | None = None) -> Any:
    def pricer(state: Order) -> Order:
        if asked is not None:
            asked.append(state["order"])
        return {"price": f"price of {state['order']}"}

    graph = StateGraph(Order)
    graph.add_node("reader", lambda s: {"order": s["order"].upper()})
    graph.add_node("pricer", pricer)
    graph.add_node("checker", lambda s: {"verdict": f"checked {s['price']}"})
    graph.add_edge(START, "reader")
    graph.add_edge("reader", "pricer")
    graph.add_edge("pricer", "checker")
    return graph


@pytest.mark.parametrize("is_async", [False, True])
def test_every_copy_is_delivered(is_async: bool) -> None:
    asked: list[str] = []
    seen = Seen()
    app = pipeline(asked).compile(checkpointer=InMemorySaver())
    config: Any = {**LIMIT, "configurable": {"thread_id": "1"}}
    storm = on("reader", lambda step, body: (step,) * 40)
    with recording(storm, witness=seen) as run:
        result = (
            asyncio.run(app.ainvoke({"order": "x"}, config))
            if is_async
            else app.invoke({"order": "x"}, config)
        )
    assert result["verdict"] == "checked price of X"
    assert asked == ["X"] * 40
    assert Counter(agent for agent, _ in messages(run)) == {
        "user": 1,
        "reader": 40,
        "pricer": 40,
        "checker": 40,
    }
    copies = [step.step for step in run.steps if step.agent == "reader"]
    assert [index for index, _, by in seen.got if by == "pricer"] == copies


def test_a_storm_of_the_fault_library_is_witnessed() -> None:
    with session.run(faults=["message_storm@reader?copies=100"]) as run:
        pipeline().compile().invoke({"order": "x"}, LIMIT)
    run.require_witnessed()


def test_copies_that_differ_are_each_seen_as_they_are() -> None:
    asked: list[str] = []
    several = on(
        "reader", lambda step, body: tuple(step.with_payload(pack({"order": f"o{n}"})) for n in range(12))
    )
    with recording(several):
        pipeline(asked).compile().invoke({"order": "x"}, LIMIT)
    assert asked == [f"o{n}" for n in range(12)]


def test_copies_of_two_senders_all_arrive() -> None:
    asked: list[str] = []

    def judge(state: Order) -> Order:
        asked.append("judged")
        return {"verdict": "ok"}

    graph = StateGraph(Order)
    graph.add_node("left", lambda s: {"order": "left"})
    graph.add_node("right", lambda s: {"price": "right"})
    graph.add_node("judge", judge)
    for before, after in ((START, "left"), (START, "right"), ("left", "judge"), ("right", "judge")):
        graph.add_edge(before, after)
    seen = Seen()
    both = (on(name, lambda step, body: (step,) * 12) for name in ("left", "right"))
    with recording(*both, witness=seen) as run:
        graph.compile().invoke({"order": "x"}, LIMIT)
    sent = {step.step for step in run.steps if step.agent in ("left", "right")}
    assert len(sent) == 24
    assert {index for index, _, by in seen.got if by == "judge"} == sent
    assert len(asked) == 1 + 11 + 11  # the first copies come together


def test_the_graphs_own_recursion_limit_still_holds() -> None:
    from langgraph.errors import GraphRecursionError

    graph = pipeline()
    graph.add_edge("checker", "reader")
    once = on("reader", lambda step, body: (step,) * 5, times=1)
    with recording(once), pytest.raises(GraphRecursionError):
        graph.compile().invoke({"order": "x"}, LIMIT)


def test_a_storm_in_a_circle_ends_with_the_runs_budget() -> None:
    graph = pipeline()
    graph.add_edge("checker", "reader")
    storm = on("reader", lambda step, body: (step,) * 5)
    with recording(storm, budget=Budget(steps=300)), pytest.raises(BudgetExceeded):
        graph.compile().invoke({"order": "x"}, LIMIT)
