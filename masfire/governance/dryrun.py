"""What a policy would have done on a recorded run."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from masfire.governance.governor import Governor
from masfire.governance.interceptor import Gatekeeper
from masfire.governance.policy import Policy
from masfire.trace.model import Action, Decision, Message, Step, Trace


class Would(Struct, frozen=True):
    """What the policy says of one recorded step; `step` is its index, `capability` kind and name."""

    step: int
    agent: str
    capability: str
    outcome: str
    rule: str
    reason: str = ""


def dry_run(trace: Trace, policy: Policy) -> tuple[Would, ...]:
    """Return what the policy would have decided on each message and action of a recorded run.

    Each step is judged as if everything before it had happened as recorded: a run that is really
    governed goes another way after its first block. Time is the trace's; the trace is judged blind.
    """
    trace = trace.blind()
    now = [trace.steps[0].time if trace.steps else 0.0]
    governor = Governor(policy, clock=lambda: now[0], timer=lambda: now[0])
    gate = governor.for_run(trace.header)
    found: list[Would] = []
    past: list[Step] = []
    for step in trace.steps:
        now[0] = max(now[0], step.time)
        if isinstance(step.body, Action):
            step = _proposed(step, step.body)
        answer = _asked(gate, step, past)
        if isinstance(step.body, (Action, Message)):
            found.append(_would(step, answer))
        past.append(trace.steps[step.step])
    governor.end(gate.run, trace.end.status if trace.end is not None else "interrupted")
    return tuple(found)


def _proposed(step: Step, body: Action) -> Step:
    """Return an action as it was proposed: what another policy let through says nothing here."""
    return Step(
        step.step, step.time, step.agent, Action(body.kind, body.name, body.proposed, id=body.id),
        step.role, step.parents,
    )  # fmt: skip


def _asked(gate: Gatekeeper, step: Step, past: Sequence[Step]) -> Sequence[Step]:
    answer = gate(step, past)
    assert isinstance(answer, (tuple, list))  # noqa: S101 - without checks of its own nothing waits
    return answer


def _would(step: Step, answer: Sequence[Step]) -> Would:
    body = step.body
    name = f"{step.kind}:{body.name}" if isinstance(body, Action) else step.kind
    for item in answer:
        if isinstance(item.body, Decision):
            said = item.body
            return Would(step.step, step.agent, name, said.outcome, said.rule, said.reason)
    return Would(step.step, step.agent, name, "allow", "")
