"""What an injected fault really did: the agent and step that attribution is scored against."""

from __future__ import annotations

from masfire.diagnosis.model import EARLIEST_DECISIVE, Label
from masfire.trace.model import USER, Injection, Observation, Step, Trace

OF_THE_USER = frozenset({"instruction_logic_conflict", "instruction_ambiguity"})
OF_A_MESSAGE = frozenset({"message_cycle", "message_storm", "message_broadcast_amplification"})


def truth_of(trace: Trace) -> Label | None:
    """Return the culprit of a run with one witnessed fault, or None when no fault was witnessed.

    The agent named by the fault's address and the first witnessed step; for blind trust the altered
    upstream message; for conflicting or ambiguous instructions the user's first delivery; for role
    ambiguity the first output of the agent whose prompt was changed; for message faults the sender
    and the step whose delivery changed.
    """
    marks = [(step, step.body) for step in trace.injections if isinstance(step.body, Injection)]
    witnessed = [step for step, body in marks if body.state == "witnessed"]
    injected = [step for step, body in marks if body.state == "injected"]
    if not witnessed:
        return None
    first = witnessed[0]
    body = first.body
    fault = body.fault if isinstance(body, Injection) else ""
    if fault in OF_THE_USER:
        step = min(one.step for one in (*injected, *witnessed))
        return _label(USER, step, fault)
    if fault == "blind_trust" or fault in OF_A_MESSAGE:
        # The directive of blind trust stands in requests; what was altered is somebody's output.
        altered = [one for one in injected if trace.steps[one.step].kind != "model_call"]
        origin = min(altered, key=lambda one: one.step, default=first)
        return _label(trace.steps[origin.step].agent, origin.step, fault)
    if fault == "role_ambiguity":
        return _label(first.agent, _first_output(trace, first), fault)
    return _label(first.agent, first.step, fault)


def _label(agent: str, step: int, fault: str) -> Label:
    return Label(
        agent=agent, step=step, category=fault, taxonomy="masfire", convention=EARLIEST_DECISIVE,
        source="injection",
    )  # fmt: skip


def _first_output(trace: Trace, mark: Step) -> int:
    for step in trace.steps[mark.step :]:
        if (
            step.agent == mark.agent
            and isinstance(step.body, Observation)
            and step.body.kind == "model_reply"
        ):
            return step.step
    return mark.step
