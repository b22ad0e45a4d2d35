"""The spine: a finished trace goes in, a report comes out, and nothing else happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from masfire.contracts.model import Contract, Verdict
from masfire.errors import RefusedValue
from masfire.trace.model import Action, Message, Observation, Trace
from masfire.trace.payload import Payload, unpack


class Edge(Struct, frozen=True):
    """How many messages one agent sent to another."""

    sender: str
    to: str
    messages: int


class ToolError(Struct, frozen=True):
    """A tool call that came back as an error: who made it, at which step, and what it said."""

    agent: str
    tool: str
    step: int
    message: str


class Calls(Struct, frozen=True):
    """The model calls of a run: how many, how many failed, tokens as the provider counted them.

    `sources` counts replies by where they came from: `live`, `cache`, `stub` or `replay`; `seconds` is
    the time spent waiting for replies, added up over parallel agents.
    """

    made: int
    failed: int
    tokens_in: int
    tokens_out: int
    seconds: float
    sources: dict[str, int]


class Report(Struct, frozen=True):
    """What can be said of a run from its trace alone, without knowing which faults were injected.

    `agents` in order of first appearance (without the user); `steps` counts visible steps by kind;
    `edges` who wrote to whom, in order of first message; `linked` is the number of steps that know
    their causal parents; `status` is empty when the trace has no end; `verdicts` are one a contract, in the
    order in which the contracts were given.
    """

    run: str
    system: str
    agents: tuple[str, ...]
    steps: dict[str, int]
    edges: tuple[Edge, ...]
    calls: Calls
    tool_calls: dict[str, int]
    tool_errors: tuple[ToolError, ...]
    linked: int
    status: str
    success: bool | None
    error: str
    seconds: float
    verdicts: tuple[Verdict, ...] = ()


def analyze(trace: Trace, *, contracts: Sequence[Contract] = ()) -> Report:
    """Return what `trace` shows, and what `contracts` say of it.

    The ground truth of injections is hidden from it first.
    """
    trace = trace.blind()
    end = trace.end
    return Report(
        run=trace.header.run,
        system=trace.header.system,
        agents=tuple(agent for agent in trace.agents if agent and agent != "user"),
        steps=dict(sorted(Counter(step.kind for step in trace).items())),
        edges=_edges(trace),
        calls=_calls(trace),
        tool_calls=dict(sorted(Counter(_tools(trace)).items())),
        tool_errors=_tool_errors(trace),
        linked=sum(1 for step in trace if step.parents),
        status=end.status if end else "",
        success=end.success if end else None,
        error=end.error if end else "",
        seconds=end.seconds if end else 0.0,
        verdicts=_verdicts(trace, contracts),
    )


def _verdicts(trace: Trace, contracts: Sequence[Contract]) -> tuple[Verdict, ...]:
    if not contracts:
        return ()
    from masfire.contracts.engine import judge

    return judge(trace, contracts)


def _edges(trace: Trace) -> tuple[Edge, ...]:
    pairs = Counter(
        (step.agent, to) for step in trace if isinstance(step.body, Message) for to in step.body.to
    )
    return tuple(Edge(sender, to, n) for (sender, to), n in pairs.items())


def _tools(trace: Trace) -> list[str]:
    return [
        step.body.name for step in trace if isinstance(step.body, Action) and step.body.kind == "tool_call"
    ]


def _calls(trace: Trace) -> Calls:
    replies = [
        step.body for step in trace if isinstance(step.body, Observation) and step.body.kind == "model_reply"
    ]
    draws = [reply.draw for reply in replies if reply.draw is not None]
    return Calls(
        made=sum(step.kind == "model_call" for step in trace),
        failed=sum(not reply.ok for reply in replies),
        tokens_in=sum(draw.tokens_in for draw in draws),
        tokens_out=sum(draw.tokens_out for draw in draws),
        seconds=sum(draw.seconds for draw in draws),
        sources=dict(sorted(Counter(draw.source for draw in draws).items())),
    )


def _tool_errors(trace: Trace) -> tuple[ToolError, ...]:
    return tuple(
        ToolError(step.agent, step.body.name, step.step, _complaint(step.body.outcome))
        for step in trace
        if isinstance(step.body, Observation) and step.body.kind == "tool_result" and not step.body.ok
    )


def _complaint(payload: Payload) -> str:
    """Return what an error outcome, {"error": {"type", "message"}}, says in words."""
    try:
        outcome = unpack(payload)
    except RefusedValue as refused:
        return refused.message
    error = outcome.get("error") if isinstance(outcome, dict) else outcome
    if isinstance(error, dict):
        return ": ".join(str(error[key]) for key in ("type", "message") if error.get(key))
    return str(error)
