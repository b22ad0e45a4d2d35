"""Counterfactual evidence: where a failed run first left the way that its clean twin took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from masfire.diagnosis.model import Evidence, Finding
from masfire.errors import RefusedValue
from masfire.trace.model import Action, Decision, Message, Observation, Step, Trace
from masfire.trace.payload import unpack

_IDENTITY = re.compile(rb'"(?:id|tool_call_id)":"[^"]*"')
"""Correlation ids are drawn anew in each run and say nothing."""

Signature = tuple[Any, ...]


class Counterfactual:
    """Compares a run with clean runs of the same task and seed, step by step.

    With seeded (or cached) models two runs are alike until something is changed, so the first step
    that differs is the change or its first trace. The clean runs are evidence that had to be paid
    for: one re-run each.
    """

    name = "counterfactual"

    def __init__(self, clean: Sequence[Trace]) -> None:
        self._clean = [[signature(step) for step in trace.steps] for trace in clean]
        self._traces = [trace.blind() for trace in clean]

    def examine(self, trace: Trace) -> list[Finding]:
        """Return the step at which it left all its twins; nothing without twins or when it never did."""
        if not self._clean:
            return []
        mine = [signature(step) for step in trace.steps]
        shared = [_common(mine, other) for other in self._clean]
        best = max(range(len(shared)), key=lambda index: shared[index])
        here, twin = shared[best], self._traces[best]
        if here >= len(mine) and here >= len(twin.steps):
            return []
        step, text = _culprit(trace, mine, twin, here)
        share = sum(1 for length in shared if length <= here) / len(shared)
        steps = (step,) if step == here else (step, min(here, len(mine) - 1))
        evidence = Evidence(self.name, text, steps, share)
        findings = [Finding(step, share, evidence)]
        if step != here and here < len(mine):
            first = Evidence(self.name, "the first step that its clean twin has not", (here,), 0.3)
            findings.append(Finding(here, 0.3, first))
        return findings


def no_twin(trace: Trace, other: Trace) -> str:
    """Return why `other` is no clean twin of a failed run, or an empty string.

    A twin is another run of the same system, task and seed that did not fail. What differs from any other
    run differs for that reason, and would look guilty.
    """
    mine, its = trace.header, other.header
    unlike = [what for what in ("system", "task", "seed") if getattr(mine, what) != getattr(its, what)]
    if unlike:
        return f"it has another {' and another '.join(unlike)}"
    if other.end is None:
        return "it has no end: nobody knows whether it went well"
    if other.end.success is False:
        return (
            "it is the run itself" if (mine.run, mine.created) == (its.run, its.created) else "it failed, too"
        )
    return ""


def signature(step: Step) -> Signature:
    """Return what makes two steps of two runs the same: who, what kind, to whom, which payload."""
    body = step.body
    payload = _IDENTITY.sub(b"", bytes(step.payload))
    if isinstance(body, Message):
        return (step.agent, "message", body.to, payload)
    if isinstance(body, Action):
        return (step.agent, body.kind, body.name, payload)
    if isinstance(body, Observation):
        return (step.agent, body.kind, body.name, body.ok, payload)
    if isinstance(body, Decision):
        return (step.agent, "decision", body.outcome, body.rule)
    return (step.agent, step.kind, payload)


def _common(left: Sequence[Signature], right: Sequence[Signature]) -> int:
    """Return how many steps two runs share from the beginning."""
    length = 0
    for one, other in zip(left, right, strict=False):
        if one != other:
            break
        length += 1
    return length


def _culprit(trace: Trace, mine: Sequence[Signature], twin: Trace, here: int) -> tuple[int, str]:
    """Return the step to blame for a first difference at `here`, and why."""
    if here >= len(mine):
        return len(mine) - 1, "the run ends here; its clean twin goes on"
    repeated = _original(mine, here)
    if repeated is not None:
        return repeated, f"delivered once more at step {here}, which its clean twin does not do"
    step = trace.steps[here]
    if step.kind == "model_call" and here < len(twin.steps) and twin.steps[here].kind == "model_call":
        if _system_prompt(trace, here) != _system_prompt(twin, here):
            other = _without_prompts(mine, twin, here)
            if other is not None:
                return other, "the first output that differs from its clean twin"
            answer = _reply(trace, here)
            return (
                answer,
                f"the first answer to a system prompt (step {here}) that its clean twin has otherwise",
            )
        return here, "its model is asked with another history than in its clean twin"
    return here, "the first step that differs from its clean twin"


def _without_prompts(mine: Sequence[Signature], twin: Trace, here: int) -> int | None:
    """Return where another agent's output first differs, if the changed prompt changed no output before.

    A prompt that made no difference is no cause; what differs next, although it was asked alike, is.
    """
    agent = mine[here][0]
    for index in range(here + 1, min(len(mine), len(twin.steps))):
        other = signature(twin.steps[index])
        if mine[index] == other or (mine[index][:3] == other[:3] and mine[index][1] == "model_call"):
            continue
        return index if mine[index][0] != agent and mine[index][1] == "model_reply" else None
    return None


def _original(mine: Sequence[Signature], here: int) -> int | None:
    """Return the earlier message of which the step at `here` is one more copy, if it is."""
    if mine[here][1] != "message":
        return None
    agent, _, _, payload = mine[here]
    for index in range(here - 1, -1, -1):
        other = mine[index]
        if other[1] == "message" and other[0] == agent and other[3] == payload:
            return _first(mine, other)
    return None


def _first(mine: Sequence[Signature], wanted: Signature) -> int:
    for index, one in enumerate(mine):
        if one[1] == "message" and one[0] == wanted[0] and one[3] == wanted[3]:
            return index
    return 0


def _system_prompt(trace: Trace, index: int) -> Any:
    try:
        request = trace.request(index)
    except (RefusedValue, KeyError, IndexError, TypeError, ValueError):
        return None
    if not isinstance(request, dict):
        return None
    messages = request.get("messages") or request.get("input") or ()
    instructions = request.get("instructions")
    said = [
        one.get("content")
        for one in messages
        if isinstance(one, dict) and one.get("role") in ("system", "developer")
    ]
    return instructions, said


def _reply(trace: Trace, call: int) -> int:
    for step in trace.steps[call + 1 :]:
        if isinstance(step.body, Observation) and step.body.kind == "model_reply" and step.body.of == call:
            return step.step
    return call


# Spectra -------------------------------------------------------------------------------------------


class Spectrum:
    """Blames units that failed repeats of a task contain and passed ones do not (Kulczynski2, FAMAS).

    A unit is (agent, kind, name, class of the payload); Kulczynski2 of a unit is the mean of the share
    of failed runs that contain it and the share of its runs that failed. It needs repeats of the
    *same* task: over tasks, names of tools tell nothing.
    """

    name = "spectrum"

    def __init__(self, repeats: Sequence[tuple[Trace, bool]]) -> None:
        self._failed: Counter[Signature] = Counter()
        self._passed: Counter[Signature] = Counter()
        self._failures = sum(1 for _, passed in repeats if not passed)
        self._passes = len(repeats) - self._failures
        for trace, passed in repeats:
            (self._passed if passed else self._failed).update({unit(step) for step in trace.steps})

    def examine(self, trace: Trace) -> list[Finding]:
        """Return one finding a step whose unit is suspicious; nothing without a passed repeat."""
        if not self._passes:
            return []
        findings = []
        for step in trace.steps:
            one = unit(step)
            failed, passed = self._failed[one] + 1, self._passed[one]
            score = 0.5 * (failed / (self._failures + 1) + failed / (failed + passed)) if not passed else 0.0
            if score > 0:
                text = f"in {failed} of {self._failures + 1} failed runs and no passed one of {self._passes}"
                findings.append(Finding(step.step, score, Evidence(self.name, text, (step.step,), score)))
        return findings


def unit(step: Step) -> Signature:
    """Return the typed unit of a step: agent, kind, name, and the shape and values of its arguments."""
    body = step.body
    name = body.name if isinstance(body, (Action, Observation)) else ""
    if isinstance(body, Action) and body.kind == "tool_call":
        return (step.agent, step.kind, name, _IDENTITY.sub(b"", bytes(step.payload)))
    if isinstance(body, Observation):
        return (step.agent, step.kind, name, body.ok)
    try:
        value = unpack(step.payload) if step.payload else None
    except RefusedValue:
        value = None
    shape: Any = tuple(sorted(value)) if isinstance(value, dict) else type(value).__name__
    return (step.agent, step.kind, name, shape)
