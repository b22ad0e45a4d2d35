"""What agents put into the world: their outputs, turn by turn."""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from msgspec import Struct

from masfire.claims import Statement, statements_of
from masfire.errors import RefusedValue
from masfire.trace.model import USER, Action, Message, Observation, Step, Trace

SPOKEN = frozenset({"model_reply", "tool_call", "memory_write", "delegation", "termination"})
"""Kinds of steps that are an agent's own words or deeds."""


class Output(Struct, frozen=True):
    """One output: who, at which step, in which turn (0-based), what was said, and its statements.

    A turn is an unbroken stretch of outputs of one agent.
    """

    agent: str
    step: int
    turn: int
    time: float
    kind: str
    value: Any
    statements: tuple[Statement, ...]


def outputs(trace: Trace, agents: Container[str] = ()) -> Iterator[Output]:
    """Yield the agents' outputs in order. Messages count for agents that no model reply stands for.

    With `agents`, the outputs of these alone, and only their turns are counted.

    A message often repeats the whole shared conversation; the reply is what its agent added.
    """
    replying = {step.agent for step in trace if step.kind == "model_reply"}
    turn, before = -1, ""
    for step in trace:
        if agents and step.agent not in agents:
            continue
        if step.agent == USER or not _is_output(step, replying):
            continue
        said = spoken_by(step)
        if step.agent != before:
            turn, before = turn + 1, step.agent
        yield Output(step.agent, step.step, turn, step.time, step.kind, said, tuple(statements_of(said)))


def spoken_by(step: Step) -> Any:
    """Return what a step says as a value without labels: content, calls' arguments, a result.

    What cannot be decoded says nothing.
    """
    body = step.body
    try:
        value = step.value
    except RefusedValue:
        return None
    if isinstance(body, Observation) and isinstance(value, dict):
        if body.kind == "model_reply":
            calls = value.get("tool_calls")
            made = (
                [c.get("arguments") for c in calls if isinstance(c, dict)] if isinstance(calls, list) else []
            )
            return [value.get("content"), *made] if made else value.get("content")
        return value
    if isinstance(body, Action) and isinstance(value, dict):
        return value.get("args", value)
    return value


def _is_output(step: Step, replying: set[str]) -> bool:
    if isinstance(step.body, Message):
        return step.agent not in replying
    return step.kind in SPOKEN and not (isinstance(step.body, Observation) and not step.body.ok)


__all__ = ["SPOKEN", "Output", "outputs", "spoken_by"]
