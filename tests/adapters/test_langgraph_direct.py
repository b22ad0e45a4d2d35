"""The short way records what the long way does: same steps, same parents, same file content."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from masfire import session
from masfire.adapters import langgraph
from masfire.adapters.langgraph_board import Board
from masfire.adapters.langgraph_board import State as Memory
from masfire.recorder import Recorder
from masfire.trace.io import read_trace
from masfire.trace.model import Header, Step


class State(TypedDict, total=False):
    order: str
    turn: int
    rate: float
    remark: str | None
    keep: str
    messages: Annotated[list[Any], add_messages]


def _talk() -> Any:
    graph = StateGraph(State)
    graph.add_node("one", lambda s: {"messages": [AIMessage("ja \n", id="m1", name="one")], "turn": 1})
    graph.add_node("two", lambda s: {"messages": HumanMessage([{"type": "text", "text": "x"}], id="m2")})
    graph.add_node("three", lambda s: {"messages": [*s["messages"], AIMessage("again", id="m3")]})
    graph.add_node("four", lambda s: {"messages": [RemoveMessage("m1"), ("user", "plain")], "turn": 2})
    call = {"name": "look", "args": {"a": 1}, "id": "call_1", "type": "tool_call"}
    graph.add_node("five", lambda s: {"messages": [AIMessage("", id="m5", tool_calls=[call])]})
    graph.add_node("six", lambda s: {"messages": [AIMessage("other", id="m3"), AIMessage("new", id="m6")]})
    graph.add_node("seven", lambda s: {"messages": []})
    graph.add_node("eight", lambda s: {"messages": [AIMessage('says "null"', id="m8")], "order": "sent"})
    names = ["one", "two", "three", "four", "five", "six", "seven", "eight"]
    for before, after in itertools.pairwise([START, *names]):
        graph.add_edge(before, after)
    return graph.compile()


def _chain() -> Any:
    graph = StateGraph(State)
    graph.add_node("buyer", lambda s: {"order": "two crates", "turn": s.get("turn", 0) + 1})
    graph.add_node("packer", lambda s: {"rate": math.nan, "remark": None, "order": s["order"]})
    graph.add_node("left", lambda s: {"order": "left \ud800"})
    graph.add_node("right", lambda s: {"remark": 'says "null"'})
    graph.add_node("clerk", lambda s: {"keep": "token sk-abcdefghijklmnop"})
    graph.add_node("silent", lambda s: None)
    graph.add_edge(START, "buyer")
    graph.add_conditional_edges("buyer", lambda s: "packer" if s["turn"] > 2 else "buyer")
    graph.add_edge("packer", "left")
    graph.add_edge("packer", "right")
    graph.add_edge(["left", "right"], "clerk")
    graph.add_edge("clerk", "silent")
    graph.add_edge("silent", END)
    return graph.compile()


def _nested() -> Any:
    graph = StateGraph(State)
    graph.add_node("before", lambda s: {"order": "before"})
    graph.add_node("team", _chain())
    graph.add_node("after", lambda s: {"order": "after"})
    graph.add_edge(START, "before")
    graph.add_edge("before", "team")
    graph.add_edge("team", "after")
    return graph.compile()


def _steps(app: Any, path: Path, **options: Any) -> list[Step]:
    with session.run(path=path, clock=lambda: 1.0, **options):
        app.invoke({"keep": "as it was"})
    return [msgspec.structs.replace(step, time=0.0) for step in read_trace(path)]


@pytest.mark.parametrize(("build", "short_ones"), [(_chain, 8), (_nested, 8), (_talk, 3)])
def test_both_ways_record_the_same(
    build: Any, short_ones: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = build()
    told: list[bool] = []
    tell = langgraph.tell
    monkeypatch.setattr(langgraph, "tell", lambda *given: told.append(tell(*given)) or told[-1])
    short = _steps(app, tmp_path / "short.jsonl")
    assert sum(told) >= short_ones
    told.clear()
    long = _steps(app, tmp_path / "long.jsonl", interceptors=[lambda step, history: (step,)])
    assert not any(told)
    assert short == long
    assert b"sk-abcdefghijklmnop" not in (tmp_path / "short.jsonl").read_bytes()


def test_a_secret_in_an_agents_name_is_found(tmp_path: Path) -> None:
    graph = StateGraph(State)
    graph.add_node("sk-abcdefghijklmnop", lambda s: {"order": "x"})
    graph.add_edge(START, "sk-abcdefghijklmnop")
    _steps(graph.compile(), tmp_path / "t.jsonl")
    assert b"sk-abcdefghijklmnop" not in (tmp_path / "t.jsonl").read_bytes()


def test_a_message_stems_from_the_last_step_that_sent_one_of_its_id() -> None:
    state = Memory(Recorder(Header(run="r")))
    first, other = AIMessage("one", id="m1"), AIMessage("two", id="m2")
    state.stems(first, 3)
    state.stems(other, 4)
    assert state.causes([first, other]) == {3, 4}
    corrected = AIMessage("one, corrected", id="m1")
    state.stems(corrected, 5)
    state.stems(other, 6)
    read_back = AIMessage("two", id="m2")  # as a checkpointer gives it: another object
    assert state.causes([first]) == state.causes([corrected]) == {5}
    assert state.causes([read_back, first, AIMessage("new", id="m3"), "text", None]) == {5, 6}
    state.stems(AIMessage("lost", id="m2"), -1)
    assert state.causes([other, read_back]) == set()


def test_channels_remember_all_writers_of_one_superstep() -> None:
    board = Board()
    board.wrote(["order", "turn"], 1, 4)
    board.wrote(["turn"], 1, 5)
    assert board.writers == {"order": (1, (4,)), "turn": (1, (4, 5))}
    board.wrote(["order"], 2, 6)
    assert board.writers["order"] == (2, (6,))
