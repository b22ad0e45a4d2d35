"""LangGraph on asyncio: AsyncSqliteSaver, async streams, several runs of one loop at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.types import Command, interrupt

from tests.support.graphs import (
    GRAPHS,
    PLANS,
    Seen,
    State,
    linear,
    messages,
    on,
    recording,
    said,
    task,
    to,
    with_text,
)

CONFIG: Any = {"configurable": {"thread_id": "1"}}


@pytest.mark.parametrize("plan", ["nothing", "drop", "redirect", "storm", "broadcast", "rewrite"])
@pytest.mark.parametrize("shape", ["linear", "fan", "send"])
def test_what_was_delivered_is_what_async_sqlite_keeps(shape: str, plan: str, tmp_path: Path) -> None:
    async def go() -> tuple[Any, Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints")) as saver:
            app = GRAPHS[shape](True).compile(checkpointer=saver)
            with recording(PLANS[plan]()):
                result = await app.ainvoke(task(), CONFIG)
            return result, (await app.aget_state(CONFIG)).values

    with recording(PLANS[plan]()):
        expected = asyncio.run(GRAPHS[shape](True).compile().ainvoke(task()))
    result, stored = asyncio.run(go())
    assert sorted(said(result)) == sorted(said(expected))
    assert sorted(result["log"]) == sorted(expected["log"])
    assert said(stored) == said(result)
    assert stored["log"] == result["log"]


def test_a_run_is_interrupted_and_resumed_from_async_sqlite(tmp_path: Path) -> None:
    async def ask(state: State) -> dict[str, Any]:
        return {"log": [f"human said {interrupt('go on?')}"]}

    async def go() -> Any:
        graph = linear(True)
        graph.add_node("ask", ask)
        graph.add_edge("C", "ask")
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints")) as saver:
            app = graph.compile(checkpointer=saver)
            await app.ainvoke(task(), CONFIG)
            return await app.ainvoke(Command(resume="yes"), CONFIG)

    with recording(on("B", lambda s, m: (to(s, "C", "D"),))) as run:
        result = asyncio.run(go())
    assert result["log"][-1] == "human said yes"
    assert messages(run) == [
        ("user", ("A",)), ("A", ("B",)), ("B", ("C", "D")), ("C", ("ask",)), ("D", ("user",)),
        ("ask", ("user",)),
    ]  # fmt: skip


async def streamed(app: Any, mode: Any, config: Any = None) -> list[Any]:
    return [chunk async for chunk in app.astream(task(), config, stream_mode=mode)]


@pytest.mark.parametrize("mode", ["values", "updates", "debug", "tasks", ["values", "updates"]], ids=str)
@pytest.mark.parametrize("stored", [False, True])
def test_async_streams_show_what_was_delivered(mode: Any, stored: bool, tmp_path: Path) -> None:
    async def go() -> list[Any]:
        if not stored:
            return await streamed(linear(True).compile(), mode)
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints")) as saver:
            return await streamed(linear(True).compile(checkpointer=saver), mode, CONFIG)

    with recording(on("A", lambda s, m: (with_text(s, "changed"),))):
        chunks = repr(asyncio.run(go()))
    assert "changed" in chunks
    assert "A-says" not in chunks


def test_the_stream_of_messages_shows_what_was_said() -> None:
    with recording(on("A", lambda s, m: (with_text(s, "changed"),))):
        chunks = asyncio.run(streamed(linear(True).compile(), "messages"))
    assert [chunk.content for chunk, _ in chunks] == ["A-says", "B-says", "C-says"]


def test_a_stream_that_is_left_early_is_recorded_so_far() -> None:
    async def go() -> None:
        stream = linear(True).compile().astream(task(), stream_mode="updates")
        async for _ in stream:
            break
        await stream.aclose()

    with recording() as run:
        asyncio.run(go())
        asyncio.run(linear(True).compile().ainvoke(task()))
    assert messages(run)[:2] == [("user", ("A",)), ("A", ("B",))]
    assert messages(run)[-4:] == [("user", ("A",)), ("A", ("B",)), ("B", ("C",)), ("C", ("user",))]


def test_threads_of_one_graph_on_one_loop_do_not_mix(tmp_path: Path) -> None:
    async def go() -> list[Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "checkpoints")) as saver:
            app = linear(True).compile(checkpointer=saver)
            asked = [
                app.ainvoke(
                    {"messages": [("user", f"task {n}")], "log": []}, {"configurable": {"thread_id": str(n)}}
                )
                for n in range(4)
            ]
            return await asyncio.gather(*asked)

    with recording(on("B", lambda s, m: (s, s))) as run:
        results = asyncio.run(go())
    for number, result in enumerate(results):
        assert said(result) == [f"task {number}", "A-says", "B-says", "B-says", "C-says"]
    tasks = {step.step: step.value["messages"][0]["content"] for step in run.steps if step.agent == "user"}
    for step in run.steps:  # every message descends from the task of its own thread only
        assert len([parent for parent in step.parents if parent in tasks]) == (step.agent != "user")


@pytest.mark.parametrize("given", [("user", "hi"), {"role": "user", "content": "hi"}, "hi"], ids=repr)
def test_a_task_that_is_no_message_yet_has_readers_too(given: Any) -> None:
    seen = Seen()
    with recording(witness=seen) as run:
        result = asyncio.run(linear(True).compile().ainvoke({"messages": [given], "log": []}))
    assert said(result) == ["hi", "A-says", "B-says", "C-says"]
    assert (0, {"messages": [{"role": "user", "content": "hi"}], "log": []}, "A") in seen.got
    assert [step.parents for step in run.steps] == [(), (0,), (0, 1), (0, 1, 2)]
