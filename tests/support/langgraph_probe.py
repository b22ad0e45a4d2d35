"""Run as a program: does the LangGraph version on the path deliver what the run says it does?"""

from __future__ import annotations

import asyncio
import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import langgraph.checkpoint.base
import langgraph.prebuilt
import langgraph.pregel
from langchain.agents import create_agent
from langchain_core.messages import HumanMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.func import task as as_task
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from tests.adapters.test_langchain import Scripted, add, call
from tests.support.graphs import GRAPHS, PLANS, Seen, State, messages, node, recording, said, task

TREATED = ("nothing", "redirect", "drop", "storm", "broadcast")
CONFIG: Any = {"configurable": {"thread_id": "1"}}


def delivered(shape: str, plan: str, is_async: bool) -> dict[str, list[str]]:
    """Return what the nodes saw, what was said, and who was witnessed to receive it."""
    app = GRAPHS[shape](is_async).compile(checkpointer=InMemorySaver())
    seen = Seen()
    with recording(PLANS[plan](), witness=seen) as run:
        result = asyncio.run(app.ainvoke(task(), CONFIG)) if is_async else app.invoke(task(), CONFIG)
    stored = app.get_state(CONFIG).values
    assert said(stored) == said(result)
    assert stored["log"] == result["log"]
    arrivals = [f"{run.steps[index].agent}>{by}" for index, _, by in seen.got]
    return {"log": sorted(result["log"]), "said": sorted(said(result)), "arrivals": sorted(arrivals)}


def worker(is_async: bool) -> list[list[str]]:
    """Return who did what in a graph of a planner and a ready-made agent, between two checkpoints."""
    script = [call("add", {"a": 2, "b": 3}), "the sum is five"]
    graph = StateGraph(State)
    graph.add_node("planner", node("planner", is_async=is_async))
    graph.add_node("worker", create_agent(Scripted(script=script), tools=[add], name="worker"))
    graph.add_node("ask", lambda s: {"log": [f"human said {interrupt('go on?')}"]})
    graph.add_edge(START, "planner")
    graph.add_edge("planner", "worker")
    graph.add_edge("worker", "ask")
    app = graph.compile(checkpointer=InMemorySaver())
    with recording() as run:
        for given in (task(), Command(resume="yes")):
            asyncio.run(app.ainvoke(given, CONFIG)) if is_async else app.invoke(given, CONFIG)
    return [[step.agent, step.kind] for step in run.steps]


def alone(is_async: bool) -> list[str]:
    """Return the agents of a run of a ready-made agent that is no node of anything."""
    app = create_agent(Scripted(script=["five"]), tools=[], name="calculator")
    asked: Any = {"messages": [HumanMessage("two plus three?")]}
    with recording() as run:
        asyncio.run(app.ainvoke(asked)) if is_async else app.invoke(asked)
    return [step.agent for step in run.steps]


def functional() -> list[Any]:
    """Return the messages of a workflow of the functional API."""

    @as_task
    def draft(topic: str) -> str:
        return f"draft about {topic}"

    @entrypoint()
    def workflow(topic: str) -> str:
        return str(draft(topic).result())

    with recording() as run:
        workflow.invoke("apples")
    return messages(run)


def main() -> None:
    """Print what was loaded, what was wrong, and what agents did, as JSON."""
    golden_file = Path(__file__).parents[1] / "adapters" / "langgraph_matrix.json"
    golden = json.loads(golden_file.read_text())
    wrong = {}
    for shape in GRAPHS:
        for plan in TREATED:
            for is_async in (False, True):
                got = delivered(shape, plan, is_async)
                if got != golden[f"{shape}/{plan}"]:
                    wrong[f"{shape}/{plan}/{'async' if is_async else 'sync'}"] = got
    loaded = (
        langgraph.pregel,
        langgraph.prebuilt,
        langgraph.checkpoint.base,
        sys.modules["langchain.agents"],
    )
    report = {
        "version": version("langgraph"),
        "files": [module.__file__ for module in loaded],
        "wrong": wrong,
        "worker": [worker(False), worker(True)],
        "alone": [alone(False), alone(True)],
        "functional": functional(),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
