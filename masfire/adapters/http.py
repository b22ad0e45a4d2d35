"""Where model requests are caught: `Client.send` of httpx and httpx2, sync and async."""

from __future__ import annotations

import functools
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from masfire.adapters.effects import run_async, run_sync
from masfire.adapters.exchange import Call, exchange, recognise
from masfire.adapters.patching import Patch, Undo
from masfire.errors import IncompatibleVersion, MasfireError
from masfire.recorder import current

_stops: ContextVar[list[MasfireError] | None] = ContextVar("masfire_stops", default=None)
"""Errors of masfire that the openai SDK of this context must not retry or rename."""


def _patch_clients(module: ModuleType) -> Undo:
    sync_class, async_class = _attribute(module, "Client"), _attribute(module, "AsyncClient")
    sync_send, async_send = _attribute(sync_class, "send"), _attribute(async_class, "send")

    @functools.wraps(sync_send)
    def send(self: Any, request: Any, *, stream: bool = False, **options: Any) -> Any:
        run = current()
        if run is None:
            return sync_send(self, request, stream=stream, **options)
        call = recognise(module, request, unread=stream)
        if call is None:
            return sync_send(self, request, stream=stream, **options)
        try:
            return run_sync(
                exchange(run, call), run, lambda out: sync_send(self, out, stream=stream, **options)
            )
        except MasfireError as error:
            return _stop(call, error)

    @functools.wraps(async_send)
    async def asend(self: Any, request: Any, *, stream: bool = False, **options: Any) -> Any:
        run = current()
        if run is None:
            return await async_send(self, request, stream=stream, **options)
        call = recognise(module, request, unread=stream)
        if call is None:
            return await async_send(self, request, stream=stream, **options)
        try:
            return await run_async(
                exchange(run, call), run, lambda out: async_send(self, out, stream=stream, **options)
            )
        except MasfireError as error:
            return _stop(call, error)

    sync_class.send, async_class.send = send, asend

    def undo() -> None:
        sync_class.send, async_class.send = sync_send, async_send

    return undo


def _patch_openai(module: ModuleType) -> Undo:
    """Let masfire's own errors (a used-up budget) through the SDK, which would retry and rename them."""
    sync_class, async_class = _attribute(module, "SyncAPIClient"), _attribute(module, "AsyncAPIClient")
    sync_request, async_request = _attribute(sync_class, "request"), _attribute(async_class, "request")

    @functools.wraps(sync_request)
    def request(self: Any, *args: Any, **options: Any) -> Any:
        if current() is None:
            return sync_request(self, *args, **options)
        stops: list[MasfireError] = []
        token = _stops.set(stops)
        try:
            return sync_request(self, *args, **options)
        finally:
            _stops.reset(token)
            if stops:
                raise stops[0]

    @functools.wraps(async_request)
    async def arequest(self: Any, *args: Any, **options: Any) -> Any:
        if current() is None:
            return await async_request(self, *args, **options)
        stops: list[MasfireError] = []
        token = _stops.set(stops)
        try:
            return await async_request(self, *args, **options)
        finally:
            _stops.reset(token)
            if stops:
                raise stops[0]

    sync_class.request, async_class.request = request, arequest

    def undo() -> None:
        sync_class.request, async_class.request = sync_request, async_request

    return undo


def _stop(call: Call, error: MasfireError) -> Any:
    """Raise `error`, or inside the openai SDK leave it there and answer with what ends its retries."""
    stops = _stops.get()
    if stops is None:
        raise error
    stops.append(error)
    return call.build.refusal(error.message)


def _attribute(owner: Any, name: str) -> Any:
    found = getattr(owner, name, None)
    if found is None:
        raise IncompatibleVersion(
            f"{getattr(owner, '__name__', owner)}.{name} is gone.",
            hint="This version of the library is not supported; please report it.",
        )
    return found


PATCHES: tuple[Patch, ...] = (
    Patch("httpx", _patch_clients),
    Patch("httpx2", _patch_clients),
    Patch("openai._base_client", _patch_openai),
)
"""What has to be in force while a run is active."""
