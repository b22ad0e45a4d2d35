"""Runs built by hand in which one agent's output is the next one's input."""

from __future__ import annotations

from typing import Any

from masfire.trace.model import Action, End, Header, Injection, Message, Observation, Step, Trace
from masfire.trace.payload import pack


class Story:
    """Collects steps: `task` from the user, `says` for a model call, its reply and the message."""

    def __init__(self, task: Any = None) -> None:
        self.steps: list[Step] = []
        self.marks: list[Step] = []
        self._task = task

    def task(self, content: Any, to: str) -> int:
        return self._add("user", Message((to,), pack(content), "graph"), ())

    def says(self, agent: str, content: Any, *, of: tuple[int, ...], to: str = "next") -> int:
        """Let `agent` answer after reading the steps `of`; return the index of its message."""
        call = self._add(agent, Action("model_call", "m", pack({"messages": []})), of)
        outcome = {"content": content, "tool_calls": [], "finish_reason": "stop"}
        reply = self._add(agent, Observation("model_reply", "m", call, pack(outcome)), (call,))
        return self._add(agent, Message((to,), pack(content), "graph"), (reply,))

    def mark(self, step: int) -> None:
        self.marks.append(Step(step, 1.0, "x", Injection("hallucination", "hallucination", "injected")))

    def trace(self) -> Trace:
        header = Header("story", task=pack(self._task), faults=("hallucination",) if self.marks else ())
        return Trace(header, tuple(self.steps), tuple(self.marks), End("completed", steps=len(self.steps)))

    def _add(self, agent: str, body: Any, parents: tuple[int, ...]) -> int:
        self.steps.append(Step(len(self.steps), float(len(self.steps)), agent, body, parents=parents))
        return len(self.steps) - 1
