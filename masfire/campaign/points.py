"""Where a fault can strike a system, found by a dry run over what a fault-free control recorded."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from masfire.faults.base import FAULTS, FaultSpec
from masfire.faults.injector import Injector, Knowledge
from masfire.trace.model import USER, Step, Trace
from masfire.trace.payload import pack


def points(spec: FaultSpec, trace: Trace, knowledge: Knowledge) -> list[FaultSpec]:
    """Return `spec` aimed at each agent that it would have changed something for, in order.

    Agents that the fault is about (planners, the user) are preferred to others; the user counts
    otherwise only when no agent does. A spec that names its agent is returned as it is. So is one that
    nothing in the trace suits: the run then says in its own words why it could not be injected.
    """
    if spec.agent != "*":
        return [spec]
    about = FAULTS.get(spec.name).about
    steps = _full(trace)
    agents = [agent for agent in trace.agents if agent and agent != USER]
    meant = [USER] if about == USER else [agent for agent in agents if about and about in agent.lower()]
    for candidates in (meant, agents, [USER]):
        aimed = [msgspec.structs.replace(spec, agent=_literal(agent)) for agent in candidates]
        found = [one for one in aimed if _strikes(one, steps, knowledge)]
        if found:
            return found
    return [spec]


def _strikes(spec: FaultSpec, steps: Sequence[Step], knowledge: Knowledge) -> bool:
    injector = Injector([spec], knowledge=knowledge)
    history: list[Step] = []
    for step in steps:
        if tuple(injector(step, history)) != (step,) and spec.aims_at(step.agent):
            return True  # a dual fault also changes what others say: only the agent aimed at counts
        history.append(step)
    return False


def _full(trace: Trace) -> list[Step]:
    """Return the steps with every shortened request written out, as an injector sees them live."""
    return [
        step.with_payload(pack(trace.request(step.step))) if step.kind == "model_call" else step
        for step in trace
    ]


def _literal(agent: str) -> str:
    """Return the pattern that matches this agent alone."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in agent)
