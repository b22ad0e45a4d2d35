"""11 plans on 5 graph shapes, sync and async, without, with memory and with SQLite checkpoints."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver

from tests.support.graphs import GRAPHS, PLANS, Seen, recording, said, task

MODES = [("sync", "none"), ("sync", "memory"), ("sync", "sqlite"), ("async", "none"), ("async", "memory")]


def run(shape: str, plan: str, mode: str, store: str) -> tuple[list[str], list[str], list[str]]:
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    saver: Any = {"none": None, "memory": InMemorySaver(), "sqlite": SqliteSaver(connection)}[store]
    app = GRAPHS[shape](mode == "async").compile(checkpointer=saver)
    config: Any = {"configurable": {"thread_id": "t"}} if saver else {}
    seen = Seen()
    with recording(PLANS[plan](), witness=seen) as recorder:
        result = app.invoke(task(), config) if mode == "sync" else asyncio.run(app.ainvoke(task(), config))
    if saver:
        stored = app.get_state(config).values
        assert [(m.id, m.content) for m in stored["messages"]] == [
            (m.id, m.content) for m in result["messages"]
        ]
        assert stored["log"] == result["log"]
    connection.close()
    arrivals = [f"{recorder.steps[index].agent}>{by}" for index, _, by in seen.got]
    return sorted(result["log"]), sorted(said(result)), sorted(arrivals)


GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "langgraph_matrix.json").read_text())


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("shape", GRAPHS)
def test_who_received_what(shape: str, plan: str) -> None:
    golden = GOLDEN[f"{shape}/{plan}"]
    for mode, store in MODES:
        log, spoken, arrivals = run(shape, plan, mode, store)
        assert {"log": log, "said": spoken, "arrivals": arrivals} == golden, (mode, store)


def test_matrix_covers_every_row() -> None:
    assert len(GOLDEN) == len(GRAPHS) * len(PLANS) == 55
