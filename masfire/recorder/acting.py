"""Who is acting in a context: the agent, what it has produced, and whether an interceptor thinks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import msgspec


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


@contextlib.contextmanager
def agent(name: str, *, role: str = "") -> Iterator[None]:
    """Name the agent that acts inside this block (plain Python; frameworks need no naming).

    >>> with agent("planner"):
    ...     pass
    """
    token = ACTOR.set(Actor(name, role))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            ACTOR.reset(token)
