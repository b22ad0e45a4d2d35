"""A step as contracts see it: its fields by path, decoded when somebody looks."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import Any

from masfire.contracts.language import fields
from masfire.contracts.language.syntax import Path
from masfire.contracts.values import FOREIGN, MISSING, freeze, item, thaw
from masfire.errors import RefusedValue
from masfire.trace.model import Action, Decision, Message, Observation, Step
from masfire.trace.payload import unpack

__all__ = ["FOREIGN", "MISSING", "View", "freeze", "item", "thaw"]

_UNSET = object()
RESULT_KINDS = frozenset({"tool_result", "model_reply", "memory_value"})


def own_fields(kind: str) -> frozenset[str]:
    """Return the fields of steps of a kind, without those that every step has."""
    known = fields.FIELDS.get(kind)
    return frozenset(known) - fields.EVERYWHERE.keys() if known is not None else _UNKNOWN_KIND


_UNKNOWN_KIND = frozenset({"name", "args"})


class View:
    """One step seen by contracts.

    `get("args.amount")` or `get(("args", "amount"))` is the value, MISSING when this step lacks the
    field, FOREIGN when steps of its kind never have it. `call` is the action that a result answers,
    when the engine has seen it.
    """

    __slots__ = (
        "_args", "_derived", "_outcome", "_text", "_value", "call", "index", "kind", "name", "step", "time",
    )  # fmt: skip

    def __init__(
        self,
        step: Step,
        call: Step | None = None,
        time: float | None = None,
        kind: str | None = None,
        name: str = "",
    ) -> None:
        self.step = step
        self.call = call
        self.index = step.step
        self.time = step.time if time is None else time
        if kind is None:
            kind, name = step.body.kind, name_of(step)
        self.kind: str = kind
        self.name = name
        self._args: Any = _UNSET
        self._derived: dict[Any, Any] | None = None
        self._outcome: Any = _UNSET
        self._text: Any = _UNSET
        self._value: Any = _UNSET

    def get(self, path: str | Path) -> Any:
        """Return the value of a field by path."""
        if isinstance(path, str):
            path = tuple(int(part) if part.isdecimal() else part for part in path.split("."))
        value = self.field(str(path[0]))
        for part in path[1:]:
            value = item(value, part)
        return value

    def field(self, name: str) -> Any:
        """Return a field of the step itself: `agent`, `args`, `outcome`, …"""
        getters = _GETTERS.get(self.kind)
        if getters is None:
            getters = _getters(self.kind)
        getter = getters.get(name)
        return FOREIGN if getter is None else getter(self)

    def derived(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what several monitors make of this step, made once only; `key` says what it is."""
        known = self._derived
        if known is None:
            known = self._derived = {}
        if key not in known:
            known[key] = make()
        return known[key]

    def leaves(self, name: str) -> list[tuple[tuple[str | int, ...], Any]]:
        """Return what a field says, by path; found once."""
        from masfire.claims.leaves import spoken

        found: list[tuple[tuple[str | int, ...], Any]]
        found = self.derived(("leaves", name), lambda: list(spoken(self.field(name))))
        return found

    @property
    def value(self) -> Any:
        """Return the payload as a Python value; MISSING when it cannot be decoded."""
        if self._value is _UNSET:
            self._value = _unpacked(self.step)
        return self._value

    @property
    def args(self) -> Any:
        """Return the arguments of an action (of a result: those of its call)."""
        if self._args is _UNSET:
            self._args = self._find_args()
        return self._args

    def _find_args(self) -> Any:
        kind = self.kind
        if kind in ("tool_result", "memory_value"):
            return MISSING if self.call is None else _args_of(self.call, _unpacked(self.call))
        if isinstance(self.step.body, Action) and kind != "model_call":
            return _args_of(self.step, self.value)
        return FOREIGN

    def _get_content(self) -> Any:
        if isinstance(self.step.body, Message):
            return self.value
        return item(self._get_result(), "content")

    def _get_text(self) -> Any:
        if self._text is _UNSET:
            self._text = self._find_text()
        return self._text

    def _find_text(self) -> Any:
        content = self._get_content()
        if content is MISSING or content is None or isinstance(content, str):
            return content
        return "\n".join([str(leaf) for _, leaf in self.leaves("content") if leaf is not None])

    def _get_tool_calls(self) -> Any:
        return item(self._get_result(), "tool_calls")

    def _get_finish_reason(self) -> Any:
        return item(self._get_result(), "finish_reason")

    def _get_outcome(self) -> Any:
        body = self.step.body
        if isinstance(body, Decision):
            return body.outcome
        if self._outcome is _UNSET and isinstance(body, Observation):
            value = self.value
            if body.ok:
                self._outcome = {"ok": True, "value": value} if value is not MISSING else {"ok": True}
            else:
                error = item(value, "error")
                self._outcome = {"ok": False, "error": value if error is MISSING else error}
        return self._outcome

    def _get_result(self) -> Any:
        return item(self._get_outcome(), "value")

    def _get_error(self) -> Any:
        return item(self._get_outcome(), "error")


_to = attrgetter("step.body.to")
Getter = Callable[[View], Any]
_ALWAYS: dict[str, Getter] = {
    "args": lambda view: view.args,
    "step": lambda view: view.index,
    "time": lambda view: view.time,
    "agent": lambda view: view.step.agent,
    "role": lambda view: view.step.role,
    "kind": lambda view: view.step.kind,
    "parents": lambda view: list(view.step.parents),
}
_OWN: dict[str, Getter] = {
    "tool": lambda view: view.name,
    "model": lambda view: view.name,
    "name": lambda view: view.name,
    "to": lambda view: list(_to(view)),
    "content": View._get_content,
    "text": View._get_text,
    "request": lambda view: view.value,
    "tool_calls": View._get_tool_calls,
    "finish_reason": View._get_finish_reason,
    "outcome": View._get_outcome,
    "result": View._get_result,
    "error": View._get_error,
}
_GETTERS: dict[str, dict[str, Getter]] = {}


def _getters(kind: str) -> dict[str, Getter]:
    """Return how each field of steps of a kind is found."""
    own = {name: _OWN.get(name) or attrgetter(f"step.body.{name}") for name in own_fields(kind)}
    found = {**_ALWAYS, **own, "args": _ALWAYS["args"]}
    if len(_GETTERS) < 1000:
        _GETTERS[kind] = found
    return found


def name_of(step: Step) -> str:
    """Return the name that atoms and the index compare: tool, model, event, rule, or a message's sender."""
    body = step.body
    if isinstance(body, (Action, Observation)):
        return body.name
    return step.agent if isinstance(body, Message) else getattr(body, "rule", "")


def _unpacked(step: Step) -> Any:
    try:
        return unpack(step.payload)
    except RefusedValue:
        return MISSING


def _args_of(step: Step, value: Any) -> Any:
    if step.kind == "tool_call":
        return item(value, "args")
    if step.kind == "event" and type(value) is dict and len(value) == 1 and "args" in value:
        return value["args"]
    return value
