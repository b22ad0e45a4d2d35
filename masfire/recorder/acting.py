"""Who is acting in a context: the agent, what it has produced, and whether an interceptor thinks."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import Any, ParamSpec, TypeVar, cast

import msgspec

from masfire.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")


class Actor(msgspec.Struct, frozen=True):
    """Who is acting in this context: the agent's stable name and where it sits.

    `framework` is empty for plain Python; adapters that deliver messages themselves set it, and the
    request layer then leaves delivery to them. `parents` are the steps that woke the agent; `path`
    tells apart the parallel copies of one agent ("worker[2]").
    """

    agent: str
    role: str = ""
    framework: str = ""
    path: str = ""
    parents: tuple[int, ...] = ()


ACTOR: ContextVar[Actor | None] = ContextVar("masfire_actor", default=None)
"""The acting agent of this context, set by adapters and by `agent`."""

PRODUCED: ContextVar[list[int] | None] = ContextVar("masfire_produced", default=None)
"""Where the observations made in this context are noted (step indexes), set by adapters.

What a unit of work sends on is made from its model replies and tool results; copies of one agent that
run in parallel are told apart by it.
"""

ASIDE: ContextVar[bool] = ContextVar("masfire_aside", default=False)
"""Set while an interceptor thinks: a model it asks is no agent's call."""


def agent(name: str, *, role: str = "") -> Naming:
    """Name the agent that acts inside this block (plain Python; frameworks need no naming).

    Also a decorator of a function, async or not; raise UsageError for anything else than a name.

    >>> with agent("planner"):
    ...     pass
    >>> @agent("writer", role="editor")
    ... def write(text: str) -> str:
    ...     return text
    """
    if not isinstance(name, str) or not name:
        called = getattr(name, "__name__", "")
        use = f"@masfire.agent({called!r})" if called else 'masfire.agent("planner")'
        raise UsageError(f"An agent is named by a text, not by {name!r:.80}.", hint=f"Write {use}.")
    return Naming(name, role)


class Naming:
    """The block or function in which an agent acts, made by `agent`; may be entered again."""

    __slots__ = ("_actor", "_tokens")

    def __init__(self, name: str, role: str) -> None:
        self._actor = Actor(name, role)
        self._tokens: list[Token[Actor | None]] = []

    def __enter__(self) -> None:
        self._tokens.append(ACTOR.set(self._actor))

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ValueError):  # left in another context than it was entered in
            ACTOR.reset(self._tokens.pop())

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return the function with the agent acting in it."""
        import inspect

        name, role = self._actor.agent, self._actor.role
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise UsageError(
                f"{function.__name__} is a generator, which runs after it has returned.",
                hint=f"Write `with masfire.agent({name!r}):` inside it.",
            )
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def later(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Naming(name, role):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", later)

        @functools.wraps(function)
        def now(*args: P.args, **kwargs: P.kwargs) -> R:
            with Naming(name, role):
                return function(*args, **kwargs)

        return now
