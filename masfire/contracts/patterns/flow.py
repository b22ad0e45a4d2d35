"""Patterns of answers, ends, retries, and of where things come from."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from masfire.contracts.language import syntax as s
from masfire.contracts.model import AtEnd, Custom, Response, Rule
from masfire.contracts.patterns.pattern import (
    FieldPath,
    Fields,
    Names,
    Pattern,
    Reader,
    Steps,
    Within,
    one_step,
    one_step_or_none,
    optional,
    path_of,
    window,
)


class RespondedWithin(Fields):
    """Every `when` is followed by a `response` within the window."""

    says: ClassVar[str] = "Whenever {when}, there is {response} within {within}."

    when: Steps
    response: Steps
    within: Within


def _responded_within(fields: RespondedWithin, read: Reader) -> tuple[Rule, ...]:
    when, response = read(fields.when, "when"), read(fields.response, "response")
    return (Response(when, response, window(fields.within)),)


class RespondedByEnd(Fields):
    """Every `when` is followed by a `response` before the run ends."""

    says: ClassVar[str] = "Whenever {when}, there is {response} later, before the run ends."

    when: Steps
    response: Steps


def _responded_by_end(fields: RespondedByEnd, read: Reader) -> tuple[Rule, ...]:
    return (Response(read(fields.when, "when"), read(fields.response, "response")),)


class Terminates(Fields):
    """The run ends as one of `ends`, within steps, seconds, model calls and tokens."""

    says: ClassVar[str] = (
        "The run ends as {ends}[, within {steps} steps][, within {seconds} seconds][, with at most {calls} "
        "model calls][, with at most {tokens} tokens][, after {answer}]."
    )

    ends: list[str] = ["completed"]
    steps: int | None = Field(default=None, ge=1)
    seconds: float | None = Field(default=None, gt=0)
    calls: int | None = Field(default=None, ge=1, description="model calls")
    tokens: int | None = Field(default=None, ge=1, description="tokens in and out, as the provider counts")
    answer: Steps | None = Field(default=None, description="what must have happened by the end")


def _terminates(fields: Terminates, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.termination import Limits, Termination

    limits = Limits(fields.steps, fields.seconds, fields.calls, fields.tokens)
    ends = tuple(fields.ends)
    rules: list[Rule] = [Custom(lambda: Termination(ends, limits))]
    answer = optional(read, fields.answer, "answer")
    if answer is not None:
        rules.append(AtEnd(s.Once(answer)))
    return tuple(rules)


class RetryPolicy(Fields):
    """How failed tool calls may be repeated with the same arguments.

    A result's error may say `retryable` and `retry_after_ms`; `final` names error types that are
    never retried. A call is a retry when the same agent called the same tool with the same
    arguments before, and that failed.
    """

    says: ClassVar[str] = (
        "A failed call of {tool} is tried at most {max_attempts} times with the same arguments, never after"
        " an error that is not retryable[ (also: {final})], and not before its retry_after_ms has passed."
    )

    tool: Names = ["*"]
    max_attempts: int = Field(default=3, ge=1)
    final: Names = Field(default=[], description="error types that must not be retried")


def _retry_policy(fields: RetryPolicy, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.retries import Retries

    tools, final = tuple(fields.tool), tuple(fields.final)
    calls = s.Atom(("tool_call", "tool_result"))
    return (Custom(lambda: Retries(tools, final=final, max_attempts=fields.max_attempts), when=calls),)


class NoFlow(Fields):
    """Nothing of `source` reaches `sink` unless it passes `via`.

    A step is reached when one of its causes (`parents`) is. `carrying` asks in addition that a value
    of the source (a number, a name, a quoted text) stands in the sink's own payload.
    """

    says: ClassVar[str] = (
        "Nothing made from {source} reaches {sink}[ unless it passes {via}][ (values copied: {carrying})]."
    )

    source: Steps
    sink: Steps
    via: Steps | None = None
    carrying: bool = False


def _no_flow(fields: NoFlow, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.local import selector
    from masfire.contracts.monitors.provenance import Flow

    source, sink = one_step(read, fields.source, "source"), one_step(read, fields.sink, "sink")
    via = one_step_or_none(read, fields.via, "via")
    begins, ends, cleans = selector(source), selector(sink), selector(via) if via is not None else None
    return (Custom(lambda: Flow(begins, ends, via=cleans, carrying=fields.carrying)),)


class SupportedClaim(Fields):
    """Every claim of `when` was stated before by one of `support`.

    `claims` are the kinds that count: numbers and entities (names, codes, quoted texts) by default;
    `slots` are keys of JSON objects whose values are claims whatever they look like. `field` is what of
    the step is read.
    """

    says: ClassVar[str] = (
        "In {when}, every claim ({claims})[ and every value of {slots}] of {field} was stated before by "
        "{support}."
    )

    when: Steps
    support: Steps = "message('user') or tool_result"
    claims: list[Literal["number", "entity", "verdict", "term"]] = ["number", "entity"]
    slots: list[str] = Field(default=[], description="keys of JSON objects whose values are claims as well")
    field: FieldPath = "content"


def _supported_claim(fields: SupportedClaim, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.local import selector
    from masfire.contracts.monitors.support import Support

    when, support = one_step(read, fields.when, "when"), one_step(read, fields.support, "support")
    kinds, slots = tuple(fields.claims), tuple(fields.slots)
    path, claims, supports = path_of(fields.field), selector(when), selector(support)
    return (
        Custom(
            lambda: Support(claims, supports, kinds=kinds, slots=slots, path=path), when=s.Or((when, support))
        ),
    )


class KeepsFormat(Fields):
    """A model's reply has the JSON shape that its request asked for (`response_format`)."""

    says: ClassVar[str] = "A reply of {model} is JSON of the shape that its request asked for."

    model: Names = ["*"]


def _keeps_format(fields: KeepsFormat, read: Reader) -> tuple[Rule, ...]:
    from masfire.contracts.monitors.shape import Shape

    models = tuple(fields.model)
    asked = s.Atom(("model_call", "model_reply"))
    return (Custom(lambda: Shape(models), when=asked),)


PATTERNS = (
    Pattern("responded_within", RespondedWithin, _responded_within),
    Pattern("responded_by_end", RespondedByEnd, _responded_by_end),
    Pattern("terminates", Terminates, _terminates),
    Pattern("retry_policy", RetryPolicy, _retry_policy),
    Pattern("no_flow", NoFlow, _no_flow),
    Pattern("supported_claim", SupportedClaim, _supported_claim),
    Pattern("keeps_format", KeepsFormat, _keeps_format),
)
