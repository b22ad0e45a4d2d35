"""Recorded answers in the form in which a caller gets them: HTTP responses, errors, tool exceptions."""

from __future__ import annotations

import builtins
from typing import Any

from masfire.adapters import chat_codec
from masfire.adapters.codec import Codec
from masfire.adapters.wire import Builder, encoded
from masfire.trace.replay import Answer

_AT_ONCE = (("retry-after-ms", "1"), ("x-should-retry", "true"))
"""What makes SDKs repeat a call that the record repeats, without the pause they made then."""
_NEVER = (("x-should-retry", "false"),)
_NOTHING: tuple[Any, ...] = (None, [], {}, "")
_FRAME = frozenset({"index", "message", "finish_reason"})
_SPOKEN = frozenset({"role", "content"})


def response_of(build: Builder, codec: Codec, answer: Answer) -> tuple[Any, dict[str, Any] | None]:
    """Return the response that gives a recorded answer again, streamed if it was asked so, and its JSON."""
    outcome = answer.outcome if isinstance(answer.outcome, dict) else {"content": str(answer.outcome)}
    if answer.ok:
        whole = answer.whole
        data = whole if isinstance(whole, dict) else codec.with_outcome(_frame(build.body, answer), outcome)
        return build.answer(encoded(data)), data
    error = outcome.get("error")
    error = dict(error) if isinstance(error, dict) else {"message": str(error)}
    status = error.pop("status", 0)
    if not (isinstance(status, int) and status >= 400):
        return None, None
    body = {"error": error}
    return build.failure(status, encoded(body), _AT_ONCE if answer.again else _NEVER), body


def lost_connection(library: Any, request: Any, answer: Answer) -> Exception:
    """Return the exception by which the recorded call ended without a response."""
    outcome = answer.outcome if isinstance(answer.outcome, dict) else {}
    error = outcome.get("error")
    error = error if isinstance(error, dict) else {}
    kind = getattr(library, str(error.get("type", "")), None)
    if not (isinstance(kind, type) and issubclass(kind, library.TransportError)):
        kind = library.RemoteProtocolError
    failure: Exception = kind(str(error.get("message", "")), request=request)
    return failure


def exception_of(error: Any) -> Exception | None:
    """Return an exception that tells what a recorded tool raised; None when its class is not Python's own."""
    if not isinstance(error, dict):
        return None
    name, message = str(error.get("type", "")), str(error.get("message", ""))
    kind = getattr(builtins, name, None)
    if not (isinstance(kind, type) and issubclass(kind, Exception)):
        return None
    # KeyError and others do not print what they were made of: the text is what was recorded.
    told = type(name, (kind,), {"__str__": lambda self: message, "__module__": "builtins"})
    failure: Exception = told(message)
    return failure


def is_whole(codec: Codec, data: dict[str, Any]) -> bool:
    """Return whether what a step holds of a chat reply is all that a caller can make use of.

    Not so with reasoning, refusals, log probabilities, several choices or audio, and never with the
    Responses API, whose ids and items callers send back. Ids, dates and the bill do not count.
    """
    choices = data.get("choices")
    if not isinstance(choices, list):
        return False
    if codec is chat_codec and len(choices) == 1 and _is_mere_text(choices[0]):
        return True
    rebuilt = codec.with_outcome({"choices": []}, codec.outcome(data))
    return bool(_told(choices) == _told(rebuilt["choices"]))


def _is_mere_text(choice: Any) -> bool:
    """Return whether a chat reply's choice says a text and how it ended, and nothing else."""
    message = choice.get("message") if isinstance(choice, dict) else None
    return (
        isinstance(message, dict)
        and isinstance(message.get("content"), str)
        and bool(choice.get("finish_reason"))
        and isinstance(choice["finish_reason"], str)
        and all(name in _FRAME or value in _NOTHING for name, value in choice.items())
        and all(name in _SPOKEN or value in _NOTHING for name, value in message.items())
    )


def _told(value: Any) -> Any:
    """Return a value without what says nothing: null, empty lists, and fields that repeat a default."""
    if isinstance(value, dict):
        found = {name: _told(item) for name, item in value.items() if name not in ("role", "index")}
        return {name: item for name, item in found.items() if item not in _NOTHING}
    return [_told(item) for item in value] if isinstance(value, list) else value


def _frame(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    """Return the fields of a reply around what it says, as far as a record holds them."""
    usage = answer.tokens_in, answer.tokens_out
    if "input" in body and "messages" not in body:
        counted = {"input_tokens": usage[0], "output_tokens": usage[1], "total_tokens": sum(usage)}
        return {
            "id": f"resp_replay_{answer.call}", "object": "response", "created_at": int(answer.time),
            "model": answer.name, "status": "completed", "output": [], "usage": counted, "error": None,
            "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
        }  # fmt: skip
    counted = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return {
        "id": f"chatcmpl-replay-{answer.call}", "object": "chat.completion", "created": int(answer.time),
        "model": answer.name, "usage": counted,
    }  # fmt: skip
