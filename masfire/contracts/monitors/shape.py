"""Whether a model's reply has the shape that was asked for: the monitor of `keeps_format`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from masfire.claims.leaves import embedded
from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.monitors.local import globbed
from masfire.contracts.view import View
from masfire.errors import UsageError
from masfire.trace.context import REF

Answer = tuple[StepStatus, str, Sequence[Witness]]


class Shape:
    """Remembers what open model calls asked for and judges each reply by it.

    `response_format` asks for JSON: `json_schema` that validates, `json_object` an object. A reply that
    calls tools calls some that the request offered, with arguments that fit their `parameters`. A call
    that asks for no format, and a failed reply, are passed over. State: what calls without a reply
    asked, and every tool that was ever offered (a request refers to those of earlier ones).
    """

    def __init__(self, models: tuple[str, ...]) -> None:
        self._models = models
        self._open: dict[int, dict[str, Any]] = {}
        self._tools: dict[str, Any] = {}
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at a reply that is not of the shape."""
        if view.kind == "model_call":
            if commit and any(globbed(model).fullmatch(view.name) for model in self._models):
                self._open[view.index] = self._asked(view)
            return StepStatus.VACUOUS, "", ()
        if view.kind != "model_reply":
            return StepStatus.VACUOUS, "", ()
        of = getattr(view.step.body, "of", -1)
        asked = self._open.get(of)
        if commit:
            self._open.pop(of, None)
        if not asked or view.get(("ok",)) is not True:
            return StepStatus.VACUOUS, "", ()
        try:
            status, wrong = _answer(view, asked)
        except UsageError as error:  # the request's own schema is none that can be judged
            return (
                StepStatus.INCONCLUSIVE,
                f"the request asks for a shape that cannot be judged: {error}"[:300],
                (),
            )
        if commit:
            self._applied = self._applied or status in (StepStatus.PASS, StepStatus.FAIL)
        witnesses = (Witness(of, "asked for this shape"),) if status is StepStatus.FAIL else ()
        return status, wrong, witnesses

    def _asked(self, view: View) -> dict[str, Any]:
        """Return the format and the tools that a request asks for, where it does."""
        asked: dict[str, Any] = {}
        wanted, tools = view.get(("request", "response_format")), view.get(("request", "tools"))
        if isinstance(wanted, dict):
            asked["response_format"] = wanted
        if isinstance(tools, list):
            whole = [self._tool(tool, view.index, place) for place, tool in enumerate(tools)]
            if None not in whole:
                asked["tools"] = whole
        return asked

    def _tool(self, tool: Any, step: int, place: int) -> Any:
        """Return a tool's definition, also when the request only refers to an earlier one's; else None."""
        if isinstance(tool, dict) and isinstance(tool.get(REF), list):
            return self._tools.get(_address(tool[REF]))
        self._tools[_address([step, "tools", place])] = tool
        return tool

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when a reply was judged."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return {"open": list(self._open.items()), "tools": self._tools, "applied": self._applied}

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._open, self._tools = dict(state["open"]), dict(state["tools"])
        self._applied = state["applied"]


def _address(reference: list[Any]) -> str:
    return "/".join(map(str, reference))


def _answer(view: View, asked: dict[str, Any]) -> tuple[StepStatus, str]:
    calls = view.get(("tool_calls",))
    if isinstance(calls, list) and calls:
        if "tools" not in asked:
            return StepStatus.VACUOUS, ""
        wrong = next(filter(None, (_miscalled(call, asked["tools"]) for call in calls)), "")
        return (StepStatus.FAIL if wrong else StepStatus.PASS), wrong
    if "response_format" not in asked:
        return StepStatus.VACUOUS, ""
    text = view.get(("content",))
    if not isinstance(text, str):
        return StepStatus.INCONCLUSIVE, "the reply has no text"
    wrong = mismatch(text, asked["response_format"])
    return (StepStatus.FAIL if wrong else StepStatus.PASS), wrong


def _miscalled(call: Any, tools: list[Any]) -> str:
    """Return what is wrong with one tool call, given the tools that the request offered."""
    if not isinstance(call, dict):
        return "a tool call is no object"
    functions = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    known = [tool for tool in functions if isinstance(tool, dict) and isinstance(tool.get("name"), str)]
    offered = {tool["name"]: tool for tool in known}
    name = call.get("name")
    if not offered:
        return ""  # a kind of tool, or a way to write them, that is not known here
    if not isinstance(name, str) or name not in offered:
        return f"{name!r} is called, which was not offered"
    try:
        arguments = json.loads(call.get("arguments") or "{}")
    except (ValueError, TypeError, RecursionError):
        return f"the arguments of {name!r} are no JSON"
    schema = offered[name].get("parameters", True)
    errors = _validator(json.dumps(schema, sort_keys=True))(arguments)
    return f"the arguments of {name!r}: {_told(errors)}" if errors else ""


def mismatch(text: str, asked: dict[str, Any]) -> str:
    """Return how `text` differs from what a request's `response_format` asked for; "" when it does not."""
    kind = asked.get("type")
    if kind not in ("json_object", "json_schema"):
        return ""
    inner = embedded(text)
    if inner is None:
        try:
            value: Any = json.loads(text)
        except (ValueError, RecursionError):
            return "the reply is no JSON"
    else:
        value = inner.value
    if kind == "json_object":
        return "" if isinstance(value, dict) else "the reply is no JSON object"
    wanted = asked.get("json_schema")
    schema = wanted.get("schema", True) if isinstance(wanted, dict) else True
    errors = _validator(json.dumps(schema, sort_keys=True))(value)
    return _told(errors) if errors else ""


def _told(errors: list[Any]) -> str:
    place = ".".join(map(str, errors[0].path))
    return f"at {place}: {errors[0].message}" if place else str(errors[0].message)


_VALIDATORS: dict[str, Callable[[Any], list[Any]]] = {}


def _validator(schema: str) -> Callable[[Any], list[Any]]:
    from masfire.contracts.payload import compile_schema

    if schema not in _VALIDATORS:
        if len(_VALIDATORS) >= 256:
            _VALIDATORS.clear()
        _VALIDATORS[schema] = compile_schema(json.loads(schema))
    return _VALIDATORS[schema]
