"""Whether a model's reply has the shape that was asked for: the monitor of `keeps_format`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from masfire.claims.leaves import embedded
from masfire.contracts.language.local import absent, globbed
from masfire.contracts.model import Status, StepStatus, Witness
from masfire.contracts.view import View

Answer = tuple[StepStatus, str, Sequence[Witness]]


class Shape:
    """Remembers the `response_format` of open model calls and judges each reply by it.

    `json_schema` asks for JSON that validates, `json_object` for a JSON object. A call that asks for
    no format, a reply that calls tools instead of answering, and one that was cut off (`length`) are
    passed over. State: the formats of calls without a reply.
    """

    def __init__(self, models: tuple[str, ...]) -> None:
        self._models = models
        self._open: dict[int, Any] = {}
        self._applied = False

    def judge(self, view: View, *, commit: bool) -> Answer:
        """Fail at a reply that is no JSON or not of the shape."""
        if view.kind == "model_call":
            asked = view.get(("request", "response_format"))
            if commit and isinstance(asked, dict) and self._concerned(view):
                self._open[view.index] = asked
            return StepStatus.VACUOUS, "", ()
        if view.kind != "model_reply":
            return StepStatus.VACUOUS, "", ()
        of = view.step.body.of  # type: ignore[union-attr]
        asked = self._open.get(of)
        if commit:
            self._open.pop(of, None)
        if asked is None or view.get(("ok",)) is not True or _calls(view):
            return StepStatus.VACUOUS, "", ()
        if commit:
            self._applied = True
        return self._answer(view, asked, of)

    def _concerned(self, view: View) -> bool:
        return any(globbed(model).fullmatch(view.name) for model in self._models)

    def _answer(self, view: View, asked: dict[str, Any], of: int) -> Answer:
        text = view.get(("content",))
        if not isinstance(text, str):
            return StepStatus.INCONCLUSIVE, "the reply has no text", ()
        wrong = mismatch(text, asked)
        if not wrong:
            return StepStatus.PASS, "", ()
        return StepStatus.FAIL, wrong, (Witness(of, "asked for this shape"),)

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Return satisfied when a reply was judged."""
        return (Status.SATISFIED if self._applied else Status.VACUOUS), "", ()

    def save(self) -> Any:
        """Return the state as JSON."""
        return {"open": [[step, asked] for step, asked in self._open.items()], "applied": self._applied}

    def restore(self, state: Any) -> None:
        """Take over a saved state."""
        self._open, self._applied = dict(state["open"]), state["applied"]


def _calls(view: View) -> bool:
    calls = view.get(("tool_calls",))
    return bool(calls) and not absent(calls)


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
    schema = asked.get("json_schema", {}).get("schema", True)
    errors = _validator(json.dumps(schema, sort_keys=True))(value)
    if not errors:
        return ""
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
