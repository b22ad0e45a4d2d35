"""Steps built by hand and sent through a recorder with an injector, for tests of the faults."""

from __future__ import annotations

import json
from typing import Any

from masfire.faults.base import FaultSpec
from masfire.faults.injector import Injector, Knowledge, Outcome
from masfire.recorder import Recorder
from masfire.trace.model import Action, Header, Message, Observation, Step
from masfire.trace.payload import pack


class Stage:
    """A run without a framework: what an adapter would submit, and what the receivers got."""

    def __init__(
        self, *addresses: str, seed: int = 0, knowledge: Knowledge | None = None, mutator: Any = None
    ) -> None:
        specs = [FaultSpec.parse(address) for address in addresses]
        self.injector = Injector(specs, seed=seed, knowledge=knowledge, mutator=mutator)
        self.recorder = Recorder(
            Header("test"), interceptors=[self.injector], witnesses=[self.injector], clock=lambda: 1.0
        )

    @property
    def outcome(self) -> Outcome:
        """Return the first fault's outcome."""
        return self.injector.outcomes()[0]

    @property
    def marks(self) -> list[str]:
        """Return the states of the marks in the trace's truth."""
        return [step.body.state for step in self.recorder.injections]

    def call(self, agent: str, body: dict[str, Any], *, deliver: bool = True, parents: tuple = ()) -> Step:
        """Offer a model call; the model receives what was recorded. Return the recorded step."""
        (step,) = self.recorder.submit(agent, Action("model_call", "m", pack(body)), parents=parents)
        if deliver:
            self.recorder.received(step.step, json.loads(json.dumps(step.value)), by="model")
        return step

    def reply(self, agent: str, outcome: Any, *, of: int = -1, deliver: bool = True) -> Any:
        """Offer a model reply (a text is its content); return the outcome the caller receives."""
        if not isinstance(outcome, dict) or "finish_reason" not in outcome:
            outcome = {"content": said(outcome), "tool_calls": [], "finish_reason": "stop"}
        (step,) = self.recorder.submit(
            agent, Observation("model_reply", "m", of, pack(outcome)), parents=(of,) if of >= 0 else ()
        )
        if deliver:
            self.recorder.received(step.step, step.value, by=agent)
        return step.value

    def message(
        self, agent: str, to: tuple[str, ...], content: Any, *, deliver: bool = True, parents: tuple = ()
    ) -> tuple[Step, ...]:
        """Offer a message; every recipient receives it. Return the recorded steps."""
        steps = self.recorder.submit(agent, Message(to, pack(content), "graph"), parents=parents)
        for step in steps if deliver else ():
            for name in step.body.to:
                self.recorder.received(step.step, {"seen": step.value}, by=name)
        return steps

    def end(self) -> Outcome:
        """Settle the injector; return the first fault's outcome."""
        for mark in self.injector.settle():
            self.recorder.mark(mark)
        return self.outcome


def said(content: Any) -> str:
    """Return a text as it is, and anything else as JSON text."""
    return content if isinstance(content, str) else json.dumps(content)


def calls(*items: tuple[str, Any]) -> dict[str, Any]:
    """Return a reply outcome with native tool calls (name, arguments)."""
    return {
        "content": None,
        "tool_calls": [
            {"id": f"call_{n}", "name": name, "arguments": said(args)} for n, (name, args) in enumerate(items)
        ],
        "finish_reason": "tool_calls",
    }


def chat(*turns: tuple[str, str], **more: Any) -> dict[str, Any]:
    """Return a chat request of (role, content) turns."""
    return {"model": "m", "messages": [{"role": role, "content": text} for role, text in turns], **more}
