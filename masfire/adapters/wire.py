"""Requests and responses of an HTTP library, built and read without importing it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from masfire.adapters.codec import Codec, decoded

_FRAMING = frozenset({"content-length", "content-encoding", "transfer-encoding"})
_REFUSED = 403
_JSON, _EVENTS = ("content-type", "application/json"), ("content-type", "text/event-stream")
_NO_RETRY = ("x-should-retry", "false")


def encoded(value: Any) -> bytes:
    """Return `value` as compact JSON."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # a lone surrogate travels as its escape
        return json.dumps(value, separators=(",", ":")).encode()


def is_events(response: Any) -> bool:
    """Return whether `response` is a successful stream of server-sent events."""
    kind: str = response.headers.get("content-type", "")
    return bool(response.status_code == 200 and kind.startswith("text/event-stream"))


def decompressed(library: Any, response: Any, raw: bytes) -> bytes:
    """Return `raw`, the body of `response` as it came over the wire, without its content encoding."""
    if "content-encoding" not in response.headers:
        return raw
    return bytes(library.Response(200, headers=response.headers, content=raw).content)


def rebuilt(library: Any, request: Any, body: dict[str, Any]) -> Any:
    """Return `request` carrying another JSON body."""
    headers = [
        (key, value)
        for key, value in request.headers.raw
        if key.lower() not in (b"content-length", b"transfer-encoding")
    ]
    return library.Request(
        request.method, request.url, headers=headers, content=encoded(body), extensions=request.extensions
    )


class Builder:
    """Makes the responses that masfire answers with in a server's place.

    `unread` says that the caller reads the body itself (`send(stream=True)`).
    """

    def __init__(self, library: Any, request: Any, codec: Codec, body: dict[str, Any], *, unread: bool):
        self.library, self.request, self.codec, self.body, self.unread = library, request, codec, body, unread

    def altered(self, data: dict[str, Any], like: Any) -> Any:
        """Return a response that carries reply `data` in the form of response `like`."""
        if is_events(like) or (like.status_code != 200 and self.body.get("stream")):
            raw, kind = b"".join(self.codec.to_events(data, self.body)), _EVENTS
        else:
            raw, kind = encoded(data), _JSON
        kept = [(k, v) for k, v in like.headers.multi_items() if k.lower() not in (*_FRAMING, kind[0])]
        return self._built(like.status_code if like.status_code < 300 else 200, [*kept, kind], raw, like)

    def answer(self, raw: bytes) -> Any:
        """Return the response for the JSON reply of a cache or a stub (an "error" has its own status)."""
        data = decoded(raw)
        error = data.get("error") if isinstance(data, dict) else None
        if isinstance(error, dict):
            code = error.get("code")
            status = code if isinstance(code, int) and 400 <= code < 600 else 400
            return self._built(status, [_JSON, _NO_RETRY], raw)
        if self.body.get("stream") and isinstance(data, dict):
            return self._built(200, [_EVENTS], b"".join(self.codec.to_events(data, self.body)))
        return self._built(200, [_JSON], raw)

    def refusal(self, message: str, status: int = _REFUSED) -> Any:
        """Return an error response in the provider's shape that SDKs do not retry."""
        error = {"message": message, "type": "masfire", "param": None, "code": None}
        return self._built(status, [_JSON, _NO_RETRY], encoded({"error": error}))

    def failure(self, status: int, raw: bytes, headers: Sequence[tuple[str, str]]) -> Any:
        """Return an error response with this JSON body and these headers."""
        return self._built(status, [_JSON, *headers], raw)

    def _built(self, status: int, headers: list[tuple[str, str]], raw: bytes, like: Any = None) -> Any:
        body = {"stream": self.library.ByteStream(raw)} if self.unread else {"content": raw}
        response = self.library.Response(status, headers=headers, request=self.request, **body)
        response.elapsed = timedelta(0)
        if like is not None and like.is_closed:
            response.elapsed = like.elapsed
        return response
