"""Mistake notes in LangChain agents: a middleware for `create_agent`."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterable
from typing import Any

from masfire.errors import MissingDependency
from masfire.knowledge.model import MistakeNote
from masfire.recovery import NotesInRequests


def middleware(notes: Iterable[MistakeNote], *, agent: str = "agent", role: str = "") -> Any:
    """Return an `AgentMiddleware` that puts an agent's accepted notes after its system prompt, as data.

    Raise MissingDependency when langchain is not installed. Warn when notes were given and none of them is
    for this agent's prompt: accepted as rewrites, for another role, or not accepted.
    """
    given = tuple(notes)
    block = NotesInRequests(given).block(agent, role)
    if given and not block:
        warnings.warn(
            f"None of {len(given)} notes enters the prompt of {agent!r}: only accepted ones of its role do, "
            "and those accepted as rewrites never. Put values right by masfire.recovery.rewriter instead.",
            stacklevel=2,
        )
    return _middleware_class()(block, agent)


@functools.cache
def _middleware_class() -> Any:
    try:
        from langchain.agents.middleware.types import AgentMiddleware
    except ImportError as missing:
        raise MissingDependency(
            "Notes in LangChain agents need langchain.", hint="Install it with: pip install 'langchain>=1.0'"
        ) from missing

    class NotesMiddleware(AgentMiddleware):  # type: ignore[type-arg, unused-ignore]
        """Adds one block of quoted notes to each model request."""

        def __init__(self, block: str, agent: str) -> None:
            super().__init__()
            self.block, self.agent = block, agent

        @property
        def name(self) -> str:
            return f"masfire-notes-{self.agent}"

        def wrap_model_call(self, request: Any, handler: Any) -> Any:
            return handler(self._noted(request))

        async def awrap_model_call(self, request: Any, handler: Any) -> Any:
            return await handler(self._noted(request))

        def _noted(self, request: Any) -> Any:
            if not self.block:
                return request
            from langchain_core.messages import SystemMessage

            prompt = getattr(request, "system_message", None)
            if prompt is None:
                return request.override(system_message=SystemMessage(self.block))
            content = prompt.content
            if isinstance(content, str):
                return request.override(system_message=SystemMessage(f"{content}\n\n{self.block}"))
            return request.override(
                system_message=SystemMessage([*content, {"type": "text", "text": self.block}])
            )

    return NotesMiddleware
