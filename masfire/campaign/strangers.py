"""Faults aimed at agents that a system does not have: found in its fault-free runs."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from masfire.campaign.plan import Misplanned, Plan
from masfire.faults.base import FAULTS, FaultSpec
from masfire.trace.model import USER, Message, Trace

_SHOWN = 30
"""Agents that are named."""


def agents_of(trace: Trace) -> set[str]:
    """Return everybody who acts in a trace or is spoken to."""
    spoken_to = {to for step in trace if isinstance(step.body, Message) for to in step.body.to}
    return {agent for agent in (*trace.agents, *spoken_to) if agent}


def without_target(faults: Mapping[str, FaultSpec], seen: Iterable[set[str]]) -> tuple[list[str], set[str]]:
    """Return the addresses that aim at nobody of `seen` (agents, run by run), and the agents until then.

    It stops as soon as every fault has found somebody.
    """
    left = {address: spec for address, spec in faults.items() if spec.agent != "*"}
    agents = {USER}
    for more in seen if left else ():
        agents |= more
        left = {address: spec for address, spec in left.items() if not any(map(spec.aims_at, agents))}
        if not left:
            break
    return list(left), agents


def refusal(plan: Plan, address: str, agents: Iterable[str], *, where: str) -> Misplanned:
    """Return the error that a fault of a plan aims at nobody of the agents seen `where`."""
    spec = FaultSpec.parse(address)
    names = sorted(set(agents) - {USER})
    near = difflib.get_close_matches(spec.agent, names, n=1, cutoff=0.5)
    did = f"Did you mean {FAULTS.get(spec.name).name}@{near[0]}? " if near else ""
    shown = ", ".join(names[:_SHOWN]) or "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    place = next(
        (index for index, text in enumerate(plan.faults) if text != "all" and _same(text, address)), 0
    )
    return Misplanned(
        f"There is no agent {spec.agent!r} {where}.",
        hint=f"{did}Agents seen: {shown}{more}.",
        location=("faults", place),
    )


def _same(text: str, address: str) -> bool:
    return text == address or FaultSpec.parse(text).address == address
