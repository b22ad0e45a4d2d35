"""What a replay gives LangChain's callers in place of a tool's or a model's own answer."""

from __future__ import annotations

from typing import Any

import msgspec

from masfire.adapters.replayed import exception_of
from masfire.trace.replay import Answer

LIVE = "masfire:live"
"""Tag of a tool that a replay runs for real, because what it does stays inside the process."""

_EFFECTLESS = frozenset({"ValidationError", "SchemaAnnotationError"})
"""Errors raised before a tool's own code begins."""


class Replayed(msgspec.Struct, frozen=True):
    """A tool's recorded end: a value, or the exception that it raised."""

    value: Any = None
    failure: Exception | None = None

    @classmethod
    def of(cls, tool: Any, call_id: str, answer: Answer | None) -> Replayed | None:
        """Return how the tool ended; None when no record can say it and the tool has to run.

        That is so when it steered the graph (a Command), returned what JSON cannot hold, keeps an artifact
        beside its answer, or was refused its arguments before it began.
        """
        outcome = answer.outcome if answer is not None else None
        if not isinstance(outcome, dict):
            return None
        error = outcome.get("error")
        if error is not None:
            return cls._failed(tool, call_id, error)
        value = outcome.get("value")
        if isinstance(value, dict) and ("goto" in value or "$python" in value):
            return None
        if not call_id:
            return cls(value)
        if getattr(tool, "response_format", "content") != "content" or not isinstance(value, (str, list)):
            return None
        return cls(_message(tool, call_id, value, "success"))

    @classmethod
    def _failed(cls, tool: Any, call_id: str, error: Any) -> Replayed | None:
        kind = error.get("type") if isinstance(error, dict) else ""
        if kind in _EFFECTLESS:
            return None
        if kind == "ToolError" and call_id:  # an answer that says it failed
            return cls(_message(tool, call_id, error.get("message", ""), "error"))
        failure = exception_of(error)
        if failure is None:
            from langchain_core.tools import ToolException

            failure = ToolException(str(error.get("message", "")) if isinstance(error, dict) else str(error))
        return cls(failure=failure)

    def result(self) -> Any:
        """Return the value, or raise what the tool raised."""
        if self.failure is not None:
            raise self.failure
        return self.value


def _message(tool: Any, call_id: str, content: Any, status: str) -> Any:
    from langchain_core.messages import ToolMessage

    return ToolMessage(content, name=tool.name, tool_call_id=call_id, status=status)


def model_result(answer: Answer) -> Any:
    """Return a chat model's recorded answer as LangChain's ChatResult."""
    import json

    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult

    outcome = answer.outcome if isinstance(answer.outcome, dict) else {}
    calls, invalid = [], []
    for call in outcome.get("tool_calls") or ():
        try:
            calls.append({"name": call["name"], "args": json.loads(call["arguments"]), "id": call["id"]})
        except ValueError:
            invalid.append({"name": call["name"], "args": call["arguments"], "id": call["id"], "error": None})
    message = AIMessage(
        str(outcome.get("content") or ""),
        tool_calls=calls,
        invalid_tool_calls=invalid,
        response_metadata={"finish_reason": outcome.get("finish_reason") or "stop"},
    )
    return ChatResult(generations=[ChatGeneration(message=message)])
