"""Contracts written in Python: a function that judges a step, or a class or function that judges a run."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import msgspec

from masfire.contracts.language.formula import parse_formula, parse_path
from masfire.contracts.language.syntax import And, Atom, Formula
from masfire.contracts.model import Contract, Custom, Judge, Rule, Status, StepStatus, Witness
from masfire.contracts.view import View
from masfire.errors import UnknownName, UsageError
from masfire.trace.model import Step

if TYPE_CHECKING:
    from masfire.contracts.monitors.local import Selects

Said: TypeAlias = bool | str | None
"""What a contract in Python says: True, False, a reason (which means False), or None."""

F = TypeVar("F", bound=Callable[..., Any])

_SELECTORS = ("kind", "tool", "name", "agent", "role", "to", "where")
_SAYS = ("id", "description", "catches", "severity", "enforce", "order", "key", "tags")
_CHOICES = {
    "severity": ("error", "warning", "info"),
    "enforce": ("block", "rewrite", "warn"),
    "order": ("recorded", "causal"),
}


def step_contract(**options: Any) -> Callable[[F], F]:
    """Make a function that judges one step into a contract.

    The function gets a View and returns True (pass), False or a reason (fail), or None (inconclusive:
    it cannot tell). An exception is inconclusive, too. Options select the steps, as in YAML: `kind`,
    `tool`, `name`, `agent`, `role`, `to`, `where` (a condition), or `when` (a formula); none: every
    step. Further: `id` (default: the function's name), `description` (default: its docstring),
    `catches`, `severity`, `enforce`, `order`, `key`, `tags`. The function stays what it was; its
    attribute `contract` is the Contract. Raise UsageError for options that cannot be.

    >>> @step_contract(tool="pay", severity="warning")
    ... def whole_cents(view):
    ...     "Amounts have at most two decimals."
    ...     return round(view.get("args.amount"), 2) == view.get("args.amount")
    >>> whole_cents.contract.id
    'whole-cents'
    """

    def decorate(function: F) -> F:
        where = _where(function)
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise UsageError("A step contract is a plain function, not async, no generator.", where=where)
        _takes_one(function, where)
        when = _when(options, where)
        return _marked(function, options, where, Judge(when, function, text=function.__name__))

    return decorate


def trace_contract(**options: Any) -> Callable[[F], F]:
    """Make a class, or a function over the finished run, into a contract.

    A *class* is made anew for each run (and each value of `key`). Its `step(view)` returns True (pass),
    False or a reason (fail: this step violates), or None (nothing to say of this step); its optional
    `end(ended)` the same for the whole run, `ended` being how it ended. It costs what `step` costs.
    Its attributes are its state: `peek` (governance asking what would be) works on a deep copy, and to
    be saved they must be JSON values.

    A *function* gets the list of all Views and returns True, False, a reason or None (inconclusive). It
    is judged at the end only, keeps every step in memory, and cannot stop anything while a run goes on:
    use a class for that.

    Options are those of `step_contract`; the selecting ones say which steps `step` is given.

    >>> @trace_contract(kind="tool_call")
    ... class NoMoreThanThree:
    ...     "At most three tool calls."
    ...     def __init__(self):
    ...         self.seen = 0
    ...     def step(self, view):
    ...         self.seen += 1
    ...         return self.seen <= 3 or f"call number {self.seen}"
    >>> NoMoreThanThree.contract.id
    'no-more-than-three'
    """

    def decorate(target: F) -> F:
        where = _where(target)
        when = _when(options, where)
        selected = None if when == Atom(()) else when
        if inspect.isclass(target):
            if not callable(getattr(target, "step", None)) and not callable(getattr(target, "end", None)):
                raise UsageError(
                    "A trace contract's class has a method step(view), or end(ended).", where=where
                )
            rule: Rule = Custom(lambda: _Stateful(target, _selector(when)), selected, target.__name__)
        elif inspect.iscoroutinefunction(target) or inspect.isgeneratorfunction(target):
            raise UsageError("A trace contract is a class or a plain function.", where=where)
        else:
            _takes_one(target, where)
            rule = Custom(lambda: _Finished(target, _selector(when)), selected, target.__name__)
        return _marked(target, options, where, rule)

    return decorate


class _Stateful:
    """Runs a user's class: one object a run."""

    def __init__(self, make: Callable[[], Any], when: Selects) -> None:
        self._inner, self._when = make(), when
        self._judged = False

    def judge(self, view: View, *, commit: bool) -> tuple[StepStatus, str, Sequence[Witness]]:
        """Ask the object about a step; a copy of it when the step is not to be history."""
        if not hasattr(self._inner, "step"):
            return StepStatus.VACUOUS, "", ()
        selected = _selected(self._when, view)
        if selected is not True:
            return selected, "a field of the selector is absent", ()
        inner = self._inner if commit else copy.deepcopy(self._inner)
        said = inner.step(view)
        if said is None:
            return StepStatus.VACUOUS, "", ()
        status, why = _verdict(said)
        self._judged |= commit
        return status, why, ()

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Ask the object about the run, when it says something about runs."""
        said = self._inner.end(ended) if ended and hasattr(self._inner, "end") else None
        if said is None:  # what steps violated, the engine remembers
            return (Status.SATISFIED if self._judged else Status.VACUOUS), "", ()
        status, why = _verdict(said)
        return (Status.SATISFIED if status is StepStatus.PASS else Status.VIOLATED), why, ()

    def save(self) -> Any:
        """Return the object's attributes; raise UsageError when they are no JSON values."""
        try:
            state = json.loads(json.dumps(vars(self._inner), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"The state of the trace contract {type(self._inner).__name__} cannot be saved: {error}.",
                hint="Keep JSON values (numbers, texts, lists, dicts with text keys) in its attributes.",
            ) from None
        if state != vars(self._inner):
            raise UsageError(
                f"The state of the trace contract {type(self._inner).__name__} would change when saved.",
                hint="Keep lists rather than tuples or sets, and texts as keys.",
            )
        return [self._judged, state]

    def restore(self, state: Any) -> None:
        """Take over saved attributes."""
        self._judged = bool(state[0])
        vars(self._inner).update(state[1])


class _Finished:
    """Keeps every step and asks a function at the end."""

    def __init__(self, function: Callable[[list[View]], Said], when: Selects) -> None:
        self._function, self._when = function, when
        self._views: list[View] = []

    def judge(self, view: View, *, commit: bool) -> tuple[StepStatus, str, Sequence[Witness]]:
        """Remember the step."""
        if commit and _selected(self._when, view) is True:
            self._views.append(view)
        return StepStatus.VACUOUS, "", ()

    def end(self, ended: str) -> tuple[Status, str, Sequence[Witness]]:
        """Ask the function about all steps; pending while the run has no end."""
        if not self._views:
            return Status.VACUOUS, "", ()
        if not ended:
            return Status.PENDING, "", ()
        said = self._function(list(self._views))
        if said is None:
            return Status.INCONCLUSIVE, "the contract's function returned None", ()
        status, why = _verdict(said)
        return (Status.SATISFIED if status is StepStatus.PASS else Status.VIOLATED), why, ()

    def save(self) -> Any:
        """Return all steps."""
        encode = msgspec.json.encode
        return [
            [encode(view.step).decode(), encode(view.call).decode() if view.call else None, view.time]
            for view in self._views
        ]

    def restore(self, state: Any) -> None:
        """Take over saved steps."""
        decode = msgspec.json.Decoder(Step).decode
        self._views = [View(decode(step), decode(call) if call else None, time) for step, call, time in state]


def _selector(when: Formula) -> Selects:
    from masfire.contracts.monitors.local import selector

    return selector(when)


def _selected(when: Selects, view: View) -> Any:
    """Return True when the step is selected, or the status that it has otherwise."""
    found = when(view)
    return True if found else StepStatus.VACUOUS if found is False else StepStatus.INCONCLUSIVE


def _verdict(said: Any) -> tuple[StepStatus, str]:
    if said is True:
        return StepStatus.PASS, ""
    if said is False or isinstance(said, str):
        return StepStatus.FAIL, said or "the contract's check returned False"
    raise TypeError(f"A contract says True, False, a reason or None; this one said {said!r:.80}.")


def _when(options: dict[str, Any], where: str) -> Formula:
    """Return which steps the options select."""
    unknown = [key for key in options if key not in (*_SELECTORS, *_SAYS, "when")]
    if unknown:
        raise UnknownName("option", unknown[0], (*_SELECTORS, *_SAYS, "when"), where=where)
    parts: list[Formula] = []
    if options.get("when"):
        parts.append(parse_formula(options["when"], part=True, where=where))
    selecting = {key: options[key] for key in _SELECTORS if options.get(key)}
    if selecting:
        from pydantic import ValidationError

        from masfire.contracts.language.formula import parse_condition
        from masfire.contracts.language.selector import Selector, formula_of, kinds_of

        try:
            selector = Selector(**selecting)
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
            raise UsageError(f"These options select no steps: {told}.", where=where) from None
        kinds = kinds_of(selector)
        parts.append(formula_of(selector, lambda text: parse_condition(text, kinds=kinds, where=where)))
    return parts[0] if len(parts) == 1 else And(tuple(parts)) if parts else Atom(())


def _marked(target: F, options: dict[str, Any], where: str, rule: Rule) -> F:
    """Give the target its contract."""
    for key, known in _CHOICES.items():
        if options.get(key, known[0]) not in known:
            raise UnknownName(key, str(options[key]), known, where=where)
    fields = options.get("key") or ()
    try:
        paths = tuple(parse_path(text) for text in ([fields] if isinstance(fields, str) else fields))
    except ValueError as error:
        raise UsageError(f"key: {error}.", where=where) from None
    contract = Contract(
        id=options.get("id") or _dashed(target.__name__),
        rules=(rule,),
        where=where,
        description=options.get("description") or inspect.cleandoc(target.__doc__ or ""),
        catches=tuple(options.get("catches", ())),
        severity=options.get("severity", "error"),
        enforce=options.get("enforce", "block"),
        order=options.get("order", "recorded"),
        key=paths,
        tags=tuple(options.get("tags", ())),
    )
    target.contract = contract  # type: ignore[attr-defined]
    return target


def _dashed(name: str) -> str:
    """Return `no_more` and `NoMore` as `no-more`."""
    spread = "".join(f"-{letter}" if letter.isupper() else letter for letter in name)
    return spread.lower().replace("_", "-").strip("-")


def _where(target: Any) -> str:
    try:
        file = inspect.getsourcefile(target) or ""
        line = inspect.getsourcelines(target)[1]
    except (OSError, TypeError):
        return f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"
    return f"{file}:{line}"


def _takes_one(function: Callable[..., Any], where: str) -> None:
    try:
        inspect.signature(function).bind(None)
    except (TypeError, ValueError):
        raise UsageError("The function of a contract takes one argument.", where=where) from None
