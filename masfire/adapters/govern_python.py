"""Governance of plain Python: a decorator around what an agent may call."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from masfire.governance import Blocked, Governor, Ruling

F = TypeVar("F", bound=Callable[..., Any])

RUN = "__masfire_run"
"""Key in a graph's `configurable` that carries the governed run's id to its nodes."""


def governed(
    governor: Governor,
    *,
    agent: str = "",
    name: str = "",
    kind: str = "tool_call",
    exempt: Sequence[str] = (),
    identity: str = "",
) -> Callable[[F], F]:
    """Return a decorator that lets a function (sync or async) run only as the governor allows.

    The function gets a copy of its arguments made before the check: JSON values (a tuple arrives as a
    list). Parameters named in `exempt` (a session, a client) are passed as they are and not checked.
    Raise Blocked in place of a call that is not allowed. Call it in `with governor.run():`, and in a thread
    through `governor.carry`, unless the policy remembers nothing (as below).

    >>> from masfire.governance import Governor, Policy, allow
    >>> @governed(Governor(Policy(agents={"clerk": allow("add")}, retries=False)), agent="clerk")
    ... def add(a, b):
    ...     return a + b
    >>> add(1, b=2)
    3
    """

    def wrap(function: F) -> F:
        call = _Call(governor, function, name or getattr(function, "__name__", "call"), kind, agent)
        call.exempt, call.identity = frozenset(exempt), identity

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            proposal, bound = call.proposed(args, kwargs)
            ruling = governor.decide(proposal)
            given = call.given(ruling, bound)
            try:
                result = function(*given.args, **given.kwargs)
            except BaseException as failure:
                governor.finish(ruling, error_of(failure), ok=False)
                raise
            governor.finish(ruling, result)
            return result

        @functools.wraps(function)
        async def arun(*args: Any, **kwargs: Any) -> Any:
            proposal, bound = call.proposed(args, kwargs)
            ruling = await governor.adecide(proposal)
            given = call.given(ruling, bound)
            try:
                async with asyncio.timeout(ruling.seconds or None):
                    result = await function(*given.args, **given.kwargs)
            except BaseException as failure:
                governor.finish(ruling, error_of(failure), ok=False)
                raise
            governor.finish(ruling, result)
            return result

        chosen: Any = arun if inspect.iscoroutinefunction(function) else run
        return chosen  # type: ignore[no-any-return]

    return wrap


class _Call:
    def __init__(self, governor: Governor, function: Any, name: str, kind: str, agent: str) -> None:
        self.governor, self.name, self.kind, self.agent = governor, name, kind, agent
        self.signature = inspect.signature(function)
        self.further = next(
            (one.name for one in self.signature.parameters.values() if one.kind is one.VAR_KEYWORD), ""
        )
        """The parameter that takes further keywords: each of them is an argument by its own name."""
        self.exempt: frozenset[str] = frozenset()
        self.identity = ""

    def proposed(self, args: Any, kwargs: Any) -> tuple[Any, inspect.BoundArguments]:
        """Return the proposal and the arguments as bound to the function's parameters."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        proposal = self.governor.propose(
            self.kind, self.name, {"args": self._shown(bound)}, agent=self.agent, identity=self.identity
        )
        return proposal, bound

    def given(self, ruling: Ruling, bound: inspect.BoundArguments) -> inspect.BoundArguments:
        """Return what the function gets: the checked copy; raise Blocked when it must not run."""
        if not ruling.allowed:
            raise Blocked(ruling)
        checked = ruling.args
        shown = self._shown(bound).keys()
        if shown and (not isinstance(checked, dict) or checked.keys() != shown):
            odd = min(shown ^ checked.keys()) if isinstance(checked, dict) else "args"
            reason = f"The rewrite does not fit the parameters of {self.name}: {odd!r:.60}."
            raise Blocked(self.governor.withdraw(ruling, "python:rewrite", reason))
        further = bound.arguments.get(self.further, {})
        for name in shown:
            holder = further if name in further else bound.arguments
            holder[name] = checked[name]
        return bound

    def _shown(self, bound: inspect.BoundArguments) -> dict[str, Any]:
        """Return what is checked, by name."""
        named = {name: value for name, value in bound.arguments.items() if name != self.further}
        further = bound.arguments.get(self.further, {})
        shown = {name: value for name, value in {**named, **further}.items() if name not in self.exempt}
        if named.keys() & further.keys():  # a positional parameter and a keyword of one name
            shown[self.further] = object()  # no JSON: this blocks
        return shown


def error_of(failure: BaseException) -> dict[str, Any]:
    """Return an exception as a structured error; its own `retryable` and `retry_after_ms` are kept."""
    error: dict[str, Any] = {"type": type(failure).__name__, "message": str(failure)[:2000]}
    for field, kind in (("retryable", bool), ("retry_after_ms", int), ("category", str)):
        said = getattr(failure, field, None)
        if type(said) is kind:
            error[field] = said
    return error
