"""One question to a model, one text back: the smallest client of an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from urllib.parse import urlsplit

from masfire.errors import UsageError
from masfire.models.endpoint import Endpoint

MAX_ANSWER = 1_000_000
"""Bytes of an answer that are read."""


def asker(endpoint: Endpoint, *, max_tokens: int = 400, seconds: float = 120.0) -> Callable[[str], str]:
    """Return a function that sends one user message (temperature 0) and returns the answer's text.

    It raises UsageError when the endpoint cannot be reached or answers with anything but a completion.
    """
    parts = urlsplit(endpoint.base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"The endpoint {endpoint.base_url!r} is no address.", hint="Write https://host/v1.")

    def ask(prompt: str) -> str:
        body = {
            "model": endpoint.model,
            "messages": [{"role": "user", "content": prompt}],
            "temperature": 0,
            "max_tokens": max_tokens,
        }
        request = urllib.request.Request(  # noqa: S310 - the scheme was checked above
            f"{endpoint.base_url}/chat/completions",
            json.dumps(body).encode(),
            {"content-type": "application/json", "authorization": f"Bearer {endpoint.api_key}"},
        )
        try:
            with _opener(parts.hostname or "").open(request, timeout=seconds) as reply:
                answer = json.loads(reply.read(MAX_ANSWER))
            content = answer["choices"][0]["message"]["content"]
        except (OSError, ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise UsageError(
                f"The model at {parts.hostname} gave no answer: {type(error).__name__}: {str(error)[:200]}.",
                hint="Check OPENAI_BASE_URL, OPENAI_API_KEY and OPENAI_MODEL.",
            ) from error
        return content if isinstance(content, str) else ""

    return ask


def _opener(host: str) -> urllib.request.OpenerDirector:
    """Return an opener; loopback needs no proxy."""
    local = host in ("localhost", "::1") or host.startswith("127.")
    return urllib.request.build_opener(urllib.request.ProxyHandler({} if local else None))
