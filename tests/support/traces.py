"""Small runs on disk for the tests that damage, kill and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from masfire.trace.io import TraceWriter
from masfire.trace.model import Action, Draw, End, Header, Injection, Message, Observation, Step, Trace
from masfire.trace.payload import pack

HEADER = Header(
    run="r-1", created=1.5, seed=7, task=pack({"ask": "two pens"}), faults=("message_cycle@writer",)
)


def message(index: int, content: Any = "hello", **fields: Any) -> Step:
    """Return a message step."""
    return Step(index, 100.0 + index, "writer", Message(("reader",), pack(content)), **fields)


def story() -> list[Step]:
    """Return a few steps of every common kind, one of them hidden."""
    request = {"model": "m", "messages": [{"role": "user", "content": "naïve \u2028 text"}]}
    reply = {"content": None, "tool_calls": [{"id": "c1", "name": "stock", "arguments": '{"sku": "pen"}'}]}
    return [
        Step(0, 100.0, "user", Message(("writer",), pack("two pens"), via="graph")),
        Step(1, 101.0, "writer", Action("model_call", "m", pack(request)), "clerk", (0,)),
        Step(2, 102.0, "writer", Observation("model_reply", "m", 1, pack(reply), draw=Draw("ab" * 32)),
             "clerk", (1,)),
        Step(3, 103.0, "writer", Injection("semantic", "semantic@writer", "injected", after=pack("x"))),
        Step(3, 103.0, "writer", Action("tool_call", "stock", pack({"args": {"sku": "pen"}}), id="c1"),
             "clerk", (2,)),
        Step(4, 104.0, "writer", Observation("tool_result", "stock", 3, pack({"value": 12}))),
    ]  # fmt: skip


def write_story(path: Path, *, ended: bool = True) -> Trace:
    """Write `story` to a file and return it as the trace that must be read back."""
    writer = TraceWriter(path, HEADER)
    for step in story():
        writer.write(step)
    end = End("completed", answer=pack({"ok": True}), success=True, steps=5, seconds=0.25) if ended else None
    writer.close(end)
    visible = tuple(step for step in story() if not isinstance(step.body, Injection))
    hidden = tuple(step for step in story() if isinstance(step.body, Injection))
    return Trace(HEADER, visible, hidden, end)


def same(left: Trace, right: Trace) -> bool:
    """Return whether two traces are equal step by step (payloads byte by byte)."""
    return (left.header, left.steps, left.injections, left.end) == (
        right.header, right.steps, right.injections, right.end,
    )  # fmt: skip
