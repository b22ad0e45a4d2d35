"""A response stream that a caller reads as it comes while masfire keeps a copy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

_TAIL = 64
"""Bytes kept of the past, so that an end marker split over two chunks is seen."""

_EVENT_ENDS = (b"\n\n", b"\r\n\r\n", b"[DONE]")


class _Copy:
    """Guards the bytes that have passed; tells `ended` once, at the end marker or the end."""

    def __init__(self, ended: Callable[[bytes], None], is_end: Callable[[bytes], bool] | None) -> None:
        self._ended: Callable[[bytes], None] | None = ended
        self._is_end = is_end
        self._chunks: list[bytes] = []
        self._marked = False
        self._tail = b""

    def saw(self, chunk: bytes) -> None:
        """Keep a chunk. Some clients stop at the end marker and never close, so it ends the stream."""
        self._chunks.append(chunk)
        if self._ended is None or self._is_end is None:
            return
        recent = self._tail + chunk if self._tail else chunk
        self._marked = self._marked or self._is_end(recent)
        if not recent.endswith(_EVENT_ENDS):
            self._tail = recent[-_TAIL:]
        elif self._marked:
            self.finish()
        else:
            self._tail = b""  # no marker spans two events

    def finish(self) -> None:
        """Report what has passed, unless that is done."""
        if self._ended is not None:
            ended, self._ended = self._ended, None
            ended(b"".join(self._chunks))


def pass_on(
    library: Any, response: Any, ended: Callable[[bytes], None], is_end: Callable[[bytes], bool] | None
) -> None:
    """Replace the stream of `response` by one that calls `ended` with all raw bytes when it is over.

    `is_end` recognises the end marker in raw bytes (None: wait for the end of the stream).
    """
    copy = _Copy(ended, is_end)
    inner = response.stream
    kind = _kinds.get(library.__name__)
    if kind is None:
        kind = _kinds[library.__name__] = _make_kind(library)
    response.stream = kind(inner, copy)


_kinds: dict[str, Any] = {}


def _make_kind(library: Any) -> Any:
    class Tee(library.SyncByteStream, library.AsyncByteStream):  # type: ignore[misc]
        """Passes a stream on unchanged; sync or async, like the stream inside."""

        def __init__(self, inner: Any, copy: _Copy) -> None:
            self._inner, self._copy = inner, copy

        def __iter__(self) -> Iterator[bytes]:
            for chunk in self._inner:
                self._copy.saw(chunk)
                yield chunk
            self._copy.finish()

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._inner:
                self._copy.saw(chunk)
                yield chunk
            self._copy.finish()

        def close(self) -> None:
            try:
                self._copy.finish()
            finally:
                self._inner.close()

        async def aclose(self) -> None:
            try:
                self._copy.finish()
            finally:
                await self._inner.aclose()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)  # `elapsed` and whatever else the library keeps there

    return Tee
