"""A contract's own examples: short traces in compact notation, and whether the contract agrees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from masfire.contracts.model import Contract, Status
from masfire.errors import UsageError
from masfire.trace.model import Action, Body, Decision, Draw, End, Header, Message, Observation, Step, Trace
from masfire.trace.payload import pack

KINDS = (
    "message", "tool_call", "tool_result", "model_call", "model_reply", "memory_read", "memory_write",
    "memory_value", "delegation", "termination", "event", "decision",
)  # fmt: skip
_RESULT_OF = {"tool_result": "tool_call", "model_reply": "model_call", "memory_value": "memory_read"}
NO_END = "none"


class ExampleStep(BaseModel):
    """One step in compact notation: exactly one kind, `tool_call: pay`, and what goes with it.

    The kind's value is the name of the tool, model, event or memory; of a message its content; of a
    decision its outcome. `agent` is who acts (default `agent`), `at` the time in seconds (default: the
    step's index), `repeat` how many such steps there are, `of` the step that a result answers (default:
    the latest open call of that name), `filler` the characters of a further message of the request.
    `end: completed` instead of a kind is how the run ends; `end: none`: it has no end.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: str = "agent"
    role: str = ""
    at: float | None = Field(default=None, allow_inf_nan=False)
    parents: list[int] = []

    message: Any = None
    tool_call: str | None = None
    tool_result: str | None = None
    model_call: str | None = None
    model_reply: str | None = None
    memory_read: str | None = None
    memory_write: str | None = None
    memory_value: str | None = None
    delegation: str | None = None
    termination: str | None = None
    event: str | None = None
    decision: str | None = None
    end: str | None = None

    filler: int = Field(default=0, ge=0, le=1_000_000)
    repeat: int = Field(default=1, ge=1, le=10_000)
    to: str | list[str] = []
    via: str = ""
    args: Any = None
    id: str = ""
    request: dict[str, Any] = {}
    of: int | None = None
    value: Any = None
    error: Any = None
    content: str | None = None
    tool_calls: list[dict[str, Any]] = []
    tokens: int = 0
    rule: str = ""
    reason: str = ""

    @model_validator(mode="after")
    def _one_kind(self) -> ExampleStep:
        named = [kind for kind in (*KINDS, "end") if kind in self.model_fields_set]
        if len(named) != 1:
            said = ", ".join(named) or "none"
            raise ValueError(
                f"A step has exactly one kind ({', '.join(KINDS)}, or end); this one has {said}."
            )
        return self

    @property
    def kind(self) -> str:
        """Return the step's kind, or `end`."""
        return next(kind for kind in (*KINDS, "end") if kind in self.model_fields_set)


Steps: TypeAlias = list[ExampleStep]


class Examples(BaseModel):
    """What a contract says of short runs: `clean` is satisfied, `violating` violated, `vacuous` vacuous.

    `at` is the step at which the violating one is noticed (its number of steps: at the end).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    clean: Steps | None = None
    violating: Steps | None = None
    vacuous: Steps | None = None
    pending: Steps | None = None
    inconclusive: Steps | None = None
    at: int | None = Field(default=None, ge=0)


WANTED = {
    "clean": Status.SATISFIED, "violating": Status.VIOLATED, "vacuous": Status.VACUOUS,
    "pending": Status.PENDING, "inconclusive": Status.INCONCLUSIVE,
}  # fmt: skip


class Outcome(Struct, frozen=True):
    """What a contract said of one of its examples; `wrong` is empty when that is what was promised."""

    contract: str
    example: Literal["clean", "violating", "vacuous", "pending", "inconclusive"]
    status: Status
    wrong: str = ""
    where: str = ""


def judge_examples(contract: Contract, examples: Examples) -> list[Outcome]:
    """Return what the contract says of each of its examples."""
    from masfire.contracts.engine import judge

    outcomes = []
    for name, wanted in WANTED.items():
        steps = getattr(examples, name)
        if steps is None:
            continue
        [verdict] = judge(trace_of(steps), [contract])
        wrong = ""
        if verdict.status is not wanted:
            causes = ", ".join(cause for cause, _ in verdict.causes)
            reasons = ", ".join(violation.reason or violation.formula for violation in verdict.violations)
            wrong = f"is {verdict.status.value}, not {wanted.value}" + "".join(
                f" ({text})" for text in (causes, reasons) if text
            )
        elif name == "violating" and examples.at is not None and verdict.first is not None:
            found = verdict.first.violated_at
            wrong = "" if found == examples.at else f"is violated at step {found}, not {examples.at}"
        outcomes.append(Outcome(contract.id, name, verdict.status, wrong, contract.where))  # type: ignore[arg-type]
    return outcomes


def trace_of(steps: Sequence[ExampleStep | Mapping[str, Any]]) -> Trace:
    """Return the trace that compact steps describe; it ends as `completed` unless a last `end` says else.

    Raise UsageError when a result answers no call, or a step follows the end.
    """
    made: list[Step] = []
    ended: str | None = "completed"
    written = [step if isinstance(step, ExampleStep) else ExampleStep.model_validate(step) for step in steps]
    for place, step in enumerate(written):
        if step.kind == "end":
            if place != len(written) - 1:
                raise UsageError("An example goes on after its end.")
            ended = None if step.end == NO_END else step.end
            continue
        for _ in range(step.repeat):
            made.append(_step(step, made))
    end = None if ended is None else End(status=ended, steps=len(made))
    return Trace(header=Header(run="example"), steps=tuple(made), end=end)


def _step(step: ExampleStep, made: list[Step]) -> Step:
    at = len(made)
    body = _body(step, made)
    of = [body.of] if isinstance(body, Observation) and body.of >= 0 else []
    parents = tuple(sorted({*step.parents, *of}))
    if any(not 0 <= parent < at for parent in parents):
        raise UsageError(f"Step {at} of an example has a parent that is not an earlier step.")
    time = float(at) if step.at is None else step.at
    return Step(step=at, time=time, agent=step.agent, body=body, role=step.role, parents=parents)


def _body(step: ExampleStep, made: list[Step]) -> Body:
    kind = step.kind
    name = getattr(step, kind)
    if kind == "message":
        to = (step.to,) if isinstance(step.to, str) else tuple(step.to)
        return Message(to=to, content=pack(step.message), via=step.via)
    if kind == "decision":
        return Decision(
            outcome=str(name), rule=step.rule, reason=step.reason, of=-1 if step.of is None else step.of
        )
    if kind in _RESULT_OF:
        ok = "error" not in step.model_fields_set
        outcome = _outcome(step, kind) if ok else {"error": step.error}
        draw = Draw(request="", tokens_in=step.tokens) if step.tokens else None
        of = _answered(step, kind, name, made)
        return Observation(kind=kind, name=name, of=of, outcome=pack(outcome), ok=ok, draw=draw)
    if kind == "model_call":
        payload: Any = {"model": name, **step.request}
        if step.filler:
            filler = {"role": "user", "content": "x" * step.filler}
            payload["messages"] = [*payload.get("messages", ()), filler]
    elif kind == "tool_call":
        payload = {"args": {} if step.args is None else step.args}
    elif kind == "event" and isinstance(step.args, (list, type(None))):
        payload = {"args": step.args or []}
    else:
        payload = step.args
    return Action(kind=kind, name=name, proposed=pack(payload), id=step.id)


def _outcome(step: ExampleStep, kind: str) -> Any:
    if kind != "model_reply":
        return step.value
    return {"content": step.content, "tool_calls": step.tool_calls, "finish_reason": "stop"}


def _answered(step: ExampleStep, kind: str, name: str, made: list[Step]) -> int:
    """Return the step that a result answers: as written, else the latest open call of its name."""
    if step.of is not None:
        return step.of
    answered = {body.of for body in (other.body for other in made) if isinstance(body, Observation)}
    for other in reversed(made):
        body = other.body
        matches = isinstance(body, Action) and (body.kind, body.name) == (_RESULT_OF[kind], name)
        if matches and other.step not in answered:
            return other.step
    raise UsageError(f"The {kind} of {name!r} in an example answers no call before it.")
