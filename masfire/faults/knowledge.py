"""What a fault may know of the system it breaks, learnt from recorded steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from masfire.faults.base import Tool
from masfire.faults.requests import system_text, tools_of
from masfire.trace.context import expand
from masfire.trace.model import USER, Action, Message, Step, Trace
from masfire.trace.payload import unpack


class Knowledge(Struct):
    """Agents, roles, tools and reading habits of a system, as a fault-free control has shown them.

    `agents` in order of first appearance (without the user); `roles` agent → system prompt; `tools`
    name → Tool; `task` the task's text; `slot` the model's context window in tokens (0: unknown);
    `edges` reader → agents whose output it read, in order.
    """

    agents: list[str] = []
    roles: dict[str, str] = {}
    tools: dict[str, Tool] = {}
    task: str = ""
    slot: int = 0
    edges: dict[str, list[str]] = {}

    @classmethod
    def from_trace(cls, trace: Trace, *, slot: int = 0) -> Knowledge:
        """Return what `trace` shows of its system; `slot` is the model's context window in tokens."""
        known = cls(slot=slot)
        known.learn(trace.steps, 0)
        if not known.task:
            known.task = as_text(unpack(trace.header.task))
        return known

    def copy(self) -> Knowledge:
        """Return a copy that can learn without changing this one."""
        edges = {reader: list(sources) for reader, sources in self.edges.items()}
        return Knowledge(list(self.agents), dict(self.roles), dict(self.tools), self.task, self.slot, edges)

    def learn(self, steps: Sequence[Step], start: int) -> int:
        """Take in the steps from index `start` on; return the index to go on from next time."""
        for index in range(start, len(steps)):
            step = steps[index]
            self.meet(step.agent)
            body = step.body
            if isinstance(body, Message):
                for name in body.to:
                    self.meet(name)
                if step.agent == USER and not self.task:
                    self.task = as_text(step.value)
            elif isinstance(body, Action) and body.kind == "model_call":
                self._read(step.agent, expand(steps, index))
                self._connect(step.agent, [steps[p] for p in step.parents if 0 <= p < len(steps)])
        return len(steps)

    def meet(self, agent: str) -> None:
        """Remember that `agent` exists."""
        if agent != USER and agent not in self.agents:
            self.agents.append(agent)

    def _read(self, agent: str, request: Any) -> None:
        if not isinstance(request, dict):
            return
        role = system_text(request)
        if role:
            self.roles.setdefault(agent, role)
        for tool in tools_of(request):
            self.tools.setdefault(tool.name, tool)

    def _connect(self, reader: str, parents: Sequence[Step]) -> None:
        for parent in parents:
            if parent.agent not in (reader, USER) and parent.kind in ("model_reply", "message"):
                sources = self.edges.setdefault(reader, [])
                if parent.agent not in sources:
                    sources.append(parent.agent)


def as_text(value: Any) -> str:
    """Return the texts inside a JSON value, one a line: what a reader of it would see."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        value = [item for key, item in value.items() if key not in ("role", "id", "type")]
    if isinstance(value, list):
        return "\n".join(text for text in map(as_text, value) if text)
    return "" if value is None or isinstance(value, bool) else str(value)
